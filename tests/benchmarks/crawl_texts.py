"""Texts of a crawl that never was: halves of real sentences, recombined, each document a function of seed and number.

A document is a run of sentences, the head of one and the tail of another. A fifth of the joints lie inside a word, so
that new words go on to come, as they do in a crawl. Of two documents next to nothing is equal, but for those that are
planned to be alike: members of a cluster are one text in which each sentence was redrawn with a probability of the
member's own. Nothing is remembered, so memory does not grow: all of a document follows from splitmix64 of its number.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dedup.jaccard import jaccard, shingle_sets
from filters.words import split_words
from tests.benchmarks.synthetic import mix

Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]
Floats = NDArray[np.float64]

# Shares of a crawl's text, after Common Crawl's own statistics of languages; those without sentences are left out.
SHARES = {
    "en": 0.45, "ru": 0.06, "de": 0.06, "ja": 0.05, "zh": 0.05, "es": 0.05, "fr": 0.045, "pt": 0.025, "it": 0.025,
    "pl": 0.02, "nl": 0.02, "tr": 0.012, "vi": 0.012, "cs": 0.012, "ar": 0.01, "fa": 0.01, "id": 0.01, "ko": 0.01,
    "uk": 0.008, "sv": 0.007, "ro": 0.007, "hu": 0.006, "el": 0.006, "fi": 0.005, "da": 0.005, "th": 0.005, "ca": 0.003,
    "hi": 0.003, "sw": 0.002, "so": 0.001, "yo": 0.001, "am": 0.001,
}  # fmt: skip
POOL_BYTES = 4_000_000  # of sentences of a language that are held
SENTENCE_BYTES = (24, 600)
UNSPACED = frozenset({"ja", "zh", "th"})
INSIDE = 0.2  # of the joints lie inside a word
PARAGRAPH = 0.25  # of the sentences end one
MEDIAN, SPREAD, LONGEST = 16, 1.15, 6000  # sentences of a document: log-normal, two at least
ALIKE = 0.2  # of the documents are members of clusters
MEMBERS = 4  # of a cluster, on average
SKEW = 2.0  # the share of the members in the first x of the clusters is x^(1 / SKEW)
REDRAWN = (0.0, 0.01, 0.03, 0.1, 0.3)  # probability that a member's sentence is its own, and how many members have it
REDRAWN_SHARES = (0.3, 0.2, 0.2, 0.2, 0.1)
SHINGLE_WORDS = 5
_ENDS = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+")


@dataclass(frozen=True, eq=False)
class Pieces:
    """Halves of sentences of all languages; the first of a language's were cut inside a word."""

    languages: tuple[str, ...]
    halves: tuple[bytes, ...]  # heads, tails, tails that end a paragraph
    first: Ints  # number of the first sentence of each language, and of all
    inside: Ints  # how many of each language's were cut inside a word

    @property
    def sentences(self) -> int:
        """Sentences of all languages."""
        return int(self.first[-1])

    @cached_property
    def shares(self) -> Floats:
        """Where each language's part of [0, 1) ends."""
        shares = np.array([SHARES[name] for name in self.languages])
        return np.cumsum(shares) / shares.sum()


def cut_pieces(texts: Iterable[tuple[str, str]]) -> Pieces:
    """Return the halves of the sentences of texts given as (language, text), some of each language."""
    found: dict[str, dict[str, None]] = {}
    held: dict[str, int] = {}
    for name, text in texts:
        if name not in SHARES or held.get(name, 0) >= POOL_BYTES:
            continue
        for part in map(str.strip, _ENDS.split(text)):
            if SENTENCE_BYTES[0] <= len(part.encode()) <= SENTENCE_BYTES[1]:
                found.setdefault(name, {})[part] = None
                held[name] = held.get(name, 0) + len(part.encode())
    names = tuple(name for name in SHARES if len(found.get(name, ())) > 1)
    heads, tails, firsts, insides = [], [], [0], []
    for name in names:
        sentences = list(found[name])
        inside = round(INSIDE * len(sentences))
        for number, sentence in enumerate(sentences):
            head, tail = _cut(sentence, inside=number < inside, spaced=name not in UNSPACED)
            heads.append(head)
            tails.append(tail)
        firsts.append(len(heads))
        insides.append(inside)
    ends = [tail.rstrip() + b"\n" for tail in tails]
    return Pieces(names, (*heads, *tails, *ends), np.array(firsts), np.array(insides))


def _cut(sentence: str, *, inside: bool, spaced: bool) -> tuple[bytes, bytes]:
    """Return the halves of a sentence, the second with what stands before the next sentence."""
    middle = len(sentence) // 2
    if spaced and not inside:
        middle = sentence.find(" ", middle) + 1 or middle
    return sentence[:middle].encode(), (sentence[middle:] + (" " if spaced else "")).encode()


@dataclass(frozen=True)
class Texts:
    """The texts of some documents, and what is known of them."""

    texts: list[bytes]
    language: Ints
    cluster: Ints  # -1 where a document is like no other
    sentences: Ints
    bases: list[bytes]  # the texts that members of clusters were made of, in their order


def draw_texts(pieces: Pieces, seed: int, number: Ints, documents: int) -> Texts:
    """Return the texts of the documents of some numbers, of a crawl of so many."""
    own = keys(seed, number, "document")
    cluster = clusters(seed, number, documents)
    planned = np.flatnonzero(cluster >= 0)
    owner = own.copy()
    owner[planned] = keys(seed, cluster[planned], "cluster")
    language = np.searchsorted(pieces.shares, unit(owner, 1), side="right")
    count = lengths(owner)
    rate = np.zeros(len(number))
    rate[planned] = redrawn(own[planned])
    return Texts(
        _join(pieces, *_chosen(pieces, owner, own, rate, language, count)),
        language,
        cluster,
        count,
        _join(
            pieces,
            *_chosen(pieces, owner[planned], own[planned], rate[planned] * 0, language[planned], count[planned]),
        ),
    )


def keys(seed: int, number: Ints, kind: str) -> Keys:
    """Return the key of each number, another for each kind of thing."""
    salt = np.uint64(int.from_bytes(f"{kind:<8}"[:8].encode(), "little")) ^ mix(np.array([seed], np.uint64))
    return mix(number.astype(np.uint64) ^ mix(salt))


def unit(key: Keys, which: int) -> Floats:
    """Return a draw from [0, 1) for each key, another for each `which`."""
    bits = mix(key + np.uint64(which * 0x632BE59BD9B4E019 % 2**64)) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53


def clusters(seed: int, number: Ints, documents: int) -> Ints:
    """Return the cluster of each document, -1 for those that are alone; a few clusters are large."""
    key = keys(seed, number, "alike")
    every = max(1, round(documents * ALIKE / MEMBERS))
    chosen = (unit(key, 2) ** SKEW * every).astype(np.int64)
    return np.where(unit(key, 1) < ALIKE, chosen, -1)


def lengths(key: Keys) -> Ints:
    """Return the sentences of each document, log-normal (Box and Muller 1958)."""
    normal = np.sqrt(-2 * np.log1p(-unit(key, 2))) * np.cos(2 * np.pi * unit(key, 3))
    return np.clip(np.exp(np.log(MEDIAN) + SPREAD * normal), 2, LONGEST).astype(np.int64)


def redrawn(key: Keys) -> Floats:
    """Return the probability with which each member's sentences are its own."""
    return np.array(REDRAWN)[np.searchsorted(np.cumsum(REDRAWN_SHARES)[:-1], unit(key, 4), side="right")]


def _chosen(pieces: Pieces, owner: Keys, own: Keys, rate: Floats, language: Ints, count: Ints) -> tuple[Ints, Ints]:
    """Return the numbers of the halves that documents are made of, and where each document's end."""
    total = int(count.sum())
    document = np.repeat(np.arange(len(count)), count)
    place = (np.arange(total) - np.repeat(np.cumsum(count) - count, count)).astype(np.uint64)
    step = np.uint64(0xD1342543DE82EF95)
    base, mine = (mix(key[document] + (place + np.uint64(1)) * step) for key in (owner, own))
    key = np.where(unit(mine, 5) < rate[document], mine, base)
    first, size = pieces.first[language[document]], np.diff(pieces.first)[language[document]]
    inside = pieces.inside[language[document]]
    head = (unit(key, 6) * size).astype(np.int64)
    within = head < inside  # the tail, too, was cut inside a word
    tail = np.where(within, 0, inside) + (unit(key, 7) * np.where(within, inside, size - inside)).astype(np.int64)
    ends = (unit(key, 8) < PARAGRAPH).astype(np.int64)
    chosen = np.empty(2 * total, np.int64)
    chosen[0::2] = first + head
    chosen[1::2] = first + tail + pieces.sentences * (1 + ends)
    return chosen, 2 * np.cumsum(count)


def _join(pieces: Pieces, chosen: Ints, ends: Ints) -> list[bytes]:
    """Return the texts that halves make."""
    halves, order, begin = pieces.halves, chosen.tolist(), 0
    texts = []
    for end in ends.tolist():
        texts.append(b"".join([halves[i] for i in order[begin:end]]).rstrip())
        begin = end
    return texts


def similarities(members: Sequence[bytes], bases: Sequence[bytes]) -> Floats:
    """Return the Jaccard similarity of the shingles of each text and of what it was made of."""
    sets = []
    for texts in (members, bases):
        words = split_words(pa.array([text.decode() for text in texts], pa.large_string()))
        sets.append(shingle_sets(words.data, words.first, words.start, words.end, SHINGLE_WORDS))
    rows = np.arange(len(members))
    return np.asarray(jaccard(*sets[0], *sets[1], rows, rows), np.float64)

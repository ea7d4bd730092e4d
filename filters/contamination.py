"""Overlap with evaluation sets: word n-grams that a text shares with their items.

Brown et al. 2020, "Language Models are Few-Shot Learners" (arXiv:2005.14165), appendix C: words in lower case without
punctuation, n-grams of 13 words, for shorter items of as many as they have, but no fewer than 8. Words are those of
filters/words.py, so a letter of a script without spaces is one. The paper passes over n-grams that are common in the
training data, which one pass cannot know; an item that is a common phrase therefore finds every text with that phrase.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from filters.arrow_text import string_array
from filters.characters import COMBINING, DIGIT, LETTER, Array, character_classes, decode
from filters.hashing import mix, table_size
from filters.words import split_words

WORDS = 13  # Brown et al. 2020, appendix C
FEWEST_WORDS = 8  # Brown et al. 2020, appendix C
_BASE = np.uint64(6364136223846793005)  # Knuth, MMIX: an odd multiplier of 64 well-mixed bits
_INVERSE = np.uint64(pow(int(_BASE), -1, 2**64))


@dataclass(frozen=True, slots=True)
class Index:
    """The n-grams of evaluation sets, by a hash of 64 bits."""

    sets: tuple[str, ...]  # names
    items: tuple[int, ...]  # of each set that are looked for
    lengths: NDArray[np.int64]  # words of the n-grams there are, longest first
    keys: NDArray[np.uint64]  # (slots) an open-addressed table
    owners: NDArray[np.int32]  # (slots) the number of the first set that has the n-gram, -1 in a free slot


@dataclass(frozen=True, slots=True)
class Overlap:
    """What texts share with an index."""

    matches: NDArray[np.int64]  # (texts) words at which an n-gram of the index begins
    share: NDArray[np.float64]  # (texts) fraction of the words that are in such n-grams
    ngram: pa.Array  # (texts) the first of them, as it stands in the text; null without one
    found_in: pa.Array  # (texts) the name of its set; null without one


@functools.cache
def folded() -> NDArray[np.uint32]:
    """Return the lower case of every letter, mark and digit, 0 for every other code point (1,114,112)."""
    classes = character_classes()
    letters = np.arange(0x110000, dtype=np.uint32)
    letters[0xD800:0xE000] = 0
    lower = np.strings.lower(letters.view("<U1")).astype("<U1").view(np.uint32)
    table: NDArray[np.uint32] = np.where(classes & (LETTER | COMBINING | DIGIT), lower, 0).astype(np.uint32)
    table.flags.writeable = False
    return table


def build_index(sets: Sequence[tuple[str, Sequence[str]]], words: int = WORDS, fewest: int = FEWEST_WORDS) -> Index:
    """Return the index of named sets of items, each looked for by its n-grams of `words` words.

    An item with fewer words is looked for whole; one with fewer than `fewest` is not.
    """
    found: list[tuple[NDArray[np.uint64], int]] = []
    items, lengths = [], set()
    for number, (_, texts) in enumerate(sets):
        first, hashes, _ = _read_words(string_array(texts))
        counts = np.diff(first)
        items.append(int((counts >= fewest).sum()))
        lengths |= {min(words, int(count)) for count in np.unique(counts) if count >= fewest}
        found.append((_item_keys(first, hashes, words, fewest), number))
    size = table_size(max(1, sum(len(keys) for keys, _ in found)))
    keys, owners = np.zeros(size, np.uint64), np.full(size, -1, np.int32)
    for new, number in found:
        _insert(keys, owners, new, number)
    names = tuple(name for name, _ in sets)
    return Index(names, tuple(items), np.array(sorted(lengths, reverse=True), np.int64), keys, owners)


def find_overlap(index: Index, texts: pa.Array) -> Overlap:
    """Return what texts share with an index; raise as text_buffers does."""
    first, hashes, places = _read_words(texts)
    words = split_words(texts)
    matches, covered, hits = _look_up(first, hashes, index.lengths, index.keys, index.owners)
    share = covered / np.maximum(1, np.diff(first))
    ngrams: list[str | None] = [None] * len(matches)
    names: list[str | None] = [None] * len(matches)
    for row in np.flatnonzero(matches):
        begin, end, owner = hits[row]
        span = words.data[words.start[places[begin]] : words.end[places[end]]]
        ngrams[row], names[row] = span.tobytes().decode(), index.sets[owner]
    return Overlap(matches, share, pa.array(ngrams, pa.string()), pa.array(names, pa.string()))


def mark(index: Index, texts: pa.Array, marked: NDArray[np.bool_]) -> None:
    """Mark those n-grams of an index (slots) that texts have; raise as text_buffers does."""
    first, hashes, _ = _read_words(texts)
    _mark(first, hashes, index.lengths, index.keys, index.owners, marked)


def marked_share(
    index: Index, marked: NDArray[np.bool_], items: Sequence[str], words: int = WORDS
) -> NDArray[np.float64]:
    """Return the share of each item's n-grams that are marked (items), 0 for one without words.

    The index must be of these items, each looked for by so many words.
    """
    first, hashes, _ = _read_words(string_array(items))
    share: NDArray[np.float64] = _marked_share(first, hashes, words, index.keys, index.owners, marked)
    return share


def _read_words(texts: pa.Array) -> tuple[Array, Array, Array]:
    """Return where each text's words begin (texts + 1), their hashes, and their places among all words."""
    words = split_words(texts)
    hashes = _hash_words(words.data, words.start, words.end, folded())
    places = np.flatnonzero(hashes)
    return np.searchsorted(places, words.first), hashes[places], places


@njit(cache=True, nogil=True)
def _hash_words(data: Array, start: Array, end: Array, lower: Array) -> Array:
    """Return the hash of every word in lower case without punctuation, 0 where nothing is left (words)."""
    hashes = np.zeros(start.shape[0], np.uint64)
    for w in range(start.shape[0]):
        value = np.uint64(0)
        i = start[w]
        while i < end[w]:
            code, i = decode(data, i)
            letter = lower[code]
            if letter:
                value = mix(value + np.uint64(letter)) | np.uint64(1)
        hashes[w] = value
    return hashes


@njit(cache=True, nogil=True)
def _sums(hashes: Array) -> tuple[Array, Array]:
    """Return sums of hashes times powers before every word (words + 1), and what undoes its power (words + 1)."""
    sums, scales = np.zeros(hashes.shape[0] + 1, np.uint64), np.ones(hashes.shape[0] + 1, np.uint64)
    power = np.uint64(1)
    for w in range(hashes.shape[0]):
        sums[w + 1] = sums[w] + hashes[w] * power
        scales[w + 1] = scales[w] * _INVERSE
        power *= _BASE
    return sums, scales


@njit(cache=True, nogil=True)
def _key(sums: Array, scales: Array, begin: int, length: int) -> np.uint64:
    """Return the hash of the n-gram of so many words from word `begin` on."""
    return mix((sums[begin + length] - sums[begin]) * scales[begin] + np.uint64(length))


@njit(cache=True, nogil=True)
def _item_keys(first: Array, hashes: Array, words: int, fewest: int) -> Array:
    """Return the hashes of the n-grams by which items are looked for."""
    sums, scales = _sums(hashes)
    keys, n = np.empty(hashes.shape[0], np.uint64), 0
    for item in range(first.shape[0] - 1):
        length = min(words, first[item + 1] - first[item])
        if length < fewest:
            continue
        for begin in range(first[item], first[item + 1] - length + 1):
            keys[n] = _key(sums, scales, begin, length)
            n += 1
    return keys[:n]


@njit(cache=True, nogil=True)
def _slot(keys: Array, owners: Array, key: np.uint64) -> np.int64:
    """Return the key's slot, or the free one where it would stand."""
    mask = np.int64(keys.shape[0] - 1)
    slot = np.int64(key & np.uint64(mask))
    while owners[slot] >= 0 and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True)
def _insert(keys: Array, owners: Array, new: Array, owner: int) -> None:
    """Put keys into the table; those that are there keep their owner."""
    for key in new:
        slot = _slot(keys, owners, key)
        if owners[slot] < 0:
            keys[slot], owners[slot] = key, owner


@njit(cache=True, nogil=True)
def _look_up(first: Array, hashes: Array, lengths: Array, keys: Array, owners: Array) -> tuple[Array, Array, Array]:
    """Return matches, covered words, and first word, last word and owner of the first match (texts)."""
    sums, scales = _sums(hashes)
    matches, covered = np.zeros(first.shape[0] - 1, np.int64), np.zeros(first.shape[0] - 1, np.int64)
    hits = np.zeros((first.shape[0] - 1, 3), np.int64)
    for text in range(first.shape[0] - 1):
        free = first[text]
        for begin in range(first[text], first[text + 1]):
            for length in lengths:  # longest first
                if begin + length > first[text + 1]:
                    continue
                slot = _slot(keys, owners, _key(sums, scales, begin, length))
                if owners[slot] < 0:
                    continue
                if not matches[text]:
                    hits[text, 0], hits[text, 1], hits[text, 2] = begin, begin + length - 1, owners[slot]
                matches[text] += 1
                covered[text] += begin + length - max(free, begin)
                free = max(free, begin + length)
                break
    return matches, covered, hits


@njit(cache=True, nogil=True)
def _mark(first: Array, hashes: Array, lengths: Array, keys: Array, owners: Array, marked: Array) -> None:
    """Mark the slots of n-grams that texts have."""
    sums, scales = _sums(hashes)
    for text in range(first.shape[0] - 1):
        for begin in range(first[text], first[text + 1]):
            for length in lengths:
                if begin + length <= first[text + 1]:
                    slot = _slot(keys, owners, _key(sums, scales, begin, length))
                    marked[slot] |= owners[slot] >= 0


@njit(cache=True, nogil=True)
def _marked_share(first: Array, hashes: Array, words: int, keys: Array, owners: Array, marked: Array) -> Array:
    """Return the share of each item's n-grams whose slots are marked (items)."""
    sums, scales = _sums(hashes)
    share = np.zeros(first.shape[0] - 1)
    for item in range(first.shape[0] - 1):
        length = min(words, first[item + 1] - first[item])
        if not length:
            continue
        count = first[item + 1] - first[item] - length + 1
        for begin in range(first[item], first[item] + count):
            share[item] += marked[_slot(keys, owners, _key(sums, scales, begin, length))]
        share[item] /= count
    return share

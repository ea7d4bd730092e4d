"""A word-order model that costs a thousandth of a neural one: hashed trigrams with absolute discounting.

Ney, Essen and Kneser 1994 (Computer Speech and Language 8), interpolated form: a trigram's count less a discount, and
what the discounts leave goes to the bigram, from there to the unigram,

    p(w | u v) = max(c(u v w) - D, 0) / c(u v) + D n(u v) / c(u v) p(w | v),   n: different words seen after u v

Counts lie in tables of 2^bits cells, in which the few that collide are added up; a language's tokens share no cell with
another's but by collision. Beside it stands a unigram model with a cache of the document's own past (Kuhn and De Mori
1990): text about something repeats its words, a mixture of topics does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

DISCOUNT = 0.75  # between .6 and .9 nothing changes the order of documents
CACHE_SHARE = 0.1  # of a token's probability that its document's past decides
FLOOR = 0.01  # added to every unigram count
STRETCH = 32  # tokens that are averaged to find where a document is unlike the rest of itself
TELLING = 7.0  # bits from which a token tells what a document is about
PHRASE = 4  # tokens that count as repeated when the document had them before

UNIGRAM, CACHED, TRIGRAM, SQUARES, TOKENS, STRETCH, STRETCH_SQUARES, STRETCHES = range(8)  # what is summed up
ISOLATED, TELLING_TOKENS, RETURNING, REPEATED = range(8, 12)
SUMS = 12

NUMBER, CONTEXT, FOLLOWERS = 0, 1, 2  # how often it was seen, how often something followed it, how many different ones


@dataclass(frozen=True, slots=True)
class Ngrams:
    """Counts, by hash in tables of cells; a power of two of them."""

    unigrams: NDArray[np.float32]  # (languages, V): bits of a token
    ones: NDArray[np.uint32]  # (languages, V, 3)
    twos: NDArray[np.uint32]  # (cells, 3)
    threes: NDArray[np.uint32]  # (cells)


@dataclass(frozen=True, slots=True)
class Bits:
    """What each document takes under each model, in bits, and how its parts differ."""

    unigram: NDArray[np.float64]  # (documents), as all: summed over its tokens
    cached: NDArray[np.float64]  # by unigrams and the document's own past
    trigram: NDArray[np.float64]
    deviation: NDArray[np.float64]  # standard deviation of the unigram bits of its tokens
    unevenness: NDArray[np.float64]  # standard deviation of the trigram bits of its stretches
    isolated: NDArray[np.float64]  # share of its tokens never seen behind the one before, nor before the one behind
    returning: NDArray[np.float64]  # share of its tokens that tell much, of those, that it had before
    repeated: NDArray[np.float64]  # share of its tokens that end a phrase it had before
    tokens: NDArray[np.int64]


def empty(languages: int, vocab_size: int, *, bits: int) -> Ngrams:
    """Return counts of nothing for so many languages, in tables of 2^bits cells."""
    return Ngrams(
        np.zeros((languages, vocab_size), np.float32),
        np.zeros((languages, vocab_size, 3), np.uint32),
        np.zeros((1 << bits, 3), np.uint32),
        np.zeros(1 << bits, np.uint32),
    )


def add(model: Ngrams, document: NDArray[np.integer], language: int) -> None:
    """Count a document of token ids (tokens) from 0 to vocab_size - 1 in place, in its language, a number from 0."""
    _count(document.astype(np.int64), language, model.ones, model.twos, model.threes)


def finish(model: Ngrams) -> Ngrams:
    """Return the counts with the bits of every token by itself."""
    numbers = model.ones[:, :, NUMBER] + FLOOR
    return Ngrams(
        -np.log2(numbers / numbers.sum(1, keepdims=True)).astype(np.float32), model.ones, model.twos, model.threes
    )


def measure(
    model: Ngrams, windows: Sequence[NDArray[np.integer]], owners: NDArray[np.int64], languages: NDArray[np.int64]
) -> Bits:
    """Return the bits of documents (documents), given as windows of tokens and the document of each, in order.

    No window knows the one before it, but the cache and the repeated phrases reach through all of a document. A
    language (documents) that the model does not have is measured as language 0.
    """
    tokens = np.concatenate([np.zeros(0, np.int64), *(window.astype(np.int64) for window in windows)])
    offsets = np.concatenate([[0], np.cumsum([len(window) for window in windows], dtype=np.int64)])
    known = np.where(languages < len(model.unigrams), languages, 0).astype(np.int64)
    sums = np.zeros((len(languages), SUMS))
    _measure(tokens, offsets, owners, known, model.unigrams, model.ones, model.twos, model.threes, sums)
    size, stretches = np.maximum(sums[:, TOKENS], 1), np.maximum(sums[:, STRETCHES], 1)
    return Bits(
        unigram=sums[:, UNIGRAM],
        cached=sums[:, CACHED],
        trigram=sums[:, TRIGRAM],
        deviation=_deviation(sums[:, UNIGRAM] / size, sums[:, SQUARES] / size),
        unevenness=_deviation(sums[:, STRETCH] / stretches, sums[:, STRETCH_SQUARES] / stretches),
        isolated=sums[:, ISOLATED] / size,
        returning=sums[:, RETURNING] / np.maximum(sums[:, TELLING_TOKENS], 1),
        repeated=sums[:, REPEATED] / size,
        tokens=sums[:, TOKENS].astype(np.int64),
    )


def _deviation(mean: NDArray[np.float64], squares: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.maximum(squares - mean**2, 0)))


@njit(cache=True, nogil=True)
def _hash(language: int, a: int, b: int, c: int) -> np.uint64:
    """Return the hash of a pair (c = -1) or of three tokens of a language."""
    value = np.uint64(a + 1) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(b + 1) * np.uint64(0xC2B2AE3D27D4EB4F)
    value ^= np.uint64(c + 2) * np.uint64(0x165667B19E3779F9) ^ np.uint64(language + 1) * np.uint64(0xD6E8FEB86659FD93)
    value = (value ^ value >> np.uint64(32)) * np.uint64(0xD6E8FEB86659FD93)
    return value ^ value >> np.uint64(32)


@njit(cache=True, nogil=True)
def _cell(language: int, a: int, b: int, c: int, mask: int) -> int:
    return np.int64(_hash(language, a, b, c) & np.uint64(mask))  # type: ignore[return-value]


@njit(cache=True, nogil=True)
def _count(tokens, language, ones, twos, threes):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    mask = threes.shape[0] - 1
    for i in range(tokens.shape[0]):
        w = tokens[i]
        ones[language, w, NUMBER] += 1
        if i >= 1:
            v = tokens[i - 1]
            pair = _cell(language, v, w, -1, mask)
            ones[language, v, CONTEXT] += 1
            ones[language, v, FOLLOWERS] += twos[pair, NUMBER] == 0
            twos[pair, NUMBER] += 1
        if i >= 2:
            u = tokens[i - 2]
            before, three = _cell(language, u, v, -1, mask), _cell(language, u, v, w, mask)
            twos[before, CONTEXT] += 1
            twos[before, FOLLOWERS] += threes[three] == 0
            threes[three] += 1


@njit(cache=True, nogil=True)
def _measure(tokens, offsets, owners, languages, unigrams, ones, twos, threes, sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    mask = threes.shape[0] - 1
    seen = np.zeros(unigrams.shape[1], np.int64)
    phrases = np.zeros(1 << 16, np.uint64)
    first = 0
    for number in range(owners.shape[0]):
        document, start, stop = owners[number], offsets[number], offsets[number + 1]
        out, language, past = sums[document], languages[document], offsets[first]
        stretch, filled = 0.0, 0
        for i in range(start, stop):
            w = tokens[i]
            surprise = unigrams[language, w]
            p = 2.0**-surprise
            out[UNIGRAM] += surprise
            out[SQUARES] += surprise**2
            cached = p if i == past else (1 - CACHE_SHARE) * p + CACHE_SHARE * seen[w] / (i - past)
            out[CACHED] -= np.log2(cached)
            if surprise > TELLING:
                out[TELLING_TOKENS] += 1
                out[RETURNING] += seen[w] > 0
            seen[w] += 1
            if i - start >= 1:
                v = tokens[i - 1]
                pair = twos[_cell(language, v, w, -1, mask), NUMBER]
                p = _mixed(pair, ones[language, v, CONTEXT], ones[language, v, FOLLOWERS], p)
                if pair == 0 and i + 1 < stop:
                    out[ISOLATED] += twos[_cell(language, w, tokens[i + 1], -1, mask), NUMBER] == 0
            if i - start >= 2:
                before = _cell(language, tokens[i - 2], v, -1, mask)
                three = threes[_cell(language, tokens[i - 2], v, w, mask)]
                p = _mixed(three, twos[before, CONTEXT], twos[before, FOLLOWERS], p)
            bits = -np.log2(p)
            out[TRIGRAM] += bits
            if i - start >= PHRASE - 1:
                phrase = _hash(tokens[i - 3], tokens[i - 2], v, w) ^ np.uint64(document + 1) * np.uint64(
                    0x9E3779B97F4A7C15
                )
                place = np.int64(phrase & np.uint64(phrases.shape[0] - 1))
                out[REPEATED] += phrases[place] == phrase
                phrases[place] = phrase
            stretch += bits
            filled += 1
            if filled == STRETCH or (i == stop - 1 and (filled > STRETCH // 2 or stop - start <= STRETCH // 2)):
                out[STRETCH] += stretch / filled
                out[STRETCH_SQUARES] += (stretch / filled) ** 2
                out[STRETCHES] += 1
                stretch, filled = 0.0, 0
        out[TOKENS] += stop - start
        if number + 1 == owners.shape[0] or owners[number + 1] != document:
            _forget(seen, tokens[past:stop])
            first = number + 1


@njit(cache=True, nogil=True)
def _forget(seen, tokens):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for i in range(tokens.shape[0]):
        seen[tokens[i]] = 0


@njit(cache=True, nogil=True)
def _mixed(count: int, total: int, different: int, lower: float) -> float:
    """Return the discounted probability, the rest by the lower order; that alone where nothing was seen.

    Cells that collide may hold more than their total, or a total without followers.
    """
    if total == 0:
        return lower
    return min(1.0, (max(count - DISCOUNT, 0.0) + DISCOUNT * max(different, 1) * lower) / total)

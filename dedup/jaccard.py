"""Exact Jaccard similarity: the sets of shingles themselves, as sorted 64-bit hashes.

The shingles are those of the signatures; two different ones of n have equal hashes with probability n^2 / 2^65, which
is 3e-10 for 100,000. Also the hash of a whole text as its shingles see it: words in lower case, nothing between them.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dedup.signatures import folded, shingle64, word_polynomial

Array = NDArray[np.generic]


def shingle_sets(
    data: NDArray[np.uint8],
    first: NDArray[np.int64],
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    shingle_words: int,
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return (offsets, hashes): document d has the set hashes[offsets[d]:offsets[d + 1]], sorted, each hash once.

    Words as for `signatures`; a text without words has the empty set.
    """
    bounds = np.zeros(len(first), np.int64)
    out = np.empty(len(start), np.uint64)
    size = _shingle_sets(data, first, start, end, shingle_words, folded(), bounds, out)
    return bounds, out[:size].copy()


@njit(cache=True, nogil=True)
def _shingle_sets(
    data: Array, first: Array, start: Array, end: Array, n: int, fold: Array, bounds: Array, out: Array
) -> int:
    """Fill bounds and out; return how much of out is used."""
    word_hash = np.zeros(n, np.uint64)  # of the last n words, a ring
    word_power = np.zeros(n, np.uint64)
    size = 0
    for document in range(first.shape[0] - 1):
        words = slot = 0
        filled = size
        for w in range(first[document], first[document + 1]):
            value, power = word_polynomial(data, start[w], end[w], fold)
            if power == np.uint64(1):
                continue
            word_hash[slot], word_power[slot] = value, power
            slot = slot + 1 if slot + 1 < n else 0
            words += 1
            if words >= n:
                out[filled] = shingle64(word_hash, word_power, slot, n)
                filled += 1
        if 0 < words < n:
            out[filled] = shingle64(word_hash, word_power, 0, words)
            filled += 1
        size += _distinct(out[size:filled])
        bounds[document + 1] = size
    return size


@njit(cache=True, nogil=True)
def _distinct(values: Array) -> int:
    """Sort values in place and move each to the front once; return how many there are."""
    values.sort()
    kept = 0
    for i in range(values.shape[0]):
        if i == 0 or values[i] != values[kept - 1]:
            values[kept] = values[i]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def jaccard(
    left_bounds: Array, left_hashes: Array, right_bounds: Array, right_hashes: Array, left: Array, right: Array
) -> Array:
    """Return |A and B| / |A or B| for each pair (left[i], right[i]) of sets (n); of two empty sets 0."""
    out = np.zeros(left.shape[0], np.float64)
    for pair in range(left.shape[0]):
        i, i_end = left_bounds[left[pair]], left_bounds[left[pair] + 1]
        j, j_end = right_bounds[right[pair]], right_bounds[right[pair] + 1]
        every, shared = (i_end - i) + (j_end - j), 0
        while i < i_end and j < j_end:
            a, b = left_hashes[i], right_hashes[j]
            shared += a == b
            i += a <= b
            j += b <= a
        if every:
            out[pair] = shared / (every - shared)
    return out


def normalised_hashes(
    data: NDArray[np.uint8], first: NDArray[np.int64], start: NDArray[np.int64], end: NDArray[np.int64]
) -> NDArray[np.uint32]:
    """Return 128 bits for the normalised words of each document, in order (documents, 4); zeros without words."""
    out = np.zeros((len(first) - 1, 2), np.uint64)
    _normalised_hashes(data, first, start, end, folded(), out)
    return out.view(np.uint32)


@njit(cache=True, nogil=True)
def _normalised_hashes(data: Array, first: Array, start: Array, end: Array, fold: Array, out: Array) -> None:
    for document in range(out.shape[0]):
        a = b = np.uint64(0)
        for w in range(first[document], first[document + 1]):
            value, power = word_polynomial(data, start[w], end[w], fold)
            if power == np.uint64(1):
                continue
            value ^= power  # tells words apart whose polynomials meet
            a = (a ^ value) * np.uint64(0xFF51AFD7ED558CCD)  # MurmurHash3, fmix64
            a ^= a >> np.uint64(33)
            b = (b + value) * np.uint64(0xC4CEB9FE1A85EC53)  # the same, its second
            b ^= b >> np.uint64(29)
        out[document, 0], out[document, 1] = a, b

"""Lines and paragraphs that occur in several documents: found by hash, owned by one document, cut from the others.

The rule is C4's (TFDS text/c4_utils.py, remove_duplicate_text): a line's key is the hash of the line without white
space at its ends, in lower case; the first document by hash owns it, and there its first occurrence stays. Lines
without a character are not cut.
"""

from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dedup.signatures import decode

Array = NDArray[np.generic]

UNIT = np.dtype([("document", np.int64), ("start", np.int64), ("end", np.int64), ("hash", np.uint64)])
_FEED = 0x0A
_ZERO = 0x110000  # stands for U+0000 in the table, where 0 is white space


@cache
def lowered() -> NDArray[np.uint32]:
    """Return for each code point its lower case, 0 for white space (1,114,112).

    One by one: a sigma that ends a word and a dotted capital I are not what str.lower, which TFDS calls, makes of them.
    """
    points = np.arange(0x110000, dtype=np.uint32)
    points[0xD800:0xE000] = 0  # surrogates are no text
    letters = points.view("<U1")
    lower = np.strings.lower(letters).astype("<U1").view(np.uint32)
    space = np.strings.isspace(letters)
    table: NDArray[np.uint32] = np.where(space, 0, lower).astype(np.uint32)
    table[0] = _ZERO
    return table


def units(offsets: NDArray[np.int64], data: NDArray[np.uint8], *, paragraphs: bool) -> NDArray[np.void]:
    """Return the lines or paragraphs (UNIT) of texts data[offsets[d]:offsets[d + 1]], in order.

    start and end are bytes from the beginning of the text; a unit reaches to where the next begins, so that cutting
    it takes its line feed with it. A paragraph is a run of lines that are not blank, and the blank lines after it.
    """
    total = int((data[offsets[0] : offsets[-1]] == _FEED).sum()) + len(offsets) - 1 if len(offsets) > 1 else 0
    out = np.empty(total, UNIT)
    found = _units(offsets, data, paragraphs, lowered(), out["document"], out["start"], out["end"], out["hash"])
    return out[:found]


@njit(cache=True, nogil=True)
def _units(
    offsets: Array, data: Array, paragraphs: bool, lower: Array, document: Array, start: Array, end: Array, key: Array
) -> int:
    """Fill the four columns; return how many units there are."""
    n = 0
    for d in range(offsets.shape[0] - 1):
        at, stop = offsets[d], offsets[d + 1]
        is_open = False  # whether the last unit may grow
        while at < stop:
            after = at
            while after < stop and data[after] != _FEED:
                after += 1
            first, last = _stripped(data, at, after, lower)
            after = min(after + 1, stop)
            blank = first == last
            if paragraphs and n > 0 and document[n - 1] == d and (blank or is_open):
                end[n - 1] = after - offsets[d]
                if not blank:
                    key[n - 1] = _hashed(data, first, last, lower, key[n - 1] + np.uint64(1))
            elif not blank:
                document[n], start[n], end[n] = d, at - offsets[d], after - offsets[d]
                key[n] = _hashed(data, first, last, lower, np.uint64(0))
                n += 1
            is_open = not blank
            at = after
    return n


@njit(cache=True, nogil=True)
def _stripped(data: Array, start: int, stop: int, lower: Array) -> tuple[int, int]:
    """Return where the first character that is no white space begins, and where the last one ends."""
    first = last = start
    i = start
    while i < stop:
        point, size = decode(data, i)
        if lower[point]:
            if first == last:
                first = i
            last = i + size
        i += size
    return first, last


@njit(cache=True, nogil=True)
def _hashed(data: Array, start: int, stop: int, lower: Array, seed: np.uint64) -> np.uint64:
    """Return 64 bits for the lower-case characters of data[start:stop], continuing from a seed."""
    value = seed
    i = start
    while i < stop:
        point, size = decode(data, i)
        i += size
        folded = lower[point] or np.uint32(point)
        value = (value ^ np.uint64(folded)) * np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio
        value ^= value >> np.uint64(32)
    value = (value ^ value >> np.uint64(33)) * np.uint64(0xFF51AFD7ED558CCD)  # MurmurHash3, fmix64
    value = (value ^ value >> np.uint64(33)) * np.uint64(0xC4CEB9FE1A85EC53)  # the same
    return value ^ value >> np.uint64(33)


def first_of_each(
    hashes: NDArray[np.uint64], keys: NDArray[np.uint64], numbers: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell of each row whether its key, then its number, is the least of those with its hash (n)."""
    order = np.lexsort((numbers, keys, hashes))
    out = np.zeros(len(hashes), bool)
    new = np.ones(len(hashes), bool)
    new[1:] = hashes[order][1:] != hashes[order][:-1]
    out[order[new]] = True
    return out


@njit(cache=True, nogil=True)
def without(offsets: Array, data: Array, first: Array, start: Array, end: Array) -> tuple[Array, Array]:
    """Return (offsets, bytes) of texts without spans: document d loses those from first[d] to first[d + 1].

    Spans are sorted and do not overlap. A text that loses its end loses the line feeds before it as well.
    """
    bounds = np.zeros(offsets.shape[0], np.int64)
    out = np.empty(offsets[-1] - offsets[0], np.uint8)
    n = 0
    for d in range(offsets.shape[0] - 1):
        at, stop = offsets[d], offsets[d + 1]
        for s in range(first[d], first[d + 1]):
            size = offsets[d] + start[s] - at
            out[n : n + size] = data[at : at + size]
            n += size
            at = offsets[d] + end[s]
        out[n : n + stop - at] = data[at:stop]
        n += stop - at
        if at == stop and first[d] < first[d + 1]:
            while n > bounds[d] and out[n - 1] == _FEED:
                n -= 1
        bounds[d + 1] = n
    return bounds, out[:n]

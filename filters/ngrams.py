"""Repeated word n-grams of a document, counted in tables of hashes.

One idea makes this cheap: an n-gram can occur twice only where the (n-1)-grams at its place and at the
next one do. So each length looks only at the places that the length before left, and in ordinary text
hardly any place is left after three words.
"""

import numpy as np
from numba import njit

from filters.characters import Array
from filters.passage import mix

SHORTEST, LONGEST = 2, 10  # 2 to 4: the most frequent one; 5 to 10: all that repeat an earlier one


@njit(cache=True, nogil=True)
def table_size(entries: int) -> int:
    """Return the power of two that keeps a table of so many entries at most two thirds full."""
    size = 16
    while 2 * size < 3 * entries:
        size *= 2
    return size


@njit(cache=True, nogil=True)
def find_slot(keys: Array, counts: Array, mask: int, key: np.uint64) -> np.int64:
    """Return the key's slot in an open-addressed table; a slot with count 0 is free and takes the key."""
    slot = np.int64(key & np.uint64(mask))
    while counts[slot] and keys[slot] != key:
        slot = (slot + 1) & mask
    keys[slot] = key
    return slot


@njit(cache=True, nogil=True)
def measure_ngrams(first: Array, start: Array, end: Array, hashes: Array, lengths: Array, characters: Array) -> None:
    """Fill, for every document and n, the code points in its top or repeating n-grams (documents, 9)."""
    longest = 0
    for document in range(first.shape[0] - 1):
        longest = max(longest, first[document + 1] - first[document])
    keys = np.empty(table_size(longest), np.uint64)
    counts = np.empty(table_size(longest), np.int32)
    grams = np.empty(longest, np.uint64)
    places = np.empty(longest, np.int32)
    slots = np.empty(longest, np.int32)
    for document in range(first.shape[0] - 1):
        a, b = first[document], first[document + 1]
        words = (start[a:b], end[a:b], hashes[a:b], lengths[a:b])
        _measure_document(words, keys, counts, grams, places, slots, characters[document])


@njit(cache=True, nogil=True)
def _measure_document(
    words: tuple[Array, Array, Array, Array],
    keys: Array,
    counts: Array,
    grams: Array,
    places: Array,
    slots: Array,
    characters: Array,
) -> None:
    """Go from 2-grams to 10-grams; `places` holds where one may repeat, grams[p] the hash of the one at p."""
    start, end, hashes, lengths = words
    left = hashes.shape[0]
    for p in range(left):
        places[p] = p
        grams[p] = hashes[p]
    for n in range(SHORTEST, LONGEST + 1):
        left = _extend(places, left, grams, hashes, n)
        left = _keep_repeated(places, left, grams, keys, counts, slots)
        if left == 0:
            break
        if n < 5:
            characters[n - 2] = _most_frequent(places, left, slots, counts, start, end, lengths, n)
        else:
            characters[n - 2] = _repeating(places, left, slots, counts, lengths, n)


@njit(cache=True, nogil=True)
def _extend(places: Array, left: int, grams: Array, hashes: Array, n: int) -> int:
    """Keep the places whose next place is there too, make n-grams of theirs, return how many are left."""
    kept = 0
    for k in range(left):
        p = places[k]
        if p + n <= hashes.shape[0] and k + 1 < left and places[k + 1] == p + 1:
            grams[p] = mix(grams[p] * np.uint64(0x9E3779B97F4A7C15) + hashes[p + n - 1])  # 2^64 / golden ratio, odd
            places[kept] = p
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _keep_repeated(places: Array, left: int, grams: Array, keys: Array, counts: Array, slots: Array) -> int:
    """Keep the places whose n-gram occurs more than once, and its slots; return how many are left."""
    size = table_size(left)
    counts[:size] = 0
    for k in range(left):
        slots[k] = find_slot(keys, counts, size - 1, grams[places[k]])
        counts[slots[k]] += 1
    kept = 0
    for k in range(left):
        if counts[slots[k]] > 1:
            places[kept], slots[kept] = places[k], slots[k]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _most_frequent(
    places: Array, left: int, slots: Array, counts: Array, start: Array, end: Array, lengths: Array, n: int
) -> int:
    """Return occurrences times length of the most frequent n-gram (the first of equals, spaces included)."""
    best = 0
    for k in range(left):
        if counts[slots[k]] > counts[slots[best]]:
            best = k
    p = places[best]
    length = lengths[p]
    for w in range(p + 1, p + n):
        length += lengths[w] + (start[w] > end[w - 1])
    characters: int = counts[slots[best]] * length
    return characters


@njit(cache=True, nogil=True)
def _repeating(places: Array, left: int, slots: Array, counts: Array, lengths: Array, n: int) -> int:
    """Return the code points in n-grams that repeat an earlier one, left to right, without overlap."""
    total, free = 0, 0
    for k in range(left):
        p = places[k]
        if p < free:
            continue
        if counts[slots[k]] > 0:
            counts[slots[k]] = -1  # seen; nothing counts in this table any more
            continue
        for w in range(p, p + n):
            total += lengths[w]
        free = p + n
    return total

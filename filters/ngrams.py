"""Repeated word n-grams of a document, counted in tables of hashes.

One idea makes this cheap: an n-gram can occur twice only where the (n-1)-grams at its place and at the
next one do. So each length looks only at the places that the length before left, and in ordinary text
hardly any place is left after three words.

Joined n-grams, words written together without a space, are another thing: "ab c" and "a bc" are equal. Their hash
is a polynomial over the bytes, so that of any words in a row is a difference of two sums.
"""

import numpy as np
from numba import njit

from filters.characters import Array
from filters.hashing import find_slot, mix, table_size

SHORTEST = 2  # to 4: the most frequent n-gram; longer: all that repeat an earlier one; Rae et al. 2021, table A1
SHORTEST_JOINED = 5  # words; Rae et al. 2021, table A1
OPENING = 12  # bytes; ours: of English words in a row that begin with the same 12, most are a repetition
_BASE = np.uint64(6364136223846793005)  # Knuth, MMIX: an odd multiplier of 64 well-mixed bits
_INVERSE = np.uint64(pow(int(_BASE), -1, 2**64))


@njit(cache=True, nogil=True)
def measure_ngrams(
    first: Array,
    start: Array,
    end: Array,
    hashes: Array,
    lengths: Array,
    last: Array,
    characters: Array,
    single: bool = False,
) -> None:
    """Fill, for every document and n from 2, the code points in its top or repeating n-grams (documents, up to 9).

    The last column is that of n = last[document], which may be beyond the one that its place stands for. A most
    frequent n-gram that occurs once counts 0, with `single` its length; of equals the first is taken.
    """
    longest = _longest(first)
    keys = np.empty(table_size(longest), np.uint64)
    counts = np.empty(table_size(longest), np.int32)
    grams = np.empty(longest, np.uint64)
    places = np.empty(longest, np.int32)
    slots = np.empty(longest, np.int32)
    for document in range(first.shape[0] - 1):
        a, b = first[document], first[document + 1]
        words = (start[a:b], end[a:b], hashes[a:b], lengths[a:b])
        if single:
            for n in range(SHORTEST, min(5, b - a + 1)):
                characters[document, n - 2] = _length(0, start[a:b], end[a:b], lengths[a:b], n)
        _measure_document(words, keys, counts, grams, places, slots, last[document], characters[document])


@njit(cache=True, nogil=True)
def _longest(first: Array) -> int:
    """Return the words of the longest document."""
    longest = 0
    for document in range(first.shape[0] - 1):
        longest = max(longest, first[document + 1] - first[document])
    return longest


@njit(cache=True, nogil=True)
def _measure_document(
    words: tuple[Array, Array, Array, Array],
    keys: Array,
    counts: Array,
    grams: Array,
    places: Array,
    slots: Array,
    last: int,
    characters: Array,
) -> None:
    """Go from 2-grams to longer ones; `places` holds where one may repeat, grams[p] the hash of the one at p."""
    start, end, hashes, lengths = words
    left = hashes.shape[0]
    for p in range(left):
        places[p] = p
        grams[p] = hashes[p]
    for n in range(SHORTEST, last + 1):
        left = _extend(places, left, grams, hashes, n)
        left = _keep_repeated(places, left, grams, keys, counts, slots)
        if left == 0:
            break
        if n < 5:
            characters[n - 2] = _most_frequent(places, left, slots, counts, start, end, lengths, n)
        elif n == last:
            characters[-1] = _repeating(places, left, slots, counts, lengths, n)
        elif n - 1 < characters.shape[0]:
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
    characters: int = counts[slots[best]] * _length(places[best], start, end, lengths, n)
    return characters


@njit(cache=True, nogil=True)
def _length(p: int, start: Array, end: Array, lengths: Array, n: int) -> int:
    """Return the code points of the n-gram at word p, one for each gap between its words."""
    length = n - 1
    for w in range(p + 1, p + n):
        length -= start[w] == end[w - 1]
    for w in range(p, p + n):
        length += lengths[w]
    return length


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


@njit(cache=True, nogil=True)
def measure_joined(first: Array, start: Array, end: Array, data: Array, lengths: Array, characters: Array) -> None:
    """Fill, for every document and n from 5, the code points in joined n-grams that repeat an earlier one."""
    longest = _longest(first)
    keys, counts = np.empty(table_size(longest), np.uint64), np.empty(table_size(longest), np.int32)
    slots, places = np.empty(longest, np.int32), np.empty(longest, np.int32)
    begins, scales = np.empty(longest + 1, np.int64), np.empty(longest, np.uint64)
    sums = np.empty(_most_bytes(first, start, end) + 1, np.uint64)
    for document in range(first.shape[0] - 1):
        a, b = first[document], first[document + 1]
        _sum_bytes(start[a:b], end[a:b], data, begins, scales, sums)
        left = _keep_likely(b - a, begins, scales, sums, keys, counts, slots, places)
        for n in range(SHORTEST_JOINED, SHORTEST_JOINED + characters.shape[1]):
            words = (begins, scales, sums, lengths[a:b])
            characters[document, n - SHORTEST_JOINED] = _repeating_joined(words, places, left, keys, counts, n)


@njit(cache=True, nogil=True)
def _most_bytes(first: Array, start: Array, end: Array) -> int:
    """Return the most bytes that a document may have between its first word's begin and its last word's end."""
    most = 0
    for document in range(first.shape[0] - 1):
        if first[document] < first[document + 1]:
            most = max(most, end[first[document + 1] - 1] - start[first[document]])
    return most


@njit(cache=True, nogil=True)
def _sum_bytes(start: Array, end: Array, data: Array, begins: Array, scales: Array, sums: Array) -> None:
    """Join the words: fill where each begins, the inverse of its first power, and the sums before every byte."""
    total, power, inverse, k = np.uint64(0), np.uint64(1), np.uint64(1), 0
    for w in range(start.shape[0]):
        begins[w], scales[w] = k, inverse
        for i in range(start[w], end[w]):
            sums[k] = total
            total += (np.uint64(data[i]) + np.uint64(1)) * power
            power *= _BASE
            inverse *= _INVERSE
            k += 1
    begins[start.shape[0]], sums[k] = k, total


@njit(cache=True, nogil=True)
def _keep_likely(
    words: int,
    begins: Array,
    scales: Array,
    sums: Array,
    keys: Array,
    counts: Array,
    slots: Array,
    places: Array,
) -> int:
    """List the words at which a joined n-gram may repeat one at another: their next OPENING bytes are not unique.

    Words with fewer bytes from there to the end of five words are listed too. Return how many are.
    """
    size = table_size(words)
    counts[:size] = 0
    for w in range(words):
        slots[w] = -1
        if begins[min(words, w + SHORTEST_JOINED)] - begins[w] >= OPENING:
            slot = find_slot(keys, counts, size - 1, mix((sums[begins[w] + OPENING] - sums[begins[w]]) * scales[w]))
            counts[slot] += 1
            slots[w] = slot
    left = 0
    for w in range(words):
        if slots[w] < 0 or counts[slots[w]] > 1:
            places[left] = w
            left += 1
    return left


@njit(cache=True, nogil=True)
def _repeating_joined(
    words: tuple[Array, Array, Array, Array], places: Array, left: int, keys: Array, counts: Array, n: int
) -> int:
    """Return the code points in joined n-grams that repeat an earlier one, left to right, without overlap."""
    begins, scales, sums, lengths = words
    size = table_size(left)
    counts[:size] = 0
    total, free = 0, 0
    for k in range(left):
        p = places[k]
        if p < free or p + n > lengths.shape[0]:
            continue
        slot = find_slot(keys, counts, size - 1, mix((sums[begins[p + n]] - sums[begins[p]]) * scales[p]))
        if counts[slot] == 0:
            counts[slot] = 1
            continue
        for w in range(p, p + n):
            total += lengths[w]
        free = p + n
    return total

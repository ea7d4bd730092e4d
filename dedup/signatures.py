"""MinHash signatures, bit-identical to datasketch's.

    datasketch.MinHash(num_perm=K, seed=S, scheme="affine32", hashfunc=shingle_hash)

updated with a text's shingles has the hash values that `signatures` computes, a batch at a time, compiled. A shingle
is n successive words, normalised and joined by single spaces, as UTF-8; a word is normalised to its letters and
digits in lower case, and words of which nothing is left are passed over. A text of fewer words is one shingle; a text
without words has the signature of an empty set.
"""

from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.generic]

EMPTY = np.uint32(0xFFFFFFFF)  # value of an empty set, as in datasketch
BASE = 6364136223846793005  # multiplier of the polynomial hash: Knuth, MMIX (TAOCP 2, 3.3.4)
_BASE = np.uint64(BASE)
_SEPARATES, _ALONE, _MARK = 1, 2, 4  # what a character does to words
_LETTERED = 0x40000  # code points that may be letters or digits: planes 4 to 13 are empty, 14 to 16 hold none
_BUFFERED = 4096  # shingle hashes permuted together; 16 KB, half of a first-level cache


def shingle_hash(shingle: bytes) -> int:
    """Return the 32-bit hash of a shingle's bytes, for datasketch's `hashfunc`.

    The polynomial sum over bytes of (byte + 1) BASE^(bytes after it) mod 2^64, mixed by MurmurHash3's 64-bit
    finalizer; the upper half. The polynomial of a shingle follows from those of its words, so each byte is read once.
    """
    value = 0
    for byte in shingle:
        value = (value * BASE + byte + 1) & 0xFFFFFFFFFFFFFFFF
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & 0xFFFFFFFFFFFFFFFF
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & 0xFFFFFFFFFFFFFFFF
    return (value ^ value >> 33) >> 32


def permutations(count: int, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return a (odd) and b of the maps h -> a h + b mod 2^32, as datasketch 2.0 draws them (minhash.py, affine32)."""
    draw = np.random.RandomState(seed)
    a = draw.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    b = draw.randint(0, 1 << 32, count, dtype=np.uint32)
    return a, b


def signatures(
    offsets: NDArray[np.int64],
    data: NDArray[np.uint8],
    table: NDArray[np.uint32],
    *,
    shingle_words: int,
    count: int,
    seed: int,
) -> NDArray[np.uint32]:
    """Return the signatures (documents, count) of texts data[offsets[d]:offsets[d + 1]], UTF-8.

    `table` is that of `word_table`: which characters make words.
    """
    a, b = permutations(count, seed)
    out = np.full((len(offsets) - 1, count), EMPTY, np.uint32)
    _signatures(offsets, data, table, shingle_words, a, b, out)
    return out


def word_table(separates: NDArray[np.bool_], alone: NDArray[np.bool_], mark: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Return for each code point its lower case and, in the upper byte, what it does to words (1,114,112).

    A character that separates ends a word; one that stands alone is a word with the marks that follow it; all others
    between separators and words alone are a word.
    """
    flags = separates * np.uint32(_SEPARATES) | alone * np.uint32(_ALONE) | mark * np.uint32(_MARK)
    table: NDArray[np.uint32] = folded() | flags << np.uint32(24)
    return table


@cache
def folded() -> NDArray[np.uint32]:
    """Return for each code point its lower case, 0 for what is neither letter nor digit (1,114,112)."""
    points = np.arange(_LETTERED, dtype=np.uint32)
    points[0xD800:0xE000] = 0  # surrogates are no text
    letters = points.view("<U1")
    lower = np.strings.lower(letters).astype("<U1").view(np.uint32)
    table = np.zeros(0x110000, np.uint32)
    table[:_LETTERED] = np.where(np.strings.isalnum(letters), lower, 0)
    return table


@njit(cache=True, nogil=True)
def _signatures(offsets: Array, data: Array, table: Array, n: int, a: Array, b: Array, out: Array) -> None:
    """Fill the signatures: words are cut, hashed and joined to shingles in one pass over the bytes."""
    word_hash = np.zeros(n, np.uint64)  # of the last n words, a ring
    word_power = np.zeros(n, np.uint64)  # BASE^(bytes of the word)
    held = np.empty(_BUFFERED, np.uint32)
    for document in range(offsets.shape[0] - 1):
        words = filled = slot = 0
        value, power = np.uint64(0), np.uint64(1)
        is_alone = False  # whether the last word is a character that stands alone
        i, stop = offsets[document], offsets[document + 1]
        while i <= stop:
            entry, i = _entry(data, i, stop, table)
            flags = entry >> np.uint32(24)
            if flags & _ALONE:
                ends = not (is_alone and flags & _MARK)
            else:
                ends = flags & _SEPARATES != 0 or (is_alone and not flags & _MARK)
            if ends and power != np.uint64(1):
                word_hash[slot] = value
                word_power[slot] = power
                value, power = np.uint64(0), np.uint64(1)
                slot = slot + 1 if slot + 1 < n else 0  # divisions took two fifths of the time
                words += 1
                if words >= n:
                    held[filled] = _shingle(word_hash, word_power, slot, n)
                    filled += 1
                    if filled == _BUFFERED:
                        _lower(out[document], held, filled, a, b)
                        filled = 0
            if ends:
                is_alone = flags & _ALONE != 0
            point = entry & np.uint32(0xFFFFFF)
            if point:
                value, power = _appended(value, power, point)
        if 0 < words < n:
            held[0] = _shingle(word_hash, word_power, 0, words)
            filled = 1
        _lower(out[document], held, filled, a, b)


@njit(cache=True, nogil=True)
def _entry(data: Array, i: int, stop: int, table: Array) -> tuple[np.uint32, int]:
    """Return the table's entry for the character at byte i, and the byte after it; the end of a text separates."""
    if i == stop:
        return np.uint32(_SEPARATES << 24), i + 1
    if data[i] < 0x80:
        return table[data[i]], i + 1
    point, size = decode(data, i)
    return table[point], i + size


@njit(cache=True, nogil=True)
def _appended(value: np.uint64, power: np.uint64, point: np.uint32) -> tuple[np.uint64, np.uint64]:
    """Return a word's polynomial and power with the UTF-8 bytes of one more character."""
    if point < 0x80:
        return value * _BASE + np.uint64(point + 1), power * _BASE
    for index in range(4):
        byte = _encoded(int(point), index)
        if byte >= 0:
            value = value * _BASE + np.uint64(byte + 1)
            power = power * _BASE
    return value, power


@njit(cache=True, nogil=True)
def word_polynomial(data: Array, start: int, end: int, fold: Array) -> tuple[np.uint64, np.uint64]:
    """Return the polynomial of a normalised word and BASE^(its bytes), which is 1 when nothing is left."""
    value, power = np.uint64(0), np.uint64(1)
    i = start
    while i < end:
        point, size = decode(data, i)
        i += size
        point = fold[point]
        if point == 0:
            continue
        value, power = _appended(value, power, point)
    return value, power


@njit(cache=True, nogil=True)
def decode(data: Array, i: int) -> tuple[int, int]:
    """Return the code point that starts at byte i, and its bytes."""
    lead = int(data[i])
    if lead < 0x80:
        return lead, 1
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | (data[i + 1] & 0x3F), 2
    if lead < 0xF0:
        return (lead & 0x0F) << 12 | (data[i + 1] & 0x3F) << 6 | (data[i + 2] & 0x3F), 3
    tail = (data[i + 1] & 0x3F) << 12 | (data[i + 2] & 0x3F) << 6 | (data[i + 3] & 0x3F)
    return (lead & 0x07) << 18 | tail, 4


@njit(cache=True, nogil=True)
def _encoded(point: int, index: int) -> int:
    """Return UTF-8 byte `index` of a code point, -1 after its last."""
    if point < 0x80:
        return point if index == 0 else -1
    size = 2 if point < 0x800 else 3 if point < 0x10000 else 4
    if index >= size:
        return -1
    if index == 0:
        return (0xF00 >> size & 0xFF) | point >> 6 * (size - 1)
    return 0x80 | point >> 6 * (size - 1 - index) & 0x3F


@njit(cache=True, nogil=True)
def shingle64(word_hash: Array, word_power: Array, slot: int, n: int) -> np.uint64:
    """Return 64 bits for n words joined by spaces from a slot of the ring on; `shingle_hash` is their upper half."""
    value = np.uint64(0)
    for j in range(n):
        if j > 0:
            value = value * _BASE + np.uint64(33)  # a space is byte 32
        value = value * word_power[slot] + word_hash[slot]
        slot = slot + 1 if slot + 1 < word_hash.shape[0] else 0
    value = (value ^ value >> np.uint64(33)) * np.uint64(0xFF51AFD7ED558CCD)  # MurmurHash3, fmix64
    value = (value ^ value >> np.uint64(33)) * np.uint64(0xC4CEB9FE1A85EC53)  # the same
    return value ^ value >> np.uint64(33)


@njit(cache=True, nogil=True)
def _shingle(word_hash: Array, word_power: Array, slot: int, n: int) -> np.uint32:
    """Return the hash of n words of the ring, mixed as datasketch's affine32 does."""
    half = np.uint32(shingle64(word_hash, word_power, slot, n) >> np.uint64(32))
    half = np.uint32((half ^ half >> np.uint32(16)) * np.uint32(0x85EBCA6B))  # MurmurHash3, fmix32
    half = np.uint32((half ^ half >> np.uint32(13)) * np.uint32(0xC2B2AE35))
    return half ^ half >> np.uint32(16)


@njit(cache=True, nogil=True)
def _lower(row: Array, held: Array, filled: int, a: Array, b: Array) -> None:
    """Lower each value of a signature to the least permuted hash."""
    for k in range(row.shape[0]):
        scale, shift, least = a[k], b[k], row[k]
        for i in range(filled):
            least = min(least, np.uint32(scale * held[i] + shift))
        row[k] = least

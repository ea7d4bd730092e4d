"""64-bit hashes of bytes, and the open-addressed tables that count them."""

import numpy as np
from numba import njit

from filters.characters import Array


@njit(cache=True, nogil=True)
def mix(value: np.uint64) -> np.uint64:
    """Return the value with every bit spread over all others: MurmurHash3's finalizer (public domain)."""
    value = (value ^ value >> np.uint64(33)) * np.uint64(0xFF51AFD7ED558CCD)  # MurmurHash3, fmix64
    value = (value ^ value >> np.uint64(33)) * np.uint64(0xC4CEB9FE1A85EC53)  # MurmurHash3, fmix64
    return value ^ value >> np.uint64(33)


@njit(cache=True, nogil=True)
def hash_span(data: Array, start: int, end: int) -> np.uint64:
    """Return a 64-bit hash of data[start:end]: FNV-1a over the bytes, then a final mix."""
    value = np.uint64(0xCBF29CE484222325)  # FNV-1a offset basis and prime, draft-eastlake-fnv
    for i in range(start, end):
        value = (value ^ np.uint64(data[i])) * np.uint64(0x100000001B3)
    return mix(value)


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

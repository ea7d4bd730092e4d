"""How deep a page nests, estimated from its tags before it is parsed: parsers take very long for some deep trees."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters.characters import Array

# Tags without an end, or whose end is implied by the next one.
_FLAT_NAMES = "area base br col embed hr img input link meta source track wbr p li td th tr dd dt option"
_BUCKETS = 1 << 14  # for names, by their hash; of two that share one, the second may close the first


def nesting(page: str) -> int:
    """Return about how deep the tree of a page is: start tags without their end tags, at the most."""
    return int(_deepest(np.frombuffer(page.encode("utf-8", "replace") or b" ", np.uint8), _FLAT))


@njit(cache=True, nogil=True)
def _deepest(data: Array, flat: Array) -> int:
    """Return the most tags open at a time; an end tag whose like is not open closes nothing."""
    opened = np.zeros(_BUCKETS, np.int32)
    depth, deepest = 0, 0
    i, size = 0, data.shape[0]
    while i + 1 < size:
        if data[i] != 0x3C:
            i += 1
            continue
        i += 1
        end = data[i] == 0x2F
        i += end
        if i >= size or not _is_letter(data[i]):
            continue
        name, i = _hash_name(data, i)
        if flat[name] or (end and opened[name] == 0):
            continue
        step = -1 if end else 1
        opened[name] += step
        depth += step
        deepest = max(deepest, depth)
    return deepest


@njit(cache=True, nogil=True)
def _hash_name(data: Array, i: int) -> tuple[int, int]:
    """Return the bucket of the name that begins at byte i, of either case, and the byte after it."""
    value = 0
    while i < data.shape[0] and (_is_letter(data[i]) or 0x30 <= data[i] <= 0x39):
        value = (value * 31 + (int(data[i]) | 0x20)) & (_BUCKETS - 1)
        i += 1
    return value, i


@njit(cache=True, nogil=True)
def _is_letter(byte: int) -> bool:
    """Tell whether a byte is an ASCII letter."""
    return 0x41 <= byte <= 0x5A or 0x61 <= byte <= 0x7A


def _flat_buckets() -> NDArray[np.bool_]:
    """Return which buckets hold names that do not nest."""
    flat = np.zeros(_BUCKETS, np.bool_)
    for name in _FLAT_NAMES.split():
        bucket, _ = _hash_name.py_func(np.frombuffer(name.encode(), np.uint8), 0)
        flat[bucket] = True
    return flat


_FLAT = _flat_buckets()

"""How deep a page nests and what a parser would add to it, estimated from its tags before it is parsed."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters.characters import Array

# Tags without an end, or whose end is implied by the next one.
_FLAT_NAMES = "area base br col embed hr img input link meta source track wbr p li td th tr dd dt option"
# The HTML standard's formatting elements: a parser opens those that are left open again in every block that follows.
FORMATTING = "a b big code em font i nobr s small strike strong tt u"
_BUCKETS = 1 << 14  # for names, by their hash; of two that share one, the second may close the first


@dataclass(frozen=True, slots=True)
class Nesting:
    """What a page would cost a parser."""

    depth: int  # start tags without their end tags, at the most
    reopened: int  # formatting elements left open, summed over the start tags that follow: each may be opened again


def nesting(page: str) -> Nesting:
    """Return about how deep the tree of a page is, and how many elements a parser may add of its own."""
    data = np.frombuffer(page.encode("utf-8", "replace") or b" ", np.uint8)
    depth, reopened = _measure(data, _buckets(_FLAT_NAMES), _buckets(FORMATTING))
    return Nesting(int(depth), int(reopened))


@njit(cache=True, nogil=True)
def _measure(data: Array, flat: Array, formatting: Array) -> tuple[int, int]:
    """Return the most tags open at a time, and the reopened; an end tag whose like is not open closes nothing."""
    opened = np.zeros(_BUCKETS, np.int32)
    depth, deepest, styles, reopened = 0, 0, 0, 0
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
        if not end and not formatting[name]:
            reopened += styles
        if flat[name] or (end and opened[name] == 0):
            continue
        step = -1 if end else 1
        opened[name] += step
        depth += step
        styles += step * formatting[name]
        deepest = max(deepest, depth)
    return deepest, reopened


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


@cache
def _buckets(names: str) -> NDArray[np.bool_]:
    """Return which buckets hold these names."""
    held = np.zeros(_BUCKETS, np.bool_)
    for name in names.split():
        bucket, _ = _hash_name(np.frombuffer(name.encode(), np.uint8), 0)
        held[bucket] = True
    return held

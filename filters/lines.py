"""Lines between line feeds, and which of them repeat an earlier one of their document.

Gopher's repetition and FineWeb read the same table. A line here is what str.split gives for a line feed, so a
document has one more than line feeds, and the last may be empty.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters.characters import SPACE, Array, character_classes, decode
from filters.hashing import find_slot, mix, table_size

BLANK = 1  # white space only, or nothing
REPEATED = 2  # equal to an earlier line of the document


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a column: line n is data[start[n]:end[n]], document d has first[d] to first[d + 1]."""

    first: NDArray[np.int64]  # (documents + 1)
    start: NDArray[np.int64]  # (lines) bytes into the passage's data
    end: NDArray[np.int64]  # (lines)
    lengths: NDArray[np.int32]  # (lines) code points
    hashes: NDArray[np.uint64]  # (lines)
    kinds: NDArray[np.uint8]  # (lines) the bits above


def split_lines(offsets: NDArray[np.int64], data: NDArray[np.uint8]) -> Lines:
    """Split every text, data[offsets[d]:offsets[d + 1]], at its line feeds."""
    first = _count_lines(data, offsets)
    lines = Lines(
        first,
        np.empty(first[-1], np.int64),
        np.empty(first[-1], np.int64),
        np.empty(first[-1], np.int32),
        np.empty(first[-1], np.uint64),
        np.zeros(first[-1], np.uint8),
    )
    arrays = (lines.start, lines.end, lines.lengths, lines.hashes, lines.kinds)
    _read_lines(data, offsets, character_classes(), first, *arrays)
    _mark_repeated(first, lines.hashes, lines.kinds)
    return lines


@njit(cache=True, nogil=True)
def _count_lines(data: Array, offsets: Array) -> Array:
    """Return where the lines of every document begin in a table of all (documents + 1)."""
    first = np.zeros(offsets.shape[0], np.int64)
    for document in range(offsets.shape[0] - 1):
        lines = 1
        for i in range(offsets[document], offsets[document + 1]):
            lines += data[i] == 0x0A
        first[document + 1] = first[document] + lines
    return first


@njit(cache=True, nogil=True)
def _read_lines(
    data: Array,
    offsets: Array,
    classes: Array,
    first: Array,
    start: Array,
    end: Array,
    lengths: Array,
    hashes: Array,
    kinds: Array,
) -> None:
    """Fill the arrays of Lines, but for which line is repeated."""
    for document in range(offsets.shape[0] - 1):
        i = offsets[document]
        for line in range(first[document], first[document + 1]):
            start[line] = i
            value = np.uint64(0xCBF29CE484222325)  # FNV-1a offset basis, draft-eastlake-fnv
            length = 0
            while i < offsets[document + 1] and data[i] != 0x0A:
                value = (value ^ np.uint64(data[i])) * np.uint64(0x100000001B3)  # FNV-1a prime
                length += data[i] & 0xC0 != 0x80
                i += 1
            end[line], lengths[line], hashes[line] = i, length, mix(value)
            kinds[line] = BLANK * is_blank(data, start[line], i, classes)
            i += 1


@njit(cache=True, nogil=True)
def _mark_repeated(first: Array, hashes: Array, kinds: Array) -> None:
    """Mark the lines that an earlier one of the document equals."""
    longest = 0
    for document in range(first.shape[0] - 1):
        longest = max(longest, first[document + 1] - first[document])
    keys, counts = np.empty(table_size(longest), np.uint64), np.empty(table_size(longest), np.int32)
    for document in range(first.shape[0] - 1):
        if first[document + 1] - first[document] < 2:
            continue
        size = table_size(first[document + 1] - first[document])
        counts[:size] = 0
        for line in range(first[document], first[document + 1]):
            slot = find_slot(keys, counts, size - 1, hashes[line])
            if counts[slot]:
                kinds[line] |= REPEATED
            counts[slot] = 1


@njit(cache=True, nogil=True)
def is_blank(data: Array, start: int, stop: int, classes: Array) -> bool:
    """Tell whether data[start:stop] is white space only."""
    while start < stop:
        code, start = decode(data, start)
        if not classes[code] & SPACE:
            return False
    return True

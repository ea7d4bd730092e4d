"""Units: the parts of a text that a SentencePiece model encodes without looking at each other, and their ids, kept.

Where no piece of a model holds two neighbouring characters side by side, no piece reaches across them, so what lies on
both sides is encoded as if it stood alone. Cut at all such places, a text falls into units, of which most were met
before: words with their space, a few characters of Chinese. The model encodes each unit once; after that its ids are
copied by compiled code. They are the ids that the model gives for the whole text.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ids = NDArray[np.int32]
Ints = NDArray[np.int64]
Encode = Callable[[Sequence[bytes]], tuple[Ids, Ints]]  # ids of units, one after the other, and their offsets

PAIR_BITS = 20  # of the table of neighbours; two pairs that share a cell only make a unit longer
CELL_BITS = 20  # of the table of units; emptied when half full
LONGEST = 64  # bytes of a unit that is kept; a longer one is hardly met again
POOL = 1 << 24  # bytes of the kept units, and ids of them: an id stands for a byte at least

START, SIZE, CELL = 0, 1, 2  # of a unit's span; cell -1: not kept
KEY, BYTES, FIRST, IDS = 0, 1, 2, 3  # of a cell


@dataclass(slots=True)
class Units:
    """The neighbours of a model, and the units that were met: up to 100 MB, as many as are met."""

    neighbours: NDArray[np.bool_]  # (2^PAIR_BITS)
    cells: NDArray[
        np.int32
    ]  # (2^CELL_BITS, 4): first byte and bytes in `keys`, first id and ids in `ids`; 0 bytes: free
    keys: Bytes
    ids: Ids
    used: Ints  # (3): cells, bytes, ids


def make_units(pieces: Iterable[str]) -> Units:
    """Return the units of a model with these pieces, spaces written as spaces; none is met yet."""
    neighbours = np.zeros(1 << PAIR_BITS, np.bool_)
    for a, b in {pair for piece in pieces for pair in pairwise(piece)}:
        neighbours[_pair(ord(a), ord(b))] = True
    cells = np.zeros((1 << CELL_BITS, 4), np.int32)
    return Units(neighbours, cells, np.zeros(POOL, np.uint8), np.zeros(POOL, np.int32), np.zeros(3, np.int64))


def encode_units(units: Units, data: Bytes, offsets: Ints, encode: Encode) -> tuple[Ids, Ints]:
    """Return the ids of the texts data[offsets[i]:offsets[i + 1]] and their offsets (texts + 1).

    Texts are UTF-8. `encode` returns the ids of units that were not met yet; what it raises leaves no unit behind.
    """
    if units.used[0] > len(units.cells) // 2 or units.used[1] > POOL // 2:
        _forget(units)
    spans = np.empty((_cut(data, offsets, units.neighbours, np.empty((0, 3), np.int64)), 3), np.int64)
    _cut(data, offsets, units.neighbours, spans)
    new = np.flatnonzero(_find(data, spans, units.cells, units.keys, units.used))
    try:
        ids, bounds = encode([data[start : start + size].tobytes() for start, size, _ in spans[new].tolist()])
    except BaseException:
        _forget(units)
        raise
    _keep(spans[new], ids, bounds, units.cells, units.ids, units.used)
    return _joined(offsets, spans, new, ids, bounds, units.cells, units.ids)


def load_kernels() -> None:
    """Compile and load what encoding runs: processes that are forked then have it."""
    data, offsets = packed([b"ab c"])
    encode_units(
        make_units(["ab"]), data, offsets, lambda parts: (np.zeros(0, np.int32), np.zeros(len(parts) + 1, int))
    )
    same_bytes([b"ab"], np.zeros(0, np.int32), np.zeros(2, int), packed([b"ab"]))


def same_bytes(units: Sequence[bytes], ids: Ids, bounds: Ints, pieces: tuple[Bytes, Ints]) -> bool:
    """Tell whether the ids of units, ids[bounds[i]:bounds[i + 1]], stand for the bytes of each; pieces are packed."""
    return bool(_same_bytes(*packed(units), ids, bounds, *pieces))


def packed(parts: Sequence[bytes]) -> tuple[Bytes, Ints]:
    """Return the bytes of parts, one after the other, and their offsets (parts + 1)."""
    return np.frombuffer(b"".join(parts), np.uint8), np.cumsum([0, *map(len, parts)])


@njit(cache=True, nogil=True)
def _same_bytes(data, offsets, ids, bounds, pieces, piece_offsets):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for unit in range(len(offsets) - 1):
        at = offsets[unit]
        for index in ids[bounds[unit] : bounds[unit + 1]]:
            for place in range(piece_offsets[index], piece_offsets[index + 1]):
                if at >= offsets[unit + 1] or data[at] != pieces[place]:
                    return False
                at += 1
        if at != offsets[unit + 1]:
            return False
    return True


def _forget(units: Units) -> None:
    units.cells[:] = 0
    units.used[:] = 0


@njit(cache=True, nogil=True)
def _pair(a, b):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Return the cell of two neighbouring characters."""
    return ((a * 0x9E3779B1 + b) * 0x85EBCA6B >> 11) & ((1 << PAIR_BITS) - 1)


@njit(cache=True, nogil=True)
def _character(data, at):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Return a character and its bytes."""
    first = np.int64(data[at])
    if first < 0x80:
        return first, 1
    if first < 0xE0:
        return (first & 0x1F) << 6 | (data[at + 1] & 0x3F), 2
    if first < 0xF0:
        return (first & 0x0F) << 12 | np.int64(data[at + 1] & 0x3F) << 6 | (data[at + 2] & 0x3F), 3
    high = (first & 0x07) << 18 | np.int64(data[at + 1] & 0x3F) << 12
    return high | np.int64(data[at + 2] & 0x3F) << 6 | (data[at + 3] & 0x3F), 4


@njit(cache=True, nogil=True)
def _cut(data, offsets, neighbours, spans):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Write the spans of the units, as far as there is room; return how many there are."""
    count = 0
    for text in range(len(offsets) - 1):
        start = at = offsets[text]
        before = np.int64(0)
        while at < offsets[text + 1]:
            character, size = _character(data, at)
            if at > start and not neighbours[_pair(before, character)]:
                if count < len(spans):
                    spans[count, START], spans[count, SIZE] = start, at - start
                count += 1
                start = at
            before = character
            at += size
        if at > start:
            if count < len(spans):
                spans[count, START], spans[count, SIZE] = start, at - start
            count += 1
    return count


@njit(cache=True, nogil=True)
def _find(data, spans, cells, keys, used):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Write each span's cell, a new one where the unit is new and there is room; return which are to be encoded."""
    new = np.zeros(len(spans), np.bool_)
    mask = len(cells) - 1
    for number in range(len(spans)):
        start, size = spans[number, START], spans[number, SIZE]
        spans[number, CELL] = -1
        if size > LONGEST:
            new[number] = True
            continue
        value = np.uint64(0xCBF29CE484222325)
        for i in range(start, start + size):
            value = (value ^ data[i]) * np.uint64(0x100000001B3)  # FNV-1a
        cell = np.int64((value ^ value >> np.uint64(29)) & np.uint64(mask))
        while cells[cell, BYTES] and not _same(data, start, size, keys, cells[cell]):
            cell = (cell + 1) & mask
        if cells[cell, BYTES]:
            spans[number, CELL] = cell
            continue
        new[number] = True
        if used[0] < len(cells) * 3 // 4 and used[1] + size <= len(keys):
            cells[cell, KEY], cells[cell, BYTES] = used[1], size
            keys[used[1] : used[1] + size] = data[start : start + size]
            used[0] += 1
            used[1] += size
            spans[number, CELL] = cell
    return new


@njit(cache=True, nogil=True)
def _same(data, start, size, keys, cell):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    if cell[BYTES] != size:
        return False
    for i in range(size):  # noqa: SIM110 - compiled
        if keys[cell[KEY] + i] != data[start + i]:
            return False
    return True


@njit(cache=True, nogil=True)
def _keep(new, ids, bounds, cells, kept, used):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Copy the ids of the new units that have a cell."""
    for number in range(len(new)):
        cell = new[number, CELL]
        if cell >= 0:
            size = bounds[number + 1] - bounds[number]
            kept[used[2] : used[2] + size] = ids[bounds[number] : bounds[number + 1]]
            cells[cell, FIRST], cells[cell, IDS] = used[2], size
            used[2] += size


@njit(cache=True, nogil=True)
def _joined(offsets, spans, new, ids, bounds, cells, kept):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Return the ids of all spans in order, and where each text's begin."""
    total, fresh = 0, 0
    for number in range(len(spans)):
        is_new = fresh < len(new) and new[fresh] == number
        total += bounds[fresh + 1] - bounds[fresh] if is_new else cells[spans[number, CELL], IDS]
        fresh += is_new
    out, starts = np.empty(total, np.int32), np.zeros(len(offsets), np.int64)
    at, fresh, text = 0, 0, 0
    for number in range(len(spans)):
        while spans[number, START] >= offsets[text + 1]:
            text += 1
            starts[text] = at
        if fresh < len(new) and new[fresh] == number:
            size = bounds[fresh + 1] - bounds[fresh]
            out[at : at + size] = ids[bounds[fresh] : bounds[fresh + 1]]
            fresh += 1
        else:
            cell = cells[spans[number, CELL]]
            size = cell[IDS]
            out[at : at + size] = kept[cell[FIRST] : cell[FIRST] + size]
        at += size
    starts[text + 1 :] = at
    return out, starts

"""The blocks of a page: stretches of text between the starts and ends of elements that stand by themselves."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters.characters import Array
from pipeline.formats.class_words import HIDDEN
from pipeline.formats.markup import BLOCK, CODE, OPENED, TEXT, TRAITS, UNREAD, Markup

_LINK = CODE["a"]
_NO_BREAK_SPACE = np.frombuffer(b"&nbsp;", np.uint8)  # as it is serialized


@dataclass(frozen=True, slots=True)
class Blocks:
    """Every block with text that is read."""

    first: NDArray[np.int32]  # (blocks) its first event
    last: NDArray[np.int32]  # (blocks) the event after it
    owners: NDArray[np.int32]  # (blocks) the element it begins in
    characters: NDArray[np.int32]  # (blocks) code points that are no white space
    linked: NDArray[np.int32]  # (blocks) of them, those inside links
    points: NDArray[np.int32]  # (blocks) marks of punctuation that prose has


def find_blocks(markup: Markup) -> Blocks:
    """Return the blocks of a page in order."""
    texts = int((markup.kinds == TEXT).sum()) + 1
    first, last, owners = (np.zeros(texts, np.int32) for _ in range(3))
    characters, linked, points = (np.zeros(texts, np.int32) for _ in range(3))
    arrays = (first, last, owners, characters, linked, points)
    events = (markup.kinds, markup.first, markup.last)
    elements = (markup.tags, markup.parents, markup.marks)
    found = _fill(markup.data, events, elements, TRAITS, arrays)
    return Blocks(first[:found], last[:found], owners[:found], characters[:found], linked[:found], points[:found])


@njit(cache=True, nogil=True)
def _fill(
    data: Array,
    events: tuple[Array, Array, Array],
    elements: tuple[Array, Array, Array],
    traits: Array,
    arrays: tuple[Array, Array, Array, Array, Array, Array],
) -> int:
    """Fill the arrays of Blocks and return how many there are."""
    kinds, starts, ends = events
    tags, parents, marks = elements
    first, last, owners, characters, linked, points = arrays
    n, current, links, unread = 0, 0, 0, 0
    begun = False
    for k in range(kinds.shape[0]):
        if kinds[k] == TEXT:
            if unread:
                continue
            count, marked = _count(data, starts[k], ends[k])
            if not count:
                continue
            if not begun:
                begun, first[n], owners[n] = True, k, current
            last[n] = k + 1
            characters[n] += count
            points[n] += marked
            linked[n] += count * (links > 0)
            continue
        element = starts[k]
        opened = kinds[k] == OPENED
        step = 1 if opened else -1
        current = element if opened else parents[element]
        links += step * (tags[element] == _LINK)
        unread += step * (traits[tags[element]] & UNREAD != 0 or marks[element] & HIDDEN != 0)
        if traits[tags[element]] & BLOCK and begun:
            n, begun = n + 1, False
    return n + begun


@njit(cache=True, nogil=True)
def _count(data: Array, start: int, stop: int) -> tuple[int, int]:
    """Return the code points in data[start:stop] that are no white space, and the marks of prose among them."""
    characters, points = 0, 0
    i = start
    while i < stop:
        byte = data[i]
        if byte == 0x26 and is_no_break_space(data, i, stop):
            i += _NO_BREAK_SPACE.shape[0]
            continue
        characters += byte > 0x20 and byte & 0xC0 != 0x80
        if byte < 0x80:
            points += byte in (0x2E, 0x2C, 0x21, 0x3F, 0x3B)  # . , ! ? ;
        elif byte >= 0xE0 and i + 2 < stop:
            code = (int(byte) & 0x0F) << 12 | (int(data[i + 1]) & 0x3F) << 6 | int(data[i + 2]) & 0x3F
            points += code in (0x3001, 0x3002, 0xFF0C, 0x0964)  # 、 。 ， ।
        i += 1
    return characters, points


@njit(cache=True, nogil=True)
def is_no_break_space(data: Array, i: int, stop: int) -> bool:
    """Tell whether a no-break space is written at byte i, before byte stop."""
    length = 0
    while length < _NO_BREAK_SPACE.shape[0] and i + length < stop and data[i + length] == _NO_BREAK_SPACE[length]:
        length += 1
    return length == _NO_BREAK_SPACE.shape[0]

"""The main content of a page: which blocks are the text that the page is about.

A block of prose is one of some length that is mostly not link and has punctuation. What is named as standing beside
the text (menus, teasers, comments: class_words) goes, unless it holds most of the prose; then the element named as the
article is taken, or the one that is an <article>, <main> or named as content, or the smallest that holds most of the
prose. Of its blocks those that are mostly link go, and what is short and stands before or after the prose.

The numbers were chosen on the pages of trafilatura's evaluation (tests/benchmarks/html_pages.py), one half at a time:
each can be changed by a third either way at a cost of at most 0.01 of F1 on either half.
"""

import numpy as np
from numba import njit

from filters.characters import Array
from pipeline.formats.blocks import find_blocks, is_no_break_space
from pipeline.formats.class_words import ARTICLE, ASIDE, COMMENTS, CONTENT, HIDDEN
from pipeline.formats.markup import BESIDE, BLOCK, CODE, GROUP, HEADING, PARAGRAPH, TEXT, TRAITS, UNREAD, Markup

PROSE = 30  # characters, at least, of a block of prose
LONG = 120  # characters from which a block needs no punctuation
LINKED = 0.5  # of a block of prose, at most, that is link
MENU = 0.6  # of a block or group, from which it is a menu
MOST = 0.5  # of the page's prose: what holds so much is not beside it, whatever its name
SOME = 0.1  # the same where MOST leaves too little
MOST_COMMENTS = 0.85  # of the page's prose: what holds so much is no comments, whatever its name
ENOUGH = 0.35  # of the prose outside comments, that must be left
CONTAINER = 0.4  # of the prose that is left, at least, in an element that is taken for its name
WHOLE = 0.8  # of the prose that is left: with less, an element's likes around it are looked for
LEAST = 100  # characters of prose in an element that is taken for its name
NO_PROSE = 200  # characters; with less on the whole page, every block counts that is not a menu
SHORT = 20  # characters of a block that says nothing outside the prose

_BODY, _ARTICLE, _MAIN = CODE["body"], CODE["article"], CODE["main"]
_ITEM, _CELL, _ROW, _PREFORMATTED = CODE["li"], CODE["td"], CODE["tr"], CODE["pre"]
_ENTITIES = (("&nbsp;", "\xa0"), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&"))


Elements = tuple[Array, Array, Array, Array]  # tags, parents, traits, marks
Counts = tuple[Array, Array, Array]  # characters, linked, points


def main_content(markup: Markup) -> str:
    """Return the main text of a page: blocks on lines, an empty line beside paragraphs, tabs in table rows."""
    blocks = find_blocks(markup)
    elements = (markup.tags, markup.parents, TRAITS[markup.tags], markup.marks)
    counts = (blocks.characters, blocks.linked, blocks.points)
    kept = _choose(elements, blocks.owners, counts)
    events = (markup.kinds, markup.first, markup.last)
    written = _write(markup.data, events, elements, (blocks.first, blocks.last, blocks.owners), kept)
    text = str(written.tobytes(), "utf-8")
    for entity, character in _ENTITIES:
        text = text.replace(entity, character)
    return text


@njit(cache=True, nogil=True)
def _choose(elements: Elements, owners: Array, counts: Counts) -> Array:
    """Return which blocks are the main text (blocks)."""
    parents = elements[1]
    prose = _find_prose(counts)
    held = _sum_up(owners, prose, parents)
    every, linked = _sum_up(owners, counts[0], parents), _sum_up(owners, counts[1], parents)
    outside = held[0] - _in_comments(elements, held)
    attempt = 0
    dropped = _drop(elements, held, every, linked, attempt)
    left = _sum_up(owners, prose * (1 - dropped[owners]), parents)
    while left[0] < ENOUGH * outside and attempt < 2:
        attempt += 1
        dropped = _drop(elements, held, every, linked, attempt)
        left = _sum_up(owners, prose * (1 - dropped[owners]), parents)
    container = 0 if left[0] < NO_PROSE else _container(elements, dropped, left)
    inside = _inside(parents, dropped, container)[owners]
    if left[0] < NO_PROSE:
        return inside & (counts[1] <= LINKED * counts[0])
    homes = _homes(parents, elements[2])[owners]
    kept = _keep(elements, homes, counts, prose, inside)
    _drop_lone_headings(elements[2], homes, kept)
    return kept


@njit(cache=True, nogil=True)
def _find_prose(counts: Counts) -> Array:
    """Return the characters of prose in every block."""
    characters, linked, points = counts
    prose = np.zeros(characters.shape[0], np.int64)
    for b in range(prose.shape[0]):
        long_enough = characters[b] >= PROSE and (points[b] > 0 or characters[b] >= LONG)
        if long_enough and linked[b] <= LINKED * characters[b]:
            prose[b] = characters[b] - linked[b]
    return prose


@njit(cache=True, nogil=True)
def _sum_up(owners: Array, values: Array, parents: Array) -> Array:
    """Return for every element the sum over the blocks in it."""
    sums = np.zeros(parents.shape[0], np.int64)
    for b in range(owners.shape[0]):
        sums[owners[b]] += values[b]
    for e in range(parents.shape[0] - 1, 0, -1):
        sums[parents[e]] += sums[e]
    return sums


@njit(cache=True, nogil=True)
def _in_comments(elements: Elements, held: Array) -> int:
    """Return the prose in comments."""
    tags, parents, _, marks = elements
    total = 0
    inside = np.zeros(tags.shape[0], np.bool_)
    for e in range(1, tags.shape[0]):
        inside[e] = inside[parents[e]]
        if not inside[e] and marks[e] & COMMENTS and tags[e] != _BODY:
            inside[e] = True
            total += held[e]
    return total


@njit(cache=True, nogil=True)
def _drop(elements: Elements, held: Array, every: Array, linked: Array, attempt: int) -> Array:
    """Return which elements stand beside the text (elements); the second attempt drops less, the third no name."""
    tags, parents, traits, marks = elements
    dropped = np.zeros(tags.shape[0], np.uint8)
    most = MOST if attempt == 0 else SOME
    for e in range(1, tags.shape[0]):
        mark, trait = marks[e], traits[e]
        if dropped[parents[e]] or trait & UNREAD or mark & HIDDEN:
            dropped[e] = 1
        elif tags[e] == _BODY:
            continue
        elif mark & COMMENTS and attempt < 2:
            dropped[e] = held[e] < MOST_COMMENTS * held[0]
        elif (mark & ASIDE or trait & BESIDE) and attempt < 2 and not mark & ARTICLE and tags[e] != _MAIN:
            dropped[e] = held[e] < most * held[0]
        if trait & GROUP and held[e] == 0 and linked[e] > MENU * every[e]:
            dropped[e] = 1
    return dropped


@njit(cache=True, nogil=True)
def _container(elements: Elements, dropped: Array, left: Array) -> int:
    """Return the element that holds the main text."""
    tags, parents, traits, marks = elements
    for level in range(3):
        named = np.zeros(tags.shape[0], np.uint8)
        best = 0
        for e in range(1, tags.shape[0]):
            named[e] = not dropped[e] and _is_named(tags[e], marks[e], level)
            if named[e] and (best == 0 or left[e] > left[best]):
                best = e
        if best == 0 or left[best] < LEAST:
            continue
        if left[best] < WHOLE * left[0]:
            best = _widen(tags, parents, named, left, best)
        if left[best] >= CONTAINER * left[0]:
            return best
    best = 0
    for e in range(1, tags.shape[0]):
        block = (traits[e] & BLOCK and not traits[e] & PARAGRAPH) or tags[e] == _BODY
        if parents[e] == best and block and left[e] >= WHOLE * left[best]:
            best = e
    return best


@njit(cache=True, nogil=True)
def _is_named(tag: int, mark: int, level: int) -> bool:
    """Tell whether an element says that it holds the text: as an article's, as an article, as content."""
    if tag == _BODY:
        return False
    if level == 0:
        return mark & ARTICLE != 0
    if level == 1:
        return tag == _ARTICLE
    return tag == _MAIN or mark & CONTENT != 0


@njit(cache=True, nogil=True)
def _widen(tags: Array, parents: Array, named: Array, left: Array, best: int) -> int:
    """Return the element around `best` and others of its kind, where these hold most of what it holds."""
    in_named = np.zeros(tags.shape[0], np.int64)
    for e in range(tags.shape[0] - 1, 0, -1):
        if named[e]:
            in_named[e] = left[e]
        in_named[parents[e]] += in_named[e]
    widest, e = best, parents[best]
    while e and tags[e] != _BODY:
        if left[e] > 1.1 * left[widest]:  # more than the same with a caption
            if in_named[e] < 0.7 * left[e]:
                break
            widest = e
        e = parents[e]
    return widest


@njit(cache=True, nogil=True)
def _inside(parents: Array, dropped: Array, container: int) -> Array:
    """Return which elements are in the container and not dropped (elements)."""
    inside = np.zeros(parents.shape[0], np.bool_)
    inside[container] = True
    for e in range(container + 1, parents.shape[0]):
        inside[e] = inside[parents[e]] and not dropped[e]
    return inside


@njit(cache=True, nogil=True)
def _homes(parents: Array, traits: Array) -> Array:
    """Return the nearest element of every element that stands by itself (elements)."""
    homes = np.zeros(parents.shape[0], np.int32)
    for e in range(1, parents.shape[0]):
        homes[e] = e if traits[e] & BLOCK else homes[parents[e]]
    return homes


@njit(cache=True, nogil=True)
def _keep(elements: Elements, homes: Array, counts: Counts, prose: Array, inside: Array) -> Array:
    """Return which blocks are prose or belong to it (blocks)."""
    characters, linked, points = counts
    kept = np.zeros(homes.shape[0], np.bool_)
    begin, end = homes.shape[0], -1
    for b in range(homes.shape[0]):
        if inside[b] and prose[b]:
            begin, end = min(begin, b), b
    for b in range(homes.shape[0]):
        tag, heading = elements[0][homes[b]], elements[2][homes[b]] & HEADING != 0
        if not inside[b]:
            continue
        if prose[b] > 0:
            kept[b] = True
        elif linked[b] > MENU * characters[b]:
            kept[b] = False
        elif b < begin:
            kept[b] = heading or (characters[b] >= SHORT and linked[b] < 0.2 * characters[b])
        elif b > end:
            kept[b] = tag in (_ITEM, _CELL) or (points[b] > 0 and characters[b] >= SHORT and not heading)
        else:
            kept[b] = True
    return kept


@njit(cache=True, nogil=True)
def _drop_lone_headings(traits: Array, homes: Array, kept: Array) -> None:
    """Drop the headings after which nothing is kept."""
    for b in range(homes.shape[0] - 1, -1, -1):
        if kept[b]:
            if not traits[homes[b]] & HEADING:
                return
            kept[b] = False


@njit(cache=True, nogil=True)
def _nearest(tags: Array, parents: Array, tag: int) -> Array:
    """Return the nearest element with a tag around every element, itself included, 0 where there is none (elements)."""
    nearest = np.zeros(tags.shape[0], np.int32)
    for e in range(1, tags.shape[0]):
        nearest[e] = e if tags[e] == tag else nearest[parents[e]]
    return nearest


@njit(cache=True, nogil=True)
def _write(
    data: Array, events: tuple[Array, Array, Array], elements: Elements, places: tuple[Array, Array, Array], kept: Array
) -> Array:
    """Return the bytes of the kept blocks."""
    tags, parents, traits, _ = elements
    first, last, owners = places
    homes = _homes(parents, traits)
    items, rows = _nearest(tags, parents, _ITEM), _nearest(tags, parents, _ROW)
    verbatim = _nearest(tags, parents, _PREFORMATTED)
    out = np.empty(data.shape[0] + 6 * kept.shape[0], np.uint8)
    n, item, row, home = 0, 0, 0, 0
    for b in range(kept.shape[0]):
        if not kept[b]:
            continue
        e = owners[b]
        if n:
            paragraph = (traits[home] | traits[homes[e]]) & PARAGRAPH != 0 and home != homes[e]
            n = _separate(out, n, row > 0 and row == rows[e], paragraph)
        if items[e] and items[e] != item:
            out[n], out[n + 1], out[n + 2], out[n + 3] = 0xE2, 0x80, 0xA2, 0x20  # a bullet and a space
            n += 4
        n = _write_block(data, events, first[b], last[b], (out, n, verbatim[e] != 0))
        item, row, home = items[e], rows[e], homes[e]
    return out[:n]


@njit(cache=True, nogil=True)
def _separate(out: Array, n: int, same_row: bool, paragraph: bool) -> int:
    """Write what stands between two blocks and return the byte after it."""
    out[n] = 0x09 if same_row else 0x0A
    if paragraph and not same_row:
        out[n + 1] = 0x0A
        return n + 2
    return n + 1


@njit(cache=True, nogil=True)
def _write_block(
    data: Array, events: tuple[Array, Array, Array], begin: int, end: int, to: tuple[Array, int, bool]
) -> int:
    """Write the texts between two events, white space drawn together unless verbatim; return the byte after them."""
    out, n, verbatim = to
    start = n
    for k in range(begin, end):
        if events[0][k] != TEXT:
            continue
        i, stop = events[1][k], events[2][k]
        while i < stop:
            byte = data[i]
            if not verbatim and (byte <= 0x20 or (byte == 0x26 and is_no_break_space(data, i, stop))):
                if n > start and out[n - 1] != 0x20:
                    out[n] = 0x20
                    n += 1
                i += 1 if byte <= 0x20 else 6
                continue
            out[n] = byte
            n += 1
            i += 1
    while n > start and out[n - 1] <= 0x20:
        n -= 1
    return n

"""The elements and the text of a page, as arrays, from the HTML that a parser has put in order.

A parser's tree is slow to walk from Python (10 ms a page); its serialization is one string with every tag closed, and
compiled code reads that in a fraction of a millisecond. Nothing is assumed of it: any bytes give arrays that agree.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters.characters import Array
from pipeline.formats.class_words import ARTICLE, ASIDE, COMMENTS, CONTENT, HIDDEN, automaton, marked_words

TEXT, OPENED, CLOSED = 0, 1, 2  # kinds of events
# Traits of tags.
VOID = 1  # has no end tag
RAW = 2  # holds characters, not markup
BLOCK = 4  # stands by itself: text before and after it does not run on
UNREAD = 8  # holds nothing that is read
BESIDE = 16  # mostly beside the text
HEADING = 32
PARAGRAPH = 64
GROUP = 128  # of blocks; one that is mostly links is a menu

_NAMES = (  # of elements, then of attributes
    "a abbr article aside audio b blockquote body br button canvas caption center code col dd del details dialog div "
    "dl dt em embed fieldset figcaption figure font footer form h1 h2 h3 h4 h5 h6 head header hgroup hr i iframe img "
    "input ins label legend li link main math meta nav noembed noframes noscript object ol optgroup option p param "
    "picture plaintext pre s script section select small source span strike strong style sub summary sup svg table "
    "tbody td template textarea tfoot th thead time title tr track u ul video wbr xmp class id role itemprop hidden"
)
NAMES = tuple(_NAMES.split())
CODE = {name: number for number, name in enumerate(NAMES, 1)}  # 0: another one
TRAITS_OF = {
    VOID: "br col embed hr img input link meta param source track wbr",
    RAW: "script style xmp iframe noembed noframes plaintext",
    BLOCK: "article aside blockquote body br caption center dd details dialog div dl dt fieldset figcaption figure "
    "footer form h1 h2 h3 h4 h5 h6 header hgroup hr legend li main nav ol optgroup option p pre section summary table "
    "tbody td tfoot th thead tr ul",
    UNREAD: "script style noscript iframe svg nav button select textarea template audio video canvas object dialog "
    "head option math xmp noembed noframes title input",
    BESIDE: "footer aside form figcaption time label fieldset",
    HEADING: "h1 h2 h3 h4 h5 h6",
    PARAGRAPH: "p h1 h2 h3 h4 h5 h6 pre blockquote",
    GROUP: "ul ol table div section header",
}
LONGEST_NAME = max(map(len, NAMES))
_SEEN = CODE["class"], CODE["id"], CODE["role"], CODE["itemprop"]
_STYLE, _HIDDEN = CODE["style"], CODE["hidden"]
_CLASS_BITS = ARTICLE | CONTENT | ASIDE | COMMENTS
_NEAR = 64  # ancestors among which an end tag looks for its element


def _spelled() -> NDArray[np.uint8]:
    """Return the names as rows of bytes, filled up with 0 (names + 1, LONGEST_NAME)."""
    spelled = np.zeros((len(NAMES) + 1, LONGEST_NAME), np.uint8)
    for name, number in CODE.items():
        spelled[number, : len(name)] = list(name.encode())
    return spelled


def _starts() -> NDArray[np.uint8]:
    """Return the first name for every first letter, and after the last (257); names are sorted by it."""
    firsts = sorted(CODE.items(), key=lambda item: item[0][0])
    order = [number for _, number in firsts]
    starts = np.zeros(257, np.uint8)
    for letter in range(256):
        starts[letter + 1] = starts[letter] + sum(ord(name[0]) == letter for name, _ in firsts)
    return np.concatenate([starts, np.array(order, np.uint8)])


SPELLED, STARTS = _spelled(), _starts()
STEPS, ENDINGS = automaton(marked_words())
TRAITS = np.zeros(256, np.uint8)
for _trait, _names in TRAITS_OF.items():
    TRAITS[[CODE[name] for name in _names.split()]] |= np.uint8(_trait)


@dataclass(frozen=True, slots=True)
class Markup:
    """A page: its elements in the order of their start tags, 0 standing above all, and what comes one after another."""

    data: NDArray[np.uint8]
    tags: NDArray[np.uint8]  # (elements) codes of names
    parents: NDArray[np.int32]  # (elements)
    marks: NDArray[np.uint8]  # (elements) the bits of class_words
    kinds: NDArray[np.uint8]  # (events) TEXT, OPENED or CLOSED
    first: NDArray[np.int32]  # (events) of a text its first byte, else the element
    last: NDArray[np.int32]  # (events) of a text the byte after it


def read_markup(html: str) -> Markup:
    """Return the arrays of a serialized page; unpaired surrogates become question marks."""
    data = np.frombuffer(html.encode("utf-8", "replace") or b" ", np.uint8)
    most = int((data == ord("<")).sum()) + 1
    tags, marks = np.zeros(most, np.uint8), np.zeros(most, np.uint8)
    parents = np.zeros(most, np.int32)
    kinds, first, last = np.zeros(3 * most, np.uint8), np.zeros(3 * most, np.int32), np.zeros(3 * most, np.int32)
    names = (SPELLED, STARTS, TRAITS)
    elements, events = _read(data, names, STEPS, ENDINGS, (tags, parents, marks), (kinds, first, last))
    return Markup(
        data, tags[:elements], parents[:elements], marks[:elements], kinds[:events], first[:events], last[:events]
    )


@njit(cache=True, nogil=True)
def _read(
    data: Array,
    names: tuple[Array, Array, Array],
    steps: Array,
    endings: Array,
    elements: tuple[Array, Array, Array],
    events: tuple[Array, Array, Array],
) -> tuple[int, int]:
    """Fill the arrays of Markup and return the elements and events."""
    spelled, starts, traits = names
    tags, parents, marks = elements
    kinds, first, last = events
    current, count, n, i = 0, 1, 0, 0
    while i < data.shape[0]:
        start = i
        i = _find(data, i, 0x3C)
        if i > start:
            kinds[n], first[n], last[n] = TEXT, start, i
            n += 1
        i += 1
        if i >= data.shape[0]:
            break
        if data[i] == 0x21 or data[i] == 0x3F:  # ! or ?
            i = _after_declaration(data, i)
        elif data[i] == 0x2F:  # /
            stop = _end_of_name(data, i + 1)
            closed = _opened(tags, parents, current, _named(data, i + 1, stop, spelled, starts))
            while closed and current != parents[closed]:
                kinds[n], first[n] = CLOSED, current
                current = parents[current]
                n += 1
            i = _find(data, stop, 0x3E) + 1
        else:
            stop = _end_of_name(data, i)
            tag = _named(data, i, stop, spelled, starts)
            tags[count], parents[count] = tag, current
            marks[count], i = _read_attributes(data, stop, (spelled, starts), steps, endings)
            kinds[n], first[n] = OPENED, count
            n += 1
            if traits[tag] & VOID:
                kinds[n], first[n] = CLOSED, count
                n += 1
            else:
                current = count
                if traits[tag] & RAW:
                    i = _after_raw(data, i, tag, spelled, starts)
            count += 1
    return count, n


@njit(cache=True, nogil=True)
def _find(data: Array, i: int, byte: int) -> int:
    """Return where a byte comes next, the end where it does not."""
    while i < data.shape[0] and data[i] != byte:
        i += 1
    return i


@njit(cache=True, nogil=True)
def _after_declaration(data: Array, i: int) -> int:
    """Return the byte after a comment, a declaration or an instruction whose < is before byte i."""
    if i + 2 < data.shape[0] and data[i + 1] == 0x2D and data[i + 2] == 0x2D:
        i += 3
        while i < data.shape[0] and not (data[i] == 0x3E and data[i - 1] == 0x2D and data[i - 2] == 0x2D):
            i += 1
        return i + 1
    return _find(data, i, 0x3E) + 1


@njit(cache=True, nogil=True)
def _end_of_name(data: Array, i: int) -> int:
    """Return the byte after the name that begins at byte i, of a tag or an attribute."""
    while i < data.shape[0] and data[i] > 0x20 and data[i] != 0x3E and data[i] != 0x2F and data[i] != 0x3D:
        i += 1
    return i


@njit(cache=True, nogil=True)
def _named(data: Array, start: int, stop: int, spelled: Array, starts: Array) -> int:
    """Return the code of the name data[start:stop], 0 for one that is not listed."""
    length = stop - start
    if length < 1 or length > spelled.shape[1]:
        return 0
    for at in range(starts[data[start]], starts[data[start] + 1]):
        code = starts[257 + at]
        k = 0
        while k < length and spelled[code, k] == data[start + k]:
            k += 1
        if k == length and (length == spelled.shape[1] or spelled[code, length] == 0):
            return code
    return 0


@njit(cache=True, nogil=True)
def _opened(tags: Array, parents: Array, current: int, tag: int) -> int:
    """Return the nearest open element with this tag, 0 where none is near."""
    for _ in range(_NEAR):
        if current == 0 or tags[current] == tag:
            return current
        current = parents[current]
    return 0


@njit(cache=True, nogil=True)
def _read_attributes(data: Array, i: int, names: tuple[Array, Array], steps: Array, endings: Array) -> tuple[int, int]:
    """Return the marks of the attributes from byte i on, and the byte after their tag."""
    marks = 0
    while i < data.shape[0] and data[i] != 0x3E:
        if data[i] <= 0x20 or data[i] == 0x2F or data[i] == 0x3D:
            i += 1
            continue
        start, i = i, _end_of_name(data, i)
        name = _named(data, start, i, names[0], names[1])
        if name == _HIDDEN:
            marks |= HIDDEN
        if i + 1 < data.shape[0] and data[i] == 0x3D and data[i + 1] == 0x22:
            start, i = i + 2, _find(data, i + 2, 0x22)
            if name == _STYLE:
                marks |= _words_in(data, start, i, steps, endings) & HIDDEN
            elif name in _SEEN:
                marks |= _words_in(data, start, i, steps, endings) & _CLASS_BITS
            i += 1
    return marks, i + 1


@njit(cache=True, nogil=True)
def _words_in(data: Array, start: int, stop: int, steps: Array, endings: Array) -> int:
    """Return the bits of all words in data[start:stop], as if a space stood before and after it."""
    state = steps[0, 0x20]
    bits = 0
    for i in range(start, stop):
        state = steps[state, data[i]]
        bits |= endings[state]
    return bits | endings[steps[state, 0x20]]


@njit(cache=True, nogil=True)
def _after_raw(data: Array, i: int, tag: int, spelled: Array, starts: Array) -> int:
    """Return where the end tag of an element without markup begins."""
    while i + 1 < data.shape[0]:
        i = _find(data, i, 0x3C)
        if i + 1 < data.shape[0] and data[i + 1] == 0x2F:
            stop = _end_of_name(data, i + 2)
            if _named(data, i + 2, stop, spelled, starts) == tag:
                return i
        i += 1
    return data.shape[0]

"""Lines of symbols only are cut: bullets without their point, the rules of tables, remains of menus.

datatrove's formatters/symbol_lines_remover.py: a line goes with its line feed when it holds a mark of datatrove's
list (characters.DATATROVE_PUNCTUATION) and nothing else but white space; blank lines stay, so that paragraphs do.
Nothing is rejected. Markdown's headings of tables and horizontal rules are such lines.
"""

import numpy as np
from numba import njit

from filters.arrow_text import text_array
from filters.characters import DATATROVE_PUNCTUATION, SPACE, Array, character_classes, decode
from filters.lines import BLANK
from filters.passage import Passage
from filters.rules import Family, Measured, Signal

SIGNALS = (Signal("cut_lines", 0, np.inf, whole=True, about="lines cut for holding nothing but symbols"),)


def measure(passage: Passage) -> Measured:
    """Return the one signal (documents) and the texts without such lines."""
    lines = passage.lines
    text = np.empty(passage.offsets[-1] - passage.offsets[0], np.uint8)
    cut = np.zeros(len(passage.texts), np.int64)
    arrays = (lines.first, lines.start, lines.end, lines.kinds)
    offsets = _copy_others(passage.data, passage.offsets, *arrays, character_classes(), text, cut)
    return Measured({"cut_lines": cut}, text_array(offsets, text[: offsets[-1]]))


FAMILY = Family("symbol_lines", SIGNALS, (), measure, edits=True)


@njit(cache=True, nogil=True)
def _copy_others(
    data: Array,
    offsets: Array,
    first: Array,
    start: Array,
    end: Array,
    kinds: Array,
    classes: Array,
    text: Array,
    cut: Array,
) -> Array:
    """Copy the lines that stay into `text`, count the others in `cut`; return the new offsets (documents + 1)."""
    new = np.zeros_like(offsets)
    out = 0
    for document in range(offsets.shape[0] - 1):
        for line in range(first[document], first[document + 1]):
            if not kinds[line] & BLANK and _is_symbols(data, start[line], end[line], classes):
                cut[document] += 1
                continue
            after = min(end[line] + 1, offsets[document + 1])  # with its line feed, which the last line has not
            text[out : out + after - start[line]] = data[start[line] : after]
            out += after - start[line]
        new[document + 1] = out
    return new


@njit(cache=True, nogil=True)
def _is_symbols(data: Array, i: int, stop: int, classes: Array) -> bool:
    """Tell whether data[i:stop] is symbols and white space only."""
    while i < stop:
        code, i = decode(data, i)
        if not classes[code] & (DATATROVE_PUNCTUATION | SPACE):
            return False
    return True

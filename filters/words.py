"""Words: the one definition under every word rule and every shingle, and the compiled splitter for it.

Verdicts depend on this definition more than on any threshold, so it is simple and the same everywhere:

- White space (str.isspace), and the Ethiopic word space ፡, separate chunks. A chunk is a word, its
  punctuation included: "end." is one word.
- Inside a chunk every letter of a script written without spaces between words (Han, Hiragana, Katakana, Thai,
  Lao, Khmer, Myanmar, Tibetan and a few more: characters.SPACELESS_BLOCKS) is a word of its own, together
  with the combining marks written on it. What stands between such letters (Latin, digits, punctuation) is a
  word each.

"用Python写3次。" is 用, Python, 写, 3, 次, 。 and "don't stop!" is don't, stop!. No dictionary, no model, no
list of abbreviations: the same text gives the same words on every machine, at the speed of reading it.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from filters.arrow_text import text_buffers
from filters.characters import COMBINING, SPACE, SPACELESS, WORD_SPACE, Array, character_classes, decode

# Languages (lid.176 codes, and dz) usually written in one: rules about the shape of words do not fit them.
SPACELESS_LANGUAGES = frozenset({"zh", "yue", "wuu", "ja", "th", "lo", "km", "my", "bo", "dz"})


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a column: word w is data[start[w]:end[w]], document d has first[d] to first[d + 1]."""

    first: NDArray[np.int64]  # (documents + 1)
    start: NDArray[np.int64]  # (words) bytes into data
    end: NDArray[np.int64]  # (words) bytes into data
    data: NDArray[np.uint8]  # the column's whole value buffer, read-only


def split_words(texts: pa.Array) -> Words:
    """Split every text of a string column; raise as text_buffers does."""
    offsets, data = text_buffers(texts)
    first, start, end = _split(offsets, data, character_classes())
    return Words(first, start, end, data)


@njit(cache=True, nogil=True)
def _split(offsets: Array, data: Array, classes: Array) -> tuple[Array, Array, Array]:
    """Return the three arrays of Words; they double when full, since words per byte vary twentyfold."""
    documents = offsets.shape[0] - 1
    first = np.zeros(documents + 1, np.int64)
    start = np.empty(16 + (offsets[documents] - offsets[0]) // 5, np.int64)  # an English word and a space: 6 bytes
    end = np.empty_like(start)
    n = 0
    for document in range(documents):
        i, stop = next_word(data, offsets[document], offsets[document + 1], classes)
        while i < stop:
            if n == start.shape[0]:
                start = np.concatenate((start, np.empty_like(start)))
                end = np.concatenate((end, np.empty_like(end)))
            start[n], end[n] = i, stop
            n += 1
            i, stop = next_word(data, stop, offsets[document + 1], classes)
        first[document + 1] = n
    return first, start[:n], end[:n]


@njit(cache=True, nogil=True)
def next_word(data: Array, i: int, stop: int, classes: Array) -> tuple[int, int]:
    """Return the next word in data[i:stop]: its first byte and the byte after it, both stop without one."""
    start, kind = i, SPACE
    while i < stop and kind & (SPACE | WORD_SPACE):
        start = i
        code, i = decode(data, i)
        kind = classes[code]
    if kind & (SPACE | WORD_SPACE):
        return stop, stop
    if kind & SPACELESS:
        while i < stop:
            code, after = decode(data, i)
            if not classes[code] & COMBINING:
                break
            i = after
        return start, i
    while i < stop:
        code, after = decode(data, i)
        if classes[code] & (SPACE | WORD_SPACE | SPACELESS):
            break
        i = after
    return start, i

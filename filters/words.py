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
UNMARKED_LANGUAGES = frozenset({"th", "lo"})  # whose sentences end in no mark
SPACELESS_LANGUAGES = frozenset({"zh", "yue", "wuu", "ja", "th", "lo", "km", "my", "bo", "dz"})


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a column: word w is data[start[w]:end[w]], document d has first[d] to first[d + 1]."""

    first: NDArray[np.int64]  # (documents + 1)
    start: NDArray[np.int64]  # (words) bytes into data
    end: NDArray[np.int64]  # (words) bytes into data
    data: NDArray[np.uint8]  # the column's whole value buffer, read-only


@dataclass(frozen=True, slots=True)
class Definition:
    """What a word is, as two masks over characters.character_classes."""

    separators: int  # characters with one of these bits stand between words
    single: int  # letters with one of these bits are words of their own


OWN_WORDS = Definition(SPACE | WORD_SPACE, SPACELESS)  # the one above
SPACED_WORDS = Definition(SPACE, 0)  # str.split: what published filters for English count


def split_words(texts: pa.Array, definition: Definition = OWN_WORDS) -> Words:
    """Split every text of a string column; raise as text_buffers does."""
    offsets, data = text_buffers(texts)
    first, start, end = _split(offsets, data, character_classes(), definition.separators, definition.single)
    return Words(first, start, end, data)


@njit(cache=True, nogil=True)
def _split(offsets: Array, data: Array, classes: Array, separators: int, single: int) -> tuple[Array, Array, Array]:
    """Return the three arrays of Words, made for the most words there can be: one in two bytes.

    Arrays that grow would be counted references in the inner loop, which then takes three times as long; memory
    that is never touched costs nothing. ASCII goes its own way because most of the time goes there.
    """
    documents = offsets.shape[0] - 1
    first = np.zeros(documents + 1, np.int64)
    most = 1 + (offsets[documents] - offsets[0]) // 2 + documents
    start, end = np.empty(most, np.int64), np.empty(most, np.int64)
    boundaries = separators | single
    n = 0
    for document in range(documents):
        i, stop = offsets[document], offsets[document + 1]
        while i < stop:
            code, after = decode(data, i)
            kind = classes[code]
            if kind & separators:
                i = after
                continue
            start[n] = i
            i = after
            if kind & single:
                i = _after_marks(data, i, stop, classes)
            else:
                while i < stop:
                    byte = data[i]
                    if byte < 0x80:
                        if classes[byte] & boundaries:
                            break
                        i += 1
                    else:
                        code, after = decode(data, i)
                        if classes[code] & boundaries:
                            break
                        i = after
            end[n] = i
            n += 1
        first[document + 1] = n
    return first, start[:n], end[:n]


@njit(cache=True, nogil=True)
def _after_marks(data: Array, i: int, stop: int, classes: Array) -> int:
    """Return the byte after the combining marks that stand from byte i on."""
    while i < stop:
        code, after = decode(data, i)
        if not classes[code] & COMBINING:
            break
        i = after
    return i


@njit(cache=True, nogil=True)
def next_word(data: Array, i: int, stop: int, classes: Array, separators: int, single: int) -> tuple[int, int]:
    """Return the next word in data[i:stop]: its first byte and the byte after it, both stop without one."""
    start, kind = i, separators
    while i < stop and kind & separators:
        start = i
        code, i = decode(data, i)
        kind = int(classes[code])
    if kind & separators:
        return stop, stop
    if kind & single:
        return start, _after_marks(data, i, stop, classes)
    while i < stop:
        code, after = decode(data, i)
        if classes[code] & (separators | single):
            break
        i = after
    return start, i

"""The compiled line rules of C4: the lines that look like sentences stay, and why others go is counted.

Order and constants are those of TFDS (text/c4_utils.py, clean_page); `c4.py` says where and why we
differ.
"""

from typing import Any

import numpy as np
from numba import njit

from filters.characters import (
    CLOSER,
    LETTER,
    LINE_BREAK,
    LOWER,
    SPACE,
    SPACELESS,
    TERMINAL,
    UNMARKED,
    WORD_SPACE,
    Array,
    decode,
    previous,
    strip,
)
from filters.passage import count_code_points
from filters.words import next_word

COLUMNS = (
    "kept_lines",
    "lines_with_long_word",
    "lines_without_end_mark",
    "short_lines",
    "lines_with_javascript",
    "lines_with_policy",
    "lorem_ipsum",
    "curly_brackets",
    "sentences",
)
_KEPT, _LONG_WORD, _NO_END_MARK, _SHORT, _JAVASCRIPT, _POLICY, _LOREM_IPSUM, _CURLY, _SENTENCES = range(9)

_SEPARATORS = SPACE | WORD_SPACE
LONGEST_WORD = 1000  # characters; TFDS c4_utils, MAX_WORD_LENGTH
FEWEST_WORDS = 5  # in a line; TFDS c4_utils, MIN_WORDS_PER_LINE
PHRASES = (  # TFDS c4_utils, _POLICY_SUBSTRINGS and clean_page; compared in lower case
    ("lorem ipsum", _LOREM_IPSUM),
    ("javascript", _JAVASCRIPT),
    ("{", _CURLY),
    ("terms of use", _POLICY),
    ("privacy policy", _POLICY),
    ("cookie policy", _POLICY),
    ("uses cookies", _POLICY),
    ("use of cookies", _POLICY),
    ("use cookies", _POLICY),
)
CITATIONS = (
    "[edit]",
    "[citation needed]",
)  # TFDS c4_utils, _CITATION_REGEX; the third form is digits in brackets

_TABLE = np.zeros((len(PHRASES), 16), np.uint8)  # a row a phrase, zeros after it
for _row, (_phrase, _) in enumerate(PHRASES):
    _TABLE[_row, : len(_phrase)] = np.frombuffer(_phrase.encode(), np.uint8)
_CAUSES = np.array([cause for _, cause in PHRASES], np.int64)
_CITATIONS = np.zeros((len(CITATIONS), 32), np.uint8)
for _row, _phrase in enumerate(CITATIONS):
    _CITATIONS[_row, : len(_phrase)] = np.frombuffer(_phrase.encode(), np.uint8)


@njit(cache=True, nogil=True)
def clean_lines(text: Array, offsets: Array, classes: Array, counts: Array) -> Array:
    """Cut the lines of every document in `text` in place; return the new offsets (documents + 1).

    What is kept of document d is text[new[d]:new[d + 1]], lines joined by a line feed; counts (documents, 9)
    are those of COLUMNS.
    """
    new = np.zeros_like(offsets)
    out = 0
    for document in range(offsets.shape[0] - 1):
        i, stop = offsets[document], offsets[document + 1]
        new[document] = out
        while i < stop:
            end, after = _line_end(text, i, stop, classes)
            length = _clean_line(text, i, end, classes, counts[document])
            if length:
                if out > new[document]:
                    text[out] = 0x0A
                    out += 1
                text[out : out + length] = text[i : i + length]
                out += length
            i = after
    new[-1] = out
    return new


@njit(cache=True, nogil=True)
def _line_end(text: Array, i: int, stop: int, classes: Array) -> tuple[int, int]:
    """Return where the line at byte i ends and where the next one begins (str.splitlines)."""
    while i < stop:
        code, after = decode(text, i)
        if classes[code] & LINE_BREAK:
            if code == 0x0D and after < stop and text[after] == 0x0A:
                return i, after + 1
            return i, after
        i = after
    return i, i


@njit(cache=True, nogil=True)
def _clean_line(text: Array, start: int, stop: int, classes: Array, row: Array) -> int:
    """Move the cleaned line to `start` and return its length, 0 where it goes; count why in `row`."""
    a, b = strip(text, start, stop, classes)
    if a == b:
        return 0
    if _has_long_word(text, a, b, classes):
        row[_LONG_WORD] += 1
        return 0
    end = _remove_citations(text, start, a, b)
    if not _ends_sentence(text, start, end, classes):
        row[_NO_END_MARK] += 1
        return 0
    if not _has_words(text, start, end, classes):
        row[_SHORT] += 1
        return 0
    cause = _find_phrase(text, start, end)
    if cause >= 0:
        row[cause] += 1
        return 0
    row[_KEPT] += 1
    row[_SENTENCES] += count_sentences(text, start, end, classes)
    return end - start


@njit(cache=True, nogil=True)
def _has_long_word(text: Array, start: int, stop: int, classes: Array) -> bool:
    """Tell whether a word has more than LONGEST_WORD code points."""
    if stop - start <= LONGEST_WORD:
        return False
    i, end = next_word(text, start, stop, classes, _SEPARATORS, SPACELESS)
    while i < stop:
        if end - i > LONGEST_WORD and count_code_points(text, i, end) > LONGEST_WORD:
            return True
        i, end = next_word(text, end, stop, classes, _SEPARATORS, SPACELESS)
    return False


@njit(cache=True, nogil=True)
def _remove_citations(text: Array, to: int, start: int, stop: int) -> int:
    """Move text[start:stop] to byte `to`, without citations; return where it ends there."""
    i = start
    while i < stop:
        length = _citation_length(text, i, stop) if text[i] == 0x5B else 0
        if length:
            i += length
            continue
        text[to] = text[i]
        to += 1
        i += 1
    return to


@njit(cache=True, nogil=True)
def _citation_length(text: Array, i: int, stop: int) -> int:
    """Return the bytes of the citation at byte i, which holds a bracket; 0 where there is none."""
    j = i + 1
    while j < stop and 0x30 <= text[j] <= 0x39:
        j += 1
    if j < stop and text[j] == 0x5D:
        return j + 1 - i
    for row in range(_CITATIONS.shape[0]):
        length = 0
        while _CITATIONS[row, length] and i + length < stop and text[i + length] == _CITATIONS[row, length]:
            length += 1
        if not _CITATIONS[row, length]:
            return length
    return 0


@njit(cache=True, nogil=True)
def _ends_sentence(text: Array, start: int, stop: int, classes: Array) -> bool:
    """Tell whether the line ends in a mark and not in "...", or is in a script that has no mark."""
    i = stop
    while i > start:
        before = previous(text, i)
        code, _ = decode(text, before)
        if not classes[code] & CLOSER:
            break
        i = before
    if i == start:
        return False
    ellipsis = i - start >= 3 and text[i - 1] == 0x2E and text[i - 2] == 0x2E and text[i - 3] == 0x2E
    if classes[code] & TERMINAL or (code == 0x22 and i == stop):
        return not ellipsis
    return _is_unmarked(text, start, stop, classes)


@njit(cache=True, nogil=True)
def _is_unmarked(text: Array, start: int, stop: int, classes: Array) -> bool:
    """Tell whether the line's last letter is of a script that ends a sentence with a space only."""
    while stop > start:
        stop = previous(text, stop)
        code, _ = decode(text, stop)
        if classes[code] & LETTER:
            return bool(classes[code] & UNMARKED)
    return False


@njit(cache=True, nogil=True)
def _has_words(text: Array, start: int, stop: int, classes: Array) -> bool:
    """Tell whether there are FEWEST_WORDS words."""
    for _ in range(FEWEST_WORDS):
        i, start = next_word(text, start, stop, classes, _SEPARATORS, SPACELESS)
        if i == stop:
            return False
    return True


@njit(cache=True, nogil=True)
def _find_phrase(text: Array, start: int, stop: int) -> int:
    """Return the cause of the first phrase, in the order of PHRASES, in the line; -1 where it holds none."""
    found = _TABLE.shape[0]
    for i in range(start, stop):
        lower = text[i] | 0x20 if 0x41 <= text[i] <= 0x5A else text[i]
        for row in range(found):
            if _TABLE[row, 0] == lower and _matches(text, i, stop, row):
                found = row
                break
    return _CAUSES[found] if found < _TABLE.shape[0] else -1


@njit(cache=True, nogil=True)
def _matches(text: Array, i: int, stop: int, row: int) -> bool:
    """Tell whether the phrase stands at byte i, in whatever case."""
    length = 0
    while _TABLE[row, length] and i < stop:
        lower = text[i] | 0x20 if 0x41 <= text[i] <= 0x5A else text[i]
        if lower != _TABLE[row, length]:
            return False
        i += 1
        length += 1
    return not _TABLE[row, length]


@njit(cache=True, nogil=True)
def count_sentences(text: Array, start: int, stop: int, classes: Array) -> int:
    """Return the sentences of a line, at least 1: those that a mark ends, and what is left after the last.

    A run of terminal marks and closers ends a sentence where white space follows, or at once where a mark in
    it is not ASCII (the Chinese full stop). It does not before a lower-case letter ("etc. and"), nor after a
    single letter ("J. Smith").
    """
    sentences, unended, letters, i = 0, False, 0, start
    while i < stop:
        code, i = decode(text, i)
        if not classes[code] & TERMINAL:
            unended |= classes[code] & SPACE == 0
            letters = letters + 1 if classes[code] & LETTER else 0
            continue
        ends, i = _end_of_sentence(text, i, stop, classes, code >= 0x80)
        if unended and ends and not (letters == 1 and code == 0x2E):
            sentences += 1
            unended = False
        letters = 0
    return max(1, sentences + unended)


@njit(cache=True, nogil=True)
def _end_of_sentence(text: Array, i: int, stop: int, classes: Array, ends: Any) -> tuple[bool, int]:
    """Tell whether the run of marks that goes on at byte i ends a sentence, and return where the run ends."""
    while i < stop:
        code, after = decode(text, i)
        if not (classes[code] & (TERMINAL | CLOSER) or code in (0x22, 0x27, 0x29)):
            break
        ends |= classes[code] & TERMINAL != 0 and code >= 0x80
        i = after
    j = i
    while j < stop:
        code, after = decode(text, j)
        if not classes[code] & SPACE:
            break
        j = after
    return ends or j == stop or (j > i and not classes[code] & LOWER), i

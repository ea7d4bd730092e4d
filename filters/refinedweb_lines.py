"""The compiled line corrections of RefinedWeb; `refinedweb.py` says what they follow and where they differ."""

import numpy as np
from numba import njit

from filters.characters import (
    DIGIT,
    LETTER,
    SPACE,
    SPACELESS,
    TERMINAL,
    UPPER,
    WORD_SPACE,
    Array,
    decode,
    ends_in_word_spaces,
    strip,
)
from filters.words import next_word

COLUMNS = ("uppercase_lines", "numeric_lines", "counter_lines", "one_word_lines", "corrected_lines")
_FLAGGED, _WORDS = len(COLUMNS), len(COLUMNS) + 1  # columns for words: of flagged lines, of all
_UPPERCASE, _NUMERIC, _COUNTER, _ONE_WORD, _CORRECTED = range(5)
_KEEP = -1

UPPERCASE_SHARE = 0.5  # of a line's characters, more is mainly; dclm, uppercase_ratio_line_modifier
SHORT_LINE = 10  # words; Penedo et al. 2023, appendix G.2
COUNTED = (  # dclm, counter_line_modifier
    *("likes", "shares", "comments", "retweets", "reposts", "quotes", "bookmarks", "upvotes", "downvotes"),
    *("downloads", "views", "followers"),
)
BEGINNINGS = ("sign-in", "sign in")  # Penedo et al. 2023, appendix G.2; the second spelling is ours
ENDINGS = ("read more...", "read more…", "read more")  # the same; the other spellings are ours
ANYWHERE = ("items in cart",)  # the same


def _table(phrases: tuple[str, ...]) -> Array:
    """Return phrases as rows of bytes with zeros after them."""
    table = np.zeros((len(phrases), 1 + max(len(phrase.encode()) for phrase in phrases)), np.uint8)
    for row, phrase in zip(table, phrases, strict=True):
        row[: len(phrase.encode())] = np.frombuffer(phrase.encode(), np.uint8)
    return table


_COUNTED, _BEGINNINGS, _ENDINGS, _ANYWHERE = (_table(phrases) for phrases in (COUNTED, BEGINNINGS, ENDINGS, ANYWHERE))


@njit(cache=True, nogil=True)
def correct_lines(text: Array, offsets: Array, classes: Array, english: Array, counts: Array) -> Array:
    """Correct the lines of every document in `text` in place; return the new offsets (documents + 1).

    What is kept of document d is text[new[d]:new[d + 1]]; counts (documents, 7) are those of COLUMNS, then the words
    of flagged lines and of all.
    """
    new = np.zeros_like(offsets)
    out = 0
    for document in range(offsets.shape[0] - 1):
        i, stop = offsets[document], offsets[document + 1]
        new[document] = out
        while i < stop:
            end = i
            while end < stop and text[end] != 0x0A:
                end += 1
            after = end + (end < stop)
            length = _correct_line(text, i, end, classes, english[document], counts[document])
            if length == 0 and i < end and after == stop and after == end and out > new[document]:
                out -= 1  # the line feed before a last line that goes
            if length or i == end:
                text[out : out + length] = text[i : i + length]
                out += length
                if after > end:
                    text[out] = 0x0A
                    out += 1
            i = after
    new[-1] = out
    return new


@njit(cache=True, nogil=True)
def _correct_line(text: Array, start: int, stop: int, classes: Array, english: bool, row: Array) -> int:
    """Correct the line in place and return its length, 0 where it goes; count words and why."""
    words = _count_words(text, start, stop, classes)
    row[_WORDS] += words
    if words == 0:
        return stop - start
    cause = _find_cause(text, start, stop, classes, words, english)
    if cause != _KEEP:
        row[cause] += 1
        row[_FLAGGED] += words
        return 0
    if not english or words > SHORT_LINE:
        return stop - start
    left = _cut_patterns(text, start, stop, classes)
    if left < stop - start:
        row[_CORRECTED] += 1
        row[_FLAGGED] += words
    return left


@njit(cache=True, nogil=True)
def _count_words(text: Array, start: int, stop: int, classes: Array) -> int:
    """Count the words of a line."""
    words = 0
    i, end = next_word(text, start, stop, classes, SPACE | WORD_SPACE, SPACELESS)
    while i < stop:
        words += 1
        i, end = next_word(text, end, stop, classes, SPACE | WORD_SPACE, SPACELESS)
    return words


@njit(cache=True, nogil=True)
def _find_cause(text: Array, start: int, stop: int, classes: Array, words: int, english: bool) -> int:
    """Return the column of what the whole line goes for, _KEEP where it stays."""
    start, stop = strip(text, start, stop, classes)
    i, characters, upper, digits, ended = start, 0, 0, 0, False
    while i < stop:
        code, i = decode(text, i)
        kind = classes[code]
        characters += 1
        upper += kind & UPPER != 0
        digits += kind & DIGIT != 0
        ended |= kind & TERMINAL != 0
    if upper > UPPERCASE_SHARE * characters:
        return _UPPERCASE
    if digits == characters:
        return _NUMERIC
    if english and _is_counter(text, start, stop, classes):
        return _COUNTER
    return _ONE_WORD if words == 1 and not (ended or ends_in_word_spaces(text, start, stop)) else _KEEP


@njit(cache=True, nogil=True)
def _is_counter(text: Array, i: int, stop: int, classes: Array) -> bool:
    """Tell whether a stripped line is a number and what it counts, punctuation around them aside."""
    while i < stop and text[i] < 0x80 and not classes[text[i]] & (LETTER | DIGIT):
        i += 1
    while stop > i and text[stop - 1] < 0x80 and not classes[text[stop - 1]] & (LETTER | DIGIT):
        stop -= 1
    digits = i
    while i < stop and (0x30 <= text[i] <= 0x39 or (i > digits and text[i] in (0x2C, 0x2E))):
        i += 1
    if i == digits:
        return False
    if i < stop and text[i] | 0x20 in (0x6B, 0x6D, 0x62):  # thousands, millions, billions: 3.2k likes
        i += 1
    spaces = i
    while i < stop and text[i] == 0x20:
        i += 1
    if i == spaces:
        return False
    found = False
    for row in range(_COUNTED.shape[0]):
        found |= _match(text, i, stop, _COUNTED[row]) == stop - i
    return found


@njit(cache=True, nogil=True)
def _match(text: Array, i: int, stop: int, phrase: Array) -> int:
    """Return the length of the phrase where it stands at byte i, in whatever case; 0 where it does not."""
    length = 0
    while phrase[length]:
        if i + length == stop:
            return 0
        byte = text[i + length]
        if (byte | 0x20 if 0x41 <= byte <= 0x5A else byte) != phrase[length]:
            return 0
        length += 1
    return length


@njit(cache=True, nogil=True)
def _cut_patterns(text: Array, start: int, stop: int, classes: Array) -> int:
    """Cut the patterns out of a line in place, with the white space before or after them; return its length."""
    a, b = strip(text, start, stop, classes)
    begin, end = a, b
    for row in range(_BEGINNINGS.shape[0]):
        begin += _match(text, begin, end, _BEGINNINGS[row])
    for row in range(_ENDINGS.shape[0]):
        for i in range(begin, end):
            if _match(text, i, end, _ENDINGS[row]) == end - i:
                end = i
                break
    for row in range(_ANYWHERE.shape[0]):
        for i in range(begin, end):
            length = _match(text, i, end, _ANYWHERE[row])
            if length:
                text[i : end - length] = text[i + length : end].copy()
                end -= length
                break
    if begin == a and end == b:
        return stop - start
    begin, end = strip(text, begin, end, classes)
    text[start : start + end - begin] = text[begin:end].copy()
    return end - begin

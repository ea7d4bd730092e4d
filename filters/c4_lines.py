"""The compiled line rules of C4: the lines that look like sentences stay, and why others go is counted.

Order and constants are those of TFDS (text/c4_utils.py, clean_page); `c4.py` says where and why we
differ.
"""

from typing import Any

import numpy as np
from numba import njit

from filters.characters import (
    CLOSER,
    DECIMAL,
    LETTER,
    LINE_BREAK,
    LOWER,
    SPACE,
    SPACELESS,
    TERMINAL,
    UNMARKED,
    UPPER,
    WORD_SPACE,
    Array,
    begins_word_space,
    decode,
    ends_in_word_spaces,
    previous,
    strip,
)
from filters.passage import count_code_points
from filters.policy_phrases import POLICY_PHRASES
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
OURS, TFDS, DATATROVE = range(3)  # whose words and marks, and when words are counted: c4.py
NOTHING, UNENDED, ENDED = range(3)  # white space and marks only; no mark at the end; a mark
_KEPT, _LONG_WORD, _NO_END_MARK, _SHORT, _JAVASCRIPT, _POLICY, _LOREM_IPSUM, _CURLY, _SENTENCES = range(9)

_CASES = LETTER | LOWER | UPPER
_SEPARATORS = SPACE | WORD_SPACE
ETHIOPIC_SPACE = 0x1361
# Titles and the like in English, German, French and Spanish, which a full stop follows in the middle of a sentence, as
# they are written there. Not those that end one as often (etc., Co., No., Jr.) or are words too (Turkish sen).
ABBREVIATIONS = [
    *("Mr", "Mrs", "Ms", "Messrs", "Dr", "Prof", "Rev", "Hon", "St", "Gen", "Col", "Lt", "Sgt", "Capt", "Gov", "Mt"),
    *("vs", "Hr", "Nr", "bzw", "Bd", "Mme", "Mlle", "MM", "Sr", "Sra", "Srta", "Dra", "Ud", "Uds"),
]
LONGEST_WORD = 1000  # characters; TFDS c4_utils, MAX_WORD_LENGTH
PHRASES = (  # TFDS c4_utils, clean_page, in its order; compared in lower case, in every language
    ("lorem ipsum", _LOREM_IPSUM),
    ("javascript", _JAVASCRIPT),
    ("{", _CURLY),
)


def _padded(words: list[str]) -> Array:
    """Return ASCII words as rows of bytes that end in zeros."""
    table = np.zeros((len(words), max(map(len, words)) + 1), np.uint8)
    for row, word in enumerate(words):
        table[row, : len(word)] = np.frombuffer(word.encode(), np.uint8)
    return table


_ABBREVIATIONS = _padded(ABBREVIATIONS)


def _spellings(phrase: str) -> list[str]:
    """Return a phrase as it may be written, with ASCII in lower case, which is all that the kernel lowers."""
    cases = (phrase, phrase.capitalize(), phrase.title(), phrase.upper())
    return sorted({"".join(c.lower() if c.isascii() else c for c in case) for case in cases})


_ROWS = [*PHRASES]  # phrase and cause: those for every language, then every language's own
_FIRST = [len(PHRASES)]  # where a language's own begin, and after the last where they end
for _phrases in POLICY_PHRASES.values():
    _ROWS += [(spelling, _POLICY) for phrase in _phrases for spelling in _spellings(phrase)]
    _FIRST.append(len(_ROWS))
_OWN = np.array([*_FIRST, _FIRST[-1]], np.int64)  # one more language, without phrases
POLICY_ROWS = {language: row for row, language in enumerate(POLICY_PHRASES)}
NO_POLICY_ROW = len(POLICY_ROWS)
_TABLE = np.zeros((len(_ROWS), 1 + max(len(phrase.encode()) for phrase, _ in _ROWS)), np.uint8)  # zeros after a phrase
for _row, (_phrase, _) in enumerate(_ROWS):
    _TABLE[_row, : len(_phrase.encode())] = np.frombuffer(_phrase.encode(), np.uint8)
_CAUSES = np.array([cause for _, cause in _ROWS], np.int64)
_OPENS = np.zeros((NO_POLICY_ROW + 1, 256), np.bool_)  # whether a phrase that is read in a language opens with the byte
for _row in range(NO_POLICY_ROW + 1):
    _OPENS[_row, _TABLE[: len(PHRASES), 0]] = True
    _OPENS[_row, _TABLE[_OWN[_row] : _OWN[_row + 1], 0]] = True
CITATIONS = (
    "[edit]",
    "[citation needed]",
)  # TFDS c4_utils, _CITATION_REGEX; the third form is digits in brackets

_CITATIONS = np.zeros((len(CITATIONS), 32), np.uint8)
for _row, _phrase in enumerate(CITATIONS):
    _CITATIONS[_row, : len(_phrase)] = np.frombuffer(_phrase.encode(), np.uint8)


@njit(cache=True, nogil=True)
def clean_lines(
    text: Array,
    offsets: Array,
    classes: Array,
    policies: Array,
    fewest: int,
    whose: int,
    unended: bool,
    flat: int,
    counts: Array,
) -> Array:
    """Cut the lines of every document in `text` in place; return the new offsets (documents + 1).

    What is kept of document d is text[new[d]:new[d + 1]], lines joined by a line feed; counts (documents, 9)
    are those of COLUMNS. `policies` (documents) are rows of POLICY_ROWS, `fewest` the words of the shortest line,
    `whose` is OURS, TFDS or DATATROVE, `unended` whether lines without a mark at their end stay; a line with `flat`
    sentences that end in a mark is cut sentence by sentence, 0 for none.
    """
    new = np.zeros_like(offsets)
    out = 0
    for document in range(offsets.shape[0] - 1):
        i, stop = offsets[document], offsets[document + 1]
        new[document] = out
        while i < stop:
            end, after = _line_end(text, i, stop, classes)
            if flat and _is_page(text, i, end, classes, flat, fewest):
                length = _clean_sentences(text, i, end, classes, policies[document], whose, counts[document])
            else:
                policy, row = policies[document], counts[document]
                length = _clean_line(text, i, end, classes, policy, fewest, whose, unended, row)
            if length:
                if out > new[document]:
                    text[out] = 0x0A
                    out += 1
                text[out : out + length] = text[i : i + length]
                out += length
            i = after
        if whose != OURS:
            out = _strip_page(text, new[document], out, classes)
    new[-1] = out
    return new


@njit(cache=True, nogil=True)
def _is_page(text: Array, i: int, stop: int, classes: Array, sentences: int, words: int) -> bool:
    """Tell whether a line has so many sentences that end in a mark, and enough words for a line."""
    if not _has_words(text, i, stop, classes, _SEPARATORS, SPACELESS, words):
        return False
    while i < stop and sentences:
        i, state = next_sentence(text, i, stop, classes)
        sentences -= state == ENDED
    return sentences == 0


@njit(cache=True, nogil=True)
def _strip_page(text: Array, start: int, stop: int, classes: Array) -> int:
    """Move a page without the white space at its ends to `start`; return where it ends there."""
    a, b = strip(text, start, stop, classes)
    for i in range(b - a):
        text[start + i] = text[a + i]
    return start + b - a


@njit(cache=True, nogil=True)
def _clean_sentences(text: Array, begin: int, stop: int, classes: Array, policy: int, whose: int, row: Array) -> int:
    """Move a line's clean sentences, short ones included, to `begin` and return their length.

    A sentence that goes is counted by its cause, what is kept as one line; white space stays as it was between two
    sentences that stay.
    """
    i, out, kept, adjacent = begin, begin, row[_KEPT], False
    while i < stop:
        end, state = next_sentence(text, i, stop, classes)
        start, _ = strip(text, i, end, classes)
        length = _clean_line(text, start, end, classes, policy, 0, whose, state == ENDED, row)
        if length:
            if adjacent:
                text[out : out + start - i] = text[i:start]
                out += start - i
            elif out > begin and start > i:
                text[out] = 0x20
                out += 1
            text[out : out + length] = text[start : start + length]
            out += length
        adjacent = length > 0
        i = end
    row[_KEPT] = kept + (out > begin)
    return out - begin


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
def _clean_line(
    text: Array, start: int, stop: int, classes: Array, policy: int, fewest: int, whose: int, ended: bool, row: Array
) -> int:
    """Move the cleaned line to `start` and return its length, 0 where it goes; count why in `row`.

    `ended` says that it is known to end in a mark, or need not.
    """
    a, b = strip(text, start, stop, classes)
    if a == b:
        return 0
    separators, single = (_SEPARATORS, SPACELESS) if whose == OURS else (SPACE, 0)
    if _has_long_word(text, a, b, classes, separators, single):
        row[_LONG_WORD] += 1
        return 0
    enough = whose != DATATROVE or _has_words(text, a, b, classes, separators, single, fewest)
    end = _remove_citations(text, start, a, b, classes)
    if not (ended or _ends(text, start, end, classes, whose)):
        row[_NO_END_MARK] += 1
        return 0
    if not enough or (whose != DATATROVE and not _has_words(text, start, end, classes, separators, single, fewest)):
        row[_SHORT] += 1
        return 0
    cause = _find_phrase(text, start, end, policy)
    if cause >= 0:
        row[cause] += 1
        return 0
    row[_KEPT] += 1
    row[_SENTENCES] += count_sentences(text, start, end, classes)
    return end - start


@njit(cache=True, nogil=True)
def _has_long_word(text: Array, start: int, stop: int, classes: Array, separators: int, single: int) -> bool:
    """Tell whether a word has more than LONGEST_WORD code points."""
    if stop - start <= LONGEST_WORD:
        return False
    i, end = next_word(text, start, stop, classes, separators, single)
    while i < stop:
        if end - i > LONGEST_WORD and count_code_points(text, i, end) > LONGEST_WORD:
            return True
        i, end = next_word(text, end, stop, classes, separators, single)
    return False


@njit(cache=True, nogil=True)
def _remove_citations(text: Array, to: int, start: int, stop: int, classes: Array) -> int:
    """Move text[start:stop] to byte `to`, without citations; return where it ends there."""
    i = start
    while i < stop:
        length = _citation_length(text, i, stop, classes) if text[i] == 0x5B else 0
        if length:
            i += length
            continue
        text[to] = text[i]
        to += 1
        i += 1
    return to


@njit(cache=True, nogil=True)
def _citation_length(text: Array, i: int, stop: int, classes: Array) -> int:
    """Return the bytes of the citation at byte i, which holds a bracket; 0 where there is none."""
    j = i + 1
    while j < stop:
        code, after = decode(text, j)
        if not classes[code] & DECIMAL:
            break
        j = after
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
    if ends_in_word_spaces(text, start, i):
        return True
    ellipsis = i - start >= 3 and text[i - 1] == 0x2E and text[i - 2] == 0x2E and text[i - 3] == 0x2E
    if classes[code] & TERMINAL or (code == 0x22 and i == stop):
        return not ellipsis
    return _is_unmarked(text, start, stop, classes)


@njit(cache=True, nogil=True)
def _ends(text: Array, start: int, stop: int, classes: Array, whose: int) -> bool:
    """Tell whether the line ends in a mark and not in "..."."""
    if whose == OURS:
        return bool(_ends_sentence(text, start, stop, classes))
    ends = start < stop and text[stop - 1] in (0x2E, 0x3F, 0x21, 0x22)  # TFDS c4_utils, _END_MARKS
    ends |= start < stop and whose == DATATROVE and text[stop - 1] == 0x27  # datatrove c4_filters, END_PUNCTUATION
    if not ends:
        return False
    return not (stop - start >= 3 and text[stop - 1] == 0x2E and text[stop - 2] == 0x2E and text[stop - 3] == 0x2E)


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
def _has_words(text: Array, start: int, stop: int, classes: Array, separators: int, single: int, fewest: int) -> bool:
    """Tell whether there are `fewest` words."""
    for _ in range(fewest):
        i, start = next_word(text, start, stop, classes, separators, single)
        if i == stop:
            return False
    return True


@njit(cache=True, nogil=True)
def _find_phrase(text: Array, start: int, stop: int, policy: int) -> int:
    """Return the cause of the first phrase in the line: of PHRASES in their order, then of the language's own."""
    found = _TABLE.shape[0]
    for i in range(start, stop):
        lower = text[i] | 0x20 if 0x41 <= text[i] <= 0x5A else text[i]
        if not _OPENS[policy, lower]:
            continue
        for row in range(min(found, len(PHRASES))):
            if _matches(text, i, stop, row):
                found = row
                break
        for row in range(_OWN[policy], min(found, _OWN[policy + 1])):
            if _matches(text, i, stop, row):
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
    """Return the sentences of a line, at least 1: those that a mark ends, and what is left after the last."""
    sentences = 0
    while start < stop:
        start, state = next_sentence(text, start, stop, classes)
        sentences += state != NOTHING
    return max(1, sentences)


@njit(cache=True, nogil=True)
def count_each(text: Array, start: Array, end: Array, classes: Array) -> Array:
    """Return the sentences of every text[start[i]:end[i]] (n), at least 1 each."""
    sentences = np.empty(start.shape[0], np.int64)
    for i in range(start.shape[0]):
        sentences[i] = count_sentences(text, start[i], end[i], classes)
    return sentences


@njit(cache=True, nogil=True)
def next_sentence(text: Array, i: int, stop: int, classes: Array) -> tuple[int, int]:
    """Return where the sentence that begins at byte i ends, and whether it is ENDED, UNENDED or NOTHING.

    A run of terminal marks and closers ends a sentence where white space follows, or at once where a mark in it is not
    ASCII (the Chinese full stop; two Ethiopic word spaces are one, too), or where it stands between letters of scripts
    without upper case, of which flattened Arabic pages are full. It does not before a lower-case letter ("etc. and"),
    nor after a single letter ("J. Smith") or one of ABBREVIATIONS.
    """
    state, letters, word, caseless = NOTHING, 0, i, False
    while i < stop:
        at = i
        code, i = decode(text, i)
        mark = classes[code] & TERMINAL != 0 or (code == ETHIOPIC_SPACE and begins_word_space(text, i, stop))
        if not mark:
            if not classes[code] & SPACE:
                state = UNENDED
            if classes[code] & LETTER:
                word = at if letters == 0 else word
                letters += 1
            else:
                letters = 0
            caseless = classes[code] & _CASES == LETTER
            continue
        ends, i = _end_of_sentence(text, i, stop, classes, code >= 0x80, caseless)
        short = code == 0x2E and (letters == 1 or (letters > 1 and _is_abbreviation(text, word, at)))
        if state == UNENDED and ends and not short:
            return i, ENDED
        letters = 0
    return stop, state


@njit(cache=True, nogil=True)
def _is_abbreviation(text: Array, start: int, stop: int) -> bool:
    """Tell whether text[start:stop] is one of ABBREVIATIONS."""
    length = stop - start
    if length >= _ABBREVIATIONS.shape[1]:
        return False
    for row in range(_ABBREVIATIONS.shape[0]):
        at = 0
        while at < length and _ABBREVIATIONS[row, at] == text[start + at]:
            at += 1
        if at == length and _ABBREVIATIONS[row, at] == 0:
            return True
    return False


@njit(cache=True, nogil=True)
def _end_of_sentence(text: Array, i: int, stop: int, classes: Array, ends: Any, caseless: Any) -> tuple[bool, int]:
    """Tell whether the run of marks that goes on at byte i ends a sentence, and return where the run ends.

    `ends` says that it does, `caseless` that a letter of a script without upper case is before it.
    """
    while i < stop:
        code, after = decode(text, i)
        if not (classes[code] & (TERMINAL | CLOSER | WORD_SPACE) or code in (0x22, 0x27, 0x29)):
            break
        ends |= classes[code] & TERMINAL != 0 and code >= 0x80
        i = after
    j = i
    while j < stop:
        code, after = decode(text, j)
        if not classes[code] & SPACE:
            break
        j = after
    if j == i and j < stop:
        return ends or (caseless and classes[code] & _CASES == LETTER), i
    return ends or j == stop or not classes[code] & LOWER, i

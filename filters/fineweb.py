"""FineWeb's rules: pages of lines that are no sentences, are short, or come twice.

Penedo et al. 2024, "The FineWeb Datasets" (arXiv:2406.17557), section 3.6, and the code that made it (datatrove,
FineWebQualityFilter). They disagree: the paper rejects a page with a tenth of its characters in repeated lines, the
code with a hundredth; the paper rejects at a bound, the code beyond it; a line of 30 characters is short to the code
only; and the code has a fourth rule, line feeds per word. The variant `paper` has the paper's three rules, `datatrove`
the code's four, measured as the code does.

A line is what stands between line feeds; blank ones are none. Where `paper` differs from the code, for the sake of
languages other than English:

- A mark may be followed by closing quotes or brackets (characters.CLOSERS, and the straight ones) and white space; a
  straight double quote at the end is a mark, as it is for C4, whose pages these rules judge; Thai and Lao, which end a
  sentence with a space, are not judged.
- Where most words are single letters (Chinese, Thai), and in Korean, a short line has 10 characters: HPLT takes 10
  characters a line of Chinese, Japanese or Korean for as much as 5 words a line of another language.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters.characters import (
    CLOSER,
    DATATROVE_TERMINAL,
    TERMINAL,
    Array,
    character_classes,
    decode,
    ends_in_word_spaces,
    previous,
    strip,
)
from filters.lines import BLANK, REPEATED
from filters.passage import Passage
from filters.rules import Family, Measured, Rule, Signal
from filters.words import UNMARKED_LANGUAGES

SHORT_LINE = 29  # characters, at most; Penedo et al. 2024, section 3.6: fewer than 30
SHORT_LINE_IN_DATATROVE = 30  # characters, at most; datatrove FineWebQualityFilter, short_line_length
SHORT_LINE_OF_LETTERS = 10  # characters; HPLT monotextor-slurm, scripts/annotate.py, for CJK

SIGNALS = (
    Signal("lines", 0, np.inf, whole=True, about="lines that are not blank"),
    Signal("ended_lines", 0, 1, about="fraction of lines that end in a terminal mark; NaN without lines"),
    Signal(
        "short_lines",
        0,
        1,
        about="fraction of lines of fewer than 30 characters, at most 10 in Chinese, Korean and the like",
    ),
    Signal("duplicate_characters", 0, 1, about="fraction of characters in lines equal to an earlier one"),
    Signal("line_feeds_per_word", 0, np.inf, about="line feeds per word between white space"),
)
_NO_LINES = Rule(reason="no_lines", signal="lines", minimum=1)  # datatrove fineweb_quality_filter.py, filter: "empty"
RULES = (
    _NO_LINES,
    Rule(
        reason="too_few_ended_lines",
        signal="ended_lines",
        minimum=0.12,  # Penedo et al. 2024, section 3.6
        inclusive=True,
        exempt=UNMARKED_LANGUAGES,
    ),
    Rule(
        reason="too_many_short_lines",
        signal="short_lines",
        maximum=0.67,  # Penedo et al. 2024, section 3.6
        inclusive=True,
    ),
    Rule(
        reason="too_many_duplicate_characters",
        signal="duplicate_characters",
        maximum=0.1,  # Penedo et al. 2024, section 3.6
        inclusive=True,
    ),
)
DATATROVE_RULES = (
    _NO_LINES,
    Rule(reason="too_few_ended_lines", signal="ended_lines", minimum=0.12),  # datatrove, line_punct_thr
    Rule(reason="too_many_short_lines", signal="short_lines", maximum=0.67),  # datatrove, short_line_thr
    Rule(
        reason="too_many_duplicate_characters",
        signal="duplicate_characters",
        maximum=0.01,  # datatrove, char_duplicates_ratio
    ),
    Rule(reason="too_many_line_feeds", signal="line_feeds_per_word", maximum=0.3),  # datatrove, new_line_ratio
)

_LINES, _ENDED, _SHORT, _REPEATED, _CHARACTERS, _FEEDS = range(6)


def measure(passage: Passage) -> Measured:
    """Return the five signals, one array (documents) each."""
    short = np.where(passage.spaceless | (passage.languages == "ko"), SHORT_LINE_OF_LETTERS, SHORT_LINE)
    return Measured(_measure(passage, TERMINAL, short, exact=False))


def measure_as_datatrove(passage: Passage) -> Measured:
    """Return the same signals of lines that end in one of datatrove's marks itself, short at 30 in every script."""
    short = np.full(len(passage.texts), SHORT_LINE_IN_DATATROVE)
    return Measured(_measure(passage, DATATROVE_TERMINAL, short, exact=True))


FAMILY = Family("fineweb", SIGNALS, RULES, measure)
DATATROVE = Family("fineweb", SIGNALS, DATATROVE_RULES, measure_as_datatrove)


def _measure(passage: Passage, marks: int, short: NDArray[np.int64], *, exact: bool) -> dict[str, NDArray[np.number]]:
    """Count lines with the given marks and lengths, and return the signals."""
    counts = np.zeros((len(passage.texts), 6), np.int64)
    lines = passage.lines
    arrays = (lines.first, lines.start, lines.end, lines.lengths, lines.kinds)
    _count_lines(passage.data, *arrays, character_classes(), marks, exact, short, counts)
    total = np.maximum(counts[:, _LINES], 1)
    words = np.diff(passage.spaced.words.first)
    return {
        "lines": counts[:, _LINES].copy(),
        "ended_lines": np.where(counts[:, _LINES] > 0, counts[:, _ENDED] / total, np.nan),
        "short_lines": counts[:, _SHORT] / total,
        "duplicate_characters": counts[:, _REPEATED] / np.maximum(counts[:, _CHARACTERS], 1),
        "line_feeds_per_word": counts[:, _FEEDS] / np.maximum(words, 1),
    }


@njit(cache=True, nogil=True)
def _count_lines(
    data: Array,
    first: Array,
    start: Array,
    end: Array,
    lengths: Array,
    kinds: Array,
    classes: Array,
    marks: int,
    exact: bool,
    short: Array,
    counts: Array,
) -> None:
    """Count lines, those that end in a mark, short ones, characters in repeated ones and in all, and line feeds."""
    for document in range(first.shape[0] - 1):
        row = counts[document]
        row[_FEEDS] = first[document + 1] - first[document] - 1
        for line in range(first[document], first[document + 1]):
            row[_CHARACTERS] += lengths[line]
            if kinds[line] & BLANK:
                continue
            row[_LINES] += 1
            row[_ENDED] += _is_ended(data, start[line], end[line], classes, marks, exact)
            row[_SHORT] += lengths[line] <= short[document]
            row[_REPEATED] += lengths[line] * (kinds[line] & REPEATED != 0)


@njit(cache=True, nogil=True)
def _is_ended(data: Array, start: int, stop: int, classes: Array, marks: int, exact: bool) -> bool:
    """Tell whether a line that is not blank ends in a mark; unless `exact`, closers and white space may follow it."""
    if exact:
        code, _ = decode(data, previous(data, stop))
        return classes[code] & marks != 0
    start, stop = strip(data, start, stop, classes)
    if stop - start > 1 and data[stop - 1] == 0x22:
        return True
    while stop > start:
        before = previous(data, stop)
        code, _ = decode(data, before)
        if not (classes[code] & CLOSER or code in (0x22, 0x27, 0x29)):
            return classes[code] & marks != 0 or ends_in_word_spaces(data, start, stop)
        stop = before
    return False

"""The same words again and again in a row: what makes a training loss jump.

OLMo 2 (arXiv:2501.00656, section 3.1) removes a document in which a span of 1 to 13 tokens comes 32 times or more in a
row, found as in Dolma (taggers/repetitions): a run has a period, comes at least three times, and reaches as far as
each token equals the one a period before it. Ours are words (filters/words.py), since no tokenizer is trained yet
when documents are judged: a word of letters repeated ("MMMMMM") is one word, and no run.
"""

import numpy as np
from numba import njit

from filters.characters import Array
from filters.passage import Passage
from filters.rules import Family, Measured, Rule, Signal

LONGEST_PERIOD = 13  # words for tokens; OLMo 2, section 3.1
FEWEST_TIMES = 3  # dolma, taggers/repetitions/utils.py

SIGNALS = (
    Signal("times", 0, np.inf, whole=True, about="how often the most repeated span of words comes in a row; 0 below 3"),
    Signal("share", 0, 1, about="fraction of words in such rows"),
)
RULES = (
    Rule(
        reason="same_words_in_a_row",
        signal="times",
        maximum=32,  # OLMo 2, section 3.1
        inclusive=True,
    ),
)


def measure(passage: Passage) -> Measured:
    """Return the two signals, one array (documents) each."""
    first = passage.words.first
    times, words = _measure(first, passage.traits.hashes)
    return Measured({"times": times, "share": words / np.maximum(np.diff(first), 1)})


FAMILY = Family("periodic", SIGNALS, RULES, measure)


@njit(cache=True, nogil=True)
def _measure(first: Array, values: Array) -> tuple[Array, Array]:
    """Return of every document the most times that a span comes in a row, and the values in such rows."""
    times, counts = np.zeros(first.shape[0] - 1, np.int64), np.zeros(first.shape[0] - 1, np.int64)
    held = np.zeros(values.shape[0], np.bool_)
    for document in range(times.shape[0]):
        start, stop = first[document], first[document + 1]
        for period in range(1, LONGEST_PERIOD + 1):
            begin, end = next_run(values, start, stop, period, FEWEST_TIMES)
            while begin < stop:
                times[document] = max(times[document], (end - begin) // period)
                held[begin:end] = True
                begin, end = next_run(values, end - period + 1, stop, period, FEWEST_TIMES)
        counts[document] = held[start:stop].sum()
    return times, counts


@njit(cache=True, nogil=True)
def next_run(values: Array, start: int, stop: int, period: int, fewest: int) -> tuple[int, int]:
    """Return the bounds of the first run in values[start:stop] that comes `fewest` times or more.

    A run reaches as far as each value equals the one `period` before it; (stop, stop) where there is none.
    """
    begin = start
    for i in range(start + period, stop):
        if values[i] != values[i - period]:
            if i - begin >= fewest * period:
                return begin, i
            begin = i - period + 1
    return (begin, stop) if stop - begin >= fewest * period else (stop, stop)

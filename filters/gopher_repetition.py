"""Gopher's repetition rules: documents that say the same again and again.

Rules and thresholds: Rae et al. 2021 (arXiv:2112.11446), table A1. Measurements are those of datatrove
(GopherRepetitionFilter) on the words of filters/words.py: the first copy of a line, paragraph or long
n-gram is not a duplicate, and characters are a fraction of the whole text's. Four differences:

- Lines and paragraphs of white space only are none. Counted, as datatrove does, they are duplicates of each
  other, and a clean text whose empty lines hold a space is rejected for them.
- A most frequent n-gram that occurs once is not repetition and measures 0. Counted, as datatrove and Dolma
  do, it rejects short clean texts: in "The quick brown fox jumps over the lazy dog." one 2-gram is a fifth of
  the text.
- Where most words are single letters (Chinese, Thai), 5 to 9 of them are a phrase or less, and their rules
  are silent; that for ten words judges twenty letters, some ten words. Ten letters are four or five: of the
  Universal Declaration of Human Rights 0.11 to 0.19 are repeated in Japanese, Lao, Khmer and Thai by ten
  letters, at most 0.03 by twenty; by ten words nothing in languages that space them.
- n-grams are compared word by word; joined into one string, "ab c" and "a bc" are equal.

The variant `datatrove` measures what datatrove 0.10.1 does when its words are str.split's: without these.
Occurrences of the most frequent n-gram may overlap, so that its fraction can exceed 1; in `paper` it is 1 then.
"""

from dataclasses import replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters.characters import Array, character_classes, strip
from filters.hashing import find_slot, hash_span, table_size
from filters.lines import BLANK, REPEATED, is_blank
from filters.ngrams import measure_joined, measure_ngrams
from filters.passage import Passage, count_code_points
from filters.rules import Family, Measured, Rule, Signal
from filters.words import SPACELESS_LANGUAGES

_TOP = {2: 0.20, 3: 0.18, 4: 0.16}  # Rae et al. 2021, table A1
_LONGEST, _LETTERS = 10, 20  # words of the longest n-gram, and letters where they are words
_DUPLICATE = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}  # Rae et al. 2021, table A1

SIGNALS = (
    Signal("duplicate_paragraphs", 0, 1, about="fraction of paragraphs equal to an earlier one"),
    Signal("duplicate_paragraph_characters", 0, 1, about="fraction of characters in such paragraphs"),
    Signal("duplicate_lines", 0, 1, about="fraction of lines equal to an earlier one"),
    Signal("duplicate_line_characters", 0, 1, about="fraction of characters in such lines"),
    *(Signal(f"top_{n}_gram", 0, 1, about=f"fraction of characters in the most frequent {n} words") for n in _TOP),
    *(
        Signal(f"duplicate_{n}_grams", 0, 1, about=f"fraction of characters in {n} words that came before")
        for n in _DUPLICATE
    ),
)
RULES = (
    Rule(reason="duplicate_paragraphs", signal="duplicate_paragraphs", maximum=0.30),  # Rae et al. 2021, table A1
    Rule(
        reason="duplicate_paragraph_characters",
        signal="duplicate_paragraph_characters",
        maximum=0.20,  # Rae et al. 2021, table A1
    ),
    Rule(reason="duplicate_lines", signal="duplicate_lines", maximum=0.30),  # Rae et al. 2021, table A1
    Rule(
        reason="duplicate_line_characters",
        signal="duplicate_line_characters",
        maximum=0.20,  # Rae et al. 2021, table A1
    ),
    *(Rule(reason=f"top_{n}_gram", signal=f"top_{n}_gram", maximum=bound) for n, bound in _TOP.items()),
    *(
        Rule(
            reason=f"duplicate_{n}_grams",
            signal=f"duplicate_{n}_grams",
            maximum=bound,
            exempt=SPACELESS_LANGUAGES if n < 10 else frozenset(),
        )
        for n, bound in _DUPLICATE.items()
    ),
)


DATATROVE_SIGNALS = (
    Signal("characters", 0, np.inf, whole=True, about="code points of the text"),
    *(replace(signal, highest=np.inf) if signal.name.startswith("top_") else signal for signal in SIGNALS),
)
# datatrove gopher_repetition_filter.py, defaults of GopherRepetitionFilter: the same thresholds and order
DATATROVE_RULES = (
    Rule(reason="no_characters", signal="characters", minimum=1),  # datatrove GopherRepetitionFilter.filter: "empty"
    *(replace(rule, exempt=frozenset()) for rule in RULES),
)


def measure(passage: Passage) -> Measured:
    """Return the thirteen signals, one array (documents) each: fractions, 0 for an empty text, at most 1.

    Repeated n-grams of 5 to 9 words are NaN where most words are single letters, and those of ten are of twenty.
    """
    parts = _count_lines(passage, blank=False)
    words, traits = passage.words, passage.traits
    last = np.where(passage.spaceless, _LETTERS, _LONGEST)
    measure_ngrams(words.first, words.start, words.end, traits.hashes, traits.lengths, last, parts[:, 4:])
    fractions = np.minimum(_fractions(passage, parts), 1)
    fractions[passage.spaceless, 7:12] = np.nan  # 5 to 9 words
    return Measured({signal.name: fractions[:, i] for i, signal in enumerate(SIGNALS)})


def measure_as_datatrove(passage: Passage) -> Measured:
    """Return the same signals with blank lines and single n-grams counted and words joined; and the characters."""
    parts = _count_lines(passage, blank=True)
    words, traits = passage.spaced.words, passage.spaced.traits
    last = np.full(len(passage.texts), 4)
    measure_ngrams(words.first, words.start, words.end, traits.hashes, traits.lengths, last, parts[:, 4:7], single=True)
    measure_joined(words.first, words.start, words.end, words.data, traits.lengths, parts[:, 7:])
    fractions = _fractions(passage, parts)
    signals = {signal.name: fractions[:, i] for i, signal in enumerate(SIGNALS)}
    return Measured({"characters": passage.characters.copy(), **signals})


FAMILY = Family("gopher_repetition", SIGNALS, RULES, measure)
DATATROVE = Family("gopher_repetition", DATATROVE_SIGNALS, DATATROVE_RULES, measure_as_datatrove)


def _count_lines(passage: Passage, *, blank: bool) -> NDArray[np.float64]:
    """Return what the signals need (documents, 13), the first four columns filled, the rest 0."""
    parts = np.zeros((len(passage.texts), 13), np.float64)
    lines = passage.lines
    _count_paragraphs(passage.data, passage.offsets, character_classes(), lines.first, lines.end, blank, parts)
    _count_repeated(lines.first, lines.start, lines.end, lines.lengths, lines.kinds, blank, parts)
    return parts


def _fractions(passage: Passage, parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the signals (documents, 13): what was counted in characters as a fraction of the text's."""
    characters = np.maximum(passage.characters, 1)
    parts[:, 1] /= characters
    parts[:, 3:] /= characters[:, None]
    return parts


@njit(cache=True, nogil=True)
def _count_repeated(
    first: Array, start: Array, end: Array, lengths: Array, kinds: Array, blank: bool, parts: Array
) -> None:
    """Fill columns 2 and 3: the fraction of lines that repeat an earlier one, and their code points.

    With `blank` lines are what stands between runs of line feeds: blank ones count, empty ones at both ends.
    """
    for document in range(first.shape[0] - 1):
        total, duplicates = 0, 0
        last = first[document + 1] - 1
        for line in range(first[document], last + 1):
            repeated = kinds[line] & REPEATED != 0
            if start[line] == end[line]:
                if not blank or first[document] < line < last:
                    continue
                repeated = line > first[document] and start[first[document]] == end[first[document]]
            elif kinds[line] & BLANK and not blank:
                continue
            total += 1
            duplicates += repeated
            parts[document, 3] += repeated * lengths[line]
        parts[document, 2] = duplicates / max(1, total)


@njit(cache=True, nogil=True)
def _count_paragraphs(
    data: Array, offsets: Array, classes: Array, first: Array, end: Array, blank: bool, parts: Array
) -> None:
    """Fill columns 0 and 1: paragraphs of the stripped text, two line feeds or more apart, that repeat another."""
    longest = 0
    for document in range(first.shape[0] - 1):
        longest = max(longest, first[document + 1] - first[document])
    keys, counts = np.empty(table_size(longest), np.uint64), np.empty(table_size(longest), np.int32)
    for document in range(first.shape[0] - 1):
        start, stop = strip(data, offsets[document], offsets[document + 1], classes)
        size = table_size(first[document + 1] - first[document])
        counts[:size] = 0
        total, duplicates, characters, line = 0, 0, 0, first[document]
        while start < stop:
            while end[line] < start or (end[line] < stop and data[end[line] + 1] != 0x0A):
                line += 1
            after = min(end[line], stop)
            if after == stop and not total:
                break
            if blank or not is_blank(data, start, after, classes):
                slot = find_slot(keys, counts, size - 1, hash_span(data, start, after))
                if counts[slot]:
                    duplicates += 1
                    characters += count_code_points(data, start, after)
                counts[slot] = 1
                total += 1
            start = after
            while start < stop and data[start] == 0x0A:
                start += 1
        parts[document, 0], parts[document, 1] = duplicates / max(1, total), characters

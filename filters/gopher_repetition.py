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
  are silent; ten letters, some six words, are judged. Of 1,200 technical articles in Chinese the rule for
  five would reject 2.8 %, that for ten rejects 2.0 %; of 1,496 longer Tang poems neither rejects any.
- n-grams are compared word by word; joined into one string, "ab c" and "a bc" are equal.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters.characters import SPACE, Array, character_classes, decode, strip
from filters.ngrams import find_slot, measure_ngrams, table_size
from filters.passage import Passage, count_code_points, hash_span
from filters.rules import Family, Rule, Signal
from filters.words import SPACELESS_LANGUAGES

_TOP = {2: 0.20, 3: 0.18, 4: 0.16}  # Rae et al. 2021, table A1
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


def measure(passage: Passage) -> dict[str, NDArray[np.number]]:
    """Return the thirteen signals, one array (documents) each: fractions, 0 for an empty text, at most 1.

    Repeated n-grams of 5 to 9 words are NaN where most words are single letters.
    """
    words = passage.words
    parts = np.zeros((len(passage.texts), 13), np.float64)
    _measure_lines(words.data, passage.offsets, character_classes(), parts)
    measure_ngrams(words.first, words.start, words.end, passage.word_hashes, passage.word_lengths, parts[:, 4:])
    characters = _characters(words.data, passage.offsets)
    parts[:, 1] /= characters
    parts[:, 3:] /= characters[:, None]
    parts[passage.spaceless, 7:12] = np.nan  # 5 to 9 words
    return {signal.name: np.minimum(parts[:, i], 1) for i, signal in enumerate(SIGNALS)}


FAMILY = Family("gopher_repetition", SIGNALS, RULES, measure)


@njit(cache=True, nogil=True)
def _characters(data: Array, offsets: Array) -> Array:
    """Return the code points of every document, at least 1."""
    lengths = np.ones(offsets.shape[0] - 1, np.int64)
    for document in range(lengths.shape[0]):
        lengths[document] = max(1, count_code_points(data, offsets[document], offsets[document + 1]))
    return lengths


@njit(cache=True, nogil=True)
def _measure_lines(data: Array, offsets: Array, classes: Array, parts: Array) -> None:
    """Fill columns 0 to 3: paragraphs of the stripped text (two line feeds or more apart), then lines."""
    for document in range(offsets.shape[0] - 1):
        start, stop = offsets[document], offsets[document + 1]
        a, b = strip(data, start, stop, classes)
        parts[document, 0], parts[document, 1] = _duplicates(data, a, b, 2, classes)
        parts[document, 2], parts[document, 3] = _duplicates(data, start, stop, 1, classes)


@njit(cache=True, nogil=True)
def _duplicates(data: Array, start: int, stop: int, feeds: int, classes: Array) -> tuple[float, int]:
    """Return the fraction of parts that repeat an earlier one, and their code points.

    Parts are split at runs of `feeds` line feeds or more; those of white space only are left out.
    """
    size = table_size(_count_feeds(data, start, stop) // feeds + 1)
    keys, counts = np.empty(size, np.uint64), np.zeros(size, np.int32)
    total, duplicates, characters, i, begin = 0, 0, 0, start, start
    while i <= stop:
        after = i
        while after < stop and data[after] == 0x0A:
            after += 1
        if i < stop and after - i < feeds:
            i = max(after, i + 1)
            continue
        if not _is_blank(data, begin, i, classes):
            slot = find_slot(keys, counts, size - 1, hash_span(data, begin, i))
            counts[slot] += 1
            total += 1
            if counts[slot] > 1:
                duplicates += 1
                characters += count_code_points(data, begin, i)
        if i == stop:
            break
        i = begin = after
    return duplicates / max(1, total), characters


@njit(cache=True, nogil=True)
def _count_feeds(data: Array, start: int, stop: int) -> int:
    """Return how many line feeds data[start:stop] holds."""
    feeds = 0
    for i in range(start, stop):
        feeds += data[i] == 0x0A
    return feeds


@njit(cache=True, nogil=True)
def _is_blank(data: Array, start: int, stop: int, classes: Array) -> bool:
    """Tell whether data[start:stop] is white space only."""
    while start < stop:
        code, start = decode(data, start)
        if not classes[code] & SPACE:
            return False
    return True

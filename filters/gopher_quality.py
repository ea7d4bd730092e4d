"""Gopher's quality rules: documents that do not look like running text.

Rules and thresholds: Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from
Training Gopher" (arXiv:2112.11446), appendix A.1.1. Where the paper leaves a measurement open,
datatrove's (GopherQualityFilter) is taken, on the words of filters/words.py. Differences from datatrove,
each for the sake of languages other than English:

- Punctuation between letters that are words of their own (。 after a Han letter) is no word here; in a script
  with spaces it is part of a word, and so it never counts by itself there.
- Word length is that of words between spaces: letters that are words of their own have none. It is measured
  where at least half of the words are such, and not judged in languages written without spaces, nor where a
  language's words are near a bound by nature (SHORT_WORDS, LONG_WORDS).
- A soft hyphen is no part of a word's length.
- Stop words are judged in the languages that have a list, by that list.

The variant `datatrove` measures what datatrove 0.10.1 does when its words are str.split's, for English.
"""

import functools
from dataclasses import replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters.characters import LINE_BREAK, Array, character_classes, decode, previous, strip
from filters.hashing import hash_span
from filters.passage import ALPHABETIC, HYPHENATED, PROPER, PROPER_IN_DATATROVE, SINGLE, Passage
from filters.rules import Family, Measured, Rule, Signal
from filters.stop_words import STOP_WORDS
from filters.words import SPACELESS_LANGUAGES

# Languages whose ordinary pages come near a bound on word length. We measured, in the Universal Declaration
# of Human Rights and in news, in code points per word, 3.4 in Korean (a syllable each), 8.7 in Tamil, 9.0 in
# Kannada, 9.3 in Dhivehi, 9.6 in Sanskrit, 12.3 in Malayalam (letters and vowel signs both count), but 8.0 in
# Finnish.
SHORT_WORDS = frozenset({"ko"})
LONG_WORDS = frozenset({"ta", "kn", "dv", "sa", "ml"})

SIGNALS = (
    Signal("words", 0, np.inf, whole=True, about="words with anything but punctuation in them"),
    Signal(
        "mean_word_length",
        0,
        np.inf,
        about="code points per such word between spaces; NaN where these are few",
    ),
    Signal("hashes_per_word", 0, 1, about="number signs (#) per word, at most 1"),
    Signal("ellipses_per_word", 0, 1, about="ellipses (... or …) per word, at most 1"),
    Signal("bullet_lines", 0, 1, about="fraction of lines that begin with • or -"),
    Signal("ellipsis_lines", 0, 1, about="fraction of lines that end in an ellipsis"),
    Signal("alphabetic_words", 0, 1, about="fraction of words with a letter in them"),
    Signal("stop_words", 0, 100, about="different stop words of the language; NaN where it has no list"),
)
RULES = (  # every bound: Rae et al. 2021, appendix A.1.1; the order: datatrove
    Rule(reason="too_few_words", signal="words", minimum=50),  # Rae et al. 2021, A.1.1
    Rule(reason="too_many_words", signal="words", maximum=100_000),  # Rae et al. 2021, A.1.1
    Rule(
        reason="words_too_short",
        signal="mean_word_length",
        minimum=3,  # Rae et al. 2021, A.1.1
        exempt=SPACELESS_LANGUAGES | SHORT_WORDS,
    ),
    Rule(
        reason="words_too_long",
        signal="mean_word_length",
        maximum=10,  # Rae et al. 2021, A.1.1
        exempt=SPACELESS_LANGUAGES | LONG_WORDS,
    ),
    Rule(reason="too_many_hashes", signal="hashes_per_word", maximum=0.1),  # Rae et al. 2021, A.1.1
    Rule(reason="too_many_ellipses", signal="ellipses_per_word", maximum=0.1),  # Rae et al. 2021, A.1.1
    Rule(reason="too_many_bullets", signal="bullet_lines", maximum=0.9),  # Rae et al. 2021, A.1.1
    Rule(reason="too_many_lines_end_in_ellipsis", signal="ellipsis_lines", maximum=0.3),  # Rae et al. 2021, A.1.1
    Rule(reason="too_few_alphabetic_words", signal="alphabetic_words", minimum=0.8),  # Rae et al. 2021, A.1.1
    Rule(
        reason="too_few_stop_words",
        signal="stop_words",
        minimum=2,  # Rae et al. 2021, A.1.1
        languages=frozenset(STOP_WORDS),
    ),
)

# datatrove gopher_quality_filter.py, defaults of GopherQualityFilter: the same thresholds and order, for every language
# but in the one list that it has.
DATATROVE_RULES = tuple(
    replace(rule, exempt=frozenset(), languages=rule.languages and frozenset({"en"})) for rule in RULES
)

_WATCHED = np.ones(256, np.bool_)  # bytes at which something may be to count: #, full stops, breaks, all but ASCII
_WATCHED[0x20:0x80] = False
_WATCHED[[0x23, 0x2E]] = True
_WORDS, _PROPER, _LENGTH, _ALPHABETIC, _STOP, _HASHES, _ELLIPSES, _LINES, _BULLETS, _ENDINGS, _SPACED = range(11)


def measure(passage: Passage) -> Measured:
    """Return the eight signals, one array (documents) each; an empty text measures 0, or NaN."""
    counts = _count(passage, PROPER, SINGLE)
    listed = _count_stop_words(passage, tuple(STOP_WORDS), counts)
    return Measured(_signals(counts, (counts[:, _SPACED] > 0) & ~passage.spaceless, listed))


def measure_as_datatrove(passage: Passage) -> Measured:
    """Return the same signals of words between white space, of datatrove's punctuation and of English stop words."""
    counts = _count(passage.spaced, PROPER_IN_DATATROVE, 0)
    listed = _count_stop_words(passage.spaced, ("en",), counts)
    return Measured(_signals(counts, counts[:, _SPACED] > 0, listed))


FAMILY = Family("gopher_quality", SIGNALS, RULES, measure)
DATATROVE = Family("gopher_quality", SIGNALS, DATATROVE_RULES, measure_as_datatrove)


def _count(passage: Passage, proper: int, single: int) -> NDArray[np.int64]:
    """Return the counts of words and lines (documents, 11); proper and single are bits of a word's kind."""
    counts = np.zeros((len(passage.texts), 11), np.int64)
    words, traits = passage.words, passage.traits
    hyphens = HYPHENATED if single else 0
    arrays = (words.first, words.start, words.end, traits.lengths, traits.kinds)
    _count_words(passage.data, *arrays, proper, single, hyphens, counts)
    _count_lines(passage.data, passage.offsets, character_classes(), counts)
    return counts


def _signals(
    counts: NDArray[np.int64], measurable: NDArray[np.bool_], listed: NDArray[np.bool_]
) -> dict[str, NDArray[np.number]]:
    """Return the signals that counts amount to; length and stop words only of the documents that have them."""
    return {
        "words": counts[:, _PROPER].copy(),
        "mean_word_length": np.where(measurable, _fraction(counts, _LENGTH, _SPACED), np.nan),
        "hashes_per_word": np.minimum(_fraction(counts, _HASHES, _WORDS), 1),
        "ellipses_per_word": np.minimum(_fraction(counts, _ELLIPSES, _WORDS), 1),
        "bullet_lines": _fraction(counts, _BULLETS, _LINES),
        "ellipsis_lines": _fraction(counts, _ENDINGS, _LINES),
        "alphabetic_words": _fraction(counts, _ALPHABETIC, _WORDS),
        "stop_words": np.where(listed, counts[:, _STOP], np.nan),
    }


def _fraction(counts: NDArray[np.int64], part: int, whole: int) -> NDArray[np.float64]:
    """Divide two columns, 0 where nothing is there to divide by."""
    return counts[:, part] / np.maximum(counts[:, whole], 1)


def _count_stop_words(passage: Passage, lists: tuple[str, ...], counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Count the stop words of every document by its language's list; return which documents have one."""
    table = _stop_word_hashes(lists)
    row = {language: index for index, language in enumerate(lists)}
    rows = np.array([row.get(str(language), -1) for language in passage.languages], np.int64)
    _count_listed(passage.words.first, passage.traits.hashes, rows, table, _likely(table), counts)
    return rows >= 0


@functools.cache
def _stop_word_hashes(languages: tuple[str, ...]) -> NDArray[np.uint64]:
    """Return the hashes of the stop words, a row a language, filled up with its first."""
    lists = [STOP_WORDS[language] for language in languages]
    table = np.zeros((len(lists), max(map(len, lists))), np.uint64)
    for row, words in zip(table, lists, strict=True):
        hashes = [hash_span(np.frombuffer(word.encode(), np.uint8), 0, len(word.encode())) for word in words]
        row[:] = hashes[0]
        row[: len(hashes)] = hashes
    return table


def _likely(table: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return for each language the last 12 bits of its hashes as a table, to pass other words by quickly."""
    likely = np.zeros((len(table), 4096), np.bool_)
    for row, hashes in enumerate(table):
        likely[row, (hashes & np.uint64(4095)).astype(np.int64)] = True
    return likely


@njit(cache=True, nogil=True)
def _count_listed(first: Array, hashes: Array, rows: Array, table: Array, likely: Array, counts: Array) -> None:
    """Count the different listed words of every document."""
    for document in range(rows.shape[0]):
        row, seen = rows[document], np.uint64(0)
        if row < 0:
            continue
        for w in range(first[document], first[document + 1]):
            if not likely[row, np.int64(hashes[w] & np.uint64(4095))]:
                continue
            for k in range(table.shape[1]):
                if table[row, k] == hashes[w]:
                    seen |= np.uint64(1) << np.uint64(k)
                    break
        while seen:
            counts[document, _STOP] += np.int64(seen & np.uint64(1))
            seen >>= np.uint64(1)


@njit(cache=True, nogil=True)
def _count_words(
    data: Array,
    first: Array,
    start: Array,
    end: Array,
    lengths: Array,
    kinds: Array,
    proper: int,
    single: int,
    hyphens: int,
    counts: Array,
) -> None:
    """Count words, words with more than punctuation, their length, and words with a letter.

    `proper`, `single` and `hyphens` are bits of kinds: of words that count, have no length, hold soft hyphens.
    """
    for document in range(first.shape[0] - 1):
        row = counts[document]
        for w in range(first[document], first[document + 1]):
            row[_ALPHABETIC] += kinds[w] & ALPHABETIC != 0
            if kinds[w] & proper:
                spaced = kinds[w] & single == 0
                row[_PROPER] += 1
                row[_LENGTH] += lengths[w] * spaced
                row[_SPACED] += spaced
                if kinds[w] & hyphens:
                    row[_LENGTH] -= _count_hyphens(data, start[w], end[w]) * spaced
                row[_WORDS] += 1
            else:
                glued = w > first[document] and end[w - 1] == start[w]
                glued |= w + 1 < first[document + 1] and start[w + 1] == end[w]
                row[_WORDS] += not glued


@njit(cache=True, nogil=True)
def _count_hyphens(data: Array, i: int, stop: int) -> int:
    """Count the soft hyphens of a word."""
    hyphens = 0
    while i < stop:
        code, i = decode(data, i)
        hyphens += code == 0xAD
    return hyphens


@njit(cache=True, nogil=True)
def _count_lines(data: Array, offsets: Array, classes: Array, counts: Array) -> None:
    """Count number signs, ellipses, lines (str.splitlines), and those with a bullet or an ellipsis."""
    for document in range(offsets.shape[0] - 1):
        begin, stop, row = offsets[document], offsets[document + 1], counts[document]
        i = begin
        while i < stop:
            if not _WATCHED[data[i]]:
                i += 1
                continue
            if data[i] == 0x2E:
                dots = i
                while i < stop and data[i] == 0x2E:
                    i += 1
                row[_ELLIPSES] += (i - dots) // 3
                continue
            code, after = decode(data, i)
            row[_HASHES] += code == 0x23
            row[_ELLIPSES] += code == 0x2026
            if classes[code] & LINE_BREAK:
                _count_line(data, begin, i, classes, row)
                after += code == 0x0D and after < stop and data[after] == 0x0A
                begin = after
            i = after
        if begin < stop:
            _count_line(data, begin, stop, classes, row)


@njit(cache=True, nogil=True)
def _count_line(data: Array, start: int, stop: int, classes: Array, row: Array) -> None:
    """Count one line by its first and last characters that are not white space."""
    row[_LINES] += 1
    start, stop = strip(data, start, stop, classes)
    if start == stop:
        return
    opening, _ = decode(data, start)
    row[_BULLETS] += opening in (0x2022, 0x2D)
    last, _ = decode(data, previous(data, stop))
    dots = stop - start >= 3 and data[stop - 1] == 0x2E and data[stop - 2] == 0x2E and data[stop - 3] == 0x2E
    row[_ENDINGS] += last == 0x2026 or dots

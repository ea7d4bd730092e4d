"""HPLT's web document score, from 0 to 10: how much a page is long, well-formed text, not menus, numbers and symbols.

pablop16n/web-docs-scorer as of commit 37a3f34, which scored HPLT's third release; the cleaned release kept pages from 5
(HPLT monotextor-slurm, 30.clean). Score = (0.8 language + long segments + very long segments) x penalty, where penalty
is the product of the two worst of six scores from 0 to 1 and the mean of the other four. Segments are lines. Expected
shares of punctuation, digits and other signs in 100 letters are given for Spanish; other languages scale them by their
medians (MEDIANS), and lengths by the medians of punctuation the other way. What is assumed:

- The language score is ten times the share of the text that is in its likeliest language (language_segments.py), as the
  step `language` saw it; the original counts the letters of lines that are no menus, by a language each. Where no part
  has a certain language, and for texts without a share, it is 10.
- The sixth score, informativeness, compares the text's compressed size with curves that were published as pickled
  functions, which we do not load; it counts as 1.
- A language without medians gets the mean of all that have; the original looks for a relative first.
"""

import functools

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters.characters import Array, decode
from filters.lines import REPEATED
from filters.passage import Passage
from filters.rules import Family, Measured, Rule, Signal
from filters.wds_tables import LETTERS, MEDIANS, NUMBERS, OTHERS, SIGNS, character_kinds

# All for Spanish, web-docs-scorer 37a3f34, docscorer.py.
MENU = 25  # letters; shorter segments are menus: menu_length
LONG, VERY_LONG = 250, 1000  # letters: long_text_min, long_text_max
MOST_LONG = 10  # segments: DESIRED_LONG_TEXTS
# Signs per 100 letters and the score there, linear between
SIGN_CURVE = ((0, 0), (0.3, 5), (0.9, 10), (2.5, 10), (9, 7), (13, 5), (25, 0))  # punct_*
OTHER_CURVE = ((1, 10), (2, 7), (6, 5), (10, 0))  # singular_chars_desired, semibad, bad, max
NUMBER_CURVE = ((1, 10), (10, 7), (15, 5), (30, 0))  # numbers_desired, semibad, bad, max
URL_CURVE = ((0.05, 10), (0.3, 5), (1, 0))  # score_urls: www or http per segment that is no menu

SIGNALS = (
    Signal("score", 0, 10, about="HPLT's web document score, without informativeness"),
    Signal("language", 0, 10, about="10 for a text in one language, 0 without a segment longer than a menu"),
    Signal("long_segments", 0, 10, about="one for every long line, at most 10"),
    Signal("very_long_segments", 0, 10, about="how long the very long lines are"),
    Signal("urls", 0, 10, about="10 for few URLs per line, 0 for one a line"),
    Signal("punctuation", 0, 10, about="10 for as much punctuation as the language has, 0 for none or far too much"),
    Signal("other_signs", 0, 10, about="10 for few symbols, emoji and the like, 0 for many"),
    Signal("numbers", 0, 10, about="10 for few digits, 0 for many"),
    Signal("repeated", 0, 10, about="10 where no line that is no menu repeats another, 0 where all do"),
)
RULES = (
    Rule(reason="low_web_document_score", signal="score", minimum=5),  # HPLT monotextor-slurm, 30.clean
)

_LETTERS, _SIGNS, _OTHERS, _NUMBERS, _TEXTS, _SEGMENTS, _REPEATED, _WWW, _HTTP, _LONG, _VERY_LONG = range(11)


def measure(passage: Passage) -> Measured:
    """Return the nine signals, one array (documents) each."""
    counts = np.zeros((len(passage.texts), 11), np.int64)
    tenths = np.zeros(len(passage.texts), np.int64)  # of the scores of very long segments
    codes, row = np.unique(passage.languages, return_inverse=True)
    scales = np.array([_scales(str(code)) for code in codes]).reshape(-1, 3)[row]
    lengths = np.round(np.array([MENU, LONG, VERY_LONG]) / scales[:, :1]).astype(np.int64)
    lines = passage.lines
    arrays = (lines.first, lines.start, lines.end, lines.lengths, lines.kinds)
    _count(passage.data, *arrays, character_kinds(), lengths, counts, tenths)
    shares = np.ones(len(counts)) if passage.shares is None else np.nan_to_num(passage.shares, nan=1.0)
    return Measured(_scores(counts, tenths, scales, shares))


FAMILY = Family("wds", SIGNALS, RULES, measure)


@functools.cache
def _scales(language: str) -> tuple[float, float, float]:
    """Return how much more punctuation, other signs and numbers a language has than Spanish."""
    spanish = np.array(MEDIANS["es"])
    own = MEDIANS.get(language)
    ratios = np.array(own) / spanish if own else np.mean([np.array(m) / spanish for m in MEDIANS.values()], axis=0)
    return float(ratios[0]), float(ratios[1]), float(ratios[2])


def _scores(
    counts: NDArray[np.int64], tenths: NDArray[np.int64], scales: NDArray[np.float64], shares: NDArray[np.float64]
) -> dict[str, NDArray[np.number]]:
    """Return the score and its parts from what was counted."""
    many = np.minimum(counts[:, _LONG], MOST_LONG).astype(np.float64)
    very = np.where(counts[:, _VERY_LONG] > 0, tenths / 10 / np.maximum(counts[:, _VERY_LONG], 1) + 0.1, 0)
    per_segment = np.maximum(counts[:, _WWW], counts[:, _HTTP]) / np.maximum(counts[:, _TEXTS], 1)
    urls = np.where(counts[:, _TEXTS] > 0, np.round(np.interp(per_segment, *_curve(URL_CURVE, 1)), 2), 10)
    repeated = np.round(10 - 10 * counts[:, _REPEATED] / np.maximum(counts[:, _SEGMENTS], 1), 1)
    parts = {
        "long_segments": many,
        "very_long_segments": np.minimum(very, 10),
        "urls": urls,
        "punctuation": _rate(counts, _SIGNS, SIGN_CURVE, scales[:, 0]),
        "other_signs": _rate(counts, _OTHERS, OTHER_CURVE, scales[:, 1]),
        "numbers": _rate(counts, _NUMBERS, NUMBER_CURVE, scales[:, 2]),
        "repeated": repeated,
    }
    informativeness = np.full(len(counts), 10.0)
    six = np.sort(np.stack([*list(parts.values())[2:], informativeness]), axis=0) / 10
    penalty = six[0] * six[1] * six[2:].mean(axis=0)
    language = np.where(counts[:, _TEXTS] > 0, np.round(10 * shares, 1), 0)
    score = (language * 0.8 + many / 10 + parts["very_long_segments"] / 10) * penalty
    return {"score": np.round(np.minimum(score, 10), 1), "language": language, **parts}


def _rate(
    counts: NDArray[np.int64], column: int, curve: tuple[tuple[float, float], ...], scales: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the score of a share per 100 letters on a language's own curve; 0 without letters."""
    shares = np.round(100 * counts[:, column] / np.maximum(counts[:, _LETTERS], 1), 1)
    rates = np.zeros(len(counts))
    for scale in np.unique(scales):
        rows = scales == scale
        rates[rows] = np.interp(shares[rows], *_curve(curve, float(scale)))
    return np.where(counts[:, _LETTERS] > 0, np.round(rates, 1), 0)


def _curve(curve: tuple[tuple[float, float], ...], scale: float) -> tuple[list[float], list[float]]:
    """Return the shares, scaled, to one decimal and at most 100, and the scores of a curve."""
    shares = [round(share * scale, 1) if scale != 1 else share for share, _ in curve]
    return [min(share, 100.0) for share in shares], [float(score) for _, score in curve]


@njit(cache=True, nogil=True)
def _count(
    data: Array,
    first: Array,
    start: Array,
    end: Array,
    lengths: Array,
    kinds: Array,
    table: Array,
    bounds: Array,
    counts: Array,
    tenths: Array,
) -> None:
    """Fill the columns; `bounds` (documents, 3) are the letters of a menu, a long and a very long segment."""
    for document in range(first.shape[0] - 1):
        row = counts[document]
        menu, least, most = bounds[document]
        for line in range(first[document], first[document + 1]):
            letters = _count_line(data, start[line], end[line], table, row)
            row[_TEXTS] += letters > menu
            if lengths[line] >= menu:
                row[_SEGMENTS] += 1
                row[_REPEATED] += kinds[line] & REPEATED != 0
            if letters > least:
                row[_LONG] += 1
                score = int(np.round((min(letters, most) - least) / (most - least) * 100))
                if score > 50:
                    row[_VERY_LONG] += 1
                    tenths[document] += score


@njit(cache=True, nogil=True)
def _count_line(data: Array, i: int, stop: int, table: Array, row: Array) -> int:
    """Count the characters of a line by kind, and what may begin a URL; return its letters."""
    letters = 0
    while i < stop:
        if data[i] == 0x77 and i + 2 < stop and data[i + 1] == 0x77 and data[i + 2] == 0x77:
            row[_WWW] += 1
        if data[i] == 0x68 and i + 3 < stop and data[i + 1] == 0x74 and data[i + 2] == 0x74 and data[i + 3] == 0x70:
            row[_HTTP] += 1
        code, i = decode(data, i)
        kind = table[code]
        letters += kind & LETTERS != 0
        row[_SIGNS] += kind & SIGNS != 0
        row[_OTHERS] += kind & OTHERS != 0
        row[_NUMBERS] += kind & NUMBERS != 0
    row[_LETTERS] += letters
    return letters

"""HPLT's web document score."""

import numpy as np
import pyarrow as pa
import pytest

from filters.passage import read_passage
from filters.rules import judge
from filters.wds import RULES, measure
from filters.wds_tables import LETTERS, MEDIANS, NUMBERS, OTHERS, SIGNS, character_kinds

WORDS = "el capitan volvio tarde y nadie lo esperaba en el puerto aquella noche de invierno "


def signals_of(text: str, language: str = "es") -> dict[str, float]:
    """Return the signals of one text."""
    measured = measure(read_passage(pa.array([text]), np.array([language]))).signals
    return {name: float(values[0]) for name, values in measured.items()}


def text_with(signs: str, letters: int) -> str:
    """Return one line with so many letters and some signs."""
    return "a" * letters + signs


@pytest.mark.parametrize(
    ("name", "sign", "share", "score"),
    [
        ("punctuation", ".", 0, 0),
        ("punctuation", ".", 3, 5),
        ("punctuation", ".", 9, 10),
        ("punctuation", ".", 25, 10),
        ("punctuation", ".", 90, 7),
        ("punctuation", ".", 130, 5),
        ("punctuation", ".", 190, 2.5),
        ("punctuation", ".", 250, 0),
        ("punctuation", ".", 900, 0),
        ("other_signs", "#", 10, 10),
        ("other_signs", "#", 20, 7),
        ("other_signs", "#", 60, 5),
        ("other_signs", "#", 100, 0),
        ("numbers", "7", 10, 10),
        ("numbers", "7", 100, 7),
        ("numbers", "7", 150, 5),
        ("numbers", "7", 300, 0),
    ],
)
def test_shares_score_as_the_curves_for_spanish_say(name: str, sign: str, share: int, score: float) -> None:
    """At the points of the published tables, in signs per thousand letters, and half-way between two."""
    assert signals_of(text_with(sign * share, 1000))[name] == score


@pytest.mark.parametrize(("urls", "score"), [(1, 10), (6, 5), (13, 2.5), (20, 0), (40, 0)])
def test_urls_are_counted_per_segment(urls: int, score: float) -> None:
    """Twenty segments; what is shorter than a menu is none."""
    lines = [WORDS] * 20 + ["http://a"] * urls
    assert signals_of("\n".join(f"{line}{i}" for i, line in enumerate(lines)))["urls"] == pytest.approx(score)


def test_repeated_segments_lower_the_score() -> None:
    """Two of five equal an earlier one; menus do not count."""
    assert signals_of("\n".join([WORDS, WORDS, WORDS, "menu", "menu", WORDS + "b", WORDS + "c"]))["repeated"] == 6


@pytest.mark.parametrize(
    ("letters", "long", "very_long"), [(250, 0, 0), (251, 1, 0), (700, 1, 6.1), (1000, 1, 10), (5000, 1, 10)]
)
def test_long_segments_score(letters: int, long: float, very_long: float) -> None:
    """More than 250 letters are long, from 625 on a line scores for its length, with a tenth added."""
    signals = signals_of("a" * letters)
    assert signals["long_segments"] == long
    assert signals["very_long_segments"] == pytest.approx(very_long)


def test_the_score_is_the_product_of_base_and_penalty() -> None:
    """Language counts 8, ten long segments 1, very long ones 1; the two worst of six are factors."""
    text = "\n".join(f"{'a' * 1000}{'b' * i}{'.' * 12}" for i in range(10))
    assert signals_of(text)["score"] == 10
    worse = "\n".join(f"{'a' * 1000}{'b' * i}{'.' * 12}{'7' * 100}" for i in range(10))
    assert signals_of(worse)["numbers"] == pytest.approx(7)
    assert signals_of(worse)["score"] == pytest.approx(7)


def test_languages_scale_the_curves() -> None:
    """Chinese has four times the punctuation of Spanish, and a language without medians the mean of all."""
    text = text_with("." * 70, 1000)
    assert signals_of(text, "zh")["punctuation"] == 10
    assert signals_of(text, "es")["punctuation"] < 9
    assert signals_of(text, "es")["punctuation"] < signals_of(text, "xx")["punctuation"] <= 10


@pytest.mark.parametrize("text", ["", " ", "\n\n", "menu\nmenu", "##########"])
def test_what_has_no_text_scores_nothing(text: str) -> None:
    """And is rejected."""
    passage = read_passage(pa.array([text]), np.array(["es"]))
    assert measure(passage).signals["score"].tolist() == [0]
    assert judge(RULES, measure(passage).signals, passage.languages).rule.tolist() == [0]


@pytest.mark.parametrize(
    ("character", "kinds"),
    [("a", LETTERS), ("漢", LETTERS), (".", SIGNS), ("#", OTHERS), ("7", NUMBERS), (" ", 0), ("…", SIGNS | OTHERS)],
)
def test_characters_have_kinds(character: str, kinds: int) -> None:
    """A character may be of two kinds; a letter is what is of no other."""
    assert character_kinds()[ord(character)] == kinds


def test_medians_are_as_published() -> None:
    """Seventy-four languages; Spanish is what the curves are given for."""
    assert len(MEDIANS) == 74
    assert MEDIANS["es"] == (2.4, 0.3, 1.3)


@pytest.mark.parametrize(
    ("share", "language", "score"), [(1, 10, 10), (0.5, 5, 6), (0.123, 1.2, 3), (0, 0, 2), (np.nan, 10, 10)]
)
def test_the_share_of_its_language_counts_eight_of_ten(share: float, language: float, score: float) -> None:
    """A tenth of the score a point; where no part of the text has a certain language, it is in one."""
    text = "\n".join(f"{'a' * 1000}{'b' * i}{'.' * 12}" for i in range(10))
    passage = read_passage(pa.array([text, ""]), np.array(["es", "es"]), np.array([share, share]))
    signals = measure(passage).signals
    assert signals["language"].tolist() == [language, 0]
    assert signals["score"].tolist() == [score, 0]

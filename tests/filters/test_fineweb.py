"""FineWeb's rules as the paper has them, in languages other than English too."""

import numpy as np
import pyarrow as pa
import pytest

from filters.fineweb import FAMILY, RULES, measure
from filters.passage import read_passage
from filters.rules import judge


def signals_of(text: str, language: str = "en") -> dict[str, float]:
    """Return the signals of one text."""
    measured = measure(read_passage(pa.array([text]), np.array([language]))).signals
    return {name: float(values[0]) for name, values in measured.items()}


@pytest.mark.parametrize(
    ("line", "ended"),
    [
        ("It ends.", 1),
        ('"It ends."', 1),
        ("It ends.)  ", 1),
        ("It does not", 0),
        ("It does not,", 0),
        ("”", 0),
        ('"', 0),
        ('He said: "It does"', 1),
        ('(He said: "It does not")', 0),
        ("结束了。", 1),
        ("他说：“结束了。”", 1),
        ("यह समाप्त हुआ।", 1),
        ("ነገሩ አለቀ።", 1),
        ("ነገሩ፡አለቀ፡፡", 1),
        ("ነገሩ፡አለቀ፡", 0),
    ],
)
def test_marks_may_be_followed_by_quotes_and_space(line: str, ended: float) -> None:
    """In every script that has marks."""
    assert signals_of(line)["ended_lines"] == ended


@pytest.mark.parametrize(
    ("line", "language", "short"),
    [("a" * 30, "en", 1), ("a" * 31, "en", 0), ("漢" * 10, "zh", 1), ("漢" * 11, "zh", 0), ("글" * 10, "ko", 1),
     ("글" * 11, "ko", 0), ("글" * 11, "und", 1)],
)  # fmt: skip
def test_short_is_thirty_characters_or_ten_that_are_words_or_syllables(line: str, language: str, short: float) -> None:
    """The bound itself is short."""
    assert signals_of(line, language)["short_lines"] == short


def test_blank_lines_are_none() -> None:
    """Only line feeds per word counts them; a text of them has no lines and no fraction of ended ones."""
    assert signals_of("One line.\n\n \n\t\n") == {
        "lines": 1,
        "ended_lines": 1,
        "short_lines": 1,
        "duplicate_characters": 0,
        "line_feeds_per_word": 2,
    }
    assert signals_of("\n \n")["lines"] == 0
    assert np.isnan(signals_of("\n \n")["ended_lines"])


def test_characters_of_repeats_are_a_fraction_of_all_but_line_feeds() -> None:
    """The first copy is none."""
    assert signals_of("abcd\nabcd\nab")["duplicate_characters"] == 0.4


MENU = "".join(f"Menu of the {number} things that we offer to you\n" for number in range(9))


@pytest.mark.parametrize(
    ("text", "language", "reason"),
    [
        ("", "en", "no_lines"),
        (
            "Menu of things that we offer to you\n" * 9 + "One sentence of it ends here, and only one.",
            "en",
            "too_few_ended_lines",
        ),
        ("เมนูของสิ่งที่เราเสนอให้คุณในวันนี้และพรุ่งนี้และวันต่อไป", "th", None),
        ("Yes.\nNo.\nMaybe.\n", "en", "too_many_short_lines"),
        ("A line of prose that is long enough.\n" * 2, "en", "too_many_duplicate_characters"),
        ("A line of prose that is long enough.\nAnother line of prose that is long enough.", "en", None),
    ],
)
def test_every_reason_has_a_text(text: str, language: str, reason: str | None) -> None:
    """And prose is kept; Thai, which has no end marks, is not judged by them."""
    passage = read_passage(pa.array([text]), np.array([language]))
    rule = judge(RULES, measure(passage).signals, passage.languages).rule[0]
    assert (None if rule < 0 else FAMILY.rules[rule].reason) == reason

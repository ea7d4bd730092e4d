"""FineWeb's rules as the paper has them, in languages other than English too."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from filters.fineweb import DATATROVE, FAMILY, RULES, measure
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
    [("a" * 29, "en", 1), ("a" * 30, "en", 0), ("漢" * 10, "zh", 1), ("漢" * 11, "zh", 0), ("글" * 10, "ko", 1),
     ("글" * 11, "ko", 0), ("글" * 11, "und", 1)],
)  # fmt: skip
def test_short_is_below_thirty_characters_or_ten_words_or_syllables(line: str, language: str, short: float) -> None:
    """Thirty characters are not short, ten letters that are words or syllables are."""
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


@pytest.mark.parametrize(
    ("rule", "share"),
    [("too_few_ended_lines", 0.12), ("too_many_short_lines", 0.67), ("too_many_duplicate_characters", 0.1)],
)
def test_the_paper_rejects_at_its_bounds(rule: str, share: float) -> None:
    """Penedo et al. 2024, section 3.6: at most 0.12, at least 0.67 and 0.1; datatrove's code only beyond them."""
    for family, rejected in ((FAMILY, True), (DATATROVE, False)):
        (found,) = [one for one in family.rules if one.reason == rule]
        found = replace(found, minimum=found.minimum and share, maximum=found.maximum and share)
        assert (judge([found], {found.signal: np.array([share])}, np.array(["en"])).rule == 0).tolist() == [rejected]


def test_a_page_at_the_paper_s_bound_is_rejected() -> None:
    """Three of twenty-five lines end in a mark: 0.12 exactly."""
    lines = [f"Line number {n} of the page says something of its own{'.' * (n < 3)}" for n in range(25)]
    for family, reason in ((FAMILY, "too_few_ended_lines"), (DATATROVE, None)):
        passage = read_passage(pa.array(["\n".join(lines)]), np.array(["en"]))
        rule = judge(family.rules[:2], family.measure(passage).signals, passage.languages).rule[0]
        assert (None if rule < 0 else family.rules[rule].reason) == reason


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

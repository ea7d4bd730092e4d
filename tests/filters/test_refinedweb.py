"""RefinedWeb's line corrections."""

import numpy as np
import pyarrow as pa
import pytest

from filters.passage import read_passage
from filters.refinedweb import RULES, measure
from filters.rules import judge

PROSE = "This is a line of prose with more than ten words, so that nothing is cut out of it."


def correct(text: str, language: str = "en") -> tuple[str, dict[str, float]]:
    """Return the corrected text and the signals that are not 0."""
    measured = measure(read_passage(pa.array([text]), np.array([language])))
    assert measured.texts is not None
    return measured.texts.to_pylist()[0], {name: float(v[0]) for name, v in measured.signals.items() if v[0]}


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("ABOUT US NOW", "uppercase_lines"),
        ("ПРО НАС И ВАС", "uppercase_lines"),
        ("2024", "numeric_lines"),
        ("٢٠٢٤", "numeric_lines"),
        ("3 likes", "counter_lines"),
        ("1,204 Views", "counter_lines"),
        ("3.2k followers.", "counter_lines"),
        ("(12 comments)", "counter_lines"),
        ("Home", "one_word_lines"),
        ("  Kontakt\t", "one_word_lines"),
    ],
)
def test_lines_go_for_their_own_causes(line: str, cause: str) -> None:
    """Between lines that stay; the words of what goes are flagged."""
    text, signals = correct(f"{PROSE}\n{line}\n{PROSE}")
    assert text == f"{PROSE}\n{PROSE}"
    assert signals[cause] == 1
    assert signals["flagged_words"] == len(line.split()) / (2 * len(PROSE.split()) + len(line.split()))


@pytest.mark.parametrize(
    "line", ["Why?", "ABCD efg", "12 is a number", "likes 3 of them", "3 likely", "3 likes it", "漢字文", "", " "]
)
def test_other_lines_stay(line: str) -> None:
    """One word with an end mark, half upper case, numbers among words, Chinese, and blank lines."""
    assert correct(f"{PROSE}\n{line}\n{PROSE}")[0] == f"{PROSE}\n{line}\n{PROSE}"


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("Sign-in to see what your friends say", "to see what your friends say"),
        ("What the captain said Read more...", "What the captain said"),
        ("What the captain said READ MORE", "What the captain said"),
        ("There are 3 items in cart for you", "There are 3  for you"),
        ("  Read more  ", ""),
    ],
)
def test_patterns_are_cut_out_of_short_lines(line: str, left: str) -> None:
    """At the beginning, at the end or anywhere; a line of which nothing is left goes."""
    text, signals = correct(f"{PROSE}\n{line}\n{PROSE}")
    assert text == "\n".join([PROSE, *([left] if left else []), PROSE])
    assert signals["corrected_lines"] == 1


def test_patterns_are_read_in_short_english_lines_only() -> None:
    """Eleven words are too many, and German is not judged by English phrases."""
    long = "one two three four five six seven eight nine read more"
    assert correct(long)[0] == long
    assert correct("Mehr davon read more", "de")[0] == "Mehr davon read more"
    assert correct(f"{PROSE}\n3 likes", "de")[0] == f"{PROSE}\n3 likes"


@pytest.mark.parametrize(("lines", "rejected"), [(19, False), (18, True)])
def test_a_twentieth_of_flagged_words_is_the_bound(lines: int, rejected: bool) -> None:
    """One word in twenty is kept, one in nineteen is not."""
    passage = read_passage(pa.array(["Home\n" + "word, " * (lines - 1) + "and."]), np.array(["en"]))
    assert (judge(RULES, measure(passage).signals, passage.languages).rule[0] >= 0) == rejected

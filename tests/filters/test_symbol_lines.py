"""Lines of symbols only."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.characters import DATATROVE_PUNCTUATION, character_classes
from filters.passage import read_passage
from filters.symbol_lines import measure


def cut(text: str) -> tuple[str, int]:
    """Return one text without its lines of symbols, and how many there were."""
    measured = measure(read_passage(pa.array(["before\n|", text, "|\nafter"]).slice(1, 1), np.array(["en"])))
    assert measured.texts is not None
    return measured.texts.to_pylist()[0], int(measured.signals["cut_lines"][0])


@given(st.lists(st.sampled_from(["|", "-", " ", "\n", "a", "漢", "…", "\t", "１", "\r"]), max_size=12).map("".join))
@settings(deadline=None, max_examples=200)
def test_cutting_equals_the_reference(text: str) -> None:
    """Line by line: a mark, and nothing but marks and white space; a line goes with its line feed."""
    marks = {chr(code) for code in np.flatnonzero(character_classes() & DATATROVE_PUNCTUATION)}
    lines = text.split("\n")
    feeds = ["\n"] * (len(lines) - 1) + [""]
    goes = [bool(line.strip()) and all(c in marks or c.isspace() for c in line) for line in lines]
    left = "".join(line + feed for line, feed, gone in zip(lines, feeds, goes, strict=True) if not gone)
    assert cut(text) == (left, sum(goes))


@pytest.mark.parametrize(
    ("text", "left"),
    [("", ""), ("|", ""), ("a\n|", "a\n"), ("- - -\na", "a"), ("- a\n\n \n", "- a\n\n \n"), ("| 3 |", "| 3 |")],
)
def test_only_lines_of_symbols_go(text: str, left: str) -> None:
    """At every place of a text; blank lines, letters and digits stay."""
    assert cut(text)[0] == left

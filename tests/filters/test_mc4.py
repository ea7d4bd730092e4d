"""mC4's rule for paragraphs."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.mc4 import FAMILY, RULES, measure
from filters.passage import read_passage
from filters.rules import judge, with_bounds


@given(st.lists(st.text(st.sampled_from("a漢 "), max_size=12), max_size=8))
@settings(deadline=None)
def test_the_third_longest_line_is_measured(lines: list[str]) -> None:
    """In code points, 0 where there are fewer than three."""
    passage = read_passage(pa.array(["\n".join(lines)], pa.string()), np.array(["en"]))
    expected = sorted(map(len, "\n".join(lines).split("\n")), reverse=True)[2:3]
    assert measure(passage).signals["third_longest_line"].tolist() == (expected or [0])


@pytest.mark.parametrize(("length", "kept"), [(199, False), (200, True)])
def test_two_hundred_characters_are_enough(length: int, kept: bool) -> None:
    """The bound itself is kept."""
    passage = read_passage(pa.array(["\n".join(["x" * 999, "漢" * length, "", "y" * 999])]), np.array(["zh"]))
    assert (judge(RULES, measure(passage).signals, passage.languages).rule[0] < 0) == kept


@pytest.mark.parametrize(("last", "kept"), [("", False), ("A paragraph more, and the page passes.", True)])
def test_tfds_paragraph_filter(last: str, kept: bool) -> None:
    """Two paragraphs of three lines are long enough; with a third that is, the page passes (20 characters there)."""
    family = with_bounds(FAMILY, {"third_longest_line": {"min": 20}})
    text = f"This line is a long enough paragraph.\nThis one is not.\nBut this one is, again!\n{last}"
    passage = read_passage(pa.array([text]), np.array(["en"]))
    assert (judge(family.rules, family.measure(passage).signals, passage.languages).rule[0] < 0) == kept

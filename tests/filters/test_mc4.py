"""mC4's rule for paragraphs."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.mc4 import RULES, measure
from filters.passage import read_passage
from filters.rules import judge


@given(st.lists(st.text(st.sampled_from("a漢 "), max_size=12), max_size=8))
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

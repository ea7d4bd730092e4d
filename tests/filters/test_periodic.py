"""Words that come again and again in a row."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.passage import read_passage
from filters.periodic import FAMILY, FEWEST_TIMES, LONGEST_PERIOD, next_run
from filters.rules import judge


def signals_of(text: str) -> dict[str, float]:
    """Return the signals of one text."""
    measured = FAMILY.measure(read_passage(pa.array(["x x x x", text]).slice(1), np.array(["en"])))
    return {name: float(values[0]) for name, values in measured.signals.items()}


def slow_runs(words: list[str], period: int) -> list[tuple[int, int]]:
    """Return the runs of a period that come three times or more, begun at every place in turn."""
    runs = []
    for begin in range(len(words)):
        end = begin + period
        while end < len(words) and words[end] == words[end - period]:
            end += 1
        is_first = begin == 0 or words[begin - 1 : begin] != words[begin - 1 + period : begin + period]
        if is_first and end - begin >= FEWEST_TIMES * period and end <= len(words):
            runs.append((begin, end))
    return runs


@given(
    st.lists(st.sampled_from("ab"), max_size=40) | st.lists(st.sampled_from("abc"), max_size=12).map(lambda w: w * 4)
)
@settings(deadline=None, max_examples=200)
def test_runs_are_those_of_a_plain_search(words: list[str]) -> None:
    """Every period from 1 to 13: the most times, and the words in any run."""
    runs = [(period, run) for period in range(1, LONGEST_PERIOD + 1) for run in slow_runs(words, period)]
    held = {word for _, (begin, end) in runs for word in range(begin, end)}
    times = max(((end - begin) // period for period, (begin, end) in runs), default=0)
    assert signals_of(" ".join(words)) == {"times": times, "share": len(held) / max(1, len(words))}


@pytest.mark.parametrize(("period", "fewest"), [(1, 3), (13, 3), (2, 4)])
def test_runs_end_with_the_array(period: int, fewest: int) -> None:
    """Exactly as often as asked, and one value less."""
    values = np.tile(np.arange(period), fewest)
    assert next_run(values, 0, len(values), period, fewest) == (0, len(values))
    assert next_run(values[:-1], 0, len(values) - 1, period, fewest) == (len(values) - 1, len(values) - 1)
    assert next_run(values, len(values), len(values), period, fewest) == (len(values), len(values))


@pytest.mark.parametrize(("times", "reason"), [(31, None), (32, "same_words_in_a_row"), (33, "same_words_in_a_row")])
def test_thirty_two_times_are_too_many(times: int, reason: str | None) -> None:
    """OLMo 2: 32 or more, of spans of 1 to 13 words; a span of 14 is none."""
    for period, spoken in ((1, True), (13, True), (14, False)):
        text = " ".join(f"w{i}" for i in range(period)) + " "
        passage = read_passage(pa.array(["Prose before. " + text * times]), np.array(["en"]))
        rule = judge(FAMILY.rules, FAMILY.measure(passage).signals, passage.languages).rule[0]
        assert (None if rule < 0 else FAMILY.rules[rule].reason) == (reason if spoken else None)

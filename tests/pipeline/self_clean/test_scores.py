"""Budgets, windows and bits per byte."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.self_clean.evaluators import Corpus
from pipeline.self_clean.scores import Budget, ScoreShard, _bits_per_byte, length_class, make_budget
from pipeline.summary import histogram


@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=200), st.integers(1_000, 1_000_000))
def test_a_round_costs_no_more_than_its_budget(sizes: list[int], tokens: int) -> None:
    """The documents' capped bytes, or the share of them that is scored, fit the budget."""
    budget = make_budget(histogram(np.array(sizes, float)), tokens, window_tokens=16, bytes_per_token=3.0)
    cap = budget.cap_bytes or max(sizes)
    assert sum(min(size, cap) for size in sizes) * budget.share <= tokens * 3.0 * 1.001


def test_everything_is_scored_when_it_fits() -> None:
    """A budget over the corpus cuts nothing."""
    assert make_budget(histogram(np.array([100.0, 200.0])), 1_000, 16, 3.0).cap_bytes == 0


def test_bits_per_byte_are_rounded() -> None:
    """Bits are nats over ln 2, per byte, to 1e-4; nothing scored is no value."""
    assert _bits_per_byte(np.log(2) * 10, 5, 4) == pytest.approx(2.5)
    assert _bits_per_byte(1.23456, 3, 7) == pytest.approx(round(1.23456 / np.log(2) / 7, 4), abs=1e-12)
    assert _bits_per_byte(0.0, 0, 0) is None


def test_length_classes_begin_at_their_edge() -> None:
    """A document of exactly the edge belongs to the longer class."""
    assert length_class(np.array([0, 499, 500, 1999, 2000, 8000])).tolist() == [0, 0, 1, 1, 2, 3]


@pytest.mark.parametrize(("rate", "tokens"), [(0.0, 30), (1.0, 90)])
def test_what_every_judge_scores_is_counted(monkeypatch: pytest.MonkeyPatch, rate: float, tokens: int) -> None:
    """A document costs its tokens once, and once for each judge where it is in the anchor sample."""

    def ten_tokens(_: ScoreShard, __: int, ___: list[list[str]], wanted: np.ndarray) -> list[tuple[float, int, int]]:
        return [(5.0, 10, 4) if one else (0.0, 0, 0) for one in wanted.tolist()]

    monkeypatch.setattr(ScoreShard, "_by", ten_tokens)
    corpus = Corpus((), "", "", {"en": rate}, 1)
    work = ScoreShard("", corpus, ("fold-0", "fold-1", "fold-2"), Budget(0, 0, 1.0))
    documents = pa.table({"id": [f"{i:032x}" for i in range(3)], "language": ["en"] * 3, "text": ["text"] * 3})
    table, spent = work._score(documents, np.array([0, 1, 2]))
    assert spent == tokens
    assert table["scored_tokens"].to_pylist() == [10, 10, 10]

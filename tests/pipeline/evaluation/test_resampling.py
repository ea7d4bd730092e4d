"""Figures and intervals against slow and plain counting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.resampling import auc, auc_by_length, cut_at_loss, draw_weights, estimate, share_above

values = st.lists(st.integers(0, 5), min_size=1, max_size=30)


@given(values, values, st.data())
def test_weighted_auc_is_that_of_repeated_texts(good: list[int], bad: list[int], data: st.DataObject) -> None:
    """A text drawn twice counts as two texts, ties as half a pair."""
    times = [data.draw(st.lists(st.integers(1, 3), min_size=len(x), max_size=len(x))) for x in (good, bad)]
    g, b = ([v for v, n in zip(x, n_, strict=True) for _ in range(n)] for x, n_ in zip((good, bad), times, strict=True))
    plain = sum((y > x) + 0.5 * (y == x) for x in g for y in b) / (len(g) * len(b))
    weights = [np.array([n], np.float64) for n in times]
    found = auc(np.array(good, np.float64), np.array(bad, np.float64), *weights)
    assert found[0] == pytest.approx(plain)


def test_the_first_draw_is_every_text_once() -> None:
    """The figure itself is of all texts; the other draws take whole records and as many of them as there are."""
    weights = draw_weights(["a", "a", "b", "c"], seed=1)
    assert weights[0].tolist() == [1, 1, 1, 1]
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[1:, [0, 2, 3]].sum(1) == 3).all()


def test_intervals_are_of_records() -> None:
    """Where all texts of a record are alike, many of them say no more than one."""
    draw = np.random.default_rng(3)
    level = draw.normal(size=20)
    few = share_above(level, 0.0, draw_weights([str(n) for n in range(20)], seed=1))
    many = share_above(np.repeat(level, 50), 0.0, draw_weights([str(n) for n in range(20) for _ in range(50)], seed=1))
    widths = [one.high - one.low for one in (estimate(few), estimate(many))]
    assert widths[0] == pytest.approx(widths[1])
    assert widths[0] > 0.2


def test_what_cannot_be_told_is_null() -> None:
    """Without a text there is no share, and no interval; JSON has null for both."""
    assert estimate(share_above(np.zeros(0), 0.0, np.zeros((3, 0)))).as_list() == [None, None, None]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=200), st.floats(0, 0.5))
def test_a_cut_costs_no_more_than_it_may(good: list[int], loss: float) -> None:
    """No more than the allowed share lies at the cut or above it, and at the next lower value more would."""
    array = np.array(good, np.float64)
    cut = cut_at_loss(array, loss)
    assert (array >= cut).mean() <= loss
    lower = array[array < cut]
    assert not len(lower) or (array >= lower.max()).mean() > loss


def test_within_lengths_length_is_worth_nothing() -> None:
    """A value that is only the length tells short bad texts from long good ones, but not among texts of one length."""
    good, bad = np.repeat([100, 200, 300, 400, 500], 20), np.repeat([100, 500], [60, 5])
    ones = [np.ones((1, len(good))), np.ones((1, len(bad)))]
    assert auc(-good.astype(float), -bad.astype(float), *ones)[0] > 0.7
    assert auc_by_length(-good.astype(float), -bad.astype(float), good, bad) == pytest.approx(0.5)

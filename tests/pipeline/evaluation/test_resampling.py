"""Figures and intervals against slow and plain counting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.evaluation.resampling import (
    auc,
    auc_by_length,
    cut_at_loss,
    difference,
    draw_weights,
    effective_records,
    share,
    share_above,
)

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
    widths = [one.high - one.low for one in (share(few, 20), share(many, 20))]
    assert widths[0] == pytest.approx(widths[1])
    assert widths[0] > 0.2


def test_a_few_large_records_are_few() -> None:
    """Records of one size are as many as they are; one that holds nearly all texts is about one."""
    assert effective_records([*"aabbcc"]) == pytest.approx(3)
    assert effective_records([*"a" * 100, *"bcd"]) == pytest.approx(1.06, abs=0.01)
    assert effective_records([]) == 0


@pytest.mark.parametrize("records", [30, 92])
def test_none_of_few_records_does_not_mean_none_at_all(records: int) -> None:
    """A share of 0 or 1, in which nothing varies, has the exact interval of so many records (Clopper and Pearson)."""
    weights = draw_weights([str(n) for n in range(records)], seed=1)
    none, every = (share(share_above(np.full(records, value), 1.0, weights), records) for value in (0.0, 1.0))
    exact = stats.binomtest(0, records).proportion_ci(0.95).high
    assert [none.value, none.low, none.high] == pytest.approx([0, 0, exact])
    assert [every.value, every.low, every.high] == pytest.approx([1, 1 - exact, 1])


def test_of_independent_texts_an_interval_is_the_exact_one() -> None:
    """Each text a record of its own: as many texts as there are, but for the chance of the draws."""
    hit = np.array([1.0] * 30 + [0.0] * 370)
    found = share(share_above(hit, 1.0, draw_weights([str(n) for n in range(400)], seed=1)), 400)
    exact = stats.binomtest(30, 400).proportion_ci(0.95)
    assert [found.low, found.high] == pytest.approx([exact.low, exact.high], rel=0.06)


def test_intervals_hold_what_they_say_where_a_few_records_hold_most() -> None:
    """Four books and fifty articles differ in what they lose: 95 % intervals hold the true share as often as that."""
    draw = np.random.default_rng(5)
    sizes = [229, 229, 229, 137, *[2] * 50]
    records = [str(n) for n, size in enumerate(sizes) for _ in range(size)]
    weights, held = draw_weights(records, seed=1), []
    for _ in range(200):
        rates = draw.beta(1.5, 48.5, len(sizes))  # 3 % on average
        hits = np.concatenate([draw.random(size) < rate for size, rate in zip(sizes, rates, strict=True)])
        found = share(share_above(hits.astype(np.float64), 1.0, weights), effective_records(records))
        held.append(found.low <= 0.03 <= found.high)
    assert np.mean(held) >= 0.93  # 0.98; percentiles of the same draws: 0.85


def test_a_difference_of_few_records_is_students() -> None:
    """Its interval is wider by Student's t and the lost degree of freedom, and stays between -1 and 1."""
    draws = np.concatenate([[0.1], np.random.default_rng(2).normal(0.1, 0.01, 2_000)])
    few, many = difference(draws, 5), difference(draws, 10_000)
    assert many.high - many.low == pytest.approx(2 * 1.96 * 0.01, rel=0.05)
    assert few.high - few.low == pytest.approx(2 * stats.t.ppf(0.975, 4) * 0.01 * (5 / 4) ** 0.5, rel=0.05)
    assert (difference(draws, 1.5).low, difference(draws, 1.5).high) == (-1, 1)


def test_what_cannot_be_told_is_null() -> None:
    """Without a text there is no share, and no interval; JSON has null for both."""
    nothing = share_above(np.zeros(0), 0.0, np.zeros((3, 0)))
    assert share(nothing, 0).as_list() == [None, None, None]
    assert difference(nothing, 0).as_list() == [None, None, None]


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

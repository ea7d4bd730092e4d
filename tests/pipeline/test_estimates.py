"""Estimates from labels: known answers, coverage on populations whose precision and recall are known, properties."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.estimates import Sampled, kappa, loss, offset_from_labels, precision, ratio_ends, recall, wilson

# (documents, rejected, share that is bad, labelled) of each stratum
POPULATIONS = {
    "as a first round leaves it": [(9000, 0, 0.01, 80), (500, 0, 0.2, 60), (150, 1, 0.5, 50), (350, 1, 0.9, 60)],
    "a judge that is no better than chance": [(9000, 0, 0.1, 80), (500, 0, 0.1, 60), (500, 1, 0.1, 60)],
    "a judge that finds all": [(9000, 0, 0.0005, 100), (400, 0, 0.01, 50), (150, 1, 0.8, 50), (300, 1, 0.98, 50)],
    "three languages": [
        *((6000, 0, 0.02, 40), (200, 0, 0.3, 30), (80, 1, 0.5, 25), (200, 1, 0.85, 25)),
        *((2000, 0, 0.05, 30), (80, 0, 0.3, 20), (40, 1, 0.6, 20), (80, 1, 0.7, 20)),
        *((500, 0, 0.01, 20), (30, 0, 0.2, 15), (10, 1, 0.4, 10), (25, 1, 0.9, 15)),
    ],
}


def drawn(strata: list[tuple[int, int, float, int]], draw: np.random.Generator) -> tuple[Sampled, list[float]]:
    """Return a sample of a population, and its true precision, recall and loss of good documents."""
    parts, sums = [], np.zeros((2, 2))  # kept and rejected, good and bad
    for documents, rejected, bad, labelled in strata:
        count = round(documents * bad)
        chosen = draw.permutation(documents)[:labelled] < count
        sums[rejected] += (documents - count, count)
        weight, left = np.full(labelled, documents / labelled), np.full(labelled, 1 - labelled / documents)
        parts.append((chosen, np.full(labelled, bool(rejected)), weight, left))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    truth = [sums[1, 1] / sums[1].sum(), sums[1, 1] / sums[:, 1].sum(), sums[1, 0] / sums[:, 0].sum()]
    return Sampled(*columns), truth


@pytest.mark.parametrize("name", POPULATIONS)
def test_intervals_hold_the_truth(name: str) -> None:
    """Over a thousand samples of a known population each interval holds its truth about 19 times in 20."""
    draw = np.random.default_rng(7)
    held = np.zeros(3)
    asked = np.zeros(3)
    for _ in range(1000):
        sampled, truth = drawn(POPULATIONS[name], draw)
        for at, (measure, true) in enumerate(zip((precision, recall, loss), truth, strict=True)):
            found = measure(sampled)
            if found is not None:
                asked[at] += 1
                held[at] += found[1] - 1e-12 <= true <= found[2] + 1e-12
    assert asked.min() > 900
    assert (held / asked).min() > 0.93, held / asked


def test_estimates_are_centred() -> None:
    """The mean of many estimates is the truth, although strata are sampled unevenly (a ratio's own bias is allowed)."""
    draw = np.random.default_rng(8)
    found = []
    for _ in range(2000):
        sampled, truth = drawn(POPULATIONS["three languages"], draw)
        found.append([precision(sampled)[0], recall(sampled)[0], loss(sampled)[0]])  # type: ignore[index]
    assert np.mean(found, axis=0) == pytest.approx(truth, rel=0.07)


def test_an_unweighted_count_would_be_wrong() -> None:
    """The same labels counted without weights say something else, which is why probabilities are kept."""
    sampled, truth = drawn(POPULATIONS["as a first round leaves it"], np.random.default_rng(1))
    counted = (sampled.bad & sampled.rejected).sum() / sampled.bad.sum()
    assert abs(counted - truth[1]) > 0.15
    found = recall(sampled)
    assert found is not None
    assert abs(found[0] - truth[1]) < 0.15


def test_wilson_is_the_published_interval() -> None:
    """Newcombe 1998 (Statistics in Medicine 17, table I, method 3): 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    for hits, count, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611),
                                   (1, 29, 0.0061, 0.1718)):  # fmt: skip
        assert wilson(hits / count, count) == pytest.approx((hits / count, low, high), abs=5e-5)


def test_a_census_leaves_no_doubt() -> None:
    """Where everything is labelled the share is known."""
    all_of_it = Sampled(np.array([True, False, True]), np.ones(3, bool), np.ones(3), np.zeros(3))
    assert precision(all_of_it) == (2 / 3, 2 / 3, 2 / 3)


def test_nothing_found_among_the_kept_is_no_proof() -> None:
    """A hundred good documents for 10,000 kept ones: recall is 1 as far as was seen, and may be far lower."""
    bad = np.array([True] * 20 + [False] * 100)
    sampled = Sampled(bad, bad, np.array([10.0] * 20 + [100.0] * 100), np.full(120, 0.95))
    found = recall(sampled)
    assert found is not None
    assert found[0] == 1
    assert found[1] < 0.5


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0.5, 1e5), st.floats(0, 1)), max_size=40))
def test_estimates_lie_in_their_intervals(rows: list[tuple[bool, bool, float, float]]) -> None:
    """Whatever was labelled, an estimate is a share within its interval, or None."""
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    bad, rejected = (np.array(column, bool) for column in columns[:2])
    sampled = Sampled(bad, rejected, *(np.array(column, float) for column in columns[2:]))
    for measure in (precision, recall, loss):
        found = measure(sampled)
        assert found is None or -1e-9 <= found[1] <= found[0] + 1e-9 <= found[2] + 2e-9 <= 1 + 3e-9


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(0, 1), st.floats(0, 3))
def test_a_ratio_lies_between_its_ends(above: float, below: float, less: float, more: float) -> None:
    """The interval of a ratio holds it, and is the point itself where both parts are certain."""
    low, high = ratio_ends(
        (above, above * (1 - less), above * (1 + more)), (below, below * (1 - less), below * (1 + more))
    )
    assert low <= above / below * (1 + 1e-9)
    assert high >= above / below * (1 - 1e-9)
    assert ratio_ends((above,) * 3, (below,) * 3) == pytest.approx((above / below,) * 2)


def test_kappa_is_the_published_one() -> None:
    """Fleiss, Levin and Paik 2003, table 18.1: kappa 0.68 with a standard error of 0.087."""
    raw, value = kappa(np.array([[75.0, 1, 4], [5, 4, 1], [0, 0, 10]]))
    assert raw[0] == pytest.approx(0.89)
    assert value[0] == pytest.approx(0.68, abs=0.005)
    assert (value[2] - value[0]) / 1.96 == pytest.approx(0.087, abs=0.001)


def test_kappa_of_people_who_never_differ() -> None:
    """It is 1 where they use two labels, and not defined where they only know one."""
    assert kappa(np.diag([30.0, 20.0, 0.0]))[1] == pytest.approx((1, 1, 1))
    assert math.isnan(kappa(np.diag([30.0, 0.0, 0.0]))[1][0])


@given(st.lists(st.tuples(st.booleans(), st.integers(-30, 30), st.floats(0.5, 100)), min_size=1, max_size=30))
def test_no_other_offset_gains_more(rows: list[tuple[bool, int, float]]) -> None:
    """The chosen offset gains as much as the best of all that can be told apart, and 0 is kept where it is as good."""
    bad, margin, weight = (np.array(column) for column in zip(*rows, strict=True))
    margin = margin / 10

    def gain(offset: float) -> float:
        return float(np.where(bad, weight, -weight)[margin >= offset].sum())

    chosen = offset_from_labels(bad, margin, weight)
    best = max(gain(offset) for offset in np.arange(-3.15, 3.3, 0.1))
    assert gain(chosen) == pytest.approx(best, abs=1e-6)
    if gain(0.0) >= best - 1e-12:
        assert chosen == 0


def test_an_offset_beyond_all_labels_stays_beside_them() -> None:
    """Where all labelled documents are good nothing goes, where all are bad all of them do, and no document more."""
    margin, weight = np.array([-1.0, 0.5, 2.0]), np.ones(3)
    assert offset_from_labels(np.zeros(3, bool), margin, weight) == pytest.approx(2.0, abs=2e-4)
    assert offset_from_labels(np.zeros(3, bool), margin, weight) > 2
    assert offset_from_labels(np.ones(3, bool), margin, weight) == pytest.approx(-1.0, abs=2e-4)

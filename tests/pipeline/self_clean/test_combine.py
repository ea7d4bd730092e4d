"""One score from many signals: scales, features, weights."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from pipeline.self_clean.combine import (
    FARTHEST,
    Scale,
    Weights,
    as_table,
    auc,
    balanced,
    features,
    fit_scale,
    fit_surrogate,
    fit_weights,
    mainly,
    read_scale,
    read_weights,
    score,
    spearman,
    standardised,
    trust,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NAMES = ("a", "b", "c")
values = arrays(np.float64, st.integers(1, 40), elements=st.integers(-5, 5).map(float))


def plain(signals: int, sigma: float = 1.0, tau: float = 0.0, mean: float = 0.0) -> Scale:
    """Return a scale without residuals to speak of."""
    flat = np.full(signals, sigma), np.full(signals, tau)
    return Scale(np.full((1, signals), mean), *flat, np.zeros(signals), np.eye(signals), np.ones(2 * signals))


def drawn(count: int, seed: int, sigma: float = 0.2, tau: float = 8.0) -> tuple[Floats, Ints]:
    """Return values (documents, signals) whose noise falls with bytes, and the bytes."""
    draw = np.random.default_rng(seed)
    sizes = np.exp(draw.uniform(math.log(200), math.log(20_000), count)).astype(np.int64)
    noise = np.sqrt(sigma**2 + tau**2 / sizes)[:, None]
    return draw.normal(2.0, 1.0, (count, len(NAMES))) * noise + 2.0 * (1 - noise), sizes


def test_the_spread_is_recovered() -> None:
    """The fit finds the deviation between documents, and of the noise that falls with their bytes most.

    Squared deviations beyond ten times the median do not count, which takes more from short documents than from long.
    """
    found, sizes = drawn(40_000, 1)
    scale = fit_scale(found, sizes, np.zeros(len(sizes), np.int64), 1)
    assert scale.sigma == pytest.approx([0.2] * 3, rel=0.2)
    assert scale.tau == pytest.approx([8.0] * 3, rel=0.35)
    assert scale.mean[0] == pytest.approx([2.0] * 3, abs=0.02)


@pytest.mark.parametrize("size", [300, 1_000, 4_096, 4_097])
def test_equal_sizes_tell_nothing_about_noise(size: int) -> None:
    """Where all documents have as many bytes, all of their spread is between documents, to the last digit."""
    for count in (300, 5_000):
        found = np.random.default_rng(6).normal(0, 1, (count, 3))
        scale = fit_scale(found, np.full(count, size), np.zeros(count, np.int64), 1)
        assert scale.tau.tolist() == [0, 0, 0]
        assert scale.sigma == pytest.approx([1, 1, 1], rel=0.15)


def test_a_few_far_documents_move_the_scale_little() -> None:
    """One in a hundred that lies a hundred deviations off leaves mean and deviation about as they were."""
    found, sizes = drawn(5_000, 2, tau=0.0)
    dirty = found.copy()
    dirty[::100] += 20
    classes = np.zeros(len(sizes), np.int64)
    clean, other = (fit_scale(one, sizes, classes, 1) for one in (found, dirty))
    assert other.mean == pytest.approx(clean.mean, abs=0.02)
    assert other.sigma == pytest.approx(clean.sigma, rel=0.15)


def test_a_signal_that_most_documents_lack_has_a_spread() -> None:
    """Two thirds of zeros leave a median deviation of nothing, and what is above it must not count as endlessly far."""
    draw = np.random.default_rng(3)
    values = np.where(draw.random(600) < 0.65, 0.0, draw.gamma(2.0, 0.1, 600))[:, None]
    sizes = draw.integers(300, 9_000, 600)
    scale = fit_scale(values, sizes, np.zeros(600, np.int64), 1)
    assert scale.sigma[0] == pytest.approx(values.std(), rel=0.5)
    assert np.quantile(standardised(values, sizes, np.zeros(600, np.int64), scale), 0.99) < FARTHEST / 2


def test_judges_that_lie_apart_are_aligned() -> None:
    """A judge that says more throughout, and twice as much of it, gives the same z after its own scale."""
    found, sizes = drawn(2_000, 3)
    classes = (sizes > 2_000).astype(np.int64)
    mild, harsh = found, 2 * found + 0.7
    z = [standardised(one, sizes, classes, fit_scale(one, sizes, classes, 2)) for one in (mild, harsh)]
    assert z[1] == pytest.approx(z[0], abs=1e-6)
    assert np.abs(standardised(harsh, sizes, classes, fit_scale(mild, sizes, classes, 2)) - z[0]).mean() > 1


def test_a_length_class_has_its_own_mean_and_an_empty_one_that_of_all() -> None:
    """Means are medians by class."""
    found, sizes = drawn(900, 4)
    classes = np.arange(900) % 2
    found[classes == 1] += 5
    scale = fit_scale(found, sizes, classes, 3)
    assert scale.mean[1] - scale.mean[0] == pytest.approx([5, 5, 5], abs=0.2)
    assert scale.mean[2] == pytest.approx(np.median(found, axis=0))


def test_short_documents_are_drawn_to_the_middle() -> None:
    """Of two equal values the one of fewer bytes has the smaller z, by the empirical-Bayes weight."""
    scale = plain(1, sigma=0.2, tau=8.0, mean=2.0)
    short, long = standardised(np.array([[3.0], [3.0]]), np.array([100, 1_000_000]), np.zeros(2, np.int64), scale)[:, 0]
    assert short == pytest.approx((1 / 0.2) * 0.04 / (0.04 + 64 / 100))
    assert 0 < short < long < 5
    assert long == pytest.approx(5, rel=0.01)


def test_a_missing_signal_counts_as_the_middle() -> None:
    """NaN is a z of 0, in a fit too, where a class of nothing else is given the mean of all."""
    found, sizes = drawn(300, 5)
    found[::7, 1] = np.nan
    classes = np.zeros(300, np.int64)
    classes[::7] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        scale = fit_scale(found, sizes, classes, 2)
    z = standardised(found, sizes, classes, scale)
    assert (z[::7, 1] == 0).all()
    assert np.isfinite(z).all()
    assert scale.mean[1, 1] == pytest.approx(np.nanmedian(found[:, 1]))


@given(arrays(np.float64, (4, 3), elements=st.floats(-1e6, 1e6)), st.integers(0, 2**31))
def test_features_are_both_sides(z: Floats, seed: int) -> None:
    """Each z and each residual is above or below or neither, never both, and never more than FARTHEST."""
    scale = fit_scale(*drawn(50, seed), np.zeros(50, np.int64), 1)
    z = np.clip(z, -FARTHEST, FARTHEST)
    found = features(z, scale)
    above, below = found[:, :6], found[:, 6:]
    assert (found >= 0).all()
    assert (above * below == 0).all()
    assert found.max() <= FARTHEST
    assert (above - below)[:, :3] == pytest.approx(z)
    residual = np.clip((z - scale.center) @ scale.unmix, -FARTHEST, FARTHEST)
    assert (above - below)[:, 3:] == pytest.approx(residual)


def test_a_residual_tells_what_the_other_signals_do_not() -> None:
    """A document usual in each of two signals that go together, yet not together, is far out in their residuals."""
    draw = np.random.default_rng(6)
    common = draw.normal(0, 1, 5_000)
    found = np.stack([common, common + draw.normal(0, 0.1, 5_000), draw.normal(0, 1, 5_000)], axis=1)
    sizes, classes = np.full(5_000, 1_000), np.zeros(5_000, np.int64)
    scale = fit_scale(found, sizes, classes, 1)
    usual, odd = features(standardised(np.array([[1.0, 1.0, 0], [1.0, -1.0, 0]]), sizes[:2], classes[:2], scale), scale)
    assert max(usual[3:5].max(), usual[9:11].max()) < 1
    assert min(max(odd[3], odd[9]), max(odd[4], odd[10])) > 2
    assert odd[[0, 7]] == pytest.approx([1, 1], abs=0.1)


def test_judges_are_trusted_as_far_as_they_agree() -> None:
    """Equal judges have trust 1, unlike ones none, and what contradicts itself counts for nothing."""
    found, sizes = drawn(4_000, 7)
    classes = np.zeros(len(sizes), np.int64)
    other = found.copy()
    other[:, 1] = np.random.default_rng(8).permutation(other[:, 1])
    other[:, 2] = -other[:, 2]
    scales = [fit_scale(one, sizes, classes, 1) for one in (found, other)]
    z = [standardised(one, sizes, classes, scale) for one, scale in zip((found, other), scales, strict=True)]
    found_trust = trust(scales, z)
    assert found_trust[:3] == pytest.approx([1, 0, 0], abs=0.01)
    assert trust(scales[:1] * 2, z[:1] * 2) == pytest.approx(np.ones(6))
    assert features(z[0], replace(scales[0], trust=found_trust))[:, [1, 2]].max() < 0.1


def damaged_features(seed: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return features of documents of which half lie off in the first signal, above, and the third, below."""
    draw = np.random.default_rng(seed)
    damaged = np.arange(600) % 2 == 0
    z = draw.normal(0, 1, (600, 3))
    z[damaged] += np.array([2.0, 0.0, -1.5])
    return features(np.clip(z, -FARTHEST, FARTHEST), plain(3)), damaged


def test_weights_part_what_is_damaged_from_what_is_not() -> None:
    """Weights from one sample rank another well, and what tells most weighs most."""
    weights = fit_weights(*damaged_features(9), np.ones(600))
    sides, damaged = damaged_features(10)
    found = score(sides, weights)
    assert auc(found[~damaged], found[damaged]) > 0.9
    assert {int(number) % 3 for number in np.argsort(weights.each)[-2:]} <= {0, 2}


@settings(deadline=None)  # the first example imports scipy's solvers
@given(st.integers(0, 2**31), st.integers(1, 60))
def test_weights_are_never_negative(seed: int, count: int) -> None:
    """Whatever is called damaged, nothing makes a document better, so a score only grows with a feature."""
    draw = np.random.default_rng(seed)
    sides, damaged = draw.uniform(0, FARTHEST, (count, 6)), draw.random(count) < 0.5
    for weights in (
        fit_weights(sides, damaged, draw.uniform(0.1, 1, count)),
        fit_surrogate(sides, draw.normal(0, 3, count)),
    ):
        assert (weights.each >= 0).all()
        assert np.isfinite([*weights.each, weights.bias]).all()
        assert (score(sides + 1, weights) >= score(sides, weights) - 1e-9).all()


def test_a_direction_without_known_damage_still_counts() -> None:
    """A feature that the damage does not touch keeps a weight, so an unknown kind of oddity is seen too."""
    sides, damaged = damaged_features(11)
    sides[:, 4] = 0
    assert fit_weights(sides, damaged, np.ones(600)).each[4] > 0


def test_weights_are_drawn_together_whatever_the_size_of_the_sample() -> None:
    """Ten times the same documents have the weights of one of each: few anchors are trusted as far as many."""
    sides, damaged = damaged_features(12)
    once, often = (fit_weights(np.tile(sides, (n, 1)), np.tile(damaged, n), np.ones(600 * n)) for n in (1, 10))
    assert often.each == pytest.approx(once.each, abs=1e-3)
    assert np.ptp(once.each) > 0.1  # they are not all drawn to one


def test_documents_count_by_their_share() -> None:
    """Two copies at half the share are one document."""
    sides, damaged = damaged_features(12)
    once = fit_weights(sides, damaged, np.ones(600))
    share = np.ones(600)
    share[:300] = 3.0
    heavier = fit_weights(sides, damaged, share)
    assert np.abs(once.each - heavier.each).max() > 1e-3
    scaled = fit_weights(sides, damaged, share * 7)
    assert scaled.each == pytest.approx(heavier.each, abs=1e-3)


def test_the_surrogate_comes_near_to_a_score() -> None:
    """Where the cheap features make up the score they find its weights; beside noise they still rank alike."""
    draw = np.random.default_rng(13)
    sides = np.maximum(draw.normal(0, 1, (2_000, 4)), 0)
    wanted = sides @ np.array([1.0, 0.0, 0.5, 2.0]) - 1.5
    exact = fit_surrogate(sides, wanted)
    assert exact.each == pytest.approx([1.0, 0.0, 0.5, 2.0], abs=0.02)
    assert exact.bias == pytest.approx(-1.5, abs=0.02)
    noisy = fit_surrogate(sides, wanted + draw.normal(0, 0.3, 2_000))
    assert spearman(score(sides, noisy), wanted) > 0.95


def test_the_score_is_mainly_what_adds_most() -> None:
    """Named is the signal whose z and residual together add most, with its side; of no documents nothing is."""
    weights = Weights(np.array([1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0], float), 5.0)
    sides = np.zeros((3, 12))
    sides[0, [0, 3]] = 2  # a above: z and residual
    sides[0, 7] = 3  # b below
    sides[1, [2, 5]] = 100  # c above weighs nothing
    sides[1, 10] = 1  # residual of b below
    sides[2, 6] = 1
    assert mainly(sides, weights, NAMES) == ["a above", "b below", "a below"]
    assert mainly(sides[:0], weights, NAMES) == []


@given(st.lists(st.sampled_from(("clean", "ocr", "babble", "shuffle")), min_size=1, max_size=60))
def test_balanced_shares(kinds: list[str]) -> None:
    """Undamaged documents are half of all, kinds of damage share the other half alike, whatever their numbers."""
    damaged = np.array([kind != "clean" for kind in kinds])
    share = balanced(kinds, damaged)
    sums = {kind: share[np.array(kinds) == kind].sum() for kind in kinds}
    bad = len(sums) - ("clean" in sums)
    assert sums == pytest.approx({kind: 0.5 if kind == "clean" else 0.5 / bad for kind in sums})
    assert all(len({round(x, 12) for x in share[np.array(kinds) == kind]}) == 1 for kind in sums)


@given(values, values)
def test_auc_is_the_mann_whitney_statistic(good: Floats, bad: Floats) -> None:
    """As scipy has it, ties counted half."""
    expected = stats.mannwhitneyu(bad, good).statistic / (len(good) * len(bad))
    assert auc(good, bad) == pytest.approx(expected)


def test_auc_of_nothing_is_no_number() -> None:
    """Without good or without bad values there is no probability."""
    assert math.isnan(auc(np.ones(3), np.zeros(0)))
    assert math.isnan(auc(np.zeros(0), np.ones(3)))


@given(st.integers(2, 40).flatmap(lambda n: st.tuples(*[arrays(np.float64, n, elements=st.integers(0, 9))] * 2)))
def test_rank_correlation_is_scipys(both: tuple[Floats, Floats]) -> None:
    """With ties, and 0 where one side is constant, of which scipy has no number."""
    a, b = both
    constant = len(set(a.tolist())) == 1 or len(set(b.tolist())) == 1
    assert spearman(a, b) == pytest.approx(0 if constant else stats.spearmanr(a, b).statistic)


def test_a_fit_survives_its_file() -> None:
    """Scales and weights read from their tables are those that were written."""
    scale = replace(fit_scale(*drawn(50, 14), np.zeros(50, np.int64), 2), trust=np.arange(6) / 7)
    for name in Scale.__slots__:
        assert getattr(read_scale(as_table(scale)), name).tolist() == getattr(scale, name).tolist(), name
    weights = fit_weights(*damaged_features(15), np.ones(600))
    again = read_weights(as_table(weights))
    assert (again.each.tolist(), again.bias) == (weights.each.tolist(), weights.bias)

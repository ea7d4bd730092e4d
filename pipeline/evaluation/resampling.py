"""Figures with intervals: a bootstrap that draws whole records, all methods on the same draws.

Efron and Tibshirani 1993, percentile intervals; texts of one record are alike, so records are what varies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
RESAMPLES = 500
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its interval."""

    value: float
    low: float
    high: float

    def as_list(self) -> list[float | None]:
        """Return value, low and high as JSON has them, null for what cannot be told."""
        return [None if np.isnan(x) else round(float(x), 4) for x in (self.value, self.low, self.high)]


def draw_weights(records: Sequence[str], seed: int) -> Floats:
    """Return how often each text is drawn (1 + resamples, texts): once in the first row, else by its record."""
    _, number = np.unique(np.asarray(records), return_inverse=True)
    count = int(number.max()) + 1 if len(number) else 0
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / max(1, count)), size=RESAMPLES)
    return np.concatenate([np.ones((1, len(records))), drawn[:, number].astype(np.float64)])


def auc(good: Floats, bad: Floats, good_weights: Floats, bad_weights: Floats) -> Floats:
    """Return the probability that a bad value is above a good one, ties counted half, for each draw (1 + resamples)."""
    wins = (bad > good[:, None]) + 0.5 * (bad == good[:, None])
    return _ratio(((good_weights @ wins) * bad_weights).sum(1), good_weights.sum(1) * bad_weights.sum(1))


def auc_by_length(good: Floats, bad: Floats, good_sizes: Ints, bad_sizes: Ints) -> float:
    """Return the mean AUC within quintiles of the good texts' lengths, by bad texts; NaN where none holds both."""
    edges = np.quantile(good_sizes, [0.2, 0.4, 0.6, 0.8])
    classes = (np.searchsorted(edges, good_sizes), np.searchsorted(edges, bad_sizes))
    total, weight = 0.0, 0
    for number in range(5):
        g, b = good[classes[0] == number], bad[classes[1] == number]
        if len(g) and len(b):
            total += float(auc(g, b, np.ones((1, len(g))), np.ones((1, len(b))))[0]) * len(b)
            weight += len(b)
    return total / weight if weight else float("nan")


def share_above(values: Floats, cut: float | Floats, weights: Floats) -> Floats:
    """Return the share of values at a cut, or each at its own, and above it, for each draw (1 + resamples)."""
    return _ratio(weights @ (values >= cut).astype(np.float64), weights.sum(1))


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def estimate(draws: Floats) -> Estimate:
    """Return the first draw with the interval of the others."""
    rest = draws[1:][~np.isnan(draws[1:])]
    if not len(rest):
        return Estimate(float(draws[0]), float("nan"), float("nan"))
    low, high = np.quantile(rest, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(draws[0]), float(low), float(high))


def cut_at_loss(good: Floats, loss: float) -> float:
    """Return the lowest cut at or above which lies no more than a share of good values."""
    falling = np.unique(good)[::-1]
    above = np.array([(good >= value).mean() for value in falling])
    allowed = falling[above <= loss]
    return float(allowed[-1]) if len(allowed) else float(np.nextafter(good.max(), np.inf))

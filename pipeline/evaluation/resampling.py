"""Figures with intervals: a bootstrap that draws whole records, all methods on the same draws.

Texts of one record are alike, so records are what varies. The bootstrap gives the variance (Efron and Tibshirani 1993);
of few records, or of many of which a few hold most texts, it tells too little of it, and nothing where no text was hit.
A share's interval is therefore the exact one of as many independent texts as have that variance (Korn and Graubard
1998), a difference's Student's t, both for the effective number of records.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, stdtrit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
RESAMPLES = 500
TAIL = 0.025  # on either side of an interval
NORMAL = 1.96  # the quantile of very many records
FEWEST = 2  # effective records that have a variance


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


def effective(sizes: Sequence[float] | Floats | Ints) -> float:
    """Return how many records of one size tell as much as records of these sizes, in texts (Kish 1965)."""
    held = np.asarray(sizes, np.float64)
    return float(held.sum() ** 2 / (held**2).sum()) if held.any() else 0.0


def effective_records(names: Sequence[str]) -> float:
    """Return the effective number of the records that texts are of."""
    return effective(np.unique(np.asarray(names), return_counts=True)[1])


def share(draws: Floats, records: float) -> Estimate:
    """Return a share's first draw and its interval, of an effective number of records.

    Texts = value (1 - value) / variance, fewer by the degrees of freedom that few records leave; as many as records
    where nothing varies. Their interval is that of Clopper and Pearson (1934). All is open below two records.
    """
    value, rest = float(draws[0]), draws[1:][~np.isnan(draws[1:])]
    if np.isnan(value) or not len(rest):
        return Estimate(value, float("nan"), float("nan"))
    if records < FEWEST:
        return Estimate(value, 0.0, 1.0)
    variance = float(rest.var()) * records / (records - 1)
    texts = value * (1 - value) / variance * (NORMAL / _quantile(records)) ** 2 if variance > 0 else records
    hits = value * texts
    low = float(betaincinv(hits, texts - hits + 1, TAIL)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, texts - hits, 1 - TAIL)) if hits < texts else 1.0
    return Estimate(value, min(low, value), max(high, value))


def difference(draws: Floats, records: float) -> Estimate:
    """Return the first draw of a difference of shares and its interval, of an effective number of records."""
    value, rest = float(draws[0]), draws[1:][~np.isnan(draws[1:])]
    if np.isnan(value) or not len(rest):
        return Estimate(value, float("nan"), float("nan"))
    if records < FEWEST:
        return Estimate(value, -1.0, 1.0)
    half = _quantile(records) * float(rest.std()) * (records / (records - 1)) ** 0.5
    return Estimate(value, max(-1.0, value - half), min(1.0, value + half))


def _quantile(records: float) -> float:
    return float(stdtrit(records - 1, 1 - TAIL))


def cut_at_loss(good: Floats, loss: float) -> float:
    """Return the lowest cut at or above which lies no more than a share of good values."""
    falling = np.unique(good)[::-1]
    above = np.array([(good >= value).mean() for value in falling])
    allowed = falling[above <= loss]
    return float(allowed[-1]) if len(allowed) else float(np.nextafter(good.max(), np.inf))

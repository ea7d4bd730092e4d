"""One score from many signals: how unlike good text a document is, learnt from damage that is done on purpose.

A sample of documents that no judge was trained on is damaged in known ways (defects.py). Each signal is compared with
what the undamaged ones of the same language and length have, judge by judge, which also aligns the judges:

    z = w (x - mean) / sigma,   w = sigma^2 / (sigma^2 + tau^2 / bytes)

the empirical-Bayes weight (Efron and Morris 1975) of one observation whose noise falls with its bytes. Beside it stands
what of a signal the other signals do not tell, its residual given them: text may have usual words, and a usual gain
from their order, yet not the gain that goes with those words. Each counts by the correlation of the
judges about undamaged documents: what one judge alone sees is its training. Both count in both
directions, with weights that are never negative: being unlike other text in one more way makes no document better. A
logistic regression on damaged and undamaged documents fits them, drawn to one small weight for all, so that a direction
in which no known damage lies still counts for something.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.self_clean.signals import Floats, Ints

Bools = npt.NDArray[np.bool_]

FARTHEST = 12.0  # a z beyond it counts as it
PRIOR_WEIGHT = 0.2
PRIOR_STRENGTH = 0.01  # of the pull to it, beside a loss that is a mean over documents
SHRINKAGE = 0.3  # added to the variances before signals are set against each other
OUTLYING = 10.0  # times the median: what a squared deviation counts at most
MEDIAN_PULL = 5.0  # documents of all lengths that count in a length class's median of a signal
ALIKE = 1e-6  # sizes that differ by less, relatively, tell nothing about what bytes do to noise


@dataclass(frozen=True, slots=True)
class Scale:
    """What undamaged documents of a language have by one judge, signal by signal."""

    mean: Floats  # (length classes, signals)
    sigma: Floats  # (signals)
    tau: Floats  # (signals)
    center: Floats  # (signals): mean z
    unmix: Floats  # (signals, signals): from centred z to residuals of spread 1
    trust: Floats  # (2 x signals): what z and residuals are multiplied by


@dataclass(frozen=True, slots=True)
class Weights:
    """A fitted combination of features: above first, then below; of each first z, then residuals."""

    each: Floats  # (4 x signals), >= 0
    bias: float


def fit_scale(values: Floats, sizes: Ints, classes: Ints, count: int) -> Scale:
    """Return the scale of values (documents, signals) of one language, with bytes and length classes (documents).

    Means are medians, each class's drawn to that of all as if MEDIAN_PULL documents more had it. Variance = sigma^2 +
    tau^2 / bytes by least squares on squared deviations, none counted beyond ten times their median: the sample may
    hold what it is there to find. Where that is 0, as of a signal that most documents lack, ten times their mean.
    """
    overall = np.nanmedian(values, axis=0)
    mean = np.stack([_drawn(values[classes == c], overall) for c in range(count)])
    squares = (values - mean[classes]) ** 2
    middle = np.nanmedian(squares, axis=0)
    squares = np.minimum(squares, OUTLYING * np.where(middle > 0, middle, np.nanmean(squares, axis=0)))
    inverse = 1 / np.maximum(sizes, 1)
    spread = [_spread(inverse[there], column[there]) for column in squares.T for there in [~np.isnan(column)]]
    sigma, tau = (np.sqrt(np.array(both)) for both in zip(*spread, strict=True))
    signals = values.shape[1]
    plain = Scale(mean, sigma, tau, np.zeros(signals), np.eye(signals), np.ones(2 * signals))
    z = standardised(values, sizes, classes, plain)
    center = z.mean(0)
    precision = np.linalg.inv(np.atleast_2d(np.cov(z.T)) + SHRINKAGE * np.eye(signals))
    residual = (z - center) @ precision
    return Scale(mean, sigma, tau, center, precision / np.maximum(residual.std(0), 1e-9), plain.trust)


def _drawn(values: Floats, overall: Floats) -> Floats:
    """Return the medians of a class (documents, signals), drawn to those of all by as much as there are few."""
    there = (~np.isnan(values)).sum(0)
    own = np.where(there > 0, np.nanmedian(np.where(there > 0, values, 0), axis=0), overall) if len(values) else overall
    return np.asarray(overall + there / (there + MEDIAN_PULL) * (own - overall))


def _spread(inverse: Floats, squares: Floats) -> tuple[float, float]:
    """Return sigma^2 > 0 and tau^2 >= 0."""
    x, y = inverse.mean(), squares.mean()
    base = ((inverse - x) ** 2).mean()
    unlike = base > (ALIKE * x) ** 2  # of equal sizes rounding leaves more than nothing
    tau = max(0.0, float(((inverse - x) * (squares - y)).mean() / base)) if unlike else 0.0
    sigma = float(y - tau * x)
    return (sigma, tau) if sigma > 0 else (max(float(y), 1e-12), 0.0)


def standardised(values: Floats, sizes: Ints, classes: Ints, scale: Scale) -> Floats:
    """Return z (documents, signals), 0 where a signal is missing."""
    noise = scale.tau**2 / np.maximum(sizes, 1)[:, None]
    weight = scale.sigma**2 / (scale.sigma**2 + noise)
    z = weight * (values - scale.mean[classes]) / scale.sigma
    return np.clip(np.nan_to_num(z), -FARTHEST, FARTHEST)


def features(z: Floats, scale: Scale) -> Floats:
    """Return the features (documents, 4 x signals) of z: how far it and its residuals lie above, then below."""
    residual = np.clip((z - scale.center) @ scale.unmix, -FARTHEST, FARTHEST)
    both = np.concatenate([z, residual], axis=1) * scale.trust
    return np.concatenate([np.maximum(both, 0), np.maximum(-both, 0)], axis=1)


def trust(scales: Sequence[Scale], by_judge: Sequence[Floats]) -> Floats:
    """Return the trust (2 x signals) that judges' z of the same documents (documents, signals) deserve.

    It is the correlation of two judges, the least of all pairs, 0 where it is negative.
    """
    sides = [features(z, scale) for z, scale in zip(by_judge, scales, strict=True)]
    signed = [one[:, : one.shape[1] // 2] - one[:, one.shape[1] // 2 :] for one in sides]
    pairs = [(a, b) for number, a in enumerate(signed) for b in signed[:number]]
    return np.maximum(np.min([_correlations(a, b) for a, b in pairs], axis=0), 0)


def _correlations(a: Floats, b: Floats) -> Floats:
    """Return the correlation of each column of two tables (documents, columns), 0 where one is constant."""
    a, b = a - a.mean(0), b - b.mean(0)
    base = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return np.divide((a * b).sum(0), base, out=np.zeros(a.shape[1]), where=base > 0)


def fit_weights(sides: Floats, damaged: Bools, share: Floats) -> Weights:
    """Return the weights of features; `share` (documents) is how much each document counts."""
    from scipy.optimize import minimize  # takes a third of a second to import

    sign = np.where(damaged, 1.0, -1.0)
    share = share / share.sum()

    def objective(weights: Floats) -> tuple[float, Floats]:
        margin = sign * (sides @ weights[1:] + weights[0])
        slope = -sign * share / (1 + np.exp(margin))
        off = weights[1:] - PRIOR_WEIGHT
        value = float(np.logaddexp(0, -margin) @ share + PRIOR_STRENGTH * (off @ off))
        return value, np.concatenate([[slope.sum()], sides.T @ slope + 2 * PRIOR_STRENGTH * off])

    start = np.concatenate([[-1.0], np.full(sides.shape[1], PRIOR_WEIGHT)])
    bounds = [(None, None), *[(0.0, None)] * sides.shape[1]]
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Weights(found[1:], float(found[0]))


def fit_surrogate(sides: Floats, score: Floats) -> Weights:
    """Return the weights with which features of cheap signals come nearest to a score (documents)."""
    from scipy.optimize import lsq_linear  # takes a third of a second to import

    count = sides.shape[1]
    pull = np.concatenate([np.zeros((count, 1)), np.eye(count)], axis=1)
    rows = np.concatenate([np.concatenate([np.ones((len(sides), 1)), sides], axis=1), pull])
    wanted = np.concatenate([score, np.zeros(count)])
    low = np.concatenate([[-np.inf], np.zeros(count)])
    found = lsq_linear(rows, wanted, bounds=(low, np.inf)).x
    return Weights(found[1:], float(found[0]))


def score(sides: Floats, weights: Weights) -> Floats:
    """Return the log-odds (documents) that a document is damaged, were half of all."""
    return np.asarray(sides @ weights.each + weights.bias)


def mainly(sides: Floats, weights: Weights, names: Sequence[str]) -> list[str]:
    """Return for each document the signal that adds most to its score, and on which side: "trigram_gain below"."""
    parts = (sides * weights.each).reshape(len(sides), 2, 2, len(names)).sum(axis=2)
    most = parts.reshape(len(sides), 2 * len(names)).argmax(1)
    told = [f"{name} {side}" for side in ("above", "below") for name in names]
    return [told[number] for number in most.tolist()]


def balanced(kinds: Sequence[str], damaged: Bools) -> Floats:
    """Return how much each document counts: undamaged ones half of all, every kind of damage alike."""
    _, inverse, number = np.unique(np.asarray(kinds), return_inverse=True, return_counts=True)
    bad = len({kind for kind, hit in zip(kinds, damaged.tolist(), strict=True) if hit})
    return np.where(damaged, 0.5 / max(1, bad), 0.5) / number[inverse]


def auc(good: Floats, bad: Floats) -> float:
    """Return the probability that a bad value is above a good one, ties counted half; NaN without one of them."""
    if not len(good) or not len(bad):
        return float("nan")
    _, inverse, number = np.unique(np.concatenate([good, bad]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(number) - (number - 1) / 2)[inverse]
    return float((ranks[len(good) :].sum() - len(bad) * (len(bad) + 1) / 2) / (len(good) * len(bad)))


def spearman(a: Floats, b: Floats) -> float:
    """Return the rank correlation of two judges' values (documents); 0 where one of them is constant."""
    ranks = np.stack([_ranks(a), _ranks(b)])
    deviation = ranks - ranks.mean(1, keepdims=True)
    base = float(np.sqrt((deviation**2).sum(1).prod()))
    return float((deviation[0] * deviation[1]).sum() / base) if base > 0 else 0.0


def _ranks(values: Floats) -> Floats:
    _, inverse, number = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(number) - (number - 1) / 2)[inverse])


def as_table(fitted: Scale | Weights) -> dict[str, Any]:
    """Return a scale or weights as JSON has them."""
    values = {name: getattr(fitted, name) for name in fitted.__slots__}
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}


def read_scale(table: dict[str, Any]) -> Scale:
    """Return a scale from JSON."""
    return Scale(**{name: np.array(value, np.float64) for name, value in table.items()})


def read_weights(table: dict[str, Any]) -> Weights:
    """Return weights from JSON."""
    return Weights(np.array(table["each"], np.float64), float(table["bias"]))

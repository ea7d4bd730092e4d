"""Estimates from a stratified sample: weighted shares, their intervals, agreement of two people.

A document stands for 1 / (its inclusion probability) documents (Horvitz and Thompson 1952, doi:10.1080/01621459.1952.
10483446); a share is a ratio of two such sums (Hájek 1971), so it needs no known total. Its interval is Wilson's
(1927, doi:10.1080/01621459.1927.10502953) at the effective sample size

    n* = (sum w)^2 / sum w^2 (1 - f),    w: weights, f: share of its stratum that was labelled

which is Kish's (Survey Sampling, 1965, 11.7) with the finite population correction; Wilson's interval at an effective
size is among those that keep their coverage for small and extreme shares of weighted samples (Franco, Little, Louis and
Slud 2019, doi:10.1093/jssam/smy019). It does not take the strata's own differences off the variance, so it is rather
too wide than too narrow. A ratio of two independent estimates gets its interval from theirs (MOVER: Donner and Zou
2012, doi:10.1177/0962280210383082), which holds where nothing bad was found among the kept and a bootstrap would see no
variance at all.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Z = 1.959963984540054  # of a two-sided 95 % interval
GRAIN = 1e-4  # of a score: a cut beyond all labels lies this far from the last
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Interval = tuple[float, float, float]  # estimate, lower end, upper end


@dataclass(frozen=True, slots=True)
class Sampled:
    """Labelled documents, each with what it stands for (documents)."""

    bad: Bools  # a person's judgement
    rejected: Bools  # self-cleaning's
    weight: Floats  # documents that it stands for
    left: Floats  # 1 - f: share of its stratum that nobody labelled

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.bad)

    def where(self, chosen: Bools) -> "Sampled":
        """Return some of them, which stand for what they stood for."""
        return Sampled(self.bad[chosen], self.rejected[chosen], self.weight[chosen], self.left[chosen])


def precision(sampled: Sampled) -> Interval | None:
    """Return the share of the rejected documents that are bad; None where none is labelled."""
    chosen = sampled.where(sampled.rejected)
    return share(chosen.bad, chosen.weight, chosen.left)


def recall(sampled: Sampled) -> Interval | None:
    """Return the share of the bad documents that are rejected; None where no bad one, or one side only, is labelled."""
    return _found(sampled, sampled.bad)


def loss(sampled: Sampled) -> Interval | None:
    """Return the share of the good documents that are rejected."""
    return _found(sampled, ~sampled.bad)


def share(hit: Bools, weight: Floats, left: Floats) -> Interval | None:
    """Return the weighted share of hits and its interval; None without documents."""
    total = float(weight.sum())
    if not total:
        return None
    spread = float((weight**2 * left).sum())
    value = float(weight[hit].sum()) / total
    return wilson(value, total**2 / spread if spread else math.inf)


def wilson(value: float, size: float) -> Interval:
    """Return a share with Wilson's interval at an effective sample size (documents; need not be whole)."""
    if math.isinf(size):
        return value, value, value
    centre = (value + Z**2 / (2 * size)) / (1 + Z**2 / size)
    half = Z / (1 + Z**2 / size) * math.sqrt(value * (1 - value) / size + (Z / (2 * size)) ** 2)
    return value, min(value, max(0.0, centre - half)), max(value, min(1.0, centre + half))


def _found(sampled: Sampled, hit: Bools) -> Interval | None:
    """Return the share of the hits that are rejected: inside / (inside + outside), sums over rejected and kept."""
    inside = _sum(sampled, hit, sampled.rejected)
    outside = _sum(sampled, hit, ~sampled.rejected)
    if inside is None or outside is None or not inside[0] + outside[0]:
        return None
    low, high = ratio_ends(outside, inside)
    return inside[0] / (inside[0] + outside[0]), 1 / (1 + high), 1 / (1 + low)


def _sum(sampled: Sampled, hit: Bools, side: Bools) -> Interval | None:
    """Return how many documents of one side are hits, with its interval: a share of what the side stands for."""
    found = share(hit[side], sampled.weight[side], sampled.left[side])
    if found is None:
        return None
    total = float(sampled.weight[side].sum())
    return total * found[0], total * found[1], total * found[2]


def ratio_ends(above: Interval, below: Interval) -> tuple[float, float]:
    """Return the ends of the interval of above / below, both >= 0 and independent (Donner and Zou 2012, equation 9)."""
    a, low_a, high_a = above
    b, low_b, high_b = below
    product = a * b
    low = _end(product, low_a * (2 * a - low_a), high_b * (2 * b - high_b), -1)
    high = _end(product, high_a * (2 * a - high_a), low_b * (2 * b - low_b), 1)
    return max(0.0, low), high


def _end(product: float, above: float, below: float, sign: int) -> float:
    """Return (product ± sqrt(product² - above below)) / below, and its limit where below is 0."""
    root = math.sqrt(max(0.0, product**2 - above * below))
    if below:
        return (product + sign * root) / below
    return math.inf if sign > 0 or not product else above / (2 * product)


def kappa(table: Floats) -> tuple[Interval, Interval]:
    """Return raw agreement, and Cohen's kappa (1960), with intervals, from two people's counts (labels, labels).

    Raw agreement has Wilson's interval, kappa the large-sample one of Fleiss, Cohen and Everitt (1969,
    doi:10.1037/h0028106). Where both always say the same one thing, kappa is not defined: not a number.
    """
    count = float(table.sum())
    p = table / count
    rows, columns = p.sum(1), p.sum(0)
    agreed, expected = float(np.trace(p)), float(rows @ columns)
    raw = wilson(agreed, count)
    if expected == 1:
        return raw, (math.nan, math.nan, math.nan)
    value = (agreed - expected) / (1 - expected)
    both = columns[:, None] + rows[None, :]
    inner = (np.diag(p) * (1 - np.diag(both) * (1 - value)) ** 2).sum()
    off = p * both**2
    outer = (1 - value) ** 2 * (off.sum() - np.trace(off))
    centre = (value - expected * (1 - value)) ** 2
    half = Z * math.sqrt(max(0.0, float(inner + outer - centre)) / count) / (1 - expected)
    return raw, (value, max(-1.0, value - half), min(1.0, value + half))


def offset_from_labels(bad: Bools, margin: Floats, weight: Floats) -> float:
    """Return by how much to move every cut so that rejecting pays most, on labelled documents.

    `margin` is score - cut (units of the score): a document goes where it is at least the offset. What is gained is the
    weight of the bad documents that go less that of the good ones: a document goes where it is rather bad than good.
    Candidates lie half-way between neighbouring margins; of equal ones the nearest to 0, which is where the cuts are.
    """
    order = np.argsort(margin)[::-1]
    ordered = margin[order]
    gain = np.concatenate([[0.0], np.cumsum(np.where(bad, weight, -weight)[order])])  # of letting the first k go
    above = np.concatenate([[np.inf], ordered])  # the first k go at every offset in (below[k], above[k]]
    below = np.concatenate([ordered, [-np.inf]])
    middle = (np.minimum(above, ordered[0] + 2 * GRAIN) + np.maximum(below, ordered[-1] - 2 * GRAIN)) / 2
    offsets = np.where((below < 0) & (above >= 0), 0.0, middle)
    best = np.flatnonzero((below < above) & (gain >= gain.max(where=below < above, initial=-np.inf) - 1e-9))
    return float(offsets[best][np.argmin(np.abs(offsets[best]))])

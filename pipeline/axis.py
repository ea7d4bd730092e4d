"""Axes: the slots in which a histogram is drawn, where values lie on them, and how numbers read.

A histogram's bins come as [edge nearer zero, count] from pipeline.summary, eight to a power of two. A slot is
a bin, several bins where there are many, or a whole number where a signal counts. A slot's area is its share
of the documents, on a logarithmic axis or, where the values are near each other, an even one. Zero has a slot
of its own; the outermost slots also hold what lies beyond them. Log-odds lie on both sides of zero and say as
much at any: theirs are equal slots, among which a bin that lies over several is shared out.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipeline.summary import STEPS, bin_edge

Bins = Sequence[Sequence[float]]

MOST_SLOTS = 44
TAIL = 0.004  # of the documents with a value other than 0, folded into the outermost slot at each end
LEAST_SLOTS = 14  # fewer do not fill the width
MOST_EVEN = 32  # up to which whole numbers stand at even distances
REACH = 2 * STEPS  # bins beyond the data where a threshold still widens the axis
LEAST_WIDTH = 0.25  # of an equal slot: no bin is wider up to 4
NEAR = 2.0  # beyond the data, where a cut still widens an axis of equal slots
ZERO_GAP = 0.6  # slots between zero and the first slot after it, where the axis is broken


def number(value: object) -> str:
    """Return a value for people: whole numbers in full, others to four digits, a dash for none."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.4g}" if 1e-4 <= abs(value) < 1e4 else f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.1e}"


def percent(part: float, total: float) -> str:
    """Return a share for people; it says 0 or 100 only where that is exact."""
    if not total:
        return "–"
    share = 100 * part / total
    if part and share < 0.1:
        return "< 0.1 %"
    if part < total and share > 99.9:
        return "> 99.9 %"
    return f"{share:.1f} %" if 0 < share < 100 else f"{share:.0f} %"


def between(low: float | None, high: float | None) -> str:
    """Return the values that two cuts keep; the upper is the first that goes."""
    if low is None:
        return "all" if high is None else f"< {high:.3f}"
    return f"≥ {low:.3f}" if high is None else f"{low:.3f} – {high:.3f}"


@dataclass(frozen=True, slots=True)
class Axis:
    """Slots from left to right over a width in pixels."""

    lows: list[float]
    highs: list[float]
    whole: bool
    even: bool  # equal distances are equal differences; else they are equal factors
    width: float

    @property
    def zero(self) -> bool:
        """Say whether the first slot is that of zero."""
        return self.lows[0] == self.highs[0] == 0

    @property
    def step(self) -> float:
        """Return the width of a slot in pixels, on the average."""
        return self.width / max(LEAST_SLOTS, len(self.lows) + ZERO_GAP * self.zero)

    def left(self, slot: int) -> float:
        """Return where a slot begins."""
        return 0.0 if slot == 0 else self._place(self.lows[slot])

    def right(self, slot: int) -> float:
        """Return where a slot ends."""
        return self.step if slot == 0 and self.zero else self._place(self.highs[slot])

    def _place(self, value: float) -> float:
        """Return where a positive value lies."""
        scale = float if self.even else math.log
        low, high = scale(self.lows[int(self.zero)]), scale(self.highs[-1])
        start = self.step * (1 + ZERO_GAP) * self.zero
        return start + self.step * (len(self.lows) - self.zero) * (scale(value) - low) / (high - low)

    def slot(self, value: float) -> int:
        """Return the slot of a value; beyond the ends, the outermost."""
        found = max(0, bisect_right(self.lows, value) - 1)
        return 1 if found == 0 and self.zero and value > 0 and len(self.lows) > 1 else found

    def at(self, value: float) -> float:
        """Return where a value lies, in pixels; whole numbers lie in the middle of their place."""
        slot = self.slot(value)
        if slot == 0 and self.zero:
            return self.step / 2
        low, high = self.lows[slot], self.highs[slot]
        return self._place(min(high, max(low, value + 0.5 * self.whole)))

    def holds(self, value: float) -> bool:
        """Say whether a value lies within the slots."""
        return self.lows[0] <= value <= self.highs[-1]

    def label(self, slot: int) -> str:
        """Return the values of a slot for people."""
        low, high = self.lows[slot], self.highs[slot]
        last = high - 1 if self.whole else high
        return number(low) if last <= low else f"{number(low)} – {number(last)}"

    def density(self, group: Sequence[float]) -> list[float]:
        """Return the share of a group's documents in each slot, by pixel."""
        total = max(1, sum(group))
        return [n / total / (self.right(slot) - self.left(slot)) for slot, n in enumerate(group)]


def make_axis(bins: Bins, marks: Iterable[float], width: float) -> Axis:
    """Return the slots that show the bins, and the marks near them."""
    counted = sorted((edge, count) for edge, count in bins if math.isfinite(edge))
    marks = [mark for mark in marks if math.isfinite(mark)]
    edges = [edge for edge, _ in counted]
    whole = all(float(x).is_integer() for x in [*edges, *marks] if abs(x) < STEPS)
    first, last = _range([(e, c) for e, c in counted if e > 0], [m for m in marks if m > 0])
    if last == _bin(1.0) and not whole:  # shares: that bin reaches to 1.125, and they do not
        first, last = min(first, last - 1), last - 1
    pairs = _slots(first, last, whole=whole)
    if not pairs or any(edge <= 0 for edge in [*edges, *marks]):
        pairs = [(0.0, 0.0), *pairs]
    lows, highs = [low for low, _ in pairs], [high for _, high in pairs]
    even = highs[-1] <= MOST_EVEN if whole else highs[-1] < 8 * next((low for low in lows if low > 0), 0.0)
    return Axis(lows, highs, whole, even, width)


def make_even_axis(bins: Bins, marks: Iterable[float], width: float) -> Axis:
    """Return equal slots that show the bins, on both sides of zero, and the marks near them."""
    spans = sorted((*span(edge), count) for edge, count in bins if math.isfinite(edge)) or [(0.0, LEAST_WIDTH, 0)]
    first = _edge([(low, count) for low, _, count in spans], TAIL)
    last = _edge([(high, count) for _, high, count in spans[::-1]], TAIL)
    near = [mark for mark in marks if first - NEAR <= mark <= last + NEAR]
    first, last = min([first, *near]), max([last, *near])
    slot = LEAST_WIDTH
    while last - first > MOST_SLOTS * slot:
        slot *= 2
    start = math.floor(first / slot)
    ends = [slot * n for n in range(start, max(start + 1, math.ceil(last / slot)) + 1)]
    return Axis(ends[:-1], ends[1:], whole=False, even=True, width=width)


def span(edge: float) -> tuple[float, float]:
    """Return the lower and upper end of the bin of an edge nearer zero."""
    far = math.copysign(bin_edge(str(_bin(abs(edge)) + 1)), edge) if edge else math.ulp(0.0)
    return min(edge, far), max(edge, far)


def _range(counted: Sequence[tuple[float, float]], marks: Sequence[float]) -> tuple[int, int]:
    """Return the first and last bin to show: without thin tails, with the marks within reach."""
    numbers = [_bin(mark) for mark in marks]
    if not counted:
        return (min(numbers) - STEPS // 2, max(numbers) + STEPS // 2) if numbers else (1, 0)
    first, last = _bin(_edge(counted, TAIL)), _bin(_edge(counted[::-1], TAIL))
    near = [n for n in numbers if first - REACH <= n <= last + REACH]
    return min([first, *near]), max([last, *near])


def _edge(counted: Sequence[tuple[float, float]], tail: float) -> float:
    """Return the first edge, of those in order, that is not in the tail."""
    budget = tail * sum(count for _, count in counted)
    for edge, count in counted:
        budget -= count
        if budget < 0:
            return edge
    return counted[-1][0]


def _bin(edge: float) -> int:
    """Return the number of the bin of a positive value, as pipeline.summary numbers them."""
    mantissa, exponent = math.frexp(edge)
    return (exponent + 1100) * STEPS + math.floor((mantissa - 0.5) * 2 * STEPS)


def _slots(first: int, last: int, *, whole: bool) -> list[tuple[float, float]]:
    """Return the lower and upper ends of the slots over the bins from first to last."""
    bounds = [bin_edge(str(n)) for n in range(first, last + 2)] if first <= last else []
    if whole:
        bounds = sorted({math.ceil(bound) for bound in bounds} - {0})
        bounds = [*bounds, bounds[-1] + 1] if len(bounds) == 1 else bounds
    wide = max(1, math.ceil((len(bounds) - 1) / MOST_SLOTS))
    kept = bounds[::wide]
    if bounds and kept[-1] != bounds[-1]:
        kept.append(bounds[-1])
    return list(pairwise(kept))


def counts(axis: Axis, bins: Bins) -> list[int]:
    """Return the documents in each slot."""
    total = [0] * len(axis.lows)
    for edge, count in bins:
        if math.isfinite(edge):
            total[axis.slot(edge)] += int(count)
    return total


def spread(axis: Axis, bins: Bins) -> list[float]:
    """Return the documents in each slot; a bin that lies over several gives each its part by width."""
    total, bounds = [0.0] * len(axis.lows), [-math.inf, *axis.lows[1:], math.inf]
    for edge, count in bins:
        if math.isfinite(edge):
            low, high = span(edge)
            for slot, (left, right) in enumerate(pairwise(bounds)):
                total[slot] += count * max(0.0, min(high, right) - max(low, left)) / (high - low)
    return total


def round_numbers(axis: Axis) -> list[float]:
    """Return round numbers within the slots: 1, 2, 5 times powers of ten, or even steps on a short axis."""
    lows = axis.lows[int(axis.zero) :]
    if not lows:
        return []
    low, high = lows[0], axis.highs[-1]
    if axis.even:
        step = 10 ** math.floor(math.log10((high - low) / 2)) if high > low else 1.0
        step *= next((m for m in (1, 2, 5) if (high - low) / (step * m) <= 6), 10)
        step = max(step, 1.0) if axis.whole else step
        return [round(k * step, 9) for k in range(math.ceil(low / step), math.floor((high - axis.whole) / step) + 1)]
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [m * 10.0**power for power in powers for m in (1, 2, 5)]
    tens = [10.0**power for power in powers]
    last = high - axis.whole
    return [x for x in (every if high / low < 300 else tens) if low <= x <= last]

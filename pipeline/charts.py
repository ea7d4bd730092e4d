"""Charts: histograms, loss distributions and the funnel as SVG text; colours are classes of the page.

A histogram's bins come as [edge nearer zero, count] from pipeline.summary, eight to a power of two. They are
drawn as slots: a slot is a bin, several bins where there are many, or a whole number where a signal counts. A
slot's area is its share of the documents, on a logarithmic axis or, where the values are near each other, an
even one. Zero has a slot of its own; the outermost slots also hold what lies beyond them.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from pipeline.summary import STEPS, bin_edge

Bins = Sequence[Sequence[float]]

MOST_SLOTS = 44
TAIL = 0.004  # of the documents with a value other than 0, folded into the outermost slot at each end
LEAST_SLOTS = 14  # fewer do not fill the width
MOST_EVEN = 32  # up to which whole numbers stand at even distances
REACH = 2 * STEPS  # bins beyond the data where a threshold still widens the axis
ZERO_GAP = 0.6  # slots between zero and the first slot after it, where the axis is broken
FOOT, TOP = 18, 16  # pixels under and over a plot, for labels


def number(value: object) -> str:
    """Return a value for people: whole numbers in full, others to four digits, a dash for none."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return (
        f"{value:,.4g}"
        if 1e-4 <= abs(value) < 1e4
        else f"{value:,.0f}"
        if abs(value) >= 1e4
        else f"{value:.1e}"
    )


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
    width: float

    @property
    def zero(self) -> bool:
        """Say whether the first slot is that of zero."""
        return self.highs[0] == 0

    @property
    def even(self) -> bool:
        """Say whether equal distances are equal differences; else they are equal factors."""
        first = self.lows[min(self.zero, len(self.lows) - 1)]
        return self.highs[-1] <= MOST_EVEN if self.whole else self.highs[-1] < 8 * first

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

    def density(self, group: Sequence[int]) -> list[float]:
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
    pairs = _slots(first, last, whole=whole)
    if not pairs or any(edge <= 0 for edge in [*edges, *marks]):
        pairs = [(0.0, 0.0), *pairs]
    return Axis([low for low, _ in pairs], [high for _, high in pairs], whole, width)


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


def histogram(kept: Bins, rejected: Bins, thresholds: Sequence[float], width: float = 300.0) -> Markup:
    """Return a small chart: each group's shares over the slots, overlaid, and the thresholds."""
    height = 84.0
    marks = sorted(set(thresholds))
    axis = make_axis([*kept, *rejected], marks, width)
    groups = [("kept", counts(axis, kept)), ("rejected", counts(axis, rejected))]
    shares = [(name, axis.density(group)) for name, group in groups]
    top = _top(axis, [share for _, share in shares])
    areas = [_area(axis, name, share, top, height) for name, share in shares if any(share)]
    breaks = [_break(axis, height)] if any(share[0] > top for _, share in shares) else []
    body = [
        *areas,
        *breaks,
        *_ticks(axis, height),
        *_thresholds(axis, marks, height),
        *_hovers(axis, groups, height),
    ]
    return _svg("histogram", width, height, body)


def _top(axis: Axis, shares: Sequence[Sequence[float]]) -> float:
    """Return the density at the top of the plot: zero's may be cut off, so that the others are seen."""
    first = 1 if axis.zero else 0
    rest = max((x for share in shares for x in share[first:]), default=0.0)
    all_ = max((x for share in shares for x in share), default=0.0)
    return rest if 0 < rest < all_ / 1.5 else all_ or 1.0


def _area(axis: Axis, name: str, share: Sequence[float], top: float, height: float) -> Markup:
    """Return the bars of a group as one outline for each run of slots that are not empty."""
    parts, open_ = [], False
    for slot, value in enumerate(share):
        if open_ and (not value or (slot == 1 and axis.zero)):
            parts.append(f"V{height:g}")
            open_ = False
        if value:
            x, y = axis.left(slot), min(height - 1, height * (1 - min(1.0, value / top)))
            parts.append(f"{'' if open_ else f'M{x:.1f} {height:g}'}V{y:.1f}H{axis.right(slot):.1f}")
            open_ = True
    return Markup('<path class="{}" d="{}"/>').format(
        name, "".join(parts) + (f"V{height:g}" if open_ else "")
    )


def _break(axis: Axis, height: float) -> Markup:
    """Return the sign that a bar goes on beyond the plot."""
    y = height * 0.16
    return Markup('<path class="break" d="M{} {}L{} {}"/>').format(
        f"{-2:g}", f"{y + 3:.1f}", f"{axis.step + 2:.1f}", f"{y - 3:.1f}"
    )


def _ticks(axis: Axis, height: float) -> list[Markup]:
    """Return the base line and round numbers under it, not too close together."""
    line = Markup('<path class="base" d="M0 {h}H{w}"/>').format(h=f"{height:g}", w=f"{axis.width:g}")
    found, room = [line], -math.inf
    for value in ([0.0] if axis.zero else []) + _round_numbers(axis):
        x, label = axis.at(value), number(value)
        half = 3.2 * len(label)
        if x - half > room and x + half <= axis.width + 12:
            room = x + half + 7
            found.append(_text("tick", x, height + 13, label, "middle"))
    return found


def _round_numbers(axis: Axis) -> list[float]:
    """Return round numbers within the slots: 1, 2, 5 times powers of ten, or even steps on a short axis."""
    lows = [low for low in axis.lows if low > 0]
    if not lows:
        return []
    low, high = lows[0], axis.highs[-1]
    if axis.even:
        step = 10 ** math.floor(math.log10((high - low) / 2)) if high > low else 1.0
        step *= next((m for m in (1, 2, 5) if (high - low) / (step * m) <= 6), 10)
        step = max(step, 1.0) if axis.whole else step
        return [
            round(k * step, 9)
            for k in range(math.ceil(low / step), math.floor((high - axis.whole) / step) + 1)
        ]
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [m * 10.0**power for power in powers for m in (1, 2, 5)]
    tens = [10.0**power for power in powers]
    last = high - axis.whole
    return [x for x in (every if high / low < 300 else tens) if low <= x <= last]


def _thresholds(axis: Axis, marks: Sequence[float], height: float) -> list[Markup]:
    """Return a line and a number for each threshold; only the number, with an arrow, for one out of sight."""
    found = []
    for mark in marks:
        if not axis.holds(mark):
            found.append(_text("mark", axis.width, -5, f"{number(mark)} →", "end"))
            continue
        x = axis.at(mark)
        anchor = "start" if x < 24 else "end" if x > axis.width - 24 else "middle"
        line = Markup('<path class="threshold" d="M{x} -2V{h}"/>').format(x=f"{x:.1f}", h=f"{height:g}")
        found += [line, _text("mark", x, -5, number(mark), anchor)]
    return found


def _hovers(axis: Axis, groups: Sequence[tuple[str, Sequence[int]]], height: float) -> list[Markup]:
    """Return a field over each slot that tells its numbers to a pointer that rests there."""
    found = []
    for slot in range(len(axis.lows)):
        told = ", ".join(f"{group[slot]:,} {name}" for name, group in groups if group[slot])
        if told:
            found.append(
                Markup(
                    '<rect class="hover" x="{}" y="0" width="{}" height="{}"><title>{}: {}</title></rect>'
                ).format(
                    f"{axis.left(slot):.1f}",
                    f"{axis.right(slot) - axis.left(slot):.1f}",
                    f"{height:g}",
                    axis.label(slot),
                    told,
                )
            )
    return found


def _text(kind: str, x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        kind, f"{x:.1f}", f"{y:.1f}", anchor, text
    )


def _svg(kind: str, width: float, height: float, body: Iterable[Markup]) -> Markup:
    """Return a drawing with room around a plot whose corner is the origin."""
    box = f"-6 {-TOP} {width + 12:g} {height + TOP + FOOT:g}"
    return Markup('<svg class="{}" viewBox="{}" role="img">{}</svg>').format(kind, box, Markup("").join(body))


Cut = tuple[
    str, str, float | None, float | None
]  # language, length class, below and above which a document goes


def loss(bins: Bins, cuts: Sequence[Cut]) -> Markup:
    """Return the distribution of bits per byte, and under it what each language and length class keeps."""
    width, height, row = 480.0, 120.0, 5.0
    axis = make_axis(bins, [cut for _, _, *both in cuts for cut in both if cut is not None], width)
    group = counts(axis, bins)
    share = axis.density(group)
    body = [_area(axis, "kept", share, max([*share, 1e-9]), height), *_ticks(axis, height)]
    y, last = height + FOOT + 6, ""
    for language, size, low, high in cuts:
        if language != last:
            y += 10 if last else 2
            body.append(_text("tick", -8, y + 4, language, "end"))
            last = language
        body.append(_kept_range(axis, y, (low, high), f"{language}, length class {size}"))
        y += row
    body += _hovers(axis, [("documents", group)], height)
    box = f"-52 -6 {width + 60:g} {y + 8:g}"
    return Markup('<svg class="loss" viewBox="{}" role="img">{}</svg>').format(box, Markup("").join(body))


def _kept_range(axis: Axis, y: float, cut: tuple[float | None, float | None], name: str) -> Markup:
    """Return the line from the lower cut to the upper; an end without a cut is open."""
    low, high = cut
    left, right = (
        0.0 if low is None else axis.at(low),
        axis.right(len(axis.lows) - 1) if high is None else axis.at(high),
    )
    ends = "".join(f"M{x:.1f} {y - 2:.1f}v4" for x, end in ((left, low), (right, high)) if end is not None)
    told = f"{name}: kept {between(low, high)}"
    return Markup('<path class="range" d="M{} {}H{}{}"><title>{}</title></path>').format(
        f"{left:.1f}", f"{y:.1f}", f"{right:.1f}", ends, told
    )


def funnel(steps: Sequence[tuple[str, int]], tokens: int) -> Markup:
    """Return the way from records to tokens: a column a step, and what falls away between two."""
    gap, bar, height = 172.0, 88.0, 150.0
    most = max([count for _, count in steps] + [1])
    tops = [height * (1 - count / most) for _, count in steps]
    body = []
    for place, (name, count) in enumerate(steps):
        x = place * gap
        if place:
            before = steps[place - 1][1]
            body += _fall((x - gap + bar, x), (tops[place - 1], tops[place]), before - count, before)
        body.append(Markup('<path class="kept" d="{}"/>').format(_box(x, tops[place], bar, height)))
        body += _caption(x, height, (f"{count:,}", name, percent(count, steps[0][1])))
    if tokens:
        x = (len(steps) - 1) * gap + bar
        body.append(Markup('<path class="arrow" d="M{} 139h52m-7 -6l7 6l-7 6"/>').format(f"{x + 14:g}"))
        each = f"{tokens / max(1, steps[-1][1]):,.0f} a document"
        body += _caption(x + gap - bar, height, (f"{tokens:,}", "tokens", each))
    box = f"-2 -22 {gap * (len(steps) + bool(tokens)):g} {height + 90:g}"
    return Markup('<svg class="funnel" viewBox="{}" role="img">{}</svg>').format(box, Markup("").join(body))


def _caption(x: float, height: float, lines: tuple[str, str, str]) -> list[Markup]:
    """Return a number, its name and its share under a column."""
    places = zip(("count", "name", "tick"), (24.0, 42.0, 58.0), lines, strict=True)
    return [_text(kind, x, height + down, line, "start") for kind, down, line in places]


def _box(x: float, y: float, width: float, bottom: float) -> str:
    return f"M{x:g} {bottom:g}V{min(y, bottom - 1):.1f}H{x + width:g}V{bottom:g}Z"


def _fall(xs: tuple[float, float], ys: tuple[float, float], lost: int, before: int) -> list[Markup]:
    """Return the slope between two columns, and how many fell there."""
    (left, right), (high, low) = xs, ys
    slope = f"M{left:g} 150V{high:.1f}L{right:g} {low:.1f}V150Z"
    gone = f"M{left:g} {high:.1f}H{right:g}V{low:.1f}Z"
    found = [Markup('<path class="slope" d="{}"/>').format(slope)]
    if lost > 0:
        found.append(Markup('<path class="gone" d="{}"/>').format(gone))
        found.append(_text("lost", right, high - 6, f"− {lost:,} · {percent(lost, before)}", "end"))
    return found

"""Charts: histograms, loss distributions and the funnel as SVG text; colours are classes of the page."""

import math
from collections.abc import Callable, Iterable, Sequence

from markupsafe import Markup

from pipeline.axis import Axis, Bins, counts, make_axis, make_even_axis, number, percent, round_numbers, spread

FOOT, TOP = 18, 16  # pixels under and over a plot, for labels


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
    return Markup('<path class="{}" d="{}"/>').format(name, "".join(parts) + (f"V{height:g}" if open_ else ""))


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
    for value in ([0.0] if axis.zero else []) + round_numbers(axis):
        x, label = axis.at(value), number(value)
        half = 3.2 * len(label)
        if x - half > room and x + half <= axis.width + 12:
            room = x + half + 7
            found.append(_text("tick", x, height + 13, label, "middle"))
    return found


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
                Markup('<rect class="hover" x="{}" y="0" width="{}" height="{}"><title>{}: {}</title></rect>').format(
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
    return Markup('<svg class="{}" viewBox="{}">{}</svg>').format(kind, box, Markup("").join(body))


Cut = tuple[str, str, float]  # language, length class, score from which a document goes


def scores(bins: Bins, cuts: Sequence[Cut]) -> Markup:
    """Return the distribution of scores, log-odds, and under it what each language and length class keeps."""
    width, height, row = 480.0, 120.0, 5.0
    axis = make_even_axis(bins, [cut for *_, cut in cuts], width)
    group = spread(axis, bins)
    share = axis.density(group)
    body = [_area(axis, "kept", share, max([*share, 1e-9]), height), *_ticks(axis, height)]
    y, last = height + FOOT + 6, ""
    for language, size, cut in cuts:
        if language != last:
            y += 10 if last else 2
            body.append(_text("tick", -8, y + 4, language, "end"))
            last = language
        body.append(_kept_range(axis, y, cut, f"{language}, length class {size}"))
        y += row
    body += _hovers(axis, [("documents", [round(n) for n in group])], height)
    box = f"-52 -6 {width + 60:g} {y + 8:g}"
    return Markup('<svg class="loss" viewBox="{}">{}</svg>').format(box, Markup("").join(body))


def _kept_range(axis: Axis, y: float, cut: float, name: str) -> Markup:
    """Return the line from the lowest score to the cut."""
    right = axis.at(cut)
    return Markup('<path class="range" d="M0 {}H{}M{} {}v4"><title>{}</title></path>').format(
        f"{y:.1f}", f"{right:.1f}", f"{right:.1f}", f"{y - 2:.1f}", f"{name}: kept below {cut:.2f}"
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
    return Markup('<svg class="funnel" viewBox="{}">{}</svg>').format(box, Markup("").join(body))


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


Ranged = tuple[str, Sequence[float | None]]  # name, a value with its interval: any of them may be unknown
DOTS, DOT_ROW = 300.0, 17.0  # width of a drawing of dots, height of one of its rows


def found(dots: Sequence[tuple[str, Sequence[float | None], float | None]]) -> Markup:
    """Return how well kinds of damage are found: the score's AUC, a dot with its interval, and the best baseline's.

    The axis goes from chance, 0.5, to 1; what lies below is drawn at its left end.
    """
    body = []
    for place, (_, _, other) in enumerate(dots):
        if other is not None:
            x = f"{_auc_at(other):.1f}"
            body.append(Markup('<path class="threshold" d="M{} {}v10"/>').format(x, f"{DOT_ROW * (place + 0.5) - 5:g}"))
    said = ["" if other is None else f", best baseline {other:.3f}" for *_, other in dots]
    ticks = [(x, "middle") for x in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)]
    return _dots([(name, values) for name, values, _ in dots], said, _auc_at, ticks, body)


def _auc_at(value: float) -> float:
    return DOTS * max(0.0, value - 0.5) / 0.5


def intervals(ranged: Sequence[Ranged], mark: float | None) -> Markup:
    """Return figures, dots with their intervals, and a line that crosses them at a value; nothing for none."""
    known = [x for _, values in ranged for x in values if x is not None]
    if not known:
        return Markup("")
    known += [] if mark is None else [mark]
    low, high = min(known), max(known)

    def at(value: float) -> float:
        return DOTS * (value - low) / (high - low or 1.0)

    line = Markup('<path class="threshold" d="M{} 0V{}"/>')
    body = [] if mark is None else [line.format(f"{at(mark):.1f}", f"{DOT_ROW * len(ranged):g}")]
    ticks = [(low, "start"), (high, "end")] + ([(mark, "middle")] if mark is not None and low < mark < high else [])
    return _dots(ranged, [""] * len(ranged), at, ticks, body)


def _dots(
    ranged: Sequence[Ranged],
    said: Sequence[str],
    at: Callable[[float], float],
    ticks: Sequence[tuple[float, str]],
    body: list[Markup],
) -> Markup:
    """Return a drawing of dots with their intervals, over what is in `body`; `said` follows each in its title."""
    height = DOT_ROW * len(ranged)
    for place, ((name, (value, low, high)), more) in enumerate(zip(ranged, said, strict=True)):
        y = DOT_ROW * (place + 0.5)
        body.append(_text("tick", -8, y + 4, name, "end"))
        if low is not None and high is not None:
            line = Markup('<path class="range" d="M{} {y}H{}"/>')
            body.append(line.format(f"{at(low):.1f}", f"{at(high):.1f}", y=f"{y:g}"))
        if value is not None:
            dot = Markup('<circle class="kept" cx="{}" cy="{}" r="4"><title>{}</title></circle>')
            body.append(dot.format(f"{at(value):.1f}", f"{y:g}", f"{name}: {value:.3f}{more}"))
    body.append(Markup('<path class="base" d="M0 {h}H{w}"/>').format(h=f"{height:g}", w=f"{DOTS:g}"))
    body += [_text("tick", at(x), height + 13, f"{x:.3g}", anchor) for x, anchor in ticks]
    return Markup('<svg class="found" viewBox="-130 -4 {} {}">{}</svg>').format(
        f"{DOTS + 145:g}", f"{height + 24:g}", Markup("").join(body)
    )

"""Cuts: from scores to verdicts. Align the judges, shrink short documents, cut the tails of each stratum.

A stratum is a language and a length class. A judge's values are shifted, language by language, by how far its mean on
the anchor sample lies from the mean of all judges. A document's value is then drawn to its stratum's mean by

    w = sigma^2 / (sigma^2 + tau^2 / bytes)

the empirical-Bayes weight (Efron and Morris 1975) of one observation whose noise falls with its bytes. The highest
values of a stratum are cut, and a smaller share of the lowest, since boilerplate is easy to predict.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config import SelfClean
from pipeline.document import conform, read_table, write_table
from pipeline.self_clean.scores import QUANTUM, length_class, read_scores
from pipeline.shards import DocumentShard
from pipeline.summary import Summary, counts, merge
from pipeline.verdicts import SIDECAR, sidecar_path

VERSION = 2
UNKNOWN = "und"


@dataclass(frozen=True, slots=True)
class Calibration:
    """What makes values comparable: picklable tables by language."""

    judged: tuple[str, ...]  # languages
    reasons: dict[str, str]  # language -> why it is not judged
    shift: dict[str, list[float]]  # language -> bits per byte to add, by judge
    mean: dict[str, dict[str, float]]  # language -> length class -> aligned mean
    spread: dict[str, tuple[float, float]]  # language -> sigma^2, tau^2


def calibrate(summary: Summary, seen: Mapping[str, int], settings: SelfClean) -> Calibration:
    """Return the calibration of a round from its merged summary.

    `seen` holds for each language the tokens of the evaluator that saw least of it.
    """
    judged, reasons, shift, mean, spread = [], {}, {}, {}, {}
    for language, judges in sorted(summary.get("moments", {}).items()):
        anchor = summary.get("anchor", {}).get(language, {"n": 0})
        why = _not_judged(language, anchor, seen, settings)
        if why:
            reasons[language] = why
            continue
        judged.append(language)
        shift[language] = _shifts(anchor, settings.folds)
        cells = _aligned(judges, shift[language])
        mean[language] = {cls: cell[1] for cls, cell in cells.items()}
        spread[language] = _spread(cells)
    return Calibration(tuple(judged), reasons, shift, mean, spread)


def _not_judged(language: str, anchor: Mapping[str, int], seen: Mapping[str, int], settings: SelfClean) -> str:
    """Say why no judge may judge a language; empty when they may."""
    if language == UNKNOWN:
        return "the language of these documents was a guess"
    tokens = seen.get(language, 0)
    if tokens < settings.min_language_tokens:
        return f"the judges saw {tokens:,} tokens of it, fewer than {settings.min_language_tokens:,}"
    if anchor["n"] < settings.min_anchor_documents:
        return f"the anchor sample holds {anchor['n']} documents of it, fewer than {settings.min_anchor_documents}"
    agreement = min(_correlation(anchor, a, b) for a in range(settings.folds) for b in range(a + 1, settings.folds))
    if agreement < settings.min_agreement:
        return f"the judges agree by {agreement:.2f} on the anchor, less than {settings.min_agreement:g}"
    return ""


def _correlation(anchor: Mapping[str, int], a: int, b: int) -> float:
    """Return Pearson's correlation of two judges on the anchor, from whole-number moments."""
    n = anchor["n"]
    cov = n * anchor[f"product {a} {b}"] - anchor[f"sum {a}"] * anchor[f"sum {b}"]
    var = [n * anchor[f"product {k} {k}"] - anchor[f"sum {k}"] ** 2 for k in (a, b)]
    return cov / math.sqrt(var[0] * var[1]) if var[0] > 0 and var[1] > 0 else 0.0


def _shifts(anchor: Mapping[str, int], judges: int) -> list[float]:
    means = [anchor[f"sum {k}"] / anchor["n"] * QUANTUM for k in range(judges)]
    centre = sum(means) / judges
    return [centre - value for value in means]


Cells = dict[str, tuple[int, float, float, float]]  # length class -> n, mean, variance, mean of 1 / bytes


def _aligned(judges: Mapping[str, Any], shift: list[float]) -> Cells:
    """Return aligned moments of each length class of a language, over all judges."""
    sums: dict[str, list[float]] = {}
    for judge, classes in sorted(judges.items()):
        for cls, cell in sorted(classes.items()):
            n, total, squares = cell["n"], cell["sum"] * QUANTUM, cell["squares"] * QUANTUM**2
            by = shift[int(judge)]
            row = sums.setdefault(cls, [0.0, 0.0, 0.0, 0.0])
            row[0] += n
            row[1] += total + n * by
            row[2] += squares + 2 * by * total + n * by * by
            row[3] += cell["inverse"] * 1e-9
    return {
        cls: (int(n), total / n, max(0.0, squares / n - (total / n) ** 2), inverse / n)
        for cls, (n, total, squares, inverse) in sums.items()
    }


def _spread(cells: Cells) -> tuple[float, float]:
    """Fit variance = sigma^2 + tau^2 x mean(1 / bytes) over length classes by weighted least squares, both >= 0."""
    weight = np.array([cell[0] for cell in cells.values()], np.float64)
    variance = np.array([cell[2] for cell in cells.values()])
    inverse = np.array([cell[3] for cell in cells.values()])
    x, y = np.average(inverse, weights=weight), np.average(variance, weights=weight)
    slope = np.average((inverse - x) * (variance - y), weights=weight)
    base = np.average((inverse - x) ** 2, weights=weight)
    tau = max(0.0, float(slope / base)) if base > 0 else 0.0
    sigma = float(y - tau * x)
    return (sigma, tau) if sigma > 0 else (max(float(y), 1e-12), 0.0)


def shrunk(scores: pa.Table, languages: npt.NDArray[np.str_], calibration: Calibration) -> npt.NDArray[np.float64]:
    """Return each document's aligned, shrunk bits per byte to 1e-4 (documents); NaN where it is not judged."""
    value = scores["bits_per_byte"].to_numpy().astype(np.float64)
    size = np.maximum(scores["scored_bytes"].to_numpy(), 1).astype(np.float64)
    judge = np.nan_to_num(scores["judge"].to_numpy()).astype(np.int64)
    cls = length_class(np.nan_to_num(scores["bytes"].to_numpy()).astype(np.int64))
    out = np.full(len(value), np.nan)
    for language in calibration.judged:
        rows = np.flatnonzero(languages == language)
        sigma, tau = calibration.spread[language]
        means = np.array([calibration.mean[language].get(str(c), 0.0) for c in cls[rows]])
        aligned = value[rows] + np.asarray(calibration.shift[language])[judge[rows]]
        weight = sigma / (sigma + tau / size[rows])
        out[rows] = means + weight * (aligned - means)
    return np.round(out / QUANTUM) / GRID


@dataclass(frozen=True, slots=True)
class CountStrata:
    """Work on one shard: a histogram of the shrunk values of each stratum, in bins of a thousandth."""

    folder: str
    scores: str
    calibration: Calibration

    def __call__(self, shard: DocumentShard) -> dict[str, Any]:
        """Return the record; no file is written."""
        values, strata, scores = _measure(shard, self.scores, self.calibration)
        summary: Summary = {}
        bins = on_grid(np.nan_to_num(values)).astype(np.int64) // (GRID // BINS)
        for row in np.flatnonzero(~np.isnan(values)).tolist():
            cell = summary.setdefault(strata[row], {})
            cell[str(bins[row])] = cell.get(str(bins[row]), 0) + 1
        return {"documents": shard.rows, "bytes": scores.nbytes, "summary": {"strata": summary}}


GRID = 10_000  # values to a bit per byte; divided by it, a whole number is the float nearest to the decimal
BINS = 1000  # a bit per byte


def on_grid(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return values and cuts as whole numbers of the grid: as bits per byte, 8.123 and 81230 x 1e-4 may differ."""
    return np.round(values * GRID)


def _measure(
    shard: DocumentShard, scores: str, calibration: Calibration
) -> tuple[npt.NDArray[np.float64], list[str], pa.Table]:
    """Return the shrunk values and strata of a shard's rows, and its scores."""
    table = read_scores(scores, shard)
    languages = np.asarray(read_table(shard.path("documents"), ["language"])["language"].to_pylist(), dtype=np.str_)
    values = shrunk(table, languages, calibration)
    cls = length_class(np.nan_to_num(table["bytes"].to_numpy()).astype(np.int64))
    return (
        values,
        [f"{name} {number}" for name, number in zip(languages.tolist(), cls.tolist(), strict=True)],
        table,
    )


Cut = tuple[float, float]  # values below the first or above the second are rejected


def choose_cuts(strata: Mapping[str, Mapping[str, int]], settings: SelfClean) -> dict[str, Cut]:
    """Return the cuts of each stratum that is large enough: whole bins, never more than its share of the budget."""
    cuts: dict[str, Cut] = {}
    for stratum, bins in sorted(strata.items()):
        total = sum(bins.values())
        if total < settings.min_stratum_documents:
            continue
        ordered = sorted((int(key), count) for key, count in bins.items())
        low = _tail(ordered, total * settings.drop * settings.low_share)
        high = _tail(ordered[::-1], total * settings.drop * (1 - settings.low_share))
        cuts[stratum] = (
            -math.inf if low is None else (low + 1) / BINS,
            math.inf if high is None else high / BINS,
        )
    return cuts


def moved(cuts: Mapping[str, Cut], offset: float) -> dict[str, Cut]:
    """Return cuts moved outwards by an offset (inwards below 0), whatever the drop budget says."""
    return {stratum: (round(low - offset, 4), round(high + offset, 4)) for stratum, (low, high) in cuts.items()}


def outside(
    values: npt.NDArray[np.float64], low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Tell which values lie below and above their cuts (n), as they do by their bins; NaN does neither."""
    return on_grid(values) < on_grid(low), on_grid(values) >= on_grid(high)


def _tail(ordered: list[tuple[int, int]], budget: float) -> int | None:
    """Return the last bin of a tail whose documents fit the budget, None when none does."""
    last, taken = None, 0
    for key, count in ordered:
        taken += count
        if taken > budget:
            return last
        last = key
    return last


@dataclass(frozen=True, slots=True)
class JudgeShard:
    """Work on one shard: the verdicts of a round."""

    folder: str
    scores: str
    calibration: Calibration
    cuts: dict[str, Cut]
    round: int
    before: str  # folder of the verdicts of the round before; empty in the first

    def __call__(self, shard: DocumentShard) -> dict[str, Any]:
        """Write the sidecar; return the record with what left, what came back and who lost what."""
        values, strata, scores = _measure(shard, self.scores, self.calibration)
        low = np.array([self.cuts.get(s, (-math.inf, math.inf))[0] for s in strata])
        high = np.array([self.cuts.get(s, (-math.inf, math.inf))[1] for s in strata])
        too_low, too_high = outside(values, low, high)
        rejected = too_low | too_high
        reason = np.select([too_high, too_low], ["loss_too_high", "loss_too_low"], default="")
        bound = np.select([too_high, too_low], [high, low], default=np.nan)
        table = pa.table(
            {
                "rejected": rejected,
                "round": pa.array(np.full(shard.rows, self.round, np.int32), mask=~rejected),
                "reason": pa.array(reason.tolist(), mask=~rejected),
                "value": pa.array(values, mask=~rejected),
                "threshold": pa.array(bound, mask=~rejected),
            }
        )
        extra = pa.table({"shrunk_bits_per_byte": pa.array(values, from_pandas=True)})
        sidecar = conform(table, SIDECAR).append_column("shrunk_bits_per_byte", extra["shrunk_bits_per_byte"])
        write_table(sidecar_path(self.folder, shard), sidecar)
        return self._record(shard, rejected, scores, reason)

    def _record(
        self,
        shard: DocumentShard,
        rejected: npt.NDArray[np.bool_],
        scores: pa.Table,
        reason: npt.NDArray[Any],
    ) -> dict[str, Any]:
        present = np.asarray(scores["bytes"].is_valid())
        size = np.nan_to_num(scores["bytes"].to_numpy()).astype(np.int64)
        names = read_table(shard.path("documents"), ["language", "source"])
        before = (
            read_table(sidecar_path(self.before, shard), ["rejected"])["rejected"].to_numpy()
            if self.before
            else np.zeros(shard.rows, bool)
        )
        summary = {
            "reasons": counts(reason[rejected].tolist()),
            "language": _losses(names["language"].to_pylist(), present, rejected, size),
            "source": _losses(names["source"].to_pylist(), present, rejected, size),
            "overlap": {
                "both": int((rejected & before).sum()),
                "either": int((rejected | before).sum()),
                "left": int((rejected & ~before).sum()),
                "came_back": int((~rejected & before).sum()),
            },
        }
        total = int(present.sum())
        sizes = {"documents": total, "kept": total - int(rejected.sum()), "rejected": int(rejected.sum())}
        return {**sizes, "bytes": scores.nbytes, "summary": merge([summary])}


def _losses(
    names: list[str],
    present: npt.NDArray[np.bool_],
    rejected: npt.NDArray[np.bool_],
    size: npt.NDArray[np.int64],
) -> Summary:
    """Return documents and bytes, before and rejected, by name."""
    cells: Summary = {}
    for row in np.flatnonzero(present).tolist():
        cell = cells.setdefault(names[row], {"documents": 0, "bytes": 0, "rejected": 0, "rejected_bytes": 0})
        cell["documents"] += 1
        cell["bytes"] += int(size[row])
        if rejected[row]:
            cell["rejected"] += 1
            cell["rejected_bytes"] += int(size[row])
    return cells

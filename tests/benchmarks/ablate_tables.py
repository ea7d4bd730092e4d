"""The tables of ablate.py and ablate_ngrams.py: each variant beside the random drop, in pairs of seeds.

A run is a dict with "variant", "table", "seed", "tokens", "bits" (language -> clean set -> bits per byte), "macro"
(their mean) and "probe".
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.ablate_model import Rows, interval
from tests.benchmarks.variants import RANDOM


def above_random(
    done: Sequence[dict[str, Any]], table: str, variants: Sequence[str], seeds: int
) -> list[tuple[str, tuple[float, float, float]]]:
    """Return how far the bits per byte of each variant of all seeds lie above the random drop's, with the interval."""
    pairs = {name: paired(done, table, name, "macro") for name in variants if name != RANDOM}
    return [(name, (statistics.mean(own), *interval(own))) for name, own in pairs.items() if len(own) == seeds]


def paired(done: Sequence[dict[str, Any]], table: str, variant: str, figure: str) -> list[float]:
    """Return a variant's figure less the random drop's for each seed that both have."""
    runs, others = (
        {run["seed"]: run[figure] for run in done if run["variant"] == name and run["table"] == table}
        for name in (variant, RANDOM)
    )
    return [runs[seed] - others[seed] for seed in sorted(runs.keys() & others.keys())]


def table_of(done: Sequence[dict[str, Any]], table: str, variants: Sequence[str]) -> Rows:
    """Return each variant's figures and its paired differences from the random drop, the header first."""
    rows = [["variant", "tokens", "seeds", "bits per byte", f"above {RANDOM}, 95 %", "", "probe", "above, 95 %", ""]]
    for variant in variants:
        runs = {run["seed"]: run for run in done if run["variant"] == variant and run["table"] == table}
        row = [variant, f"{statistics.mean(r['tokens'] for r in runs.values()):,.0f}" if runs else "", str(len(runs))]
        for name in ("macro", "probe"):
            mean = f"{statistics.mean(run[name] for run in runs.values()):.4f}" if runs else ""
            low, high = interval(paired(done, table, variant, name))
            row += [mean, *(["", ""] if variant == RANDOM else _difference(low, high, less_is_better=name == "macro"))]
        rows.append(row)
    return rows


def _difference(low: float, high: float, *, less_is_better: bool) -> list[str]:
    """Return an interval and what may be claimed from it."""
    if not math.isfinite(low + high):
        return ["", "not finished"]
    less, more = ("better", "worse") if less_is_better else ("worse", "better")
    return [f"{low:+.4f} to {high:+.4f}", more if low > 0 else less if high < 0 else "not resolved"]


def by_language(done: Sequence[dict[str, Any]], table: str, variants: Sequence[str]) -> Rows:
    """Return each variant's mean bits per byte on each clean set, the header first."""
    first: dict[str, dict[str, float]] = next((run["bits"] for run in done), {})
    sets = [(language, name) for language, own in first.items() for name in own]
    rows = [["variant", *(f"{language} {name}" for language, name in sets)]]
    for variant in variants:
        runs = [run for run in done if run["variant"] == variant and run["table"] == table]
        cells = [f"{statistics.mean(r['bits'][a][b] for r in runs):.4f}" for a, b in sets] if runs else [""] * len(sets)
        rows.append([variant, *cells])
    return rows


def differences(done: Sequence[dict[str, Any]], table: str, variants: Sequence[str]) -> Rows:
    """Return how far each variant lies above the random drop in each language, in bits per byte, the header first."""
    runs = {(run["variant"], run["seed"]): run["bits"] for run in done if run["table"] == table}
    languages = list(next(iter(runs.values()), {}))
    rows = [["variant", *(part for name in languages for part in (f"{name}: above {RANDOM}, 95 %", ""))]]
    for variant in variants:
        seeds = [seed for name, seed in runs if name == variant and (RANDOM, seed) in runs]
        row = [variant]
        for name in languages if variant != RANDOM else []:
            both = [[statistics.mean(runs[one, seed][name].values()) for one in (variant, RANDOM)] for seed in seeds]
            row += _difference(*interval([own - other for own, other in both]), less_is_better=True)
        rows.append([*row, *[""] * (len(rows[0]) - len(row))])
    return rows

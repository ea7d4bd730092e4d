"""From values to figures: a row for each language, kind of damage and severity, and what the run's cuts would lose."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.methods import BASELINES, SCORE, Values
from pipeline.evaluation.resampling import (
    Floats,
    Ints,
    auc,
    auc_by_length,
    cut_at_loss,
    difference,
    draw_weights,
    effective_records,
    share,
    share_above,
)
from pipeline.evaluation.trials import SEVERITIES, Trial
from pipeline.self_clean.anchors import CLEAN
from pipeline.self_clean.measure import strata

LOSS = 0.02  # of good text that a cut may cost
FEWEST_DAMAGED = 5  # texts of a row
Table = dict[str, Any]
Texts = npt.NDArray[np.str_]


def rows_of(trials: Sequence[Trial], sizes: Ints, by_kind: Mapping[str, Values], seed: int) -> list[Table]:
    """Return the figures of each language, kind and severity; `by_kind` holds the values for judging each kind."""
    language = np.array([trial.good.language for trial in trials])
    kind = np.array([trial.kind for trial in trials])
    severity = np.array([trial.severity for trial in trials])
    measured = np.array([trial.good.measured for trial in trials])
    rows = []
    for name in np.unique(language).tolist():
        own = np.flatnonzero(language == name)
        records = np.array([trials[row].good.record for row in own.tolist()])
        weights = draw_weights(records.tolist(), seed)
        good = kind[own] == CLEAN
        for damage, values in by_kind.items():
            here = {method: column[own] for method, column in values.items()}
            for level, said in enumerate(SEVERITIES):
                bad = (kind[own] == damage) & (severity[own] == level)
                if bad.sum() >= FEWEST_DAMAGED:
                    place = {"language": name, "kind": damage, "severity": said, "documents": int(bad.sum())}
                    chosen = (good & ~measured[own], good & measured[own], bad)
                    rows.append({**place, **_figures(here, chosen, sizes[own], weights, records)})
    return rows


def _figures(
    values: Values, chosen: tuple[npt.NDArray[np.bool_], ...], sizes: Ints, weights: Floats, records: Texts
) -> Table:
    """Return each method's figures, the best baseline by AUC and how far the score lies above it."""
    _, good, bad = chosen
    many = effective_records(records[good].tolist()), effective_records(records[bad].tolist())
    draws = {name: auc(v[good], v[bad], weights[:, good], weights[:, bad]) for name, v in values.items()}
    methods = {name: _method(values[name], chosen, sizes, weights, draws[name], many) for name in values}
    best = max((name for name in BASELINES if name in draws), key=lambda name: draws[name][0])
    above = difference(draws[SCORE] - draws[best], min(many)).as_list()
    return {"methods": methods, "best": best, "difference": above}


def _method(
    values: Floats,
    chosen: tuple[npt.NDArray[np.bool_], ...],
    sizes: Ints,
    weights: Floats,
    draws: Floats,
    many: tuple[float, float],
) -> Table:
    before, good, bad = chosen
    cut = cut_at_loss(values[before], LOSS)
    return {
        "auc": share(draws, min(many)).as_list(),
        "auc_by_length": _rounded(auc_by_length(values[good], values[bad], sizes[good], sizes[bad])),
        "recall": share(share_above(values[bad], cut, weights[:, bad]), many[1]).as_list(),
        "loss": share(share_above(values[good], cut, weights[:, good]), many[0]).as_list(),
    }


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)


def clean_loss(
    trials: Sequence[Trial], sizes: Ints, score: Floats, cuts: Mapping[str, float], seed: int
) -> dict[str, Table]:
    """Return by language the share of good text above its cuts, had the run's TransNormers read all of it."""
    found = {}
    languages = [trial.good.language for trial in trials]
    cut = np.array([cuts.get(name, np.inf) for name in strata(languages, sizes)])
    for name in sorted(set(languages)):
        rows = np.array([trial.good.language == name and trial.kind == CLEAN for trial in trials])
        records = [trials[row].good.record for row in np.flatnonzero(rows).tolist()]
        lost = share_above(score[rows], cut[rows], draw_weights(records, seed))
        many = effective_records(records)
        sized = {"documents": len(records), "records": len(set(records)), "effective_records": round(many, 1)}
        found[name] = {**sized, "loss": share(lost, many).as_list(), "without_cut": int(np.isinf(cut[rows]).sum())}
    return found

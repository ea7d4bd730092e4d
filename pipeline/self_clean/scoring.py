"""The score: fitted on the measured anchors once a round, then asked about every document.

Two combinations are fitted: of all signals, and, as near to it as may be, of the cheap ones alone, the surrogate. A
language is judged when its judges saw enough of it and agree about documents that none of them saw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.config import SelfClean
from pipeline.self_clean import combine
from pipeline.self_clean.anchors import CLEAN, Measured, read_measured
from pipeline.self_clean.combine import Scale, Weights
from pipeline.self_clean.signals import CHEAP, SIGNALS, Floats, Ints

VERSION = 2
LENGTH_CLASSES = (500, 2000, 8000)  # bytes: the edges between short, medium, long and very long
UNKNOWN = "und"
NORMAL_IQR = 1.349  # quartiles of the normal distribution lie so many deviations apart
SCORE = "score.json"
QUANTUM = 1e-3  # of a score; thresholds never see a difference below it


@dataclass(frozen=True, slots=True)
class Language:
    """What a language is judged with."""

    cheap: tuple[Scale, ...]  # by judge
    every: tuple[Scale, ...]
    limit: float  # no score below it is cut
    deviation: float  # robust, of undamaged documents' scores
    agreement: float  # rank correlation of the judges


@dataclass(frozen=True, slots=True)
class Score:
    """A fitted score."""

    languages: dict[str, Language]
    surrogate: Weights
    every: Weights


def on_grid(quanta: Floats) -> Floats:
    """Return values that are so many quanta, rounded to whole ones: the floats that their decimals stand for."""
    return np.asarray(np.round(quanta) / round(1 / QUANTUM))


def length_class(sizes: Ints) -> Ints:
    """Return the number of each document's length class (documents)."""
    return np.asarray(np.searchsorted(LENGTH_CLASSES, sizes, side="right"))


def sides(values: Floats, size: Ints, whole: Ints, scale: Scale) -> Floats:
    """Return the features of documents: their signals, the bytes of their excerpts and those of their texts."""
    return combine.features(combine.standardised(values, size, length_class(whole), scale), scale)


@dataclass(frozen=True, slots=True)
class FitTask:
    """The one task of the stage."""

    key: str
    languages: tuple[str, ...]  # with enough tokens and anchors


@dataclass(frozen=True, slots=True)
class FitScore:
    """Work of one task: the score of a round."""

    folder: str
    anchors: str  # folder
    settings: SelfClean

    def __call__(self, task: FitTask) -> dict[str, Any]:
        """Write the score; return the record with what each language's judges are worth."""
        measured = {name: read_measured(self.anchors, name) for name in task.languages}
        fitted, facts = fit(measured, self.settings)
        storage.write_json(score_path(self.folder), _as_table(fitted) if fitted else {})
        return {**facts, "documents": sum(len(one.id) for one in measured.values())}


def score_path(folder: str) -> str:
    """Return where the score is."""
    return storage.join(folder, SCORE)


def fit(measured: Mapping[str, Measured], settings: SelfClean) -> tuple[Score | None, dict[str, Any]]:
    """Return the score of languages, and facts about it: agreement, and how well each kind of damage is found.

    None without a language, or where the judges agree about none.
    """
    if not measured:
        return None, {"agreement": {}, "found": [], "held_out": {}}
    cheap = {name: _scales(one, settings.folds, len(CHEAP)) for name, one in measured.items()}
    every = {name: _scales(one, settings.folds, len(SIGNALS)) for name, one in measured.items()}
    by_language = {name: _features(one, every[name], len(SIGNALS)) for name, one in measured.items()}
    weights = _fit(measured, by_language)
    scores = {name: combine.score(by_language[name], weights) for name in measured}
    near = {name: _features(one, cheap[name], len(CHEAP)) for name, one in measured.items()}
    surrogate = combine.fit_surrogate(np.concatenate(list(near.values())), np.concatenate(list(scores.values())))
    languages = {
        name: _language(one, scores[name], cheap[name], every[name], settings) for name, one in measured.items()
    }
    facts = {
        "agreement": {name: round(one.agreement, 4) for name, one in languages.items()},
        "found": _found(measured, by_language),
        "held_out": {name: round(_held_out(one), 4) for name, one in measured.items()},
        "surrogate": round(_surrogate_agreement(measured, near, surrogate, scores), 4),
        "weights": _told(weights),
    }
    judged = {name: one for name, one in languages.items() if one.agreement >= settings.min_agreement}
    return (Score(judged, surrogate, weights) if judged else None), facts


def _scales(one: Measured, folds: int, signals: int) -> tuple[Scale, ...]:
    """Return a language's scales by judge; each measured the same undamaged anchors, in the order of their ids."""
    rows = [(one.judge == judge) & ~one.damaged for judge in range(folds)]
    classes = length_class(one.bytes)
    count = len(LENGTH_CLASSES) + 1
    scales = [combine.fit_scale(one.signals[r, :signals], one.size[r], classes[r], count) for r in rows]
    z = [
        combine.standardised(one.signals[r, :signals], one.size[r], classes[r], scale)
        for r, scale in zip(rows, scales, strict=True)
    ]
    return combine.trusted(scales, z)


def _features(one: Measured, scales: Sequence[Scale], signals: int) -> Floats:
    """Return the features (rows, 4 x signals) of measured anchors, each row by its judge's scale."""
    out = np.zeros((len(one.id), 4 * signals))
    for judge, scale in enumerate(scales):
        rows = one.judge == judge
        out[rows] = sides(one.signals[rows, :signals], one.size[rows], one.bytes[rows], scale)
    return out


def _fit(measured: Mapping[str, Measured], features: Mapping[str, Floats], without: str = "") -> Weights:
    """Return weights from the anchors of all languages, without one kind of damage."""
    kinds = np.concatenate([one.kind for one in measured.values()])
    rows = np.concatenate([features[name] for name in measured])
    use = kinds != without
    damaged = kinds[use] != CLEAN
    return combine.fit_weights(rows[use], damaged, combine.balanced(kinds[use].tolist(), damaged))


def _language(
    one: Measured, score: Floats, cheap: tuple[Scale, ...], every: tuple[Scale, ...], settings: SelfClean
) -> Language:
    """Return what a language is judged with; its limit lies so many robust deviations above its median."""
    clean = score[~one.damaged]
    low, middle, high = np.quantile(clean, [0.25, 0.5, 0.75]).tolist()
    deviation = (high - low) / NORMAL_IQR
    limit = middle + settings.outlier * deviation
    return Language(cheap, every, float(limit), float(deviation), _agreement(one, score))


def _agreement(one: Measured, score: Floats) -> float:
    """Return the least rank correlation of two judges' scores on undamaged anchors."""
    judges = np.unique(one.judge)
    by_judge = [score[(one.judge == judge) & ~one.damaged] for judge in judges]  # each in the order of ids
    pairs = [(a, b) for a in range(len(judges)) for b in range(a + 1, len(judges))]
    return min((combine.spearman(by_judge[a], by_judge[b]) for a, b in pairs), default=0.0)


def judges_overlap(anchors: str, fitted: Score, drop: float) -> float:
    """Return the Jaccard overlap of what two judges would drop of the undamaged anchors, a share of each language.

    `anchors` is the folder of measured anchors. No part of the fit, which another drop budget leaves as it is.
    """
    both = either = 0
    for name, language in fitted.languages.items():
        one = read_measured(anchors, name)
        score = combine.score(_features(one, language.every, len(SIGNALS)), fitted.every)
        first, second = (score[(one.judge == judge) & ~one.damaged] for judge in (0, 1))
        count = round(drop * len(first))
        worst = [set(np.argsort(-values, kind="stable")[:count].tolist()) for values in (first, second)]
        both, either = both + len(worst[0] & worst[1]), either + len(worst[0] | worst[1])
    return round(both / either, 4) if either else 1.0


def _held_out(one: Measured) -> float:
    """Return the mean bits per byte of undamaged anchors."""
    values = one.signals[~one.damaged, SIGNALS.index("bits_per_byte")]
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0


def _surrogate_agreement(
    measured: Mapping[str, Measured], near: Mapping[str, Floats], surrogate: Weights, scores: Mapping[str, Floats]
) -> float:
    """Return the rank correlation of surrogate and score on undamaged anchors of all languages."""
    told = [combine.score(near[name], surrogate)[~one.damaged] for name, one in measured.items()]
    true = [scores[name][~one.damaged] for name, one in measured.items()]
    return combine.spearman(np.concatenate(told), np.concatenate(true))


def _found(measured: Mapping[str, Measured], features: Mapping[str, Floats]) -> list[dict[str, Any]]:
    """Return for each kind of damage how well weights that never saw it tell it from undamaged text (AUC)."""
    kinds = sorted({kind for one in measured.values() for kind in one.kind[one.damaged].tolist()})
    rows = []
    for kind in kinds:
        weights = _fit(measured, features, kind)
        scores = {name: combine.score(features[name], weights) for name in measured}
        clean = np.concatenate([scores[name][~one.damaged] for name, one in measured.items()])
        for severity in range(3):
            chosen = {name: (one.kind == kind) & (one.severity == severity) for name, one in measured.items()}
            bad = np.concatenate([scores[name][chosen[name]] for name in measured])
            if len(bad):
                found = round(combine.auc(clean, bad), 4)
                rows.append({"kind": kind, "severity": severity, "documents": len(bad), "auc": found})
    return rows


def _told(weights: Weights) -> dict[str, list[float]]:
    """Return each signal's weights: above, below, its residual above, below."""
    parts = np.round(weights.each.reshape(2, 2, len(SIGNALS)), 3)
    return {name: [*parts[:, 0, n].tolist(), *parts[:, 1, n].tolist()] for n, name in enumerate(SIGNALS)}


def _as_table(fitted: Score) -> dict[str, Any]:
    languages = {
        name: {
            "cheap": [combine.as_table(scale) for scale in one.cheap],
            "every": [combine.as_table(scale) for scale in one.every],
            "limit": one.limit,
            "deviation": one.deviation,
            "agreement": one.agreement,
        }
        for name, one in fitted.languages.items()
    }
    weights = {"surrogate": combine.as_table(fitted.surrogate), "every": combine.as_table(fitted.every)}
    return {"languages": languages, **weights}


@cache
def load_score(folder: str) -> Score:
    """Load a score once a process; one without languages where none is judged."""
    table = storage.read_json(score_path(folder))
    if not table:
        nothing = Weights(np.zeros(0), 0.0)
        return Score({}, nothing, nothing)
    languages = {
        name: Language(
            tuple(combine.read_scale(scale) for scale in one["cheap"]),
            tuple(combine.read_scale(scale) for scale in one["every"]),
            one["limit"],
            one["deviation"],
            one["agreement"],
        )
        for name, one in table["languages"].items()
    }
    return Score(languages, combine.read_weights(table["surrogate"]), combine.read_weights(table["every"]))

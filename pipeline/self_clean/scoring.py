"""The score: fitted on the measured anchors once a round, then asked about every document.

Two combinations are fitted: of all signals, and, as near to it as may be, of the cheap ones alone, the surrogate. A
language is judged when its judges saw enough of it and agree about documents that none of them saw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import blake2b
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.config import SelfClean
from pipeline.self_clean import combine
from pipeline.self_clean.anchors import CLEAN, Measured, read_measured
from pipeline.self_clean.combine import Scale, Weights
from pipeline.self_clean.signals import CHEAP, SIGNALS, Floats, Ints

VERSION = 3
LENGTH_CLASSES = (500, 2000, 8000)  # bytes: the edges between short, medium, long and very long
UNKNOWN = "und"
NORMAL_IQR = 1.349  # quartiles of the normal distribution lie so many deviations apart
SCORE = "score.json"
PARTS = 4  # of the anchors: what is learnt of three is told of the fourth
OF_NOBODY = ("repetition", "tokens_per_byte")  # signals that no judge has a part in
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

    What the score is fitted on is what judges find in anchors of their own folds; the others' findings tell how far
    judges agree. None without a language, or where the judges agree about none.
    """
    if not measured:
        return None, {"agreement": {}, "agreement_of_judges": {}, "found": [], "held_out": {}}
    own = {name: one.take(one.own) for name, one in measured.items()}
    cheap = {name: _scales(one, len(CHEAP)) for name, one in measured.items()}
    every = {name: _scales(one, len(SIGNALS)) for name, one in measured.items()}
    by_language = {name: features(one, every[name], len(SIGNALS)) for name, one in own.items()}
    weights = fit_weights(own, by_language)
    scores = {name: combine.score(by_language[name], weights) for name in own}
    near = {name: features(one, cheap[name], len(CHEAP)) for name, one in own.items()}
    surrogate = fit_surrogate(own, near, scores)
    agreement = {name: _agreement(one, [weights, _of_judges(weights)]) for name, one in measured.items()}
    languages = {
        name: _language(one, scores[name], cheap[name], every[name], agreement[name][0], settings)
        for name, one in own.items()
    }
    facts = {
        "agreement": {name: round(both[0], 4) for name, both in agreement.items()},
        "agreement_of_judges": {name: round(both[1], 4) for name, both in agreement.items()},
        "found": _found(own, by_language),
        "held_out": {name: round(_held_out(one), 4) for name, one in own.items()},
        "surrogate": round(_surrogate_agreement(own, near, surrogate, scores), 4),
        "weights": _told(weights),
    }
    judged = {name: one for name, one in languages.items() if one.agreement >= settings.min_agreement}
    return (Score(judged, surrogate, weights) if judged else None), facts


def _scales(one: Measured, signals: int) -> tuple[Scale, ...]:
    """Return a language's scales by judge, each from the anchors of its own fold."""
    return tuple(scales[fold] for fold, scales in enumerate(every_scale(one, signals)))


def every_scale(one: Measured, signals: int) -> list[list[Scale]]:
    """Return scales by fold and judge, from what the judge finds in the undamaged anchors of the fold.

    A judge that was trained on what is like a fold's anchors finds all of them usual, so that its findings there have a
    scale of their own. In every fold all judges measured the same anchors; how far they agree is their trust.
    """
    classes, count, judges = length_class(one.bytes), len(LENGTH_CLASSES) + 1, range(int(one.judge.max()) + 1)
    table, trust = [], []
    for fold in judges:
        rows = [~one.damaged & (one.fold == fold) & (one.judge == judge) for judge in judges]
        parts = [(one.signals[own, :signals], one.size[own], classes[own]) for own in rows]
        scales = [combine.fit_scale(*part, count) for part in parts]
        z = [combine.standardised(*part, scale) for part, scale in zip(parts, scales, strict=True)]
        table.append(scales)
        trust.append(combine.trust(scales, z))
    return [[replace(scale, trust=np.mean(trust, axis=0)) for scale in scales] for scales in table]


def features(one: Measured, scales: Sequence[Scale], signals: int) -> Floats:
    """Return the features (rows, 4 x signals) of measured anchors, each row by its judge's scale."""
    out = np.zeros((len(one.id), 4 * signals))
    for judge, scale in enumerate(scales):
        rows = one.judge == judge
        out[rows] = sides(one.signals[rows, :signals], one.size[rows], one.bytes[rows], scale)
    return out


def fit_weights(own: Mapping[str, Measured], by_language: Mapping[str, Floats], without: str = "") -> Weights:
    """Return weights from the anchors of all languages and their features, without one kind of damage."""
    kinds = np.concatenate([one.kind for one in own.values()])
    rows = np.concatenate([by_language[name] for name in own])
    use = kinds != without
    damaged = kinds[use] != CLEAN
    return combine.fit_weights(rows[use], damaged, combine.balanced(kinds[use].tolist(), damaged))


def fit_surrogate(
    own: Mapping[str, Measured], near: Mapping[str, Floats], scores: Mapping[str, Floats], without: str = ""
) -> Weights:
    """Return the surrogate's weights from cheap features and scores of all languages, without one kind of damage."""
    use = {name: one.kind != without for name, one in own.items()}
    rows, wanted = (np.concatenate([table[name][use[name]] for name in own]) for table in (near, scores))
    return combine.fit_surrogate(rows, wanted)


def _language(
    own: Measured,
    score: Floats,
    cheap: tuple[Scale, ...],
    every: tuple[Scale, ...],
    agreement: float,
    settings: SelfClean,
) -> Language:
    """Return what a language is judged with; its limit lies so many robust deviations above its median."""
    low, middle, high = np.quantile(score[~own.damaged], [0.25, 0.5, 0.75]).tolist()
    deviation = (high - low) / NORMAL_IQR
    limit = middle + settings.outlier * deviation
    return Language(cheap, every, float(limit), float(deviation), agreement)


def _agreement(one: Measured, weights: Sequence[Weights]) -> list[float]:
    """Return for each weights the least rank correlation of two judges' scores on a fold's anchors, the folds' mean.

    Each anchor is scored by scales, and the trust in them, of the other parts.
    """
    clean = one.take(~one.damaged)
    part, first = _parts(clean.id), clean.judge == 0
    scores = np.zeros((len(weights), int(clean.judge.max()) + 1, int(first.sum())))
    for number in np.unique(part).tolist():
        scales = every_scale(clean.take(part != number), len(SIGNALS))
        asked = clean.take(part == number)
        scores[:, :, part[first] == number] = [_by_judge(asked, scales, each) for each in weights]
    fold = clean.fold[first]
    return [float(np.mean([_least(found[:, fold == number]) for number in np.unique(fold)])) for found in scores]


def _least(found: Floats) -> float:
    """Return the least rank correlation of two judges' scores (judges, anchors)."""
    pairs = [(a, b) for number, a in enumerate(found) for b in found[:number]]
    return min((combine.spearman(a, b) for a, b in pairs), default=0.0)


def _parts(ids: Sequence[str]) -> Ints:
    """Return the part that each anchor belongs to, damaged or not."""
    return np.array([blake2b(name.encode(), digest_size=2).digest()[0] % PARTS for name in ids])


def _by_judge(one: Measured, scales: Sequence[Sequence[Scale]], weights: Weights) -> Floats:
    """Return the scores (judges, undamaged anchors in the order of their ids) by scales of each fold and judge."""
    clean = one.take(~one.damaged)
    score = np.zeros(len(clean.id))
    for fold, by_judge in enumerate(scales):
        rows = clean.fold == fold
        score[rows] = combine.score(features(clean.take(rows), by_judge, len(SIGNALS)), weights)
    return np.stack([score[clean.judge == judge] for judge in range(len(scales))])


def _of_judges(weights: Weights) -> Weights:
    """Return weights without the signals that are the same whoever judges."""
    each = weights.each.reshape(4, len(SIGNALS)).copy()
    each[:, [SIGNALS.index(name) for name in OF_NOBODY]] = 0
    return Weights(each.ravel(), weights.bias)


def judges_overlap(anchors: str, fitted: Score, cuts: Mapping[str, int]) -> float:
    """Return the Jaccard overlap of what two judges' scores of undamaged anchors put above the cuts of a round.

    `anchors` is the folder of measured anchors; `cuts` (quanta) are by stratum. 1 when both reject nothing.
    """
    both = either = 0
    for name in fitted.languages:
        one = read_measured(anchors, name)
        scores = np.round(_by_judge(one, every_scale(one, len(SIGNALS)), fitted.every) / QUANTUM)
        classes = length_class(one.bytes[~one.damaged & (one.judge == 0)])
        cut = np.array([cuts.get(f"{name} {number}", np.inf) for number in classes.tolist()])
        first, second = scores[0] >= cut, scores[1] >= cut
        both, either = both + int((first & second).sum()), either + int((first | second).sum())
    return round(both / either, 4) if either else 1.0


def _held_out(own: Measured) -> float:
    """Return the mean bits per byte of undamaged anchors."""
    values = own.signals[~own.damaged, SIGNALS.index("bits_per_byte")]
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0


def _surrogate_agreement(
    own: Mapping[str, Measured], near: Mapping[str, Floats], surrogate: Weights, scores: Mapping[str, Floats]
) -> float:
    """Return the rank correlation of surrogate and score on undamaged anchors of all languages."""
    told = [combine.score(near[name], surrogate)[~one.damaged] for name, one in own.items()]
    true = [scores[name][~one.damaged] for name, one in own.items()]
    return combine.spearman(np.concatenate(told), np.concatenate(true))


def _found(own: Mapping[str, Measured], by_language: Mapping[str, Floats]) -> list[dict[str, Any]]:
    """Return for each kind of damage how well it is told from undamaged text (AUC).

    By weights that saw neither the kind nor the part of the anchors in which it is looked for; the mean of the parts.
    """
    part = {name: _parts(one.id) for name, one in own.items()}
    rows = []
    for kind in sorted({kind for one in own.values() for kind in one.kind[one.damaged].tolist()}):
        cells = [_found_in(own, by_language, part, number, kind) for number in range(PARTS)]
        for severity in range(3):
            told = [cell[severity] for cell in cells if severity in cell]
            if told:
                documents = sum(n for n, _ in told)
                found = round(sum(n * value for n, value in told) / documents, 4)
                rows.append({"kind": kind, "severity": severity, "documents": documents, "auc": found})
    return rows


def _found_in(
    own: Mapping[str, Measured], by_language: Mapping[str, Floats], part: Mapping[str, Ints], number: int, kind: str
) -> dict[int, tuple[int, float]]:
    """Return by severity how many of one part's anchors were damaged in a way, and how well that is found."""
    known = {name: one.take(part[name] != number) for name, one in own.items()}
    weights = fit_weights(known, {name: by_language[name][part[name] != number] for name in own}, kind)
    asked = {name: one.take(part[name] == number) for name, one in own.items()}
    scores = {name: combine.score(by_language[name][part[name] == number], weights) for name in own}
    clean = np.concatenate([scores[name][~one.damaged] for name, one in asked.items()])
    found = {}
    for severity in range(3):
        chosen = {name: (one.kind == kind) & (one.severity == severity) for name, one in asked.items()}
        bad = np.concatenate([scores[name][chosen[name]] for name in asked])
        if len(bad) and len(clean):
            found[severity] = (len(bad), combine.auc(clean, bad))
    return found


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

"""Fitting: from the measured anchors to the score of a round, and what its judges are worth.

What is fitted is fitted on what judges find in anchors of their own folds. An anchor's features come from scales that
other anchors taught, as a document's do; so do the limit, the agreement of the judges and the table of damage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np

from pipeline.config import SelfClean
from pipeline.self_clean import combine
from pipeline.self_clean.anchors import CLEAN, Measured, read_measured
from pipeline.self_clean.combine import Scale, Weights
from pipeline.self_clean.defects import family
from pipeline.self_clean.scoring import LENGTH_CLASSES, Language, Score, Usual, length_class, sides, write_score
from pipeline.self_clean.signals import CHEAP, SIGNALS, Floats, Ints

VERSION = 10
PARTS = 8  # of the anchors: what is learnt of the others is told of each
NORMAL_IQR = 1.349  # quartiles of the normal distribution lie so many deviations apart
USUAL_PULL = 50.0  # anchors of all lengths that count in what a length class's scores usually are
# Signals that no judge has a part in, or next to none: two judges' `returning` had a rank correlation of .99 to 1.00,
# their `cache_gain` one of .92 to .99. Their `unigram_bits` agree as well (.89 to 1.00), but are all their own.
OF_NOBODY = ("repetition", "tokens_per_byte", "returning", "cache_gain")
LEAST_SHARE = 0.02  # of a language's anchors that judges are compared in, at least: fewer say nothing


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
        write_score(self.folder, fitted)
        return {**facts, "documents": sum(len(one.id) for one in measured.values())}


@dataclass(frozen=True, slots=True)
class Taught:
    """What is learnt from, by language: what each judge found in anchors of its fold, and its features."""

    own: dict[str, Measured]
    every: dict[str, Floats]  # (rows, 4 x signals)
    cheap: dict[str, Floats]


def fit(measured: Mapping[str, Measured], settings: SelfClean) -> tuple[Score | None, dict[str, Any]]:
    """Return the score of languages, and facts about it: agreement, and how well each kind of damage is found.

    None without a language, or where the judges agree about none.
    """
    if not measured:
        return None, {"agreement": {}, "agreement_of_judges": {}, "found": [], "held_out": {}, "weights": {}}
    taught = make_taught(measured)
    weights = fit_weights(taught)
    judges = 1 + max(int(one.judge.max()) for one in measured.values())
    surrogate = fit_surrogates(taught, weights, judges)
    scores = {name: combine.score(rows, weights) for name, rows in taught.every.items()}
    agreement = {name: _agreement(one, [weights, _of_judges(weights)]) for name, one in measured.items()}
    languages = {
        name: _language(one, taught.own[name], scores[name], agreement[name][0]) for name, one in measured.items()
    }
    facts = {
        "agreement": {name: round(both[0], 4) for name, both in agreement.items()},
        "agreement_of_judges": {name: round(both[1], 4) for name, both in agreement.items()},
        "found": _found(taught),
        "held_out": {name: round(_held_out(one), 4) for name, one in taught.own.items()},
        "weights": _told(weights),
    }
    judged = {name: one for name, one in languages.items() if one.agreement >= settings.min_agreement}
    return (Score(judged, surrogate, weights) if judged else None), facts


def make_taught(measured: Mapping[str, Measured]) -> Taught:
    """Return what is learnt from."""
    every, cheap = ({name: features(one, n)[one.own] for name, one in measured.items()} for n in _NUMBERS)
    return Taught({name: one.take(one.own) for name, one in measured.items()}, every, cheap)


_NUMBERS = (len(SIGNALS), len(CHEAP))


def features(one: Measured, signals: int) -> Floats:
    """Return the features (rows, 4 x signals) of measured anchors by the first so many signals.

    Each row's by the scale of its judge, from anchors of the other parts.
    """
    part, out = _parts(one.id), np.zeros((len(one.id), 4 * signals))
    for number in np.unique(part).tolist():
        others = one.take(part != number)
        values = unfamiliar(one, familiarity(others, signals))
        for judge, scale in enumerate(make_scales(others, signals)):
            rows = (part == number) & (one.judge == judge)
            out[rows] = sides(values[rows], one.size[rows], one.bytes[rows], scale)
    return out


def _parts(ids: Sequence[str]) -> Ints:
    """Return the part that each anchor belongs to, damaged or not."""
    return np.array([blake2b(name.encode(), digest_size=2).digest()[0] % PARTS for name in ids])


def make_scales(one: Measured, signals: int) -> list[Scale]:
    """Return each judge's scale, from what it finds in the undamaged anchors of all folds, less their familiarity.

    All judges measured the same, so that what is usual is the same text for all: folds hold other hosts, and the fold
    of a dirty one must not be judged by its dirt. How far judges agree is their trust.
    """
    classes, count = length_class(one.bytes), len(LENGTH_CLASSES) + 1
    values = unfamiliar(one, familiarity(one, signals))
    rows = [~one.damaged & (one.judge == judge) for judge in range(int(one.judge.max()) + 1)]
    parts = [(values[own], one.size[own], classes[own]) for own in rows]
    scales = [combine.fit_scale(*part, count) for part in parts]
    z = [combine.standardised(*part, scale) for part, scale in zip(parts, scales, strict=True)]
    trust = combine.trust(scales, z)
    return [replace(scale, trust=trust) for scale in scales]


def familiarity(one: Measured, signals: int) -> Floats:
    """Return by how much each signal is another in anchors that a judge was trained on the like of (signals).

    It is the median difference from what the judge of their own fold finds, the mean of all pairs of judges: in it
    cancels how much more one says of everything than another.
    """
    judges, clean = range(int(one.judge.max()) + 1), ~one.damaged
    values, fold = _by_judge(one.take(clean), one.signals[clean, :signals]), one.fold[clean & (one.judge == 0)]
    there = [number for number in judges if (fold == number).any()]
    pairs = [values[judge, fold == own] - values[own, fold == own] for own in there for judge in judges if judge != own]
    return np.asarray(np.nan_to_num(np.mean([np.nanmedian(pair, axis=0) for pair in pairs], axis=0)))


def unfamiliar(one: Measured, known: Floats) -> Floats:
    """Return the first signals (rows, signals) of measured anchors without what familiarity does to them."""
    return np.asarray(one.signals[:, : len(known)] - np.outer(~one.own, known))


def fit_weights(taught: Taught, without: str = "") -> Weights:
    """Return the score's weights from anchors of all languages, without one kind of damage and its family."""
    kinds = np.concatenate([one.kind for one in taught.own.values()])
    use = ~np.isin(kinds, family(without))
    damaged = kinds[use] != CLEAN
    rows = np.concatenate(list(taught.every.values()))[use]
    return combine.fit_weights(rows, damaged, combine.balanced(kinds[use].tolist(), damaged))


def fit_surrogates(taught: Taught, weights: Weights, judges: int, without: str = "") -> tuple[Weights, ...]:
    """Return by judge the weights with which cheap signals come nearest to a score, without a kind and its family.

    Each judge's are regressed on the anchors of other folds than its own, or on all where the others have none.
    """
    folds = np.concatenate([one.fold for one in taught.own.values()])
    found = []
    for judge in range(judges):
        there = (folds != judge).any()
        rows = {name: (one.fold != judge) if there else one.fold >= 0 for name, one in taught.own.items()}
        found.append(_fit_surrogate(_some(taught, rows), weights, without))
    return tuple(found)


def _fit_surrogate(taught: Taught, weights: Weights, without: str) -> Weights:
    use = ~np.isin(np.concatenate([one.kind for one in taught.own.values()]), family(without))
    every, cheap = (np.concatenate(list(table.values()))[use] for table in (taught.every, taught.cheap))
    return combine.fit_surrogate(cheap, combine.score(every, weights))


def _language(one: Measured, own: Measured, scores: Floats, agreement: float) -> Language:
    """Return what a language is judged with, from the scores of its anchors as the judges of their folds found them."""
    every, cheap = (tuple(make_scales(one, n)) for n in _NUMBERS)
    clean, classes = scores[~own.damaged], length_class(own.bytes[~own.damaged])
    overall = _usual(clean)
    usual = tuple(_drawn(clean[classes == number], overall) for number in range(len(LENGTH_CLASSES) + 1))
    return Language(cheap, every, usual, overall.deviation, agreement)


def _usual(clean: Floats) -> Usual:
    low, middle, high = np.quantile(clean, [0.25, 0.5, 0.75]).tolist()
    return Usual(middle, (high - low) / NORMAL_IQR)


def _drawn(clean: Floats, overall: Usual) -> Usual:
    """Return what is usual in a length class, drawn to what is in its language by as much as it has few anchors."""
    if not len(clean):
        return overall
    part = len(clean) / (len(clean) + USUAL_PULL)
    return Usual(*(part * own + (1 - part) * all_ for own, all_ in zip(_usual(clean), overall, strict=True)))


def _agreement(one: Measured, weights: Sequence[Weights]) -> list[float]:
    """Return for each weights the rank correlation of two judges' scores of a fold's anchors.

    It is that of the two judges who agree least, and the mean of the folds.
    """
    clean = _clean(one)
    rows, fold = features(clean, len(SIGNALS)), clean.fold[clean.judge == 0]
    found = []
    for each in weights:
        table = _by_judge(clean, combine.score(rows, each))
        found.append(float(np.mean([_least(table[:, fold == number]) for number in np.unique(fold)])))
    return found


def _clean(one: Measured) -> Measured:
    return one.take(~one.damaged)


def _by_judge(clean: Measured, scores: Floats) -> Floats:
    """Return the scores (judges, undamaged anchors in the order of their ids), or what else has a row for each."""
    return np.stack([scores[clean.judge == judge] for judge in range(int(clean.judge.max()) + 1)])


def _least(found: Floats) -> float:
    """Return the least rank correlation of two judges' scores (judges, anchors)."""
    return min((combine.spearman(a, b) for number, a in enumerate(found) for b in found[:number]), default=0.0)


def _of_judges(weights: Weights) -> Weights:
    """Return weights without the signals that are the same whoever judges."""
    each = weights.each.reshape(4, len(SIGNALS)).copy()
    each[:, [SIGNALS.index(name) for name in OF_NOBODY]] = 0
    return Weights(each.ravel(), weights.bias)


def judges_overlap(anchors: str, fitted: Score, rejected: Mapping[str, float]) -> float:
    """Return the Jaccard overlap of what two judges would reject of undamaged anchors, the mean of all pairs.

    `anchors` is the folder of measured anchors; of each language's the judges' worst are compared, the share that the
    round rejected of it, but no less than LEAST_SHARE.
    """
    sets: list[set[tuple[str, int]]] = []
    for name in fitted.languages:
        clean = _clean(read_measured(anchors, name))
        table = _by_judge(clean, combine.score(features(clean, len(SIGNALS)), fitted.every))
        count = round(max(LEAST_SHARE, rejected.get(name, 0.0)) * table.shape[1])
        sets = sets or [set() for _ in table]
        for judge, values in enumerate(table):
            sets[judge] |= {(name, row) for row in np.argsort(-values, kind="stable")[:count].tolist()}
    pairs = [(a, b) for number, a in enumerate(sets) for b in sets[:number]]
    return round(float(np.mean([len(a & b) / len(a | b) if a | b else 1.0 for a, b in pairs])), 4) if pairs else 1.0


def _held_out(own: Measured) -> float:
    """Return the mean bits per byte of undamaged anchors."""
    values = own.signals[~own.damaged, SIGNALS.index("bits_per_byte")]
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0


def _found(taught: Taught) -> list[dict[str, Any]]:
    """Return for each kind of damage how well it is told from undamaged text (AUC).

    By weights that saw neither the kind and its family nor the part of the anchors in which it is looked for; the mean
    of the parts.
    """
    rows = []
    for kind in sorted({kind for one in taught.own.values() for kind in one.kind[one.damaged].tolist()}):
        cells = [_found_in(taught, number, kind) for number in range(PARTS)]
        for severity in range(3):
            told = [cell[severity] for cell in cells if severity in cell]
            if told:
                documents = sum(n for n, _ in told)
                found = round(sum(n * value for n, value in told) / documents, 4)
                rows.append({"kind": kind, "severity": severity, "documents": documents, "auc": found})
    return rows


def _found_in(taught: Taught, number: int, kind: str) -> dict[int, tuple[int, float]]:
    """Return by severity how many of one part's anchors were damaged in a way, and how well that is found."""
    part = {name: _parts(one.id) == number for name, one in taught.own.items()}
    weights = fit_weights(_some(taught, {name: ~asked for name, asked in part.items()}), kind)
    asked = _some(taught, part)
    scores = {name: combine.score(rows, weights) for name, rows in asked.every.items()}
    clean = np.concatenate([scores[name][~one.damaged] for name, one in asked.own.items()])
    found = {}
    for severity in range(3):
        chosen = {name: (one.kind == kind) & (one.severity == severity) for name, one in asked.own.items()}
        bad = np.concatenate([scores[name][chosen[name]] for name in scores])
        if len(bad) and len(clean):
            found[severity] = (len(bad), combine.auc(clean, bad))
    return found


def _some(taught: Taught, rows: Mapping[str, Any]) -> Taught:
    """Return some of the rows of each language."""
    every, cheap = ({name: table[name][rows[name]] for name in table} for table in (taught.every, taught.cheap))
    return Taught({name: one.take(rows[name]) for name, one in taught.own.items()}, every, cheap)


def _told(weights: Weights) -> dict[str, list[float]]:
    """Return each signal's weights: above, below, its residual above, below."""
    parts = np.round(weights.each.reshape(2, 2, len(SIGNALS)), 3)
    return {name: [*parts[:, 0, n].tolist(), *parts[:, 1, n].tolist()] for n, name in enumerate(SIGNALS)}

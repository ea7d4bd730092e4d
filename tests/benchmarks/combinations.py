"""Other ways to make one verdict of the same signals: how well each finds damage that it never saw.

    python -m tests.benchmarks.combinations --run OUT            a finished run with its stages

Of the run's measured anchors, split as signals_worth.py splits them, every way learns from four parts, without a kind
of damage and its family, and looks for that kind in the fifth. AUC, and recall at a cut that costs LOSS of the
undamaged, are means over parts by damaged documents, then over languages, then over kinds. Differences to the first
way, which ships, are paired, with 95 % intervals from a bootstrap over documents. The least agreement is that of two
judges about the undamaged, in the language where they agree least: below `min_agreement` a language is not judged.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.evaluation.resampling import Floats, cut_at_loss, difference, share_above
from pipeline.evaluation.shown import interval, three
from pipeline.self_clean import combine
from pipeline.self_clean.anchors import CLEAN
from pipeline.self_clean.defects import family
from pipeline.self_clean.fitting import Taught, features, fit_weights, make_taught
from pipeline.self_clean.signals import SIGNALS
from tests.benchmarks.signals_worth import Split, looks, read_rows, split

LOSS = 0.02
ASKED = ("shuffled_words", "mojibake", "ocr", "babble_mixed", "babble_source", "boilerplate")  # by language
Scorer = Callable[[str, Floats], Floats]  # language, features (documents, 4 x signals) -> scores (documents)
Way = Callable[[Taught, str], Scorer]  # what is learnt from, and the kind that it must not see


def shared(taught: Taught, kind: str) -> Scorer:
    """Weigh all languages and kinds alike, as the score does."""
    weights = fit_weights(taught, kind)
    return lambda _, rows: combine.score(rows, weights)


def by_language(taught: Taught, kind: str) -> Scorer:
    """Weigh each language by itself."""
    alone = {name: Taught({name: one}, {name: taught.every[name]}, {}) for name, one in taught.own.items()}
    weights = {name: fit_weights(one, kind) for name, one in alone.items()}
    return lambda name, rows: combine.score(rows, weights[name])


def _by_kind(taught: Taught, kind: str) -> Scorer:
    """Return what scores documents by weights of each other kind (kinds, documents)."""
    seen = {name for one in taught.own.values() for name in one.kind.tolist()}
    weights = [fit_weights(_only(taught, other)) for other in sorted(seen - {CLEAN, *family(kind)})]
    return lambda _, rows: np.stack([combine.score(rows, each) for each in weights])


def _only(taught: Taught, kind: str) -> Taught:
    """Return undamaged documents and those of one kind."""
    use = {name: np.isin(one.kind, [CLEAN, kind]) for name, one in taught.own.items()}
    own = {name: one.take(use[name]) for name, one in taught.own.items()}
    return Taught(own, {name: rows[use[name]] for name, rows in taught.every.items()}, {})


def odds_of_kinds(taught: Taught, kind: str) -> Scorer:
    """Add up the odds of each kind of damage, by weights of its own."""
    scores = _by_kind(taught, kind)
    return lambda name, rows: np.asarray(np.logaddexp.reduce(scores(name, rows), axis=0))


def likest_kind(taught: Taught, kind: str) -> Scorer:
    """Take the kind of damage that a document is most like, by weights of its own."""
    scores = _by_kind(taught, kind)
    return lambda name, rows: np.asarray(scores(name, rows).max(axis=0))


def distance(taught: Taught, _: str) -> Scorer:
    """Take the distance from undamaged documents of the language (Mahalanobis 1936), and learn from no damage.

    Variances are raised as those that residuals are made of.
    """
    usual = {}
    for name, one in taught.own.items():
        z = _signed(taught.every[name][one.kind == CLEAN])
        usual[name] = np.median(z, axis=0), np.linalg.inv(np.cov(z.T) + combine.SHRINKAGE * np.eye(z.shape[1]))

    def score(name: str, rows: Floats) -> Floats:
        off = _signed(rows) - usual[name][0]
        return np.asarray((off @ usual[name][1] * off).sum(axis=1))

    return score


def _signed(rows: Floats) -> Floats:
    """Return z (documents, signals), without the residuals, from features."""
    above, below = np.split(rows, 2, axis=1)
    return (above - below)[:, : len(SIGNALS)]


WAYS: dict[str, Way] = {
    "all kinds and languages, one weight": shared,
    "each language by itself": by_language,
    "each kind by itself: odds added up": odds_of_kinds,
    "each kind by itself: the likest": likest_kind,
    "distance from what is usual": distance,
}


@dataclass(frozen=True, slots=True)
class Found:
    """How well a kind of damage is found in a language."""

    auc: Floats  # (1 + resamples)
    recall: Floats  # (1 + resamples), the cut taken as given
    documents: int


def found(given: Split, way: Way) -> dict[tuple[str, str], Found]:
    """Return how well a way finds each kind in each language, the mean of the parts."""
    cells: dict[tuple[str, str], list[Found]] = {}
    for kind, taught, where in looks(given, range(len(SIGNALS))):
        score = way(taught, kind)
        for name, looked in where.items():
            own = partial(score, name)
            recall = share_above(own(looked.bad), cut_at_loss(own(looked.good), LOSS), looked.bad_drawn)
            one = Found(looked.auc(own), np.nan_to_num(recall), len(looked.bad))
            cells.setdefault((kind, name), []).append(one)
    return {key: _mean(some) for key, some in cells.items()}


def _mean(some: list[Found]) -> Found:
    counts = [one.documents for one in some]
    draws, recall = (
        np.average(of, axis=0, weights=counts) for of in zip(*((f.auc, f.recall) for f in some), strict=True)
    )
    return Found(draws, recall, sum(counts))


def overall(cells: Mapping[tuple[str, str], Found]) -> tuple[Floats, Floats]:
    """Return AUC and recall (1 + resamples), the mean over kinds of the mean over languages."""
    kinds = sorted({kind for kind, _ in cells})
    by_kind = [[one for (kind, _), one in cells.items() if kind == asked] for asked in kinds]
    auc, recall = (
        np.mean([np.mean([getattr(one, what) for one in some], axis=0) for some in by_kind], axis=0)
        for what in ("auc", "recall")
    )
    return auc, recall


def agreement(given: Split, way: Way) -> tuple[float, str]:
    """Return the least rank correlation of two judges' verdicts of undamaged anchors of a fold, and its language."""
    score = way(make_taught(given.rows), "")
    least = []
    for name, one in given.rows.items():
        clean = one.take(~one.damaged)
        verdicts = score(name, features(one, len(SIGNALS))[~one.damaged])
        first, second = (verdicts[clean.judge == judge] for judge in (0, 1))
        fold = clean.fold[clean.judge == 0]
        told = [combine.spearman(first[fold == number], second[fold == number]) for number in np.unique(fold)]
        least.append((float(np.mean(told)), name))
    return min(least)


def main() -> None:
    """Learn, look, compare and print."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--run", type=Path, required=True, help="output folder of a finished run with its stages")
    given = split(read_rows(line.parse_args().run))
    ways = {name: found(given, way) for name, way in WAYS.items()}
    documents = sum(len(set(one.id)) for one in given.rows.values())
    base = overall(next(iter(ways.values())))
    table = Table(title="all kinds and languages", title_justify="left")
    table.add_column("verdict")
    for head in ("AUC", "more than the first", f"recall at {LOSS:.0%} loss", "more than the first", "least agreement"):
        table.add_column(head, justify="right")
    for name, cells in ways.items():
        figures = []
        for draws, first in zip(overall(cells), base, strict=True):
            figures += [three(draws[0]), interval(difference(draws - first, documents).as_list(), "+")]
        value, language = agreement(given, WAYS[name])
        table.add_row(name, *figures, f"{three(value)} ({language})")
    Console(width=160).print(table)
    table = Table(title="AUC / recall, in the order above", title_justify="left")
    table.add_column("damage")
    for name in WAYS:
        table.add_column(name, justify="right")
    for key in sorted(key for key in next(iter(ways.values())) if key[0] in ASKED):
        shown = [f"{three(way[key].auc[0])} / {three(way[key].recall[0])}" for way in ways.values()]
        table.add_row(f"{key[0].replace('_', ' ')}, {key[1]}", *shown)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()

"""Other ways to make one verdict of the same signals: how well each finds damage that it never saw.

    python -m tests.benchmarks.combinations --run OUT            a finished run with its stages

Of the run's measured anchors, split as signals_worth.py splits them, every way learns from four parts, without a kind
of damage and its family, and looks for that kind in the fifth. AUC, and recall at a cut that costs LOSS of the
undamaged, are means over parts by damaged documents, then over languages, then over kinds. Differences to the first
way, which ships, are paired, with 95 % intervals from a bootstrap over documents.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.evaluation.resampling import Floats, auc, cut_at_loss, difference
from pipeline.evaluation.shown import interval, three
from pipeline.self_clean import combine
from pipeline.self_clean.anchors import CLEAN
from pipeline.self_clean.defects import family
from pipeline.self_clean.fitting import Taught, features, fit_weights
from pipeline.self_clean.signals import SIGNALS
from tests.benchmarks.signals_worth import PARTS, Split, read_rows, split

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
    weights = {name: fit_weights(Taught({name: one}, {name: taught.every[name]}, {}), kind)
               for name, one in taught.own.items()}  # fmt: skip
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
    """Take the distance from undamaged documents of the language (Mahalanobis 1936), and learn from no damage."""
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
    recall: float
    documents: int


def found(given: Split, way: Way) -> dict[tuple[str, str], Found]:
    """Return how well a way finds each kind in each language, the mean of the parts."""
    rows = {name: features(one, len(SIGNALS))[one.own] for name, one in given.rows.items()}
    own = {name: one.take(one.own) for name, one in given.rows.items()}
    cells: dict[tuple[str, str], list[Found]] = {}
    for part in range(PARTS):
        asked = {name: given.part[name][given.rows[name].own] == part for name in own}
        known = {name: one.take(~asked[name]) for name, one in own.items()}
        taught = Taught(known, {name: rows[name][~asked[name]] for name in own}, {})
        for kind in sorted({name for one in own.values() for name in one.kind[one.damaged].tolist()}):
            score = way(taught, kind)
            for name, one in own.items():
                good, bad = asked[name] & ~one.damaged, asked[name] & (one.kind == kind)
                if bad.any():
                    above, below = score(name, rows[name][bad]), score(name, rows[name][good])
                    drawn = given.weights[name][:, given.rows[name].own]
                    draws = np.nan_to_num(auc(below, above, drawn[:, good], drawn[:, bad]), nan=0.5)
                    recall = float((above >= cut_at_loss(below, LOSS)).mean())
                    cells.setdefault((kind, name), []).append(Found(draws, recall, int(bad.sum())))
    return {key: _mean(some) for key, some in cells.items()}


def _mean(some: list[Found]) -> Found:
    counts = [one.documents for one in some]
    draws = np.average([one.auc for one in some], axis=0, weights=counts)
    return Found(draws, float(np.average([one.recall for one in some], weights=counts)), sum(counts))


def overall(cells: dict[tuple[str, str], Found]) -> tuple[Floats, float]:
    """Return AUC (1 + resamples) and recall, the mean over kinds of the mean over languages."""
    kinds = sorted({kind for kind, _ in cells})
    by_kind = [[one for (kind, _), one in cells.items() if kind == asked] for asked in kinds]
    draws = np.mean([np.mean([one.auc for one in some], axis=0) for some in by_kind], axis=0)
    return draws, float(np.mean([np.mean([one.recall for one in some]) for some in by_kind]))


def main() -> None:
    """Learn, look, compare and print."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--run", type=Path, required=True, help="output folder of a finished run with its stages")
    given = split(read_rows(line.parse_args().run))
    ways = {name: found(given, way) for name, way in WAYS.items()}
    documents = sum(len(set(one.id)) for one in given.rows.values())
    base, _ = overall(next(iter(ways.values())))
    table = Table(title="all kinds and languages", title_justify="left")
    for head in ("verdict", "AUC", "more than the first", f"recall at {LOSS:.0%} loss"):
        table.add_column(head, justify="left" if head == "verdict" else "right", no_wrap=True)
    for name, cells in ways.items():
        draws, recall = overall(cells)
        table.add_row(
            name, three(draws[0]), interval(difference(draws - base, documents).as_list(), "+"), three(recall)
        )
    Console(width=120).print(table)
    table = Table(title="AUC / recall, in the order above", title_justify="left")
    table.add_column("damage")
    for name in WAYS:
        table.add_column(name, justify="right")
    for key in sorted(key for key in next(iter(ways.values())) if key[0] in ASKED):
        figures = [f"{three(way[key].auc[0])} / {three(way[key].recall)}" for way in ways.values()]
        table.add_row(f"{key[0].replace('_', ' ')}, {key[1]}", *figures)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()

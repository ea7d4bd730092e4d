"""What groups of signals are worth: how well damage is found with them and without, out of sample.

    python -m tests.benchmarks.signals_worth --run OUT            a finished run with its stages
    python -m tests.benchmarks.signals_worth --run OUT --without slope loss_deviation

The run's measured anchors, undamaged and damaged, are split in five by document; weights come from four parts, those
of a kind of damage from the other kinds, and the fifth part is judged; scales never come from what they measure. AUC is
the mean over parts and languages by damaged documents; differences are paired, with 95 % intervals from a bootstrap
over documents.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.evaluation.finished import read_finished
from pipeline.evaluation.resampling import Floats, auc, difference, draw_weights
from pipeline.evaluation.shown import interval, three
from pipeline.self_clean import combine
from pipeline.self_clean.anchors import Measured
from pipeline.self_clean.fitting import Taught, features, fit_weights
from pipeline.self_clean.signals import LEARNT, SIGNALS

PARTS = 5
SEED = 1
GROUPS = (("reject_unigrams", "reject_trigrams"), LEARNT)
ALL = "all kinds"
Rows = dict[str, Measured]  # by language


@dataclass(frozen=True, slots=True)
class Split:
    """Anchors of all languages in one order, their parts and the draws of the bootstrap."""

    rows: Rows
    part: dict[str, np.ndarray]  # by language
    weights: dict[str, Floats]  # by language: (1 + resamples, rows)


def split(rows: Rows) -> Split:
    """Return anchors with their part by a hash of the document, the same damaged or not."""
    part = {
        name: np.array([blake2b(id_.encode(), digest_size=2).digest()[0] % PARTS for id_ in one.id])
        for name, one in rows.items()
    }
    return Split(rows, part, {name: draw_weights(one.id, SEED) for name, one in rows.items()})


@dataclass(frozen=True, slots=True)
class Looked:
    """Where a kind of damage is looked for in a language: features of undamaged and damaged text, and their draws."""

    good: Floats  # (documents, features)
    bad: Floats
    good_drawn: Floats  # (1 + resamples, documents)
    bad_drawn: Floats

    def auc(self, score: Callable[[Floats], Floats]) -> Floats:
        """Return the AUC (1 + resamples) of a score of features; a half where a draw holds no document."""
        found = auc(score(self.good), score(self.bad), self.good_drawn, self.bad_drawn)
        return np.nan_to_num(found, nan=0.5)


def looks(given: Split, columns: Sequence[int]) -> Iterator[tuple[str, Taught, dict[str, Looked]]]:
    """Yield each kind of damage in each part: what is learnt from, and where it is looked for, by language."""
    some = {name: replace(one, signals=one.signals[:, columns]) for name, one in given.rows.items()}
    rows = {name: features(one, len(columns))[one.own] for name, one in some.items()}
    own = {name: one.take(one.own) for name, one in some.items()}
    drawn = {name: given.weights[name][:, given.rows[name].own] for name in own}
    for part in range(PARTS):
        asked = {name: given.part[name][given.rows[name].own] == part for name in own}
        known = {name: one.take(~asked[name]) for name, one in own.items()}
        taught = Taught(known, {name: rows[name][~asked[name]] for name in own}, {})
        for kind in _kinds(own):
            where = {}
            for name, one in own.items():
                good, bad = asked[name] & ~one.damaged, asked[name] & (one.kind == kind)
                if bad.any():
                    where[name] = Looked(rows[name][good], rows[name][bad], drawn[name][:, good], drawn[name][:, bad])
            yield kind, taught, where


def found(given: Split, columns: Sequence[int]) -> dict[str, Floats]:
    """Return the AUC of each kind and of all (1 + resamples) by the signals of some columns."""
    sums: dict[str, Floats] = {}
    count: dict[str, int] = {}
    for kind, taught, where in looks(given, columns):
        score = partial(combine.score, weights=fit_weights(taught, kind))
        for looked in where.values():
            sums[kind] = sums.get(kind, 0) + len(looked.bad) * looked.auc(score)
            count[kind] = count.get(kind, 0) + len(looked.bad)
    by_kind = {kind: sums[kind] / count[kind] for kind in sorted(sums)}
    return {**by_kind, ALL: np.mean(list(by_kind.values()), axis=0)}


def _kinds(rows: Rows) -> list[str]:
    return sorted({kind for one in rows.values() for kind in one.kind[one.damaged].tolist()})


def read_rows(output: Path) -> Rows:
    """Return the measured anchors of a finished run's last round, of every language that it judged."""
    run = read_finished(str(output))
    if run.measured:
        return run.measured
    raise SystemExit(f"{output} holds no measured anchors: run with [output] keep_stages = true")


def main() -> None:
    """Fit, compare and print."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--run", type=Path, required=True, help="output folder of a finished run with its stages")
    line.add_argument("--without", nargs="+", choices=SIGNALS, action="append", help="a group of signals to leave out")
    asked = line.parse_args()
    given = split(read_rows(asked.run))
    every, anchors = found(given, range(len(SIGNALS))), sum(len(set(one.id)) for one in given.rows.values())
    for group in asked.without or GROUPS:
        rest = found(given, [number for number, name in enumerate(SIGNALS) if name not in group])
        table = Table(title=f"what {', '.join(group)} add", title_justify="left")
        for name in ("damage", "AUC without", "AUC with", "difference"):
            table.add_column(name, justify="left" if name == "damage" else "right", no_wrap=True)
        for kind in every:
            more = difference(every[kind] - rest[kind], anchors).as_list()
            table.add_row(kind.replace("_", " "), three(rest[kind][0]), three(every[kind][0]), interval(more, "+"))
        Console(width=120).print(table)


if __name__ == "__main__":
    main()

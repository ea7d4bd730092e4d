"""What the cascade rejects of what full scoring would reject with the same judges, and the other way round.

    python -m tests.benchmarks.cascade --run OUT         a finished run with its stages

Judges, anchors, score and how far a document is read are the same in both; in full every document is. It is asked about
all documents that the cascade read, read again here, and of those that it did not about a sample: of the next ones of
each stratum, as many again as were read, and of all others; each counts for those that it stands for. Full cuts are
chosen as a run's are, from these scores; sources move them as the run's did. Intervals are 95 %, from a bootstrap over
documents.

A bootstrap takes a part of which nothing drawn is rejected for one that holds nothing to reject. So the low end of
"full, also cascade" counts 3/n of such a part's documents, n of them drawn, as rejects that the cascade did not find:
the upper 95 % bound of a share of which n draws show none (the rule of three: Hanley and Lippman-Hand 1983, "If nothing
goes wrong, is everything all right?").
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from pipeline.evaluation.finished import Finished, read_finished
from pipeline.evaluation.resampling import TAIL, Floats, draw_weights, share_above
from pipeline.evaluation.shown import interval
from pipeline.self_clean.cuts import choose_cuts
from pipeline.self_clean.excerpt import excerpts
from pipeline.self_clean.judges import by_ngrams, by_transnormer
from pipeline.self_clean.measure import strata
from pipeline.self_clean.scores import BIN, GRID, judge_all
from pipeline.self_clean.scoring import QUANTUM
from pipeline.self_clean.signals import SIGNALS

SEED = 1
BATCH = 64
NONE_SEEN = 3.0  # of n draws: the share may yet be 3/n (Hanley and Lippman-Hand 1983)
READ, NEXT, OTHERS = range(3)


def stages(output: Path) -> dict[str, Path]:
    """Return the folders of a run's stages by name."""
    prints = orjson.loads((output / "run.json").read_bytes())["fingerprints"]
    return {name: output / "stages" / name / print_ for name, print_ in prints.items()}


def judged_documents(output: Path, number: int) -> pa.Table:
    """Return what a round found of every judged document, with its text, language and verdict."""
    at = stages(output)
    of_round = f"self_clean.round-{number}."
    tables = []
    for path in sorted((at[of_round + "score"] / "scores").glob("*.parquet")):
        table = pq.read_table(path)
        own = pq.read_table(at["ingest"] / "documents" / path.name, columns=["id", "language", "text"])
        sidecar = pq.read_table(next(at[of_round + "verdicts"].rglob(path.name)), columns=["rejected"])
        surrogate = pq.read_table(at[of_round + "measure"] / "measures" / path.name, columns=["surrogate"])
        for part in (own, sidecar, surrogate):
            for name in part.column_names:
                table = table.append_column(name, part[name])
        tables.append(table.filter(table["judged"]))
    return pa.concat_tables(tables)


def groups(scored: Floats, stratum: list[str], surrogate: Floats) -> Any:
    """Return READ, NEXT or OTHERS for each document: in a stratum as many come next as were read."""
    names = np.array(stratum)
    group = np.full(len(names), OTHERS)
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        read = scored[rows].astype(bool)
        unread = rows[~read][np.argsort(-surrogate[rows[~read]], kind="stable")]
        group[rows[read]] = READ
        group[unread[: read.sum()]] = NEXT
    return group


@dataclass(frozen=True, slots=True)
class Sample:
    """Documents with their full scores."""

    rows: Any  # (sample): of all judged documents
    stands_for: Floats  # (sample): how many documents
    score: Floats  # (sample): full, less the source's shift


def draw(table: pa.Table, group: Any, counts: Mapping[int, int], run: Finished) -> Sample:
    """Return all documents that the cascade read, and so many of each other group, all of them read here."""
    random = np.random.default_rng(SEED)
    chosen, stands = [np.flatnonzero(group == READ)], [np.ones(int((group == READ).sum()))]
    for which, count in counts.items():
        there = np.flatnonzero(group == which)
        taken = np.sort(random.permutation(there)[:count])
        chosen.append(taken)
        stands.append(np.full(len(taken), len(there) / max(1, len(taken))))
    rows = np.concatenate(chosen)
    score = read_here(table.take(pa.array(rows)), run)
    return Sample(rows, np.concatenate(stands), score - table["shift"].to_numpy()[rows])


def read_here(table: pa.Table, run: Finished) -> Floats:
    """Return the scores (documents) of documents that the judges of their folds read now, as full scoring does."""
    judge = table["judge"].to_numpy().astype(np.int64)
    texts, languages = table["text"].to_pylist(), table["language"].to_pylist()
    score = np.zeros(len(table))
    for number in range(len(run.judges.weights)):
        mine = np.flatnonzero(judge == number)
        for rows in np.split(mine, range(BATCH, len(mine), BATCH)):
            names = [languages[row] for row in rows.tolist()]
            found = excerpts([texts[row] for row in rows.tolist()], run.judges.load_tokenizer())
            cheap = by_ngrams(run.judges, number, found, names)
            reading = by_transnormer(run.judges, number, found, cheap)
            signals = np.concatenate([cheap, reading.signals], axis=1)
            at = SIGNALS.index("bits_per_byte")
            signals[:, at] = np.round(signals[:, at] * GRID) / GRID
            score[rows] = judge_all(signals, found.size, found.whole, judge[rows], names, run.score)[0]
    return score


def full_cuts(sample: Sample, stratum: list[str], run: Finished) -> dict[str, int]:
    """Return the cuts that a run would choose from full scores, in quanta."""
    found: dict[str, Any] = {}
    bins = np.round(sample.score / QUANTUM).astype(np.int64) // BIN
    for name, bin_, weight in zip(stratum, bins.tolist(), sample.stands_for.tolist(), strict=True):
        cell = found.setdefault(name, {"judged": 0.0, "bins": {}})
        cell["judged"] += weight
        cell["bins"][str(bin_)] = cell["bins"].get(str(bin_), 0.0) + weight
    return choose_cuts(found, run.score.languages, run.config.self_clean)


def _also(verdicts: Any, weights: Floats) -> list[float | None]:
    """Return the share of documents that are rejected, and its interval."""
    return _percentiles(share_above(verdicts.astype(np.float64), 1, weights))


def _percentiles(draws: Floats) -> list[float | None]:
    """Return the first draw and the interval of the others; what nobody saw is added to it by `recall`."""
    told = draws[~np.isnan(draws)]
    if np.isnan(draws[0]) or len(told) < 2:
        return [None, None, None]
    return [round(float(x), 4) for x in (draws[0], *np.quantile(told[1:], [TAIL, 1 - TAIL]))]


def unseen(rejected: Sequence[int], drawn: Sequence[int], there: Sequence[int]) -> float:
    """Return how many documents full cuts may yet reject in the parts of which they reject none that was drawn."""
    parts = zip(rejected, drawn, there, strict=True)
    return sum(min(size, NONE_SEEN / max(1, n) * size) for hits, n, size in parts if not hits and n < size)


def recall(cascade: Any, weights: Floats, missed: float) -> list[float | None]:
    """Return the share of what full cuts reject (documents) that the cascade does; `missed` more are in the low end."""
    found = _also(cascade, weights)
    if missed and weights.shape[1]:
        found[1] = _percentiles(weights @ cascade / (weights.sum(1) + missed))[1]
    return found


def row(own: Any, full: Any, cascade: Any, group: Any, weights: Floats, there: Sequence[int]) -> list[str]:
    """Return the figures of some documents of the sample (sample): weights (1 + resamples, sample).

    `there` is how many documents each group has of them.
    """
    parts = [own & (group == which) for which in (READ, NEXT, OTHERS)]
    places = [f"{float(weights[0, part & full].sum()):,.0f}" for part in parts]
    missed = unseen([int((part & full).sum()) for part in parts], [int(part.sum()) for part in parts], there)
    return [
        f"{int((own & (group == READ)).sum()):,}",
        f"{int((own & (group != READ)).sum()):,}",
        f"{float(weights[0, own & full].sum()):,.0f} = {' + '.join(places)}",
        f"{int((own & cascade).sum()):,}",
        f"{missed:,.0f}",
        interval(recall(cascade[own & full], weights[:, own & full], missed)),
        interval(_also(full[own & cascade], weights[:, own & cascade])),
    ]


def main() -> None:
    """Draw, read, compare and print."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--run", type=Path, required=True, help="output folder of a finished run with its stages")
    line.add_argument("--documents", type=int, default=400, help="of the next ones to read")
    line.add_argument("--others", type=int, default=2000, help="of all others to read: they stand for most of a corpus")
    asked = line.parse_args()
    run = read_finished(str(asked.run))
    table = judged_documents(asked.run, run.round)
    table = table.filter(pc.is_in(table["language"], value_set=pa.array(sorted(run.score.languages))))
    every = strata(table["language"].to_pylist(), table["bytes"].to_numpy())
    group = groups(table["scored"].to_numpy(), every, table["surrogate"].to_numpy().astype(np.float64))
    sample = draw(table, group, {NEXT: asked.documents, OTHERS: asked.others}, run)
    taken = table.take(pa.array(sample.rows))
    stratum = [every[row] for row in sample.rows.tolist()]
    cut, never = full_cuts(sample, stratum, run), np.iinfo(np.int64).max
    full = np.round(sample.score / QUANTUM).astype(np.int64) >= np.array([cut.get(name, never) for name in stratum])
    cascade = taken["rejected"].to_numpy().astype(bool)
    weights = draw_weights(taken["id"].to_pylist(), SEED) * sample.stands_for
    languages, all_languages = (np.array(one["language"].to_pylist()) for one in (taken, table))
    agreed = ", ".join(f"{name} {one.agreement:.2f}" for name, one in run.score.languages.items())
    shown = Table(title=f"{len(table):,} judged documents; agreement: {agreed}", title_justify="left")
    shown.caption = "may be missed: 3/n of each part of which full cuts reject none of n drawn; in the low end beside"
    columns = ["read", "read here", "full rejects: of read + next + others", "cascade", "may be missed"]
    for name in ("language", *columns, "full, also cascade", "cascade, also full"):
        shown.add_column(name, justify="left" if name == "language" else "right", no_wrap=True)
    for name in ("all", *run.score.languages):
        own, all_own = ((there == name) | (name == "all") for there in (languages, all_languages))
        there = [int((all_own & (group == which)).sum()) for which in (READ, NEXT, OTHERS)]
        shown.add_row(name, *row(own, full, cascade, group[sample.rows], weights, there))
    Console(width=150).print(shown)


if __name__ == "__main__":
    main()

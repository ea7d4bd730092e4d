"""Measuring: what the n-gram judge of the other folds thinks of every document, and how deep the TransNormer will read.

The surrogate ranks the documents of each stratum, a language and a length class. The TransNormer reads those it finds
worst, as deep as its budget of tokens goes, the same share of every stratum; what it does not read is not rejected. The
budget grows with the corpus: of one of any size it reads the same share, but all of one that is small.
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
from pipeline.needs import Needs, beyond
from pipeline.self_clean import combine
from pipeline.self_clean.evaluators import Corpus
from pipeline.self_clean.excerpt import excerpts, select
from pipeline.self_clean.folds import read_folds
from pipeline.self_clean.judges import Judges, by_ngrams
from pipeline.self_clean.scoring import QUANTUM, Score, length_class, load_score, on_grid, sides
from pipeline.self_clean.signals import CHEAP, Floats, Ints
from pipeline.shards import DocumentShard
from pipeline.storage import join
from pipeline.summary import Summary, merge
from pipeline.tally import text_bytes
from pipeline.verdicts import read_kept

VERSION = 3
BIN = 50  # quanta of a score in a bin of the surrogate's histogram
FARTHEST = 400  # bins from 0: what lies farther counts there for its source, so that bins are fewer than summaries name

MEASURES = pa.schema(
    [
        ("present", pa.bool_()),  # it entered stage 4
        ("judged", pa.bool_()),
        ("judge", pa.int8()),
        ("bytes", pa.int64()),
        ("scored_bytes", pa.int64()),
        ("surrogate", pa.float64()),
        *[(name, pa.float32()) for name in CHEAP],
    ]
)


@dataclass(frozen=True, slots=True)
class MeasureShard:
    """Work on one document shard."""

    folder: str
    corpus: Corpus
    judges: Judges
    score: str  # folder

    @property
    def needs(self) -> Needs:
        """Memory for the judges."""
        return beyond(self.judges.memory)

    def __call__(self, shard: DocumentShard) -> dict[str, Any]:
        """Write a row of measures for each row of the shard; return the record."""
        folds, score = read_folds(self.corpus.folds, shard), load_score(self.score)
        tables, summaries = [], []
        size = 0
        for rows, documents in read_kept(shard, self.corpus.verdicts, ("language", "source", "text")):
            table, tokens = self._measure(documents, folds[rows], score)
            summaries.append(_summary(table, tokens, documents))
            tables.append(table.append_column("row", pa.array(rows)))
            size += text_bytes(documents)
        spread = spread_rows(tables, shard.rows, MEASURES)
        write_table(measures_path(self.folder, shard), spread)
        summary = merge(summaries)
        judged = sum(table["judged"].to_numpy().sum() for table in tables)
        return {"documents": sum(map(len, tables)), "judged": int(judged), "bytes": size, "summary": summary}

    def _measure(self, documents: pa.Table, folds: Ints, score: Score) -> tuple[pa.Table, Ints]:
        """Return MEASURES of documents, and the tokens of their excerpts (documents), 0 where nobody judges."""
        languages = documents["language"].to_pylist()
        texts = documents["text"].to_pylist()
        judged = np.array([name in score.languages for name in languages], bool)
        found = excerpts(
            [text for text, use in zip(texts, judged.tolist(), strict=True) if use],
            self.judges.load_tokenizer(),
        )
        names = np.array(languages, np.str_)[judged]
        cheap, surrogate = self._cheap(found, names, folds[judged], score)
        lengths = np.bincount(found.owner, [len(window) for window in found.windows], len(names)).astype(np.int64)
        there = ~np.isnan(surrogate)
        where = np.flatnonzero(judged)
        tokens = np.zeros(len(texts), np.int64)
        tokens[where] = lengths
        values = {name: _placed(where, cheap[:, n], len(texts)) for n, name in enumerate(CHEAP)}
        judged[where] = there
        table = pa.table(
            {
                "present": np.ones(len(texts), bool),
                "judged": judged,
                "judge": folds,
                "bytes": np.array([len(text.encode()) for text in texts], np.int64),
                "scored_bytes": _placed(where, found.size.astype(np.float64), len(texts)),
                "surrogate": _placed(where, surrogate, len(texts)),
                **values,
            }
        )
        return conform(table, MEASURES), tokens

    def _cheap(self, found: Any, names: npt.NDArray[np.str_], folds: Ints, score: Score) -> tuple[Floats, Floats]:
        """Return the signals CHEAP (documents, signals) of judged documents, and their surrogate scores (documents)."""
        cheap = np.full((len(names), len(CHEAP)), np.nan)
        surrogate = np.full(len(names), np.nan)
        for judge in range(len(self.judges.counts)):
            mine = folds == judge
            values = by_ngrams(self.judges, judge, select(found, mine), names[mine].tolist())
            cheap[mine] = values.astype(np.float32)
        for name in np.unique(names).tolist():
            for judge, scale in enumerate(score.languages[name].cheap):
                rows = np.flatnonzero((names == name) & (folds == judge) & ~np.isnan(cheap[:, 0]))
                features = sides(cheap[rows], found.size[rows], found.whole[rows], scale)
                surrogate[rows] = on_grid(combine.score(features, score.surrogate[judge]) / QUANTUM)
        return cheap, surrogate


def _placed(where: Ints, values: Floats, count: int) -> pa.Array:
    """Return values at their places, null elsewhere and where they are NaN."""
    out = np.full(count, np.nan)
    out[where] = values
    return pa.array(out, from_pandas=True)


def spread_rows(tables: list[pa.Table], rows: int, wanted: pa.Schema) -> pa.Table:
    """Return one row a document of the shard from tables with a column `row`; null, or false, where there is none."""
    if not sum(map(len, tables)):
        falses = {field.name: np.zeros(rows, bool) for field in wanted if field.type == pa.bool_()}
        return conform(pa.table(falses), wanted)
    table = pa.concat_tables(tables)
    where = np.full(rows, -1)
    where[table["row"].to_numpy()] = np.arange(len(table))
    spread = table.drop_columns(["row"]).take(pa.array(where, mask=where < 0))
    for number, field in enumerate(spread.schema):
        if field.type == pa.bool_():
            spread = spread.set_column(number, field.name, spread[field.name].fill_null(False))
    return spread


def measures_path(folder: str, shard: DocumentShard) -> str:
    """Return where the measures of a shard are."""
    return join(folder, "measures", shard.name + ".parquet")


def strata(languages: list[str], sizes: Ints) -> list[str]:
    """Return the stratum of each document: its language and its length class."""
    return [f"{name} {number}" for name, number in zip(languages, length_class(sizes).tolist(), strict=True)]


def surrogate_bins(values: Floats) -> Ints:
    """Return the bin of each surrogate score."""
    return np.asarray(np.floor_divide(np.round(values / QUANTUM), BIN).astype(np.int64))


def _summary(table: pa.Table, tokens: Ints, documents: pa.Table) -> Summary:
    """Return the surrogate's histograms: documents and tokens by stratum, documents by language and source."""
    judged = table["judged"].to_numpy(zero_copy_only=False)
    names, sources = documents["language"].to_pylist(), documents["source"].to_pylist()
    stratum = strata(names, table["bytes"].to_numpy())
    bins = surrogate_bins(np.nan_to_num(table["surrogate"].to_numpy()))
    by_stratum: Summary = {}
    by_source: Summary = {}
    not_judged: Summary = {}
    for row, hit in enumerate(judged.tolist()):
        if not hit:
            not_judged[names[row]] = not_judged.get(names[row], 0) + 1
            continue
        key = str(bins[row])
        cell = by_stratum.setdefault(stratum[row], {"documents": {}, "tokens": {}})
        cell["documents"][key] = cell["documents"].get(key, 0) + 1
        cell["tokens"][key] = cell["tokens"].get(key, 0) + int(tokens[row])
        place = by_source.setdefault(f"{names[row]} {sources[row]}", {"documents": 0, "bins": {}})
        place["documents"] += 1
        near = str(min(max(bins[row], -FARTHEST), FARTHEST))
        place["bins"][near] = place["bins"].get(near, 0) + 1
    return {"strata": by_stratum, "sources": by_source, "not_judged": not_judged}


@dataclass(frozen=True, slots=True)
class Depth:
    """How deep the TransNormer reads."""

    share: float  # of each stratum's documents
    lowest: dict[str, int]  # stratum -> the last bin of the surrogate that is read


def judged_tokens(summary: Mapping[str, Any]) -> int:
    """Return the tokens of all judged documents' excerpts."""
    return sum(sum(cell["tokens"].values()) for cell in summary.get("strata", {}).values())


def token_budget(judged: int, settings: SelfClean) -> int:
    """Return how many of so many judged tokens a TransNormer may read in a cascade: a share, and not too few."""
    return max(settings.score_tokens, round(settings.score_share * judged))


def unread(summary: Mapping[str, Any], depth: Depth, cuts: Mapping[str, int]) -> dict[str, int]:
    """Return by stratum how many documents the surrogate puts above their cut (quanta) that were not read."""
    found = {}
    for name, cut in sorted(cuts.items()):
        last = depth.lowest.get(name, math.inf)
        bins = summary["strata"].get(name, {"documents": {}})["documents"]
        found[name] = sum(n for key, n in bins.items() if int(key) < last and int(key) * BIN >= cut)
    return {name: n for name, n in found.items() if n}


def choose_depth(summary: Mapping[str, Any], budget: int, *, full: bool) -> Depth:
    """Return the largest share of every stratum, worst documents first, that a budget of tokens can read."""
    found = {
        name: sorted(((int(key), n, cell["tokens"][key]) for key, n in cell["documents"].items()), reverse=True)
        for name, cell in sorted(summary.get("strata", {}).items())
    }
    if full:
        return Depth(1.0, {name: bins[-1][0] for name, bins in found.items()})
    low, high = 0.0, 1.0
    if _cost(found, high) <= budget:
        low = high
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if _cost(found, middle) <= budget else (low, middle)
    lowest = {name: _lowest(bins, low) for name, bins in found.items()}
    return Depth(round(low, 4), {name: bin_ for name, bin_ in lowest.items() if bin_ is not None})


def _lowest(bins: list[tuple[int, int, int]], share: float) -> int | None:
    """Return the last bin, from the worst down, within a share of the documents; the one that reaches it counts."""
    wanted, taken, last = share * sum(n for _, n, _ in bins), 0, None
    for key, n, _ in bins:
        if taken >= wanted:
            break
        taken, last = taken + n, key
    return last


def _cost(found: Mapping[str, list[tuple[int, int, int]]], share: float) -> int:
    total = 0
    for bins in found.values():
        lowest = _lowest(bins, share)
        total += sum(tokens for key, _, tokens in bins if lowest is not None and key >= lowest)
    return total


def read_measures(folder: str, shard: DocumentShard) -> pa.Table:
    """Return the measures of a shard, row by row."""
    return read_table(measures_path(folder, shard))

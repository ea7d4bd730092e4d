"""Scores: what the TransNormer of the other folds thinks of the documents it reads, and their final score.

    bits_per_byte = sum over scored tokens of -log2 p / UTF-8 bytes of the scored text, rounded to 1e-4

A document that the TransNormer did not read has the surrogate as its score, and is not rejected.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.document import conform, read_table, write_table
from pipeline.needs import Needs, beyond
from pipeline.self_clean import combine
from pipeline.self_clean.evaluators import Corpus
from pipeline.self_clean.excerpt import excerpts, select
from pipeline.self_clean.judges import Judges, by_transnormer, context_gains
from pipeline.self_clean.measure import BIN as SURROGATE_BIN
from pipeline.self_clean.measure import Depth, read_measures, spread_rows, strata, surrogate_bins
from pipeline.self_clean.scoring import QUANTUM, Language, Score, length_class, load_score, on_grid
from pipeline.self_clean.signals import CHEAP, LEARNT, SIGNALS, Floats, Ints
from pipeline.shards import DocumentShard
from pipeline.summary import Summary, histogram, merge
from pipeline.tally import text_bytes
from pipeline.verdicts import read_kept

VERSION = 4
GRID = 10_000  # bits per byte are rounded to one part of it
BIN = 10  # quanta of a score in a bin of its histogram

SCORES = pa.schema(
    [
        ("present", pa.bool_()),  # it entered stage 4
        ("judged", pa.bool_()),
        ("scored", pa.bool_()),  # the TransNormer read it
        ("judge", pa.int8()),  # fold of its judges
        ("bytes", pa.int64()),
        ("scored_bytes", pa.int64()),
        ("scored_tokens", pa.int64()),
        ("loss", pa.float64()),  # nats per token
        ("bits_per_byte", pa.float64()),
        ("bits_per_byte_z", pa.float64()),
        ("score", pa.float64()),
        ("shift", pa.float64()),  # by which its source moves its cut
        ("mainly", pa.string()),  # the signal that adds most to its score, and the side
        *[(name, pa.float32()) for name in SIGNALS if name != "bits_per_byte"],
        ("context_gain", pa.float32()),
    ]
)


@dataclass(frozen=True, slots=True)
class ScoreShard:
    """Work on one document shard."""

    folder: str
    corpus: Corpus
    judges: Judges
    score: str  # folder
    measures: str  # folder
    depth: Depth
    shifts: dict[str, float]  # "language source" -> how far its cuts lie above those of the language
    context_gain: bool  # measure it, by a second reading

    @property
    def needs(self) -> Needs:
        """Memory for the judges; a TransNormer reads faster on a GPU."""
        return beyond(self.judges.memory, accelerator=True)

    def __call__(self, shard: DocumentShard) -> dict[str, Any]:
        """Write a row of scores for each row of the shard; return the record."""
        measures, score = read_measures(self.measures, shard), load_score(self.score)
        names = read_table(shard.path("documents"), ["language", "source"])
        languages = names["language"].to_pylist()
        places = [f"{name} {source}" for name, source in zip(languages, names["source"].to_pylist(), strict=True)]
        chosen = self._chosen(measures, languages)
        tables, cost, size = [], 0, 0
        if chosen.any():
            for rows, documents in read_kept(shard, self.corpus.verdicts, ("text",)):
                read = documents.filter(pa.array(chosen[rows]))
                table, tokens = self._read(rows[chosen[rows]], read, measures, languages, score)
                tables.append(table)
                cost += tokens
                size += text_bytes(read)
        scores = self._complete(measures, tables, shard.rows, places)
        write_table(score_path(self.folder, shard), scores)
        summary = _summary(scores, languages)
        done = int(scores["present"].to_numpy().sum())
        return {"documents": done, "scored": int(chosen.sum()), "tokens": cost, "bytes": size, "summary": summary}

    def _chosen(self, measures: pa.Table, languages: list[str]) -> Any:
        """Tell which rows the TransNormer reads."""
        judged = measures["judged"].to_numpy()
        stratum = strata(languages, np.nan_to_num(measures["bytes"].to_numpy()).astype(np.int64))
        never = np.iinfo(np.int64).max
        lowest = np.array([self.depth.lowest.get(name, never) for name in stratum], np.int64)
        return judged & (surrogate_bins(np.nan_to_num(measures["surrogate"].to_numpy())) >= lowest)

    def _read(
        self, rows: Ints, documents: pa.Table, measures: pa.Table, languages: list[str], score: Score
    ) -> tuple[pa.Table, int]:
        """Return the learnt signals and scores of documents, and the tokens that went through a TransNormer."""
        found = excerpts(documents["text"].to_pylist(), self.judges.load_tokenizer())
        own = measures.take(pa.array(rows))
        judge = own["judge"].to_numpy().astype(np.int64)
        cheap = np.stack([own[name].to_numpy().astype(np.float64) for name in CHEAP], axis=1)
        signals = np.full((len(rows), len(SIGNALS)), np.nan)
        signals[:, : len(CHEAP)] = cheap
        nats, tokens, cost = np.zeros(len(rows)), np.zeros(len(rows), np.int64), 0
        gains = np.full(len(rows), np.nan)
        for number in range(len(self.judges.weights)):
            mine = judge == number
            if mine.any():
                own_part = select(found, mine)
                reading = by_transnormer(self.judges, number, own_part, cheap[mine])
                if self.context_gain:
                    gains[mine] = context_gains(self.judges, number, own_part, reading)
                signals[mine, len(CHEAP) :] = reading.signals
                nats[mine], tokens[mine] = reading.nats, reading.tokens
                cost += (1 + self.context_gain) * int(reading.tokens.sum())
        at = SIGNALS.index("bits_per_byte")
        signals[:, at] = np.round(signals[:, at] * GRID) / GRID
        names = [languages[row] for row in rows.tolist()]
        total, z, mainly = judge_all(signals, found.size, found.whole, judge, names, score)
        learnt = {name: pa.array(signals[:, len(CHEAP) + n], from_pandas=True) for n, name in enumerate(LEARNT)}
        table = pa.table(
            {
                "row": rows,
                "scored": tokens > 0,
                "scored_tokens": tokens,
                "loss": pa.array(nats / np.where(tokens > 0, tokens, np.nan), from_pandas=True),
                "bits_per_byte_z": z[:, at],
                "read_score": total,
                "mainly": pa.array(mainly, pa.string()),
                "context_gain": pa.array(gains, from_pandas=True),
                **learnt,
            }
        )
        return table, cost

    def _complete(self, measures: pa.Table, tables: list[pa.Table], rows: int, places: list[str]) -> pa.Table:
        """Return SCORES of all rows: what was read, and the surrogate where nothing was."""
        extra = [*[f for f in SCORES if f.name not in measures.column_names], pa.field("read_score", pa.float64())]
        read = spread_rows(tables, rows, pa.schema(extra))
        both = {**{name: read[name] for name in read.column_names}, **{n: measures[n] for n in measures.column_names}}
        scored = np.asarray(read["scored"].to_numpy(zero_copy_only=False), bool)
        surrogate = measures["surrogate"].to_numpy().astype(np.float64)
        score = np.where(scored, read["read_score"].to_numpy().astype(np.float64), surrogate)
        both["score"] = pa.array(on_grid(score / QUANTUM), from_pandas=True)
        both["shift"] = pa.array([self.shifts.get(place, 0.0) for place in places])
        return conform(pa.table(both), SCORES)


def judge_all(
    signals: Floats, size: Ints, whole: Ints, judge: Ints, languages: list[str], score: Score
) -> tuple[Floats, Floats, list[str]]:
    """Return scores (documents), z (documents, signals) and what each score is mainly made of, for SIGNALS."""
    total, z = np.full(len(signals), np.nan), np.full(signals.shape, np.nan)
    mainly = [""] * len(signals)
    names = np.array(languages, np.str_)
    for name in np.unique(names).tolist():
        for number, scale in enumerate(score.languages[name].every):
            rows = np.flatnonzero((names == name) & (judge == number))
            z[rows] = combine.standardised(signals[rows], size[rows], length_class(whole[rows]), scale)
            features = combine.features(z[rows], scale)
            total[rows] = combine.score(features, score.every)
            for row, told in zip(rows.tolist(), combine.mainly(features, score.every, SIGNALS), strict=True):
                mainly[row] = told
    return total, z, mainly


def choose_shifts(
    summary: Mapping[str, Any], languages: Mapping[str, Language], most: float, fewest: int
) -> dict[str, float]:
    """Return how far each large source moves its cuts: towards its own median, by `most` robust deviations at most."""
    if not most:
        return {}
    cells = {name: cell for name, cell in summary.get("sources", {}).items() if " " in name}
    all_bins: dict[str, dict[str, int]] = {}
    for name, cell in cells.items():
        bins = all_bins.setdefault(name.partition(" ")[0], {})
        for key, n in cell["bins"].items():
            bins[key] = bins.get(key, 0) + n
    shifts = {}
    for name, cell in sorted(cells.items()):
        language = name.partition(" ")[0]
        if cell["documents"] < fewest or language not in languages:
            continue
        far = (_median(cell["bins"]) - _median(all_bins[language])) * SURROGATE_BIN * QUANTUM
        bound = most * languages[language].deviation
        shifts[name] = float(on_grid(np.array(math.copysign(min(abs(far), bound), far) / QUANTUM)))
    return shifts


def _median(bins: Mapping[str, int]) -> int:
    total, taken = sum(bins.values()), 0
    for key, n in sorted((int(key), n) for key, n in bins.items()):
        taken += n
        if 2 * taken >= total:
            return key
    return 0


def quanta(scores: pa.Table) -> Ints:
    """Return each row's score as its cut sees it, less its source's shift, in quanta (rows); 0 where there is none."""
    score = np.nan_to_num(scores["score"].to_numpy().astype(np.float64))
    return np.asarray(np.round((score - scores["shift"].to_numpy()) / QUANTUM).astype(np.int64))


def score_path(folder: str, shard: DocumentShard) -> str:
    """Return where the scores of a shard are."""
    return storage.join(folder, "scores", shard.name + ".parquet")


def read_scores(folder: str, shard: DocumentShard) -> pa.Table:
    """Return the scores of a shard, row by row."""
    return read_table(score_path(folder, shard))


def _summary(scores: pa.Table, languages: list[str]) -> Summary:
    """Return by stratum how many are judged and the histogram of what was read."""
    judged, scored = scores["judged"].to_numpy(), scores["scored"].to_numpy()
    stratum = strata(languages, np.nan_to_num(scores["bytes"].to_numpy()).astype(np.int64))
    bins = quanta(scores) // BIN
    cells: Summary = {}
    for row in np.flatnonzero(judged).tolist():
        cell = cells.setdefault(stratum[row], {"judged": 0, "bins": {}})
        cell["judged"] += 1
        if scored[row]:
            key = str(bins[row])
            cell["bins"][key] = cell["bins"].get(key, 0) + 1
    bits = histogram(scores["bits_per_byte"].to_numpy().astype(np.float64))
    values = histogram(scores["score"].to_numpy().astype(np.float64))
    return merge([{"strata": cells, "bits_per_byte": bits, "score": values}])

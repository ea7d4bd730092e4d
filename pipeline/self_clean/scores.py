"""Scores: what the evaluator of the other folds thinks of each document, in bits per byte of the stored text.

    bits_per_byte = sum over scored tokens of -log2 p / UTF-8 bytes of the scored text, rounded to 1e-4

A document over its share of the budget is scored on evenly spaced windows. Every judge also scores the anchor sample,
which none was trained on; their differences there are what makes them comparable.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import storage
from pipeline.document import conform, read_table, write_table
from pipeline.draw import uniform
from pipeline.self_clean.evaluators import Corpus, load_tokenizer
from pipeline.self_clean.folds import read_folds
from pipeline.shards import DocumentShard
from pipeline.summary import Summary, bin_edge, counts, histogram, merge
from pipeline.tally import text_bytes
from pipeline.verdicts import read_kept

VERSION = 1
QUANTUM = 1e-4  # bits per byte; thresholds never see a difference below it
LENGTH_CLASSES = (500, 2000, 8000)  # bytes: the edges between short, medium, long and very long
MIN_WINDOW_BYTES = 32
NOT_SCORED = -1

SCORES = pa.schema(
    [
        ("scored", pa.bool_()),
        ("judge", pa.int8()),  # fold of the evaluator
        ("loss", pa.float64()),  # nats per token
        ("bits_per_byte", pa.float64()),
        ("scored_tokens", pa.int64()),
        ("scored_bytes", pa.int64()),
        ("bytes", pa.int64()),
        ("anchor", pa.list_(pa.float64())),  # bits per byte by every judge; null outside the anchor sample
    ]
)


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of a document is scored."""

    cap_bytes: int  # a larger document is scored on windows that add up to this; 0: all of it
    window_bytes: int
    share: float  # of documents that are scored at all; below 1 when even one window each is too much


def make_budget(sizes: Mapping[str, int], tokens: int, window_tokens: int, bytes_per_token: float) -> Budget:
    """Return the cap at which all documents together cost no more than the budget.

    `sizes` is the histogram of the documents' bytes; a bin counts with its upper edge, so the budget holds.
    """
    edges = sorted((_upper(key), count) for key, count in sizes.items())
    window = max(MIN_WINDOW_BYTES, round(window_tokens * bytes_per_token))
    budget = tokens * bytes_per_token
    if sum(edge * count for edge, count in edges) <= budget:
        return Budget(0, window, 1.0)
    low, high = 0.0, edges[-1][0]
    while high - low > 1:
        middle = (low + high) / 2
        low, high = (middle, high) if _cost(edges, middle) <= budget else (low, middle)
    cap = math.floor(low)
    if cap >= window:
        return Budget(cap, window, 1.0)
    return Budget(window, window, budget / _cost(edges, window))


def _upper(key: str) -> float:
    return bin_edge(str(int(key) + 1)) if int(key) else 1.0


def _cost(edges: Sequence[tuple[float, int]], cap: float) -> float:
    return sum(min(edge, cap) * count for edge, count in edges)


@cache
def _judge(folder: str) -> Any:
    """Load an evaluator once a process."""
    from model.checkpoint import load_model  # torch takes seconds to import
    from model.score import prepare

    return prepare(load_model(folder))


@dataclass(frozen=True, slots=True)
class ScoreShard:
    """Work on one document shard."""

    folder: str
    corpus: Corpus
    evaluators: tuple[str, ...]  # folders, by fold
    budget: Budget

    def __call__(self, shard: DocumentShard) -> dict[str, Any]:
        """Write a row of scores for each row of the shard; return the record."""
        folds = read_folds(self.corpus.folds, shard)
        tables: list[pa.Table] = []
        summaries: list[Summary] = []
        done = size = tokens = 0
        for rows, documents in read_kept(shard, self.corpus.verdicts, ("id", "language", "text")):
            scored, spent = self._score(documents, folds[rows])
            tokens += spent
            tables.append(scored.append_column("row", pa.array(rows)))
            summaries.append(summarise(scored, documents["language"].to_pylist(), len(self.evaluators)))
            done += len(documents)
            size += text_bytes(documents)
        write_table(score_path(self.folder, shard), _spread(tables, shard.rows))
        return {"documents": done, "tokens": tokens, "bytes": size, "summary": merge(summaries)}

    def _score(self, documents: pa.Table, folds: npt.NDArray[np.int64]) -> tuple[pa.Table, int]:
        """Return scores (SCORES) for documents, each by its own judge and the anchor by all, and the tokens of all."""
        texts = documents["text"].to_pylist()
        anchor = self.corpus.anchor(documents)
        draws = uniform(documents["id"].to_pylist(), self.corpus.seed, "score")
        scored = (draws < self.budget.share) | anchor
        excerpts = [self._excerpt(text) if chosen else [] for text, chosen in zip(texts, scored, strict=True)]
        by_judge = [self._by(k, excerpts, scored & ((folds == k) | anchor)) for k in range(len(self.evaluators))]
        own = [by_judge[fold][row] for row, fold in enumerate(folds.tolist())]
        bits = [_bits_per_byte(*value) for value in own]
        every = [
            [_bits_per_byte(*judge[row]) for judge in by_judge] if is_anchor else None
            for row, is_anchor in enumerate(anchor.tolist())
        ]
        size = [len(text.encode()) for text in texts]
        tokens = sum(t for judge in by_judge for _, t, _ in judge)
        table = pa.table(
            {
                "scored": pa.array([b is not None for b in bits]),
                "judge": pa.array(folds, pa.int8()),
                "loss": pa.array([n / t if t else None for n, t, _ in own], pa.float64()),
                "bits_per_byte": pa.array(bits, pa.float64()),
                "scored_tokens": pa.array([t for _, t, _ in own], pa.int64()),
                "scored_bytes": pa.array([b for _, _, b in own], pa.int64()),
                "bytes": pa.array(size, pa.int64()),
                "anchor": pa.array(every, pa.list_(pa.float64())),
            },
            schema=SCORES,
        )
        return table, tokens

    def _excerpt(self, text: str) -> list[str]:
        """Return the parts of a text that are scored: all of it, or evenly spaced windows, measured in characters."""
        size = len(text.encode())
        if not self.budget.cap_bytes or size <= self.budget.cap_bytes:
            return [text]
        window = max(1, self.budget.window_bytes * len(text) // size)
        count = max(1, self.budget.cap_bytes // self.budget.window_bytes)
        from model.score import windows  # torch takes seconds to import

        return [text[start:stop] for start, stop in windows(len(text), window, count)]

    def _by(self, judge: int, excerpts: list[list[str]], wanted: npt.NDArray[np.bool_]) -> list[tuple[float, int, int]]:
        """Return (nats, tokens, bytes) of each document by one judge; zeros where it is not wanted."""
        from model.score import score_texts  # torch takes seconds to import

        tokenizer = load_tokenizer(self.corpus.tokenizer)
        parts = [(row, text) for row in np.flatnonzero(wanted).tolist() for text in excerpts[row]]
        scores = score_texts(_judge(self.evaluators[judge]), [text for _, text in parts], tokenizer.encode)
        totals = [(0.0, 0, 0)] * len(excerpts)
        each = zip(scores.nats.tolist(), scores.tokens.tolist(), scores.bytes.tolist(), strict=True)
        for (row, _), scored in zip(parts, each, strict=True):
            nats, tokens, size = (a + b for a, b in zip(totals[row], scored, strict=True))
            totals[row] = (nats, tokens, size)
        return totals


def _bits_per_byte(nats: float, tokens: int, size: int) -> float | None:
    """Return bits per byte to 1e-4; None where nothing was scored."""
    return round(nats / math.log(2) / size / QUANTUM) * QUANTUM if tokens and size else None


def _spread(tables: list[pa.Table], rows: int) -> pa.Table:
    """Return one row a document of the shard, null where it was not in stage 4."""
    if not sum(map(len, tables)):
        return conform(pa.table({"scored": np.zeros(rows, bool)}), SCORES)
    table = pa.concat_tables(tables)
    where = np.full(rows, -1)
    where[table["row"].to_numpy()] = np.arange(len(table))
    spread = table.drop_columns(["row"]).take(pa.array(where, mask=where < 0))
    scored = pa.array(np.where(where < 0, False, table["scored"].to_numpy()[where]))
    return spread.set_column(0, "scored", scored)


def score_path(folder: str, shard: DocumentShard) -> str:
    """Return where the scores of a shard are."""
    return storage.join(folder, "scores", shard.name + ".parquet")


def read_scores(folder: str, shard: DocumentShard) -> pa.Table:
    """Return the scores of a shard, row by row."""
    return read_table(score_path(folder, shard))


def length_class(sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the number of each document's length class (documents)."""
    return np.searchsorted(LENGTH_CLASSES, sizes, side="right")


def summarise(scored: pa.Table, languages: Sequence[str], judges: int) -> Summary:
    """Return what calibration needs, in whole numbers: moments by language, judge and length class, and the anchor's.

    Bits per byte count in units of 1e-4.
    """
    units = np.round(np.nan_to_num(scored["bits_per_byte"].to_numpy()) / QUANTUM).astype(np.int64)
    there = scored["scored"].to_numpy(zero_copy_only=False)
    cls = length_class(scored["bytes"].to_numpy())
    size = scored["scored_bytes"].to_numpy()
    judge = scored["judge"].to_numpy()
    moments: Summary = {}
    for row in np.flatnonzero(there).tolist():
        cell = moments.setdefault(languages[row], {}).setdefault(str(judge[row]), {}).setdefault(str(cls[row]), {})
        for name, value in (
            ("n", 1),
            ("sum", units[row]),
            ("squares", units[row] ** 2),
            ("inverse", 10**9 // size[row]),
        ):
            cell[name] = cell.get(name, 0) + int(value)
    values = scored["bits_per_byte"].to_numpy()[there]
    return {
        "moments": moments,
        "anchor": _anchor_moments(scored["anchor"].to_pylist(), languages, judges),
        "bits_per_byte": histogram(values),
        "not_scored": counts(name for name, one in zip(languages, there.tolist(), strict=True) if not one),
    }


def _anchor_moments(anchors: Sequence[Any], languages: Sequence[str], judges: int) -> Summary:
    """Return sums and products of the judges' values on the anchor, by language."""
    moments: Summary = {}
    for values, language in zip(anchors, languages, strict=True):
        if values is None or any(v is None for v in values):
            continue
        units = [round(v / QUANTUM) for v in values]
        cell = moments.setdefault(language, {"n": 0})
        cell["n"] += 1
        for a in range(judges):
            cell[f"sum {a}"] = cell.get(f"sum {a}", 0) + units[a]
            for b in range(a, judges):
                cell[f"product {a} {b}"] = cell.get(f"product {a} {b}", 0) + units[a] * units[b]
    return moments

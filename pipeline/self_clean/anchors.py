"""Anchors: documents that no judge was trained on, as they are and damaged on purpose, measured by every judge.

What the undamaged ones have is what a judge's values are compared with; what sets the damaged ones apart is what the
score learns from. An anchor belongs to a fold as any document does, and of look-alikes in its fold the fold's own judge
alone saw none: it measures the anchors of its fold as it will measure documents, and damage is made of anchors of that
fold. What the other judges find in the undamaged ones tells how well judges agree.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.counted import counted
from pipeline.document import read_table, write_table
from pipeline.needs import Needs, beyond
from pipeline.self_clean.defects import DEFECTS, Pool, inject
from pipeline.self_clean.evaluators import Corpus
from pipeline.self_clean.excerpt import MOST_CHARACTERS, excerpts
from pipeline.self_clean.folds import read_folds
from pipeline.self_clean.judges import Judges, by_ngrams, by_transnormer
from pipeline.self_clean.signals import SIGNALS
from pipeline.shards import DocumentShard
from pipeline.storage import join
from pipeline.summary import counts
from pipeline.tally import text_bytes
from pipeline.verdicts import read_kept

VERSION = 7
CLEAN = "clean"
LEAST_BYTES = 200  # a shorter text cannot show most kinds of damage
MATERIAL = 20  # texts that one document's damage is made of
FOREIGN = 10
LONGEST = 8 * MOST_CHARACTERS  # characters of an anchor: it is read as a document is, a longer one on windows

MEASURED = pa.schema(
    [
        ("id", pa.string()),
        ("kind", pa.string()),  # of damage
        ("severity", pa.int8()),  # 0 mild, 1 middle, 2 severe; -1 undamaged
        ("fold", pa.int8()),  # whose judge saw nothing like it
        ("judge", pa.int8()),
        ("size", pa.int64()),  # bytes of the excerpt
        ("bytes", pa.int64()),  # of the text
        ("signals", pa.list_(pa.float64())),  # SIGNALS
    ]
)


@dataclass(frozen=True, slots=True)
class GatherAnchors:
    """Work on one document shard: its part of the anchor sample."""

    folder: str
    corpus: Corpus

    def __call__(self, shard: DocumentShard) -> dict[str, Any]:
        """Write the anchors; return the record with the number of those that can be damaged by language and fold."""
        parts, size, fold = [], 0, read_folds(self.corpus.folds, shard)
        for rows, documents in read_kept(shard, self.corpus.verdicts, ("id", "language", "source", "host", "text")):
            size += text_bytes(documents)
            folded = documents.append_column("fold", pa.array(fold[rows], pa.int8()))
            parts.append(folded.filter(pa.array(self.corpus.anchor(documents))))
        strings = {"language": pa.array([], pa.string()), "text": pa.array([], pa.large_string())}
        empty = pa.table({**strings, "fold": pa.array([], pa.int8())})
        table = pa.concat_tables(parts) if parts else empty
        texts = [text[:LONGEST] for text in table["text"].to_pylist()]
        if len(table):
            at = table.schema.get_field_index("text")
            write_table(
                anchor_path(self.folder, shard.name), table.set_column(at, "text", pa.array(texts, pa.large_string()))
            )
        long = [len(text.encode()) >= LEAST_BYTES for text in texts]
        own = zip(table["language"].to_pylist(), table["fold"].to_pylist(), long, strict=True)
        numbers = counts(f"{name} {fold}" for name, fold, enough in own if enough)
        return {"documents": len(table), "bytes": size, "anchors": numbers}


def anchor_path(folder: str, name: str) -> str:
    """Return where the anchors of a shard are."""
    return join(folder, "anchors", name + ".parquet")


@dataclass(frozen=True, slots=True)
class Sample:
    """A text to measure."""

    id: str
    kind: str
    severity: int
    fold: int
    text: str


@dataclass(frozen=True, slots=True)
class AnchorTask:
    """One language's anchors to measure."""

    key: str  # language
    paths: tuple[str, ...]  # anchors of all languages
    size: int  # its anchors: the largest is begun first


@dataclass(frozen=True, slots=True)
class MeasureAnchors:
    """Work on one language: its anchors, undamaged by every judge and damaged by that of their fold."""

    folder: str
    judges: Judges

    @property
    def needs(self) -> Needs:
        """Memory for the judges."""
        return beyond(self.judges.memory)

    def __call__(self, task: AnchorTask) -> dict[str, Any]:
        """Write what was measured; return the record."""
        anchors = pa.concat_tables([read_table(path) for path in task.paths]).sort_by("id").to_pylist()
        own = [row for row in anchors if row["language"] == task.key and len(row["text"].encode()) >= LEAST_BYTES]
        tables, cost, count = [], 0, 0
        for judge in range(len(self.judges.weights)):
            foreign = [row["text"] for row in anchors if row["language"] != task.key and row["fold"] == judge]
            damaged = damage([row for row in own if row["fold"] == judge], foreign)
            table, tokens = self._measure(task.key, judge, [*clean(own), *damaged])
            tables.append(table)
            cost += tokens
            count += len(damaged)
        table = pa.concat_tables(tables)
        write_table(measured_path(self.folder, task.key), table)
        note = f"{task.key}: {counted(len(own), 'document')}, {count:,} of them damaged"
        return {"documents": len(table), "tokens": cost, "bytes": int(sum(table["size"].to_pylist())), "note": note}

    def _measure(self, language: str, judge: int, rows: Sequence[Sample]) -> tuple[pa.Table, int]:
        found = excerpts([row.text for row in rows], self.judges.load_tokenizer())
        cheap = by_ngrams(self.judges, judge, found, [language] * len(rows))
        reading = by_transnormer(self.judges, judge, found, cheap)
        table = pa.table(
            {
                "id": [row.id for row in rows],
                "kind": [row.kind for row in rows],
                "severity": [row.severity for row in rows],
                "fold": [row.fold for row in rows],
                "judge": [judge] * len(rows),
                "size": found.size,
                "bytes": found.whole,
                "signals": list(np.concatenate([cheap, reading.signals], axis=1)),
            }
        )
        return table.cast(MEASURED), int(reading.tokens.sum())


def measured_path(folder: str, language: str) -> str:
    """Return where a language's measured anchors are."""
    return join(folder, "measured", language + ".parquet")


def clean(rows: Sequence[Mapping[str, Any]]) -> list[Sample]:
    """Return anchors as they are."""
    return [Sample(row["id"], CLEAN, -1, row["fold"], row["text"]) for row in rows]


def damage(rows: Sequence[Mapping[str, Any]], foreign: Sequence[str]) -> list[Sample]:
    """Return each of a language's anchors of one fold with one damage: kinds and severities take turns.

    A kind that has too little to be made of, one other document of its source say, is left out, as is damage that
    changed nothing.
    """
    out = []
    for number, row in enumerate(rows):
        turn, kind = divmod(number, len(DEFECTS))
        severity, defect = turn % 3, DEFECTS[kind]
        draw = random.Random(f"{row['id']} {defect.name}")  # noqa: S311 - must come out the same again
        text = inject(row["text"], defect, severity, draw, make_pool(row, rows, foreign, draw))
        if len(text.encode()) >= LEAST_BYTES and text != row["text"]:
            out.append(Sample(row["id"], defect.name, severity, row["fold"], text))
    return out


def make_pool(
    row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], foreign: Sequence[str], draw: random.Random
) -> Pool:
    """Return the material for one document's damage, none of it its own."""
    others = [other for other in rows if other["id"] != row["id"]]
    place = row["host"] or row["source"]
    near = [other["text"] for other in others if (other["host"] or other["source"]) == place]
    return Pool(
        mixed=tuple(other["text"] for other in draw.sample(others, min(MATERIAL, len(others)))),
        source=tuple(draw.sample(near, min(MATERIAL, len(near)))),
        foreign=tuple(draw.sample(list(foreign), min(FOREIGN, len(foreign)))),
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """A language's measured anchors as arrays."""

    id: list[str]
    kind: npt.NDArray[np.str_]
    severity: npt.NDArray[np.int64]
    fold: npt.NDArray[np.int64]
    judge: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    bytes: npt.NDArray[np.int64]
    signals: npt.NDArray[np.float64]  # (rows, SIGNALS)

    @property
    def damaged(self) -> npt.NDArray[np.bool_]:
        """Tell which rows were damaged."""
        return self.kind != CLEAN

    @property
    def own(self) -> npt.NDArray[np.bool_]:
        """Tell which rows come from the judge of their anchor's fold."""
        return self.judge == self.fold

    def take(self, rows: npt.NDArray[np.bool_]) -> "Measured":
        """Return some of the rows."""
        columns = {field.name: getattr(self, field.name)[rows] for field in fields(self) if field.name != "id"}
        return Measured(id=[name for name, taken in zip(self.id, rows.tolist(), strict=True) if taken], **columns)


def read_measured(folder: str, language: str) -> Measured:
    """Return a language's measured anchors."""
    table = read_table(measured_path(folder, language))
    signals = np.asarray(table["signals"].combine_chunks().flatten().to_numpy(zero_copy_only=False), np.float64)
    return Measured(
        id=table["id"].to_pylist(),
        kind=np.array(table["kind"].to_pylist(), np.str_),
        severity=table["severity"].to_numpy().astype(np.int64),
        fold=table["fold"].to_numpy().astype(np.int64),
        judge=table["judge"].to_numpy().astype(np.int64),
        size=table["size"].to_numpy(),
        bytes=table["bytes"].to_numpy(),
        signals=signals.reshape(-1, len(SIGNALS)),
    )

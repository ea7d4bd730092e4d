"""Anchors: documents that no judge was trained on, as they are and damaged on purpose, measured by every judge.

What the undamaged ones have is what a judge's values are compared with; what sets the damaged ones apart is what the
score learns from. The material that damage is made of comes from anchors too, so that no judge knows a word of it.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.document import read_table, write_table
from pipeline.self_clean.defects import DEFECTS, Pool, inject
from pipeline.self_clean.evaluators import Corpus
from pipeline.self_clean.excerpt import Shape, excerpts
from pipeline.self_clean.judges import Judges, by_ngrams, by_transnormer
from pipeline.self_clean.signals import SIGNALS
from pipeline.shards import DocumentShard
from pipeline.storage import join
from pipeline.summary import counts
from pipeline.tally import text_bytes
from pipeline.verdicts import read_kept

VERSION = 4
CLEAN = "clean"
MOST_CHARACTERS = 8192  # of an anchor
LEAST_BYTES = 200  # a shorter text cannot show most kinds of damage
MATERIAL = 20  # texts that one document's damage is made of
FOREIGN = 10

MEASURED = pa.schema(
    [
        ("id", pa.string()),
        ("kind", pa.string()),  # of damage
        ("severity", pa.int8()),  # 0 mild, 1 middle, 2 severe; -1 undamaged
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
        """Write the anchors; return the record with the number of those that can be damaged by language."""
        parts, size = [], 0
        for _, documents in read_kept(shard, self.corpus.verdicts, ("id", "language", "source", "host", "text")):
            size += text_bytes(documents)
            parts.append(documents.filter(pa.array(self.corpus.anchor(documents))))
        empty = pa.table({"language": pa.array([], pa.string()), "text": pa.array([], pa.large_string())})
        table = pa.concat_tables(parts) if parts else empty
        texts = [text[:MOST_CHARACTERS] for text in table["text"].to_pylist()]
        if len(table):
            at = table.schema.get_field_index("text")
            write_table(
                anchor_path(self.folder, shard.name), table.set_column(at, "text", pa.array(texts, pa.large_string()))
            )
        long = [len(text.encode()) >= LEAST_BYTES for text in texts]
        names = counts(name for name, enough in zip(table["language"].to_pylist(), long, strict=True) if enough)
        return {"documents": len(table), "bytes": size, "languages": names}


def anchor_path(folder: str, name: str) -> str:
    """Return where the anchors of a shard are."""
    return join(folder, "anchors", name + ".parquet")


@dataclass(frozen=True, slots=True)
class Sample:
    """A text to measure."""

    id: str
    kind: str
    severity: int
    judge: int
    text: str


@dataclass(frozen=True, slots=True)
class AnchorTask:
    """One language's anchors to measure."""

    key: str  # language
    paths: tuple[str, ...]  # anchors of all languages


@dataclass(frozen=True, slots=True)
class MeasureAnchors:
    """Work on one language: its anchors, undamaged by every judge and damaged by one of them."""

    folder: str
    judges: Judges
    shape: Shape

    def __call__(self, task: AnchorTask) -> dict[str, Any]:
        """Write what was measured; return the record."""
        anchors = pa.concat_tables([read_table(path) for path in task.paths]).sort_by("id").to_pylist()
        own = [row for row in anchors if row["language"] == task.key and len(row["text"].encode()) >= LEAST_BYTES]
        foreign = [row["text"] for row in anchors if row["language"] != task.key]
        damaged = damage(own, foreign, len(self.judges.weights))
        tables, cost = [], 0
        for judge in range(len(self.judges.weights)):
            table, tokens = self._measure(
                task.key, judge, [*clean(own), *(row for row in damaged if row.judge == judge)]
            )
            tables.append(table)
            cost += tokens
        table = pa.concat_tables(tables)
        write_table(measured_path(self.folder, task.key), table)
        note = f"{task.key}: {len(own):,} documents, {len(damaged):,} of them damaged"
        return {"documents": len(table), "tokens": cost, "bytes": int(sum(table["size"].to_pylist())), "note": note}

    def _measure(self, language: str, judge: int, rows: Sequence[Sample]) -> tuple[pa.Table, int]:
        found = excerpts([row.text for row in rows], self.shape, self.judges.load_tokenizer())
        cheap = by_ngrams(self.judges, judge, found, [language] * len(rows))
        reading = by_transnormer(self.judges, judge, found, cheap)
        table = pa.table(
            {
                "id": [row.id for row in rows],
                "kind": [row.kind for row in rows],
                "severity": [row.severity for row in rows],
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
    return [Sample(row["id"], CLEAN, -1, -1, row["text"]) for row in rows]


def damage(rows: Sequence[Mapping[str, Any]], foreign: Sequence[str], judges: int) -> list[Sample]:
    """Return each of a language's anchors with one damage: kinds, severities and judges take turns.

    A kind that has no material to work with, another language say, is left out, as is damage that changed nothing.
    """
    out = []
    for number, row in enumerate(rows):
        turn, kind = divmod(number, len(DEFECTS))
        severity, judge = turn % 3, turn // 3 % judges
        defect = DEFECTS[kind]
        if defect.foreign and not foreign:
            continue
        draw = random.Random(f"{row['id']} {defect.name}")  # noqa: S311 - must come out the same again
        text = inject(row["text"], defect, severity, draw, make_pool(row, rows, foreign, draw))
        if len(text.encode()) >= LEAST_BYTES and text != row["text"]:
            out.append(Sample(row["id"], defect.name, severity, judge, text))
    return out


def make_pool(
    row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], foreign: Sequence[str], draw: random.Random
) -> Pool:
    """Return the material for one document's damage, none of it its own where there is other."""
    others = [other for other in rows if other["id"] != row["id"]] or [row]
    place = row["host"] or row["source"]
    near = [other["text"] for other in others if (other["host"] or other["source"]) == place] or [row["text"]]
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
    judge: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    bytes: npt.NDArray[np.int64]
    signals: npt.NDArray[np.float64]  # (rows, SIGNALS)

    @property
    def damaged(self) -> npt.NDArray[np.bool_]:
        """Tell which rows were damaged."""
        return self.kind != CLEAN


def read_measured(folder: str, language: str) -> Measured:
    """Return a language's measured anchors."""
    table = read_table(measured_path(folder, language))
    signals = np.asarray(table["signals"].combine_chunks().flatten().to_numpy(zero_copy_only=False), np.float64)
    return Measured(
        id=table["id"].to_pylist(),
        kind=np.array(table["kind"].to_pylist(), np.str_),
        severity=table["severity"].to_numpy().astype(np.int64),
        judge=table["judge"].to_numpy().astype(np.int64),
        size=table["size"].to_numpy(),
        bytes=table["bytes"].to_numpy(),
        signals=signals.reshape(-1, len(SIGNALS)),
    )

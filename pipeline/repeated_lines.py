"""Repeated lines: a line or paragraph that several kept documents hold stays in one; the others' spans go to sidecars.

The texts are read once: each document's lines, the first of each hash, go by hash to the task that finds the owner
(the document of least id, C4's rule with our hash), and the spans that others lose go back by shard. What a document
repeats within itself it loses at once. A document that owns none of its lines is rejected.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedup.lines import first_of_each, units
from filters.arrow_text import text_buffers
from pipeline.deduplicate import verdict_record
from pipeline.document import conform, read_table, write_table
from pipeline.exchange import Spill, read_every, read_rows, read_slices, slices, write_rows
from pipeline.line import Line
from pipeline.linking import Partition, named_files
from pipeline.shards import DocumentShard
from pipeline.sign import id_words
from pipeline.stage import Manifest, Stage
from pipeline.storage import join
from pipeline.tally import text_bytes
from pipeline.verdicts import SIDECAR, read_kept, sidecar_path

VERSION = 1
Array = npt.NDArray[Any]

LINE = np.dtype(
    [("hash", np.uint64), ("key", np.uint64), ("number", np.int64), ("start", np.uint32), ("end", np.uint32)]
)
SPAN = np.dtype([("number", np.int64), ("start", np.uint32), ("end", np.uint32)])
SIZE = np.dtype([("bytes", np.int64)])
LINE_TEXT_BYTES = 40  # of text to a line, for the number of partitions; more lines than that take more memory
LINE_BYTES = 96  # of memory for a line while its partition is sorted


def cut_lines(
    line: Line, documents: Manifest, shards: Sequence[DocumentShard], last: Stage, *, paragraphs: bool
) -> Manifest:
    """Run the stages that find repeated lines; return `last`, whose sidecars hold spans and all verdicts of dedup."""
    memory = line.config.deduplicate.memory_bytes
    lines = sum(shard.size for shard in shards) // LINE_TEXT_BYTES
    partitions = 1 + lines * LINE_BYTES // memory
    stage = line.stage("deduplicate.lines", VERSION, [paragraphs, memory], [documents.stage])
    found = line.each(
        stage, FindLines(stage.folder, documents.stage.folder, paragraphs, partitions, memory // 4), shards
    )
    stage = line.stage("deduplicate.owners", VERSION, [], [found.stage])
    firsts = tuple(shard.first for shard in shards)
    work = FindOwners(stage.folder, named_files([found], "lines"), firsts)
    owned = line.each(stage, work, [Partition(number) for number in range(partitions)])
    cut = CutShards(last.folder, documents.stage.folder, found.stage.folder, named_files([owned], "spans"), firsts)
    return line.each(last, cut, shards)


@dataclass(frozen=True, slots=True)
class FindLines:
    """Work that hashes the lines of a shard's kept documents."""

    folder: str
    verdicts: str
    paragraphs: bool
    partitions: int
    limit: int  # bytes of lines held

    def __call__(self, shard: DocumentShard) -> dict[str, Any]:
        """Write the first of each line in a document by hash, the repeated ones as spans, and the bytes of all."""
        spill = Spill(self.folder, f"lines/{shard.name}", self.partitions, LINE, self.limit)
        sizes = np.zeros(shard.rows, SIZE)
        count = size = 0
        with slices(join(self.folder, "spans", shard.name + ".arrow"), SPAN) as write_spans:
            for rows, table in read_kept(shard, (self.verdicts,), ("id", "text")):
                if not len(rows):
                    continue
                found = _lines(rows + shard.first, table, paragraphs=self.paragraphs)
                count += len(found)
                size += text_bytes(table)
                lengths = (found["end"] - found["start"]).astype(np.float64)
                sizes["bytes"] += np.bincount(found["number"] - shard.first, lengths, shard.rows).astype(np.int64)
                owner = first_in_document(found)
                write_spans(_spans(found[~owner]))
                spill.add(partition_of(found["hash"][owner], self.partitions), found[owner])
        with slices(join(self.folder, "sizes", shard.name + ".arrow"), SIZE) as write_sizes:
            write_sizes(sizes)
        return {"lines": spill.close(), "bytes": size, "summary": {"lines": count}}


def _lines(numbers: Array, table: pa.Table, *, paragraphs: bool) -> Array:
    """Return the lines (LINE) of documents."""
    texts = table["text"].combine_chunks()
    offsets, data = text_buffers(texts.chunk(0) if isinstance(texts, pa.ChunkedArray) else texts)
    found = units(offsets, data, paragraphs=paragraphs)
    lines = np.empty(len(found), LINE)
    lines["number"], lines["key"] = numbers[found["document"]], id_words(table["id"])[found["document"], 0]
    for name in ("hash", "start", "end"):
        lines[name] = found[name]
    return lines


def first_in_document(lines: Array) -> Array:
    """Tell of each line whether it is the first with its hash in its document (n)."""
    order = np.lexsort((lines["start"], lines["number"], lines["hash"]))
    hashes, numbers = lines["hash"][order], lines["number"][order]
    first = np.ones(len(order), bool)
    first[1:] = (hashes[1:] != hashes[:-1]) | (numbers[1:] != numbers[:-1])
    out = np.empty(len(order), bool)
    out[order] = first
    return out


def partition_of(hashes: Array, partitions: int) -> Array:
    """Return the partition of each hash."""
    return ((hashes >> np.uint64(32)) % np.uint64(partitions)).astype(np.int64)


def _spans(lines: Array) -> Array:
    spans = np.empty(len(lines), SPAN)
    for name in SPAN.names or ():
        spans[name] = lines[name]
    return spans


@dataclass(frozen=True, slots=True)
class FindOwners:
    """Work that finds who owns the lines of a part of all hashes."""

    folder: str
    lines: tuple[str, ...]
    firsts: tuple[int, ...]  # number of the first document of each shard

    def __call__(self, task: Partition) -> dict[str, Any]:
        """Write by shard the spans of those who do not own them; return the record."""
        lines = read_every(self.lines, task.number, LINE)
        lost = lines[~first_of_each(lines["hash"], lines["key"], lines["number"])]
        name = f"spans/{task.key}.arrow"
        reader = np.searchsorted(self.firsts, lost["number"], side="right") - 1
        write_rows(join(self.folder, name), reader, _spans(lost), len(self.firsts))
        return {"spans": [name], "bytes": lines.nbytes, "summary": {"lost": len(lost)}}


@dataclass(frozen=True, slots=True)
class CutShards:
    """Work that writes a shard's sidecar with the spans that are cut."""

    folder: str
    verdicts: str
    found: str
    owned: tuple[str, ...]
    firsts: tuple[int, ...]

    def __call__(self, shard: DocumentShard) -> dict[str, Any]:
        """Write the verdicts; return the record."""
        index = int(np.searchsorted(self.firsts, shard.first, side="right")) - 1
        own = _every(join(self.found, "spans", shard.name + ".arrow"))
        spans = np.concatenate([own, read_every(self.owned, index, SPAN)]) if shard.rows else own
        spans = np.sort(spans, order=["number", "start"])
        sizes = read_rows(join(self.found, "sizes", shard.name + ".arrow"), 0, SIZE)["bytes"]
        table = with_spans(read_table(sidecar_path(self.verdicts, shard)), spans, shard.first, sizes)
        write_table(sidecar_path(self.folder, shard), table)
        record = verdict_record(shard, table)
        cut = {"lines": len(spans), "bytes": int((spans["end"] - spans["start"]).astype(np.int64).sum())}
        return {**record, "summary": {**record["summary"], "cut": cut}}


def _every(path: str) -> Array:
    return np.concatenate([np.empty(0, SPAN), *read_slices(path, SPAN)])


def with_spans(table: pa.Table, spans: Array, first: int, sizes: Array) -> pa.Table:
    """Return a sidecar with spans, and with documents rejected that would lose all their lines (sizes: their bytes)."""
    row = spans["number"] - first
    lost = np.bincount(row, (spans["end"] - spans["start"]).astype(np.float64), len(table)).astype(np.int64)
    emptied = (lost > 0) & (lost == sizes)
    spans, row = spans[~emptied[row]], row[~emptied[row]]
    values = np.stack([spans["start"], spans["end"]], axis=1).astype(np.int64).ravel()
    offsets = 2 * np.searchsorted(row, np.arange(len(table) + 1))
    cut = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values))
    chosen = pa.array(emptied)
    said = {"rejected": True, "reason": "lines_of_others", "value": 1.0, "threshold": 1.0}
    columns = {
        field.name: pc.if_else(chosen, said[field.name], table[field.name]) if field.name in said else table[field.name]
        for field in SIDECAR
    }
    return conform(pa.table(columns), SIDECAR).append_column("cut", cut)

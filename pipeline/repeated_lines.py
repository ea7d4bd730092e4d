"""Repeated lines: a line or paragraph that several kept documents hold stays in one; the others' spans go to sidecars.

The texts are read once: each document's lines, the first of each hash, go by hash to the task that finds the owner
(the document of least id, C4's rule with our hash), and the spans that others lose go back by shard. What a document
repeats within itself it loses at once. A document that owns none of its lines is rejected, and one that lost lines and
has fewer sentences left than C4 asks of a page. Sentences are counted line by line, as the c4 family does, where the
lines are found.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedup.lines import first_of_each, units
from filters.arrow_text import text_buffers
from filters.c4_lines import count_each
from filters.characters import character_classes
from filters.rules import Rule, Verdicts, judge
from filters.words import UNMARKED_LANGUAGES
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

VERSION = 3
Array = npt.NDArray[Any]

LINE = np.dtype(
    [("hash", np.uint64), ("key", np.uint64), ("number", np.int64), ("start", np.uint32), ("end", np.uint32),
     ("sentences", np.uint32)]
)  # fmt: skip
SPAN = np.dtype([("number", np.int64), ("start", np.uint32), ("end", np.uint32), ("sentences", np.uint32)])
SIZE = np.dtype([("bytes", np.int64), ("sentences", np.int64)])
RULES = (
    Rule(reason="lines_of_others", signal="lost", maximum=1, inclusive=True),  # TFDS c4_utils: filtered:empty
    Rule(
        reason="too_few_sentences_left",
        signal="sentences",
        minimum=3,  # TFDS c4_utils, remove_duplicate_text; configured as deduplicate.line_sentences
        exempt=UNMARKED_LANGUAGES,
    ),
)
LINE_TEXT_BYTES = 40  # of text to a line, for the number of partitions; more lines than that take more memory
LINE_BYTES = 96  # of memory for a line while its partition is sorted


def cut_lines(line: Line, documents: Manifest, shards: Sequence[DocumentShard], last: Stage) -> Manifest:
    """Run the stages that find repeated lines; return `last`, whose sidecars hold spans and all verdicts of dedup."""
    settings = line.config.deduplicate
    memory, paragraphs = settings.memory_bytes, settings.lines == "paragraph"
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
    spans = named_files([owned], "spans")
    cut = CutShards(last.folder, documents.stage.folder, found.stage.folder, spans, firsts, settings.line_sentences)
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
        with slices(join(self.folder, "spans", shard.name + ".rows"), SPAN) as write_spans:
            for rows, table in read_kept(shard, (self.verdicts,), ("id", "text")):
                if not len(rows):
                    continue
                found = _lines(rows + shard.first, table, paragraphs=self.paragraphs)
                count += len(found)
                size += text_bytes(table)
                held = found["number"] - shard.first
                sizes["bytes"] += _sums(held, found["end"] - found["start"], shard.rows)
                sizes["sentences"] += _sums(held, found["sentences"], shard.rows)
                owner = first_in_document(found)
                write_spans(_spans(found[~owner]))
                spill.add(partition_of(found["hash"][owner], self.partitions), found[owner])
        with slices(join(self.folder, "sizes", shard.name + ".rows"), SIZE) as write_sizes:
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
    begins = offsets[found["document"]]
    lines["sentences"] = count_each(data, begins + found["start"], begins + found["end"], character_classes())
    return lines


def _sums(rows: Array, values: Array, count: int) -> Array:
    """Return the sum of the values of each row (count), as whole numbers."""
    sums: Array = np.bincount(rows, values.astype(np.float64), count).astype(np.int64)
    return sums


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
        name = f"spans/{task.key}.rows"
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
    fewest: int  # sentences

    def __call__(self, shard: DocumentShard) -> dict[str, Any]:
        """Write the verdicts; return the record."""
        index = int(np.searchsorted(self.firsts, shard.first, side="right")) - 1
        own = _every(join(self.found, "spans", shard.name + ".rows"))
        spans = np.concatenate([own, read_every(self.owned, index, SPAN)]) if shard.rows else own
        spans = np.sort(spans, order=["number", "start"])
        sizes = read_rows(join(self.found, "sizes", shard.name + ".rows"), 0, SIZE)
        languages = np.asarray(read_table(shard.path("documents"), ["language"])["language"].to_pylist(), np.str_)
        refused = left_over(spans, shard.first, sizes, languages, self.fewest)
        table = with_spans(read_table(sidecar_path(self.verdicts, shard)), spans, shard.first, refused)
        write_table(sidecar_path(self.folder, shard), table)
        record = verdict_record(shard, table)
        cut = {"lines": len(spans), "bytes": int((spans["end"] - spans["start"]).astype(np.int64).sum())}
        return {**record, "summary": {**record["summary"], "cut": cut}}


def _every(path: str) -> Array:
    return np.concatenate([np.empty(0, SPAN), *read_slices(path, SPAN)])


def left_over(spans: Array, first: int, sizes: Array, languages: Array, fewest: int) -> Verdicts:
    """Return the verdicts of RULES on what documents (SIZE: what they had) keep of their text without spans.

    A document that loses nothing is not judged.
    """
    row = spans["number"] - first
    lost = _sums(row, spans["end"] - spans["start"], len(sizes))
    sentences = sizes["sentences"] - _sums(row, spans["sentences"], len(sizes))
    signals = {"lost": np.where(lost > 0, lost / np.maximum(sizes["bytes"], 1), np.nan)}
    signals["sentences"] = np.where(lost > 0, sentences, np.nan)
    rules = (RULES[0], replace(RULES[1], minimum=fewest))
    return judge(rules, signals, languages)


def with_spans(table: pa.Table, spans: Array, first: int, refused: Verdicts) -> pa.Table:
    """Return a sidecar with spans, and with documents rejected for what lines of others leave of them."""
    chosen = refused.rule >= 0
    row = spans["number"] - first
    spans, row = spans[~chosen[row]], row[~chosen[row]]
    values = np.stack([spans["start"], spans["end"]], axis=1).astype(np.int64).ravel()
    offsets = 2 * np.searchsorted(row, np.arange(len(table) + 1))
    cut = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values))
    reasons = np.array([*(rule.reason for rule in RULES), ""], object)[refused.rule]
    said = {"rejected": chosen, "reason": reasons, "value": refused.value, "threshold": refused.threshold}
    columns = {
        field.name: pc.if_else(chosen, pa.array(said[field.name]), table[field.name])
        if field.name in said
        else table[field.name]
        for field in SIDECAR
    }
    return conform(pa.table(columns), SIDECAR).append_column("cut", cut)

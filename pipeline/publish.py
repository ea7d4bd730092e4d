"""Publish: token shards by an external sort, the final documents and rejects, and the output folder's contract.

A map task reads the kept texts of a group of document shards once: it encodes them, writes one run sorted by
hash(id, seed) with a slice (exchange.py) for each output shard, a record batch, and writes the documents and the
rejects of the later stages on the way. A merge task reads its slice of every run. No token crosses a shuffle, and the
contents do not depend on the grouping. What a user reads is filled last: strangers removed first, `_SUCCESS` at the
end.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.config import Publish
from pipeline.document import SCORES, Writer, read_batches, read_table, schema
from pipeline.draw import hashes, uniform
from pipeline.exchange import read_rows, slices
from pipeline.needs import Needs, beyond
from pipeline.self_clean.evaluators import load_tokenizer
from pipeline.self_clean.folds import read_folds
from pipeline.self_clean.scores import read_scores
from pipeline.shards import DocumentShard
from pipeline.summary import Summary, counts, merge
from pipeline.tally import cut_texts, reject_summary, text_bytes
from pipeline.token_shards import token_column, token_schema, write_arrow
from pipeline.verdicts import sidecar_path, without_spans
from tokenizer.encode import Tokenizer, token_type

VERSION = 3
MIN_GROUPS = 16  # so that every core has work
MIN_GROUP_BYTES = 100_000
# Of memory beside 2.75 bytes a byte of text (600, 761 and 1,082 MB for 63, 122 and 240), and beside 8 a byte of tokens
# (of two bytes: 531 and 766 MB for 21 and 40 million in documents of 780, which is 6; short ones take more).
ENCODING_BYTES, MERGING_BYTES = 400_000_000, 300_000_000
BYTE = np.dtype(np.uint8)  # what a run's slices are of
FILES_AT_ONCE = 8  # that go, or are given their second name: in a store requests, which are waited for


@dataclass(frozen=True, slots=True)
class Group:
    """A task: document shards whose texts are sorted together."""

    key: str
    shards: tuple[DocumentShard, ...]

    @property
    def size(self) -> int:
        """Bytes of text."""
        return sum(shard.size for shard in self.shards)


def make_groups(shards: Sequence[DocumentShard], group_bytes: int) -> list[Group]:
    """Group successive document shards up to a memory budget; a small corpus still gives several groups."""
    group_bytes = min(group_bytes, max(sum(shard.size for shard in shards) // MIN_GROUPS, MIN_GROUP_BYTES))
    groups: list[list[DocumentShard]] = []
    size = 0
    for shard in shards:
        if not groups or size + shard.size > group_bytes:
            groups.append([])
            size = 0
        groups[-1].append(shard)
        size += shard.size
    return [Group(f"{number:05d}", tuple(group)) for number, group in enumerate(groups)]


@dataclass(frozen=True, slots=True)
class Layout:
    """Which output shard a document goes to."""

    train: int  # number of training shards
    held_out: int  # number of validation shards
    validation: float  # share of documents in them, by hash
    seed: int

    @property
    def names(self) -> list[str]:
        """The output shards' names, in the order of a run's slices."""
        names = [f"train-{number:05d}" for number in range(self.train)]
        return names + [f"validation-{number:05d}" for number in range(self.held_out)]

    def shard_bytes(self, tokens: float, vocab_size: int) -> int:
        """Return the bytes of the tokens of a training shard, of so many tokens in all."""
        return math.ceil(tokens / self.train) * np.dtype(token_type(vocab_size)).itemsize

    def place(self, ids: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """Return each document's output shard and its sorting hash."""
        order = hashes(ids, self.seed, "shuffle")
        held_out = uniform(ids, self.seed, "validation") < self.validation
        count = np.where(held_out, self.held_out, self.train).astype(np.uint64)
        shard = ((order >> np.uint64(32)) * count >> np.uint64(32)).astype(np.int64)
        return np.where(held_out, self.train + shard, shard), order


def make_layout(settings: Publish, kept_bytes: int, bytes_per_token: float) -> Layout:
    """Return as many training and validation shards as the expected tokens need."""
    shards = kept_bytes / bytes_per_token / settings.shard_tokens
    held_out = max(1, math.ceil(shards * settings.validation)) if settings.validation else 0
    return Layout(max(1, math.ceil(shards)), held_out, settings.validation, settings.seed)


@dataclass(frozen=True, slots=True)
class Sources:
    """What the last pass over the texts reads beside them."""

    deduplicated: str  # folder of the verdicts
    cleaned: str  # the same of the round that counts; empty when there is none
    scores: str
    folds: str
    tokenizer: str  # path


@dataclass(frozen=True, slots=True)
class EncodeGroup:
    """Work on one group."""

    folder: str
    sources: Sources
    layout: Layout
    signals: tuple[pa.Field, ...]
    rejected_text: str
    size: int  # bytes of text of the largest group

    @property
    def needs(self) -> Needs:
        """Memory for the tokenizer and a group's tokens, and their sorted copies."""
        return beyond(ENCODING_BYTES + 11 * self.size // 4)

    def __call__(self, group: Group) -> dict[str, Any]:
        """Write the run, the documents and the later rejects; return the record."""
        tokenizer = load_tokenizer(self.sources.tokenizer)
        parts: list[pa.Table] = []
        summaries: list[Summary] = []
        for shard in group.shards:
            for part, summary in self._shard(shard, tokenizer):
                parts.append(part)
                summaries.append(summary)
        self._write_run(group.key, parts, tokenizer)
        totals = merge(summaries)
        sizes = {name: totals.get(name, 0) for name in ("documents", "kept", "rejected", "bytes", "tokens")}
        return {**sizes, "summary": {k: v for k, v in totals.items() if k not in {"documents", "bytes"}}}

    def _shard(self, shard: DocumentShard, tokenizer: Tokenizer) -> Iterator[tuple[pa.Table, Summary]]:
        """Split a shard's documents, write both sides, and yield the kept ones as tokens."""
        verdicts = self._verdicts(shard)
        kept_writer = Writer(self._path("documents", shard), schema(self.signals, rejected=False))
        rejected_writer = Writer(self._path("rejected", shard), schema(self.signals, rejected=True))
        start = 0
        try:
            for documents in read_batches(shard.path("documents")):
                judged = _beside(documents, verdicts.slice(start, len(documents)))
                start += len(documents)
                left = judged["stage"].is_valid()
                kept, rejected = judged.filter(pc.invert(left)), judged.filter(left)
                kept = _cut(kept)
                kept_writer.write(kept)
                rejected_writer.write(cut_texts(rejected, self.rejected_text))
                yield self._encode(kept, tokenizer), _summary(kept, rejected)
        except BaseException as error:
            kept_writer.abandon(error)
            rejected_writer.abandon(error)
            raise
        kept_writer.close()
        rejected_writer.close()

    def _path(self, kind: str, shard: DocumentShard) -> str:
        return storage.join(self.folder, kind, shard.name + ".parquet")

    def _verdicts(self, shard: DocumentShard) -> pa.Table:
        """Return the verdict and score columns of a shard's rows; the first stage that rejects a row decides."""
        table = read_table(sidecar_path(self.sources.deduplicated, shard))
        stage = _stage(table["rejected"], "deduplicate")
        columns = {name: table[name].combine_chunks() for name in table.column_names if name not in {"rejected", "cut"}}
        if self.sources.cleaned:
            later = read_table(sidecar_path(self.sources.cleaned, shard))
            chosen = later["rejected"].combine_chunks()
            columns = {name: _either(chosen, later[name], column) for name, column in columns.items()}
            stage = _either(chosen, _stage(later["rejected"], "self_clean"), stage)
            scores = read_scores(self.sources.scores, shard)
            columns |= {f.name: scores[f.name] for f in SCORES if f.name in scores.column_names}
            columns["cut_score"] = later["cut_score"]
            columns["fold"] = pa.array(read_folds(self.sources.folds, shard), pa.int8())
        if "cut" in table.column_names:
            columns["cut_spans"] = table["cut"]
        return pa.table({"stage": stage, **columns})

    def _encode(self, kept: pa.Table, tokenizer: Tokenizer) -> pa.Table:
        tokens, lengths = token_column(tokenizer.encode(kept["text"].to_pylist()), tokenizer)
        shard, order = self.layout.place(kept["id"].to_pylist())
        named = {name: kept[name] for name in ("id", "source", "language")}
        return pa.table({**named, "tokens": tokens, "length": lengths, "shard": shard, "order": order})

    def _write_run(self, key: str, parts: list[pa.Table], tokenizer: Tokenizer) -> None:
        """Write a slice for each output shard, each sorted by hash and id."""
        columns, count = run_schema(tokenizer), len(self.layout.names)
        table, edges = columns.empty_table(), np.zeros(count + 1, np.int64)
        if parts:
            table = pa.concat_tables([part.drop_columns(["length"]) for part in parts])
            table = table.sort_by([("shard", "ascending"), ("order", "ascending"), ("id", "ascending")])
            edges = np.searchsorted(table["shard"].to_numpy(), np.arange(count + 1))
            table = table.select(columns.names).cast(columns).combine_chunks()
        with slices(storage.join(self.folder, "runs", key + ".rows"), BYTE) as write:
            for start, stop in pairwise(edges.tolist()):
                write(_packed(table.slice(start, stop - start)))


def run_schema(tokenizer: Tokenizer) -> pa.Schema:
    """Return the columns of a run: a token shard's and the sorting hash."""
    return token_schema(tokenizer.dtype).append(pa.field("order", pa.uint64()))


def _packed(rows: pa.Table) -> npt.NDArray[np.uint8]:
    """Return rows as the bytes of one record batch, none where there is no row."""
    return np.frombuffer(rows.combine_chunks().to_batches()[0].serialize() if len(rows) else b"", BYTE)


def _unpacked(data: npt.NDArray[np.uint8], columns: pa.Schema) -> pa.Table:
    batches = [pa.ipc.read_record_batch(pa.py_buffer(data), columns)] if len(data) else []
    return pa.Table.from_batches(batches, columns)


def _sorted(table: pa.Table) -> pa.Table:
    return table.sort_by([("order", "ascending"), ("id", "ascending")])


def _beside(left: pa.Table, right: pa.Table) -> pa.Table:
    """Return the columns of both tables, row by row."""
    return pa.table([*left.columns, *right.columns], names=[*left.column_names, *right.column_names])


def _cut(kept: pa.Table) -> pa.Table:
    """Return documents without the lines that others own, and with what was cut."""
    if "cut_spans" not in kept.column_names:
        return kept
    spans = kept["cut_spans"].combine_chunks()
    texts = without_spans(kept, spans)
    lost = pc.subtract(pc.binary_length(kept["text"]), pc.binary_length(texts["text"]))
    return texts.append_column("cut_bytes", lost.cast(pa.int64()))


def _stage(rejected: pa.ChunkedArray, name: str) -> pa.Array:
    """Return a stage's name where it rejected, null elsewhere."""
    return pc.if_else(rejected.combine_chunks(), name, pa.scalar(None, pa.string()))


def _either(chosen: pa.Array, first: Any, second: Any) -> pa.Array:
    combined = [c.combine_chunks() if isinstance(c, pa.ChunkedArray) else c for c in (first, second)]
    return pc.if_else(chosen, *combined)


def _summary(kept: pa.Table, rejected: pa.Table) -> Summary:
    """Return what a batch adds to the stage's summary."""
    summary: Summary = {
        "documents": len(kept) + len(rejected),
        "kept": len(kept),
        "rejected": len(rejected),
        "bytes": text_bytes(kept) + text_bytes(rejected),
        "languages": counts(kept["language"].to_pylist()),
        "sources": counts(kept["source"].to_pylist()),
        "kept_bytes": text_bytes(kept),
    }
    if len(rejected):
        summary["rejects"] = reject_summary(rejected)
    return summary


@dataclass(frozen=True, slots=True)
class MergeTask:
    """An output shard to merge."""

    key: str  # its name
    number: int  # of its slice in every run


@dataclass(frozen=True, slots=True)
class MergeShard:
    """Work on one output shard."""

    folder: str
    runs: tuple[str, ...]
    tokenizer: str
    size: int  # bytes of the tokens of an output shard, as expected

    @property
    def needs(self) -> Needs:
        """Memory for what was read, sorted and written of a shard."""
        return beyond(MERGING_BYTES + 8 * self.size)

    def __call__(self, task: MergeTask) -> dict[str, Any]:
        """Write the shard; return its record, which index.json repeats."""
        columns = run_schema(load_tokenizer(self.tokenizer))
        found = [_unpacked(read_rows(path, task.number, BYTE), columns) for path in self.runs]
        table = _sorted(pa.concat_tables([columns.empty_table(), *found])).drop_columns(["order"])
        path = storage.join(self.folder, task.key + ".arrow")
        digest = write_arrow(path, [table], token_schema(load_tokenizer(self.tokenizer).dtype))
        tokens = sum(len(chunk.flatten()) for chunk in table["tokens"].chunks)
        split = task.key.partition("-")[0]
        shard = {
            "path": task.key + ".arrow",
            "split": split,
            "documents": len(table),
            "tokens": tokens,
            "sha256": digest,
        }
        return {"documents": len(table), "bytes": table.nbytes, "shard": shard, "summary": {"tokens": {split: tokens}}}


PAGES = ("report.html", "report.json", "run.json")  # of an earlier run; they come back, or do not
PUBLISHED = ("documents", "rejected", "unreadable", "tokenizer", "evaluator", "shards")


def fill_output(output: str, files: dict[str, str], texts: dict[str, Any], sure: Callable[[], None]) -> None:
    """Fill the output folder: `files` maps a published name to a finished file, `texts` a name to a JSON value.

    `_SUCCESS` and `texts`, of which one is the shards' index, go first and come back last, so that a reader never takes
    half of two runs for one. `sure` is asked before each name is changed, and raises where the folder is another run's.
    """
    wanted = {*files, *texts}
    strangers = [name for folder in PUBLISHED for name in _files_under(output, folder) if name not in wanted]

    def remove(name: str) -> None:
        sure()
        storage.remove_file(storage.join(output, name))

    def publish(name: str) -> None:
        sure()
        storage.publish(files[name], storage.join(output, name))

    for name in ("_SUCCESS", *sorted(texts), *PAGES, *storage.unfinished(output)):
        remove(name)
    with ThreadPoolExecutor(FILES_AT_ONCE) as threads:
        for change, changed in ((remove, strangers), (publish, sorted(files))):
            for _ in threads.map(change, changed):  # whose end, an error too, ends what has not begun
                pass
    for name, value in sorted(texts.items()):
        sure()
        storage.write_json(storage.join(output, name), value)


def _files_under(output: str, folder: str) -> list[str]:
    """Return the names of all files under a published folder, relative to the output."""
    return [f"{folder}/{name}" for name in storage.walk(storage.join(output, folder))]

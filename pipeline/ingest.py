"""Ingest: inputs to document shards. Decode, main text, the list of steps, exact hash and MinHash signature.

A shard writes numbered parts of bounded size. A part's record says where its last record stands, so that a run that
was killed goes on after the last finished part without parsing what came before.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.config import Config
from pipeline.document import (
    DOCUMENT,
    UNREADABLE,
    Writer,
    document_id,
    host,
    schema,
)
from pipeline.formats.read import read_piece
from pipeline.formats.record import Event, Place, Record, Skipped, TooLarge, Unreadable
from pipeline.inputs import check_unchanged
from pipeline.plan import Piece, Shard
from pipeline.sign import sign, signature_schema
from pipeline.step import Step
from pipeline.steps import apply, make_steps, signal_fields
from pipeline.summary import Summary, counts, merge
from pipeline.tally import cut_texts, kept_summary, reject_summary, text_bytes
from tokenizer import units

VERSION = 11
NOT_SAMPLED = "not sampled"  # what a sample leaves out counts as skipped
# For load_kernels: long and plain enough to pass the default rules, so that every step sees it.
PLAIN = """Early in spring the miller walked down to the river and looked at what the flood had left of his bridge.
Two planks were gone, and a third hung by one nail, but nobody in that valley would have called it ruined.
He came back with his daughter, a hammer, some rope and enough bread to last them until evening.
"We should be done before dark," she said, and began to count the boards that lay in the grass.
"""
BATCH_DOCUMENTS = 1000
BATCH_RECORDS = 10_000  # of every kind, so that what is no document does not pile up either
ERROR_CHARACTERS = 300  # of an error that are kept
BATCH_CHARACTERS = 4_000_000  # of text held before the steps run


@dataclass(frozen=True, slots=True)
class Settings:
    """What ingest reads of the configuration."""

    config: Config
    document_share: float  # below 1 for a sample
    folder: str


@dataclass(frozen=True, slots=True)
class IngestShard:
    """Work on one shard of the plan."""

    settings: Settings

    def __call__(self, shard: Shard) -> dict[str, Any]:
        """Write the parts that are not there yet; return the shard's record."""
        done = finished_parts(self.settings.folder, shard.key)
        while not done or not done[-1]["last"]:
            done.append(self._write_part(shard, len(done), done[-1]["end"] if done else None))
        totals = {name: sum(part[name] for part in done) for name in ("documents", "kept", "rejected", "bytes")}
        parts = [{k: v for k, v in part.items() if k != "summary"} for part in done]
        return {**totals, "parts": parts, "summary": merge(part["summary"] for part in done)}

    def _write_part(self, shard: Shard, number: int, end: list[int] | None) -> dict[str, Any]:
        """Write one part and its record."""
        given = self.settings.config.input[shard.pieces[0].input]
        part = Part(f"{shard.key}-{number:03d}", given.name, self.settings)
        try:
            events = self._events(shard, end)
            last = part.fill(events)
            check_unchanged(_touched(shard, end, part, last=last))
            record = part.close(last=last)
        except BaseException as error:
            part.abandon(error)
            if isinstance(error, Exception):
                check_unchanged(shard.pieces)  # what a change in the middle makes of a file is not its reader's error
            raise
        with storage.at_once():
            storage.write_json(storage.join(self.settings.folder, "parts", part.name + ".json"), record)
        return record

    def _events(self, shard: Shard, end: list[int] | None) -> Iterator[tuple[int, Piece, Event]]:
        """Yield the events of a shard after a place, with the number of their piece."""
        first, after = (end[0], Place(end[1], end[2])) if end else (0, None)
        config = self.settings.config
        for index, piece in enumerate(shard.pieces[first:], first):
            given = config.input[piece.input]
            for event in read_piece(piece, given, config.ingest.max_document_bytes, after):
                yield index, piece, event
            after = None


def _touched(shard: Shard, end: list[int] | None, part: "Part", *, last: bool) -> tuple[Piece, ...]:
    """Return the pieces that a part has read of."""
    return shard.pieces[end[0] if end else 0 : None if last else part.reached + 1]


def finished_parts(folder: str, key: str) -> list[dict[str, Any]]:
    """Return the records of a shard's finished parts, in order."""
    parts: list[dict[str, Any]] = []
    while storage.exists(path := storage.join(folder, "parts", f"{key}-{len(parts):03d}.json")):
        parts.append(storage.read_json(path))
    return parts


def is_sampled(identity: str, share: float) -> bool:
    """Tell whether a sample of a share of all documents holds this one; its id alone decides."""
    return int(identity[:12], 16) < share * 2**48


@dataclass(slots=True)
class Part:
    """One part being written: documents wait in a batch, pass the steps, and go to their file."""

    name: str
    input: str  # name of the [[input]]; a shard is of one
    settings: Settings
    _writers: dict[str, Writer] = field(init=False)
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _waiting: int = 0  # characters of text in _rows: to encode them all only to count bytes would cost a pass
    _bytes: int = 0  # of text passed through the steps
    _unreadable: list[dict[str, Any]] = field(default_factory=list)
    _skipped: dict[str, int] = field(default_factory=dict)
    _summaries: list[Summary] = field(default_factory=list)
    _end: list[int] = field(default_factory=list)
    _records: int = 0  # taken, of every kind
    _lost: int = 0  # of them, unreadable
    _counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("documents", "kept", "rejected"), 0))

    def __post_init__(self) -> None:
        """Open the files."""
        signals = signal_fields(self.settings.config)
        wanted = {
            "documents": pa.schema([*DOCUMENT, *signals]),
            "rejected": schema(signals, rejected=True),
            "unreadable": UNREADABLE,
            "signatures": signature_schema(self.settings.config.deduplicate),
        }
        self._writers = {kind: Writer(self._path(kind), columns) for kind, columns in wanted.items()}

    def _path(self, kind: str) -> str:
        return storage.join(self.settings.folder, kind, self.name + ".parquet")

    def fill(self, events: Iterator[tuple[int, Piece, Event]]) -> bool:
        """Take events until the part is full; return whether they came to an end."""
        for index, piece, event in events:
            self._take(piece, event)
            self._end = [index, event.position, event.offset]
            if self._full():
                self._flush()
                if self._bytes >= self.settings.config.ingest.part_bytes:
                    return False
        self._flush()
        return True

    @property
    def reached(self) -> int:
        """The number of the piece that was read last."""
        return self._end[0] if self._end else 0

    def _full(self) -> bool:
        """Tell whether enough waits to be passed through the steps and written."""
        many = len(self._unreadable) >= BATCH_RECORDS or self._records % BATCH_RECORDS == 0
        return many or len(self._rows) >= BATCH_DOCUMENTS or self._waiting >= BATCH_CHARACTERS

    def _take(self, piece: Piece, event: Event) -> None:
        """Put an event where it belongs."""
        self._records += event.records if isinstance(event, Unreadable) else 1
        given = self.settings.config.input[piece.input]
        identity = document_id(given.name, piece.relative, event.position)
        if isinstance(event, Skipped):
            self._skip(event.kind)
        elif not is_sampled(identity, self.settings.document_share):
            self._skip(NOT_SAMPLED)
        elif isinstance(event, Unreadable):
            at = {"path": piece.path, "position": event.position, "offset": event.offset}
            self._unreadable.append({**at, "error": event.error[:ERROR_CHARACTERS], "records": event.records})
            self._lost += event.records
        elif isinstance(event, TooLarge):
            self._reject_unread(piece, event, identity)
        else:
            self._rows.append(_row(piece, event, identity, given.name))
            self._waiting += len(event.text)

    def _skip(self, kind: str) -> None:
        self._skipped[kind] = self._skipped.get(kind, 0) + 1

    def _reject_unread(self, piece: Piece, event: TooLarge, identity: str) -> None:
        """Reject a record that was never held."""
        limit = self.settings.config.ingest.max_document_bytes
        source = self.settings.config.input[piece.input].name
        verdict = {"reason": "too_large", "value": float(event.size), "threshold": float(limit)}
        unread = Record(position=event.position, offset=event.offset, text="", url=event.url)
        row = {**_row(piece, unread, identity, source), **verdict}
        self._reject(pa.Table.from_pylist([row], schema=schema([], rejected=True)))
        self._counts["documents"] += 1

    def _flush(self) -> None:
        """Pass the waiting documents through the steps and write them."""
        if self._rows:
            table = pa.Table.from_pylist(self._rows, schema=DOCUMENT)
            self._counts["documents"] += len(table)
            self._bytes += text_bytes(table)
            self._summaries.append({"sources": {"in": counts(table["source"].to_pylist())}})
            kept, rejected = apply(table, _steps(self.settings))
            for part in rejected:
                self._reject(part)
            if len(kept):
                self._keep(kept, table)
        if self._unreadable:
            errors = pa.Table.from_pylist(self._unreadable, schema=UNREADABLE)
            self._writers["unreadable"].write(errors)
            kinds = counts(kind for row in self._unreadable for kind in repeat(_kind(row["error"]), row["records"]))
            self._summaries.append({"unreadable": kinds, "unreadable_of": {self.input: kinds}})
        self._summaries.append({"skipped": self._skipped})
        self._rows, self._unreadable, self._skipped, self._waiting = [], [], {}, 0
        self._summaries = [merge(self._summaries)]

    def _keep(self, kept: pa.Table, read: pa.Table) -> None:
        self._writers["documents"].write(kept)
        self._writers["signatures"].write(sign(kept, self.settings.config.deduplicate))
        self._counts["kept"] += len(kept)
        self._summaries.append(kept_summary(kept, read))

    def _reject(self, rejected: pa.Table) -> None:
        stage = pa.array(["ingest"] * len(rejected))
        rejected = rejected.select([name for name in rejected.column_names if name != "stage"])
        rejected = rejected.append_column("stage", stage)
        self._counts["rejected"] += len(rejected)
        self._summaries.append(reject_summary(rejected))
        self._writers["rejected"].write(cut_texts(rejected, self.settings.config.output.rejected_text))

    def close(self, *, last: bool) -> dict[str, Any]:
        """Let the files appear and return the part's record."""
        for writer in self._writers.values():
            writer.close()
        rows = {**{kind: writer.rows for kind, writer in self._writers.items()}, "unreadable": self._lost}
        by_input = {self.input: {**self._counts, "records": self._records, "unreadable": self._lost}}
        summary = merge([*self._summaries, {"rows": rows, "records": self._records, "inputs": by_input}])
        place = {"end": self._end or [0, 0, 0], "last": last}
        sizes = {"bytes": self._bytes, "kept_bytes": summary.get("bytes", {}).get("kept", 0)}
        return {**self._counts, **place, **sizes, "name": self.name, "summary": summary}

    def abandon(self, error: BaseException) -> None:
        """Remove the unfinished files."""
        for writer in self._writers.values():
            writer.abandon(error)


_NUMBER = re.compile(r"(?<![\w-])\d+")
_VALUE = re.compile(r"""(?<!field )(?<!column )('[^']*'|"[^"]*")""")


def load_kernels(config: Config) -> None:
    """Compile and load what our own steps run, on a text of no matter: processes that are forked then have it."""
    ours = tuple(name for name in config.ingest.steps if ":" not in name)
    piece, record = Piece(path="", relative="", input=0, size=0, changed=0.0), Record(position=0, offset=0, text=PLAIN)
    documents = pa.Table.from_pylist([_row(piece, record, "", "")], schema=DOCUMENT)
    kept, _ = apply(documents, make_steps(replace(config, ingest=replace(config.ingest, steps=ours))))
    if len(kept):
        sign(kept, config.deduplicate)
    units.load_kernels()


_STEPS: dict[str, list[Step]] = {}  # by folder, which stands for the configuration


def _steps(settings: Settings) -> list[Step]:
    """Return the compiled steps, made once in a process."""
    if settings.folder not in _STEPS:
        _STEPS[settings.folder] = make_steps(settings.config)
    return _STEPS[settings.folder]


def _row(piece: Piece, event: Record, identity: str, source: str) -> dict[str, Any]:
    return {
        "id": identity,
        "path": piece.path,
        "position": event.position,
        "source_id": event.source_id,
        "url": event.url,
        "host": host(event.url),
        "source": event.source or source,
        "date": event.date,
        "language": "",
        "meta": event.meta,
        "text": event.text,
    }


def _kind(error: str) -> str:
    """Return an error without the record's own numbers and values, to count kinds; the fields it has help its user."""
    return _VALUE.sub("…", _NUMBER.sub("N", error))

"""The columns of a document, and tables of them."""

import contextlib
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage

DOCUMENT = pa.schema(
    [
        ("id", pa.string()),  # 128-bit hash, hex
        ("path", pa.string()),
        ("position", pa.int64()),  # of the record in the file
        ("source_id", pa.string()),
        ("url", pa.string()),
        ("host", pa.string()),
        ("source", pa.string()),
        ("date", pa.string()),
        ("language", pa.string()),
        ("meta", pa.string()),
        ("text", pa.large_string()),
    ]
)
VERDICT = pa.schema(
    [
        ("stage", pa.string()),
        ("round", pa.int32()),
        ("reason", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("similarity", pa.float64()),  # to the document it duplicates
        ("duplicate_of", pa.string()),
        ("duplicate_in", pa.string()),  # output folder of the earlier run that has it; null: this one
        ("linked_to", pa.string()),
        ("cluster", pa.string()),
    ]
)
UNREADABLE = pa.schema(
    [
        ("path", pa.string()),
        ("position", pa.int64()),
        ("offset", pa.int64()),
        ("error", pa.string()),
        ("records", pa.int64()),  # that this error took: more than one where a whole Parquet file or row group is lost
    ]
)
SCORES = (  # of the last round that counts; null where nothing was judged
    pa.field("fold", pa.int8()),
    pa.field("score", pa.float64()),  # log-odds of damage, were half of all damaged; the surrogate's where not read
    pa.field("cut_score", pa.float64()),  # the score from which documents like it are rejected
    pa.field("mainly", pa.string()),  # the signal that adds most to the score, and the side
    pa.field("loss", pa.float64()),  # nats per token; null, as what follows, where the TransNormer did not read
    pa.field("bits_per_byte", pa.float64()),
    pa.field("bits_per_byte_z", pa.float64()),
    pa.field("scored_tokens", pa.int64()),
    *(pa.field(name, pa.float32()) for name in ("slope", "loss_deviation", "beyond_trigram")),
    pa.field("context_gain", pa.float32()),  # bits per byte; null where the configuration does not ask for it
    *(pa.field(name, pa.float32()) for name in ("unigram_bits", "trigram_gain", "cache_gain", "prior_deviation")),
    *(
        pa.field(name, pa.float32())
        for name in ("unevenness", "isolation", "returning", "repetition", "tokens_per_byte")
    ),
    *(pa.field(name, pa.float32()) for name in ("reject_unigrams", "reject_trigrams")),
)
CUTS = (  # where lines that other documents own were cut; null where no lines are compared
    pa.field("cut_bytes", pa.int64()),
    pa.field("cut_spans", pa.list_(pa.int64())),  # first and last + 1 byte of each, in the text as ingest left it
)
COMPRESSION = {"compression": "zstd", "compression_level": 1}


def document_id(name: str, relative: str, position: int) -> str:
    """Return the 128-bit hash, hex, of an input's name, a path relative to its pattern and a record's place.

    The same on every run and machine; adding a file changes no other id.
    """
    return blake2b(f"{name}\0{relative}\0{position}".encode(), digest_size=16).hexdigest()


def host(url: str) -> str:
    """Return the host of a URL in lower case, empty when there is none."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def schema(signals: Sequence[pa.Field], *, rejected: bool) -> pa.Schema:
    """Return the schema of published documents or rejects with these signal columns."""
    return pa.schema([*DOCUMENT, *(VERDICT if rejected else []), *signals, *SCORES, *CUTS])


def conform(table: pa.Table, wanted: pa.Schema) -> pa.Table:
    """Return a table with exactly the wanted columns; missing ones are null."""
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in wanted
    ]
    return pa.table(columns, schema=wanted)


class Writer:
    """A Parquet file that appears when it is closed; row groups as they are written."""

    def __init__(self, path: str, wanted: pa.Schema) -> None:
        self.rows = 0
        self._schema = wanted
        self._created = storage.create(path)
        self._writer = pq.ParquetWriter(self._created.__enter__(), wanted, **COMPRESSION)

    def write(self, table: pa.Table) -> None:
        """Append rows; missing columns are null."""
        if len(table):
            self._writer.write_table(conform(table, self._schema))
            self.rows += len(table)

    def close(self) -> None:
        """Finish the file and let it appear."""
        self._writer.close()
        self._created.__exit__(None, None, None)

    def abandon(self, error: BaseException) -> None:
        """Leave nothing behind, and nothing that speaks when it is forgotten; what cannot be removed is swept later."""
        with contextlib.suppress(OSError, ValueError):
            self._writer.close()
        self._writer.is_open = False  # where it could not be closed, its destructor would print the reason
        with contextlib.suppress(OSError):
            self._created.__exit__(type(error), error, error.__traceback__)


def read_table(path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file that was written here.

    Workers have a core each, so here, and in what tasks read elsewhere, nothing is given to a second thread, which
    would wait for the core of another worker; but to one that asks a store ahead.
    """
    with storage.open_input(path) as file:
        parquet = pq.ParquetFile(file, pre_buffer=not storage.is_local(path))
        return parquet.read(columns=None if columns is None else list(columns), use_threads=False)


def read_batches(path: str, columns: Sequence[str] | None = None) -> Any:
    """Yield the row groups of a Parquet file as tables, one at a time."""
    chosen = None if columns is None else list(columns)
    with storage.open_input(path) as file:
        parquet = pq.ParquetFile(file, pre_buffer=False)
        for group in range(parquet.num_row_groups):
            yield parquet.read_row_group(group, columns=chosen, use_threads=False)


def write_table(path: str, table: pa.Table) -> None:
    """Write a table as one Parquet file in one step."""
    with storage.create(path) as file:
        pq.write_table(table, file, **COMPRESSION)

"""Parquet: the row groups of a piece, a batch of rows at a time."""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.config import Input
from pipeline.formats.compression import WatchedStream
from pipeline.formats.lines import from_fields
from pipeline.formats.record import Event, TooLarge, Unreadable

ROWS, BATCH_BYTES = 256, 16_000_000  # read at once, unless one row is larger
WRONG_PARQUET = (pa.ArrowException, OSError, ValueError, OverflowError)  # what wrong bytes or values raise

Fields = dict[str, Any]


def read_parquet(
    stream: BinaryIO, given: Input, groups: tuple[int, int] | None, limit: int, after: int = -1
) -> Iterator[Event]:
    """Yield the rows of row groups [first, last) (None: all); groups that end before row `after` are not read.

    `position` and `offset` are the row's number in the file.
    """
    watched, row, lost = WatchedStream(stream), 0, 1
    try:
        file = pq.ParquetFile(watched)
        first, last = groups or (0, file.num_row_groups)
        sizes = [file.metadata.row_group(group).num_rows for group in range(last)]
        row = sum(sizes[:first])
        there = file.schema_arrow.names
        error = "" if given.text in there else no_column(there, given.text)
        lost = max(1, sum(sizes[first:]))
    except WRONG_PARQUET as wrong:
        watched.raise_failure()
        error = f"not readable as Parquet: {wrong}"
    if error:
        yield Unreadable(position=row, offset=row, error=error, records=lost)
        return
    for group in range(first, last):
        at = row
        row += sizes[group]
        if row <= after + 1:
            continue
        try:
            for fields, size in _read_rows(file, group, given.text, limit):
                yield _row_event(fields, at, given) if size <= limit else TooLarge(position=at, offset=at, size=size)
                at += 1
        except WRONG_PARQUET as wrong:
            watched.raise_failure()
            lost = max(1, row - at)
            yield Unreadable(position=at, offset=at, error=f"row group {group} is damaged: {wrong}", records=lost)


def no_column(there: Sequence[str], name: str) -> str:
    """Say that a column is missing, and which are there."""
    return f"no column {name!r}; the file has {', '.join(there)}"


def _read_rows(file: pq.ParquetFile, group: int, text: str, limit: int) -> Iterator[tuple[Fields | ValueError, int]]:
    """Yield every row of a group and the bytes of its text, which is left out where it is over the limit.

    A row that holds what Python cannot is the error instead.
    """
    stored = file.metadata.row_group(group)
    rows = _rows_at_once(stored.num_rows, stored.total_byte_size)
    for batch in file.iter_batches(batch_size=rows, row_groups=[group], use_threads=False):
        step = _rows_at_once(len(batch), sum(_size(column) for column in batch.columns))
        for start in range(0, len(batch), step):
            yield from _as_fields(batch.slice(start, step), text, limit)


def _rows_at_once(rows: int, size: int) -> int:
    """Return how many of so many rows of so many bytes are taken at once, 1 to 256."""
    return max(1, min(ROWS, rows * BATCH_BYTES // max(size, 1)))


def _size(column: pa.Array) -> int:
    """Return the bytes of a column, with those that rows share counted for each of them."""
    if not pa.types.is_dictionary(column.type) or not _is_text(column.type):
        return int(column.nbytes)
    return pc.sum(pc.take(pc.binary_length(column.dictionary), column.indices)).as_py() or 0


def _as_fields(batch: pa.RecordBatch, text: str, limit: int) -> Iterator[tuple[Fields | ValueError, int]]:
    place = batch.schema.get_field_index(text)
    column, sizes = batch.column(place), [0] * len(batch)
    if _is_text(column.type):
        column = column.cast(pa.large_string())
        length = pc.fill_null(pc.binary_length(column), 0)
        sizes = length.to_pylist()
        short = pc.if_else(pc.greater(length, limit), pa.scalar(None, pa.large_string()), column)
        batch = batch.set_column(place, text, short)
    written = _dates_as_text(batch)
    try:
        rows = written.to_pylist()
    except ValueError:
        rows = [_read_row(written.slice(i, 1)) for i in range(len(written))]
    yield from zip(rows, sizes, strict=True)


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _read_row(row: pa.RecordBatch) -> Fields | ValueError:
    try:
        fields: Fields = row.to_pylist()[0]
    except ValueError as error:
        return error
    return fields


def _dates_as_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch with its times written out (in UTC): Python holds neither nanoseconds nor every year."""
    columns = [
        column.cast(pa.timestamp(column.type.unit)).cast(pa.string())
        if pa.types.is_timestamp(column.type)
        else column.cast(pa.string())
        if pa.types.is_date(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _row_event(fields: Fields | ValueError, row: int, given: Input) -> Event:
    """Return what one row is."""
    if isinstance(fields, ValueError):
        return Unreadable(position=row, offset=row, error=f"a value cannot be read: {fields}")
    return from_fields(row, row, fields, given)

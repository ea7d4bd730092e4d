"""Parquet: the row groups of a piece, a batch of rows at a time."""

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import Input
from pipeline.formats.compression import WatchedStream
from pipeline.formats.lines import from_fields
from pipeline.formats.record import Event, TooLarge, Unreadable

ROWS = 256  # read at once
WRONG_PARQUET = (pa.ArrowException, OSError, ValueError, OverflowError)  # what wrong bytes or values raise

Fields = dict[str, Any]


def read_parquet(
    stream: BinaryIO, given: Input, groups: tuple[int, int] | None, limit: int, after: int = -1
) -> Iterator[Event]:
    """Yield the rows of row groups [first, last) (None: all); groups that end before row `after` are not read.

    `position` and `offset` are the row's number in the file.
    """
    watched, row = WatchedStream(stream), 0
    try:
        file = pq.ParquetFile(watched)
        first, last = groups or (0, file.num_row_groups)
        sizes = [file.metadata.row_group(group).num_rows for group in range(last)]
        row = sum(sizes[:first])
        error = _no_column(file, given.text)
    except WRONG_PARQUET as wrong:
        watched.raise_failure()
        error = f"not readable as Parquet: {wrong}"
    if error:
        yield Unreadable(position=row, offset=row, error=error)
        return
    for group in range(first, last):
        at = row
        row += sizes[group]
        if row <= after + 1:
            continue
        try:
            for fields in _read_rows(file, group):
                yield _row_event(fields, at, given, limit)
                at += 1
        except WRONG_PARQUET as wrong:
            watched.raise_failure()
            yield Unreadable(position=at, offset=at, error=f"row group {group} is damaged: {wrong}")


def _no_column(file: pq.ParquetFile, name: str) -> str:
    """Say that a column is missing; empty when it is there."""
    there = file.schema_arrow.names
    return "" if name in there else f"no column {name!r}; the file has {', '.join(there)}"


def _read_rows(file: pq.ParquetFile, group: int) -> Iterator[Fields | ValueError]:
    """Yield the rows of a group; the error instead of a row that holds what Python cannot."""
    for batch in file.iter_batches(batch_size=ROWS, row_groups=[group]):
        written = _dates_as_text(batch)
        try:
            rows = written.to_pylist()
        except ValueError:
            rows = [_read_row(written.slice(i, 1)) for i in range(len(written))]
        yield from rows


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


def _row_event(fields: Fields | ValueError, row: int, given: Input, limit: int) -> Event:
    """Return what one row is."""
    if isinstance(fields, ValueError):
        return Unreadable(position=row, offset=row, error=f"a value cannot be read: {fields}")
    text = fields.get(given.text)
    size = len(text.encode()) if isinstance(text, str) else 0
    if size > limit:
        return TooLarge(position=row, offset=row, size=size)
    return from_fields(row, row, fields, given)

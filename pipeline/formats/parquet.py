"""Parquet: the row groups of a piece, a batch of rows at a time."""

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import Input
from pipeline.formats.lines import from_fields
from pipeline.formats.record import Event, TooLarge, Unreadable

ROWS = 256  # read at once


def read_parquet(
    stream: BinaryIO, given: Input, groups: tuple[int, int] | None, limit: int, after: int
) -> Iterator[Event]:
    """Yield the rows of row groups [first, last) (None: all) that come after row `after`.

    `position` and `offset` are the row's number in the file.
    """
    try:
        file = pq.ParquetFile(stream)
        first, last = groups or (0, file.num_row_groups)
        row = sum(file.metadata.row_group(i).num_rows for i in range(first))
        if given.text not in file.schema_arrow.names:
            there = ", ".join(file.schema_arrow.names)
            yield Unreadable(position=row, offset=row, error=f"no column {given.text!r}; the file has {there}")
            return
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        yield Unreadable(position=0, offset=0, error=f"not readable as Parquet: {error}")
        return
    for group in range(first, last):
        rows = file.metadata.row_group(group).num_rows
        if row + rows > after + 1:
            yield from _read_group(file, group, given, row, limit, after)
        row += rows


def _read_group(file: pq.ParquetFile, group: int, given: Input, row: int, limit: int, after: int) -> Iterator[Event]:
    try:
        for batch in file.iter_batches(batch_size=ROWS, row_groups=[group]):
            for fields in batch.to_pylist():
                if row > after:
                    text = fields.get(given.text)
                    size = len(text.encode()) if isinstance(text, str) else 0
                    large = size > limit
                    yield (
                        TooLarge(position=row, offset=row, size=size) if large else from_fields(row, row, fields, given)
                    )
                row += 1
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the store failed, not the bytes
        yield Unreadable(position=row, offset=row, error=f"row group {group} is damaged: {error}")

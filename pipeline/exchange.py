"""Exchange: rows that tasks of one stage leave on disk for tasks of the next, by the number of the task that reads.

A file holds one record batch for each reader, so a reader takes its slice of every file and nothing else. What a
runner holds of a shuffle is the whole shuffle (FnApiRunner: four to five times its bytes); what is held here is one
slice of one file, or one reader's slices.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import storage

Array = npt.NDArray[Any]


def write_rows(path: str, reader: Array, rows: Array, readers: int) -> None:
    """Write rows (n, of a structured type) for the readers (n, below `readers`) that take them; order is kept."""
    small = np.uint16 if readers <= 1 << 16 else np.int64  # sorted by radix
    order = np.argsort(reader.astype(small), kind="stable")
    edges = np.searchsorted(reader[order], np.arange(readers + 1))
    ordered = rows[order]
    with slices(path, rows.dtype) as write:
        for i in range(readers):
            write(ordered[edges[i] : edges[i + 1]])


@contextlib.contextmanager
def slices(path: str, kind: np.dtype[Any]) -> Iterator[Callable[[Array], None]]:
    """Open a file for one slice of rows after the other, for the readers in order."""
    schema = pa.schema([("row", pa.binary(kind.itemsize))])
    with storage.create(path) as file, pa.ipc.new_file(file, schema) as writer:

        def write(rows: Array) -> None:
            data = pa.py_buffer(np.ascontiguousarray(rows))
            column = pa.FixedSizeBinaryArray.from_buffers(schema.field(0).type, len(rows), [None, data])
            writer.write_batch(pa.record_batch([column], schema=schema))

        yield write


def read_rows(path: str, reader: int, kind: np.dtype[Any]) -> Array:
    """Return what a file holds for a reader."""
    with storage.open_input(path) as file:
        return _rows(pa.ipc.open_file(file).get_batch(reader), kind)


def read_slices(path: str, kind: np.dtype[Any]) -> Iterator[Array]:
    """Yield the slices of a file, one at a time."""
    with storage.open_input(path) as file:
        opened = pa.ipc.open_file(file)
        for number in range(opened.num_record_batches):
            yield _rows(opened.get_batch(number), kind)


def _rows(batch: pa.RecordBatch, kind: np.dtype[Any]) -> Array:
    column = batch.column(0)
    return np.frombuffer(column.buffers()[1] or b"", kind)[column.offset : column.offset + len(column)]


def read_every(paths: Sequence[str], reader: int, kind: np.dtype[Any]) -> Array:
    """Return what all files hold for a reader, in the order of the files."""
    return np.concatenate([np.empty(0, kind), *(read_rows(path, reader, kind) for path in paths)])


def runs(keys: Array, rows: Array) -> Iterator[tuple[int, Array]]:
    """Yield (key, its rows) for sorted keys."""
    if len(keys):
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        for start, stop in zip(starts, [*starts[1:], len(keys)], strict=True):
            yield int(keys[start]), rows[start:stop]


@dataclass(slots=True)
class Spill:
    """Rows for readers that come in pieces: written to one file after the other, each of a bounded size."""

    folder: str
    name: str  # of the files below the folder, without their numbers
    readers: int
    kind: np.dtype[Any]
    limit: int  # bytes held
    files: list[str] = field(default_factory=list)
    _held: list[tuple[Array, Array]] = field(default_factory=list)
    _bytes: int = 0

    def add(self, reader: Array, rows: Array) -> None:
        """Take rows (n) for readers (n)."""
        if len(rows):
            self._held.append((reader, rows))
            self._bytes += rows.nbytes
        if self._bytes >= self.limit:
            self.close()

    def close(self) -> list[str]:
        """Write what is held; return the names of all files, below the folder."""
        if self._held:
            name = f"{self.name}-{len(self.files):03d}.arrow"
            reader, rows = (np.concatenate(column) for column in zip(*self._held, strict=True))
            write_rows(storage.join(self.folder, name), reader, rows, self.readers)
            self.files.append(name)
            self._held, self._bytes = [], 0
        return self.files

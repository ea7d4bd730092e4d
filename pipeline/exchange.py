"""Exchange: rows that tasks of one stage leave on disk for tasks of the next, by the number of the task that reads.

A file is the slices of its readers, one after the other, then where each begins and the last ends (int64, in rows),
then how many readers there are (int64), in this machine's byte order. So a reader takes the end of every file and its
slice, and of many readers' places its own: on a disk in 16 us, of a store by one to three requests. The footer of an
Arrow file names the slices of all: 170 us, and what grows faster than the corpus is readers times files. What a runner
holds of a shuffle is the whole shuffle (FnApiRunner: four to five times its bytes); what is held here is one slice of
one file, or one reader's slices.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline import storage

Array = npt.NDArray[Any]
EDGE_BYTES = 8
STORE_END_BYTES = 1 << 16  # read first of a store: the places of up to 8,190 readers, and of a small file all
DISK_END_BYTES = 1 << 12  # of a disk, where a second look costs less than 60 KB more: the places of 510 readers


def write_rows(path: str, reader: Array, rows: Array, readers: int) -> None:
    """Write rows (n, of a structured type) for the readers (n, below `readers`) that take them; order is kept."""
    grouped, edges = by_reader(reader, rows, readers)
    with slices(path, rows.dtype) as write:
        for i in range(readers):
            write(grouped[edges[i] : edges[i + 1]])


def by_reader(reader: Array, rows: Array, readers: int) -> tuple[Array, Array]:
    """Return rows (n) grouped by their readers (n), in order, and where each reader's begin (readers + 1).

    One pass with as many places to write to: to sort and gather them takes four times as long at ten million documents,
    and longer the more readers there are, because each one's rows are collected from all of memory.
    """
    assert len(reader) == len(rows)
    edges = np.concatenate([[0], np.cumsum(np.bincount(reader, minlength=readers))])
    grouped = np.empty(len(rows), rows.dtype)
    _scatter(np.ascontiguousarray(reader), _bytes_of(rows), edges[:-1].copy(), _bytes_of(grouped))
    return grouped, edges


def _bytes_of(rows: Array) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), rows.dtype.itemsize)


@njit(cache=True, nogil=True)
def _scatter(reader: Array, rows: Array, at: Array, grouped: Array) -> None:
    """Copy each row (n, bytes) to the next place of its reader; `at` (readers) moves on."""
    for i in range(reader.shape[0]):
        place = at[reader[i]]
        at[reader[i]] += 1
        for j in range(rows.shape[1]):
            grouped[place, j] = rows[i, j]


@contextlib.contextmanager
def slices(path: str, kind: np.dtype[Any]) -> Iterator[Callable[[Array], None]]:
    """Open a file for one slice of rows after the other, for the readers in order."""
    edges = [0]
    with storage.create(path) as file:

        def write(rows: Array) -> None:
            assert rows.dtype == kind
            if len(rows):  # slices are as many as pairs of tasks, and most may be empty
                file.write(_bytes_of(rows).data)
            edges.append(edges[-1] + len(rows))

        yield write
        file.write(np.array([*edges, len(edges) - 1], np.int64).data)


def read_rows(path: str, reader: int, kind: np.dtype[Any]) -> Array:
    """Return what a file holds for a reader; it cannot be written to."""
    return np.frombuffer(_read_slice(path, reader, kind.itemsize), kind)


def read_every(paths: Sequence[str], reader: int, kind: np.dtype[Any]) -> Array:
    """Return what all files hold for a reader, in the order of the files."""
    parts = [_read_slice(path, reader, kind.itemsize) for path in paths]
    return np.frombuffer(bytearray().join(parts), kind)  # joining arrays asks for the type of each field of each


def _read_slice(path: str, reader: int, size: int) -> bytes:
    """Return the rows for a reader, each of `size` bytes: of a store by one to three requests."""
    with storage.parts(path) as (read_end, read_part):
        end = read_end(DISK_END_BYTES if storage.is_local(path) else STORE_END_BYTES)
        readers = _count(end)
        if not 0 <= reader < readers:
            raise IndexError(f"{path} is for {readers} readers")
        places = _count(end[:-EDGE_BYTES]) * size  # begin where the last slice ends
        begin = places + (readers + 2) * EDGE_BYTES - len(end)
        own = places + reader * EDGE_BYTES

        def part(start: int, stop: int) -> bytes:
            return end[start - begin : stop - begin] if start >= begin else read_part(start, stop)

        first, last = (np.frombuffer(part(own, own + 2 * EDGE_BYTES), np.int64) * size).tolist()
        return part(first, last) if first < last else b""


def read_slices(path: str, kind: np.dtype[Any]) -> Iterator[Array]:
    """Yield the slices of a file, one at a time."""
    with storage.open_input(path) as file:
        file.seek(-EDGE_BYTES, os.SEEK_END)
        readers = _count(file.read(EDGE_BYTES))
        file.seek(-(readers + 2) * EDGE_BYTES, os.SEEK_END)
        sizes = np.diff(np.frombuffer(file.read((readers + 1) * EDGE_BYTES), np.int64)).tolist()
        file.seek(0)
        for size in sizes:
            yield np.frombuffer(file.read(size * kind.itemsize), kind)


def _count(end: bytes) -> int:
    """Return the number at the end of a file's last bytes: how many readers it is for."""
    return int.from_bytes(end[-EDGE_BYTES:], sys.byteorder)


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
            name = f"{self.name}-{len(self.files):03d}.rows"
            reader, rows = (np.concatenate(column) for column in zip(*self._held, strict=True))
            write_rows(storage.join(self.folder, name), reader, rows, self.readers)
            self.files.append(name)
            self._held, self._bytes = [], 0
        return self.files

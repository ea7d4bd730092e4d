"""The plan: inputs found, packed and split into shards of about one size.

A pure function of the sorted list of inputs (path, size, time of change) and the configuration, so that every run and
every machine cuts the corpus in the same places.
"""

import math
import os
import re
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import pyarrow.parquet as pq

from pipeline import object_store
from pipeline.config import Config, ConfigError, Input
from pipeline.formats.compression import WatchedStream
from pipeline.formats.parquet import WRONG_PARQUET
from pipeline.formats.recognise import is_compressed, recognise
from pipeline.storage import is_local, open_input

# Small corpora still get this many shards, so that every core has work and progress is seen.
MIN_SHARDS = 16
MIN_SHARD_BYTES = 500_000
OPENED_AT_ONCE = 8  # files that may be split: in a store a few requests each, which are waited for
_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A file, or the part of one that a shard reads."""

    path: str
    relative: str  # to the fixed prefix of its pattern; goes into the ids
    input: int  # number of the [[input]]
    size: int  # bytes of this piece, as stored
    changed: float  # seconds since the epoch
    stored: int = 0  # bytes of the whole file
    start: int = 0  # byte range of a line format
    stop: int | None = None
    groups: tuple[int, int] | None = None  # row groups [first, last) of a Parquet file
    error: str = ""  # why it is no file


@dataclass(frozen=True, slots=True)
class Shard:
    """A task of ingest."""

    key: str
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Bytes as stored."""
        return sum(piece.size for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Plan:
    """The shards, and the share of the documents that is taken from them."""

    shards: tuple[Shard, ...]
    files: int  # found
    chosen: int  # of them, for a sample
    size: int  # bytes of all inputs found, sampled or not
    document_share: float  # below 1 for --sample


def make_plan(config: Config) -> Plan:
    """Find the inputs and cut them into shards.

    Raises ConfigError for a pattern that matches nothing, and for files whose documents would share ids.
    """
    files = find_all(config)
    chosen, share = _sample(files, config.sample)
    total = sum(piece.size for piece in chosen)
    target = min(config.ingest.shard_bytes, max(total // MIN_SHARDS, MIN_SHARD_BYTES))
    with ThreadPoolExecutor(OPENED_AT_ONCE) as threads:
        split = threads.map(lambda piece: _split(piece, config.input[piece.input], target), chosen)
        pieces = [part for parts in split for part in parts]
    groups = list(_pack(pieces, target))
    shards = tuple(Shard(f"{i:05d}", tuple(group)) for i, group in enumerate(groups))
    return Plan(shards, len(files), len(chosen), sum(piece.size for piece in files), share)


def find_all(config: Config) -> list[Piece]:
    """Return the files of all inputs; raises ConfigError as `make_plan` does, and opens none."""
    return [piece for number, given in enumerate(config.input) for piece in find(given, number)]


def find(given: Input, number: int) -> list[Piece]:
    """Return the files that an input's patterns match, each once, sorted by path."""
    found: dict[str, Piece] = {}
    for pattern in given.paths:
        matches = list(_match(pattern))
        if not matches:
            here = "" if "://" in pattern or os.path.isabs(pattern) else f" in {os.getcwd()}"  # noqa: PTH117, PTH109
            raise ConfigError(f"input {given.name!r}: nothing matches {pattern}{here}")
        if _is_folder(pattern):
            raise ConfigError(
                f"input {given.name!r}: {pattern} is a folder; name its files, as in {pattern.rstrip('/')}/** for all"
            )
        for path, size, changed, error in matches:
            piece = Piece(
                path=path,
                relative=path[len(_prefix(pattern)) :],
                input=number,
                size=size,
                changed=changed,
                stored=size,
                error=error,
            )
            found.setdefault(path, piece)
    pieces = [found[path] for path in sorted(found)]
    _refuse_equal_ids(given, pieces)
    return pieces


def _refuse_equal_ids(given: Input, pieces: list[Piece]) -> None:
    """Raise ConfigError where two files would give their documents the same ids."""
    seen: dict[str, str] = {}
    for piece in pieces:
        other = seen.setdefault(piece.relative, piece.path)
        if other != piece.path:
            raise ConfigError(
                f"input {given.name!r}: {other} and {piece.path} have the same name below their patterns, so their "
                "documents would share ids; use one pattern for both, or two [[input]] tables"
            )


def _prefix(pattern: str) -> str:
    """Return the folder that a pattern names before its first wildcard."""
    magic = None if _is_there(pattern) else _GLOB.search(pattern)
    fixed = pattern[: magic.start()] if magic else pattern
    return fixed[: fixed.rfind("/") + 1]


def _match(pattern: str) -> Iterator[tuple[str, int, float, str]]:
    """Yield path, size, time of change and, for what is no file that can be read, why."""
    try:
        if is_local(pattern):
            yield from (_looked_at(path) for path in _paths(pattern))
            return
        for path, size, changed in object_store.match(pattern):
            yield path, size, changed, ""
    except (ValueError, OSError) as error:  # no pattern, no file system, or one that refuses
        raise ConfigError(f"--input {pattern}: {error}") from error


def _looked_at(path: Path) -> tuple[str, int, float, str]:
    name = os.fspath(path)
    printable = os.fsencode(name).decode("utf-8", "backslashreplace")
    if printable != name:
        return printable, 0, 0.0, "its name is not UTF-8"
    try:
        status = path.stat()
    except OSError as error:  # links that lead nowhere, or in a circle
        return name, 0, 0.0, error.strerror or "not there"
    kind = _no_file(status.st_mode)
    return name, 0 if kind else status.st_size, status.st_mtime, kind


def _paths(pattern: str) -> Iterator[Path]:
    """Yield what a local pattern matches; a recursive one takes files and no folders."""
    if _is_there(pattern):
        yield Path(pattern)
        return
    prefix = _prefix(pattern)
    below = pattern[len(prefix) :] + ("/*" if pattern.endswith("**") else "")
    yield from (p for p in Path(prefix or ".").glob(below) if "**" not in below or not p.is_dir())


def _is_there(pattern: str) -> bool:
    """Tell whether a pattern is the name of something: brackets and stars are legal in names."""
    return is_local(pattern) and os.path.lexists(pattern)


def _is_folder(pattern: str) -> bool:
    return is_local(pattern) and Path(pattern).is_dir()


def _no_file(mode: int) -> str:
    """Say why something is no regular file; empty when it is one."""
    if stat.S_ISREG(mode):
        return ""
    kind = "folder" if stat.S_ISDIR(mode) else "FIFO" if stat.S_ISFIFO(mode) else "device or socket"
    return f"a {kind}, not a file"


def _sample(files: list[Piece], share: float) -> tuple[list[Piece], float]:
    """Choose whole inputs by hash until they hold the share, and the share of their documents that is left to take."""
    if share >= 1:
        return files, 1.0
    wanted, size = share * sum(piece.size for piece in files), 0
    chosen: list[Piece] = []
    for piece in sorted(files, key=lambda p: blake2b(p.relative.encode(), digest_size=8).digest()):
        if chosen and size >= wanted:
            break
        chosen.append(piece)
        size += piece.size
    chosen.sort(key=lambda p: (p.input, p.path))
    return chosen, min(1.0, wanted / max(1, size))


def _split(piece: Piece, given: Input, target: int) -> list[Piece]:
    """Cut a large file where its format allows: lines by bytes, Parquet by row groups, others not at all."""
    if piece.size <= target or piece.error:
        return [piece]
    with open_input(piece.path) as stream:
        kind = "" if is_compressed(stream) else recognise(stream, piece.path)
        if kind == "parquet":
            return list(_split_groups(piece, stream, target))
    if kind == "jsonl" or (kind == "txt" and given.txt == "lines"):
        return list(_split_lines(piece, target))
    return [piece]


def _split_lines(piece: Piece, target: int) -> Iterator[Piece]:
    """Cut a file of lines into equal ranges of bytes of about the target size."""
    count = math.ceil(piece.size / target)
    edges = [piece.size * i // count for i in range(count + 1)]
    for start, stop in pairwise(edges):
        last = None if stop == piece.size else stop
        yield replace(piece, start=start, stop=last, size=stop - start)


def _split_groups(piece: Piece, stream: BinaryIO, target: int) -> Iterator[Piece]:
    """Cut a Parquet file into runs of row groups of about the target size."""
    watched = WatchedStream(stream)
    try:
        metadata = pq.ParquetFile(watched).metadata
        count = metadata.num_row_groups
        sizes = [metadata.row_group(i).total_byte_size for i in range(count)]
    except WRONG_PARQUET:  # a damaged file is the reader's to record
        watched.raise_failure()
        yield piece
        return
    parts = min(count, math.ceil(piece.size / target))
    total, first, seen = max(1, sum(sizes)), 0, 0
    for i, size in enumerate(sizes):
        seen += size
        if seen >= total / parts:
            yield replace(piece, groups=(first, i + 1), size=piece.size * seen // total)
            first, seen = i + 1, 0
    if first < count:
        yield replace(piece, groups=(first, count), size=piece.size * seen // total)


def _pack(pieces: list[Piece], target: int) -> Iterator[list[Piece]]:
    """Group consecutive pieces of one input up to the target size."""
    group: list[Piece] = []
    size = 0
    for piece in pieces:
        if group and (size + piece.size > target or piece.input != group[0].input):
            yield group
            group, size = [], 0
        group.append(piece)
        size += piece.size
    if group:
        yield group

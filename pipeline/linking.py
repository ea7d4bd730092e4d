"""Linking: what the steps share that find which documents are alike; links.py runs them, and says how they go."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dedup.clusters import CANDIDATE, EDGE
from pipeline.needs import Needs, beyond
from pipeline.shards import DocumentShard
from pipeline.sign import HASH_WORDS
from pipeline.stage import Manifest

Array = npt.NDArray[Any]

PAIR = np.dtype([("hash", np.uint64), ("key", np.uint64), ("number", np.int64)])
PAIR_BYTES = 72  # of memory for a pair while its partition is sorted


def signature_rows(width: int) -> np.dtype[Any]:
    """Return the type of a document's number with its signature and exact hashes."""
    return np.dtype([("number", np.int64), ("row", np.uint32, (width,))])


@dataclass(frozen=True, slots=True)
class Group:
    """A task: consecutive document shards whose signatures are held together."""

    number: int
    shards: tuple[DocumentShard, ...]

    @property
    def key(self) -> str:
        """The name of its record and its files."""
        return f"{self.number:05d}"

    @property
    def first(self) -> int:
        """Number of its first document."""
        return self.shards[0].first

    @property
    def rows(self) -> int:
        """Number of its documents."""
        return sum(shard.rows for shard in self.shards)


@dataclass(frozen=True, slots=True)
class Partition:
    """A task: a part of all hashes, or of all clusters."""

    number: int

    @property
    def key(self) -> str:
        """The name of its record and its files."""
        return f"{self.number:05d}"


@dataclass(frozen=True, slots=True)
class Linking:
    """How documents are linked."""

    groups: tuple[Group, ...]  # this run's documents, then those of earlier runs
    old: int  # number of the first document of an earlier run
    count: int  # MinHash values of a signature
    bands: int
    rows: int
    keys: tuple[str, ...]  # exact hashes that signatures hold
    exact: bool  # equal exact hashes are linked
    hosts: bool  # equal hosts are linked too
    verdicts: tuple[str, ...]  # folders of the stages whose rejects are not linked
    threshold: float | None  # Jaccard at which an edge is accepted; None: a shared hash is enough
    texts: bool  # the Jaccard of the shingles, not its estimate
    shingle_words: int
    star_rounds: int
    memory_bytes: int

    @property
    def documents(self) -> int:
        """Number of documents, earlier runs' included."""
        return sum(group.rows for group in self.groups)

    @property
    def width(self) -> int:
        """Values of a signature with its exact hashes."""
        return self.count + HASH_WORDS * len(self.keys)

    @property
    def needs(self) -> Needs:
        """What a task takes with the budget: measured where half the documents are duplicates, at 64 and 256 MB.

        160 MB, and of the budget 1.6 where signatures are compared, 1.3 where they are attached, less elsewhere.
        """
        return beyond(160_000_000 + 8 * self.memory_bytes // 5)

    @property
    def partitions(self) -> int:
        """Number of partitions, from the number of pairs alone."""
        pairs = self.documents * (self.bands + len(self.keys) * int(self.exact) + int(self.hosts))
        return max(1, math.ceil(pairs * PAIR_BYTES / self.memory_bytes))

    def group_of(self, numbers: Array) -> Array:
        """Return the number of the group that holds each document."""
        return np.searchsorted([group.first for group in self.groups], numbers, side="right") - 1

    def partition_of(self, hashes: Array) -> Array:
        """Return the partition of each hash."""
        return ((hashes >> np.uint64(32)) % np.uint64(self.partitions)).astype(np.int64)


def make_groups(shards: Sequence[DocumentShard], rows: int, size: int) -> tuple[Group, ...]:
    """Group consecutive shards up to a number of documents and bytes of text; a shard is not split."""
    groups: list[list[DocumentShard]] = [[]]
    for shard in shards:
        held = groups[-1]
        full = sum(s.rows for s in held) + shard.rows > rows or sum(s.size for s in held) + shard.size > size
        if full and any(s.rows for s in held):
            groups.append([])
        groups[-1].append(shard)
    return tuple(Group(number, tuple(held)) for number, held in enumerate(groups) if held)


def document_bytes(width: int, hashes: int) -> int:
    """Return the memory that a document takes in a task: its signature and another's, its candidates twice."""
    return 2 * 4 * width + 2 * hashes * CANDIDATE.itemsize


def named_files(manifests: Sequence[Manifest], kind: str) -> tuple[str, ...]:
    """Return the paths of the files that the records of some stages name, in order."""
    return tuple(m.stage.path(name) for m in manifests for record in m.records for name in record[kind])


def as_pairs(candidates: Array) -> Array:
    """Return candidates' members as pairs for the next star."""
    pairs = np.empty(len(candidates), PAIR)
    pairs["hash"], pairs["key"], pairs["number"] = candidates["hash"], candidates["key"], candidates["member"]
    return pairs


def make_edges(one: Array, other: Array, similarity: Array | np.float32, kind: Array | int) -> Array:
    """Return edges between two ends each."""
    edges = np.empty(len(one), EDGE)
    edges["left"], edges["right"] = np.minimum(one, other), np.maximum(one, other)
    edges["similarity"], edges["kind"] = similarity, kind
    return edges

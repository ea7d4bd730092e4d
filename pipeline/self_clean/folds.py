"""Folds: every document is judged by an evaluator that saw neither it nor its look-alikes.

Documents that share a host, or a band of a looser banding of their signatures, are in one fold. A group that holds
more than 1 / (2 K) of the bytes is split by document. Folds stay the same over all rounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dedup.clusters import roots, union
from pipeline.config import SelfClean
from pipeline.document import read_table, write_table
from pipeline.linking import Linking, MergeTask, read_edges
from pipeline.shards import DocumentShard
from pipeline.storage import join

VERSION = 1


def linking(
    settings: SelfClean, folder: str, shards: Sequence[DocumentShard], partition_bytes: int
) -> Linking:
    """Return how look-alikes are linked: a shared band is enough."""
    return Linking(
        folder=folder,
        shards=tuple(shards),
        bands=settings.loose_bands,
        rows=settings.loose_rows,
        exact=False,
        hosts=True,
        threshold=None,
        star_rounds=1,
        partition_bytes=partition_bytes,
    )


@dataclass(frozen=True, slots=True)
class AssignFolds:
    """Work of one task: a union-find over all forests, and a fold for each document of each shard."""

    folder: str
    shards: tuple[DocumentShard, ...]
    folds: int
    seed: int

    def __call__(self, task: MergeTask) -> dict[str, Any]:
        """Write the folds of every shard; return the record."""
        parent = np.arange(sum(shard.rows for shard in self.shards))
        for path in task.paths:
            edges = read_edges(path)
            union(parent, np.ascontiguousarray(edges["left"]), np.ascontiguousarray(edges["right"]))
        group = roots(parent)
        sizes = [read_table(s.path("signatures"), ["bytes"])["bytes"].to_numpy() for s in self.shards]
        size = np.concatenate(sizes) if sizes else np.zeros(0, np.int64)
        limit = size.sum() / (2 * self.folds)
        total = np.bincount(group, weights=size, minlength=len(group))
        split = total[group] > limit
        fold = _fold(np.where(split, np.arange(len(group)), group), self.folds, self.seed)
        for shard in self.shards:
            part = fold[shard.first : shard.first + shard.rows]
            write_table(fold_path(self.folder, shard), pa.table({"fold": pa.array(part, pa.int8())}))
        _, members = np.unique(group, return_counts=True)
        largest = int(members.max()) if len(members) else 0
        split_groups = len(np.unique(group[split]))
        return {"summary": {"groups": len(members), "split_groups": split_groups}, "largest_group": largest}


def _fold(keys: npt.NDArray[np.int64], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Return a fold for each key by a hash of it and the seed (MurmurHash3, fmix64)."""
    mixed = keys.astype(np.uint64) + np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15)
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(multiplier)
    folded: npt.NDArray[np.int64] = ((mixed >> np.uint64(33)) % np.uint64(folds)).astype(np.int64)
    return folded


def fold_path(folder: str, shard: DocumentShard) -> str:
    """Return where the folds of a shard are."""
    return join(folder, "folds", shard.name + ".parquet")


def read_folds(folder: str, shard: DocumentShard) -> npt.NDArray[np.int64]:
    """Return the fold of each row of a shard (rows)."""
    return np.asarray(read_table(fold_path(folder, shard))["fold"].to_numpy(), np.int64)

"""Precision of estimates: how many of a sample of accepted edges reach the threshold when the texts are compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dedup.jaccard import jaccard
from pipeline.linking import Group, Linking, Partition
from pipeline.shards import DocumentShard
from pipeline.verifying import sets_of

VERSION = 1
EDGES = 200  # looked at, at most: they read as many row groups of texts twice


@dataclass(frozen=True, slots=True)
class MeasurePrecision:
    """Work of one task: the exact Jaccard of some accepted edges."""

    linking: Linking
    shards: tuple[DocumentShard, ...]
    edges: tuple[tuple[int, int], ...]  # of documents of this run

    def __call__(self, _task: Partition) -> dict[str, Any]:
        """Return the record: how many edges were looked at, and how many of them are true."""
        ends = np.array(self.edges, np.int64).reshape(-1, 2)
        numbers = np.unique(ends)
        bounds, hashes = sets_of(Group(0, self.shards), numbers, self.linking.shingle_words)
        left, right = np.searchsorted(numbers, ends.T)
        exact = np.asarray(jaccard(bounds, hashes, bounds, hashes, left, right), np.float64)
        true = int((exact >= (self.linking.threshold or 0.0)).sum())
        return {"bytes": hashes.nbytes, "summary": {"precision": {"edges": len(ends), "true": true}}}


def sampled_edges(samples: Sequence[Sequence[list[Any]]], old: int) -> tuple[tuple[int, int], ...]:
    """Return the edges of lowest id among samples of (id, number, number), without those to earlier runs."""
    rows = sorted(tuple(row) for sample in samples for row in sample if row[2] < old)
    return tuple((int(number), int(linked)) for _, number, linked in rows[:EDGES])

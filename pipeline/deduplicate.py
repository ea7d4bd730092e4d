"""Deduplicate: exact and near duplicates, one keeper a cluster, verdicts as sidecars.

Links come first (a forest a partition, merged as a tree), then one union-find, sixteen bytes a document and the edges
of the last forests, then the verdicts: every document that is not the smallest number of its cluster is rejected with
the document that links it to that one; `exact_duplicate` says that it equals the document it is linked to.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.pvalue import PCollection

from dedup.clusters import roots, towards_roots, union
from pipeline.config import Deduplicate
from pipeline.document import conform, read_table, write_table
from pipeline.linking import Linking, read_edges, runs, shard_of
from pipeline.shards import DocumentShard
from pipeline.sign import read_signatures
from pipeline.stage import write_record
from pipeline.summary import LOWEST, counts, histogram
from pipeline.verdicts import SIDECAR, sidecar_path

VERSION = 1
Array = npt.NDArray[Any]

CLUSTERS = "clusters"  # key of the record about all clusters; the others are document shards

# A duplicate on its way to its sidecar; the ids are filled in on the way.
DUPLICATE = np.dtype(
    [("number", np.int64), ("keeper", np.int64), ("linked", np.int64), ("similarity", np.float32),
     ("keeper_id", "S32"), ("linked_id", "S32")]
)  # fmt: skip


def linking(settings: Deduplicate, folder: str, shards: Sequence[DocumentShard]) -> Linking:
    """Return how duplicates are linked."""
    return Linking(
        folder=folder,
        shards=tuple(shards),
        bands=settings.bands,
        rows=settings.rows,
        exact=True,
        hosts=False,
        verdicts=(),
        threshold=settings.threshold,
        star_rounds=settings.star_rounds,
        partition_bytes=settings.partition_bytes,
    )


@dataclass(frozen=True, slots=True)
class Clustering:
    """What the verdicts are made from."""

    folder: str
    shards: tuple[DocumentShard, ...]
    threshold: float


class JudgeDuplicates(beam.PTransform):
    """Turn the paths of forests into one sidecar a document shard."""

    def __init__(self, clustering: Clustering) -> None:
        super().__init__()
        self._clustering = clustering

    def expand(self, forests: PCollection[Any]) -> PCollection[Any]:
        """Return the keys of the sidecars."""
        clustering = self._clustering
        every = forests.pipeline | "Shards" >> beam.Create(
            [(index, b"") for index in range(len(clustering.shards))], reshuffle=False
        )
        together = forests | "One key" >> beam.Map(lambda task: (0, task.paths)) | "Collect" >> beam.GroupByKey()
        by_keeper = together | "Cluster" >> beam.FlatMap(find_duplicates, clustering)
        by_linked = (
            by_keeper
            | "By keeper" >> beam.GroupByKey()
            | "Name keeper" >> beam.FlatMap(fill_ids, clustering, "keeper", "linked")
        )
        by_document = (
            by_linked
            | "By linked" >> beam.GroupByKey()
            | "Name linked" >> beam.FlatMap(fill_ids, clustering, "linked", "number")
        )
        grouped = (by_document, every) | beam.Flatten() | "By document" >> beam.GroupByKey()
        return grouped | "Write" >> beam.Map(write_sidecar, clustering)


def find_duplicates(
    group: tuple[int, Iterable[tuple[str, ...]]], clustering: Clustering
) -> Iterator[tuple[int, bytes]]:
    """Yield every duplicate by the shard of its keeper: one union-find that streams the forests."""
    paths = sorted(path for some in group[1] for path in some)
    count = sum(shard.rows for shard in clustering.shards)
    parent = np.arange(count)
    edges = [_joining(parent, path) for path in paths]
    forest = np.concatenate(edges)
    keeper = np.asarray(roots(parent), np.int64)
    numbers, linked, similarity = towards_roots(keeper, forest)
    duplicates = np.zeros(len(numbers), DUPLICATE)
    duplicates["number"], duplicates["keeper"] = numbers, keeper[numbers]
    duplicates["linked"], duplicates["similarity"] = linked, similarity
    _record_clusters(duplicates["keeper"], clustering)
    yield from _by_shard(duplicates, "keeper", clustering)


def _record_clusters(keepers: Array, clustering: Clustering) -> None:
    """Record how many clusters there are of each size, and the largest."""
    numbers, others = np.unique(keepers, return_counts=True)
    largest = np.lexsort((numbers, -others))[:LOWEST]
    pairs = [[-int(others[i]) - 1, int(numbers[i])] for i in largest]
    summary = {"clusters": {"sizes": counts((others + 1).tolist()), "largest": {"lowest": pairs}}}
    write_record(clustering.folder, {"key": CLUSTERS, "summary": summary})


def _joining(parent: Array, path: str) -> Array:
    """Return the edges of a forest that join clusters, and join them."""
    edges = read_edges(path)
    return edges[union(parent, np.ascontiguousarray(edges["left"]), np.ascontiguousarray(edges["right"]))]


def _by_shard(duplicates: Array, end: str, clustering: Clustering) -> Iterator[tuple[int, bytes]]:
    if not len(duplicates):
        return
    owner = shard_of(clustering.shards, duplicates[end])
    order = np.argsort(owner, kind="stable")
    for index, rows in runs(owner[order], duplicates[order]):
        yield index, rows.tobytes()


def fill_ids(
    group: tuple[int, Iterable[bytes]], clustering: Clustering, end: str, following: str
) -> Iterator[tuple[int, bytes]]:
    """Fill in the ids of one end from its shard, and send the duplicates on to the shard of the following end."""
    index, blobs = group
    shard = clustering.shards[index]
    duplicates = np.frombuffer(b"".join(sorted(blobs)), DUPLICATE).copy()
    ids = np.asarray(read_signatures(shard.path("signatures"))[0]["id"].to_pylist(), dtype="S32")
    duplicates[f"{end}_id"] = ids[duplicates[end] - shard.first]
    yield from _by_shard(duplicates, following, clustering)


def write_sidecar(group: tuple[int, Iterable[bytes]], clustering: Clustering) -> str:
    """Write a shard's verdicts and their record."""
    index, blobs = group
    shard = clustering.shards[index]
    duplicates = np.sort(np.frombuffer(b"".join(blobs), DUPLICATE), order="number")
    write_table(sidecar_path(clustering.folder, shard), verdict_table(shard, duplicates, clustering.threshold))
    exact = duplicates["similarity"] == 1
    reasons = np.where(exact, "exact_duplicate", "near_duplicate")
    kept = np.setdiff1d(np.arange(shard.rows), duplicates["number"] - shard.first)
    summary = {
        "reasons": counts(reasons.tolist()),
        "similarity": histogram(duplicates["similarity"].astype(np.float64)),
        "kept": _sizes(shard, kept),
    }
    sizes = {"documents": shard.rows, "kept": len(kept), "rejected": len(duplicates)}
    write_record(clustering.folder, {**sizes, "key": shard.key, "summary": summary})
    return shard.key


def _sizes(shard: DocumentShard, rows: Array) -> dict[str, Any]:
    """Return documents and bytes by language and a histogram of bytes, of what is kept: what budgets are made from."""
    size = read_signatures(shard.path("signatures"))[0]["bytes"].to_numpy()[rows]
    languages = np.asarray(read_table(shard.path("documents"), ["language"])["language"].to_pylist(), dtype=np.str_)[
        rows
    ]
    codes, which = np.unique(languages, return_inverse=True)
    totals = np.bincount(which, weights=size, minlength=len(codes)).astype(np.int64)
    return {
        "documents": counts(languages.tolist()),
        "bytes": dict(zip(codes.tolist(), totals.tolist(), strict=True)),
        "size": histogram(size.astype(np.float64)),
    }


def verdict_table(shard: DocumentShard, duplicates: Array, threshold: float) -> pa.Table:
    """Return a shard's sidecar from its duplicates, sorted by number."""
    rows = duplicates["number"] - shard.first
    exact = duplicates["similarity"] == 1
    where = np.full(shard.rows, -1)
    where[rows] = np.arange(len(rows))
    take = pa.array(where, mask=where < 0)
    reasons = np.where(exact, "exact_duplicate", "near_duplicate")
    keepers, linked = duplicates["keeper_id"].astype(str), duplicates["linked_id"].astype(str)
    columns: dict[str, Any] = {
        "reason": reasons.tolist(),
        "value": duplicates["similarity"].astype(np.float64),
        "threshold": np.where(exact, 1.0, threshold),
        "duplicate_of": keepers.tolist(),
        "linked_to": linked.tolist(),
        "cluster": keepers.tolist(),
    }
    spread = {name: pa.array(v, SIDECAR.field(name).type).take(take) for name, v in columns.items()}
    return conform(pa.table({"rejected": where >= 0, **spread}), SIDECAR)

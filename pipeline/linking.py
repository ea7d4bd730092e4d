"""Linking: which documents are alike, as forests over dense numbers; no text and no signature in the big shuffle.

Signatures become (hash, number) pairs, packed; partitions of them become stars; candidate edges meet the two
signatures they need by the shard of one end, then of the other; a member that fails against its star's centre forms
the next star with the rest. Each partition leaves a spanning forest as a file.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.pvalue import PCollection

from dedup.clusters import EDGE, forest, stars
from dedup.lsh import band_hashes, estimated_jaccard
from pipeline import storage
from pipeline.shards import DocumentShard
from pipeline.sign import HASH_WORDS, read_signatures
from pipeline.stage import Manifest, write_record
from pipeline.verdicts import kept_mask

Array = npt.NDArray[Any]

PAIR = np.dtype([("hash", np.uint64), ("number", np.int64)])
CANDIDATE = np.dtype([("hash", np.uint64), ("centre", np.int64), ("member", np.int64)])
EDGE_COLUMNS = ("left", "right", "similarity")
PAIR_BYTES = 24  # of memory for a pair while its partition is sorted
BLOB_PAIRS = 65_536  # 1 MB: small enough for a runner that holds a key's values in memory
MERGED_AT_ONCE = 64  # forests read by one merge
VERSION = 1


@dataclass(frozen=True, slots=True)
class Linking:
    """How documents are linked."""

    folder: str
    shards: tuple[DocumentShard, ...]
    bands: int
    rows: int
    exact: bool  # equal texts are linked too
    hosts: bool  # equal hosts are linked too
    verdicts: tuple[str, ...]  # folders of the stages whose rejects are not linked
    threshold: float | None  # estimated Jaccard that verifies an edge; None: a shared band is enough
    star_rounds: int
    partition_bytes: int

    @property
    def partitions(self) -> int:
        """Number of partitions, from the number of pairs alone."""
        documents = sum(shard.rows for shard in self.shards)
        pairs = documents * (self.bands + int(self.exact) + int(self.hosts))
        return max(1, math.ceil(pairs * PAIR_BYTES / self.partition_bytes))


class LinkDocuments(beam.PTransform):
    """Turn document shards into one forest a partition, each a file with a record."""

    def __init__(self, linking: Linking) -> None:
        super().__init__()
        self._linking = linking

    def expand(self, shards: PCollection[Any]) -> PCollection[Any]:
        """Return the keys of the forests."""
        linking = self._linking
        pairs = shards | "Spread" >> beam.Reshuffle() | "Hash" >> beam.FlatMap(hash_shard, linking)
        edges = []
        for number in range(linking.star_rounds if linking.threshold is not None else 1):
            stars_ = (
                pairs | f"Group {number}" >> beam.GroupByKey() | f"Star {number}" >> beam.FlatMap(form_stars, linking)
            )
            if linking.threshold is None:
                edges.append(stars_ | f"Accept {number}" >> beam.Map(accept))
                break
            verified = (
                stars_
                | f"By member {number}" >> beam.GroupByKey()
                | f"Sign {number}" >> beam.FlatMap(attach_signatures, linking)
                | f"By centre {number}" >> beam.GroupByKey()
                | f"Verify {number}" >> beam.FlatMap(verify, linking).with_outputs("failed", main="linked")
            )
            edges.append(verified.linked)
            pairs = verified.failed
        none = [(partition, b"") for partition in range(linking.partitions)]  # each leaves a file and a record
        every = shards.pipeline | "Partitions" >> beam.Create(none, reshuffle=False)
        grouped = (*edges, every) | beam.Flatten() | "By partition" >> beam.GroupByKey()
        return grouped | "Forest" >> beam.Map(write_forest, linking)


def hash_shard(shard: DocumentShard, linking: Linking) -> Iterator[tuple[int, bytes]]:
    """Yield (partition, packed pairs) of a shard: one pair a band, and for equal texts and hosts where asked."""
    table, rows = read_signatures(shard.path("signatures"))
    kept = np.flatnonzero(kept_mask(shard, linking.verdicts))
    if not len(kept):
        return
    table, rows, numbers = table.take(pa.array(kept)), rows[kept], shard.first + kept
    values = rows[:, :-HASH_WORDS]
    signed = ~(values == np.uint32(0xFFFFFFFF)).all(axis=1)  # texts without words are alike in nothing
    bands = band_hashes(values[signed], linking.bands, linking.rows)
    parts = [(bands.ravel(), np.repeat(numbers[signed], linking.bands))]
    if linking.exact:
        parts.append((_exact_hash(rows), numbers))
    if linking.hosts:
        hosts = np.asarray(table["host"].to_pylist(), dtype=np.str_)
        parts.append((_host_hash(hosts[hosts != ""]), numbers[hosts != ""]))
    hashes, owners = (np.concatenate(column) for column in zip(*parts, strict=True))
    yield from _packed(_pairs(hashes, owners), linking.partitions)


def _pairs(hashes: Array, numbers: Array) -> Array:
    pairs = np.empty(len(hashes), PAIR)
    pairs["hash"], pairs["number"] = hashes, numbers
    return pairs


def _exact_hash(rows: Array) -> Array:
    """Return 64 bits of the exact hash; verification compares all 128."""
    return np.ascontiguousarray(rows[:, -HASH_WORDS : -HASH_WORDS + 2]).view(np.uint64).ravel()


def _host_hash(hosts: Array) -> Array:
    distinct, which = np.unique(hosts, return_inverse=True)
    digests = b"".join(blake2b(b"host\0" + h.encode(), digest_size=8).digest() for h in distinct.tolist())
    return np.frombuffer(digests, np.uint64)[which]


def _packed(pairs: Array, partitions: int) -> Iterator[tuple[int, bytes]]:
    """Yield pairs in blobs by the partition of their hash."""
    part = (pairs["hash"] >> np.uint64(32)) % np.uint64(partitions)
    order = np.argsort(part, kind="stable")
    for number, rows in runs(part[order], pairs[order]):
        for start in range(0, len(rows), BLOB_PAIRS):
            yield number, rows[start : start + BLOB_PAIRS].tobytes()


def runs(keys: Array, rows: Array) -> Iterator[tuple[int, Array]]:
    """Yield (key, its rows) for sorted keys."""
    if len(keys):
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        for start, stop in zip(starts, [*starts[1:], len(keys)], strict=True):
            yield int(keys[start]), rows[start:stop]


def form_stars(group: tuple[int, Iterable[bytes]], linking: Linking) -> Iterator[tuple[int, bytes]]:
    """Yield the stars of a partition: by the shard of the member, or by partition where nothing is verified."""
    partition, blobs = group
    pairs = np.frombuffer(b"".join(blobs), PAIR)
    hashes, centre, member = stars(pairs["hash"], pairs["number"])
    candidates = np.empty(len(hashes), CANDIDATE)
    candidates["hash"], candidates["centre"], candidates["member"] = hashes, centre, member
    if linking.threshold is None:
        yield partition, candidates.tobytes()
        return
    owner = shard_of(linking.shards, candidates["member"])
    order = np.argsort(owner, kind="stable")
    for shard, rows in runs(owner[order], candidates[order]):
        yield shard, rows.tobytes()


def accept(group: tuple[int, bytes]) -> tuple[int, bytes]:
    """Take candidates as edges without a look at their signatures."""
    partition, blob = group
    candidates = np.frombuffer(blob, CANDIDATE)
    return partition, _edges(candidates, np.zeros(len(candidates), np.float32)).tobytes()


def _edges(candidates: Array, similarity: Array) -> Array:
    edges = np.empty(len(candidates), EDGE)
    edges["left"], edges["right"], edges["similarity"] = (
        candidates["centre"],
        candidates["member"],
        similarity,
    )
    return edges


def shard_of(shards: Sequence[DocumentShard], numbers: Array) -> Array:
    """Return the index of the shard that holds each document number."""
    firsts = np.array([shard.first for shard in shards])
    rows = np.array([shard.rows for shard in shards])
    filled = np.flatnonzero(rows)  # an empty shard begins where the next one does
    return filled[np.searchsorted(firsts[filled], numbers, side="right") - 1]


def attach_signatures(
    group: tuple[int, Iterable[bytes]], linking: Linking
) -> Iterator[tuple[int, tuple[bytes, bytes, bytes]]]:
    """Yield the candidates of a shard's members by the shard of their centre, with the members' signatures."""
    index, blobs = group
    candidates = np.frombuffer(b"".join(blobs), CANDIDATE)
    shard = linking.shards[index]
    _, signatures = read_signatures(shard.path("signatures"))
    owner = shard_of(linking.shards, candidates["centre"])
    order = np.argsort(owner, kind="stable")
    for target, rows in runs(owner[order], candidates[order]):
        members = np.unique(rows["member"])
        yield target, (rows.tobytes(), members.tobytes(), signatures[members - shard.first].tobytes())


def verify(
    group: tuple[int, Iterable[tuple[bytes, bytes, bytes]]], linking: Linking
) -> Iterator[tuple[int, bytes] | beam.pvalue.TaggedOutput[Literal["failed"], tuple[int, bytes]]]:
    """Yield edges whose ends are alike by partition, and the members that failed as pairs for the next star."""
    index, blobs = group
    shard = linking.shards[index]
    _, signatures = read_signatures(shard.path("signatures"))
    for candidate_bytes, member_bytes, signature_bytes in sorted(blobs):
        candidates = np.frombuffer(candidate_bytes, CANDIDATE)
        members = np.frombuffer(member_bytes, np.int64)
        theirs = np.frombuffer(signature_bytes, np.uint32).reshape(len(members), -1)
        similarity = _similarity(
            signatures[candidates["centre"] - shard.first],
            theirs[np.searchsorted(members, candidates["member"])],
        )
        alike = similarity >= np.float32(linking.threshold or 0.0)
        yield from _packed_edges(candidates[alike], similarity[alike], linking.partitions)
        failed = candidates[~alike]
        for partition, blob in _packed(_pairs(failed["hash"], failed["member"]), linking.partitions):
            yield beam.pvalue.TaggedOutput("failed", (partition, blob))


def _similarity(left: Array, right: Array) -> Array:
    """Return the estimated Jaccard similarity; of equal texts 1, of others less than 1."""
    estimate = estimated_jaccard(left[:, :-HASH_WORDS], right[:, :-HASH_WORDS]).astype(np.float32)
    equal = (left[:, -HASH_WORDS:] == right[:, -HASH_WORDS:]).all(axis=1)
    most = np.nextafter(np.float32(1), np.float32(0))
    return np.where(equal, np.float32(1), np.minimum(estimate, most))


def _packed_edges(candidates: Array, similarity: Array, partitions: int) -> Iterator[tuple[int, bytes]]:
    edges = _edges(candidates, similarity)
    part = (candidates["hash"] >> np.uint64(32)) % np.uint64(partitions)
    order = np.argsort(part, kind="stable")
    for partition, rows in runs(part[order], edges[order]):
        yield partition, rows.tobytes()


def write_forest(group: tuple[int, Iterable[bytes]], linking: Linking) -> str:
    """Write the spanning forest of a partition's edges and its record."""
    partition, blobs = group
    kept = forest(np.frombuffer(b"".join(blobs), EDGE))
    key = f"forest-{partition:05d}"
    write_edges(storage.join(linking.folder, key + ".parquet"), kept)
    write_record(linking.folder, {"key": key, "edges": len(kept), "summary": {"edges": len(kept)}})
    return key


def write_edges(path: str, edges: Array) -> None:
    """Write edges as Parquet."""
    table = pa.table({name: np.ascontiguousarray(edges[name]) for name in EDGE_COLUMNS})
    with storage.create(path) as file:
        pq.write_table(table, file, compression="zstd")


def read_edges(path: str) -> Array:
    """Read edges."""
    with storage.open_input(path) as file:
        table = pq.ParquetFile(file).read()
    edges = np.empty(len(table), EDGE)
    for name in EDGE_COLUMNS:
        edges[name] = table[name].to_numpy()
    return edges


@dataclass(frozen=True, slots=True)
class MergeTask:
    """Forests to merge into one."""

    key: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MergeForests:
    """Work that merges a few forests into one file."""

    folder: str

    def __call__(self, task: MergeTask) -> dict[str, Any]:
        """Write the merged forest; return its record."""
        merged = forest(np.concatenate([read_edges(path) for path in task.paths]))
        write_edges(storage.join(self.folder, task.key + ".parquet"), merged)
        return {"edges": len(merged)}


def forest_paths(manifest: Manifest) -> tuple[str, ...]:
    """Return the paths of the forests that a stage left."""
    return tuple(manifest.stage.path(record["key"] + ".parquet") for record in manifest.records)


def merge_tasks(paths: Sequence[str]) -> list[MergeTask]:
    """Return the merges of one level of the tree."""
    groups = [tuple(paths[i : i + MERGED_AT_ONCE]) for i in range(0, len(paths), MERGED_AT_ONCE)]
    return [MergeTask(f"merge-{number:05d}", group) for number, group in enumerate(groups)]

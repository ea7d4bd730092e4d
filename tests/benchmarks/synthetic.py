"""Signatures with known truth: what duplicates what is decided before a value is drawn.

A third of the documents are in clusters. A cluster has an original and copies in which at most 11 of 112 values are
redrawn: every copy keeps at least three of 14 bands and at least 0.80 in common with every other, so clusters must
be found whole. A hundredth of all documents is one cluster of equal texts (a bucket that all share in every band).
Decoys share a whole band with another document and half of their values: they meet and must be refused. Nothing else
is alike. Numbers are spread over the shards by a permutation, so clusters lie across them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.config import Deduplicate
from pipeline.shards import DocumentShard
from pipeline.sign import HASH_WORDS, signature_schema

SHARD_ROWS = 100_000
ROW_GROUP = 1000  # as ingest writes them
COPIES = 3  # of an original, so clusters of four
CHANGED = 11  # values of a copy that are redrawn, at most


@dataclass(frozen=True, slots=True)
class Truth:
    """The smallest number of each document's cluster, before and after the permutation to places (documents)."""

    original: NDArray[np.int64]  # of the document drawn at a number
    place: NDArray[np.int64]  # where it stands in the corpus


def draw_truth(documents: int) -> Truth:
    """Return which documents are copies of which: of 12, four are a cluster, two a decoy and what it resembles."""
    number = np.arange(documents)
    original = np.where(number % 12 <= COPIES, number - number % 12, number)
    hot = number % 100 == 99
    original[hot] = 99
    original[(original % 100 == 99) & ~hot] = number[(original % 100 == 99) & ~hot]
    place = np.random.default_rng(1).permutation(documents)
    return Truth(original, place)


def values(number: NDArray[np.int64], original: NDArray[np.int64], count: int) -> NDArray[np.uint32]:
    """Return the signatures of documents (n, count), drawn from their originals' numbers."""
    base = mix(seeds(original, count))
    copy = (number != original) & (original != 99)
    changed = mix(seeds(number, CHANGED))
    at = (changed[copy] % np.uint64(count)).astype(np.int64)
    np.put_along_axis(rows := base[copy], at, changed[copy], axis=1)
    base[copy] = rows
    decoy = number % 12 == 11
    decoy &= original == number
    like = mix(seeds(number[decoy] - 1, count))
    base[decoy, : count // 2] = like[:, : count // 2]
    return (base >> np.uint64(32)).astype(np.uint32)


def seeds(number: NDArray[np.int64], count: int) -> NDArray[np.uint64]:
    """Return `count` numbers that belong to each document and no other (n, count)."""
    place: NDArray[np.uint64] = np.arange(count, dtype=np.uint64)
    return (number.astype(np.uint64) * np.uint64(count))[:, None] + place


def mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a hash of each number (splitmix64)."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def write_corpus(folder: Path, documents: int, settings: Deduplicate) -> list[DocumentShard]:
    """Write signature shards, and of documents what dedup reads: languages and a few texts; return them in order."""
    truth = draw_truth(documents)
    drawn = np.argsort(truth.place)  # the document drawn for each place
    shards = []
    for first in range(0, documents, SHARD_ROWS):
        number = drawn[first : first + SHARD_ROWS]
        shard = DocumentShard(f"{first // SHARD_ROWS:05d}-000", str(folder), first, len(number), 0)
        _write(shard, number, truth.original[number], settings)
        shards.append(shard)
    return shards


def _write(shard: DocumentShard, number: NDArray[np.int64], original: NDArray[np.int64], settings: Deduplicate) -> None:
    rows = np.empty((len(number), settings.count + HASH_WORDS), np.uint32)
    rows[:, : settings.count] = values(number, original, settings.count)
    text = np.where(original == 99, original, number).astype(np.uint64)
    rows[:, settings.count :] = mix(text[:, None] + np.arange(2, dtype=np.uint64) * np.uint64(2**40)).view(np.uint32)
    packed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(rows.shape[1] * 4), len(rows), [None, pa.py_buffer(rows)])
    host = pa.array([""] * len(rows))
    columns = [ids(number), host, pa.array(np.full(len(rows), 3000)), packed]
    table = pa.table(columns, schema=signature_schema(settings))
    for kind in ("signatures", "documents"):
        Path(shard.path(kind)).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, shard.path("signatures"), compression="zstd", compression_level=1, row_group_size=ROW_GROUP)
    texts = pa.array([f"all that is in cluster {n} says the same" for n in original.tolist()])
    pq.write_table(pa.table({"language": pa.array(["en"] * len(rows)), "text": texts}), shard.path("documents"))


def ids(number: NDArray[np.int64]) -> pa.Array:
    """Return an id of 32 hex digits for each drawn document."""
    words = mix(seeds(number, 2))
    digits = pa.py_buffer(words.astype(">u8").tobytes().hex().encode())
    offsets = pa.py_buffer(np.arange(len(number) + 1, dtype=np.int32) * 32)
    return pa.Array.from_buffers(pa.string(), len(number), [None, offsets, digits])

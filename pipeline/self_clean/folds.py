"""Folds: every document is judged by an evaluator that saw neither it nor its look-alikes.

Documents that share a host, or a band of a looser banding of their signatures, are in one fold. Where a group holds
more than 1 / (2 K) of a language, it is split by document. Folds stay the same over all rounds.

The one task that assigns them holds DOCUMENT_BYTES a document of the run: 24 for group, size and language, the rest
while it weighs them. That is more than deduplication needs of one task, and what bounds a run of many documents.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dedup.clusters import EDGE, flatten, union
from pipeline.config import Deduplicate, SelfClean
from pipeline.document import read_table, write_table
from pipeline.exchange import read_slices
from pipeline.linking import Linking, document_bytes, make_groups
from pipeline.needs import Needs
from pipeline.shards import DocumentShard
from pipeline.sign import HASH_WORDS
from pipeline.storage import join
from pipeline.verdicts import kept_mask

VERSION = 2
DOCUMENT_BYTES = 80  # of memory, for each document of the run
BALANCED_GROUPS = 4096  # placed by weight; the others are too small to unbalance a fold


@dataclass(frozen=True, slots=True)
class FoldTask:
    """The one task of the stage: files of edges."""

    key: str
    paths: tuple[str, ...]


def make_linking(
    settings: SelfClean, deduplicate: Deduplicate, shards: Sequence[DocumentShard], verdicts: Sequence[str]
) -> Linking:
    """Return how look-alikes are linked: a shared band is enough."""
    width = deduplicate.count + HASH_WORDS * len(deduplicate.exact)
    rows = deduplicate.memory_bytes // document_bytes(width, settings.loose_bands + 1)
    return Linking(
        groups=make_groups(shards, rows, 2**62),
        old=sum(shard.rows for shard in shards),
        count=deduplicate.count,
        bands=settings.loose_bands,
        rows=settings.loose_rows,
        keys=deduplicate.exact,
        exact=False,
        hosts=True,
        verdicts=tuple(verdicts),
        threshold=None,
        texts=False,
        shingle_words=deduplicate.shingle_words,
        star_rounds=1,
        memory_bytes=deduplicate.memory_bytes,
    )


@dataclass(frozen=True, slots=True)
class AssignFolds:
    """Work of one task: a union-find over all forests, and a fold for each document of each shard."""

    folder: str
    shards: tuple[DocumentShard, ...]
    verdicts: tuple[str, ...]  # folders of the stages whose rejects weigh nothing
    folds: int
    seed: int

    @property
    def needs(self) -> Needs:
        """Memory for all documents at once."""
        return Needs(memory=DOCUMENT_BYTES * sum(shard.rows for shard in self.shards))

    def __call__(self, task: FoldTask) -> dict[str, Any]:
        """Write the folds of every shard; return the record."""
        parent = np.arange(sum(shard.rows for shard in self.shards))
        read = 0
        for path in task.paths:
            for edges in read_slices(path, EDGE):
                read += edges.nbytes
                union(parent, np.ascontiguousarray(edges["left"]), np.ascontiguousarray(edges["right"]))
        flatten(parent)
        sizes = [
            read_table(s.path("signatures"), ["bytes"])["bytes"].to_numpy() * kept_mask(s, self.verdicts)
            for s in self.shards
        ]
        size = np.concatenate(sizes) if sizes else np.zeros(0, np.int64)
        language, names = _languages(self.shards)
        fold = assign(parent, size, language, self.folds, self.seed)
        for shard in self.shards:
            part = fold[shard.first : shard.first + shard.rows]
            write_table(fold_path(self.folder, shard), pa.table({"fold": pa.array(part, pa.int8())}))
        held = np.bincount(language * self.folds + fold, weights=size, minlength=len(names) * self.folds)
        by_language = held.astype(np.int64).reshape(len(names), self.folds)
        summary = {
            "fold_bytes": {str(k): n for k, n in enumerate(by_language.sum(0).tolist())},
            "language_bytes": {
                f"{name} {k}": n
                for name, row in zip(names, by_language.tolist(), strict=True)
                for k, n in enumerate(row)
            },
        }
        return {"bytes": read + size.nbytes, "summary": summary}


def _languages(shards: Sequence[DocumentShard]) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return a number for the language of each document (documents), and the languages' names.

    Shard by shard: the offsets of one array of all documents' languages would be too large for 32 bits.
    """
    numbers: dict[str, int] = {}
    language = np.empty(sum(shard.rows for shard in shards), np.int64)
    for shard in shards:
        own = read_table(shard.path("documents"), ["language"])["language"].combine_chunks().dictionary_encode()
        known = np.array([numbers.setdefault(name, len(numbers)) for name in own.dictionary.to_pylist()], np.int64)
        language[shard.first : shard.first + shard.rows] = known[own.indices.to_numpy()]
    return language, list(numbers)


def assign(
    group: npt.NDArray[np.int64],
    size: npt.NDArray[np.int64],
    language: npt.NDArray[np.int64],
    folds: int,
    seed: int,
) -> npt.NDArray[np.int64]:
    """Return the fold of each document from its group, bytes and language (documents).

    Where a group holds more than 1 / (2 folds) of a language's bytes, its documents of that language are split one by
    one: else a language that comes from one host would have a judge that saw nothing of it. The largest groups go to
    the lightest fold, one after the other, the many small ones by hash.
    """
    keys = np.where(_outweighs(group, size, language, folds), np.arange(len(group)), group)
    fold = _hashed(keys, folds, seed)
    whole = keys == group
    total = np.bincount(group[whole], weights=size[whole], minlength=len(group))
    large = np.flatnonzero(total > 0)
    if len(large) > BALANCED_GROUPS:
        large = large[total[large] >= np.partition(total[large], -BALANCED_GROUPS)[-BALANCED_GROUPS]]
    large = large[np.argsort(-total[large], kind="stable")][:BALANCED_GROUPS]
    placed = np.isin(group, large) & whole
    held = np.bincount(fold[~placed], weights=size[~placed], minlength=folds)
    chosen = np.zeros(len(total), np.int64)
    for number in large.tolist():
        chosen[number] = int(held.argmin())
        held[chosen[number]] += total[number]
    return np.where(placed, chosen[group], fold)


def _outweighs(
    group: npt.NDArray[np.int64], size: npt.NDArray[np.int64], language: npt.NDArray[np.int64], folds: int
) -> npt.NDArray[np.bool_]:
    """Tell for each document whether its group holds too much of its language (documents)."""
    every = np.bincount(language, weights=size)
    too_much = np.empty(len(group), bool)
    for number in range(len(every)):  # a language at a time, so that only the largest is held twice
        rows = np.flatnonzero(language == number)
        held = np.bincount(group[rows], weights=size[rows])
        too_much[rows] = held[group[rows]] > every[number] / (2 * folds)
    return too_much


def _hashed(keys: npt.NDArray[np.int64], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Return a fold for each key by a hash of it and the seed (MurmurHash3, fmix64)."""
    mixed = keys.astype(np.uint64) + np.uint64(seed * 0x9E3779B97F4A7C15 % 2**64)
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

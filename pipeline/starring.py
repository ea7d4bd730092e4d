"""Starring: signatures to pairs of (hash, document), pairs to stars, and stars to candidates."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from dedup.clusters import NEAR, forest, stars
from dedup.lsh import band_hashes
from dedup.signatures import EMPTY
from pipeline.exchange import Spill, read_every, read_rows, slices, write_rows
from pipeline.linking import PAIR, Group, Linking, Partition, as_pairs, make_edges
from pipeline.needs import Needs
from pipeline.shards import DocumentShard
from pipeline.sign import HASH_WORDS, id_words, read_signatures
from pipeline.storage import join
from pipeline.verdicts import kept_mask

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class HashGroup:
    """Work that turns the signatures of a group into pairs: one a band, one an exact hash, one a host."""

    linking: Linking
    folder: str

    @property
    def needs(self) -> Needs:
        """Memory by the budget."""
        return self.linking.needs

    def __call__(self, group: Group) -> dict[str, Any]:
        """Write the pairs by partition; return the record."""
        linking = self.linking
        spill = Spill(self.folder, f"pairs/{group.key}", linking.partitions, PAIR, linking.memory_bytes // 4)
        for shard in group.shards:
            pairs = shard_pairs(shard, linking)
            spill.add(linking.partition_of(pairs["hash"]), pairs)
        return {"pairs": spill.close(), "size": group.rows, "bytes": group.rows * 4 * linking.width}


def shard_pairs(shard: DocumentShard, linking: Linking) -> Array:
    """Return the pairs of a shard; of an earlier run's document the key is small, so that it is a star's centre."""
    table, rows = read_signatures(shard.path("signatures"))
    kept = np.flatnonzero(kept_mask(shard, linking.verdicts if shard.first < linking.old else ()))
    if len(kept) < shard.rows:
        table, rows = table.take(kept), rows[kept]
    numbers = shard.first + kept
    keys = id_words(table["id"])[:, 0] >> np.uint64(1) | np.uint64(shard.first < linking.old) << np.uint64(63)
    values = rows[:, : linking.count]
    signed = (values[:, 0] != EMPTY) | ~(values == EMPTY).all(axis=1)  # texts without words are alike in nothing
    hashes = band_hashes(values[signed], linking.bands, linking.rows)
    parts = [(hashes.ravel(), np.repeat(np.flatnonzero(signed), linking.bands))]
    if linking.exact:
        parts += [exact_pairs(rows, linking.count + HASH_WORDS * i, i) for i in range(len(linking.keys))]
    if linking.hosts:
        parts.append(_host_pairs(table["host"].to_pylist()))
    hashed, owner = (np.concatenate(column) for column in zip(*parts, strict=True))
    pairs = np.empty(len(hashed), PAIR)
    pairs["hash"], pairs["key"], pairs["number"] = hashed, keys[owner], numbers[owner]
    return pairs


def exact_pairs(rows: Array, at: int, salt: int) -> tuple[Array, Array]:
    """Return (64 bits of an exact hash, row) where there is one; verification compares all 128."""
    present = np.flatnonzero((rows[:, at : at + HASH_WORDS] != 0).any(axis=1))
    hashes = np.ascontiguousarray(rows[present, at : at + 2]).view(np.uint64).ravel()
    return hashes ^ np.uint64(salt * 0x9E3779B97F4A7C15 % 2**64), present


def _host_pairs(hosts: Sequence[str]) -> tuple[Array, Array]:
    """Return (hash of the host, row) where there is one."""
    hashes = {h: int.from_bytes(blake2b(b"host\0" + h.encode(), digest_size=8).digest(), "little") for h in set(hosts)}
    present = [row for row, h in enumerate(hosts) if h]
    return np.array([hashes[hosts[row]] for row in present], np.uint64), np.array(present, np.int64)


@dataclass(frozen=True, slots=True)
class FormStars:
    """Work that turns a partition's pairs into candidates, by the group of the member, or at once into edges."""

    linking: Linking
    folder: str
    pairs: tuple[str, ...]
    rest: tuple[str, ...]  # earlier runs' members of the stars before, by partition; none in the first round

    @property
    def needs(self) -> Needs:
        """Memory by the budget."""
        return self.linking.needs

    def __call__(self, task: Partition) -> dict[str, Any]:
        """Write candidates and what of earlier runs waits for the next round, or edges; return the record."""
        linking = self.linking
        pairs = waiting_pairs(self.pairs, self.rest, task)
        found = stars(pairs["hash"], pairs["key"], pairs["number"])
        if linking.threshold is None:
            name = f"edges/{task.key}.rows"
            edges = forest(make_edges(found["centre"], found["member"], np.float32(0), NEAR))
            _write_one(join(self.folder, name), edges)
            return {"edges": [name], "bytes": pairs.nbytes}
        young = found["member"] < linking.old
        old = found.compress(~young)
        old = old.compress(np.isin(old["hash"], found["hash"][young]))
        rest, candidates = f"rest/{task.key}.rows", f"candidates/{task.key}.rows"
        _write_one(join(self.folder, rest), as_pairs(old))
        found = found.compress(young)
        write_rows(join(self.folder, candidates), linking.group_of(found["member"]), found, len(linking.groups))
        return {"candidates": [candidates], "rest": [rest], "bytes": pairs.nbytes}


@dataclass(frozen=True, slots=True)
class CountLeft:
    """Work that counts what a further round of stars would compare, of a partition's pairs after the last one."""

    linking: Linking
    pairs: tuple[str, ...]
    rest: tuple[str, ...]

    @property
    def needs(self) -> Needs:
        """Memory by the budget."""
        return self.linking.needs

    def __call__(self, task: Partition) -> dict[str, Any]:
        """Return the record: how many candidates there are, of this run's documents."""
        pairs = waiting_pairs(self.pairs, self.rest, task)
        found = stars(pairs["hash"], pairs["key"], pairs["number"])
        left = int((found["member"] < self.linking.old).sum())
        return {"bytes": pairs.nbytes, "summary": {"left": {"candidates": left}}}


def waiting_pairs(pairs: Sequence[str], rest: Sequence[str], task: Partition) -> Array:
    """Return a partition's pairs, with the members of earlier runs that the stars before left."""
    found = read_every(pairs, task.number, PAIR)
    return np.concatenate([found, read_rows(rest[task.number], 0, PAIR)]) if rest else found


def _write_one(path: str, rows: Array) -> None:
    with slices(path, rows.dtype) as write:
        write(rows)

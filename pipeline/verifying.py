"""Verifying: candidates meet what they are compared by, by the group of one end, then of the other."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dedup.clusters import CANDIDATE, EDGE, NEAR, SAME_TEXT, SAME_URL, SAME_WORDS
from dedup.jaccard import jaccard, shingle_sets
from dedup.lsh import estimated_jaccard
from dedup.signatures import EMPTY
from filters.words import split_words
from pipeline.exchange import Spill, by_reader, read_every, read_rows, slices
from pipeline.linking import PAIR, Group, Linking, as_pairs, make_edges, signature_rows
from pipeline.needs import Needs
from pipeline.sign import HASH_WORDS, take_signatures, take_texts
from pipeline.storage import join

Array = npt.NDArray[Any]

SHINGLE = np.dtype([("number", np.int64), ("hash", np.uint64)])
KINDS = {"text": SAME_TEXT, "normalised": SAME_WORDS, "url": SAME_URL}
AT_ONCE = 4096  # least batch of candidates, where there are as many: their signatures are some megabytes
HELD = 1 / 16  # of the budget, for candidates that were read for their centres: what is more is read again
DOUBT = 4.0  # standard errors below the threshold at which an estimate is still checked exactly: 3 of 100,000 are lost


@dataclass(frozen=True, slots=True)
class AttachSignatures:
    """Work that puts the members' signatures beside the candidates of a group, by the group of the centre."""

    linking: Linking
    folder: str
    candidates: tuple[str, ...]

    @property
    def needs(self) -> Needs:
        """Memory by the budget."""
        return self.linking.needs

    def __call__(self, group: Group) -> dict[str, Any]:
        """Write candidates and signatures; return the record."""
        found = read_every(self.candidates, group.number, CANDIDATE)
        members = np.unique(found["member"])
        rows = np.empty(len(members), signature_rows(self.linking.width))
        rows["number"], rows["row"] = members, take_signatures(group.shards, members, self.linking.width)
        with slices(join(self.folder, "signatures", group.key + ".rows"), rows.dtype) as write:
            for part in _by_centre(self.folder, group, self.linking, found):
                write(rows[np.searchsorted(members, np.unique(part["member"]))] if len(part) else rows[:0])
        return {"size": len(found), "bytes": found.nbytes + rows.nbytes}


def _by_centre(folder: str, group: Group, linking: Linking, found: Array) -> Iterator[Array]:
    """Write candidates by the group of their centre, and yield each group's."""
    grouped, edges = by_reader(linking.group_of(found["centre"]), found, len(linking.groups))
    with slices(join(folder, "candidates", group.key + ".rows"), CANDIDATE) as write:
        for i in range(len(linking.groups)):
            part = grouped[edges[i] : edges[i + 1]]
            write(part)
            yield part


@dataclass(frozen=True, slots=True)
class Verify:
    """Work that compares the signatures of candidates whose centre is in a group."""

    linking: Linking
    folder: str
    attached: str

    @property
    def needs(self) -> Needs:
        """Memory by the budget."""
        return self.linking.needs

    def __call__(self, group: Group) -> dict[str, Any]:
        """Write accepted edges, failed members as pairs, and in exact mode candidates to look at; return the record."""
        linking = self.linking
        centres, known = _centres(self.attached, group, linking)
        mine = take_signatures(group.shards, centres, linking.width)
        judged = Judged(linking, self.folder, group.key)
        counts, size = np.zeros(2, np.int64), mine.nbytes
        unsure_path = join(self.folder, "unsure", group.key + ".rows")
        with (
            slices(join(self.folder, "edges", group.key + ".rows"), EDGE) as write_edges,
            slices(unsure_path, CANDIDATE) if linking.texts else contextlib.nullcontext() as write_unsure,
        ):
            for found, others, counted in _together(self.attached, group, linking, known):
                paths = [join(self.attached, "signatures", other.key + ".rows") for other in others]
                theirs = read_every(paths, group.number, signature_rows(linking.width))
                size += found.nbytes + theirs.nbytes
                compared = distinct(found)
                left = mine[np.searchsorted(centres, compared.centre)]
                right = theirs["row"][np.searchsorted(theirs["number"], compared.member)]
                similarity, kind = compare(left, right, linking)
                accepted, unsure = _decided(similarity, kind, linking)
                write_edges(compared.edges(similarity, kind, accepted))
                if write_unsure:
                    _write_each(write_unsure, found, unsure[compared.which], counted)
                judged.fail(found.compress(~(accepted | unsure)[compared.which]))
                counts += [len(compared.centre), accepted.sum()]
        return {**judged.record(group.key), "compared": int(counts[0]), "accepted": int(counts[1]), "bytes": size}


def _write_each(write: Callable[[Array], None], found: Array, chosen: Array, counted: list[int]) -> None:
    """Write which of the candidates are chosen, a slice for each group, empty or not."""
    for stop, count in zip(np.cumsum(counted).tolist(), counted, strict=True):
        part = slice(stop - count, stop)
        write(found[part].compress(chosen[part]))


def _together(
    attached: str, group: Group, linking: Linking, known: dict[int, Array]
) -> Iterator[tuple[Array, list[Group], list[int]]]:
    """Yield candidates of some groups at once, the groups that have any, and how many each of those groups has.

    Groups meet groups, and most share few candidates: compared by themselves, each few cost what thousands do.
    """
    others: list[Group] = []
    parts: list[Array] = []
    counted: list[int] = []
    waiting = 0
    for other in linking.groups:
        part = _candidates(attached, group, other, known)
        counted.append(len(part))
        if len(part):
            others.append(other)
            parts.append(part)
            waiting += len(part)
        if waiting >= AT_ONCE or other is linking.groups[-1]:
            found = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, CANDIDATE), *parts])
            parts.clear()
            yield found, others, counted
            others, counted, waiting = [], [], 0
            del found, part  # before the next are read


def _candidates(attached: str, group: Group, other: Group, known: dict[int, Array]) -> Array:
    """Return the candidates with a centre in one group and a member in another, no longer known then."""
    if other.number in known:
        return known.pop(other.number)
    return read_rows(join(attached, "candidates", other.key + ".rows"), group.number, CANDIDATE)


def _centres(attached: str, group: Group, linking: Linking) -> tuple[Array, dict[int, Array]]:
    """Return the centres of a group that have candidates, and of these what may be held, by the member's group."""
    there, known = np.zeros(group.rows, bool), dict[int, Array]()
    room = HELD * linking.memory_bytes
    for other in linking.groups:
        found = _candidates(attached, group, other, {})
        there[found["centre"] - group.first] = True
        if found.nbytes <= room:
            known[other.number] = found
            room -= found.nbytes
    return group.first + np.flatnonzero(there), known


def _decided(similarity: Array, kind: Array, linking: Linking) -> tuple[Array, Array]:
    """Return which pairs are accepted, and which the texts must decide."""
    threshold = linking.threshold or 0.0
    same = kind != NEAR
    if not linking.texts:
        return same | (similarity >= np.float32(threshold)), np.zeros(len(kind), bool)
    error = math.sqrt(threshold * (1 - threshold) / linking.count)
    return same, ~same & (similarity >= threshold - DOUBT * error)


def compare(left: Array, right: Array, linking: Linking) -> tuple[Array, Array]:
    """Return the estimated Jaccard similarity of rows of signatures, 1 for equal texts, and the kind of their link."""
    values = slice(0, linking.count)
    similarity = estimated_jaccard(left[:, values], right[:, values]).astype(np.float32)
    similarity[(left[:, values] == EMPTY).all(axis=1)] = 0  # no words, nothing alike
    kind = np.full(len(left), NEAR, np.uint8)
    for i, name in enumerate(linking.keys if linking.exact else ()):
        key = slice(linking.count + HASH_WORDS * i, linking.count + HASH_WORDS * (i + 1))
        same = (left[:, key] == right[:, key]).all(axis=1) & (left[:, key] != 0).any(axis=1)
        kind[same] = np.maximum(kind[same], KINDS[name])
    similarity[kind >= SAME_WORDS] = 1
    return similarity, kind


@dataclass(frozen=True, slots=True)
class Distinct:
    """Candidates without the hashes they met under: pairs of numbers, each once, and which of them each row is."""

    centre: Array
    member: Array
    which: Array  # (candidates)

    def edges(self, similarity: Array, kind: Array, accepted: Array) -> Array:
        """Return accepted pairs as edges."""
        return make_edges(self.centre[accepted], self.member[accepted], similarity[accepted], kind[accepted])


def distinct(candidates: Array) -> Distinct:
    """Return the distinct pairs of candidates, by member, then centre."""
    order = np.lexsort((candidates["centre"], candidates["member"]))
    centre, member = candidates["centre"][order], candidates["member"][order]
    new = np.ones(len(order), bool)
    new[1:] = (centre[1:] != centre[:-1]) | (member[1:] != member[:-1])
    which = np.empty(len(order), np.int64)
    which[order] = np.cumsum(new) - 1
    return Distinct(centre[new], member[new], which)


@dataclass(slots=True)
class Judged:
    """Failed members on their way to the next star."""

    linking: Linking
    folder: str
    key: str
    _failed: Spill | None = None

    def fail(self, candidates: Array) -> None:
        """Take candidates that are not alike."""
        if self._failed is None:
            linking = self.linking
            limit = linking.memory_bytes // 8
            self._failed = Spill(self.folder, f"failed/{self.key}", linking.partitions, PAIR, limit)
        self._failed.add(self.linking.partition_of(candidates["hash"]), as_pairs(candidates))

    def record(self, key: str) -> dict[str, Any]:
        """Write the rest and return where edges and failed members are."""
        failed = self._failed.close() if self._failed else []
        return {"edges": [f"edges/{key}.rows"], "failed": failed}


@dataclass(frozen=True, slots=True)
class AttachTexts:
    """Work that puts the members' shingles beside the candidates that signatures did not decide."""

    linking: Linking
    folder: str
    verified: str

    @property
    def needs(self) -> Needs:
        """Memory by the budget."""
        return self.linking.needs

    def __call__(self, group: Group) -> dict[str, Any]:
        """Write candidates and shingles by the group of the centre; return the record."""
        paths = [join(self.verified, "unsure", other.key + ".rows") for other in self.linking.groups]
        found = read_every(paths, group.number, CANDIDATE)
        members = np.unique(found["member"])
        bounds, hashes = sets_of(group, members, self.linking.shingle_words)
        with slices(join(self.folder, "shingles", group.key + ".rows"), SHINGLE) as write:
            for part in _by_centre(self.folder, group, self.linking, found):
                write(_shingle_rows(members, bounds, hashes, np.unique(part["member"])))
        return {"size": len(found), "bytes": found.nbytes + hashes.nbytes}


def sets_of(group: Group, numbers: Array, shingle_words: int) -> tuple[Array, Array]:
    """Return the shingle sets of some documents of a group (bounds, hashes); numbers are sorted."""
    sizes, parts = [np.zeros(1, np.int64)], [np.empty(0, np.uint64)]
    for texts in take_texts(group.shards, numbers):
        words = split_words(texts)
        bounds, hashes = shingle_sets(words.data, words.first, words.start, words.end, shingle_words)
        sizes.append(np.diff(bounds))
        parts.append(hashes)
    return np.cumsum(np.concatenate(sizes)), np.concatenate(parts)


def _shingle_rows(members: Array, bounds: Array, hashes: Array, wanted: Array) -> Array:
    at = np.searchsorted(members, wanted)
    sizes = bounds[at + 1] - bounds[at]
    rows = np.empty(int(sizes.sum()), SHINGLE)
    rows["number"] = np.repeat(wanted, sizes)
    inside = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows["hash"] = hashes[np.repeat(bounds[at], sizes) + inside]
    return rows


@dataclass(frozen=True, slots=True)
class VerifyTexts:
    """Work that compares the shingles of candidates whose centre is in a group."""

    linking: Linking
    folder: str
    attached: str

    @property
    def needs(self) -> Needs:
        """Memory by the budget."""
        return self.linking.needs

    def __call__(self, group: Group) -> dict[str, Any]:
        """Write accepted edges and failed members as pairs; return the record."""
        linking = self.linking
        centres, known = _centres(self.attached, group, linking)
        bounds, hashes = sets_of(group, centres, linking.shingle_words)
        judged = Judged(linking, self.folder, group.key)
        counts, size = np.zeros(2, np.int64), hashes.nbytes
        with slices(join(self.folder, "edges", group.key + ".rows"), EDGE) as write_edges:
            for other in linking.groups:
                found = _candidates(self.attached, group, other, known)
                if not len(found):
                    continue
                compared = distinct(found)
                rows = read_rows(join(self.attached, "shingles", other.key + ".rows"), group.number, SHINGLE)
                size += found.nbytes + rows.nbytes
                numbers = np.unique(compared.member)
                theirs = np.searchsorted(rows["number"], np.append(numbers, np.iinfo(np.int64).max))
                left, right = np.searchsorted(centres, compared.centre), np.searchsorted(numbers, compared.member)
                shared = np.ascontiguousarray(rows["hash"])
                similarity = np.asarray(jaccard(bounds, hashes, theirs, shared, left, right), np.float64)
                accepted = similarity >= (linking.threshold or 0.0)
                write_edges(compared.edges(similarity, np.full(len(similarity), NEAR, np.uint8), accepted))
                judged.fail(found.compress(~accepted[compared.which]))
                counts += [len(similarity), accepted.sum()]
        return {**judged.record(group.key), "compared": int(counts[0]), "accepted": int(counts[1]), "bytes": size}

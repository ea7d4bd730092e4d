"""Linking: which documents are alike, as edges between dense numbers; what one task holds is bounded by a budget.

Signatures become (hash, key, number) rows, spread over partitions of hashes; each partition becomes stars; a star's
candidates meet the two signatures they need by the group of one end, then of the other; a member that fails against
its star's centre forms the next star with the rest. Between the steps the rows lie on disk (exchange.py), so no step
holds more than one partition, or the signatures of one group of document shards and of another.

Documents of earlier runs come after this run's: they are centres, never members, and are not compared with each other.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from dedup.clusters import CANDIDATE, EDGE, NEAR, SAME_TEXT, SAME_URL, SAME_WORDS, forest, stars
from dedup.jaccard import jaccard, shingle_sets
from dedup.lsh import band_hashes, estimated_jaccard
from dedup.signatures import EMPTY
from filters.words import split_words
from pipeline.exchange import Spill, read_every, read_rows, slices, write_rows
from pipeline.line import Line
from pipeline.shards import DocumentShard
from pipeline.sign import HASH_WORDS, id_words, read_signatures, take_signatures, take_texts
from pipeline.stage import Manifest, Stage
from pipeline.storage import join
from pipeline.verdicts import kept_mask

Array = npt.NDArray[Any]

PAIR = np.dtype([("hash", np.uint64), ("key", np.uint64), ("number", np.int64)])
SHINGLE = np.dtype([("number", np.int64), ("hash", np.uint64)])
PAIR_BYTES = 72  # of memory for a pair while its partition is sorted
KINDS = {"text": SAME_TEXT, "normalised": SAME_WORDS, "url": SAME_URL}
DOUBT = 4.0  # standard errors below the threshold at which an estimate is still checked exactly: 3 of 100,000 are lost
VERSION = 2


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


def tasks(linking: Linking) -> list[Partition]:
    """Return one task for each partition."""
    return [Partition(number) for number in range(linking.partitions)]


def link(line: Line, name: str, linking: Linking, settings: object, upstream: Sequence[Stage | str]) -> list[Manifest]:
    """Run the stages that link documents; return the manifests whose records name files of edges."""
    firsts = [group.first for group in linking.groups]  # files are cut by group, and exact mode has smaller groups
    stage = line.stage(f"{name}.hashes", VERSION, [settings, linking.memory_bytes, firsts], upstream)
    hashed = line.each(stage, HashGroup(linking, stage.folder), linking.groups)
    pairs = named_files([hashed], "pairs")
    edges: list[Manifest] = []
    rest: tuple[str, ...] = ()
    before = hashed.stage
    for number in range(1, linking.star_rounds + 1):
        stage = line.stage(f"{name}.stars-{number}", VERSION, linking.threshold is None, [before])
        work = FormStars(linking, stage.folder, pairs, rest)
        starred = line.each(stage, work, tasks(linking))
        if linking.threshold is None:
            return [starred]
        found = _verified(line, f"{name}.{{}}-{number}", linking, starred)
        edges += found
        before = found[-1].stage
        pairs = named_files(found, "failed")
        rest = named_files([starred], "rest")
        if not pairs:
            break
    return edges


def _verified(line: Line, name: str, linking: Linking, starred: Manifest) -> list[Manifest]:
    """Compare the ends of candidates: their signatures, then, where that is asked for, their texts."""
    stage = line.stage(name.format("attach"), VERSION, [], [starred.stage])
    candidates = named_files([starred], "candidates")
    attached = line.each(stage, AttachSignatures(linking, stage.folder, candidates), linking.groups)
    keys = [linking.threshold, linking.texts]
    stage = line.stage(name.format("verify"), VERSION, keys, [attached.stage])
    verified = line.each(stage, Verify(linking, stage.folder, attached.stage.folder), linking.groups)
    if not linking.texts:
        return [verified]
    stage = line.stage(name.format("attach_texts"), VERSION, [], [verified.stage])
    attached = line.each(stage, AttachTexts(linking, stage.folder, verified.stage.folder), linking.groups)
    stage = line.stage(name.format("verify_texts"), VERSION, keys, [attached.stage])
    return [verified, line.each(stage, VerifyTexts(linking, stage.folder, attached.stage.folder), linking.groups)]


def named_files(manifests: Sequence[Manifest], kind: str) -> tuple[str, ...]:
    """Return the paths of the files that the records of some stages name, in order."""
    return tuple(m.stage.path(name) for m in manifests for record in m.records for name in record[kind])


@dataclass(frozen=True, slots=True)
class HashGroup:
    """Work that turns the signatures of a group into pairs: one a band, one an exact hash, one a host."""

    linking: Linking
    folder: str

    def __call__(self, group: Group) -> dict[str, Any]:
        """Write the pairs by partition; return the record."""
        linking = self.linking
        spill = Spill(self.folder, f"pairs/{group.key}", linking.partitions, PAIR, linking.memory_bytes // 4)
        for shard in group.shards:
            pairs = shard_pairs(shard, linking)
            spill.add(linking.partition_of(pairs["hash"]), pairs)
        return {"pairs": spill.close(), "size": group.rows}


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
        hosts = np.asarray(table["host"].to_pylist(), dtype=np.str_)
        parts.append((_host_hash(hosts[hosts != ""]), np.flatnonzero(hosts != "")))
    hashed, owner = (np.concatenate(column) for column in zip(*parts, strict=True))
    pairs = np.empty(len(hashed), PAIR)
    pairs["hash"], pairs["key"], pairs["number"] = hashed, keys[owner], numbers[owner]
    return pairs


def exact_pairs(rows: Array, at: int, salt: int) -> tuple[Array, Array]:
    """Return (64 bits of an exact hash, row) where there is one; verification compares all 128."""
    present = np.flatnonzero((rows[:, at : at + HASH_WORDS] != 0).any(axis=1))
    hashes = np.ascontiguousarray(rows[present, at : at + 2]).view(np.uint64).ravel()
    return hashes ^ np.uint64(salt * 0x9E3779B97F4A7C15 % 2**64), present


def _host_hash(hosts: Array) -> Array:
    distinct, which = np.unique(hosts, return_inverse=True)
    digests = b"".join(blake2b(b"host\0" + h.encode(), digest_size=8).digest() for h in distinct.tolist())
    return np.frombuffer(digests, np.uint64)[which]


@dataclass(frozen=True, slots=True)
class FormStars:
    """Work that turns a partition's pairs into candidates, by the group of the member, or at once into edges."""

    linking: Linking
    folder: str
    pairs: tuple[str, ...]
    rest: tuple[str, ...]  # earlier runs' members of the stars before, by partition; none in the first round

    def __call__(self, task: Partition) -> dict[str, Any]:
        """Write candidates and what of earlier runs waits for the next round, or edges; return the record."""
        linking = self.linking
        pairs = read_every(self.pairs, task.number, PAIR)
        if self.rest:
            pairs = np.concatenate([pairs, read_rows(self.rest[task.number], 0, PAIR)])
        found = stars(pairs["hash"], pairs["key"], pairs["number"])
        if linking.threshold is None:
            name = f"edges/{task.key}.arrow"
            edges = forest(make_edges(found["centre"], found["member"], np.float32(0), NEAR))
            _write_one(join(self.folder, name), edges)
            return {"edges": [name]}
        young = found["member"] < linking.old
        old = found[~young]
        old = old[np.isin(old["hash"], found["hash"][young])]
        rest, candidates = f"rest/{task.key}.arrow", f"candidates/{task.key}.arrow"
        _write_one(join(self.folder, rest), as_pairs(old))
        found = found[young]
        write_rows(join(self.folder, candidates), linking.group_of(found["member"]), found, len(linking.groups))
        return {"candidates": [candidates], "rest": [rest]}


def _write_one(path: str, rows: Array) -> None:
    with slices(path, rows.dtype) as write:
        write(rows)


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


@dataclass(frozen=True, slots=True)
class AttachSignatures:
    """Work that puts the members' signatures beside the candidates of a group, by the group of the centre."""

    linking: Linking
    folder: str
    candidates: tuple[str, ...]

    def __call__(self, group: Group) -> dict[str, Any]:
        """Write candidates and signatures; return the record."""
        found = read_every(self.candidates, group.number, CANDIDATE)
        members = np.unique(found["member"])
        rows = np.empty(len(members), signature_rows(self.linking.width))
        rows["number"], rows["row"] = members, take_signatures(group.shards, members, self.linking.width)
        with slices(join(self.folder, "signatures", group.key + ".arrow"), rows.dtype) as write:
            for part in _by_centre(self.folder, group, self.linking, found):
                write(rows[np.searchsorted(members, np.unique(part["member"]))])
        return {"size": len(found)}


def _by_centre(folder: str, group: Group, linking: Linking, found: Array) -> Iterator[Array]:
    """Write candidates by the group of their centre, and yield each group's."""
    owner = linking.group_of(found["centre"])
    order = np.argsort(owner, kind="stable")
    edges = np.searchsorted(owner[order], np.arange(len(linking.groups) + 1))
    with slices(join(folder, "candidates", group.key + ".arrow"), CANDIDATE) as write:
        for i in range(len(linking.groups)):
            part = found[order[edges[i] : edges[i + 1]]]
            write(part)
            yield part


@dataclass(frozen=True, slots=True)
class Verify:
    """Work that compares the signatures of candidates whose centre is in a group."""

    linking: Linking
    folder: str
    attached: str

    def __call__(self, group: Group) -> dict[str, Any]:
        """Write accepted edges, failed members as pairs, and in exact mode candidates to look at; return the record."""
        linking = self.linking
        files = [join(self.attached, "candidates", other.key + ".arrow") for other in linking.groups]
        centres = _centres(files, group)
        mine = take_signatures(group.shards, centres, linking.width)
        judged = Judged(linking, self.folder, group.key)
        counts = np.zeros(2, np.int64)
        with (
            slices(join(self.folder, "edges", group.key + ".arrow"), EDGE) as write_edges,
            slices(join(self.folder, "unsure", group.key + ".arrow"), CANDIDATE) as write_unsure,
        ):
            for other, path in zip(linking.groups, files, strict=True):
                found = read_rows(path, group.number, CANDIDATE)
                attached = join(self.attached, "signatures", other.key + ".arrow")
                theirs = read_rows(attached, group.number, signature_rows(linking.width))
                compared = distinct(found)
                left = mine[np.searchsorted(centres, compared.centre)]
                right = theirs["row"][np.searchsorted(theirs["number"], compared.member)]
                similarity, kind = compare(left, right, linking)
                accepted, unsure = _decided(similarity, kind, linking)
                write_edges(compared.edges(similarity, kind, accepted))
                write_unsure(found[unsure[compared.which]])
                judged.fail(found[~(accepted | unsure)[compared.which]])
                counts += [len(compared.centre), accepted.sum()]
        return {**judged.record(group.key), "compared": int(counts[0]), "accepted": int(counts[1])}


def _centres(paths: Sequence[str], group: Group) -> Array:
    parts = [np.unique(read_rows(path, group.number, CANDIDATE)["centre"]) for path in paths]
    return np.unique(np.concatenate(parts))


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
        return {"edges": [f"edges/{key}.arrow"], "failed": failed}


@dataclass(frozen=True, slots=True)
class AttachTexts:
    """Work that puts the members' shingles beside the candidates that signatures did not decide."""

    linking: Linking
    folder: str
    verified: str

    def __call__(self, group: Group) -> dict[str, Any]:
        """Write candidates and shingles by the group of the centre; return the record."""
        paths = [join(self.verified, "unsure", other.key + ".arrow") for other in self.linking.groups]
        found = read_every(paths, group.number, CANDIDATE)
        members = np.unique(found["member"])
        bounds, hashes = sets_of(group, members, self.linking.shingle_words)
        with slices(join(self.folder, "shingles", group.key + ".arrow"), SHINGLE) as write:
            for part in _by_centre(self.folder, group, self.linking, found):
                write(_shingle_rows(members, bounds, hashes, np.unique(part["member"])))
        return {"size": len(found)}


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

    def __call__(self, group: Group) -> dict[str, Any]:
        """Write accepted edges and failed members as pairs; return the record."""
        linking = self.linking
        files = [join(self.attached, "candidates", other.key + ".arrow") for other in linking.groups]
        centres = _centres(files, group)
        bounds, hashes = sets_of(group, centres, linking.shingle_words)
        judged = Judged(linking, self.folder, group.key)
        counts = np.zeros(2, np.int64)
        with slices(join(self.folder, "edges", group.key + ".arrow"), EDGE) as write_edges:
            for other, path in zip(linking.groups, files, strict=True):
                compared = distinct(found := read_rows(path, group.number, CANDIDATE))
                rows = read_rows(join(self.attached, "shingles", other.key + ".arrow"), group.number, SHINGLE)
                numbers = np.unique(compared.member)
                theirs = np.searchsorted(rows["number"], np.append(numbers, np.iinfo(np.int64).max))
                left, right = np.searchsorted(centres, compared.centre), np.searchsorted(numbers, compared.member)
                shared = np.ascontiguousarray(rows["hash"])
                similarity = np.asarray(jaccard(bounds, hashes, theirs, shared, left, right), np.float64)
                accepted = similarity >= (linking.threshold or 0.0)
                write_edges(compared.edges(similarity, np.full(len(similarity), NEAR, np.uint8), accepted))
                judged.fail(found[~accepted[compared.which]])
                counts += [len(similarity), accepted.sum()]
        return {**judged.record(group.key), "compared": int(counts[0]), "accepted": int(counts[1])}

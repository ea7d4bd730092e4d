"""Deduplicate: exact and near duplicates, one keeper a cluster, verdicts as sidecars.

Links come first (linking.py). One task then unites all ends in a single array, eight bytes a document, over which the
edges stream; it sends edges and documents on by cluster. A task that has some clusters whole chooses their keepers,
walks from them over the strongest edges, and measures how like its keeper each document is. Nothing here depends on
the order of the corpus: stars, ties and keepers go by the documents' ids.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedup.clusters import EDGE, NEAR, SAME_TEXT, SAME_URL, SAME_WORDS, clustered, flatten, forest, towards_roots, union
from pipeline import precision, storage
from pipeline.config import KEEP, Deduplicate
from pipeline.document import conform, read_table, write_table
from pipeline.exchange import read_every, read_rows, read_slices, slices, write_rows
from pipeline.line import Line
from pipeline.linking import Group, Linking, Partition, document_bytes, make_groups, named_files, signature_rows
from pipeline.needs import Needs
from pipeline.precision import EDGES, sampled_edges
from pipeline.shards import DocumentShard
from pipeline.sign import HASH_WORDS, id_words, take_rows, take_signatures
from pipeline.stage import Manifest, Stage
from pipeline.summary import LOWEST, counts, histogram
from pipeline.verdicts import SIDECAR, sidecar_path
from pipeline.verifying import compare

VERSION = 3
Array = npt.NDArray[Any]

REASONS = {NEAR: "near_duplicate", SAME_URL: "same_url", SAME_WORDS: "same_words", SAME_TEXT: "exact_duplicate"}
LINKED = pa.array(REASONS.values())
DIGITS = 6  # of a similarity: what a float32 holds
NODE = np.dtype([("number", np.int64), ("root", np.int64)])
OLD, OLD_REJECT, YOUNG = range(3)  # the order in which documents are preferred as keepers
MEMBER = np.dtype(
    [("number", np.int64), ("root", np.int64), ("age", np.uint8), ("order", np.float64), ("id", np.uint64, (2,))]
)
DUPLICATE = np.dtype(
    [("number", np.int64), ("keeper", np.int64), ("linked", np.int64), ("kind", np.uint8), ("value", np.float32),
     ("similarity", np.float32), ("keeper_id", np.uint64, (2,)), ("linked_id", np.uint64, (2,))]
)  # fmt: skip


def make_linking(settings: Deduplicate, shards: Sequence[DocumentShard], earlier: Sequence[DocumentShard]) -> Linking:
    """Return how duplicates are linked: this run's documents, and with those of earlier runs, numbered after them."""
    hashes = settings.bands + len(settings.exact)
    width = settings.count + HASH_WORDS * len(settings.exact)
    rows = settings.memory_bytes // document_bytes(width, hashes)
    texts = settings.verify == "exact"
    size = settings.memory_bytes // 4 if texts else 2**62
    return Linking(
        groups=make_groups([*shards, *earlier], rows, size),
        old=sum(shard.rows for shard in shards),
        count=settings.count,
        bands=settings.bands,
        rows=settings.rows,
        keys=settings.exact,
        exact=True,
        hosts=False,
        verdicts=(),
        threshold=settings.threshold,
        texts=texts,
        shingle_words=settings.shingle_words,
        star_rounds=settings.star_rounds,
        memory_bytes=settings.memory_bytes,
    )


def link_settings(settings: Deduplicate) -> dict[str, Any]:
    """Return the settings that the pairs depend on."""
    return {name: asdict(settings)[name] for name in ("bands", "rows", "values", "exact", "seed", "shingle_words")}


def judge(
    line: Line, linked: Sequence[Manifest], linking: Linking, shards: Sequence[DocumentShard], last: Stage
) -> tuple[Manifest, Manifest]:
    """Run the stages from edges to sidecars, those of `last`; return the stages of keepers and of verdicts."""
    settings = line.config.deduplicate
    before: list[Stage | str] = [manifest.stage for manifest in linked]
    stage = line.stage("deduplicate.clusters", VERSION, linking.memory_bytes, before)
    united = line.each(stage, Unite(linking, stage.folder, named_files(linked, "edges")), [Partition(0)])
    record = united.records[0]
    stage = line.stage("deduplicate.members", VERSION, settings.keep, [united.stage])
    nodes = united.stage.path("nodes.rows")
    described = line.each(
        stage, Describe(linking, stage.folder, nodes, record["partitions"], settings.keep), linking.groups
    )
    stage = line.stage("deduplicate.keepers", VERSION, [], [described.stage])
    edges = named_files([united], "edges")
    work = ElectKeepers(linking, stage.folder, described.stage.folder, edges)
    elected = line.each(stage, work, [Partition(number) for number in range(record["partitions"])])
    judged = line.each(last, WriteVerdicts(linking, last.folder, named_files([elected], "duplicates")), shards)
    if not linking.texts:
        measure_precision(line, linking, judged, shards)
    return elected, judged


def measure_precision(line: Line, linking: Linking, judged: Manifest, shards: Sequence[DocumentShard]) -> None:
    """Look at a sample of accepted edges exactly, and print how many reach the threshold."""
    edges = sampled_edges([record["near"] for record in judged.records], linking.old)
    if not edges:
        return
    stage = line.stage("deduplicate.precision", precision.VERSION, [], [judged.stage])
    work = precision.MeasurePrecision(linking, tuple(shards), edges)
    found = line.each(stage, work, [Partition(0)]).summary["precision"]
    line.display.say(
        f"deduplicate: {found['true']} of {found['edges']} accepted near-duplicate links looked at have an exact "
        f"Jaccard of {linking.threshold:g} or more: precision {found['true'] / found['edges']:.3f}"
    )


@dataclass(frozen=True, slots=True)
class Unite:
    """Work of one task: unite the ends of all edges, and send edges and documents on by cluster."""

    linking: Linking
    folder: str
    edges: tuple[str, ...]

    @property
    def needs(self) -> Needs:
        """A whole number for each document, and pieces of edges and a group's nodes beside them."""
        return Needs(memory=8 * self.linking.documents + self.linking.memory_bytes)

    def __call__(self, _task: Partition) -> dict[str, Any]:
        """Write edges by partition of clusters and nodes by group; return the record."""
        parent = np.arange(self.linking.documents)
        for edges in self._streamed():
            union(parent, np.ascontiguousarray(edges["left"]), np.ascontiguousarray(edges["right"]))
        flatten(parent)
        nodes = int(clustered(parent))
        held = nodes * (4 * MEMBER.itemsize + 4 * EDGE.itemsize + 4 * self.linking.width)
        partitions = max(1, math.ceil(held / self.linking.memory_bytes))
        with slices(storage.join(self.folder, "nodes.rows"), NODE) as write:
            for group in self.linking.groups:
                write(_nodes(parent, group))
        names, size = [], 0
        for number, edges in enumerate(self._streamed()):
            size += edges.nbytes
            names.append(f"edges/{number:05d}.rows")
            root = parent[edges["left"]]
            reader = spread(np.where(root < 0, ~root, root), partitions)
            write_rows(storage.join(self.folder, names[-1]), reader, edges, partitions)
        return {"edges": names, "partitions": partitions, "bytes": size, "summary": {"clustered": nodes}}

    def _streamed(self) -> Iterator[Array]:
        """Yield all edges in pieces of a bounded size."""
        held: list[Array] = []
        size = 0
        for path in self.edges:
            for edges in read_slices(path, EDGE):
                held.append(edges)
                size += edges.nbytes
                if size > self.linking.memory_bytes // 8:
                    yield np.concatenate(held)
                    held, size = [], 0
        if held:
            yield np.concatenate(held)


def _nodes(parent: Array, group: Group) -> Array:
    """Return the documents of a group that share a cluster with another, and the smallest number of the cluster."""
    root = parent[group.first : group.first + group.rows]
    numbers = np.arange(group.first, group.first + group.rows)
    found = np.flatnonzero(root != numbers)
    nodes = np.empty(len(found), NODE)
    nodes["number"], nodes["root"] = numbers[found], np.where(root[found] < 0, ~root[found], root[found])
    return nodes


def spread(roots: Array, partitions: int) -> Array:
    """Return a partition for each cluster, by a hash of its smallest number (MurmurHash3, fmix64)."""
    mixed = roots.astype(np.uint64)
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(multiplier)
    return ((mixed >> np.uint64(33)) % np.uint64(partitions)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Describe:
    """Work that says of a group's clustered documents what the choice of a keeper needs."""

    linking: Linking
    folder: str
    nodes: str
    partitions: int
    keep: str

    @property
    def needs(self) -> Needs:
        """Memory by the budget."""
        return self.linking.needs

    def __call__(self, group: Group) -> dict[str, Any]:
        """Write members, and in the same order their signatures, by partition of clusters; return the record."""
        nodes = read_rows(self.nodes, group.number, NODE)
        members = np.zeros(len(nodes), MEMBER)
        members["number"], members["root"] = nodes["number"], nodes["root"]
        members["age"] = YOUNG
        for shard in group.shards:
            inside = slice(*np.searchsorted(nodes["number"], [shard.first, shard.first + shard.rows]))
            if inside.start < inside.stop:
                self._describe(shard, members[inside])
        reader = spread(members["root"], self.partitions)
        write_rows(storage.join(self.folder, "members", group.key + ".rows"), reader, members, self.partitions)
        rows = np.empty(len(nodes), signature_rows(self.linking.width))
        rows["number"] = nodes["number"]
        rows["row"] = take_signatures(group.shards, nodes["number"], self.linking.width)
        write_rows(storage.join(self.folder, "signatures", group.key + ".rows"), reader, rows, self.partitions)
        return {"size": len(nodes), "bytes": rows.nbytes}

    def _describe(self, shard: DocumentShard, members: Array) -> None:
        """Fill in ids and what the policy orders by."""
        rows = members["number"] - shard.first
        table = read_table(shard.path("signatures"), ["id", "bytes"]).take(rows)
        members["id"] = id_words(table["id"])
        if shard.first >= self.linking.old:
            rejected = np.isin(table["id"].to_pylist(), _rejected_ids(shard))
            members["age"] = np.where(rejected, OLD_REJECT, OLD)
        elif self.keep == "longest":
            members["order"] = -table["bytes"].to_numpy().astype(np.float64)
        elif self.keep != "smallest_id":
            column = "date" if self.keep in {"earliest", "newest"} else self.keep
            found = take_rows([shard], members["number"], "documents", [column])
            values = [value for at, part in found for value in part[column].take(pa.array(at)).to_pylist()]
            members["order"] = [order(self.keep, value) for value in values]


def _rejected_ids(shard: DocumentShard) -> list[str]:
    """Return the ids of an earlier run's shard that its later stages rejected."""
    path = storage.join(shard.folder.rpartition("/stages/")[0], "rejected", shard.name + "-later.parquet")
    return read_table(path, ["id"])["id"].to_pylist() if storage.exists(path) else []


def order(keep: str, value: Any) -> float:
    """Return what a policy orders by, the least first; what has no value comes last."""
    if keep in {"earliest", "newest"}:
        found = seconds(value or "")
        return -found if keep == "newest" and found < math.inf else found
    return math.inf if value is None or math.isnan(value) else -float(value)


def seconds(date: str) -> float:
    """Return a date, ISO 8601 or RFC 5322, in seconds since 1970, UTC where it names no zone; inf where it is none."""
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        with contextlib.suppress(ValueError, OverflowError):
            found = parse(date.strip())
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    return math.inf


@dataclass(frozen=True, slots=True)
class ElectKeepers:
    """Work that has some clusters whole: a keeper for each, and what links each other document to it."""

    linking: Linking
    folder: str
    described: str
    edges: tuple[str, ...]

    @property
    def needs(self) -> Needs:
        """Memory by the budget."""
        return self.linking.needs

    def __call__(self, task: Partition) -> dict[str, Any]:
        """Write the duplicates by group, and the summary of the clusters; return the record."""
        paths = [storage.join(self.described, "members", group.key + ".rows") for group in self.linking.groups]
        members = read_every(paths, task.number, MEMBER)
        members = members.take(np.lexsort((members["number"], members["id"][:, 1], members["id"][:, 0])))
        keeper = keepers(members)
        edges = read_every(self.edges, task.number, EDGE)
        duplicates = linked_duplicates(members, keeper, edges)
        duplicates = duplicates.take(np.argsort(duplicates["number"]))
        self._compare(task, duplicates)
        young = duplicates.compress(duplicates["number"] < self.linking.old)
        name = f"duplicates/{task.key}.rows"
        reader = self.linking.group_of(young["number"])
        write_rows(storage.join(self.folder, name), reader, young, len(self.linking.groups))
        size = members.nbytes + edges.nbytes
        return {"duplicates": [name], "bytes": size, "summary": {"clusters": self._sizes(duplicates["keeper"])}}

    def _compare(self, task: Partition, duplicates: Array) -> None:
        """Fill in how like its keeper each duplicate is; signatures are read a group at a time."""
        linking, kind = self.linking, signature_rows(self.linking.width)
        paths = [storage.join(self.described, "signatures", group.key + ".rows") for group in linking.groups]
        wanted = np.unique(duplicates["keeper"])
        parts = [_found(read_rows(path, task.number, kind), wanted) for path in paths]
        kept = np.concatenate([np.empty(0, kind), *parts])
        for path in paths:
            rows = read_rows(path, task.number, kind)
            at = np.searchsorted(duplicates["number"], rows["number"])
            inside = at < len(duplicates)
            inside[inside] = duplicates["number"][at[inside]] == rows["number"][inside]
            theirs = kept["row"][np.searchsorted(kept["number"], duplicates["keeper"][at[inside]])]
            duplicates["similarity"][at[inside]], _ = compare(rows["row"][inside], theirs, linking)
        direct = (duplicates["keeper_id"] == duplicates["linked_id"]).all(axis=1) & (duplicates["kind"] != SAME_URL)
        duplicates["similarity"][direct] = duplicates["value"][direct]

    def _sizes(self, keeper: Array) -> dict[str, Any]:
        """Return how many clusters there are of each size, and the largest of this run's."""
        numbers, others = np.unique(keeper, return_counts=True)
        own = np.flatnonzero(numbers < self.linking.old)
        largest = own[np.lexsort((numbers[own], -others[own]))[:LOWEST]]
        pairs = [[-int(others[i]) - 1, int(numbers[i])] for i in largest]
        return {"sizes": counts((others + 1).tolist()), "largest": {"lowest": pairs}}


def _found(rows: Array, wanted: Array) -> Array:
    """Return the rows, sorted by number, whose number is wanted; only what lies between their ends is looked at."""
    if not len(rows):
        return rows
    near = wanted[np.searchsorted(wanted, rows["number"][0]) : np.searchsorted(wanted, rows["number"][-1], "right")]
    at = np.searchsorted(rows["number"], near)
    return rows.take(at[rows["number"][at] == near])


def keepers(members: Array) -> Array:
    """Return the row of each member's keeper (n): by age, the policy's order, then id, by which members are sorted."""
    order = np.lexsort((np.arange(len(members)), members["order"], members["age"], members["root"]))
    roots = members["root"][order]
    new = np.ones(len(order), bool)
    new[1:] = roots[1:] != roots[:-1]
    keeper = np.empty(len(order), np.int64)
    keeper[order] = order[np.flatnonzero(new)[np.cumsum(new) - 1]]
    return keeper


def linked_duplicates(members: Array, keeper: Array, edges: Array) -> Array:
    """Return all but the keepers with the strongest edge that leads to their keeper; similarity is left open."""
    by_number = np.argsort(members["number"])
    numbers = members["number"][by_number]
    one, other = (by_number[np.searchsorted(numbers, edges[end])] for end in ("left", "right"))
    flat = np.empty(len(edges), EDGE)
    flat["left"], flat["right"] = np.minimum(one, other), np.maximum(one, other)
    flat["similarity"], flat["kind"] = edges["similarity"], edges["kind"]
    tree = forest(flat)
    node, linked, which = towards_roots(keeper, tree)
    duplicates = np.zeros(len(node), DUPLICATE)
    duplicates["number"], duplicates["keeper"] = members["number"][node], members["number"][keeper[node]]
    duplicates["linked"] = members["number"][linked]
    duplicates["kind"], duplicates["value"] = tree["kind"][which], tree["similarity"][which]
    duplicates["keeper_id"], duplicates["linked_id"] = members["id"][keeper[node]], members["id"][linked]
    return duplicates


@dataclass(frozen=True, slots=True)
class WriteVerdicts:
    """Work that writes the sidecar of a document shard."""

    linking: Linking
    folder: str
    duplicates: tuple[str, ...]

    def __call__(self, shard: DocumentShard) -> dict[str, Any]:
        """Write the verdicts; return the record."""
        group = int(self.linking.group_of(np.array([shard.first]))[0]) if shard.rows else 0
        found = read_every(self.duplicates, group, DUPLICATE)
        found = found.compress((found["number"] >= shard.first) & (found["number"] < shard.first + shard.rows))
        found = found.take(np.argsort(found["number"]))
        table = verdict_table(shard, found, self.linking)
        write_table(sidecar_path(self.folder, shard), table)
        return {**verdict_record(shard, table), "near": self._sample(shard, found)}

    def _sample(self, shard: DocumentShard, found: Array) -> list[list[Any]]:
        """Return (id, number, number of the linked document) of the near-duplicates of lowest id."""
        near = found.compress(found["kind"] == NEAR)
        ids = read_table(shard.path("signatures"), ["id"])["id"].take(near["number"] - shard.first).to_pylist()
        return sorted(map(list, zip(ids, near["number"].tolist(), near["linked"].tolist(), strict=True)))[:EDGES]


def verdict_record(shard: DocumentShard, table: pa.Table) -> dict[str, Any]:
    """Return the record of a sidecar."""
    rejected = table.filter(table["rejected"])
    kept = np.flatnonzero(~table["rejected"].to_numpy())
    summary = {
        "reasons": counts(rejected["reason"].to_pylist()),
        "similarity": histogram(rejected.filter(pc.is_in(rejected["reason"], LINKED))["value"].to_numpy()),
        "kept": _sizes(shard, kept, _bytes_cut(table)),
    }
    sizes = {"documents": shard.rows, "kept": len(kept), "rejected": len(rejected), "bytes": table.nbytes}
    return {**sizes, "summary": summary}


def _bytes_cut(table: pa.Table) -> Array:
    """Return the bytes that lines of others take from each document (rows)."""
    if "cut" not in table.column_names:
        return np.zeros(len(table), np.int64)
    cut = table["cut"].combine_chunks()
    starts, ends = (np.asarray(cut.values)[i::2] for i in (0, 1))
    total = np.concatenate([[0], np.cumsum(ends - starts)])
    return np.diff(total[np.asarray(cut.offsets) // 2])


def _sizes(shard: DocumentShard, rows: Array, cut: Array) -> dict[str, Any]:
    """Return documents and bytes by language and a histogram of bytes, of what is kept: what budgets are made from."""
    size = read_table(shard.path("signatures"), ["bytes"])["bytes"].to_numpy()[rows] - cut[rows]
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


def verdict_table(shard: DocumentShard, duplicates: Array, linking: Linking) -> pa.Table:
    """Return a shard's sidecar from its duplicates, sorted by number."""
    where = np.full(shard.rows, -1)
    where[duplicates["number"] - shard.first] = np.arange(len(duplicates))
    near = duplicates["kind"] == NEAR
    keepers_, linked = hex_ids(duplicates["keeper_id"]), hex_ids(duplicates["linked_id"])
    columns: dict[str, Any] = {
        "reason": [REASONS[kind] for kind in duplicates["kind"].tolist()],
        "value": np.where(near, duplicates["value"].astype(np.float64).round(DIGITS), 1.0),
        "threshold": np.where(near, linking.threshold or 0.0, 1.0),
        "similarity": duplicates["similarity"].astype(np.float64).round(DIGITS),
        "duplicate_of": keepers_,
        "duplicate_in": [_origin(number, linking) for number in duplicates["keeper"].tolist()],
        "linked_to": linked,
        "cluster": keepers_,
    }
    take = pa.array(where, mask=where < 0)
    spread_ = {name: pa.array(v, SIDECAR.field(name).type).take(take) for name, v in columns.items()}
    return conform(pa.table({"rejected": where >= 0, **spread_}), SIDECAR)


def hex_ids(ids: Array) -> list[str]:
    """Return ids as 32 hex digits."""
    return [f"{high:016x}{low:016x}" for high, low in ids.tolist()]


def _origin(number: int, linking: Linking) -> str | None:
    """Return the output folder of the earlier run that holds a document, None for this run's."""
    if number < linking.old:
        return None
    group = linking.groups[int(linking.group_of(np.array([number]))[0])]
    shard = next(s for s in group.shards if s.first <= number < s.first + s.rows)
    return shard.folder.rpartition("/stages/")[0]


def known_keep(keep: str, signals: Sequence[str]) -> bool:
    """Tell whether a policy can be followed."""
    return keep in KEEP or keep in signals

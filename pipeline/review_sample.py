"""The sample that people label: stratified, drawn by id, with the probability of every draw.

A stratum is a language (the small ones together) and a zone: clearly kept, near the cut on either side, clearly
rejected by self-cleaning. Of each the documents of lowest hash(id, seed) are drawn, so that neither order nor workers
show in it, and the probability of a draw is the same for all of a stratum: drawn / documents.
"""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.config import ConfigError
from pipeline.draw import hashes
from pipeline.finished_run import check_finished, read_self_clean
from pipeline.standing import Place, read_judged
from pipeline.summary import Summary, bin_edge, histogram, merge

KIND = "lustrate review sample"
VERSION = 2
KEPT, NEAR_KEPT, NEAR_REJECTED, REJECTED = "kept", "borderline_kept", "borderline_rejected", "rejected"
ZONES = (KEPT, NEAR_KEPT, NEAR_REJECTED, REJECTED)
MOST_LANGUAGES = 12  # with strata of their own; the smaller ones share theirs
OTHERS = ""  # the name of their stratum
LANGUAGE_POWER = 0.5  # documents of a language in proportion to its size^power (Bankier 1988, "Power allocations")
MOST_CHARACTERS = 200_000  # of a text that the page carries


@dataclass(frozen=True, slots=True)
class Design:
    """What is asked of a sample."""

    size: int = 300  # documents
    shares: tuple[float, float, float] = (0.4, 0.3, 0.3)  # of them clearly kept, borderline, clearly rejected
    near: float = 0.02  # share of a cut's documents that are borderline: half on each side, those nearest to it
    seed: int = 1
    languages: tuple[str, ...] = ()  # only these; empty: all that were judged


@dataclass(frozen=True, slots=True)
class Stratum:
    """Documents of which some are drawn."""

    language: str
    zone: str
    documents: int
    drawn: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """A document of the sample."""

    id: str
    language: str
    stratum: int  # its number
    rejected: bool
    read: bool  # by a TransNormer: else no cut rejects it
    score: float
    cut: float
    text: str = ""
    characters: int = 0  # of the whole text, of which `text` may be the beginning


FACTS = ("id", "language", "stratum", "rejected", "read", "score", "cut")  # of a document


@dataclass(frozen=True, slots=True)
class Sample:
    """What was drawn, in the order in which it is shown, and how."""

    design: Design
    offset: float  # that the cuts of this run were moved by
    strata: tuple[Stratum, ...]
    documents: tuple[Drawn, ...]

    @property
    def digest(self) -> str:
        """Name the sample: what labels of it carry."""
        texts = [sha256(one.text.encode()).hexdigest() for one in self.documents]
        return sha256(orjson.dumps([self.facts(), texts], option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]

    def facts(self) -> dict[str, Any]:
        """Return what estimates need, without texts: the page never carries it."""
        return {
            "kind": KIND,
            "version": VERSION,
            "design": {**asdict(self.design), "shares": list(self.design.shares)},
            "offset": self.offset,
            "strata": [asdict(one) for one in self.strata],
            "documents": [
                {
                    **{name: getattr(one, name) for name in FACTS},
                    "probability": self.strata[one.stratum].drawn / self.strata[one.stratum].documents,
                }
                for one in self.documents
            ],
        }


def draw(output: str, design: Design) -> Sample:
    """Draw a sample from a finished run, in two passes over its scores and one over the texts that were drawn.

    Raises ConfigError for what is no finished run, where nothing was judged and where no rejected texts were stored.
    """
    check_finished(output)
    bounds = _bounds(output, design)
    if not bounds.documents:
        named = f" in {', '.join(design.languages)}" if design.languages else ""
        raise ConfigError(f"{output}: self-cleaning judged no document{named}, so there is nothing to review")
    found = _lowest(output, design, bounds)
    sizes = {cell: count for cell, (count, _) in found.items()}
    chosen = allocate(sizes, _wanted(sizes, design), design.size)
    strata = tuple(
        Stratum(*cell, sizes[cell], chosen[cell])
        for cell in sorted(sizes, key=lambda one: (one[0], ZONES.index(one[1])))
    )
    taken = [
        (place, row, replace(one, stratum=number))
        for number, stratum in enumerate(strata)
        for _, _, place, row, one in found[stratum.language, stratum.zone][1][: stratum.drawn]
    ]
    documents = _with_texts(taken)
    order = hashes([one.id for one in documents], design.seed, "review order")
    shown = tuple(one for _, one in sorted(zip(order.tolist(), documents, strict=True), key=lambda pair: pair[0]))
    return Sample(design, read_self_clean(output).cut_offset, strata, shown)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where zones end."""

    documents: int
    groups: dict[str, str]  # language -> the language of its strata
    edges: dict[tuple[str, float, bool], float]  # language, cut, rejected -> distance below which a document is near


def _bounds(output: str, design: Design) -> Bounds:
    """Find how far from each cut the nearest share of its documents reaches, from histograms of the distance."""
    counted: dict[tuple[str, float, bool], Summary] = {}
    languages: Counter[str] = Counter()
    for _, table in _read(output, design):
        languages.update(table["language"].to_pylist())
        for key, rows in _by_cut(table):
            distance = np.abs(_column(table, "score") - key[1])[rows]
            counted[key] = merge([counted.get(key, {}), histogram(distance)])
    large = sorted(languages, key=lambda name: (-languages[name], name))
    alone = large if len(large) <= MOST_LANGUAGES else large[: MOST_LANGUAGES - 1]
    edges = {key: _edge(bins, _near(counted, key, design.near)) for key, bins in counted.items()}
    return Bounds(languages.total(), {name: name if name in alone else OTHERS for name in large}, edges)


def _read(output: str, design: Design) -> Iterator[tuple[Place, pa.Table]]:
    """Yield what was judged, in the languages that are asked for."""
    for place, table in read_judged(output):
        if not design.languages:
            yield place, table
            continue
        chosen = np.isin(np.array(table["language"].to_pylist(), np.str_), design.languages)
        if chosen.any():
            yield place, table.filter(pa.array(chosen))


def _by_cut(table: pa.Table) -> Iterator[tuple[tuple[str, float, bool], npt.NDArray[np.int64]]]:
    """Yield (language, cut, rejected) and its rows."""
    columns = (table[name].to_pylist() for name in ("language", "cut", "rejected"))
    rows: dict[tuple[str, float, bool], list[int]] = {}
    for row, key in enumerate(zip(*columns, strict=True)):
        rows.setdefault(key, []).append(row)
    for key, found in rows.items():
        yield key, np.array(found)


def _column(table: pa.Table, name: str) -> npt.NDArray[Any]:
    return table[name].to_numpy()


def _near(counted: Mapping[tuple[str, float, bool], Summary], key: tuple[str, float, bool], share: float) -> float:
    """Return how many documents of one side of a cut are near: half the share, and at most half of the rejected."""
    sides = {side: sum(counted.get((*key[:2], side), {}).values()) for side in (False, True)}
    return min(share * sum(sides.values()), sides[key[2]]) / 2


def _edge(bins: Mapping[str, int], most: float) -> float:
    """Return the end of the nearest bins that hold no more than so many documents."""
    edge, taken = 0.0, 0
    for key in sorted(bins, key=int):
        taken += bins[key]
        if taken > most:
            return edge
        edge = bin_edge(str(int(key) + 1)) if int(key) else float(np.nextafter(0, 1))
    return edge


Cell = tuple[str, str]  # language or OTHERS, zone
Candidate = tuple[int, str, Place, int, Drawn]  # hash, id, where


def _lowest(output: str, design: Design, bounds: Bounds) -> dict[Cell, tuple[int, list[Candidate]]]:
    """Count each stratum and keep its documents of lowest hash: no more than a sample could take."""
    found: dict[Cell, tuple[int, list[Candidate]]] = {}
    for place, table in _read(output, design):
        order = hashes(table["id"].to_pylist(), design.seed, "review")
        for cell, rows in _cells(table, bounds):
            best = rows[np.argsort(order[rows], kind="stable")[: design.size]]
            candidates = _candidates(table.take(pa.array(best)), order[best], place)
            count, kept = found.get(cell, (0, []))
            found[cell] = count + len(rows), heapq.nsmallest(design.size, [*kept, *candidates], key=lambda c: c[:2])
    return found


def _cells(table: pa.Table, bounds: Bounds) -> Iterator[tuple[Cell, npt.NDArray[np.int64]]]:
    """Yield strata and rows of theirs."""
    score = _column(table, "score")
    for (language, cut, rejected), rows in _by_cut(table):
        near = np.abs(score[rows] - cut) < bounds.edges[language, cut, rejected]
        for zone, chosen in zip(
            (NEAR_REJECTED, REJECTED) if rejected else (NEAR_KEPT, KEPT), (near, ~near), strict=True
        ):
            if chosen.any():
                yield (bounds.groups[language], zone), rows[chosen]


def _candidates(table: pa.Table, order: npt.NDArray[np.uint64], place: Place) -> list[Candidate]:
    return [
        (rank, one["id"], place, one["row"],
         Drawn(one["id"], one["language"], 0, one["rejected"], one["read"], one["score"], one["cut"]))
        for rank, one in zip(order.tolist(), table.to_pylist(), strict=True)
    ]  # fmt: skip


def _wanted(sizes: Mapping[Cell, int], design: Design) -> dict[Cell, float]:
    """Return what each stratum's part of the sample is in proportion to."""
    languages: Counter[str] = Counter()
    for (language, _), count in sizes.items():
        languages[language] += count
    kept, near, rejected = design.shares
    share = dict(zip(ZONES, (kept, near / 2, near / 2, rejected), strict=True))
    weight = {cell: languages[cell[0]] ** LANGUAGE_POWER for cell in sizes}
    zone = {name: sum(w for cell, w in weight.items() if cell[1] == name) for name in ZONES}
    return {cell: share[cell[1]] * weight[cell] / zone[cell[1]] for cell in sizes}


def allocate(sizes: Mapping[Cell, int], wanted: Mapping[Cell, float], total: int) -> dict[Cell, int]:
    """Return how many documents each stratum gives: one first, the most wanted before, then in proportion.

    Sainte-Laguë's divisors: what a full stratum cannot give the others give.
    """
    heap = [(-np.inf, -wanted[cell], cell) for cell in sizes if sizes[cell] and wanted[cell]]
    heapq.heapify(heap)
    taken = dict.fromkeys(sizes, 0)
    for _ in range(total):
        if not heap:
            break
        *_, cell = heapq.heappop(heap)
        taken[cell] += 1
        if taken[cell] < sizes[cell]:
            heapq.heappush(heap, ((2 * taken[cell] + 1) / wanted[cell], -wanted[cell], cell))
    return taken


def _with_texts(taken: list[tuple[Place, int, Drawn]]) -> list[Drawn]:
    """Return the documents with their texts, each row group read once."""
    by_place: dict[Place, list[tuple[int, Drawn]]] = {}
    for place, row, one in taken:
        by_place.setdefault(place, []).append((row, one))
    documents = []
    for place, rows in by_place.items():
        with storage.open_input(place.path) as file:
            column = pq.ParquetFile(file, pre_buffer=False).read_row_group(place.group, columns=["text"])["text"]
        for row, one in rows:
            text = column[row].as_py()
            if one.rejected and not text:
                raise ConfigError(
                    f'{place.path} holds no texts ([output] rejected_text = "none"), so nobody can judge them'
                )
            documents.append(replace(one, text=text[:MOST_CHARACTERS], characters=len(text)))
    return documents

"""Floors: what a stratum, a language and a source keep, however many of their documents lie above the cuts.

Where the cuts would take more of its bytes, they are held back: its documents are cut so much higher, by as little as
may be, that what is most unlike the rest goes and no more than is allowed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config import SelfClean
from pipeline.document import read_table
from pipeline.self_clean.measure import strata
from pipeline.self_clean.scores import quanta, read_scores
from pipeline.self_clean.signals import Ints
from pipeline.shards import DocumentShard
from pipeline.summary import OTHERS, Summary, merge

VERSION = 1
BIN = 50  # quanta of a score in a bin of what lies above the cuts
MOST = 500  # bins: what lies higher counts as the last
KINDS = {"stratum": "max_stratum_loss", "language": "max_language_loss", "source": "max_source_loss"}
NEVER = np.iinfo(np.int64).max  # cut of whoever has none
Names = dict[str, list[str]]  # kind -> each document's stratum, language or source
Cuts = dict[str, int]  # stratum -> the lowest score that is rejected, in quanta
Held = dict[str, dict[str, int]]  # kind -> name -> by how many quanta its cuts lie higher; NEVER: it has none


@dataclass(frozen=True, slots=True)
class Judged:
    """What a shard's documents are cut by."""

    ids: list[str]
    names: Names
    scores: pa.Table
    bytes: Ints  # (documents): of the text, 0 where it did not enter
    above: Ints  # (documents): of the score above its cut, in quanta; below 0 without one, and where nothing was read
    cut: Ints  # (documents): in quanta, NEVER where there is none

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Tell which documents entered stage 4."""
        return np.asarray(self.scores["present"].to_numpy().astype(bool))


def read_judged(
    scores: str, cuts: Mapping[str, int], held: Mapping[str, Mapping[str, int]], shard: DocumentShard
) -> Judged:
    """Read a shard's scores and set its documents against their cuts, held back as far as `held` says."""
    table = read_scores(scores, shard)
    known = read_table(shard.path("documents"), ["id", "language", "source"])
    size = np.nan_to_num(table["bytes"].to_numpy()).astype(np.int64)
    languages, sources = known["language"].to_pylist(), known["source"].to_pylist()
    names = {"stratum": strata(languages, size), "language": languages, "source": sources}
    cut = np.array([cuts.get(name, NEVER) for name in names["stratum"]], np.int64)
    margin = _margins(held, names, len(cut))
    has_cut = (cut != NEVER) & (margin != NEVER)
    cut = np.where(has_cut, cut + margin, NEVER)
    scored = table["scored"].to_numpy().astype(bool) & has_cut
    above = np.where(scored, quanta(table) - np.where(scored, cut, 0), -1)
    return Judged(known["id"].to_pylist(), names, table, size, above, cut)


def _margins(held: Mapping[str, Mapping[str, int]], names: Names, count: int) -> Ints:
    """Return by how much each document's cut lies higher: the most that one of its floors asks for."""
    margins = np.zeros(count, np.int64)
    for kind, by_name in held.items():
        margins = np.maximum(margins, [by_name.get(name, 0) for name in names[kind]])
    return margins


@dataclass(frozen=True, slots=True)
class CountLosses:
    """Work on one shard: what the cuts would take of whom."""

    scores: str
    cuts: Cuts

    def __call__(self, shard: DocumentShard) -> dict[str, Any]:
        """Return the record: who would lose what, and by how far above the cuts it lies, its bytes."""
        judged = read_judged(self.scores, self.cuts, {}, shard)
        summary = {kind: losses(judged, names) for kind, names in judged.names.items()}
        for kind, names in judged.names.items():
            for row in np.flatnonzero(judged.above >= 0).tolist():
                bins = summary[kind][names[row]].setdefault("above", {})
                key = str(min(judged.above[row] // BIN, MOST))
                bins[key] = bins.get(key, 0) + int(judged.bytes[row])
        return {"documents": int(judged.present.sum()), "bytes": judged.scores.nbytes, "summary": merge([summary])}


def losses(judged: Judged, names: Sequence[str]) -> Summary:
    """Return documents and bytes, before and rejected, by name."""
    cells: Summary = {}
    for row in np.flatnonzero(judged.present).tolist():
        cell = cells.setdefault(names[row], {"documents": 0, "bytes": 0, "rejected": 0, "rejected_bytes": 0})
        cell["documents"] += 1
        cell["bytes"] += int(judged.bytes[row])
        if judged.above[row] >= 0:
            cell["rejected"] += 1
            cell["rejected_bytes"] += int(judged.bytes[row])
    return cells


def hold_back(summary: Mapping[str, Any], settings: SelfClean) -> tuple[Held, list[str]]:
    """Return by how much cuts are held back, and a line for each floor that does so."""
    held: Held = {}
    said = []
    for kind, limit in KINDS.items():
        floor = getattr(settings, limit)
        for name, cell in sorted(summary.get(kind, {}).items()):
            share = cell["rejected_bytes"] / max(1, cell["bytes"])
            if name == OTHERS or cell["documents"] < settings.guard_documents or share <= floor:
                continue
            held.setdefault(kind, {})[name] = _margin(cell["above"], floor * cell["bytes"])
            said.append(f"{kind} {name} would lose {share:.1%} of its bytes and is held to {floor:.1%}")
    return held, said


def _margin(above: Mapping[str, int], allowed: float) -> int:
    """Return how many quanta above the cut those bins lie that fit together, from the highest down.

    NEVER where the last one, which has no end, is too much by itself.
    """
    taken = 0
    for key in sorted(map(int, above), reverse=True):
        taken += above[str(key)]
        if taken > allowed:
            return BIN * (key + 1) if key < MOST else NEVER
    return 0

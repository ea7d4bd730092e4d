"""Cuts: from scores to verdicts. Each stratum, a language and a length class, has its own.

A cut lies where no more than the budget's share of its stratum lies above it, and never nearer to what scores are usual
there than `outlier` robust deviations: a clean corpus has nothing to give up. Floors hold cuts back (floors.py).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.config import SelfClean
from pipeline.document import conform, read_table, write_table
from pipeline.self_clean.diversity import count_tokens
from pipeline.self_clean.floors import NEVER, Cuts, Held, Judged, losses, read_judged
from pipeline.self_clean.scores import BIN
from pipeline.self_clean.scoring import QUANTUM, Language, on_grid
from pipeline.shards import DocumentShard
from pipeline.summary import counts, merge
from pipeline.verdicts import SIDECAR, sidecar_path

VERSION = 6
REASON = "unlike_the_corpus"


def choose_cuts(found: Mapping[str, Mapping[str, Any]], languages: Mapping[str, Language], settings: SelfClean) -> Cuts:
    """Return the cuts of strata that are large enough: whole bins, never more than its share of the budget.

    An offset that labels chose moves them whatever the budget says; what a round may take then, floors say.
    """
    cuts: Cuts = {}
    for stratum, cell in sorted(found.items()):
        name, _, number = stratum.rpartition(" ")
        language = languages.get(name)
        if language is None or cell["judged"] < settings.min_stratum_documents or not cell["bins"]:
            continue
        lowest = _lowest({int(key): n for key, n in cell["bins"].items()}, cell["judged"] * settings.drop)
        limit = math.ceil(least_cut(language, int(number), settings.outlier) / QUANTUM / BIN)
        cuts[stratum] = max(lowest, limit) * BIN + round(settings.cut_offset / QUANTUM)
    return cuts


def least_cut(language: Language, length: int, outlier: float) -> float:
    """Return the score of a length class below which nothing is cut: so many robust deviations above its median."""
    usual = language.usual[length]
    return usual.median + outlier * usual.deviation


def _lowest(bins: Mapping[int, int], budget: float) -> int:
    """Return the lowest bin that fits the budget with all above it; the one above them all when none does."""
    lowest, taken = max(bins) + 1, 0
    for key in sorted(bins, reverse=True):
        taken += bins[key]
        if taken > budget:
            break
        lowest = key
    return lowest


@dataclass(frozen=True, slots=True)
class JudgeShard:
    """Work on one shard: the verdicts of a round."""

    folder: str
    scores: str
    cuts: Cuts
    held: Held
    round: int
    before: str  # folder of the verdicts of the round before; empty in the first
    sample: str  # folder of the round's training sample, of which diversity is counted
    folds: int

    def __call__(self, shard: DocumentShard) -> dict[str, Any]:
        """Write the sidecar; return the record with what left, what came back and who lost what."""
        judged = read_judged(self.scores, self.cuts, self.held, shard)
        rejected = judged.above >= 0
        has_cut = judged.scores["judged"].to_numpy().astype(bool) & (judged.cut != NEVER)
        threshold = on_grid(np.where(has_cut, judged.cut, 0) + judged.scores["shift"].to_numpy() / QUANTUM)
        table = pa.table(
            {
                "rejected": rejected,
                "round": pa.array(np.full(shard.rows, self.round, np.int32), mask=~rejected),
                "reason": pa.array([REASON] * shard.rows, mask=~rejected),
                "value": pa.array(judged.scores["score"].to_numpy(), mask=~rejected),
                "threshold": pa.array(threshold, mask=~rejected),
            }
        )
        sidecar = conform(table, SIDECAR).append_column("cut_score", pa.array(threshold, mask=~has_cut))
        write_table(sidecar_path(self.folder, shard), sidecar)
        return self._record(shard, judged)

    def _record(self, shard: DocumentShard, judged: Judged) -> dict[str, Any]:
        rejected = judged.above >= 0
        before = (
            read_table(sidecar_path(self.before, shard), ["rejected"])["rejected"].to_numpy()
            if self.before
            else np.zeros(shard.rows, bool)
        )
        mainly = judged.scores["mainly"].to_pylist()
        gone = {id_ for id_, out in zip(judged.ids, rejected.tolist(), strict=True) if out}
        summary = {
            "mainly": counts(mainly[row] for row in np.flatnonzero(rejected).tolist()),
            **{kind: losses(judged, names) for kind, names in judged.names.items()},
            "diversity": count_tokens(self.sample, shard, self.folds, gone),
            "overlap": {
                "both": int((rejected & before).sum()),
                "either": int((rejected | before).sum()),
                "left": int((rejected & ~before).sum()),
                "came_back": int((~rejected & before).sum()),
            },
        }
        total = int(judged.present.sum())
        sizes = {"documents": total, "kept": total - int(rejected.sum()), "rejected": int(rejected.sum())}
        return {**sizes, "bytes": judged.scores.nbytes, "summary": merge([summary])}

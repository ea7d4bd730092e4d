"""Own text: documents that a run's rules and deduplication left, presumed good, where nobody gives better text.

What self-cleaning kept and what it rejected, since those alone that it kept would be those that it calls good. Each is
for the judge of its fold, which saw neither it nor its host nor a look-alike; the anchors, which taught the score, are
left out where OUT/stages still says which they are.
"""

from collections.abc import Iterator
from heapq import heappush, heappushpop
from typing import Any

import pyarrow.compute as pc

from pipeline.document import read_batches
from pipeline.evaluation.finished import Finished
from pipeline.evaluation.good_text import FOREIGN, Gathered, Good, hashed
from pipeline.evaluation.overlap import REJECTED, Watch, texts_files
from pipeline.self_clean.anchors import LEAST_BYTES, LONGEST

COLUMNS = ["id", "host", "source", "language", "text", "fold"]


def gather_own(run: Finished, most: int, watch: Watch) -> Gathered:
    """Return up to `most` documents of each judged language, those of least hash; `watch` hears of every file."""
    anchors = {name for measured in run.measured.values() for name in measured.id}
    chosen: dict[str, list[tuple[int, str, Good]]] = {name: [] for name in run.score.languages}
    foreign: list[Good] = []
    kept = dict.fromkeys(chosen, 0)
    files = texts_files(run.output)
    for folder, path in files:
        counts = {"documents": 0, "bytes": 0}
        for row in _entered(folder, path):
            counts["documents"] += 1
            counts["bytes"] += len(row["text"])
            good = _good(row)
            if len(good.text.encode()) < LEAST_BYTES or len(good.text) > LONGEST or good.id in anchors:
                continue
            if good.language not in chosen:
                foreign += [good] * (len(foreign) < FOREIGN)
                continue
            kept[good.language] += 1
            heap, ranked = chosen[good.language], (-int.from_bytes(hashed(good.id)), good.id, good)
            if len(heap) < most:
                heappush(heap, ranked)
            else:
                heappushpop(heap, ranked)
        watch(len(files), [counts], "")
    taken = {name: [good for *_, good in sorted(heap, reverse=True)] for name, heap in chosen.items()}
    return Gathered(taken, foreign, sum(kept.values()), kept, {}, {})


def _entered(folder: str, path: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file that entered self-cleaning and have a text."""
    for batch in read_batches(path, [*COLUMNS, *(["stage"] if folder == REJECTED else [])]):
        rows = batch.filter(pc.greater(pc.binary_length(batch["text"]), 0)) if len(batch) else batch
        if folder == REJECTED:
            rows = rows.filter(pc.equal(rows["stage"], "self_clean"))
        yield from rows.filter(pc.is_valid(rows["fold"])).to_pylist()


def _good(row: dict[str, Any]) -> Good:
    """Return a row as good text; what is resampled for an interval is hosts, and documents that have none."""
    place = row["host"] or row["source"]
    return Good(row["id"], row["host"] or row["id"], place, row["language"], row["text"], fold=row["fold"])

"""Own text: documents that a run's rules and deduplication left, presumed good, where nobody gives better text.

What self-cleaning kept and what it rejected, since those alone that it kept would be those that it calls good. Each is
for the judge of its fold, which saw neither it nor its host nor a look-alike, but where folds split a group of these
that was too large; the anchors, which taught the score, are left out where OUT/stages still says which they are.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from heapq import heappush, heappushpop
from typing import Any

import pyarrow.compute as pc

from pipeline.document import read_batches
from pipeline.evaluation.finished import Finished
from pipeline.evaluation.good_text import FOREIGN, Gathered, Good, choose, hashed
from pipeline.evaluation.overlap import KEPT, REJECTED, Watch, texts_files
from pipeline.self_clean.anchors import LEAST_BYTES, LONGEST

OVER = 4
LARGE = 0.1  # of a language's documents: a host with more of them is not one record
COLUMNS = ["id", "host", "source", "language", "text", "fold"]


def gather_own(run: Finished, most: int, watch: Watch) -> tuple[Gathered, dict[str, int]]:
    """Return up to `most` documents of each judged language, of as many hosts as may be, and what was read, by folder.

    They are chosen among OVER times as many of least hash; `watch` hears of every file.
    """
    anchors = {name for measured in run.measured.values() for name in measured.id}
    drawn: dict[str, list[tuple[int, str, Good]]] = {name: [] for name in run.score.languages}
    foreign: list[Good] = []
    kept, read = dict.fromkeys(drawn, 0), {KEPT: 0, REJECTED: 0}
    files = [(folder, path) for folder, path in texts_files(run.output) if folder == KEPT or _whole(run)]
    for folder, path in files:
        counts = {"documents": 0, "bytes": 0}
        for row in _entered(folder, path):
            counts["documents"] += 1
            counts["bytes"] += len(row["text"].encode())
            good = _good(row)
            if len(good.text.encode()) < LEAST_BYTES or len(good.text) > LONGEST or good.id in anchors:
                continue
            if good.language in drawn:
                kept[good.language] += 1
                _keep_least(drawn[good.language], good, OVER * most)
            elif len(foreign) < FOREIGN:
                foreign.append(good)
        read[folder] += counts["documents"]
        watch(len(files), [counts], "")
    chosen = {name: choose(_records([good for *_, good in sorted(heap)]), most) for name, heap in drawn.items()}
    return Gathered(chosen, foreign, sum(kept.values()), kept, {}, {}), read


def _whole(run: Finished) -> bool:
    """Tell whether OUT/rejected holds texts whole: what is cut off is no good text."""
    return run.config.output.rejected_text == "full"


def _keep_least(heap: list[tuple[int, str, Good]], good: Good, most: int) -> None:
    ranked = (-int.from_bytes(hashed(good.id)), good.id, good)
    if len(heap) < most:
        heappush(heap, ranked)
    else:
        heappushpop(heap, ranked)


def _records(goods: Sequence[Good]) -> list[Good]:
    """Return documents, those of a host that holds more than LARGE of them each a record: halves need some."""
    hosts = Counter(good.record for good in goods)
    return [replace(one, record=one.id) if hosts[one.record] > LARGE * len(goods) else one for one in goods]


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

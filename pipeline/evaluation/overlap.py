"""What the corpus holds of good text: documents of it, and hosts and sources that both name.

A document is held, and with it all of its record, where a fifth of its shingles of 13 words, or more, stands in what
the run kept or rejected: below that Touvron et al. 2023 (arXiv:2307.09288), appendix A.6, call a sample clean. Words
are those of decontamination. The table of shingles is of the good text; the corpus goes by once, a row group at a time.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.contamination import build_index, mark, marked_share
from pipeline import storage
from pipeline.document import read_batches
from pipeline.evaluation.good_text import Good
from pipeline.step import texts_of

SHARE = 0.2  # Touvron et al. 2023, appendix A.6: "clean" is what has less
KEPT, REJECTED = "documents", "rejected"  # folders of a run's results

Watch = Callable[[int, Sequence[dict[str, Any]], str], None]


@dataclass(frozen=True, slots=True)
class Corpus:
    """What was looked through, and what of good text is in it."""

    looked: dict[str, int]  # documents with a text, by folder
    held: frozenset[str]  # ids of good documents, all pieces of a record of which the corpus holds one
    names: dict[str, int]  # host or source of good text -> documents of the corpus that have it, too


def look(goods: Sequence[Good], output: str, watch: Watch) -> Corpus:
    """Look for good documents in the results of a run; `watch` hears of every file.

    A text of fewer than 13 words is looked for whole.
    """
    texts = [good.text for good in goods]
    index = build_index([("good", texts)], fewest=1)
    marked = np.zeros(len(index.keys), bool)
    wanted = {good.source for good in goods} - {""}
    files = texts_files(output)
    looked, names = Counter[str](), Counter[str]()
    for folder, path in files:
        record = Counter[str]()
        for batch in read_batches(path, ["host", "source", "text"]):
            there = batch.filter(pc.greater(pc.binary_length(batch["text"]), 0))
            mark(index, texts_of(there), marked)
            names += _named(batch, wanted)
            record += Counter(documents=len(there), bytes=there["text"].nbytes)
        looked[folder] += record["documents"]
        watch(len(files), [dict(record)], "")
    share = marked_share(index, marked, texts)
    records = {good.record for good, part in zip(goods, share.tolist(), strict=True) if part >= SHARE}
    held = frozenset(good.id for good in goods if good.record in records)
    return Corpus({folder: looked[folder] for folder in (KEPT, REJECTED)}, held, dict(names))


def texts_files(output: str) -> list[tuple[str, str]]:
    """Return folder and path of the files that hold what a run kept and rejected."""
    folders = {folder: storage.join(output, folder) for folder in (KEPT, REJECTED)}
    return [
        (folder, storage.join(place, name))
        for folder, place in folders.items()
        for name in storage.names(place)
        if name.endswith(".parquet")
    ]


def _named(batch: pa.Table, wanted: Collection[str]) -> Counter[str]:
    """Count documents by host or source, of those that are wanted."""
    found = Counter[str]()
    for column in (batch["host"], batch.filter(pc.not_equal(batch["host"], batch["source"]))["source"]):
        names, counts = pc.value_counts(column).flatten()
        found.update({name: n for name, n in zip(names.to_pylist(), counts.to_pylist(), strict=True) if name in wanted})
    return found


def facts_of(corpus: Corpus, chosen: Sequence[Good], taken: Iterable[Good]) -> dict[str, Any]:
    """Return what the corpus holds of good documents that were chosen and of those taken, as evaluate.json has it."""
    out = [good for good in chosen if good.id in corpus.held]
    stay = Counter(good.source for good in taken)
    return {
        "looked": corpus.looked,
        "left_out": dict(Counter(good.language for good in out)),
        "records": len({good.record for good in out}),
        "names": {name: [stay[name], count] for name, count in sorted(corpus.names.items()) if stay[name]},
    }

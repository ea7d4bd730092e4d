"""Diversity: what a round's verdicts would leave of the corpus's phrases, words and sources.

Counted on the documents of the training sample, whose tokens are at hand. Phrases are drawn by hash, so that counts of
shards add up to the count of all. Words are counted by language: all of a small one are few of the whole sample's.
"""

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import storage
from pipeline.shards import DocumentShard
from pipeline.summary import OTHERS, Summary

PHRASE = 4  # tokens
DRAWN = 1 << 10  # one phrase in so many is counted
WORDS = 512  # classes of tokens


def count_tokens(sample: str, shard: DocumentShard, folds: int, rejected: AbstractSet[str]) -> Summary:
    """Return counts of a shard's sampled documents, before and after the rejected ones (ids) are gone."""
    cells: Summary = {"before": _nothing(), "after": _nothing(), "languages": {}}
    seen: set[str] = set()
    for name in (f"{kind}-{fold}" for fold in range(folds) for kind in ("fold", "more")):
        with storage.open_input(storage.join(sample, name, shard.name + ".arrow")) as file:
            table = pa.ipc.open_file(file).read_all()
        known = zip(table["id"].to_pylist(), table["language"].to_pylist(), strict=True)
        for row, (id_, language) in enumerate(known):
            if id_ in seen:  # it trains the judges of several folds
                continue
            seen.add(id_)
            tokens = np.asarray(table["tokens"][row].values, np.int64)
            words = cells["languages"].setdefault(language, {"documents": 0, "before": {}, "after": {}})
            words["documents"] += 1
            for when in ("before",) if id_ in rejected else ("before", "after"):
                _add(cells[when], words[when], tokens)
    return cells


def _nothing() -> Summary:
    return {"tokens": 0, "phrases": {}}


def _add(cell: Summary, words: dict[str, int], tokens: npt.NDArray[np.int64]) -> None:
    cell["tokens"] += len(tokens)
    keys, numbers = np.unique(tokens % WORDS, return_counts=True)
    for key, n in zip(keys.tolist(), numbers.tolist(), strict=True):
        words[str(key)] = words.get(str(key), 0) + n
    for phrase in _drawn(tokens).tolist():
        cell["phrases"][str(phrase)] = cell["phrases"].get(str(phrase), 0) + 1


def _drawn(tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Return the hashes of a document's phrases that are drawn."""
    count = max(0, len(tokens) - PHRASE + 1)
    value = np.zeros(count, np.uint64)
    for place in range(PHRASE):
        value = (value ^ tokens[place : place + count].astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        value ^= value >> np.uint64(29)
    return value[value % np.uint64(DRAWN) == 0]


def describe(counted: Mapping[str, Any], sources: Mapping[str, Any], least: int) -> dict[str, Any]:
    """Return shares kept of tokens and of distinct phrases, the words' shift in bits, and the sources' entropies.

    The shift is that of the language whose words shift most, of those with `least` sampled documents or more: in fewer
    one long document moves them.
    """
    shifts = {
        name: divergence(cell["before"], cell["after"])
        for name, cell in sorted(counted.get("languages", {}).items())
        if cell["documents"] >= least
    }
    shifted = max(shifts, key=lambda name: shifts[name], default="")
    before, after = counted.get("before", _nothing()), counted.get("after", _nothing())
    named = {name: cell for name, cell in sources.items() if name != OTHERS}
    kept = {name: cell["bytes"] - cell["rejected_bytes"] for name, cell in named.items()}
    return {
        "tokens_kept": after["tokens"] / max(1, before["tokens"]),
        "phrases_kept": len(after["phrases"]) / max(1, len(before["phrases"])),
        "vocabulary_shift": shifts.get(shifted, 0.0),
        "shifted_most": shifted,
        "source_entropy_before": entropy({name: cell["bytes"] for name, cell in named.items()}),
        "source_entropy_after": entropy(kept),
    }


def entropy(counts: Mapping[str, int]) -> float:
    """Return the entropy of shares in bits."""
    total = sum(counts.values())
    return sum(n / total * math.log2(total / n) for n in counts.values() if n > 0)


def divergence(a: Mapping[str, int], b: Mapping[str, int]) -> float:
    """Return the Jensen-Shannon divergence of two counts in bits, 0 where one of them is empty (Lin 1991)."""
    if not a or not b:
        return 0.0
    p, q = ({name: n / sum(one.values()) for name, n in one.items()} for one in (a, b))
    middle = {name: (p.get(name, 0.0) + q.get(name, 0.0)) / 2 for name in {*p, *q}}
    return max(0.0, sum(_relative(one, middle) for one in (p, q)) / 2)


def _relative(p: Mapping[str, float], middle: Mapping[str, float]) -> float:
    return sum(value * math.log2(value / middle[name]) for name, value in sorted(p.items()))

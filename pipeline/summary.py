"""Summaries: what a shard reports, mergeable by plain sums.

A summary is nested dictionaries of integers. Two leaves are lists instead: under a key `lowest`, pairs of
[key, value] of which the lowest stay (samples by hash of the id; largest clusters by negative size). Merging is
associative and commutative, so the order of shards never shows.

Names that the corpus itself brings along (sources, kinds of errors) may be as many as its documents: a merge keeps
about the thousand largest and adds the others up as "others". Which these are depends on the order, so records are
merged in the order of their keys, which is the same for any number of workers. The totals stay exact; a name that was
among the others for a while counts too little, by no more than "others" holds. Up to a thousand names all is exact.
"""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

Summary = dict[str, Any]

LOWEST = 12  # pairs that a `lowest` list keeps
NAMED = frozenset({"source", "sources", "unreadable"})  # keys above names that the corpus brings along
MOST, OTHERS = 1000, "others"  # names kept, and what the rest is called
STEPS = 8  # histogram bins between a power of two and the next


def merge(summaries: Iterable[Summary]) -> Summary:
    """Add summaries up."""
    total: Summary = {}
    for summary in summaries:
        _add(total, summary, named=False)
    _bound(total, named=False)
    return total


def _add(total: Summary, other: Summary, *, named: bool) -> None:
    for key, value in other.items():
        if isinstance(value, dict):
            _add(total.setdefault(key, {}), value, named=named or key in NAMED)
        elif isinstance(value, list):
            total[key] = sorted(total.get(key, []) + value, key=_rank)[:LOWEST]
        else:
            total[key] = total.get(key, 0) + value
    if named and len(total) > 2 * MOST:
        _fold(total)


def _bound(total: Summary, *, named: bool) -> None:
    for key, value in total.items():
        if isinstance(value, dict):
            _bound(value, named=named or key in NAMED)
    if named and len(total) > MOST:
        _fold(total)


def _fold(total: Summary) -> None:
    """Keep the names of most documents, by name where they are equal, and add up the others."""
    for name in sorted(total.keys() - {OTHERS}, key=lambda name: (-_documents(total[name]), name))[MOST:]:
        _add(total, {OTHERS: total.pop(name)}, named=False)


def _documents(cell: Any) -> int:
    return int(cell["documents"] if isinstance(cell, dict) else cell)


def _rank(pair: list[Any]) -> Any:
    """Return what pairs are ordered by: all of a pair, so that those of one key have an order too."""
    return pair[0], orjson.dumps(pair[1], option=orjson.OPT_SORT_KEYS)


def histogram(values: npt.NDArray[Any]) -> dict[str, int]:
    """Count values in fixed bins, eight to a power of two (and one for 0); what is not finite counts nowhere.

    A bin's key is the number of the bin; `bin_edge` gives its lower edge. Exact: no logarithm is taken.
    """
    values = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    mantissa, exponent = np.frexp(np.abs(values).astype(np.float64))
    step = np.floor((mantissa - 0.5) * 2 * STEPS).astype(np.int64)
    number = (exponent.astype(np.int64) + 1100) * STEPS + step  # positive for every finite double
    number = np.where(values == 0, 0, np.where(values < 0, -number, number))
    keys, counts = np.unique(number, return_counts=True)
    return {str(k): int(c) for k, c in zip(keys.tolist(), counts.tolist(), strict=True)}


def bin_edge(key: str) -> float:
    """Return the edge of a bin that lies nearer to zero."""
    number = int(key)
    if number == 0:
        return 0.0
    exponent, step = divmod(abs(number), STEPS)
    if exponent - 1100 > 1024:  # above the last bin
        return math.copysign(math.inf, number)
    return math.copysign(math.ldexp(0.5 + step / (2 * STEPS), exponent - 1100), number)


def counts(values: Iterable[Any]) -> dict[str, int]:
    """Count equal values."""
    return dict(Counter(map(str, values)))

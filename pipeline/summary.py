"""Summaries: what a shard reports, mergeable by plain sums.

A summary is nested dictionaries of integers. Two leaves are lists instead: under a key `lowest`, pairs of
[key, value] of which the lowest keys stay (samples by hash of the id; largest clusters by negative size). Merging is
associative and commutative, so the order of shards never shows.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Summary = dict[str, Any]

LOWEST = 12  # pairs that a `lowest` list keeps
STEPS = 8  # histogram bins between a power of two and the next


def merge(summaries: Iterable[Summary]) -> Summary:
    """Add summaries up."""
    total: Summary = {}
    for summary in summaries:
        _add(total, summary)
    return total


def _add(total: Summary, other: Summary) -> None:
    for key, value in other.items():
        if isinstance(value, dict):
            _add(total.setdefault(key, {}), value)
        elif isinstance(value, list):
            total[key] = sorted(total.get(key, []) + value, key=_rank)[:LOWEST]
        else:
            total[key] = total.get(key, 0) + value


def _rank(pair: list[Any]) -> Any:
    return pair[0]


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


def counts(values: Iterable[Any], most: int = 1000) -> dict[str, int]:
    """Count equal values; of more than `most` different ones, those that come later count as "others"."""
    total: dict[str, int] = {}
    for value in values:
        name = str(value) if str(value) in total or len(total) < most else "others"
        total[name] = total.get(name, 0) + 1
    return total

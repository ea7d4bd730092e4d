"""Summaries merge in any order, and bins are exact."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import summary
from pipeline.summary import LOWEST, Summary, bin_edge, counts, histogram, merge

NAMES = st.sampled_from("abc")
PAIRS = st.lists(st.integers(0, 10**6), max_size=20, unique=True).map(
    lambda keys: [[key, f"value of {key}"] for key in sorted(keys)[:LOWEST]]
)
EQUAL = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 99)), max_size=20).map(
    lambda pairs: [[key, {"value": f"{value:02}", "same": None}] for key, value in sorted(pairs)[:LOWEST]]
)
SUMMARIES = st.fixed_dictionaries(
    {
        "documents": st.integers(0, 100),
        "counts": st.dictionaries(NAMES, st.integers(0, 100)),
        "deep": st.dictionaries(NAMES, st.dictionaries(NAMES, st.integers(0, 100))),
        "lowest": PAIRS,
        "equal": st.fixed_dictionaries({"lowest": EQUAL}),
    }
)
FINITE = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)


@given(a=SUMMARIES, b=SUMMARIES, c=SUMMARIES)
def test_merging_is_associative_and_commutative(a: Summary, b: Summary, c: Summary) -> None:
    """No order of shards and no grouping shows in the total, and the parts stay as they were."""
    before = repr((a, b, c))
    total = merge([a, b, c])
    assert merge([c, a, b]) == merge([merge([a, b]), c]) == merge([a, merge([b, c])]) == total
    assert merge([a, {}]) == merge([{}, a]) == merge([a]) == a
    assert repr((a, b, c)) == before


@given(parts=st.lists(PAIRS, min_size=1, max_size=5))
def test_the_lowest_keys_stay(parts: list[list[Any]]) -> None:
    """Of all pairs the lowest keys are kept, in order."""
    total = merge({"lowest": part} for part in parts)["lowest"]
    assert [key for key, _ in total] == sorted(key for part in parts for key, _ in part)[:LOWEST]


@given(value=FINITE)
def test_a_value_lies_in_its_bin(value: float) -> None:
    """The edges of a bin enclose the size of every value in it, and the sign is kept."""
    ((key, count),) = histogram(np.array([value])).items()
    assert count == 1
    low, high = abs(bin_edge(key)), abs(bin_edge(str(abs(int(key)) + 1)))
    assert low <= abs(value) < high or value == 0 == low
    assert value == 0 or math.copysign(1, value) == math.copysign(1, bin_edge(key))


@pytest.mark.parametrize("exponent", [-1074, -1022, -1, 0, 1, 10, 1023])
def test_powers_of_two_begin_bins(exponent: int) -> None:
    """A power of two is the edge of its bin, and the double below it is in the bin before."""
    power = math.ldexp(1.0, exponent)
    (key,) = histogram(np.array([power]))
    assert bin_edge(key) == power
    (below,) = histogram(np.array([math.nextafter(power, 0)]))
    assert int(below) < int(key)


def test_only_finite_numbers_count() -> None:
    """NaN and infinity are in no bin; integers, flags and an empty column are fine."""
    assert histogram(np.array([np.nan, np.inf, -np.inf, 1.0, 1.0])) == histogram(np.array([1, 1]))
    assert histogram(np.array([], float)) == {}
    assert sum(histogram(np.array([True, False])).values()) == 2


@given(parts=st.lists(st.dictionaries(st.integers(0, 60).map(str), st.integers(1, 9)), max_size=8))
def test_names_of_the_corpus_are_bounded_and_their_total_is_exact(parts: list[dict[str, int]]) -> None:
    """However many sources there are, a few and "others" stay, no name counts too much, and nothing is lost."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "MOST", 5)
        total = merge({"sources": {"kept": part}} for part in parts).get("sources", {}).get("kept", {})
        assert merge([{"sources": {"kept": total}}]).get("sources", {}).get("kept", {}) == total
    exact = merge({"x": part} for part in parts).get("x", {})
    assert len(total) <= 6
    assert sum(total.values()) == sum(exact.values())
    assert all(
        0 <= exact[name] - count <= total["others"] for name, count in total.items() - exact.items() if name != "others"
    )
    assert total == exact or len(exact) > 5


def test_the_names_of_most_documents_stay() -> None:
    """A source that is large throughout keeps its exact numbers, whatever comes before and after it."""
    small = [{"source": {f"{i}-{j}": {"documents": 1, "bytes": 10} for j in range(300)}} for i in range(20)]
    large = {"source": {"web": {"documents": 7, "bytes": 70}}}
    total = merge([part for few in small for part in (large, few)])["source"]
    assert len(total) == 1001
    assert total["web"] == {"documents": 140, "bytes": 1400}
    assert sum(cell["documents"] for cell in total.values()) == 140 + 6000


def test_bins_and_sizes_are_never_added_up() -> None:
    """What is no name of the corpus is kept however many there are."""
    bins = {str(i): 1 for i in range(5000)}
    assert merge([{"strata": {"en 0": bins}, "sizes": bins}]) == {"strata": {"en 0": bins}, "sizes": bins}
    assert counts(range(5000)) == bins


def test_equal_values_are_counted() -> None:
    """Counts are by the text of a value."""
    assert counts(["a", "b", "a", 1]) == {"a": 2, "b": 1, "1": 1}

"""How deep the TransNormer reads."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import SelfClean
from pipeline.self_clean.measure import (
    BIN,
    Depth,
    _summary,
    choose_depth,
    judged_tokens,
    strata,
    surrogate_bins,
    token_budget,
    unread,
)
from pipeline.self_clean.scores import choose_shifts
from pipeline.self_clean.scoring import QUANTUM, on_grid
from pipeline.summary import MOST, OTHERS, merge
from tests.pipeline.self_clean.test_cuts import language

cells = st.dictionaries(st.integers(-50, 50).map(str), st.tuples(st.integers(1, 30), st.integers(1, 5_000)), min_size=1)
corpora = st.dictionaries(st.sampled_from(["en 0", "en 1", "fi 0", "zh 3"]), cells, max_size=4)
Corpus = dict[str, dict[str, tuple[int, int]]]  # stratum -> bin -> documents, tokens


def summary(corpus: Corpus) -> dict[str, Any]:
    """Return the summary of a measured corpus."""
    return {
        "strata": {
            name: {what: {key: both[n] for key, both in cell.items()} for n, what in enumerate(("documents", "tokens"))}
            for name, cell in corpus.items()
        }
    }


def read(corpus: Corpus, lowest: dict[str, int]) -> tuple[dict[str, int], int]:
    """Return how many documents of each stratum are read, and the tokens that go through a TransNormer."""
    taken = {
        name: [both for key, both in cell.items() if name in lowest and int(key) >= lowest[name]]
        for name, cell in corpus.items()
    }
    return {name: sum(n for n, _ in both) for name, both in taken.items()}, sum(
        tokens for both in taken.values() for _, tokens in both
    )


@given(corpora, st.integers(0, 500_000))
def test_the_depth_never_exceeds_the_budget(corpus: Corpus, budget: int) -> None:
    """What is read fits the tokens, and is the same share of every stratum, to the bin that reaches it."""
    depth = choose_depth(summary(corpus), budget, full=False)
    documents, cost = read(corpus, depth.lowest)
    assert cost <= budget
    assert 0 <= depth.share <= 1
    for name, cell in corpus.items():
        total = sum(n for n, _ in cell.values())
        assert documents[name] >= (depth.share - 1e-3) * total
        if name in depth.lowest:
            last = cell[str(depth.lowest[name])][0]
            assert documents[name] - last < (depth.share + 1e-3) * total
        else:
            assert depth.share < 1e-3


@given(corpora, st.integers(0, 400_000), st.integers(0, 100_000))
def test_a_larger_budget_reads_no_less(corpus: Corpus, budget: int, more: int) -> None:
    """Every document that a budget reads a larger one reads too, up to all of them."""
    small, large = (choose_depth(summary(corpus), tokens, full=False) for tokens in (budget, budget + more))
    assert large.share >= small.share
    assert all(large.lowest[name] <= lowest for name, lowest in small.lowest.items())
    cost = read(corpus, dict.fromkeys(corpus, -99))[1]
    assert choose_depth(summary(corpus), cost, full=False).share == 1


@given(corpora)
def test_full_scoring_reads_everything(corpus: Corpus) -> None:
    """Whatever it costs."""
    depth = choose_depth(summary(corpus), 0, full=True)
    assert depth.share == 1
    assert read(corpus, depth.lowest)[0] == {name: sum(n for n, _ in cell.values()) for name, cell in corpus.items()}


@pytest.mark.parametrize("scale", [1, 100, 10_000])
def test_the_same_share_of_a_corpus_of_any_size_is_read(scale: int) -> None:
    """A budget that did not grow would read less and less of a larger one, and nothing in the end."""
    corpus = {
        name: {str(n): (3 * scale, 400 * scale) for n in range(-100, 0)} for name in ("en 0", "en 1", "fi 0", "zh 3")
    }
    whole = summary(corpus)
    assert judged_tokens(whole) == 160_000 * scale
    settings = SelfClean(score_share=0.08, score_tokens=1_000)
    depth = choose_depth(whole, token_budget(judged_tokens(whole), settings), full=False)
    assert depth.lowest == dict.fromkeys(corpus, -8)


def test_a_small_corpus_is_read_as_deep_as_tokens_go() -> None:
    """A share of little would be next to nothing."""
    assert token_budget(10_000, SelfClean(score_share=0.08, score_tokens=5_000)) == 5_000
    assert token_budget(0, SelfClean()) == SelfClean().score_tokens


def test_what_the_budget_was_too_small_for_is_told() -> None:
    """Documents that the surrogate puts above the cut of their stratum and nobody read, those at the cut included."""
    corpus = {"en 0": {"9": (2, 10), "5": (3, 10), "4": (7, 10), "1": (100, 10)}, "fi 0": {"9": (5, 10)}}
    cuts = {"en 0": 4 * BIN, "fi 0": 9 * BIN, "zh 1": 0}
    told = summary(corpus)
    assert unread(told, Depth(0.1, {"en 0": 9, "fi 0": 9}), cuts) == {"en 0": 10}
    assert unread(told, Depth(0.1, {"en 0": 4, "fi 0": 9}), cuts) == {}
    assert unread(told, Depth(0.0, {}), cuts) == {"en 0": 12, "fi 0": 5}


def test_the_worst_are_read_first() -> None:
    """A budget for one bin reads the one of the highest scores."""
    corpus = {"en 0": {"-1": (10, 100), "0": (10, 100), "7": (10, 100)}}
    assert choose_depth(summary(corpus), 100, full=False).lowest == {"en 0": 7}
    assert choose_depth({}, 100, full=False).lowest == {}


@given(st.lists(st.integers(-5_000, 5_000), min_size=1, max_size=50))
def test_bins_hold_whole_quanta(quanta: list[int]) -> None:
    """A score that is a whole number of quanta lies in the bin of that number, negative ones too."""
    assert surrogate_bins(on_grid(np.array(quanta, float))).tolist() == [number // BIN for number in quanta]


def test_strata_are_languages_and_length_classes() -> None:
    """A name with a space in it stays apart from the class."""
    found = strata(["en", "zh", "a b"], np.array([10, 10**6, 10**6]))
    assert [name.rpartition(" ")[0] for name in found] == ["en", "zh", "a b"]
    assert int(found[0].rpartition(" ")[2]) < int(found[1].rpartition(" ")[2])


@pytest.mark.parametrize("full", [True, False])
def test_nothing_measured_is_nothing_read(full: bool) -> None:
    """A corpus without a judged language has no depth, and fails nothing."""
    assert choose_depth({"not_judged": {"en": 5}}, 1_000, full=full).lowest == {}


def test_scores_of_a_source_lie_in_few_bins() -> None:
    """However far they spread: a summary adds up what has more names than it keeps, and a median needs numbers."""
    values = np.concatenate([np.arange(-2_000, 2_000), np.full(4_001, 7)]) * BIN * QUANTUM
    count = len(values)
    table = pa.table({"judged": [True] * count, "bytes": [1000] * count, "surrogate": values})
    names = pa.table({"language": ["en"] * count, "source": ["crawl"] * count})
    summary = merge([_summary(table, np.ones(count, np.int64), names)])
    bins = summary["sources"]["en crawl"]["bins"]
    assert len(bins) < MOST
    assert OTHERS not in bins
    assert sum(bins.values()) == count
    assert sum(summary["strata"]["en 1"]["documents"].values()) == count
    assert len(summary["strata"]["en 1"]["documents"]) == 4_000, "the depth is chosen by the exact ones"
    assert choose_shifts(summary, {"en": language(0, 2.0)}, 0.5, 1) == {"en crawl": 0}

"""Cuts and guards."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import SelfClean
from pipeline.self_clean.combine import Scale
from pipeline.self_clean.cuts import choose_cuts
from pipeline.self_clean.diversity import describe, divergence, entropy
from pipeline.self_clean.rounds import guards, overlap
from pipeline.self_clean.scores import BIN, SCORES, quanta
from pipeline.self_clean.scoring import QUANTUM, Language

SETTINGS = SelfClean(min_stratum_documents=10)
NO_SCALES: tuple[Scale, ...] = ()


def language(limit: float) -> Language:
    """Return a language whose scores are cut from a limit on."""
    return Language(NO_SCALES, NO_SCALES, limit, 1.0, 1.0)


@given(
    st.dictionaries(st.integers(-300, 600).map(str), st.integers(1, 30), min_size=1),
    st.integers(0, 400),
    st.floats(0, 0.5),
    st.floats(-2, 4),
)
def test_cuts_keep_the_budget_and_the_limit(bins: dict[str, int], unread: int, drop: float, limit: float) -> None:
    """What a cut rejects is at most its share of all that are judged, and no score below the language's limit."""
    judged = sum(bins.values()) + unread
    settings = SelfClean(drop=drop, min_stratum_documents=2)
    cut = choose_cuts({"en 0": {"judged": judged, "bins": bins}}, {"en": language(limit)}, settings).get("en 0")
    rejected = sum(n for key, n in bins.items() if cut is not None and int(key) * BIN >= cut)
    assert rejected <= judged * drop
    assert cut is None or cut * QUANTUM >= limit - 1e-9


def test_what_lies_far_out_is_cut() -> None:
    """Of a hundred documents the four far above the limit go when the budget allows five, two when it allows two."""
    found = {"en 1": {"judged": 100, "bins": {"10": 96, "400": 2, "500": 2}}}
    assert choose_cuts(found, {"en": language(1.0)}, SelfClean(drop=0.05)) == {"en 1": 400 * BIN}
    assert choose_cuts(found, {"en": language(1.0)}, SelfClean(drop=0.02)) == {"en 1": 500 * BIN}


def test_nothing_is_cut_of_a_small_stratum_or_a_language_nobody_judges() -> None:
    """A stratum of too few documents has no cut, nor one whose language has no score."""
    small = {"en 0": {"judged": 9, "bins": {"900": 1}}}
    assert choose_cuts(small, {"en": language(0.0)}, SETTINGS) == {}
    assert choose_cuts({"fi 0": {"judged": 900, "bins": {"900": 1}}}, {"en": language(0.0)}, SETTINGS) == {}


def test_a_source_moves_what_its_cut_sees() -> None:
    """A document is compared after its source's shift, in whole quanta: decimals compare as they are printed."""
    scores = pa.table({"score": [1.234, 8.123, None], "shift": [0.5, 0.0, 0.5]})
    columns = {field.name: scores[field.name] for field in SCORES if field.name in scores.column_names}
    assert quanta(pa.table(columns)).tolist() == [734, 8123, -500]


def test_a_guard_names_who_loses_what() -> None:
    """A stratum, language or source that would lose too much stops the round; small ones and the others do not."""
    cell = {"documents": 500, "bytes": 1000, "rejected": 100, "rejected_bytes": 200}
    small = {**cell, "documents": 5}
    summary = {
        "stratum": {"fi 2": cell},
        "language": {"fi": cell, "qu": small},
        "source": {"web": cell, "others": cell},
    }
    tripped = guards(summary, {"vocabulary_shift": 0.5}, SelfClean(max_source_loss=0.1))
    assert tripped == [
        "stratum fi 2 would lose 20.0% of its bytes, more than 10.0%",
        "language fi would lose 20.0% of its bytes, more than 10.0%",
        "source web would lose 20.0% of its bytes, more than 10.0%",
        "the vocabulary would shift by 0.5000 bits, more than 0.01",
    ]
    assert guards(summary, {"vocabulary_shift": 0.0}, SelfClean(max_stratum_loss=0.3, max_language_loss=0.3)) == []


def test_overlap_is_jaccard() -> None:
    """Two empty rejected sets agree."""
    assert overlap({"overlap": {"both": 3, "either": 4}}) == 0.75
    assert overlap({"overlap": {"both": 0, "either": 0}}) == 1.0


def test_entropy_and_divergence_are_what_they_are_called() -> None:
    """Two equal halves have a bit; counts of nothing in common diverge by a bit, equal shares by none."""
    assert entropy({"a": 5, "b": 5}) == pytest.approx(1.0)
    assert entropy({"a": 5, "b": 0}) == 0
    assert divergence({"1": 4}, {"2": 9}) == pytest.approx(1.0)
    assert divergence({"1": 4, "2": 4}, {"1": 8, "2": 8}) == pytest.approx(0.0)
    p, q = np.array([0.25, 0.75]), np.array([0.5, 0.5])
    middle = (p + q) / 2
    wanted = ((p * np.log2(p / middle)).sum() + (q * np.log2(q / middle)).sum()) / 2
    assert divergence({"1": 1, "2": 3}, {"1": 2, "2": 2}) == pytest.approx(wanted)


def test_diversity_sets_before_beside_after() -> None:
    """Shares kept are of tokens and of distinct phrases; the sources' entropies are of bytes."""
    counted = {
        "before": {"tokens": 10, "phrases": {"a": 1, "b": 4}, "words": {"1": 10}},
        "after": {"tokens": 8, "phrases": {"b": 4}, "words": {"1": 8}},
    }
    sources = {"x": {"bytes": 50, "rejected_bytes": 0}, "y": {"bytes": 50, "rejected_bytes": 50}}
    found = describe(counted, sources)
    assert (found["tokens_kept"], found["phrases_kept"]) == (0.8, 0.5)
    assert (found["source_entropy_before"], found["source_entropy_after"]) == (1.0, 0.0)

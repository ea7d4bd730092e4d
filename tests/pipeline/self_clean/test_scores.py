"""How deep the TransNormer reads, and how sources move their cuts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.self_clean.measure import BIN, PASSES, choose_depth, surrogate_bins
from pipeline.self_clean.scores import choose_shifts
from pipeline.self_clean.scoring import QUANTUM, Language, length_class

BINS = st.dictionaries(st.integers(-40, 80).map(str), st.tuples(st.integers(1, 20), st.integers(0, 5000)), min_size=1)


def strata(found: dict[str, dict[str, tuple[int, int]]]) -> dict[str, dict[str, dict[str, dict[str, int]]]]:
    """Return the summary of histograms: documents and tokens by bin."""
    cells = {
        name: {"documents": {k: n for k, (n, _) in bins.items()}, "tokens": {k: t for k, (_, t) in bins.items()}}
        for name, bins in found.items()
    }
    return {"strata": cells}


@given(st.dictionaries(st.sampled_from(["en 0", "en 1", "zh 2"]), BINS, min_size=1), st.integers(0, 200_000))
def test_reading_costs_no_more_than_its_budget(found: dict[str, dict[str, tuple[int, int]]], budget: int) -> None:
    """The tokens of what is read, as often as they go through the model, fit the budget."""
    depth = choose_depth(strata(found), budget, full=False)
    cost = sum(
        tokens
        for name, bins in found.items()
        for key, (_, tokens) in bins.items()
        if name in depth.lowest and int(key) >= depth.lowest[name]
    )
    assert PASSES * cost <= budget


def test_the_same_share_of_every_stratum_is_read_worst_first() -> None:
    """Half of the tokens read the upper half of both strata; with all of them everything is read."""
    bins = {str(k): (10, 100) for k in range(10)}
    half = choose_depth(strata({"en 0": bins, "zh 0": bins}), PASSES * 1000, full=False)
    assert half.lowest == {"en 0": 5, "zh 0": 5}
    assert choose_depth(strata({"en 0": bins}), PASSES * 1000, full=False).lowest == {"en 0": 0}
    assert choose_depth(strata({"en 0": bins}), 1, full=True).lowest == {"en 0": 0}


def test_a_score_is_in_the_bin_that_its_quanta_say() -> None:
    """Bins begin at multiples of their width, below zero too."""
    values = np.array([0.0, BIN * QUANTUM, -QUANTUM, (BIN - 1) * QUANTUM, -BIN * QUANTUM])
    assert surrogate_bins(values).tolist() == [0, 1, -1, 0, -1]


@pytest.mark.parametrize(("far", "shift"), [(4, 4 * BIN * QUANTUM), (400, 0.5), (-400, -0.5), (0, 0.0)])
def test_a_source_moves_its_cut_by_half_a_deviation_at_most(far: int, shift: float) -> None:
    """A large source's cut follows its median, as far as the bound; small sources and the others do not move."""
    bulk = {"documents": 10_000, "bins": {"0": 10_000}}
    odd = {"documents": 300, "bins": {str(far): 300}}
    cells = {"en web": bulk, "en odd": odd, "en tiny": {**odd, "documents": 3}, "others": odd, "fi odd": odd}
    shifts = choose_shifts({"sources": cells}, {"en": Language((), (), 0.0, 1.0, 1.0)}, 0.5, 200)
    assert shifts["en odd"] == pytest.approx(shift)
    assert set(shifts) == {"en web", "en odd"}
    assert shifts["en web"] == 0.0


def test_length_classes_begin_at_their_edge() -> None:
    """A document of exactly the edge belongs to the longer class."""
    assert length_class(np.array([0, 499, 500, 1999, 2000, 8000])).tolist() == [0, 0, 1, 1, 2, 3]

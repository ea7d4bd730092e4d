"""Calibration, cuts and guards."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import SelfClean
from pipeline.self_clean.cuts import BINS, Calibration, CountStrata, _spread, calibrate, choose_cuts, outside, shrunk
from pipeline.self_clean.rounds import guards, overlap
from pipeline.self_clean.scores import QUANTUM, SCORES, summarise
from pipeline.shards import DocumentShard

SETTINGS = SelfClean(min_language_tokens=10, min_stratum_documents=10)


@given(st.dictionaries(st.integers(1000, 3000).map(str), st.integers(1, 30), min_size=1), st.floats(0, 0.5))
def test_cuts_never_spend_more_than_the_budget(bins: dict[str, int], drop: float) -> None:
    """What lies outside the cuts of a stratum is at most the drop budget."""
    settings = SelfClean(drop=drop, min_stratum_documents=2)
    low, high = choose_cuts({"en 0": bins}, settings).get("en 0", (-math.inf, math.inf))
    outside = sum(n for key, n in bins.items() if int(key) / 1000 < low or int(key) / 1000 >= high)
    assert outside <= sum(bins.values()) * drop


def test_a_value_is_cut_as_its_bin_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the whole grid, a value lies outside a cut exactly when its bin does."""
    values = np.round(np.arange(1, 200_000) * 1e-4 / QUANTUM) * QUANTUM  # as scores are rounded
    shard = DocumentShard("a", "", 0, len(values), 0)
    everything = (values, ["en 0"] * len(values), pa.table({}))
    monkeypatch.setattr("pipeline.self_clean.cuts._measure", lambda *_: everything)
    bins = CountStrata("", "", Calibration((), {}, {}, {}, {}))(shard)["summary"]["strata"]["en 0"]
    assert bins == {str(b): 10 - (b == 0) for b in range(20_000)}
    number = np.arange(1, 200_000) // 10
    edge = number / BINS
    low, high = outside(values, edge, edge)
    assert not low.any()
    assert high.all()
    low, high = outside(values, (number + 1) / BINS, (number + 1) / BINS)
    assert low.all()
    assert not high.any()


def test_values_are_the_decimals_of_the_grid() -> None:
    """A shrunk value is the float of its four decimals, so that it compares with a threshold as it is printed."""
    calibration = Calibration(("en",), {}, {"en": [0.0]}, {"en": {"1": 2.0}}, {"en": (1.0, 0.0)})
    wanted = [round(k * 1e-4, 4) for k in range(80_000, 90_000)]
    table = scored(wanted, [0] * len(wanted), [1000] * len(wanted), [None] * len(wanted))
    assert shrunk(table, np.array(["en"] * len(wanted)), calibration).tolist() == wanted


def test_small_strata_are_not_cut() -> None:
    """A stratum of too few documents has no cut."""
    assert choose_cuts({"en 0": {"2000": 9}}, SETTINGS) == {}


def scored(values: list[float], judge: list[int], sizes: list[int], anchor: list[list[float] | None]) -> pa.Table:
    """Return a table of scores."""
    n = len(values)
    columns = [[True] * n, judge, values, values, [10] * n, sizes, sizes, anchor]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, SCORES, strict=True)], schema=SCORES)


def anchored(shift: float, count: int = 200) -> pa.Table:
    """Return scores where judge 1 says `shift` more than judge 0, and every document is in the anchor."""
    draw = np.random.default_rng(0)
    truth = np.round(draw.normal(2, 0.3, count), 4)
    judge = (np.arange(count) % 2).tolist()
    values = [t + shift * j for t, j in zip(truth, judge, strict=True)]
    return scored(values, judge, [1000] * count, [[t, t + shift] for t in truth.tolist()])


def test_judges_are_aligned_on_the_anchor() -> None:
    """A judge that is harsher throughout rejects no more than the other."""
    table = anchored(0.5)
    languages = ["en"] * len(table)
    calibration = calibrate(summarise(table, languages, 2), {"en": 1000}, SETTINGS)
    values = shrunk(table, np.array(languages), calibration)
    even, odd = values[::2].mean(), values[1::2].mean()
    assert abs(even - odd) < 0.1
    assert calibration.shift["en"] == pytest.approx([0.25, -0.25], abs=1e-3)


def test_a_language_that_was_hardly_seen_is_not_judged() -> None:
    """The reason says how many tokens the judges saw."""
    calibration = calibrate(summarise(anchored(0.0), ["xx"] * 200, 2), {"xx": 5}, SETTINGS)
    assert calibration.judged == ()
    assert "saw 5 tokens" in calibration.reasons["xx"]


def test_a_language_whose_judges_disagree_is_not_judged() -> None:
    """Judges without correlation on the anchor leave the language alone."""
    draw = np.random.default_rng(1)
    pairs = draw.normal(2, 0.3, (200, 2)).round(4).tolist()
    table = scored([p[0] for p in pairs], [0] * 200, [1000] * 200, pairs)
    calibration = calibrate(summarise(table, ["en"] * 200, 2), {"en": 1000}, SETTINGS)
    assert "the judges agree by" in calibration.reasons["en"]


def test_short_documents_are_drawn_to_the_mean() -> None:
    """Of two equal values the one of fewer bytes ends nearer to its class's mean."""
    calibration = Calibration(("en",), {}, {"en": [0.0, 0.0]}, {"en": {"0": 2.0, "1": 2.0}}, {"en": (0.04, 20.0)})
    table = scored([3.0, 3.0], [0, 0], [100, 1000], [None, None])
    short, long = shrunk(table, np.array(["en", "en"]), calibration)
    assert 2.0 < short < long < 3.0
    assert short == pytest.approx(2 + 0.04 / (0.04 + 0.2), abs=1e-4)


def test_spread_is_recovered() -> None:
    """The fit finds the variance between documents and the noise that falls with their bytes."""
    cells = {str(i): (100, 2.0, 0.04 + 20.0 / size, 1 / size) for i, size in enumerate((300, 1000, 5000, 20000))}
    sigma, tau = _spread(cells)
    assert sigma == pytest.approx(0.04)
    assert tau == pytest.approx(20.0)


def test_a_guard_names_who_loses_what() -> None:
    """A language or source that would lose too much stops the round, small ones do not."""
    cell = {"documents": 500, "bytes": 1000, "rejected": 100, "rejected_bytes": 200}
    small = {**cell, "documents": 5}
    tripped = guards({"language": {"fi": cell, "qu": small}, "source": {"web": cell}}, SelfClean())
    assert tripped == ["language fi would lose 20.0% of its bytes, more than 10.0%"]


def test_overlap_is_jaccard() -> None:
    """Two empty rejected sets agree."""
    assert overlap({"overlap": {"both": 3, "either": 4}}) == 0.75
    assert overlap({"overlap": {"both": 0, "either": 0}}) == 1.0

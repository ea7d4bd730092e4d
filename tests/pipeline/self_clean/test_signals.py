"""Signals against their formulas."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.ngram import Bits
from pipeline.self_clean.signals import (
    CHEAP,
    LEARNT,
    SIGNALS,
    cheap_signals,
    learnt_signals,
    trigram_bits,
)

nats = st.floats(0, 20, width=32)
losses = arrays(np.float32, st.integers(1, 200), elements=nats)


def learnt(losses: np.ndarray, trigram: float, size: int) -> dict[str, float]:
    """Return the learnt signals of one document."""
    found = learnt_signals([losses], np.array([trigram]), np.array([size]))
    return dict(zip(LEARNT, found[0].tolist(), strict=True))


@given(losses, st.floats(0, 5), st.integers(1, 10_000))
def test_learnt_signals_are_their_formulas(whole: np.ndarray, trigram: float, size: int) -> None:
    """Bits are nats over ln 2 by bytes; the slope is that of a straight line through all losses, end to end."""
    found = learnt(whole, trigram, size)
    exact = whole.astype(np.float64)
    bits = exact.sum() / math.log(2) / size
    assert found["bits_per_byte"] == pytest.approx(bits)
    assert found["beyond_trigram"] == pytest.approx(trigram - bits, abs=1e-9)
    assert found["loss_deviation"] == pytest.approx(np.std(exact), abs=1e-9)
    if len(whole) > 1:
        line = np.polyfit(np.linspace(0, 1, len(whole)), exact, 1)
        assert found["slope"] == pytest.approx(line[0], abs=1e-6)
    else:
        assert found["slope"] == 0


def test_a_document_whose_past_helps_falls() -> None:
    """Losses that fall with the context have a negative slope."""
    found = learnt(np.linspace(5, 2, 300, dtype=np.float32), 1.0, 900)
    assert found["slope"] == pytest.approx(-3, rel=1e-3)


def test_nothing_read_is_no_number() -> None:
    """A document without tokens has no signal, beside one that has all; no documents at all are a table of none."""
    none, one = np.zeros(0), np.ones(3)
    found = learnt_signals([none, one], np.array([np.nan, 1.0]), np.array([0, 9]))
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()
    assert learnt_signals([], np.zeros(0), np.zeros(0, np.int64)).shape == (0, len(LEARNT))


def some_bits(count: int, seed: int = 0) -> Bits:
    """Return measurements of documents, the last one empty."""
    draw = np.random.default_rng(seed)
    values = {name: draw.uniform(1, 2, count) for name in Bits.__slots__}
    values |= {"unigram": draw.uniform(900, 1000, count), "trigram": draw.uniform(600, 800, count)}
    tokens = draw.integers(50, 90, count)
    for column in (*values.values(), tokens):
        column[-1] = 0
    return Bits(**{**values, "tokens": tokens})  # type: ignore[arg-type]


def test_cheap_signals_are_by_byte() -> None:
    """Bits, gains and tokens are divided by the excerpt's bytes; of no tokens there are no signals."""
    bits, rejects, sizes = some_bits(4), some_bits(4, seed=5), np.array([100, 200, 400, 0])
    found = dict(zip(CHEAP, cheap_signals(bits, rejects, sizes).T, strict=True))
    assert all(np.isnan(column[-1]) and np.isfinite(column[:-1]).all() for column in found.values())
    by_byte = {
        "unigram_bits": bits.unigram,
        "trigram_gain": bits.unigram - bits.trigram,
        "cache_gain": bits.unigram - bits.cached,
        "tokens_per_byte": bits.tokens,
        "reject_unigrams": rejects.unigram - bits.unigram,
        "reject_trigrams": rejects.trigram - bits.trigram,
    }
    for name, values in by_byte.items():
        assert found[name][:-1] == pytest.approx(values[:-1] / sizes[:-1]), name
    for name, values in {"prior_deviation": bits.deviation, "unevenness": bits.unevenness}.items():
        assert found[name][:-1].tolist() == values[:-1].tolist(), name
    assert found["repetition"][:-1].tolist() == bits.repeated[:-1].tolist()
    assert trigram_bits(cheap_signals(bits, rejects, sizes))[:-1] == pytest.approx(bits.trigram[:-1] / sizes[:-1])


def test_every_signal_has_its_own_name() -> None:
    """Columns of the published documents are named after signals, so no two may share a name."""
    assert len(set(SIGNALS)) == len(SIGNALS) == len(CHEAP) + len(LEARNT)

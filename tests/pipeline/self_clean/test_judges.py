"""Judges: n-gram counts in a file measure as written, and a TransNormer tells what a document's past is worth."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from model import ngram
from model.checkpoint import save_model
from model.config import TransNormerConfig
from model.transnormer import TransNormer
from pipeline.self_clean.excerpt import Excerpts
from pipeline.self_clean.judges import STRETCH, TABLES, Judges, by_transnormer, context_gains, load_counts, write_counts
from pipeline.self_clean.signals import CHEAP

DRAW = np.random.default_rng(0)
VOCABULARY = 50


def counted() -> ngram.Ngrams:
    """Return counts of some documents in two languages."""
    tables = ngram.empty(2, VOCABULARY, bits=10)
    for number in range(20):
        ngram.add(tables, DRAW.integers(0, VOCABULARY, 200), number % 2)
    return ngram.finish(tables)


def test_counts_survive_their_file(tmp_path: Path) -> None:
    """Every cell and every language is there again, and documents take the same bits."""
    model, path = counted(), str(tmp_path / "ngrams.arrow")
    size = write_counts(path, model, ["en", "zh"])
    assert size == Path(path).stat().st_size
    again, languages = load_counts(path)
    assert languages == {"en": 0, "zh": 1}
    for name in TABLES:
        assert getattr(again, name).dtype == getattr(model, name).dtype
        assert np.array_equal(getattr(again, name), getattr(model, name)), name
    windows = [DRAW.integers(0, VOCABULARY, 100) for _ in range(6)]
    owners, asked = np.array([0, 0, 1, 2, 3, 3]), np.array([0, 1, 0, 1])
    ours, theirs = (ngram.measure(one, windows, owners, asked) for one in (model, again))
    assert ours.trigram.tolist() == theirs.trigram.tolist()
    assert ours.unigram.tolist() == theirs.unigram.tolist()


def test_processes_share_counts_that_lie_on_a_disk(tmp_path: Path) -> None:
    """The tables are the file's own pages, and nobody can write to them."""
    path = str(tmp_path / "ngrams.arrow")
    write_counts(path, counted(), ["en", "zh"])
    model, _ = load_counts(path)
    assert not model.twos.flags.writeable
    assert any(line.endswith(path) for line in Path("/proc/self/maps").read_text().splitlines())


def test_counts_of_no_language_are_read(tmp_path: Path) -> None:
    """A fold that saw nothing has tables of nothing."""
    path = str(tmp_path / "ngrams.arrow")
    write_counts(path, ngram.finish(ngram.empty(0, VOCABULARY, bits=4)), [])
    model, languages = load_counts(path)
    assert languages == {}
    assert len(model.unigrams) == 0


def test_what_a_disk_cannot_read_is_an_error() -> None:
    """And not the signal that a mapped page of it would be."""
    with pytest.raises(OSError, match="Input/output error"):
        load_counts("/proc/self/mem")


def test_context_gain_is_what_the_state_tells(tmp_path: Path) -> None:
    """Bits per byte with an empty state at every stretch less those of one reading; none where all is one stretch."""
    config = TransNormerConfig(vocab_size=VOCABULARY, eos=0, width=16, layers=2, heads=2, hidden=24, initial_std=0.5)
    model = TransNormer(config, seed=1).eval()
    save_model(tmp_path, model)
    windows = [DRAW.integers(1, VOCABULARY, length) for length in (3 * STRETCH + 5, STRETCH, 2 * STRETCH)]
    size = np.array([2000, 300, 1])
    # The first and the last window are one document's, the second is another's, and a third document is empty.
    found = Excerpts([windows[0], windows[2], windows[1]], np.array([0, 0, 1]), size, size)
    judges = Judges("", (), (str(tmp_path),))
    reading = by_transnormer(judges, 0, found, np.zeros((3, len(CHEAP))))
    gains = context_gains(judges, 0, found, reading)
    with torch.no_grad():
        parts = [
            nats_of(model, window[start - 1 : start + STRETCH] if start else np.array([0, *window[:STRETCH]]))
            for window in (windows[0], windows[2])
            for start in range(0, len(window), STRETCH)
        ]
    assert gains[0] == pytest.approx((sum(parts) - reading.nats[0]) / math.log(2) / 2000, abs=1e-6)
    assert abs(gains[0]) > 1e-4
    assert gains[1] == pytest.approx(0, abs=1e-6)
    assert np.isnan(gains[2])


def nats_of(model: TransNormer, piece: np.ndarray) -> float:
    """Return what the tokens of a piece but the first take, each by those before it."""
    tokens = torch.from_numpy(piece.astype(np.int64))
    hidden, _ = model.hidden(tokens[None, :-1])
    told = torch.log_softmax(model.head(hidden[0]).double(), dim=-1)
    return float(-told[torch.arange(len(piece) - 1), tokens[1:]].sum())

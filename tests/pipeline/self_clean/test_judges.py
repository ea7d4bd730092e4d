"""N-gram counts in a file: what is read measures as what was written."""

from pathlib import Path

import numpy as np
import pytest

from model import ngram
from pipeline.self_clean.judges import TABLES, load_counts, write_counts

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

"""Draws are uniform and depend on id, seed and purpose only."""

from hashlib import blake2b

import numpy as np

from pipeline.draw import hashes, uniform

IDS = [blake2b(str(i).encode(), digest_size=16).hexdigest() for i in range(20_000)]


def test_draws_are_uniform() -> None:
    """Draws lie in [0, 1) and fill 20 equal bins evenly (chi-square below its 99.99 % bound)."""
    draws = uniform(IDS, 1, "sample")
    assert draws.min() >= 0
    assert draws.max() < 1
    bins = np.histogram(draws, 20, (0, 1))[0]
    assert ((bins - 1000) ** 2 / 1000).sum() < 52


def test_draws_belong_to_their_id() -> None:
    """No order and no company changes a draw."""
    draws = hashes(IDS[:100], 1, "sample")
    assert (hashes(IDS[:100][::-1], 1, "sample") == draws[::-1]).all()
    assert hashes(IDS[5:6], 1, "sample")[0] == draws[5]
    assert len(hashes([], 1, "sample")) == 0


def test_seeds_and_purposes_are_independent() -> None:
    """Another seed or purpose gives draws without a correlation to the first."""
    draws = uniform(IDS, 1, "sample")
    for other in (uniform(IDS, 2, "sample"), uniform(IDS, 1, "folds")):
        assert abs(np.corrcoef(draws, other)[0, 1]) < 0.04

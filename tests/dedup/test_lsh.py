"""Bands meet as often as the formula says."""

import numpy as np
import pytest

from dedup.lsh import band_hashes, candidate_probability, choose_shape, estimated_jaccard, steepest_similarity


def test_equal_bands_and_no_others_have_equal_hashes() -> None:
    """Two documents share the hash of a band exactly where they share all its values."""
    draw = np.random.default_rng(1)
    values = draw.integers(0, 3, (300, 12), dtype=np.uint32)
    hashes = band_hashes(values, 4, 3)
    assert hashes.shape == (300, 4)
    for band in range(4):
        rows = values[:, 3 * band : 3 * band + 3]
        _, same = np.unique(rows, axis=0, return_inverse=True)
        _, hashed = np.unique(hashes[:, band], return_inverse=True)
        together = set(zip(same.ravel().tolist(), hashed.tolist(), strict=True))
        assert len(together) == len(set(same.ravel().tolist())) == len(set(hashed.tolist()))


def test_the_number_of_the_band_counts() -> None:
    """Equal values in different bands do not meet."""
    hashes = band_hashes(np.full((1, 12), 7, np.uint32), 4, 3)
    assert len(set(hashes[0].tolist())) == 4


def test_a_signature_too_short_is_refused() -> None:
    """Bands that do not fit are an error that says what was expected."""
    with pytest.raises(ValueError, match="4 bands of 3 rows need 12 values, got 11"):
        band_hashes(np.zeros((1, 11), np.uint32), 4, 3)
    assert band_hashes(np.zeros((0, 12), np.uint32), 4, 3).shape == (0, 4)


@pytest.mark.parametrize("similarity", [0.3, 0.5, 0.7, 0.9])
def test_candidates_are_found_as_often_as_the_formula_says(similarity: float) -> None:
    """Among pairs that agree in a share of their values, the share that meets is the promised one."""
    bands, rows, pairs = 14, 8, 4000
    draw = np.random.default_rng(7)
    left = draw.integers(0, 2**32, (pairs, bands * rows), dtype=np.uint32)
    right = np.where(draw.random(left.shape) < similarity, left, left + np.uint32(1))
    met = (band_hashes(left, bands, rows) == band_hashes(right, bands, rows)).any(axis=1).mean()
    expected = candidate_probability(similarity, bands, rows)
    assert abs(met - expected) < 4 * np.sqrt(expected * (1 - expected) / pairs) + 1e-3
    assert abs(estimated_jaccard(left, right).mean() - similarity) < 0.01


def test_the_curve_is_steepest_where_it_says() -> None:
    """The estimate of the steepest place is near the true one."""
    grid = np.linspace(0, 1, 2001)
    curve = np.array([candidate_probability(float(s), 14, 8) for s in grid])
    assert abs(grid[np.diff(curve).argmax()] - steepest_similarity(14, 8)) < 0.05


@pytest.mark.parametrize("wanted", [0.5, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("values", [64, 112, 128, 256])
def test_the_chosen_shape_finds_what_was_wanted_and_no_longer_bands_do(wanted: float, values: int) -> None:
    """Bands and rows fit the signature and find the wanted share; with one row more they would not."""
    bands, rows = choose_shape(wanted, values, 0.95)
    assert bands * rows <= values
    assert candidate_probability(wanted, bands, rows) >= 0.95
    assert candidate_probability(wanted, values // (rows + 1), rows + 1) < 0.95


def test_a_shape_that_cannot_be_is_refused() -> None:
    """Too few values for what is wanted are an error that says what they can do."""
    with pytest.raises(ValueError, match=r"4 values find pairs of similarity 0.3 with probability 0.760 at most"):
        choose_shape(0.3, 4, 0.95)

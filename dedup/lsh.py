"""Locality-sensitive hashing: signatures cut into bands whose hashes meet when documents are alike.

P(candidate) at Jaccard similarity s is 1 - (1 - s^rows)^bands (Leskovec, Rajaraman, Ullman, MMDS, section 3.4.2).
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.generic]


def candidate_probability(similarity: float, bands: int, rows: int) -> float:
    """Return the probability that two documents of this similarity share a band."""
    return 1.0 - (1.0 - similarity**rows) ** bands


def steepest_similarity(bands: int, rows: int) -> float:
    """Return the similarity at which the probability rises fastest, about (1 / bands)^(1 / rows)."""
    return float((1.0 / bands) ** (1.0 / rows))


def choose_shape(wanted: float, values: int, found: float) -> tuple[int, int]:
    """Return (bands, rows) of at most `values` values under which pairs of similarity `wanted` meet often enough.

    The most rows, so the fewest candidates to verify, for which a pair of that similarity shares a band with at least
    the probability `found`. Raises ValueError where not even single rows find them.
    """
    for rows in range(values, 0, -1):
        if candidate_probability(wanted, values // rows, rows) >= found:
            return values // rows, rows
    best = candidate_probability(wanted, values, 1)
    raise ValueError(f"{values} values find pairs of similarity {wanted:g} with probability {best:.3f} at most")


def band_hashes(signatures: NDArray[np.uint32], bands: int, rows: int) -> NDArray[np.uint64]:
    """Return one 64-bit hash for each band (documents, bands); the band's number is part of what is hashed.

    Raises ValueError when the signatures are too short.
    """
    if signatures.shape[1] < bands * rows:
        raise ValueError(f"{bands} bands of {rows} rows need {bands * rows} values, got {signatures.shape[1]}")
    out = np.empty((len(signatures), bands), np.uint64)
    _band_hashes(np.ascontiguousarray(signatures), rows, out)
    return out


@njit(cache=True, nogil=True)
def _band_hashes(signatures: Array, rows: int, out: Array) -> None:
    for document in range(out.shape[0]):
        for band in range(out.shape[1]):
            value = np.uint64(band + 1) * np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio
            for row in range(band * rows, (band + 1) * rows):
                value = (value ^ np.uint64(signatures[document, row])) * np.uint64(0xFF51AFD7ED558CCD)  # fmix64
                value ^= value >> np.uint64(33)
            value = value * np.uint64(0xC4CEB9FE1A85EC53)  # MurmurHash3, fmix64
            out[document, band] = value ^ value >> np.uint64(33)


def estimated_jaccard(left: NDArray[np.uint32], right: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Return the share of equal values, row by row (n): an unbiased estimate, standard error sqrt(s (1 - s) / K)."""
    equal: NDArray[np.float64] = (left == right).mean(axis=1)
    return equal

"""On 200 documents the bands find what a comparison of all pairs finds."""

import itertools
import random

import numpy as np
import pyarrow as pa

from dedup.clusters import stars
from dedup.lsh import band_hashes, candidate_probability
from dedup.signatures import signatures
from filters.arrow_text import text_buffers
from pipeline.sign import words_table

BANDS, ROWS, WORDS = 20, 4, 2


def documents() -> list[str]:
    """Return 40 originals, each with four copies that differ in 2 to 30 of 100 words."""
    draw = random.Random(3)
    texts = []
    for _ in range(40):
        words = [f"w{draw.randrange(5000)}" for _ in range(100)]
        for changes in (0, 2, 6, 14, 30):
            copy = list(words)
            for at in draw.sample(range(100), changes):
                copy[at] = f"x{draw.randrange(5000)}"
            texts.append(" ".join(copy))
    return texts


def test_alike_documents_are_candidates() -> None:
    """Of the pairs at each similarity as many are candidates as the formula says, and stars hold candidates only."""
    texts = documents()
    offsets, data = text_buffers(pa.array(texts))
    scheme = {"shingle_words": WORDS, "count": BANDS * ROWS, "seed": 1}
    hashes = band_hashes(signatures(offsets, data, words_table(), **scheme), BANDS, ROWS)
    sets = [set(itertools.pairwise(text.split())) for text in texts]
    meets = (hashes[:, None] == hashes[None]).any(axis=2)
    expected = found = variance = 0.0
    for a, b in itertools.combinations(range(len(texts)), 2):
        jaccard = len(sets[a] & sets[b]) / len(sets[a] | sets[b])
        chance = candidate_probability(jaccard, BANDS, ROWS)
        met = bool(meets[a, b])
        assert met or jaccard < 0.9
        assert jaccard > 0.01 or not met
        expected, variance, found = expected + chance, variance + chance * (1 - chance), found + met
    assert abs(found - expected) < 5 * variance**0.5
    numbers = np.repeat(np.arange(len(texts)), BANDS)
    linked = stars(hashes.ravel(), numbers.astype(np.uint64), numbers)
    assert len(linked)
    assert meets[linked["centre"], linked["member"]].all()

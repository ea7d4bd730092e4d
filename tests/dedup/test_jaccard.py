"""Exact Jaccard agrees with Python's sets of shingles."""

import itertools

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.jaccard import jaccard, normalised_hashes, shingle_sets
from dedup.signatures import folded, shingle_hash
from filters.words import split_words

TEXT = st.lists(st.sampled_from(["a", "b", "c", "É", "中", "--", "x1", "a."]), max_size=14).map(" ".join)


def normal_words(text: str) -> list[str]:
    """Return the words of a text as shingles see them."""
    found = split_words(pa.array([text], pa.large_string()))
    data, table = found.data.tobytes(), folded()
    raw = [data[a:b].decode() for a, b in zip(found.start.tolist(), found.end.tolist(), strict=True)]
    words = ["".join(chr(table[ord(c)]) for c in word if table[ord(c)]) for word in raw]
    return [word for word in words if word]


def slow_set(text: str, size: int) -> set[str]:
    """Return the shingles of a text."""
    words = normal_words(text)
    size = min(size, len(words))
    return {" ".join(words[i : i + size]) for i in range(len(words) - size + 1)} if words else set()


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(TEXT, min_size=2, max_size=5), size=st.integers(1, 5))
def test_jaccard_is_that_of_sets(texts: list[str], size: int) -> None:
    """For every pair of texts the value is |A and B| / |A or B|, 0 for two empty ones."""
    words = split_words(pa.array(texts, pa.large_string()))
    bounds, hashes = shingle_sets(words.data, words.first, words.start, words.end, size)
    sets = [slow_set(text, size) for text in texts]
    assert np.diff(bounds).tolist() == [len(s) for s in sets]
    pairs = list(itertools.product(range(len(texts)), repeat=2))
    left, right = (np.array(column) for column in zip(*pairs, strict=True))
    found = jaccard(bounds, hashes, bounds, hashes, left, right)
    expected = [len(sets[a] & sets[b]) / len(sets[a] | sets[b]) if sets[a] | sets[b] else 0.0 for a, b in pairs]
    assert found.tolist() == expected


def test_the_hash_of_a_shingle_is_half_of_that_in_the_set() -> None:
    """The documented 32-bit hash is the upper half of the 64 bits that sets hold."""
    words = split_words(pa.array(["Hello, big wide WORLD"], pa.large_string()))
    _, hashes = shingle_sets(words.data, words.first, words.start, words.end, 4)
    assert (hashes >> np.uint64(32)).tolist() == [shingle_hash(b"hello big wide world")]


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(TEXT, min_size=2, max_size=6))
def test_normalised_texts_are_equal_where_their_words_are(texts: list[str]) -> None:
    """Two texts have one normalised hash exactly when their normalised words are the same; none have zeros."""
    words = split_words(pa.array(texts, pa.large_string()))
    hashes = normalised_hashes(words.data, words.first, words.start, words.end).tolist()
    slow = [normal_words(text) for text in texts]
    for (a, x), (b, y) in itertools.combinations(zip(hashes, slow, strict=True), 2):
        assert (a == b) == (x == y)
    assert [h == [0, 0, 0, 0] for h in hashes] == [not words for words in slow]

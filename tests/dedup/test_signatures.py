"""Signatures are datasketch's, bit for bit."""

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dedup.signatures import EMPTY, folded, shingle_hash, signatures
from filters.arrow_text import text_buffers
from filters.words import split_words
from pipeline.sign import words_table

COUNT = 32
TEXTS = [
    "",
    " \n",
    "...!? --",
    "one",
    "One two, THREE four.",
    "the quick brown fox jumps over the lazy dog and the cat",
    "Élan vital, ÇA ET LÀ! naïve Ångström straße STRASSE İstanbul ǅ",
    "用Python写3次。这是一个很长的句子，没有空格。",
    "ภาษาไทยไม่มีช่องว่าง देवनागरी 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 😀 ② Ⅷ",
    "a\0b c\u200bd e\u0301f",
    "word " * 9000,
]
ALPHABET = st.one_of(
    st.sampled_from("aAzZ09 ,.\n\tßÉé中文ไทก็กิ\u0301፡አй😀\0İ"), st.characters(exclude_categories=["Cs"])
)


def ours(texts: list[str], words: int, seed: int) -> NDArray[np.uint32]:
    """Return the signatures of some texts."""
    offsets, data = text_buffers(pa.array(texts, pa.large_string()))
    return signatures(offsets, data, words_table(), shingle_words=words, count=COUNT, seed=seed)


def theirs(text: str, words: int, seed: int) -> NDArray[np.uint32]:
    """Return datasketch's signature of a text, shingled as the documentation says."""
    found = split_words(pa.array([text], pa.large_string()))
    data = found.data.tobytes()
    table = folded()
    spans = zip(found.start.tolist(), found.end.tolist(), strict=True)
    raw = [data[start:end].decode() for start, end in spans]
    normal = ["".join(chr(table[ord(c)]) for c in word if table[ord(c)]) for word in raw]
    normal = [word for word in normal if word]
    size = min(words, len(normal))
    shingles = [" ".join(normal[i : i + size]).encode() for i in range(len(normal) - size + 1)] if normal else []
    sketch = MinHash(num_perm=COUNT, seed=seed, scheme="affine32", hashfunc=shingle_hash)
    sketch.update_batch(shingles)
    return np.asarray(sketch.hashvalues).astype(np.uint32)


@pytest.mark.parametrize("words", [1, 2, 5])
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_a_signature_is_datasketchs(text: str, words: int) -> None:
    """Empty, short, long, accented and spaceless texts have the values of datasketch's MinHash."""
    assert ours([text], words, 1)[0].tolist() == theirs(text, words, 1).tolist()


@settings(max_examples=150, deadline=None)
@given(
    texts=st.lists(st.text(ALPHABET, max_size=60), max_size=4), words=st.integers(1, 6), seed=st.integers(0, 2**32 - 1)
)
def test_any_signature_is_datasketchs(texts: list[str], words: int, seed: int) -> None:
    """Any texts, batched, have the values of datasketch's MinHash."""
    assert ours(texts, words, seed).tolist() == [theirs(text, words, seed).tolist() for text in texts]


def test_a_text_without_words_is_the_empty_set() -> None:
    """Punctuation alone leaves every value at its highest."""
    assert (ours(["", "... !"], 5, 1) == EMPTY).all()


def test_folding_is_that_of_single_characters() -> None:
    """A letter or digit folds to one lower-case character, everything else to nothing."""
    table = folded()
    for point in [*range(0x3000), 0x4E2D, 0xD800, 0x1F600, 0x10FFFF]:
        lower = chr(point).lower()[:1] if chr(point).isalnum() else "\0"
        assert table[point] == ord(lower), hex(point)


def test_case_and_punctuation_do_not_count() -> None:
    """Texts that differ in case and punctuation have one signature."""
    first, second = ours(["Hello, big wide world! It is us.", "hello big «wide» WORLD it is us"], 3, 1)
    assert (first == second).all()

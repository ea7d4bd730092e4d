"""The definition of a word, and the compiled splitter against a slow one."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.characters import COMBINING, SPACELESS, character_classes
from filters.words import Words, split_words

ALPHABET = "፡ab.,'- \n\t\u3000\u200b漢字の。ไทัက္ကकि́1é𠀀😀"
TEXT = st.text(st.sampled_from(ALPHABET), max_size=60) | st.text(max_size=40)


def reference_words(text: str) -> list[str]:
    """Split one text as words.py says, character by character."""
    words = []
    for chunk in text.replace("፡", " ").split():
        run, spaceless = "", False
        for character in chunk:
            bits = character_classes()[ord(character)]
            joined = spaceless and bits & COMBINING if run and not bits & SPACELESS else False
            if run and (bits & SPACELESS or (spaceless and not joined)):
                words.append(run)
                run = ""
            if not run:
                spaceless = bool(bits & SPACELESS)
            run += character
        words.append(run)
    return words


def words_of(words: Words, document: int) -> list[str]:
    """Return a document's words as strings."""
    rows = range(words.first[document], words.first[document + 1])
    return [words.data[words.start[w] : words.end[w]].tobytes().decode() for w in rows]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\u3000", []),
        ("Don't stop!", ["Don't", "stop!"]),
        ("用Python写3次。", ["用", "Python", "写", "3", "次", "。"]),
        ("かな、カナ", ["か", "な", "、", "カ", "ナ"]),
        ("ไทย", ["ไ", "ท", "ย"]),
        ("กี่", ["กี่"]),
        ("ሰላም፡ለዓለም።", ["ሰላም", "ለዓለም።"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("한국어 문장", ["한국어", "문장"]),
    ],
)
def test_words_are_as_defined(text: str, expected: list[str]) -> None:
    """Chunks between white space, and single letters with their marks in scripts without spaces."""
    assert words_of(split_words(pa.array([text])), 0) == expected


@given(st.lists(TEXT, max_size=5))
@settings(deadline=None)
def test_compiled_words_equal_the_reference(texts: list[str]) -> None:
    """The kernel agrees with the slow splitter on every string."""
    words = split_words(pa.array(texts, pa.string()))
    assert [words_of(words, d) for d in range(len(texts))] == [reference_words(text) for text in texts]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_sliced_arrays_give_their_rows_words(kind: pa.DataType) -> None:
    """Rows before the slice leave no trace."""
    words = split_words(pa.array(["x y", "a b", "漢字", "z"], kind).slice(1, 2))
    assert [words_of(words, d) for d in range(2)] == [["a", "b"], ["漢", "字"]]
    assert words.first.tolist() == [0, 2, 4]


def test_no_rows_have_no_words() -> None:
    """An empty column has one zero in `first`."""
    words = split_words(pa.array([], pa.string()))
    assert (words.first.tolist(), len(words.start), len(words.end)) == ([0], 0, 0)


@pytest.mark.parametrize(
    ("text", "count"), [("a " * 1_000_000, 1_000_000), ("漢" * 700_000, 700_000), ("a" * 2_000_000, 1)]
)
def test_one_long_document_fits(text: str, count: int) -> None:
    """The arrays grow with the words of two megabytes of text, one or a million."""
    words = split_words(pa.array([text]))
    assert len(words.start) == count
    assert np.all(words.start < words.end)

"""What measurements share about a batch of texts."""

import numpy as np
import pyarrow as pa
import pytest

from filters.passage import read_passage


def test_a_passage_has_a_language_for_every_text() -> None:
    """Columns of different length are an error of the caller's."""
    with pytest.raises(ValueError, match="got 1 for 2 texts"):
        read_passage(pa.array(["a", "b"]), np.array(["en"]))


def test_equal_words_have_equal_hashes() -> None:
    """And different words different ones, wherever they stand."""
    hashes = read_passage(pa.array(["one two", "two one 漢"]), np.array(["en", "zh"])).traits.hashes
    assert hashes[0] == hashes[3]
    assert hashes[1] == hashes[2]
    assert len(set(hashes.tolist())) == 3


def test_hashes_are_the_same_in_every_run() -> None:
    """They are written nowhere, but a verdict that ties must not depend on the process."""
    assert read_passage(pa.array(["a"]), np.array(["en"])).traits.hashes.tolist() == [0x82A2A958A9BECE5B]


def test_lengths_are_code_points() -> None:
    """A letter of four bytes is one, and so is a combining mark."""
    passage = read_passage(pa.array(["a žluť 𠀀 हिन्दी"]), np.array(["en"]))
    assert passage.traits.lengths.tolist() == [1, 4, 1, 6]


def test_offsets_are_those_of_the_slice() -> None:
    """Documents are found in the whole value buffer."""
    passage = read_passage(pa.array(["ab", "c", "def"]).slice(1, 2), np.array(["en"] * 2))
    assert passage.offsets.tolist() == [2, 3, 6]


@pytest.mark.parametrize(("text", "spaceless"), [("", False), ("漢 a", False), ("漢字 a", True), ("ab cd", False)])
def test_most_words_decide_whether_a_text_is_spaceless(text: str, spaceless: bool) -> None:
    """Half of the words is not most of them."""
    assert read_passage(pa.array([text]), np.array(["und"])).spaceless.tolist() == [spaceless]

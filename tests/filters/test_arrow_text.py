"""Arrow string columns as offsets and bytes, and back."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from filters.arrow_text import text_array, text_buffers

TEXTS = ["", "a", "žluť", "文字", ""]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_buffers_hold_every_text(kind: pa.DataType) -> None:
    """Offsets cut each row's UTF-8 out of the bytes."""
    offsets, data = text_buffers(pa.array(TEXTS, kind))
    cut = [data[a:b].tobytes().decode() for a, b in pairwise(offsets)]
    assert cut == TEXTS


def test_buffers_of_a_slice_hold_its_rows() -> None:
    """A sliced array's offsets point into the whole value buffer."""
    offsets, data = text_buffers(pa.array(TEXTS).slice(2, 2))
    assert data[offsets[0] : offsets[-1]].tobytes().decode() == "žluť文字"


@pytest.mark.parametrize("texts", [pa.array([], pa.string()), pa.array(TEXTS).slice(5)])
def test_no_rows_have_one_offset(texts: pa.Array) -> None:
    """An empty column, made or sliced, has no documents."""
    assert len(text_buffers(texts)[0]) == 1


def test_bytes_are_read_only() -> None:
    """Compiled code is made for one kind of array only, the kind that cannot be written."""
    assert not text_buffers(pa.array(TEXTS))[1].flags.writeable


def test_nulls_are_refused() -> None:
    """A missing text is an error of the caller's."""
    with pytest.raises(ValueError, match="1 null of 2"):
        text_buffers(pa.array(["a", None]))


@pytest.mark.parametrize("texts", [pa.array([1]), ["a"], pa.chunked_array([["a"]])])
def test_other_types_are_refused(texts: object) -> None:
    """Only plain string arrays have the two buffers."""
    with pytest.raises(TypeError, match="Arrow array of strings"):
        text_buffers(texts)


def test_text_array_is_the_inverse() -> None:
    """Buffers made into an array are the texts they came from."""
    offsets, data = text_buffers(pa.array(TEXTS))
    assert text_array(offsets, data).to_pylist() == TEXTS
    assert text_array(np.zeros(1, np.int64), data).to_pylist() == []

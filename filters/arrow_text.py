"""Arrow's string columns as the two arrays that compiled code reads, and back."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def text_buffers(texts: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return the byte offsets of the rows (n + 1) and the bytes they point into, read-only, not copied.

    Takes string and large_string arrays, sliced or not. Offsets point into the whole value buffer, so the
    first one need not be 0. Raises TypeError for another type, ValueError where a row is null.
    """
    if not isinstance(texts, pa.Array) or not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
        raise TypeError(f"texts must be an Arrow array of strings, got {getattr(texts, 'type', type(texts))}")
    if texts.null_count:
        raise ValueError(f"texts must not be null, got {texts.null_count} null of {len(texts)}")
    if not len(texts):
        return np.zeros(1, np.int64), _frozen(np.zeros(0, np.uint8))
    _, bounds, values = texts.buffers()
    width = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    offsets = np.frombuffer(bounds, width)[texts.offset : texts.offset + len(texts) + 1]
    return offsets.astype(np.int64), _frozen(np.frombuffer(values or b"", np.uint8))


def string_array(texts: Iterable[str]) -> pa.Array:
    """Return any Python strings as a large_string array; U+FFFD stands for unpaired surrogates, which UTF-8 lacks."""
    texts = list(texts)
    try:
        return pa.array(texts, pa.large_string())
    except UnicodeEncodeError:
        paired = [text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace") for text in texts]
        return pa.array(paired, pa.large_string())


def text_array(offsets: NDArray[np.int64], data: NDArray[np.uint8]) -> pa.Array:
    """Return a large_string array of the rows data[offsets[i]:offsets[i + 1]], which must be valid UTF-8."""
    buffers = [None, pa.py_buffer(np.ascontiguousarray(offsets)), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers)


def _frozen(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a read-only view: Arrow hands out both kinds, and each kind would be compiled for separately."""
    view = values.view()
    view.flags.writeable = False
    return view

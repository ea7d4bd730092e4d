"""Excerpts: the part of a document that is measured, all of it where it is short.

A long document is measured on evenly spaced windows, the first at its begin and the last at its end, so that what a
document costs has a bound and no part of it is out of sight. Full scoring reads no more of a document than an anchor
has: what it had before returns the oftener the longer it is read, so that longer ones would look damaged by that alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.config import SelfClean
from tokenizer.encode import Tokenizer

Ints = npt.NDArray[np.int64]

MOST_CHARACTERS = 8192  # of an anchor, and of what full scoring reads of a document
FULL_WINDOWS = 4  # of a longer one


@dataclass(frozen=True, slots=True)
class Shape:
    """How much of a document is measured."""

    windows: int  # of a long document; 0: as much is measured of it as of an anchor
    window_bytes: int


def shape_of(settings: SelfClean) -> Shape:
    """Return how much of a document a run measures."""
    return Shape(0 if settings.scoring == "full" else settings.windows, settings.window_bytes)


@dataclass(frozen=True, slots=True)
class Excerpts:
    """Documents as windows of tokens."""

    windows: list[npt.NDArray[np.int64]]
    owner: Ints  # (windows): number of its document, rising
    size: Ints  # (documents): UTF-8 bytes of what is measured
    whole: Ints  # (documents): UTF-8 bytes of the text


def cut(text: str, shape: Shape) -> list[str]:
    """Return the parts of a text that are measured, in order."""
    if not shape.windows:
        return [text] if len(text) <= MOST_CHARACTERS else _spread(text, FULL_WINDOWS, MOST_CHARACTERS // FULL_WINDOWS)
    size = len(text.encode())
    if size <= shape.windows * shape.window_bytes:
        return [text]
    return _spread(text, shape.windows, max(1, shape.window_bytes * len(text) // size))


def _spread(text: str, windows: int, length: int) -> list[str]:
    """Return evenly spaced windows of so many characters."""
    last = max(1, windows - 1)
    starts = [(len(text) - length) * number // last for number in range(windows)]
    return [text[start : start + length] for start in starts]


def excerpts(texts: Sequence[str], shape: Shape, tokenizer: Tokenizer) -> Excerpts:
    """Return texts as windows of tokens."""
    parts = [cut(text, shape) for text in texts]
    flat = [part for one in parts for part in one]
    owner = np.repeat(np.arange(len(texts)), [len(one) for one in parts])
    size = np.array([sum(len(part.encode()) for part in one) for one in parts], np.int64)
    whole = np.array([len(text.encode()) for text in texts], np.int64)
    return Excerpts([ids.astype(np.int64) for ids in tokenizer.encode(flat)], owner, size, whole)


def select(found: Excerpts, chosen: npt.NDArray[np.bool_]) -> Excerpts:
    """Return the excerpts of chosen documents (documents)."""
    kept = chosen[found.owner]
    number = np.cumsum(chosen) - 1
    windows = [window for window, keep in zip(found.windows, kept.tolist(), strict=True) if keep]
    return Excerpts(windows, number[found.owner[kept]], found.size[chosen], found.whole[chosen])

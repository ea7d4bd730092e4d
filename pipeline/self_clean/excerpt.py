"""Excerpts: the part of a document that is measured, all of it where it is short.

A long document is measured on evenly spaced windows, the first at its begin and the last at its end, so that what a
document costs has a bound and no part of it is out of sight. They are together as long as the longest anchor: what a
document had before returns the oftener the more of it is read, so that longer ones would look damaged by that alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokenizer.encode import Tokenizer

Ints = npt.NDArray[np.int64]

MOST_CHARACTERS = 8192  # of a document that are measured, and of an anchor
WINDOWS = 4  # of a longer one


@dataclass(frozen=True, slots=True)
class Excerpts:
    """Documents as windows of tokens."""

    windows: list[npt.NDArray[np.int64]]
    owner: Ints  # (windows): number of its document, rising
    size: Ints  # (documents): UTF-8 bytes of what is measured
    whole: Ints  # (documents): UTF-8 bytes of the text


def cut(text: str) -> list[str]:
    """Return the parts of a text that are measured, in order."""
    if len(text) <= MOST_CHARACTERS:
        return [text]
    length = MOST_CHARACTERS // WINDOWS
    starts = [(len(text) - length) * number // (WINDOWS - 1) for number in range(WINDOWS)]
    return [text[start : start + length] for start in starts]


def excerpts(texts: Sequence[str], tokenizer: Tokenizer) -> Excerpts:
    """Return texts as windows of tokens."""
    parts = [cut(text) for text in texts]
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

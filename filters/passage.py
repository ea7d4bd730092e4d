"""What a measurement reads: texts, their words and languages, and the analyses that several share."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from filters.arrow_text import text_buffers
from filters.characters import SPACELESS, Array, character_classes, decode
from filters.words import Words, split_words


@dataclass(frozen=True)
class Passage:
    """A batch of texts as the steps before left them; texts, words and languages agree row by row."""

    texts: pa.Array
    words: Words
    languages: NDArray[np.str_]  # (documents) lid.176 codes, "und" where none was found

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Byte offsets of the documents in words.data (documents + 1)."""
        return text_buffers(self.texts)[0]

    @cached_property
    def word_hashes(self) -> NDArray[np.uint64]:
        """One hash a word; equal words have equal hashes in every batch of every run."""
        hashes: NDArray[np.uint64] = hash_spans(self.words.data, self.words.start, self.words.end)
        return hashes

    @cached_property
    def word_lengths(self) -> NDArray[np.int32]:
        """Code points in each word."""
        lengths: NDArray[np.int32] = _count_code_points(self.words.data, self.words.start, self.words.end)
        return lengths

    @cached_property
    def spaceless(self) -> NDArray[np.bool_]:
        """Whether most words of a document are single letters of a script written without spaces."""
        words = self.words
        spaceless: NDArray[np.bool_] = _find_spaceless(words.first, words.start, words.data, character_classes())
        return spaceless


def read_passage(texts: pa.Array, languages: NDArray[np.str_]) -> Passage:
    """Split the words of the texts; raises ValueError where the languages are not one a text."""
    if len(languages) != len(texts):
        raise ValueError(f"languages must be one a text, got {len(languages)} for {len(texts)} texts")
    return Passage(texts, split_words(texts), languages)


@njit(cache=True, nogil=True)
def hash_span(data: Array, start: int, end: int) -> np.uint64:
    """Return a 64-bit hash of data[start:end]: FNV-1a over the bytes, then a final mix."""
    value = np.uint64(0xCBF29CE484222325)  # FNV-1a offset basis and prime, draft-eastlake-fnv
    for i in range(start, end):
        value = (value ^ np.uint64(data[i])) * np.uint64(0x100000001B3)
    return mix(value)


@njit(cache=True, nogil=True)
def mix(value: np.uint64) -> np.uint64:
    """Return the value with every bit spread over all others: MurmurHash3's finalizer (public domain)."""
    value = (value ^ value >> np.uint64(33)) * np.uint64(0xFF51AFD7ED558CCD)  # MurmurHash3, fmix64
    value = (value ^ value >> np.uint64(33)) * np.uint64(0xC4CEB9FE1A85EC53)  # MurmurHash3, fmix64
    return value ^ value >> np.uint64(33)


@njit(cache=True, nogil=True)
def hash_spans(data: Array, start: Array, end: Array) -> Array:
    """Return the hash of every data[start[i]:end[i]] (n)."""
    hashes = np.empty(start.shape[0], np.uint64)
    for i in range(start.shape[0]):
        hashes[i] = hash_span(data, start[i], end[i])
    return hashes


@njit(cache=True, nogil=True)
def count_code_points(data: Array, start: int, end: int) -> int:
    """Return the code points in data[start:end]: its bytes that do not continue another."""
    length = 0
    for i in range(start, end):
        length += data[i] & 0xC0 != 0x80
    return length


@njit(cache=True, nogil=True)
def _count_code_points(data: Array, start: Array, end: Array) -> Array:
    """Return the code points of every data[start[i]:end[i]] (n)."""
    lengths = np.empty(start.shape[0], np.int32)
    for i in range(start.shape[0]):
        lengths[i] = count_code_points(data, start[i], end[i])
    return lengths


@njit(cache=True, nogil=True)
def _find_spaceless(first: Array, start: Array, data: Array, classes: Array) -> Array:
    """Tell of every document whether more than half of its words begin with such a letter."""
    spaceless = np.zeros(first.shape[0] - 1, np.bool_)
    for document in range(spaceless.shape[0]):
        letters = 0
        for w in range(first[document], first[document + 1]):
            code, _ = decode(data, start[w])
            letters += classes[code] & SPACELESS != 0
        spaceless[document] = 2 * letters > first[document + 1] - first[document]
    return spaceless

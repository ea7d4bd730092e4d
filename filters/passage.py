"""What a measurement reads: texts, their words and languages, and the analyses that several share."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from filters.arrow_text import text_buffers
from filters.characters import (
    DATATROVE_PUNCTUATION,
    LETTER,
    PUNCTUATION,
    SPACELESS,
    Array,
    character_classes,
    decode,
)
from filters.hashing import mix
from filters.lines import Lines, split_lines
from filters.words import OWN_WORDS, SPACED_WORDS, Definition, Words, split_words

ALPHABETIC = 1  # kinds of words: with a letter
PROPER = 2  # with anything but punctuation
PROPER_IN_DATATROVE = 4  # with anything but datatrove's punctuation
SINGLE = 8  # a letter of a script written without spaces, by itself
HYPHENATED = 16  # with a soft hyphen (U+00AD), which shows only where a line is broken there


@dataclass(frozen=True, slots=True)
class Traits:
    """What rules ask about every word of a batch (words)."""

    hashes: NDArray[np.uint64]  # equal words have equal hashes in every batch of every run
    lengths: NDArray[np.int32]  # code points
    kinds: NDArray[np.uint8]  # the bits above


@dataclass(frozen=True)
class Passage:
    """A batch of texts as the steps before left them; texts, words and languages agree row by row.

    What several measurements need is computed when the first of them asks for it.
    """

    texts: pa.Array
    languages: NDArray[np.str_]  # (documents) lid.176 codes, "und" where none was found
    definition: Definition = OWN_WORDS
    shares: NDArray[np.float64] | None = None  # (documents) of the text that is in its language; NaN where unknown

    @cached_property
    def _buffers(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        return text_buffers(self.texts)

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Byte offsets of the documents in data (documents + 1)."""
        return self._buffers[0]

    @property
    def data(self) -> NDArray[np.uint8]:
        """The column's whole value buffer, read-only."""
        return self._buffers[1]

    @cached_property
    def words(self) -> Words:
        """The words of every text, by the passage's definition."""
        return split_words(self.texts, self.definition)

    @cached_property
    def traits(self) -> Traits:
        """What rules ask about every word."""
        return Traits(*_describe(self.words.data, self.words.start, self.words.end, character_classes()))

    @cached_property
    def spaced(self) -> "Passage":
        """The same texts with their words split at white space only."""
        return Passage(self.texts, self.languages, SPACED_WORDS)

    @cached_property
    def lines(self) -> Lines:
        """The lines of every text."""
        return split_lines(self.offsets, self.data)

    @cached_property
    def spaceless(self) -> NDArray[np.bool_]:
        """Whether most words of a document are single letters of a script written without spaces."""
        spaceless: NDArray[np.bool_] = _find_spaceless(self.words.first, self.traits.kinds)
        return spaceless

    @cached_property
    def characters(self) -> NDArray[np.int64]:
        """Code points in every document."""
        characters: NDArray[np.int64] = _count_documents(self.data, self.offsets)
        return characters


def read_passage(texts: pa.Array, languages: NDArray[np.str_], shares: NDArray[np.float64] | None = None) -> Passage:
    """Return the texts to be measured; raises ValueError where the languages are not one a text."""
    if len(languages) != len(texts):
        raise ValueError(f"languages must be one a text, got {len(languages)} for {len(texts)} texts")
    return Passage(texts, languages, shares=shares)


@njit(cache=True, nogil=True)
def count_code_points(data: Array, start: int, end: int) -> int:
    """Return the code points in data[start:end]: its bytes that do not continue another."""
    length = 0
    for i in range(start, end):
        length += data[i] & 0xC0 != 0x80
    return length


@njit(cache=True, nogil=True)
def _count_documents(data: Array, offsets: Array) -> Array:
    """Return the code points of every data[offsets[i]:offsets[i + 1]] (n)."""
    lengths = np.empty(offsets.shape[0] - 1, np.int64)
    for i in range(lengths.shape[0]):
        lengths[i] = count_code_points(data, offsets[i], offsets[i + 1])
    return lengths


@njit(cache=True, nogil=True)
def _describe(data: Array, start: Array, end: Array, classes: Array) -> tuple[Array, Array, Array]:
    """Return the arrays of Traits in one reading; the hashes are those of hash_span."""
    hashes = np.empty(start.shape[0], np.uint64)
    lengths = np.empty(start.shape[0], np.int32)
    kinds = np.empty(start.shape[0], np.uint8)
    for w in range(start.shape[0]):
        value = np.uint64(0xCBF29CE484222325)  # FNV-1a offset basis, draft-eastlake-fnv
        i, length, anywhere, missing, hyphens = start[w], 0, 0, 0, False
        while i < end[w]:
            code, after = decode(data, i)
            while i < after:
                value = (value ^ np.uint64(data[i])) * np.uint64(0x100000001B3)  # FNV-1a prime
                i += 1
            kind = int(classes[code])
            anywhere |= kind
            missing |= ~kind
            hyphens |= code == 0xAD
            length += 1
        hashes[w], lengths[w] = mix(value), length
        kind = ALPHABETIC * (anywhere & LETTER != 0) | PROPER * (missing & PUNCTUATION != 0)
        kinds[w] = kind | PROPER_IN_DATATROVE * (missing & DATATROVE_PUNCTUATION != 0)
        lead, _ = decode(data, start[w])
        kinds[w] |= SINGLE * (classes[lead] & SPACELESS != 0) | HYPHENATED * hyphens
    return hashes, lengths, kinds


@njit(cache=True, nogil=True)
def _find_spaceless(first: Array, kinds: Array) -> Array:
    """Tell of every document whether more than half of its words are single letters."""
    spaceless = np.zeros(first.shape[0] - 1, np.bool_)
    for document in range(spaceless.shape[0]):
        letters = 0
        for w in range(first[document], first[document + 1]):
            letters += kinds[w] & SINGLE != 0
        spaceless[document] = 2 * letters > first[document + 1] - first[document]
    return spaceless

"""Tells which edits a text may need, in one compiled pass, so that clean text costs next to nothing.

The answer is never too small: an edit that is not asked for would have changed nothing.
"""

import functools
import re

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from filters.arrow_text import text_buffers
from filters.characters import Array, decode
from filters.edit_characters import BULLETS, GARBLED, GARBLED_HAN, JOINERS, LEADS, SPECIAL
from filters.edit_marks import REPEATED, WIDE
from filters.edit_markup import HOLE

TAGS, URLS, GARBAGE, PUNCTUATION, ODD, NUMBERS = (1 << step for step in range(6))  # in the order of edits.STEPS
_REPEATABLE = 1 << 6


def find_needs(texts: pa.Array) -> NDArray[np.uint8]:
    """Return for every text the bits of the edits that may change it (documents)."""
    offsets, data = text_buffers(texts)
    needs: NDArray[np.uint8] = _find_needs(offsets, data, _table())
    return needs


@functools.cache
def _table() -> NDArray[np.uint8]:
    """Return the bits that a character alone decides, for every code point, from the edits' own patterns."""
    everything = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    table = np.zeros(0x110000, np.uint8)
    leads = "".join(lead[0] for lead in LEADS)
    for characters, bit in (
        ("<", TAGS),
        (f"{GARBLED}{GARBLED_HAN}{leads}", GARBAGE),
        (f"{SPECIAL}{JOINERS}{BULLETS}", ODD),
        (WIDE, NUMBERS),
        (REPEATED, _REPEATABLE),
    ):
        found = [ord(match.group()) for match in re.finditer(f"[{characters}]", everything)]
        table[found] |= np.uint8(bit)
    table[ord(HOLE)] = TAGS | URLS | GARBAGE | PUNCTUATION | ODD | NUMBERS  # it goes first, and its neighbours meet
    return table


@njit(cache=True, nogil=True)
def _find_needs(offsets: Array, data: Array, table: Array) -> Array:
    """Read every text once; the previous character and the length of its run decide the rest."""
    needs = np.zeros(offsets.shape[0] - 1, np.uint8)
    for document in range(needs.shape[0]):
        i, before, run, bits = offsets[document], 0, 0, 0
        while i < offsets[document + 1]:
            code, i = decode(data, i)
            run = run + 1 if code == before else 1
            bits |= table[code] & 0x3F
            if run > 1:
                bits |= _needs_of_run(code, run, table)
            elif code in (0x27, 0x2019) and 0x30 <= before <= 0x39:  # 1' or 1’
                bits |= NUMBERS
            elif code == 0x28 and before == 0x5D:  # ](
                bits |= URLS
            before = code
        needs[document] = bits
    return needs


@njit(cache=True, nogil=True)
def _needs_of_run(code: int, run: int, table: Array) -> int:
    """Return what a character repeated so often may need."""
    if table[code] & _REPEATABLE or run > 3 - (code >= 0x80):  # .... or ………, and other marks do no harm
        return PUNCTUATION
    return URLS if code in (0x2F, 0x77) else 0  # // or ww

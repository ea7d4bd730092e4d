"""Finds where a text may hold personal data, in one compiled pass; filters/pii.py looks at those places only."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters.characters import Array

ADDRESS, NUMBER, ACCOUNT = 0, 1, 2  # e-mail or IP; telephone or card; IBAN
FEWEST_DIGITS = 7  # of a telephone number

_ALPHANUMERIC, _IN_ADDRESS, _IN_NUMBER, _DIGIT, _CAPITAL = 1, 2, 4, 8, 16


def find_candidates(offsets: NDArray[np.int64], data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return rows (document, kind, first byte, last + 1) of a column's buffers, in the order of the text."""
    found: NDArray[np.int64] = _find(offsets, data, _CLASSES)
    return found


def _classes() -> NDArray[np.uint8]:
    """Return the bits of every byte."""
    classes = np.zeros(256, np.uint8)
    for bits, characters in (
        (_ALPHANUMERIC | _IN_ADDRESS, b"abcdefghijklmnopqrstuvwxyz0123456789"),
        (_ALPHANUMERIC | _IN_ADDRESS | _CAPITAL, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        (_IN_ADDRESS, b"._%+-@:"),
        (_IN_NUMBER | _DIGIT, b"0123456789"),
        (_IN_NUMBER, b" -.()/+"),
    ):
        classes[list(characters)] |= np.uint8(bits)
    classes.flags.writeable = False
    return classes


_CLASSES = _classes()


@njit(cache=True, nogil=True)
def _find(offsets: Array, data: Array, classes: Array) -> Array:
    """Fill the rows: the numbers of a document, also those within its addresses (Tel.+49), then the addresses."""
    rows, count = np.empty((256, 4), np.int64), 0
    for document in range(offsets.shape[0] - 1):
        start, stop = offsets[document], offsets[document + 1]
        i = start
        while i < stop:
            end, digits = _read_number(data, i, stop, classes)
            if digits >= FEWEST_DIGITS:
                rows = _with_room(rows, count)
                rows[count] = document, NUMBER, i, end
                count += 1
            i = max(end, i + 1)
        i = start
        while i < stop:
            end, wanted = _read_address(data, i, stop, classes)
            if wanted:
                rows = _with_room(rows, count)
                rows[count] = document, ADDRESS, i, end
                count += 1
            account = _find_account(data, i, i, end, classes)
            while account >= 0:
                rows = _with_room(rows, count)
                rows[count] = document, ACCOUNT, account, min(stop, account + 50)
                count += 1
                account = _find_account(data, i, account + 1, end, classes)
            i = max(end, i + 1)
    return rows[:count]


@njit(cache=True, nogil=True)
def _with_room(rows: Array, count: int) -> Array:
    """Return rows with room for one more; twice as many where there is none."""
    if count < rows.shape[0]:
        return rows
    longer = np.empty((2 * rows.shape[0], 4), np.int64)
    longer[:count] = rows[:count]
    return longer


@njit(cache=True, nogil=True)
def _read_number(data: Array, i: int, stop: int, classes: Array) -> tuple[int, int]:
    """Return where a run of digits and the marks between them ends, and its digits."""
    digits = 0
    while i < stop and classes[data[i]] & _IN_NUMBER:
        digits += classes[data[i]] & _DIGIT != 0
        i += 1
    return i, digits


@njit(cache=True, nogil=True)
def _read_address(data: Array, i: int, stop: int, classes: Array) -> tuple[int, bool]:
    """Return where a run of what addresses are made of ends, and whether it has the marks of one.

    A domain may go on in other letters: info@b is the run of info@bücher.de.
    """
    ats, dots, colons, digits = 0, 0, 0, 0
    while i < stop and classes[data[i]] & _IN_ADDRESS:
        ats += data[i] == 0x40
        dots += data[i] == 0x2E
        colons += data[i] == 0x3A
        digits += classes[data[i]] & _DIGIT != 0
        i += 1
    if ats > 0 and (dots > 0 or (i < stop and data[i] >= 0x80)):
        return i, True
    return i, (digits > 3 and dots > 2) or (digits > 0 and colons > 1)


@njit(cache=True, nogil=True)
def _find_account(data: Array, i: int, start: int, end: int, classes: Array) -> int:
    """Return where, from `start`, two capitals and two digits begin, first or after a mark (IBAN:DE89); -1: nowhere."""
    for at in range(start, end - 3):
        if at > i and classes[data[at - 1]] & _ALPHANUMERIC:
            continue
        letters = classes[data[at]] & _CAPITAL and classes[data[at + 1]] & _CAPITAL
        if letters and classes[data[at + 2]] & _DIGIT and classes[data[at + 3]] & _DIGIT:
            return at
    return -1

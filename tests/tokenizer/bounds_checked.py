"""Runs every compiled kernel of the tokenizer on texts that end with their buffer; tests/test_bounds.py starts it."""

from collections.abc import Sequence

import numpy as np

from tests.checked_bounds import run_checked
from tokenizer.units import LONGEST, PAIR_BITS, Ids, Ints, Units, encode_units, load_kernels, packed, same_bytes

TEXTS = ["", "a", "ab", "a b", "é", "漢", "😀", "a😀", " ", "\n", "漢字", "ab" * 20, "x" * LONGEST, "x" * (LONGEST + 1)]


def encode_bytes(parts: Sequence[bytes]) -> tuple[Ids, Ints]:
    """Return an id a byte."""
    ids = np.frombuffer(b"".join(parts), np.uint8).astype(np.int32)
    return ids, np.cumsum([0, *map(len, parts)])


def small(cells: int, held: int, *, neighbours: bool) -> Units:
    """Return units with room for a few only, which all characters are neighbours in, or none."""
    pairs = np.full(1 << PAIR_BITS, neighbours)
    room = (np.zeros((cells, 4), np.int32), np.zeros(held, np.uint8), np.zeros(held, np.int32))
    return Units(pairs, *room, np.zeros(3, np.int64))


def run_all() -> None:
    """Encode twice with tables of all sizes, so that units are new, known, and without a place."""
    load_kernels()
    for cells, held in ((2, 1), (4, 3), (8, 16), (64, 1000)):
        for neighbours in (False, True):
            units = small(cells, held, neighbours=neighbours)
            for texts in ([], ["", ""], *([text] for text in TEXTS), TEXTS, TEXTS[::-1]):
                data, offsets = packed([text.encode() for text in texts])  # no byte after the last
                ids, bounds = encode_units(units, data, offsets, encode_bytes)
                assert ids.tolist() == data.tolist()
                assert bounds.tolist() == offsets.tolist()
    pieces = packed([bytes([byte]) for byte in range(256)])
    for text in TEXTS:
        ids, bounds = encode_bytes([text.encode()])
        assert same_bytes([text.encode()], ids, bounds, pieces)
        assert not same_bytes([text.encode() + b"a"], ids, bounds, pieces)


if __name__ == "__main__":
    run_checked(run_all)

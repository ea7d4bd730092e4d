"""Runs the kernels of the n-gram model on arrays that end where their tokens end; test_ngram.py starts it.

Numba checks bounds where NUMBA_BOUNDSCHECK is set before anything is compiled.
"""

import numpy as np
from numba import njit

from model.ngram import STRETCH, add, empty, finish, measure

SIZES = (0, 1, 2, 3, 4, 5, STRETCH - 1, STRETCH, STRETCH + 1, 2 * STRETCH, 1000)


@njit
def read(values: np.ndarray, at: int) -> int:
    """Read one value."""
    return values[at]


def main() -> None:
    """Run; an index out of bounds raises IndexError."""
    try:
        read(np.zeros(2), 2)
    except IndexError:
        print("checked")
    draw = np.random.default_rng(0)
    for bits in (0, 1, 10):
        for vocab in (1, 7):
            model = empty(2, vocab, bits=bits)
            windows = [draw.integers(0, vocab, size) for size in SIZES]
            for number, window in enumerate(windows):
                add(model, window, number % 2)
            for documents in (1, 3, len(windows)):
                owners = np.sort(draw.integers(0, documents, len(windows)))
                measure(finish(model), windows, owners, np.arange(documents))
            measure(finish(model), [], np.zeros(0, np.int64), np.zeros(2, np.int64))
    print("done")


if __name__ == "__main__":
    main()

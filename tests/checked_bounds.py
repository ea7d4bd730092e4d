"""Runs kernels with Numba's bounds checking on, for the scripts bounds_checked.py, which test_bounds.py starts."""

from collections.abc import Callable

import numpy as np
from numba import njit

from filters.characters import Array


@njit(nogil=True)
def read(values: Array, at: int) -> int:
    """Read one value."""
    return values[at]


def run_checked(work: Callable[[], None]) -> None:
    """Say that bounds are checked, do the work and say that it is done; an index out of bounds raises IndexError.

    Numba checks bounds where NUMBA_BOUNDSCHECK is set before anything is compiled.
    """
    try:
        read(np.zeros(2), 2)
    except IndexError:
        print("checked")
    work()
    print("done")

"""Settings under which torch gives the same bits again."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def deterministic(threads: int) -> Iterator[None]:
    """Use this many threads and only deterministic algorithms inside the block, then what was set before.

    Sums depend on how threads share them, so the number is part of what a result is.
    """
    threads_before, mode_before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms does the same after an import of 8 s
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        torch.set_deterministic_debug_mode(mode_before)

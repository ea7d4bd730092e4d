"""Runs the kernel that sends rows to their readers on none, few and many; tests/test_bounds.py starts it."""

import numpy as np

from dedup.clusters import EDGE
from pipeline.exchange import by_reader
from tests.checked_bounds import run_checked


def run_all() -> None:
    """Rows for all readers, for one of them, and none."""
    for count in (0, 1, 7, 1000):
        for readers in (1, 7):
            for reader in (np.arange(count) % readers, np.full(count, readers - 1)):
                by_reader(reader, np.zeros(count, EDGE), readers)


if __name__ == "__main__":
    run_checked(run_all)

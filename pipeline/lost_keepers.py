"""How many documents that would be lost are kept for duplicates, whose ids lie on disk until they meet."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import storage
from pipeline.exchange import Spill, read_every

PARTS = 256  # by the first byte of an id, which is a hash
HELD_BYTES = 64_000_000  # of each kind
ID = np.dtype("S32")  # hexadecimal


class LostKeepers:
    """Ids of lost documents, and those that duplicates name, in files of a folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lost = Spill(folder, "lost", PARTS, ID, HELD_BYTES)
        self._named = Spill(folder, "named", PARTS, ID, HELD_BYTES)

    def lose(self, ids: Sequence[str]) -> None:
        """Take ids of documents that would be lost."""
        _add(self._lost, ids)

    def name(self, ids: Sequence[str]) -> None:
        """Take the id that each of some duplicates names as what is kept for it."""
        _add(self._named, ids)

    def count(self) -> tuple[int, int]:
        """Return how many lost documents are kept for duplicates, and how many duplicates they are."""
        lost, named = (
            [storage.join(self._folder, name) for name in spill.close()] for spill in (self._lost, self._named)
        )
        keepers = duplicates = 0
        for part in range(PARTS) if lost and named else ():
            names, counts = np.unique(read_every(named, part, ID), return_counts=True)
            of_lost = counts[np.isin(names, read_every(lost, part, ID))]
            keepers += len(of_lost)
            duplicates += int(of_lost.sum())
        return keepers, duplicates


def _add(spill: Spill, ids: Sequence[str]) -> None:
    rows: npt.NDArray[Any] = np.array(ids, ID)
    spill.add(np.array([int(id_[:2], 16) for id_ in ids], np.int64), rows)

"""Where a document stands: its score, the cut of its stratum, and self-cleaning's verdict, as published.

Everything that asks how near a document is to being rejected asks here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.config import ConfigError

STAGE = "self_clean"
COLUMNS = ["id", "language", "score", "cut_score", "bits_per_byte"]


@dataclass(frozen=True, slots=True)
class Place:
    """A row group of a published file."""

    path: str
    group: int


def read_judged(output: str) -> Iterator[tuple[Place, pa.Table]]:
    """Yield the published documents that self-cleaning judged, a row group at a time, and where they are.

    Columns: row (in the row group), id, language, rejected, read, score, cut. What no TransNormer has `read` is never
    rejected. Score and cut are finite: whose stratum was too small for a cut is left out. Raises ConfigError where
    either folder is gone: a run writes both, whatever it rejects.
    """
    for kind in ("documents", "rejected"):
        folder = storage.join(output, kind)
        names = [name for name in storage.names(folder) if name.endswith(".parquet")]
        if not names:
            raise ConfigError(f"{folder} is gone; what self-cleaning did is read from the documents kept and rejected")
        for name in names:
            yield from _read_file(storage.join(folder, name))


def _read_file(path: str) -> Iterator[tuple[Place, pa.Table]]:
    with storage.open_input(path) as file:
        parquet = pq.ParquetFile(file, pre_buffer=False)
        names = parquet.schema_arrow.names
        if "cut_score" not in names:
            return  # a run without rounds
        stage = ["stage"] if "stage" in names else []
        for group in range(parquet.num_row_groups):
            table = _judged(parquet.read_row_group(group, columns=[*COLUMNS, *stage]))
            if len(table):
                yield Place(path, group), table


def _judged(table: pa.Table) -> pa.Table:
    """Return the rows of a row group that self-cleaning kept or rejected by their score."""
    score, cut = (_numbers(table[name]) for name in ("score", "cut_score"))
    there = np.isfinite(score) & np.isfinite(cut)
    rejected = np.zeros(len(table), bool)
    if "stage" in table.column_names:
        rejected = np.asarray(pc.fill_null(pc.equal(table["stage"], STAGE), False))
        there &= rejected
    rows = np.flatnonzero(there)
    return pa.table(
        {
            "row": rows,
            "id": table["id"].take(pa.array(rows)),
            "language": table["language"].take(pa.array(rows)),
            "rejected": rejected[rows],
            "read": np.isfinite(_numbers(table["bits_per_byte"]))[rows],
            "score": score[rows],
            "cut": cut[rows],
        }
    )


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    return np.asarray(pc.cast(column, pa.float64()), np.float64)

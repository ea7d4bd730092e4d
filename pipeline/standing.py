"""Where a document stands: its score, the cut of its stratum, and self-cleaning's verdict, as published.

Everything that asks how near a document is to being rejected asks here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.config import ConfigError
from pipeline.self_clean.scores import length_class

Floats = npt.NDArray[np.float64]
Cuts = Mapping[str, tuple[float, float]]  # stratum -> low and high cut of the round that counts
STAGE = "self_clean"
COMBINED = ("score", "cut")
SEPARATE = ("shrunk_bits_per_byte", "text")


@dataclass(frozen=True, slots=True)
class Place:
    """A row group of a published file."""

    path: str
    group: int


def standing(table: pa.Table, cuts: Cuts) -> tuple[Floats, Floats]:
    """Return each document's score (higher: more unlike good text) and the cut of its stratum; NaN where not judged.

    Where only shrunk bits per byte are published, both tails make one score: a value below the middle of its stratum's
    two cuts is mirrored in it, so that what goes lies above the upper cut either way. The stratum then follows from the
    length of the text, which must be stored whole.
    """
    if all(name in table.column_names for name in COMBINED):
        score, cut = (_numbers(table[name]) for name in COMBINED)
        return score, np.where(np.isnan(score), np.nan, cut)
    value = _numbers(table["shrunk_bits_per_byte"])
    low, high = _cuts_of(table, cuts)
    both = np.isfinite(low) & np.isfinite(high)
    mirrored = np.maximum(value, np.where(both, low, 0) + np.where(both, high, 0) - value)
    score = np.where(both, mirrored, np.where(np.isfinite(high), value, -value))
    cut = np.where(np.isfinite(high), high, np.where(np.isfinite(low), -low, np.nan))
    judged = np.isfinite(value) & np.isfinite(cut)
    return np.where(judged, np.round(score, 4), np.nan), np.where(judged, np.round(cut, 4), np.nan)


def finished_cuts(output: str) -> Cuts:
    """Return the cuts of a finished run; raises ConfigError for what is none."""
    if not storage.exists(storage.join(output, "_SUCCESS")):
        raise ConfigError(f"{output} is not the output folder of a finished run")
    path = storage.join(output, "report.json")
    return last_cuts(storage.read_json(path)["rounds"] if storage.exists(path) else [])


def last_cuts(rounds: Sequence[Mapping[str, Any]]) -> Cuts:
    """Return the cuts of the round that counts, from the facts of all rounds as the report has them."""
    accepted = [one for one in rounds if one["accepted"]]
    found = accepted[-1]["cuts"] if accepted else {}
    return {
        stratum: (-np.inf if low is None else low, np.inf if high is None else high)
        for stratum, (low, high) in found.items()
    }


def read_judged(output: str, cuts: Cuts) -> Iterator[tuple[Place, pa.Table]]:
    """Yield the published documents that self-cleaning judged, a row group at a time, and where they are.

    Columns: row (in the row group), id, language, rejected, score, cut.
    """
    for kind in ("documents", "rejected"):
        folder = storage.join(output, kind)
        for name in storage.names(folder):
            if name.endswith(".parquet"):
                yield from _read_file(storage.join(folder, name), cuts)


def _read_file(path: str, cuts: Cuts) -> Iterator[tuple[Place, pa.Table]]:
    with storage.open_input(path) as file:
        parquet = pq.ParquetFile(file, pre_buffer=False)
        names = parquet.schema_arrow.names
        measured = COMBINED if all(name in names for name in COMBINED) else SEPARATE
        for group in range(parquet.num_row_groups):
            rejected = "stage" in names
            if rejected and not _self_cleaned(parquet.read_row_group(group, columns=["stage"])).any():
                continue
            wanted = ["id", "language", *measured, *(["stage"] if rejected else [])]
            table = _judged(parquet.read_row_group(group, columns=wanted), cuts)
            if len(table):
                yield Place(path, group), table


def _self_cleaned(table: pa.Table) -> npt.NDArray[np.bool_]:
    if "stage" not in table.column_names:
        return np.zeros(len(table), bool)
    return np.asarray(pc.fill_null(pc.equal(table["stage"], STAGE), False))


def _judged(table: pa.Table, cuts: Cuts) -> pa.Table:
    """Return the rows of a row group that self-cleaning kept or rejected by their score."""
    rejected = _self_cleaned(table)
    score, cut = standing(table, cuts)
    there = np.isfinite(score) & np.isfinite(cut) & (rejected | ("stage" not in table.column_names))
    rows = np.flatnonzero(there)
    return pa.table(
        {
            "row": rows,
            "id": table["id"].take(pa.array(rows)),
            "language": table["language"].take(pa.array(rows)),
            "rejected": rejected[rows],
            "score": score[rows],
            "cut": cut[rows],
        }
    )


def _cuts_of(table: pa.Table, cuts: Cuts) -> tuple[Floats, Floats]:
    """Return the low and the high cut of each document's language and length class."""
    sizes = np.nan_to_num(_numbers(pc.binary_length(table["text"]))).astype(np.int64)
    strata = [
        f"{name} {number}" for name, number in zip(table["language"].to_pylist(), length_class(sizes), strict=True)
    ]
    found = [cuts.get(stratum, (-np.inf, np.inf)) for stratum in strata]
    return np.array([low for low, _ in found], np.float64), np.array([high for _, high in found], np.float64)


def _numbers(column: pa.ChunkedArray) -> Floats:
    return np.asarray(pc.cast(column, pa.float64()), np.float64)

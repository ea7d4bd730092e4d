"""Sidecars: what a later stage decided about the rows of a document shard, row by row; the text is not rewritten."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.document import VERDICT, read_batches, read_table
from pipeline.shards import DocumentShard
from pipeline.storage import join

SIDECAR = pa.schema([pa.field("rejected", pa.bool_()), *[f for f in VERDICT if f.name != "stage"]])


def sidecar_path(folder: str, shard: DocumentShard) -> str:
    """Return where a stage keeps its verdicts about a shard."""
    return join(folder, "verdicts", shard.name + ".parquet")


def kept_mask(shard: DocumentShard, folders: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which rows of a shard no stage in `folders` rejected (rows)."""
    kept = np.ones(shard.rows, bool)
    for folder in folders:
        kept &= ~read_table(sidecar_path(folder, shard), ["rejected"])["rejected"].to_numpy()
    return kept


def read_kept(
    shard: DocumentShard, folders: Sequence[str], columns: Sequence[str]
) -> Iterator[tuple[npt.NDArray[np.int64], pa.Table]]:
    """Yield (rows in the shard, their documents) of what the sidecars leave, a row group at a time."""
    kept, start = kept_mask(shard, folders), 0
    for batch in read_batches(shard.path("documents"), columns):
        rows = np.flatnonzero(kept[start : start + len(batch)])
        yield rows + start, batch.take(pa.array(rows))
        start += len(batch)

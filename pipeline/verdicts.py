"""Sidecars: what a later stage decided about the rows of a document shard, row by row; the text is not rewritten."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dedup.lines import without
from filters.arrow_text import text_array, text_buffers
from pipeline import storage
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
    cut = read_cuts(shard, folders) if "text" in columns else None
    for batch in read_batches(shard.path("documents"), columns):
        rows = np.flatnonzero(kept[start : start + len(batch)])
        taken = batch.take(pa.array(rows))
        yield rows + start, taken if cut is None else without_spans(taken, cut.take(pa.array(rows + start)))
        start += len(batch)


def read_cuts(shard: DocumentShard, folders: Sequence[str]) -> pa.ListArray | None:
    """Return the spans that are cut from each row's text, as start and end in turn, in bytes; None where none are."""
    for folder in folders:
        with storage.open_input(sidecar_path(folder, shard)) as file:
            parquet = pq.ParquetFile(file, pre_buffer=False)
            if "cut" in parquet.schema_arrow.names:
                column = parquet.read(columns=["cut"], use_threads=False)["cut"].combine_chunks()
                return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    return None


def without_spans(documents: pa.Table, cut: pa.ListArray) -> pa.Table:
    """Return documents whose texts lack the spans of their rows."""
    values = np.asarray(cut.values, np.int64)
    first = np.asarray(cut.offsets, np.int64) // 2
    if not len(documents) or first[0] == first[-1]:
        return documents
    texts = documents["text"].combine_chunks()
    offsets, data = text_buffers(texts.chunk(0) if isinstance(texts, pa.ChunkedArray) else texts)
    bounds, left = without(offsets, data, first, values[0::2], values[1::2])
    at = documents.schema.get_field_index("text")
    return documents.set_column(at, "text", text_array(np.asarray(bounds, np.int64), np.asarray(left, np.uint8)))

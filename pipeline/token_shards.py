"""Token shards: Arrow IPC files of documents as tokens, and the index beside them."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import storage
from tokenizer.encode import Tokenizer

BATCH_ROWS = 4096


def token_schema(dtype: type[np.unsignedinteger]) -> pa.Schema:
    """Return the columns of a token shard."""
    tokens = pa.list_(pa.from_numpy_dtype(dtype))
    return pa.schema([("id", pa.string()), ("source", pa.string()), ("language", pa.string()), ("tokens", tokens)])


def token_column(
    encoded: Sequence[npt.NDArray[np.unsignedinteger]], tokenizer: Tokenizer
) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Return documents as a list column, each ended by the end-of-document token, and their lengths with it."""
    end = np.array([tokenizer.end_of_document], tokenizer.dtype)
    lengths = np.array([len(ids) + 1 for ids in encoded], np.int64)
    flat = np.concatenate([part for ids in encoded for part in (ids, end)]) if len(encoded) else end[:0]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, pa.from_numpy_dtype(tokenizer.dtype))), lengths


def write_arrow(path: str, tables: Sequence[pa.Table], schema: pa.Schema) -> str:
    """Write an Arrow IPC file; return its sha256. A shard is of bounded size, so it is held while it is hashed."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        for table in tables:
            writer.write_table(table, max_chunksize=BATCH_ROWS)
    buffer = sink.getvalue()
    with storage.create(path) as file:
        file.write(buffer)
    return sha256(buffer).hexdigest()


def index_table(tokenizer: Tokenizer, checksum: str, shards: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return index.json: what the ids mean and what is in each shard."""
    return {
        "format": "lustrate token shards 1",
        "dtype": np.dtype(tokenizer.dtype).name,
        "vocab_size": tokenizer.vocab_size,
        "eos": tokenizer.end_of_document,
        "special_ids": tokenizer.special_ids,
        "tokenizer_sha256": checksum,
        "documents": sum(shard["documents"] for shard in shards),
        "tokens": sum(shard["tokens"] for shard in shards),
        "shards": list(shards),
    }

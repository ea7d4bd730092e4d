"""Signature shards: what dedup and the folds need of a document instead of its text."""

from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dedup.signatures import signatures
from filters.words import split_words
from pipeline.config import Deduplicate
from pipeline.document import read_table

HASH_WORDS = 4  # the exact hash, 128 bits as four uint32 after the MinHash values


def signature_schema(count: int) -> pa.Schema:
    """Return the columns of a signature shard: id, host, bytes of text, exact hash and signature as one binary."""
    width = 4 * (count + HASH_WORDS)
    return pa.schema(
        [("id", pa.string()), ("host", pa.string()), ("bytes", pa.int64()), ("signature", pa.binary(width))]
    )


def sign(kept: pa.Table, settings: Deduplicate) -> pa.Table:
    """Return the signatures of kept documents: MinHash values, then the 128-bit hash of the text, as uint32."""
    texts = kept["text"].combine_chunks()
    words = split_words(texts)
    count = settings.bands * settings.rows
    scheme = {"shingle_words": settings.shingle_words, "count": count, "seed": settings.seed}
    values = signatures(words.data, words.first, words.start, words.end, **scheme)
    encoded = [text.encode() for text in texts.to_pylist()]
    hashes = b"".join(blake2b(text, digest_size=4 * HASH_WORDS).digest() for text in encoded)
    exact = np.frombuffer(hashes, np.uint32).reshape(len(kept), HASH_WORDS)
    rows = np.ascontiguousarray(np.concatenate([values, exact], axis=1))
    packed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(rows.shape[1] * 4), len(kept), [None, pa.py_buffer(rows)])
    columns = [kept["id"], kept["host"], pa.array([len(text) for text in encoded]), packed]
    return pa.table(columns, names=["id", "host", "bytes", "signature"])


def read_signatures(path: str) -> tuple[pa.Table, npt.NDArray[np.uint32]]:
    """Return a signature shard and its rows of MinHash values and exact hash (documents, count + HASH_WORDS)."""
    table = read_table(path)
    column = table["signature"].combine_chunks()
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    width = column.type.byte_width // 4
    rows = np.frombuffer(column.buffers()[1] or b"", np.uint32)
    return table, rows.reshape(-1, width)[column.offset : column.offset + len(column)]

"""Signature shards: what dedup and the folds need of a document instead of its text."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dedup.jaccard import normalised_hashes
from dedup.signatures import signatures, word_table
from filters.arrow_text import text_buffers
from filters.characters import COMBINING, SPACE, SPACELESS, WORD_SPACE, character_classes
from filters.words import split_words
from pipeline import storage
from pipeline.config import Deduplicate
from pipeline.document import read_table
from pipeline.shards import DocumentShard

VERSION = 3
HASH_WORDS = 4  # an exact hash: 128 bits as four uint32 after the MinHash values; zeros where there is none
SCHEME = b"lustrate"  # key of the schema's metadata under which the signatures' settings are
_URL_HEAD = re.compile(r"^[a-z][a-z0-9+.-]*://(www\.)?", re.IGNORECASE)
_TRACKING = re.compile(r"\?(?:utm_|ref|feed).*", re.DOTALL)

Array = npt.NDArray[Any]


def scheme(settings: Deduplicate) -> dict[str, Any]:
    """Return what must be equal for two runs' signatures to be compared."""
    names = ("seed", "shingle_words")
    return {**{name: getattr(settings, name) for name in names}, "values": settings.count, "exact": settings.exact}


def signature_schema(settings: Deduplicate) -> pa.Schema:
    """Return the columns of a signature shard: id, host, bytes of text, signature and exact hashes as one binary."""
    width = 4 * (settings.count + HASH_WORDS * len(settings.exact))
    return pa.schema(
        [("id", pa.string()), ("host", pa.string()), ("bytes", pa.int64()), ("signature", pa.binary(width))],
        metadata={SCHEME: orjson.dumps({**scheme(settings), "version": VERSION}, option=orjson.OPT_SORT_KEYS)},
    )


def read_scheme(path: str) -> dict[str, Any]:
    """Return the settings that a signature shard was made with, and the version; empty when it does not say."""
    with storage.open_input(path) as file:
        metadata = pq.read_schema(file).metadata or {}
    return dict(orjson.loads(metadata.get(SCHEME, b"{}")))


def sign(kept: pa.Table, settings: Deduplicate) -> pa.Table:
    """Return the signatures of kept documents: MinHash values, then a 128-bit hash for each exact key, as uint32."""
    texts = kept["text"].combine_chunks()
    offsets, data = text_buffers(texts)
    shingles = {"shingle_words": settings.shingle_words, "count": settings.count, "seed": settings.seed}
    parts = [signatures(offsets, data, words_table(), **shingles)]
    for name in settings.exact:
        if name == "normalised":
            words = split_words(texts)
            parts.append(normalised_hashes(words.data, words.first, words.start, words.end))
        elif name == "url":
            parts.append(_digests([normal_url(url) for url in kept["url"].to_pylist()]))
        else:
            parts.append(_digests(texts.to_pylist(), empty=True))
    rows = np.ascontiguousarray(np.concatenate(parts, axis=1))
    packed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(rows.shape[1] * 4), len(kept), [None, pa.py_buffer(rows)])
    sizes = pc.binary_length(texts).cast(pa.int64())
    return pa.table([kept["id"], kept["host"], sizes, packed], names=["id", "host", "bytes", "signature"])


@cache
def words_table() -> npt.NDArray[np.uint32]:
    """Return the word definition of filters.words as the table that signatures cut words by."""
    classes = character_classes()
    separates = classes & (SPACE | WORD_SPACE) != 0
    return word_table(separates, classes & SPACELESS != 0, classes & COMBINING != 0)


def _digests(values: Sequence[str], *, empty: bool = False) -> Array:
    """Return 128 bits of each string (n, 4); zeros for an empty one unless it counts."""
    none = bytes(4 * HASH_WORDS)
    found = [blake2b(v.encode(), digest_size=4 * HASH_WORDS).digest() if v or empty else none for v in values]
    return np.frombuffer(b"".join(found), np.uint32).reshape(len(values), HASH_WORDS)


def normal_url(url: str | None) -> str:
    """Return a URL without scheme, `www.`, where its reader came from, and slash at the end.

    As TFDS (text/c4_utils.py, normalize_url), which lets the fragment and a host's capitals stand, and removes
    `https://www.` wherever it stands.
    """
    whole = _TRACKING.sub("", _URL_HEAD.sub("", (url or "").partition("#")[0]))
    host, slash, path = whole.partition("/")
    return (host.lower() + slash + path).rstrip("/")


def read_signatures(path: str) -> tuple[pa.Table, npt.NDArray[np.uint32]]:
    """Return a signature shard and its rows of MinHash values and exact hashes (documents, values)."""
    table = read_table(path)
    return table, signature_values(table["signature"])


def signature_values(column: pa.ChunkedArray) -> npt.NDArray[np.uint32]:
    """Return a column of signatures as numbers (documents, values)."""
    width = column.type.byte_width // 4
    whole = column.combine_chunks()
    whole = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
    rows = np.frombuffer(whole.buffers()[1] or b"", np.uint32)
    return rows.reshape(-1, width)[whole.offset : whole.offset + len(whole)]


def id_words(ids: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Return the 128 bits of hex ids as two numbers each, in their order (n, 2)."""
    whole = ids.combine_chunks()
    offsets, data = text_buffers(whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole)
    digits = bytes.fromhex(data[offsets[0] : offsets[-1]].tobytes().decode())
    return np.frombuffer(digits, ">u8").astype(np.uint64).reshape(-1, 2)


def take_signatures(shards: Sequence[DocumentShard], numbers: Array, width: int) -> npt.NDArray[np.uint32]:
    """Return the rows of documents by number, sorted; only row groups that hold one are read (n, width)."""
    parts = [np.empty((0, width), np.uint32)]
    for rows, table in take_rows(shards, numbers, "signatures", ["signature"]):
        parts.append(signature_values(table["signature"])[rows])
    return np.concatenate(parts)


def take_texts(shards: Sequence[DocumentShard], numbers: Array) -> Iterator[pa.Array]:
    """Yield the texts of documents by number, sorted, a row group's at a time."""
    for rows, table in take_rows(shards, numbers, "documents", ["text"]):
        texts = table["text"].take(pa.array(rows)).combine_chunks()
        yield texts.chunk(0) if isinstance(texts, pa.ChunkedArray) else texts


def take_rows(
    shards: Sequence[DocumentShard], numbers: Array, kind: str, columns: Sequence[str]
) -> Iterator[tuple[Array, pa.Table]]:
    """Yield (rows, row group) of the row groups that hold documents of these numbers, sorted."""
    for shard in shards:
        wanted = numbers[np.searchsorted(numbers, shard.first) : np.searchsorted(numbers, shard.first + shard.rows)]
        if len(wanted):
            yield from _take_rows(shard.path(kind), wanted - shard.first, columns)


def _take_rows(path: str, wanted: Array, columns: Sequence[str]) -> Iterator[tuple[Array, pa.Table]]:
    with storage.open_input(path) as file:
        parquet = pq.ParquetFile(file, pre_buffer=False)
        start = 0
        for group in range(parquet.num_row_groups):
            stop = start + parquet.metadata.row_group(group).num_rows
            rows = wanted[np.searchsorted(wanted, start) : np.searchsorted(wanted, stop)] - start
            if len(rows):
                yield rows, parquet.read_row_group(group, columns=list(columns), use_threads=False)
            start = stop

"""Builders of small token shards for the tests."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
from pyarrow import ipc

EOS = 2
VOCABULARY = 64


def documents(count: int, seed: int = 0, longest: int = 60) -> list[np.ndarray]:
    """Draw documents that are walks through the vocabulary, each ending with EOS: easy to learn."""
    rng = np.random.default_rng(seed)
    walks = [
        rng.integers(3, VOCABULARY) + rng.choice([1, 1, 1, 2], rng.integers(0, longest)).cumsum() for _ in range(count)
    ]
    return [np.append(3 + walk % (VOCABULARY - 3), EOS) for walk in walks]


def write_shards(folder: Path, shards: Sequence[tuple[str, Sequence[np.ndarray]]], dtype: str = "uint16") -> Path:
    """Write (split, documents) as one shard each, in batches of 7 documents, with their index."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, (split, texts) in enumerate(shards):
        path = f"{split}-{number:05d}.arrow"
        tokens = pa.array([text.tolist() for text in texts], pa.list_(pa.from_numpy_dtype(np.dtype(dtype))))
        ids = pa.array([f"{number}-{row}" for row in range(len(texts))])
        table = pa.table({"id": ids, "source": ids, "language": ids, "tokens": tokens})
        with ipc.new_file(folder / path, table.schema) as writer:
            writer.write_table(table, max_chunksize=7)
        count, digest = sum(len(text) for text in texts), sha256((folder / path).read_bytes()).hexdigest()
        entries.append({"path": path, "split": split, "documents": len(texts), "tokens": count, "sha256": digest})
    index = {"dtype": dtype, "vocab_size": VOCABULARY, "eos": EOS, "shards": entries}
    (folder / "index.json").write_bytes(orjson.dumps(index))
    return folder

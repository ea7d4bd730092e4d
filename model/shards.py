"""Token shards on disk: the index beside them and the documents in them, without importing torch.

A shard is an Arrow IPC file with the columns id, source, language and tokens: list<uint16 | uint32>; the last
token of a document is the end-of-document token. index.json says which shards there are and what the ids
mean. Names are the same in every result of a run that is republished: a checksum says whose a shard is.
"""

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
from pyarrow import ipc

TYPES = {"uint16": pa.uint16(), "uint32": pa.uint32()}


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One line of the index."""

    path: str  # relative to the index
    split: str  # train or validation
    documents: int
    tokens: int
    sha256: str  # of the file


@dataclass(frozen=True, slots=True)
class Index:
    """What index.json says."""

    folder: Path
    dtype: str
    vocab_size: int
    eos: int
    shards: tuple[ShardEntry, ...]
    fingerprint: str  # SHA-256 of the file: it covers the checksum of every shard
    tokenizer: str  # SHA-256 of the tokenizer's file; empty where the index does not say

    def split(self, name: str) -> tuple[ShardEntry, ...]:
        """Return the shards of a split that hold documents; none is no error."""
        return tuple(shard for shard in self.shards if shard.split == name and shard.documents)


def read_index(folder: str | Path) -> Index:
    """Read folder/index.json. Raises FileNotFoundError or ValueError with one plain line."""
    path = Path(folder) / "index.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: is {folder} the shards/ folder of a finished run?")
    content = path.read_bytes()
    try:
        index = orjson.loads(content)
        shards = tuple(
            ShardEntry(**{key.name: shard[key.name] for key in fields(ShardEntry)}) for shard in index["shards"]
        )
        sizes = index["dtype"], index["vocab_size"], index["eos"]
        found = Index(path.parent, *sizes, shards, _digest(content), index.get("tokenizer_sha256", ""))
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    except KeyError as error:
        raise ValueError(f"{path} lacks the key {error}") from None
    except (AttributeError, TypeError):
        raise ValueError(f"{path} is not the index of token shards") from None
    if found.dtype not in TYPES:
        raise ValueError(f"{path}: dtype must be one of {', '.join(TYPES)}, got {found.dtype!r}")
    return found


def _digest(content: bytes | pa.Buffer) -> str:
    return hashlib.sha256(content).hexdigest()


def _array(values: pa.Array) -> np.ndarray:
    """View integers without nulls as NumPy does; `to_numpy` would first import pandas, for seconds."""
    return np.from_dlpack(values)


class Shard:
    """The documents of one shard as arrays over the mapped file, which is read once for its checksum.

    Who replaces the file under its name later leaves the mapped one as it is.
    """

    def __init__(self, index: Index, entry: ShardEntry) -> None:
        path = index.folder / entry.path
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist, but index.json lists it")
        self._path, self._pieces = path, index.vocab_size
        try:
            content = pa.memory_map(str(path)).read_buffer()
            same = _digest(content) == entry.sha256
            reader = ipc.open_file(content)
            batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        except (pa.ArrowInvalid, OSError) as error:
            raise ValueError(f"{path} is damaged: {error}") from None
        if not same:
            raise ValueError(f"{path} is damaged, or of a later result than the index.json that was read")
        kind, expected = reader.schema.field("tokens").type, pa.list_(TYPES[index.dtype])
        if kind != expected:
            raise ValueError(f"{path}: tokens must be {expected} as index.json says, got {kind}")
        lists = [batch.column("tokens") for batch in batches]
        self._bounds = [_array(part.offsets) for part in lists]
        self._values = [_array(part.values) for part in lists]
        self._ends = np.cumsum([len(part) for part in lists], dtype=np.int64)
        if len(self) != entry.documents:
            raise ValueError(f"{path} holds {len(self)} documents, index.json says {entry.documents}")

    def __len__(self) -> int:
        """Return the number of documents."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def document(self, number: int) -> np.ndarray:
        """Return the tokens of a document, in the shard's dtype, as a view of the file.

        Raises ValueError for tokens that the vocabulary does not have.
        """
        part = int(np.searchsorted(self._ends, number, side="right"))
        row = number - (int(self._ends[part - 1]) if part else 0)
        start, stop = self._bounds[part][row : row + 2]
        tokens: np.ndarray = self._values[part][start:stop]
        if len(tokens) and tokens.max() >= self._pieces:
            raise ValueError(f"{self._path} is damaged: token {tokens.max()} of document {number} is no piece")
        return tokens

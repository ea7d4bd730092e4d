"""The torch dataset over token shards: documents packed into rows of one length, shuffled, split, resumable.

An epoch is a stream: the documents in shuffled order, one after the other, with an end-of-document token
before the first. Row r predicts tokens r N .. r N + N - 1 of the stream, each from those before it in its
document and row. So an end-of-document token is the last thing predicted of a document and the first thing
read of the next: what a model sees first in training is what it sees first in scoring.
"""

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from model.shards import Index, Shard, ShardEntry, read_index

IGNORED = -100  # target of padding; what torch's own losses ignore by default
Row = dict[str, Tensor]


class Consumer(NamedTuple):
    """One of the processes that share a split's documents: a loader worker of a rank."""

    number: int  # among all ranks' workers
    total: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a consumer's stream: where its next row starts."""

    epoch: int = 0
    shard: int = 0  # ordinal in the epoch's order
    document: int = 0  # ordinal among the consumer's documents in that shard
    offset: int = 0  # token in that document
    previous: int = 0  # token before that, if it is the same document's


class Span(NamedTuple):
    """Consecutive tokens of one document in a row."""

    tokens: np.ndarray
    begins: bool  # whether the first of them is the first of the document


class PackedTokens(IterableDataset[Row]):
    """Rows of `context_length` tokens from a split of the shards, for one of `world_size` ranks.

    Yields dicts of int64 tensors (context_length,): `tokens`; `targets`, the next token, or -100 where the
    last row of an epoch is padded; `positions`, the place of each token in its sequence, 0 where attention
    starts afresh; and `cursor` (7,), for `advance`. In an epoch each document goes to exactly one consumer.
    Endless unless `epochs` is given; iterating goes on from the state, a new object starts over. Shards are
    mapped and checked against the index, and memory holds the order of one shard. Raises FileNotFoundError or
    ValueError for unusable shards, and for those of another result than the index.

    `state_dict` covers the rows that this copy has yielded. With loader workers the copies that yield are in
    other processes: call `advance(batch["cursor"])` for each batch used. Then the state covers the rows used,
    whatever was read ahead, and a loader with as many workers goes on with the very next batch.
    """

    def __init__(
        self,
        shards: str | Path | Index,
        *,
        split: str = "train",
        context_length: int = 512,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        epochs: int | None = None,
        shuffle: bool = True,
    ) -> None:
        super().__init__()
        index = shards if isinstance(shards, Index) else read_index(shards)
        self._documents = _Documents(index, index.split(split), seed if shuffle else None)
        self._length, self._epochs = context_length, epochs
        self._rank, self._world_size = rank, world_size
        self._cursors: dict[int, Cursor] = {}  # by worker
        self._workers = self._next = 0  # workers that the cursors belong to, and whose turn it is
        self._identity = {
            "fingerprint": index.fingerprint,
            "split": split,
            "context_length": context_length,
            "seed": self._documents.seed,
            "rank": rank,
            "world_size": world_size,
        }
        if not self._documents.entries:
            raise ValueError(f"{index.folder}: no shard of the split {split!r} holds a document")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be from 0 to world_size - 1 = {world_size - 1}, got {rank}")

    def __iter__(self) -> Iterator[Row]:
        """Yield this process's rows from its cursor on."""
        info = get_worker_info()
        workers = 1 if info is None else info.num_workers
        worker = 0 if info is None else (info.id + self._next) % workers
        if self._workers not in {0, workers}:
            raise ValueError(f"the state is of {self._workers} loader workers, this loader has {workers}")
        consumer = Consumer(self._rank * workers + worker, self._world_size * workers)
        if self._documents.count < consumer.total:
            raise ValueError(f"{self._documents.count} documents are too few for {consumer.total} consumers")
        yield from self._rows(self._cursors.get(worker, Cursor()), consumer, [workers, worker])

    def _rows(self, cursor: Cursor, consumer: Consumer, who: list[int]) -> Iterator[Row]:
        while self._epochs is None or cursor.epoch < self._epochs:
            epoch = cursor.epoch
            for spans, after in self._documents.rows(cursor, consumer, self._length):
                row = _row(spans, cursor.previous, self._documents.eos, self._length)
                row["cursor"] = torch.tensor([*who, *astuple(after)])
                self.advance(row["cursor"])
                yield row
                cursor = after
            cursor = Cursor(epoch + 1)

    def advance(self, cursor: Tensor) -> None:
        """Record that rows were used: their `cursor`, (7,) or (B, 7), in the order the loader gave them."""
        for workers, worker, *place in cursor.view(-1, 7).tolist():
            self._cursors[worker] = Cursor(*place)
            self._workers, self._next = workers, (worker + 1) % workers

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values that survive JSON."""
        cursors = [[worker, *astuple(cursor)] for worker, cursor in sorted(self._cursors.items())]
        return {**self._identity, "workers": self._workers, "next": self._next, "cursors": cursors}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state; raises ValueError if it is of other shards or another seed, rank or length."""
        for name, value in self._identity.items():
            if state[name] != value:
                raise ValueError(f"the state has {name} = {state[name]!r}, this dataset {value!r}")
        self._workers, self._next = state["workers"], state["next"]
        self._cursors = {worker: Cursor(*place) for worker, *place in state["cursors"]}


class _Documents:
    """The documents of a split in the order of each epoch."""

    def __init__(self, index: Index, entries: tuple[ShardEntry, ...], seed: int | None) -> None:
        self.entries, self.seed, self.eos = entries, seed, index.eos
        self.count = sum(entry.documents for entry in entries)
        self._index = index

    def rows(self, start: Cursor, consumer: Consumer, length: int) -> Iterator[tuple[list[Span], Cursor]]:
        """Cut the rest of a consumer's epoch into rows, each with the place after it."""
        spans: list[Span] = []
        missing = length
        for shard, document, tokens in self._from(start, consumer):
            resumed = (shard, document) == (start.shard, start.document)
            offset = start.offset if resumed else 0
            while offset < len(tokens):
                piece = tokens[offset : offset + missing]
                spans.append(Span(piece, offset == 0))
                offset += len(piece)
                missing -= len(piece)
                if not missing:
                    yield spans, Cursor(start.epoch, shard, document, offset, int(piece[-1]))
                    spans, missing = [], length
        if spans:
            yield spans, Cursor(start.epoch + 1)

    def _from(self, start: Cursor, consumer: Consumer) -> Iterator[tuple[int, int, np.ndarray]]:
        before = 0  # documents in the shards passed: the turn of the consumers goes on from shard to shard
        for ordinal, number in enumerate(self._order(len(self.entries), start.epoch)):
            entry = self.entries[number]
            if ordinal >= start.shard:
                order = self._order(entry.documents, start.epoch, number)
                mine = order[(consumer.number - before) % consumer.total :: consumer.total]
                first = start.document if ordinal == start.shard else 0
                shard = Shard(self._index, entry)
                for place in range(first, len(mine)):
                    yield ordinal, place, shard.document(int(mine[place]))
            before += entry.documents

    def _order(self, count: int, *key: int) -> np.ndarray:
        if self.seed is None:
            return np.arange(count)
        return np.random.default_rng([self.seed, *map(int, key)]).permutation(count)


def _row(spans: list[Span], previous: int, eos: int, length: int) -> Row:
    sizes = [len(span.tokens) for span in spans]
    filled, padding = sum(sizes), length - sum(sizes)
    targets = np.full(length, IGNORED, dtype=np.int64)
    targets[:filled] = np.concatenate([span.tokens for span in spans])
    tokens = np.roll(targets, 1)
    tokens[0] = previous
    tokens[filled:] = eos
    starts = np.cumsum([0, *sizes[:-1]])
    tokens[[start for start, span in zip(starts, spans, strict=True) if span.begins]] = eos
    positions = np.concatenate([np.arange(size) for size in (*sizes, padding)])
    return {
        name: torch.from_numpy(x) for name, x in (("tokens", tokens), ("targets", targets), ("positions", positions))
    }

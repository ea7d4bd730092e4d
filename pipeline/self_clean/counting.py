"""Counting: the n-gram models, one a fold, each from documents of the other folds only."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from model import ngram
from pipeline import storage
from pipeline.self_clean.evaluators import load_tokenizer
from pipeline.self_clean.judges import COUNTS, MOST_BITS, write_counts

VERSION = 3
FEWEST_BITS = 14  # of a table's cells


@dataclass(frozen=True, slots=True)
class CountTask:
    """One n-gram model to count."""

    key: str  # fold-K, or rejects
    paths: tuple[str, ...]  # token shards that hold something
    languages: tuple[str, ...]  # that are counted
    tokens: int


@dataclass(frozen=True, slots=True)
class CountNgrams:
    """Work that counts one n-gram model; memory holds its tables and one token shard."""

    folder: str
    tokenizer: str

    def __call__(self, task: CountTask) -> dict[str, Any]:
        """Write the counts; return the record."""
        numbers = {name: number for number, name in enumerate(task.languages)}
        bits = min(MOST_BITS, max(FEWEST_BITS, task.tokens.bit_length()))
        tables = ngram.empty(len(numbers), load_tokenizer(self.tokenizer).vocab_size, bits=bits)
        for language, tokens in _documents(task.paths):
            if language in numbers:
                ngram.add(tables, tokens, numbers[language])
        path = storage.join(self.folder, task.key, COUNTS)
        size = write_counts(path, ngram.finish(tables), list(task.languages))
        return {"tokens": task.tokens, "bytes": size, "note": f"{task.key}: {task.tokens:,} tokens counted"}


def _documents(paths: tuple[str, ...]) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """Yield the language and the tokens of documents, without the end-of-document token."""
    for path in paths:
        with storage.open_input(path) as file:
            table = pa.ipc.open_file(file).read_all()
        for batch in table.to_batches():
            lists = batch["tokens"]
            values = np.asarray(lists.values, np.int64)
            offsets = np.asarray(lists.offsets, np.int64)
            for row, language in enumerate(batch["language"].to_pylist()):
                yield language, values[offsets[row] : offsets[row + 1] - 1]

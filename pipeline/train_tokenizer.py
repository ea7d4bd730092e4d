"""Train tokenizers on a deterministic sample: the published one, and the evaluators' small one."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.document import read_table, write_table
from pipeline.draw import uniform
from pipeline.needs import Needs
from pipeline.shards import DocumentShard
from pipeline.tally import text_bytes
from pipeline.verdicts import read_kept
from tokenizer.encode import Tokenizer
from tokenizer.train import train

VERSION = 4
SAMPLE_MEMORY = 15  # bytes for a byte of the sample; SentencePiece takes 12 (264 MB for 10 MB, 739 for 50)
SAMPLE_COLUMNS = ("id", "text")


@dataclass(frozen=True, slots=True)
class SampleTexts:
    """Work on one document shard: the kept texts whose draw is below the rate."""

    folder: str
    verdicts: tuple[str, ...]
    rate: float
    seed: int

    def __call__(self, shard: DocumentShard) -> dict[str, Any]:
        """Write the sample of a shard with its draws; return its record."""
        tables = [pa.table({"draw": np.zeros(0), "text": pa.array([], pa.large_string())})]
        size = 0
        for _, documents in read_kept(shard, self.verdicts, SAMPLE_COLUMNS):
            draws = uniform(documents["id"].to_pylist(), self.seed, "tokenizer")
            chosen = pa.array(draws < self.rate)
            size += text_bytes(documents)
            tables.append(pa.table({"draw": draws, "text": documents["text"]}).filter(chosen))
        path = storage.join(self.folder, "sample", shard.name + ".parquet")
        write_table(path, pa.concat_tables(tables))
        return {"documents": sum(map(len, tables)), "bytes": size}


@dataclass(frozen=True, slots=True)
class TokenizerTask:
    """A tokenizer to train, or to take from a path."""

    key: str  # file name without .model
    given: str  # path of a model; empty: train
    vocab_size: int
    rate: float  # of the sample's draws


@dataclass(frozen=True, slots=True)
class Sample:
    """The texts that train a tokenizer, read again each time they are gone through."""

    paths: tuple[str, ...]
    rate: float

    def __iter__(self) -> Iterator[str]:
        """Yield the texts whose draw is below the rate."""
        for path in self.paths:
            table = read_table(path)
            yield from table.filter(pa.array(table["draw"].to_numpy() < self.rate))["text"].to_pylist()


@dataclass(frozen=True, slots=True)
class TrainOne:
    """Work that trains a tokenizer on the samples."""

    folder: str
    samples: tuple[str, ...]
    size: int  # bytes of text that are trained on, about

    @property
    def needs(self) -> Needs:
        """SentencePiece holds the whole sample."""
        return Needs(memory=SAMPLE_MEMORY * self.size)

    def __call__(self, task: TokenizerTask) -> dict[str, Any]:
        """Write KEY.model; return its record."""
        if task.given:
            with storage.open_input(task.given) as file:
                model = file.read()
        else:
            model = train(Sample(self.samples, task.rate), task.vocab_size)
        tokenizer = Tokenizer(model)
        with storage.create(storage.join(self.folder, task.key + ".model")) as file:
            file.write(model)
        rate = bytes_per_token(tokenizer, self._excerpts())
        return {"vocab_size": tokenizer.vocab_size, "bytes_per_token": rate, "note": task.key}

    def _excerpts(self) -> Iterator[str]:
        """Yield texts from every sample, so that no language that comes first decides."""
        budget = MEASURED_CHARACTERS // max(1, len(self.samples))
        for path in self.samples:
            left = budget
            for text in (value.as_py() for value in read_table(path)["text"]):
                yield text[:left]
                left -= len(text)
                if left <= 0:
                    break


MEASURED_CHARACTERS = 200_000  # of texts that tell how many bytes a token has
MEASURED_BYTES = 1_000_000  # to draw them from
MEASURED_TOGETHER = 1000  # texts


def bytes_per_token(tokenizer: Tokenizer, texts: Iterator[str]) -> float:
    """Return the mean bytes of a token over texts; 4 where there are none."""
    size = tokens = 0
    for part in batched(texts, MEASURED_TOGETHER):
        size += sum(len(text.encode()) for text in part)
        tokens += sum(map(len, tokenizer.encode(part)))
    return size / tokens if tokens else 4.0


def batched(texts: Iterator[str], count: int) -> Iterator[list[str]]:
    """Yield texts, so many at a time."""
    while part := list(islice(texts, count)):
        yield part

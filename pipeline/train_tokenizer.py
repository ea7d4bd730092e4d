"""Train tokenizers on a deterministic sample: the published one, and the evaluators' small one."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

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

VERSION = 5
SAMPLE_MEMORY = 15  # bytes for a byte of the sample; SentencePiece takes 12 (264 MB for 10 MB, 739 for 50)
SAMPLE_COLUMNS = ("id", "language", "text")
SAMPLE = pa.schema([("draw", pa.float64()), ("language", pa.string()), ("text", pa.large_string())])


@dataclass(frozen=True, slots=True)
class SampleTexts:
    """Work on one document shard: the kept texts whose draw is below the rate."""

    folder: str
    verdicts: tuple[str, ...]
    rate: float
    seed: int

    def __call__(self, shard: DocumentShard) -> dict[str, Any]:
        """Write the sample of a shard with its draws; return its record."""
        tables = [SAMPLE.empty_table()]
        size = 0
        for _, documents in read_kept(shard, self.verdicts, SAMPLE_COLUMNS):
            draws = uniform(documents["id"].to_pylist(), self.seed, "tokenizer")
            chosen = pa.array(draws < self.rate)
            size += text_bytes(documents)
            columns = {"draw": draws, "language": documents["language"], "text": documents["text"]}
            tables.append(pa.table(columns).cast(SAMPLE).filter(chosen))
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
        rate, by_language = bytes_per_token(tokenizer, self._excerpts())
        rates = {"bytes_per_token": rate, "languages": by_language}
        return {"vocab_size": tokenizer.vocab_size, **rates, "note": task.key}

    def _excerpts(self) -> Iterator[tuple[str, str]]:
        """Yield languages and texts from every sample, so that no language that comes first decides."""
        budget = MEASURED_CHARACTERS // max(1, len(self.samples))
        for path in self.samples:
            left, table = budget, read_table(path)
            for language, text in zip(table["language"].to_pylist(), table["text"], strict=True):
                excerpt = text.as_py()[:left]
                yield language or "", excerpt
                left -= len(excerpt)
                if left <= 0:
                    break


MEASURED_CHARACTERS = 1_000_000  # of texts that tell how many bytes a token has
MEASURED_BYTES = 1_000_000  # to draw them from
MEASURED_TOGETHER = 1000  # texts


def bytes_per_token(tokenizer: Tokenizer, texts: Iterator[tuple[str, str]]) -> tuple[float, dict[str, float]]:
    """Return the mean bytes of a token over (language, text), 4 where there are none, and by language."""
    size: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    for part in batched(texts, MEASURED_TOGETHER):
        for (language, text), ids in zip(part, tokenizer.encode([text for _, text in part]), strict=True):
            size[language] += len(text.encode())
            tokens[language] += len(ids)
    every = size.total() / tokens.total() if tokens.total() else 4.0
    return every, {name: size[name] / count for name, count in sorted(tokens.items()) if count}


def batched(texts: Iterator[tuple[str, str]], count: int) -> Iterator[list[tuple[str, str]]]:
    """Yield texts, so many at a time."""
    while part := list(islice(texts, count)):
        yield part

"""Rejects: a sample of what the rules of ingest rejected, as tokens, so that text like it can be told from the rest.

The rules' rejects are negatives that cost nothing. No judge is asked about them, so they need no folds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.document import DOCUMENT, read_batches
from pipeline.draw import uniform
from pipeline.self_clean.evaluators import load_tokenizer
from pipeline.shards import DocumentShard
from pipeline.tally import text_bytes
from pipeline.token_shards import token_column, token_schema, write_arrow

VERSION = 1
REJECTS = "rejects"  # the folder of their counts, beside those of the folds
COLUMNS = ("id", "source", "language", "text")


@dataclass(frozen=True, slots=True)
class SampleRejects:
    """Work on one document shard: its rejects, as tokens."""

    folder: str
    tokenizer: str
    size: int  # bytes of text, at most about so many
    longest: int  # characters of a document
    seed: int

    def __call__(self, shard: DocumentShard) -> dict[str, Any]:
        """Write a token shard; return the record, with the tokens by language.

        Where [output] rejected_text leaves no text, there are no tokens.
        """
        tokenizer = load_tokenizer(self.tokenizer)
        path, schema = shard.path("rejected"), token_schema(tokenizer.dtype)
        there = sum(text_bytes(batch) for batch in read_batches(path, ["text"]))
        rate = self.size / max(1, there)
        drawn = (
            batch.filter(pa.array(uniform(batch["id"].to_pylist(), self.seed, REJECTS) < rate))
            for batch in read_batches(path, COLUMNS)
        )
        taken = pa.concat_tables([pa.schema([DOCUMENT.field(name) for name in COLUMNS]).empty_table(), *drawn])
        ids = tokenizer.encode([(text or "")[: self.longest] for text in taken["text"].to_pylist()])
        column, _ = token_column(ids, tokenizer)
        table = taken.drop_columns(["text"]).append_column("tokens", column).cast(schema)
        tokens: dict[str, int] = {}
        for language, part in zip(taken["language"].to_pylist(), ids, strict=True):
            tokens[language] = tokens.get(language, 0) + len(part)
        write_arrow(rejects_path(self.folder, shard.name), [table], schema)
        return {"documents": len(table), "bytes": there, "tokens": sum(tokens.values()), "languages": tokens}


def rejects_path(folder: str, name: str) -> str:
    """Return where the tokens of a shard's rejects are."""
    return storage.join(folder, "tokens", name + ".arrow")


def enough(records: Iterable[Mapping[str, Any]], fewest: int) -> dict[str, int]:
    """Return the tokens of each language of which the rejects hold at least so many."""
    tokens: dict[str, int] = {}
    for record in records:
        for language, count in record["languages"].items():
            tokens[language] = tokens.get(language, 0) + count
    return {language: count for language, count in sorted(tokens.items()) if count >= fewest}

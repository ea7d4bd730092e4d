"""The step `decontaminate`: documents that share word n-grams with evaluation sets, which are files the user names.

An evaluation set is one or more files of JSON lines, Parquet or text (an item a line), compressed or not. Of a record
the configured fields are joined with a space, so that n-grams also reach from a question into its answer.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from filters.contamination import Index, build_index, find_overlap
from filters.rules import Rule
from pipeline import storage
from pipeline.config import ConfigError, Decontaminate, EvaluationSet, Input
from pipeline.formats.compression import WRONG_BYTES, decompressed
from pipeline.formats.recognise import recognise
from pipeline.plan import find
from pipeline.step import Prepared, Split, split_by_rules, texts_of, with_columns

SIGNALS = (
    pa.field("decontaminate.matches", pa.int64()),  # words at which an n-gram of an evaluation set begins
    pa.field("decontaminate.share", pa.float64()),  # fraction of the words that are in such n-grams
    pa.field("decontaminate.ngram", pa.string()),  # the first of them, as it stands in the text
    pa.field("decontaminate.set", pa.string()),  # the name of its set
)
REASON = "contaminated"
READ_BYTES = 1 << 20  # at once


def prepare(settings: Decontaminate) -> Prepared:
    """Return the step; raises ConfigError for sets that are missing, cannot be read or have nothing to look for."""
    if not settings.sets:
        raise ConfigError("decontaminate needs [[decontaminate.sets]] with name and paths")
    names = [given.name for given in settings.sets]
    if len(set(names)) != len(names) or not all(names):
        raise ConfigError(f"decontaminate.sets must have different names, got {', '.join(map(repr, names))}")
    if settings.fewest_words > settings.words:
        raise ConfigError("decontaminate.fewest_words must not exceed decontaminate.words")
    if settings.measure == "share" and settings.threshold > 1:
        raise ConfigError(f"decontaminate.threshold is a share and at most 1, got {settings.threshold:g}")
    index = load_index(settings)
    for name, items in zip(index.sets, index.items, strict=True):
        if not items:
            raise ConfigError(f"evaluation set {name!r} has no item of {settings.fewest_words} words or more")
    return Prepared(
        Decontaminated(settings),
        SIGNALS,
        rules_of(settings),
        lambda: [asdict(replace(settings, sets=())), [_identity(given) for given in settings.sets]],
    )


def rules_of(settings: Decontaminate) -> tuple[Rule, ...]:
    """Return the rule, none where documents are only annotated."""
    if settings.action != "reject":
        return ()
    signal = f"decontaminate.{settings.measure}"
    return (Rule(reason=REASON, signal=signal, maximum=settings.threshold, inclusive=True),)


def _identity(given: EvaluationSet) -> object:
    """Return what a set's answers follow from: its name, its fields and the bytes of its files."""
    return [given.name, given.fields, [storage.checksum(path) for path in _paths(given)]]


@cache
def load_index(settings: Decontaminate) -> Index:
    """Read the sets and return their index, made once in a process."""
    sets = [(given.name, list(read_items(given))) for given in settings.sets]
    return build_index(sets, settings.words, settings.fewest_words)


def read_items(given: EvaluationSet) -> Iterator[str]:
    """Yield the items of a set; raises ConfigError for a file that is missing, wrong or empty, and an unknown field."""
    found: set[str] = set()
    for path in _paths(given):
        try:
            with storage.open_input(path) as file:
                items = list(_items(file.read(), path, given.fields, found))
        except (OSError, ValueError, pa.ArrowInvalid, *WRONG_BYTES) as error:
            raise ConfigError(f"evaluation set {given.name!r}: cannot read {path}: {error}") from error
        if not items:
            raise ConfigError(f"evaluation set {given.name!r}: {path} holds no text in {', '.join(given.fields)}")
        yield from items
    for name in given.fields:
        if name not in found:
            raise ConfigError(f"evaluation set {given.name!r}: no record has a text in {name}")


def _paths(given: EvaluationSet) -> list[str]:
    """Return the files of a set, sorted."""
    if not given.paths:
        raise ConfigError(f"evaluation set {given.name!r} has no paths")
    return [piece.path for piece in find(Input(name=given.name, paths=given.paths), 0)]


def _items(data: bytes, path: str, fields: Sequence[str], found: set[str]) -> Iterator[str]:
    """Yield the items in a file; `found` gets the fields that a record has, all of them where records have none."""
    stream = io.BytesIO(data)
    kind = recognise(stream, path)
    if kind == "parquet":
        for row in pq.read_table(stream).to_pylist():
            yield from _joined(row, fields, found)
        return
    if kind not in {"jsonl", "txt"}:
        raise ValueError(f"neither JSON lines, Parquet nor text, but {kind or 'empty'}")
    plain = decompressed(stream)
    found |= set(fields) if kind == "txt" else set()
    for line in b"".join(iter(lambda: plain.read(READ_BYTES), b"")).split(b"\n"):
        if line.strip():
            yield from _joined(orjson.loads(line), fields, found) if kind == "jsonl" else [line.decode()]


def _joined(record: Any, fields: Sequence[str], found: set[str]) -> Iterator[str]:
    """Yield the text of a record's fields, if there is any; a dot leads into a field of a field."""
    texts: list[str] = []
    for name in fields:
        value = record
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        strings = list(_strings(value))
        found |= {name} if strings else set()
        texts += strings
    if texts:
        yield " ".join(texts)


def _strings(value: Any) -> Iterator[str]:
    """Yield the strings in a value: itself, or those of a list."""
    if isinstance(value, str) and value.strip():
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


@dataclass(frozen=True, slots=True)
class Decontaminated:
    """Look for n-grams of evaluation sets; reject what has them, or say where they are."""

    settings: Decontaminate

    def __call__(self, documents: pa.Table) -> Split:
        """Add what was found, and split by the threshold."""
        found = find_overlap(load_index(self.settings), texts_of(documents))
        columns = {
            "decontaminate.matches": found.matches,
            "decontaminate.share": found.share,
            "decontaminate.ngram": found.ngram,
            "decontaminate.set": found.found_in,
        }
        signals = {f"decontaminate.{name}": columns[f"decontaminate.{name}"] for name in ("matches", "share")}
        return split_by_rules(with_columns(documents, columns), rules_of(self.settings), signals)

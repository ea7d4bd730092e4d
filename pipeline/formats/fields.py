"""Fields: whether the first files of an [[input]] have those that it names, before all of it is read."""

from itertools import islice
from typing import Any, BinaryIO

import orjson
import pyarrow.parquet as pq

from pipeline.config import Input
from pipeline.formats.compression import decompressed
from pipeline.formats.lines import Range, no_text, split_lines
from pipeline.formats.parquet import WRONG_PARQUET, no_column
from pipeline.formats.recognise import recognise
from pipeline.storage import open_input

FIRST_RECORDS = 20  # of JSON lines, which need not all have the same fields
_USUAL = Input()  # a field that nobody named may be missing


def missing(path: str, given: Input, limit: int) -> str:
    """Say which field a file lacks, and what it has; empty where it lacks none, or is of a format without fields.

    Of JSON lines the text and a named id are looked for, of Parquet every column that is named. What else is wrong with
    a file is its reader's to say.
    """
    try:
        with open_input(path) as stream:
            kind = recognise(stream, path)
            if kind == "parquet":
                there = pq.ParquetFile(stream).schema_arrow.names
                return next((no_column(there, name) for name in _named(given) if name not in there), "")
            return _of_lines(stream, given, limit) if kind == "jsonl" else ""
    except WRONG_PARQUET:  # a store's errors, too
        return ""


def unseen(path: str, given: Input, limit: int) -> list[str]:
    """Return the keys of [[input]] that name a field which none of the first JSON lines has: it may be rare."""
    if not _others(given):
        return []
    try:
        with open_input(path) as stream:
            fields = _first_fields(stream, limit) if recognise(stream, path) == "jsonl" else {}
    except WRONG_PARQUET:
        return []
    return [key for key in _others(given) if fields and getattr(given, key) not in fields]


def _named(given: Input) -> list[str]:
    return [given.text, *(getattr(given, key) for key in _others(given))]


def _others(given: Input) -> list[str]:
    """Return the keys beside the text whose fields were named."""
    keys = ("id", "url", "date", "source")
    return [key for key in keys if getattr(given, key) not in {getattr(_USUAL, key), ""}]


def _of_lines(stream: BinaryIO, given: Input, limit: int) -> str:
    fields = _first_fields(stream, limit)
    if fields and not isinstance(fields.get(given.text), str):
        return no_text(fields, given.text)
    named = given.id not in {_USUAL.id, "", *fields}
    return no_text(fields, given.id) if fields and named else ""


def _first_fields(stream: BinaryIO, limit: int) -> dict[str, Any]:
    """Return the fields of the first JSON lines, each with a value of some of them."""
    fields: dict[str, Any] = {}
    for line in islice(split_lines(decompressed(stream), limit, Range()), FIRST_RECORDS):
        record = _record(line.data or b"")
        fields |= {name: value for name, value in record.items() if value is not None or name not in fields}
    return fields


def _record(data: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}

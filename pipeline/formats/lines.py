"""Lines of a stream: bounded memory, byte ranges, and the formats made of lines (JSONL, plain text)."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from pipeline.config import Input
from pipeline.formats.compression import WRONG_BYTES, Readable
from pipeline.formats.record import Event, Record, Skipped, TooLarge, Unreadable

CHUNK_BYTES = 1 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UNPAIRED = re.compile("[\ud800-\udfff]")
SHOWN_KEYS = 8  # of a record that lacks the text field


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its end; `data` is None when it is longer than the limit, or when the stream broke in it."""

    offset: int
    size: int
    data: bytes | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Range:
    """The lines that start in [start, stop) bytes, after the line that starts at `after` (-1: from the first)."""

    start: int = 0
    stop: int | None = None
    after: int = -1


def split_lines(stream: Readable, limit: int, span: Range) -> Iterator[Line]:
    """Yield the lines of a span; memory stays within the limit and one chunk.

    The stream stands at byte max(span.start - 1, 0). A line belongs to the span in which it starts. Where the
    stream's bytes are wrong comes a last line with the error.
    """
    offset = max(span.start - 1, 0)  # of the line that has begun
    held: list[bytes] = []  # its parts, none once it is over the limit
    size = 0  # its bytes so far
    wanted = span.start == 0
    chunk = b"\0"
    while chunk and (span.stop is None or offset < span.stop or not wanted):
        try:
            chunk = stream.read(CHUNK_BYTES)
        except WRONG_BYTES as error:
            yield Line(offset, size, None, f"cannot decompress: {error}")
            return
        *ends, rest = chunk.split(b"\n")
        if not chunk and size:
            ends = [b""]  # the last line may lack its end
        for part in ends:
            size += len(part)
            if wanted and offset > span.after and (span.stop is None or offset < span.stop):
                yield Line(offset, size, None if size > limit else b"".join([*held, part]))
            offset += size + 1
            held, size, wanted = [], 0, True
        size += len(rest)
        held.append(rest)
        if size > limit:
            held = []


def read_jsonl(lines: Iterator[Line], given: Input) -> Iterator[Event]:
    """Yield the records of JSON lines."""
    return (_event(line, lambda offset, data: _json_record(offset, data, given)) for line in lines)


def read_text_lines(lines: Iterator[Line]) -> Iterator[Event]:
    """Yield each line of a plain text file as a document."""
    return (_event(line, lambda offset, data: decode_text(data.removesuffix(b"\r"), offset)) for line in lines)


def _event(line: Line, decode: Callable[[int, bytes], Event]) -> Event:
    """Return what one line is."""
    at: dict[str, Any] = {"position": line.offset, "offset": line.offset}
    if line.error:
        return Unreadable(**at, error=line.error)
    if line.data is None:
        return TooLarge(**at, size=line.size)
    if not line.data.strip():
        return Skipped(**at, kind="blank line")
    return decode(line.offset, line.data)


def _json_record(offset: int, data: bytes, given: Input) -> Record | Unreadable:
    try:
        value = _loads(data.removeprefix(BYTE_ORDER_MARK) if offset == 0 else data)
    except orjson.JSONDecodeError as error:
        return Unreadable(position=offset, offset=offset, error=f"invalid JSON: {error.msg}")
    if not isinstance(value, dict):
        kind = type(value).__name__
        return Unreadable(position=offset, offset=offset, error=f"a JSON object was expected, got {kind}")
    return from_fields(offset, offset, value, given)


def _loads(data: bytes) -> Any:
    """Return a JSON value; U+FFFD stands for half a surrogate pair, which JSON can write and UTF-8 cannot."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if "surrogate" not in error.msg:
            raise
        try:
            return orjson.loads(_UNPAIRED.sub("\ufffd", json.dumps(json.loads(data.decode()), ensure_ascii=False)))
        except (ValueError, RecursionError):  # json takes less, here and there
            raise error from None


def from_fields(position: int, offset: int, fields: dict[str, object], given: Input) -> Record | Unreadable:
    """Make a record of named fields; one field may be several things; what is not named goes to meta."""
    if not isinstance(fields.get(given.text), str):
        return Unreadable(position=position, offset=offset, error=no_text(fields, given.text))
    text = str(fields.pop(given.text))
    try:
        names = {given.id, given.url, given.date, given.source} - {""}
        named = {name: _as_text(fields.pop(name, None)) for name in names}
        meta = orjson.dumps(fields, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError as error:
        return Unreadable(position=position, offset=offset, error=f"cannot keep the other fields: {error}")
    return Record(
        position=position,
        offset=offset,
        text=text,
        source_id=named.get(given.id, ""),
        url=named.get(given.url, ""),
        date=named.get(given.date, ""),
        source=named.get(given.source, ""),
        meta=meta,
    )


def no_text(fields: dict[str, object], name: str) -> str:
    """Say why a field of a record is no text."""
    if name in fields:
        text = fields[name]
        return f"the field {name!r} " + ("is null" if text is None else f"holds {type(text).__name__}, not a string")
    there = ", ".join(sorted(map(str, fields))[:SHOWN_KEYS])
    return f"no field {name!r}; the record has {there or 'no field at all'}"


def _as_text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def read_text_file(stream: Readable, limit: int) -> Iterator[Event]:
    """Yield a whole plain text file as one document."""
    held: list[bytes] = []
    size = 0
    try:
        while chunk := stream.read(CHUNK_BYTES):
            size += len(chunk)
            held.append(chunk)
            if size > limit:
                held = []
    except WRONG_BYTES as error:
        yield Unreadable(position=0, offset=size, error=f"cannot decompress: {error}")
        return
    yield TooLarge(position=0, offset=0, size=size) if size > limit else decode_text(b"".join(held), 0)


def decode_text(data: bytes, offset: int) -> Record | Unreadable:
    """Decode UTF-8 strictly, so that wrong bytes are recorded and not guessed away."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"invalid UTF-8: {error.reason}"
        return Unreadable(position=offset, offset=offset + error.start, error=reason)
    return Record(position=offset, offset=offset, text=text.removeprefix("\ufeff"))

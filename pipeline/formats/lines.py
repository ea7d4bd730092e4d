"""Lines of a stream: bounded memory, byte ranges, and the formats made of lines (JSONL, plain text)."""

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from pipeline.config import Input
from pipeline.formats.compression import WRONG_BYTES, Readable
from pipeline.formats.record import Event, Record, Skipped, TooLarge, Unreadable

CHUNK_BYTES = 1 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SHOWN_KEYS = 8  # of a record that lacks the text field


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its end; `data` is None when it is longer than the limit."""

    offset: int
    size: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Range:
    """The lines that start in [start, stop) bytes, after the line that starts at `after` (-1: from the first)."""

    start: int = 0
    stop: int | None = None
    after: int = -1


def split_lines(stream: Readable, limit: int, span: Range) -> Iterator[Line]:
    """Yield the lines of a span; memory stays within the limit and one chunk.

    The stream stands at byte max(span.start - 1, 0). A line belongs to the span in which it starts.
    """
    offset = max(span.start - 1, 0)  # of the first byte in `held`, or of the long line being counted
    held, long_size, wanted = b"", 0, span.start == 0
    while True:
        chunk = stream.read(CHUNK_BYTES)
        parts = (held + chunk).split(b"\n") if not long_size else chunk.split(b"\n")
        last = len(parts) - 1
        for index, part in enumerate(parts):
            size = long_size + len(part)
            if index == last and chunk:
                break
            if index == last and not size:
                return
            if wanted and (span.stop is None or offset < span.stop) and offset > span.after:
                yield Line(offset, size, None if size > limit else part)
            offset += size + 1
            wanted, long_size = True, 0
        if not chunk or (span.stop is not None and offset >= span.stop and wanted):
            return
        size = long_size + len(parts[-1])
        held, long_size = (b"", size) if size > limit else (parts[-1], 0)


def guarded(lines: Iterator[Line]) -> Iterator[Line | Unreadable]:
    """Yield lines; where the stream's bytes are wrong, one Unreadable and the end."""
    offset = 0
    try:
        for line in lines:
            offset = line.offset + line.size + 1
            yield line
    except WRONG_BYTES as error:
        yield Unreadable(position=offset, offset=offset, error=f"cannot decompress: {error}")


def read_jsonl(lines: Iterator[Line], given: Input) -> Iterator[Event]:
    """Yield the records of JSON lines."""
    for line in guarded(lines):
        if isinstance(line, Unreadable):
            yield line
        elif line.data is None:
            yield TooLarge(position=line.offset, offset=line.offset, size=line.size)
        elif not line.data.strip():
            yield Skipped(position=line.offset, offset=line.offset, kind="blank line")
        else:
            yield _json_record(line.offset, line.data, given)


def _json_record(offset: int, data: bytes, given: Input) -> Record | Unreadable:
    try:
        value = orjson.loads(data.removeprefix(BYTE_ORDER_MARK) if offset == 0 else data)
    except orjson.JSONDecodeError as error:
        return Unreadable(position=offset, offset=offset, error=f"invalid JSON: {error.msg}")
    if not isinstance(value, dict):
        kind = type(value).__name__
        return Unreadable(position=offset, offset=offset, error=f"a JSON object was expected, got {kind}")
    return from_fields(offset, offset, value, given)


def from_fields(position: int, offset: int, fields: dict[str, object], given: Input) -> Record | Unreadable:
    """Make a record of named fields; what the configuration does not name goes to meta."""
    text = fields.pop(given.text, None)
    if not isinstance(text, str):
        return Unreadable(position=position, offset=offset, error=_no_text(text, fields, given.text))
    named = {name: _as_text(fields.pop(name, None)) for name in {given.id, given.url, given.date} if name}
    source = _as_text(fields.get(given.source)) if given.source else ""
    try:
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
        source=source,
        meta=meta,
    )


def _no_text(text: object, fields: dict[str, object], name: str) -> str:
    if text is not None:
        return f"the field {name!r} holds {type(text).__name__}, not a string"
    there = ", ".join(sorted(map(str, fields))[:SHOWN_KEYS])
    return f"no field {name!r}; the record has {there or 'no field at all'}"


def _as_text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def read_text_lines(lines: Iterator[Line]) -> Iterator[Event]:
    """Yield each line of a plain text file as a document."""
    for line in guarded(lines):
        if isinstance(line, Unreadable):
            yield line
        elif line.data is None:
            yield TooLarge(position=line.offset, offset=line.offset, size=line.size)
        elif not line.data.strip():
            yield Skipped(position=line.offset, offset=line.offset, kind="blank line")
        else:
            yield decode_text(line.data, line.offset)


def read_text_file(stream: Readable, limit: int) -> Iterator[Event]:
    """Yield a whole plain text file as one document."""
    data, size = b"", 0
    try:
        while chunk := stream.read(CHUNK_BYTES):
            size += len(chunk)
            data = data + chunk if size <= limit else b""
    except WRONG_BYTES as error:
        yield Unreadable(position=0, offset=size, error=f"cannot decompress: {error}")
        return
    yield TooLarge(position=0, offset=0, size=size) if size > limit else decode_text(data, 0)


def decode_text(data: bytes, offset: int) -> Record | Unreadable:
    """Decode UTF-8 strictly, so that wrong bytes are recorded and not guessed away."""
    try:
        text = data.removeprefix(BYTE_ORDER_MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"invalid UTF-8: {error.reason}"
        return Unreadable(position=offset, offset=offset + error.start, error=reason)
    return Record(position=offset, offset=offset, text=text)

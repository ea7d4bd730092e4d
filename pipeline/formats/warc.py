"""Web archives: WARC and WET through fastwarc, ARC through warcio; the HTTP responses in them."""

import io
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import orjson
from fastwarc.warc import ArchiveIterator, WarcRecord, any_type
from resiliparse.parse.encoding import detect_mime

from pipeline.formats.compression import GZIP_MAGIC, WRONG_BYTES, ZSTD_MAGIC, WatchedStream, decompressed
from pipeline.formats.html import HTMLError, decode_body, decode_page, main_text
from pipeline.formats.lines import decode_text
from pipeline.formats.record import Event, Record, Skipped, TooLarge, Unreadable

TEXT_KINDS = frozenset({"response", "conversion"})
RECORD_MARK = re.compile(rb"\x1f\x8b\x08|\x28\xb5\x2f\xfd|WARC/\d")  # gzip, zstandard or plain
RECORD_HEAD = re.compile(rb"WARC/\d\.\d+\r?\n")
SEARCHED_BYTES = 1 << 20  # at once
PEEKED_BYTES = 512  # enough to see how a record begins
HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
PLAIN_TYPE = "text/plain"
OTHER_TYPE = "not HTML or plain text"
NO_RECORD = "the archive holds no record"
At = dict[str, Any]  # position and offset
Named = dict[str, Any]  # url, date and source_id, as far as known

MAX_HTTP_HEADER = 65_536  # bytes; a response whose header does not end before is taken as a body


def read_warc(stream: BinaryIO, limit: int, after: int = -1) -> Iterator[Event]:
    """Yield the records of a WARC or WET file; those up to record `after` are not parsed.

    `position` is the record's number, `offset` its byte in the file as stored. Reading goes on behind a damaged place,
    with the next record whose beginning can be found; the place itself is one Unreadable.
    """
    watched = WatchedStream(stream)
    packed = stream.read(4).startswith((GZIP_MAGIC, ZSTD_MAGIC))
    start: int | None = 0
    position, damaged = 0, False
    while start is not None:
        watched.seek(start)
        offset, error = start, ""
        try:
            for record in ArchiveIterator(cast("BinaryIO", watched), record_types=any_type, parse_http=False):
                offset = record.stream_pos
                block = _read_block(record, limit)
                if position > after:
                    yield _warc_event(record, block, {"position": position, "offset": offset}, limit)
                position, damaged = position + 1, False
        except (OSError, ValueError) as wrong:
            watched.raise_failure()
            error = f"the archive is damaged here or after: {wrong}"
        # A file may end inside the compressed header of its last record without an error.
        start = _next_record(watched, offset + 1) if error or packed else None
        if (error or start is not None) and not damaged:
            yield Unreadable(position=position, offset=offset, error=error or "a record's header is cut off")
            position, damaged = position + 1, True
    if position == 0:
        yield Unreadable(position=0, offset=0, error=NO_RECORD)


def _next_record(stream: WatchedStream, base: int) -> int | None:
    """Return the byte at or after `base` where a record begins, compressed or not; None when there is none."""
    while True:
        stream.seek(base)
        window = stream.read(SEARCHED_BYTES + PEEKED_BYTES)
        for match in RECORD_MARK.finditer(window):
            if match.start() < SEARCHED_BYTES and _begins_record(window[match.start() :][:PEEKED_BYTES]):
                return base + match.start()
        if len(window) <= SEARCHED_BYTES:
            return None
        base += SEARCHED_BYTES


def _begins_record(data: bytes) -> bool:
    try:
        return RECORD_HEAD.match(decompressed(io.BytesIO(data)).read(PEEKED_BYTES)) is not None
    except EOFError:
        return True  # the file ends before anything can be decompressed
    except WRONG_BYTES:
        return False


def _read_block(record: WarcRecord, limit: int) -> bytes:
    """Return a record's content, empty when its kind or its size says that nothing will be made of it.

    Raises ValueError when there is less of it than the header says.
    """
    length = _length(record)
    if str(record.record_type) in TEXT_KINDS and length <= limit:
        block = bytes(record.reader.read())
        size = len(block)
    else:
        block, size = b"", record.reader.consume()
    if size < length:
        raise ValueError(f"cut off after {size} of {length} bytes")
    return block


def _length(record: WarcRecord) -> int:
    length = record.headers.get("Content-Length") or ""
    if not (length.isascii() and length.isdecimal()):
        raise ValueError(f"Content-Length is {length!r}")
    return int(length)


def _warc_event(record: WarcRecord, block: bytes, at: At, limit: int) -> Event:
    """Return what one WARC record is."""
    kind = str(record.record_type)
    if kind not in TEXT_KINDS:
        return Skipped(**at, kind=kind)
    named: Named = {
        "url": (record.headers.get("WARC-Target-URI") or "").strip("<>"),
        "date": record.headers.get("WARC-Date") or "",
        "source_id": record.record_id or "",
    }
    if _length(record) > limit:
        return TooLarge(**at, size=_length(record), url=named["url"])
    return _conversion(block, at, named) if kind == "conversion" else _response(block, at, named, limit)


def read_arc(stream: BinaryIO, limit: int, after: int = -1) -> Iterator[Event]:
    """Yield the records of an ARC file, the format of archives before 2009; those up to record `after` are not parsed.

    `position` is the record's number, `offset` its byte in the decompressed file.
    """
    from warcio.archiveiterator import ArchiveIterator  # takes longer to import than fastwarc, for a format of the past
    from warcio.exceptions import ArchiveLoadFailed

    watched, position, offset = WatchedStream(decompressed(stream)), 0, 0
    try:
        archive = ArchiveIterator(watched, no_record_parse=True)
        for record in archive:
            length = _arc_length(record)
            block = b"" if length > limit else _read_fully(record.raw_stream, length)
            offset = archive.get_record_offset()  # reads to the end of the record
            if position > after:
                yield _arc_event(record, block, {"position": position, "offset": offset}, limit)
            position += 1
    except (ArchiveLoadFailed, OSError, ValueError, *WRONG_BYTES) as error:
        watched.raise_failure()
        yield Unreadable(position=position, offset=offset, error=f"the archive is damaged here or after: {error}")
        return
    if position == 0:
        yield Unreadable(position=0, offset=0, error=NO_RECORD)


def _arc_length(record: Any) -> int:
    return int(record.rec_headers.get_header("length") or 0)


def _read_fully(stream: Any, length: int) -> bytes:
    parts = []
    while length > 0 and (part := stream.read(length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _arc_event(record: Any, block: bytes, at: At, limit: int) -> Event:
    """Return what one ARC record is."""
    if record.rec_type != "response":
        return Skipped(**at, kind=record.rec_type)
    headers = record.rec_headers
    named: Named = {"url": headers.get_header("uri") or "", "date": headers.get_header("archive-date") or ""}
    length = _arc_length(record)
    if length > limit:
        return TooLarge(**at, size=length, url=named["url"])
    if len(block) < length:
        return Unreadable(**at, error=f"cut off after {len(block)} of {length} bytes")
    return _response(block, at, named, limit)


def _conversion(block: bytes, at: At, named: Named) -> Event:
    """Return the record of a text that a crawler made (WET)."""
    decoded = decode_text(block, 0)
    if isinstance(decoded, Unreadable):
        return Unreadable(**at, error=decoded.error)
    return Record(**at, **named, text=decoded.text)


def _response(block: bytes, at: At, named: Named, limit: int) -> Event:
    """Return the main text of an HTTP response, or why there is none."""
    status, headers, body = split_http(block)
    if not 200 <= status < 300:
        return Skipped(**at, kind=f"status {status // 100}xx")
    mime, _, parameters = headers.get("content-type", "").lower().partition(";")
    charset = parameters.partition("charset=")[2].split(";")[0].strip(" \"'") or None
    mime = mime.strip()
    if mime and mime not in {*HTML_TYPES, PLAIN_TYPE}:
        return Skipped(**at, kind=OTHER_TYPE)
    try:
        body = decode_body(body, headers.get("transfer-encoding", ""), headers.get("content-encoding", ""), limit)
    except HTMLError as error:
        return TooLarge(**at, size=error.size, url=named["url"])
    mime = mime or detect_mime(body)
    if mime not in {*HTML_TYPES, PLAIN_TYPE}:
        return Skipped(**at, kind=OTHER_TYPE)
    page = decode_page(body, charset)
    text = page if mime == PLAIN_TYPE else main_text(page)
    return Record(**at, **named, text=text, meta=orjson.dumps({"mime": mime}).decode())


def split_http(block: bytes) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers (names in lower case) and body of a response; old crawls end lines with a bare newline."""
    ends = [(at, len(mark)) for mark in (b"\r\n\r\n", b"\n\n") if (at := block.find(mark, 0, MAX_HTTP_HEADER)) >= 0]
    if not block.startswith(b"HTTP/") or not ends:
        return 200, {}, block
    at, length = min(ends)
    first, *lines = block[:at].decode("latin-1").splitlines()
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    code = first.split()[1:2]
    status = int(code[0]) if code and code[0].isdecimal() else 200
    return status, headers, block[at + length :]

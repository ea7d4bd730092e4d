"""Web archives: WARC and WET through fastwarc, ARC through warcio; the HTTP responses in them."""

from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import orjson
from fastwarc.warc import ArchiveIterator, WarcRecord, any_type
from resiliparse.parse.encoding import detect_mime
from warcio.archiveiterator import ArchiveIterator as ArcIterator
from warcio.exceptions import ArchiveLoadFailed

from pipeline.formats.html import HTMLError, decode_body, main_text
from pipeline.formats.lines import decode_text
from pipeline.formats.record import Event, Place, Record, Skipped, TooLarge, Unreadable

HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
At = dict[str, Any]  # position and offset
Named = dict[str, Any]  # url, date and source_id, as far as known

MAX_HTTP_HEADER = 65_536  # bytes; a response whose header does not end before is taken as a body


class WatchedStream:
    """A stream that remembers when the store failed, because a parser turns that into an error of its own."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def read(self, size: int = -1, /) -> bytes:
        """Read, and keep the store's error."""
        try:
            return self._stream.read(size)
        except OSError as error:
            self.failure = error
            raise

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._stream.tell()


def read_warc(stream: BinaryIO, limit: int, after: Place | None) -> Iterator[Event]:
    """Yield the records of a WARC or WET file; `after` is the last one an earlier run finished.

    `position` is the record's number, `offset` its byte in the file as stored.
    """
    position, start = (after.position, after.offset) if after else (0, 0)
    stream.seek(start)
    watched, offset = WatchedStream(stream), start
    try:
        archive = ArchiveIterator(cast("BinaryIO", watched), record_types=any_type, parse_http=False)
        for number, record in enumerate(archive):
            offset = start + record.stream_pos
            if after is None or number > 0:
                yield _warc_event(record, {"position": position, "offset": offset}, limit)
            position += 1
    except (OSError, ValueError) as error:
        if watched.failure is not None:
            raise watched.failure from error
        yield Unreadable(position=position, offset=offset, error=f"the archive is damaged after this record: {error}")


def _warc_event(record: WarcRecord, at: At, limit: int) -> Event:
    """Return what one WARC record is."""
    kind = str(record.record_type)
    if kind not in {"response", "conversion"}:
        return Skipped(**at, kind=kind)
    named: Named = {
        "url": (record.headers.get("WARC-Target-URI") or "").strip("<>"),
        "date": record.headers.get("WARC-Date") or "",
        "source_id": record.record_id or "",
    }
    if record.content_length > limit:
        return TooLarge(**at, size=record.content_length, url=named["url"])
    block = record.reader.read()
    if len(block) < record.content_length:
        return Unreadable(**at, error=f"cut off after {len(block)} of {record.content_length} bytes")
    return _conversion(block, at, named) if kind == "conversion" else _response(block, at, named, limit)


def read_arc(stream: BinaryIO, limit: int, after: Place | None) -> Iterator[Event]:
    """Yield the records of an ARC file, the format of archives before 2009."""
    watched, position, offset = WatchedStream(stream), 0, 0
    try:
        archive = ArcIterator(watched, no_record_parse=True)
        for record in archive:
            length = int(record.rec_headers.get_header("length") or 0)
            block = b"" if length > limit else _read_fully(record.raw_stream, length)
            offset = archive.get_record_offset()  # reads to the end of the record
            if after is None or position > after.position:
                yield _arc_event(record, block, {"position": position, "offset": offset}, limit)
            position += 1
    except (ArchiveLoadFailed, EOFError, OSError, ValueError) as error:
        if watched.failure is not None:
            raise watched.failure from error
        yield Unreadable(position=position, offset=offset, error=f"the archive is damaged after this record: {error}")


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
    length = int(headers.get_header("length") or 0)
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
    try:
        body = decode_body(body, headers.get("transfer-encoding", ""), headers.get("content-encoding", ""), limit)
        mime = mime.strip() or detect_mime(body)
        if mime in HTML_TYPES:
            text = main_text(body, charset)
        elif mime == "text/plain":
            text = body.decode(charset or "utf-8")
        else:
            return Skipped(**at, kind="not HTML or plain text")
    except (HTMLError, UnicodeDecodeError, LookupError) as error:
        return Unreadable(**at, error=str(error))
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

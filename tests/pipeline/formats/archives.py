"""Small files built for the tests of the readers."""

import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import Input
from pipeline.formats.read import read_piece
from pipeline.formats.record import Event, Place
from pipeline.plan import Piece

LIMIT = 1_000_000


def warc_record(kind: str, block: bytes, *, url: str = "http://example.org/", length: int | None = None) -> bytes:
    """Return one WARC record; `length` is what its header says."""
    size = len(block) if length is None else length
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + block + b"\r\n\r\n"


def conversions(count: int) -> list[bytes]:
    """Return WET records that hold the texts `text 0`, `text 1` and so on."""
    return [warc_record("conversion", f"text {i}".encode()) for i in range(count)]


def members(records: Sequence[bytes]) -> list[bytes]:
    """Return each record as a member of gzip."""
    return [gzip.compress(record, mtime=0) for record in records]


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return an HTTP response."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body


def page(text: str) -> str:
    """Return a page with one paragraph."""
    return f"<html><head><title>t</title></head><body><article><p>{text}</p></article></body></html>"


def arc(*responses: bytes) -> bytes:
    """Return an ARC file of HTTP responses."""
    version = b"1 0 example\nURL IP-address Archive-date Content-type Archive-length\n"
    head = b"filedesc://a.arc 0.0.0.0 20080101000000 text/plain %d\n%s\n" % (len(version), version)
    line = b"http://example.org/%d 1.2.3.4 20080101000000 text/html %d\n%s\n"
    return head + b"".join(line % (i, len(block), block) for i, block in enumerate(responses))


def parquet(table: pa.Table, *, rows: int = 1000) -> bytes:
    """Return a Parquet file with row groups of so many rows."""
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=rows)
    return out.getvalue()


def read(
    folder: Path,
    name: str,
    content: bytes,
    given: Input | None = None,
    *,
    limit: int = LIMIT,
    after: Event | None = None,
) -> list[Event]:
    """Return the events of a file with this content."""
    path = folder / name
    path.write_bytes(content)
    piece = Piece(path=str(path), relative=name, input=0, size=len(content), changed=0.0)
    place = Place(after.position, after.offset) if after else None
    return list(read_piece(piece, given or Input(), limit, place))

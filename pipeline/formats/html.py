"""HTTP bodies: their compression and encoding undone, and the main text of HTML."""

import re
import zlib
from collections.abc import Iterator
from typing import Any

import brotli
from isal import isal_zlib
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5
from resiliparse.parse.html import HTMLTree

from pipeline.formats.main_content import main_content
from pipeline.formats.markup import read_markup
from pipeline.formats.nesting import FORMATTING, nesting

MAX_DEPTH = 1000  # of a tree that is parsed and searched; a parser may take quadratic time in the depth
MAX_REOPENED = 200_000  # elements that a parser may add; 990 open <font> before 1,000 paragraphs took 3 GB
LITTLE = 200  # characters of main text
# Blogger's mobile pages hold their text in a template, others in <noscript>.
_SCRIPTED = re.compile(r"</?noscript\b[^<>]*>|<script\b[^<>]*\btext/(?:x-)?template\b[^<>]*>", re.IGNORECASE)
NOT_COMPRESSED: Any = (isal_zlib.error, zlib.error, brotli.error)
GZIP_MAGIC = b"\x1f\x8b"
MAX_WRONG = 0.1  # share of the non-ASCII characters that may be wrong in a page taken for UTF-8
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_FORMATTING = re.compile(rf"</?(?:{'|'.join(FORMATTING.split())})\b[^<>]*>", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,16}")


class HTMLError(ValueError):
    """A body over the limit; it has at least `size` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than {limit} bytes when decompressed")
        self.size = limit + 1


def main_text(page: str) -> str:
    """Return the main text of a page, without menus and boilerplate; all its text where it nests too deeply to tell.

    Where next to nothing is found, what scripts would show is taken for shown.
    """
    found = nesting(page)
    if max(found.depth / MAX_DEPTH, found.reopened / MAX_REOPENED) > 1:
        page = _FORMATTING.sub("", page)
    if found.depth > MAX_DEPTH:
        return str(extract_plain_text(HTMLTree.parse(page), alt_texts=False))
    text = _content(page)
    if len(text) < LITTLE and (unscripted := _SCRIPTED.sub("<div>", page)) != page:
        return max(text, _content(unscripted), key=len)
    return text


def _content(page: str) -> str:
    """Return the main content of a page, empty where it has no body."""
    body = HTMLTree.parse(page).body
    return main_content(read_markup(body.html)) if body is not None else ""


def decode_page(body: bytes, claimed: str | None) -> str:
    """Return a page as text, in the first encoding that fits its bytes.

    In this order: UTF-16 with its mark, UTF-8 (a few wrong bytes become U+FFFD), the charset of the HTTP headers, that
    of the page's own tags, what the bytes look like.
    """
    text = body.decode("utf-8-sig", "replace")
    if not body.startswith(_UTF16_MARKS) and text.count("\ufffd") <= _foreign(text) * MAX_WRONG:
        return text if claimed is None or not body.isascii() else _decoded(body, claimed) or text
    for encoding in _encodings(body, claimed):
        if (decoded := _decoded(body, encoding)) is not None:
            return decoded
    return text


def _foreign(text: str) -> int:
    """Count the characters that are not ASCII."""
    return len(text) - len(text.encode("ascii", "ignore"))


def _encodings(body: bytes, claimed: str | None) -> Iterator[str]:
    """Yield the encodings to try."""
    if body.startswith(_UTF16_MARKS):
        yield "utf-16"
    if claimed:
        yield claimed
    yield detect_encoding(body, html5_compatible=True, from_html_meta=True) or ""
    yield detect_encoding(body, html5_compatible=True) or ""


def _decoded(body: bytes, encoding: str) -> str | None:
    """Decode in an encoding of the HTML standard; None for another one, and where a byte does not fit."""
    known = map_encoding_to_html5(encoding, fallback_utf8=False)
    try:
        return body.decode(known) if known else None
    except UnicodeDecodeError:
        return None


def decode_body(body: bytes, transfer: str, encodings: str, limit: int) -> bytes:
    """Undo HTTP's chunks and compression; a body that is not what its headers say is taken as it is.

    Raises HTMLError when more than `limit` bytes come out.
    """
    if "chunked" in transfer.lower():
        body = _join_chunks(body)
    named = [e.strip().lower() for e in encodings.split(",") if e.strip()]
    if not named and body.startswith(GZIP_MAGIC):
        named = ["gzip"]
    for encoding in reversed(named):
        body = _decompress(body, encoding, limit)
    return body


def _join_chunks(body: bytes) -> bytes:
    chunks: list[bytes] = []
    at = 0
    while (end := body.find(b"\r\n", at)) >= 0:
        digits = body[at:end].split(b";")[0].strip()
        if not _CHUNK_SIZE.fullmatch(digits):
            return body
        size = int(digits, 16)
        if size == 0:
            return b"".join(chunks)
        chunks.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    return b"".join(chunks) or body


def _decompress(body: bytes, encoding: str, limit: int) -> bytes:
    try:
        if encoding in {"gzip", "x-gzip"}:
            out = isal_zlib.decompressobj(wbits=31).decompress(body, limit + 1)
        elif encoding == "deflate":
            out = isal_zlib.decompressobj(wbits=15 if body[:1] == b"\x78" else -15).decompress(body, limit + 1)
        elif encoding == "br":
            out = brotli.Decompressor().process(body, output_buffer_limit=limit + 1)
        else:
            return body
    except NOT_COMPRESSED:
        return body  # headers of archives often outlive the compression they speak of
    if len(out) > limit:
        raise HTMLError(limit)
    return bytes(out)

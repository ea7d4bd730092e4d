"""HTML to main text."""

import re
import zlib
from typing import Any

import brotli
from isal import isal_zlib
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding
from resiliparse.parse.html import HTMLTree

# The parser takes quadratic time in the depth of the tree: 3.7 s at 10,000. Browsers stop at 512.
MAX_DEPTH = 3000
NOT_COMPRESSED: Any = (isal_zlib.error, zlib.error, brotli.error)
_TAG = re.compile(rb"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_FLAT = frozenset(  # tags without an end, or whose end is implied by the next one
    b"area base br col embed hr img input link meta source track wbr p li td th tr dd dt option".split()
)


class HTMLError(ValueError):
    """HTML that no text can be had from."""


def main_text(body: bytes, charset: str | None) -> str:
    """Return the main text of a page, without menus and boilerplate.

    The charset is the one of the HTTP headers, else what the bytes and the page's own meta tags show.
    Raises HTMLError for a tree that is nested too deeply.
    """
    if nesting(body) > MAX_DEPTH:
        raise HTMLError(f"HTML nested deeper than {MAX_DEPTH} elements")
    encoding = charset or detect_encoding(body, html5_compatible=True, from_html_meta=True) or "utf-8"
    try:
        tree = HTMLTree.parse_from_bytes(body, encoding)
    except (LookupError, ValueError):
        tree = HTMLTree.parse_from_bytes(body, "utf-8")
    return str(extract_plain_text(tree, main_content=True, alt_texts=False))


def nesting(body: bytes) -> int:
    """Return an upper bound of the depth of the tree, from the tags alone."""
    depth = deepest = 0
    if body.count(b"<") <= MAX_DEPTH:
        return 0
    for match in _TAG.finditer(body):
        if match[2].lower() not in _FLAT:
            depth = max(depth - 1, 0) if match[1] else depth + 1
            deepest = max(deepest, depth)
    return deepest


def decode_body(body: bytes, transfer: str, encodings: str, limit: int) -> bytes:
    """Undo HTTP's chunks and compression; a body that is not what its headers say is taken as it is.

    Raises HTMLError when more than `limit` bytes come out.
    """
    if "chunked" in transfer.lower():
        body = _join_chunks(body)
    for encoding in reversed([e.strip().lower() for e in encodings.split(",") if e.strip()]):
        body = _decompress(body, encoding, limit)
    return body


def _join_chunks(body: bytes) -> bytes:
    chunks: list[bytes] = []
    at = 0
    while (end := body.find(b"\r\n", at)) >= 0:
        try:
            size = int(body[at:end].split(b";")[0], 16)
        except ValueError:
            return body
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
        raise HTMLError(f"the body is larger than {limit} bytes when decompressed")
    return bytes(out)

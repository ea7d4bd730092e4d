"""HTTP bodies are undone whatever their headers say, and no page takes long."""

import gzip
import time
import zlib

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.formats.html import HTMLError, decode_body, decode_page, main_text
from tests.pipeline.formats.archives import page

LIMIT = 100_000
BODY = page("Hello, this is the main text.").encode()
PACKED = {
    "gzip": gzip.compress(BODY),
    "x-gzip": gzip.compress(BODY),
    "deflate": zlib.compress(BODY),
    "br": brotli.compress(BODY),
    "identity": BODY,
    "": BODY,
}


def chunked(body: bytes, size: int) -> bytes:
    """Return a body in HTTP chunks."""
    parts = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x;x=y\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize("transfer", ["", "chunked", "Chunked"])
def test_chunks_and_compression_are_undone(encoding: str, transfer: str) -> None:
    """Each content encoding, in chunks or not, gives the body back."""
    packed = PACKED[encoding]
    assert decode_body(chunked(packed, 17) if transfer else packed, transfer, encoding.upper(), LIMIT) == BODY


@pytest.mark.parametrize("encoding", [*PACKED, "gzip, br", "zstd", "klingon"])
@pytest.mark.parametrize("transfer", ["", "chunked"])
def test_a_plain_body_under_lying_headers_is_itself(encoding: str, transfer: str) -> None:
    """Archives often keep the headers of a compression that they have undone."""
    assert decode_body(BODY, transfer, encoding, LIMIT) == BODY


def test_gzip_without_a_header_is_undone() -> None:
    """A body that begins as gzip does is taken for gzip."""
    assert decode_body(gzip.compress(BODY), "", "", LIMIT) == BODY


def test_raw_deflate_and_two_encodings_are_undone() -> None:
    """Deflate comes with and without a wrapper; the encoding named last is undone first."""
    raw = zlib.compressobj(wbits=-15)
    assert decode_body(raw.compress(BODY) + raw.flush(), "", "deflate", LIMIT) == BODY
    assert decode_body(brotli.compress(gzip.compress(BODY)), "", "gzip, br", LIMIT) == BODY


@pytest.mark.parametrize("size", [b"-6", b"-5", b"-1", b"+4", b"0x10", b"1_0", b"", b"zz", b"f" * 40])
def test_a_chunk_of_no_size_stops_nothing(size: bytes) -> None:
    """What is no hexadecimal number ends the search for chunks at once."""
    body = size + b"\r\n" + BODY
    assert decode_body(body, "chunked", "", LIMIT) == body


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_a_bomb_is_refused(encoding: str) -> None:
    """A body that grows beyond the limit is an error before it is held."""
    pack = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress}[encoding]
    with pytest.raises(HTMLError, match="larger than 100000 bytes"):
        decode_body(pack(bytes(5_000_000)), "", encoding, LIMIT)
    assert len(decode_body(pack(bytes(LIMIT)), "", encoding, LIMIT)) == LIMIT


@settings(max_examples=80, deadline=None)
@given(
    body=st.binary(max_size=200),
    transfer=st.sampled_from(["", "chunked"]),
    encoding=st.sampled_from(["", "gzip", "deflate", "br"]),
)
def test_no_body_stops_a_reader(body: bytes, transfer: str, encoding: str) -> None:
    """Any bytes under any headers become some text that can be written."""
    try:
        undone = decode_body(body, transfer, encoding, LIMIT)
    except HTMLError:
        return
    text = main_text(decode_page(undone, None))
    assert text.encode().decode() == text


RUSSIAN = "Привет мир, это обычная русская страница с обычным русским текстом о погоде и природе."


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "windows-1251", "koi8-r", "utf-16"])
@pytest.mark.parametrize("claimed", [None, "utf-8", "klingon", "the right one"])
def test_the_charset_is_found_where_the_header_lies(encoding: str, claimed: str | None) -> None:
    """A page reads right when its header is right, missing, unknown or claims a UTF-8 that it is not."""
    name = encoding.removesuffix("-sig") if claimed == "the right one" else claimed
    assert RUSSIAN in decode_page(page(RUSSIAN).encode(encoding), name)


@pytest.mark.parametrize("claimed", ["windows-1251", "iso-8859-1", "gbk"])
def test_utf8_is_seen_under_another_name(claimed: str) -> None:
    """Bytes that are UTF-8 by their look are UTF-8."""
    assert RUSSIAN in decode_page(page(RUSSIAN).encode(), claimed)


def test_the_charset_of_the_page_counts() -> None:
    """Without a header the page's own meta tag decides."""
    body = page('<meta charset="iso-8859-2">zażółć').replace("<html>", '<html><meta charset="iso-8859-2">')
    assert "zażółć" in decode_page(body.encode("iso-8859-2"), None)


def test_a_wrong_byte_in_utf8_costs_a_character() -> None:
    """One bad byte in a UTF-8 page becomes U+FFFD and does not change the encoding."""
    body = page(RUSSIAN).encode().replace("мир".encode(), b"\xff")
    assert RUSSIAN.replace("мир", "\ufffd") in decode_page(body, "utf-8")


def test_surrogates_and_nul_leave_the_text() -> None:
    """What a page smuggles in by references can be written as UTF-8."""
    text = main_text(page("a &#xD800; b &#0; \0 c"))
    assert "\0" not in text
    text.encode()


def nested() -> dict[str, str]:
    """Return pages of 100,000 tags that lead parsers astray."""
    count = 100_000
    return {
        "div": "<div>" * count,
        "unmatched ends": "<div></foo>" * count,
        "formatting": "".join(f"<p><font a={i}>" for i in range(count)),
        "table": "<table><tr><td>" * count,
        "foreign": "<svg><td>" * count,
        "styles left open": "".join(f"<font id={i}><p>" for i in range(990)) + "<p>x" * count,
        "half a tag": "<a " * count,
        "comment": "<!--" * count,
        "less than": "<" * count,
    }


@pytest.mark.parametrize("kind", nested())
def test_deep_pages_are_quick(kind: str) -> None:
    """A page nested 100,000 deep takes about a second and keeps its text where there is a place for text."""
    start = time.process_time()
    before = "This stands before it, and is text."
    text = main_text(f"<html><body><p>{before}</p>" + nested()[kind])
    assert time.process_time() - start < 5
    assert before in text


def test_a_page_of_many_shallow_tags_is_still_searched_for_its_main_text() -> None:
    """Closed elements do not count as depth, however many there are."""
    menu = "<nav><ul>" + "<li><a href=x>menu</a></li>" * 2000 + "</ul></nav>"
    body = "<article>" + "<p>This is a paragraph of the main text, with words enough to be one.</p>" * 20 + "</article>"
    text = main_text(f"<html><body>{menu}{body}</body></html>")
    assert "paragraph" in text
    assert "menu" not in text

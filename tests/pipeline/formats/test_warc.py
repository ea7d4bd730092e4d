"""Web archives: what every record is, and how reading goes on behind damage."""

import gzip
import os
import random
from pathlib import Path

import pytest
import zstandard

from pipeline.config import Input
from pipeline.formats.read import read_piece
from pipeline.formats.record import Event, Place, Record, Skipped, TooLarge
from pipeline.formats.warc import split_http
from pipeline.plan import Piece
from tests.pipeline.formats.archives import LIMIT, arc, conversions, http, members, page, read, warc_record

DATA = Path(os.environ.get("LUSTRATE_DATA", Path(__file__).parents[4] / "shared" / "data")) / "warc"
GARBAGE = b"\x1f\x8b\x08 garbage \0\xff\nWARC/1.x\r\n\r\n" * 3
HTML = "content-type: text/html; charset=utf-8"


def texts(events: list[Event]) -> list[str]:
    """Return the texts of the records."""
    return [event.text for event in events if isinstance(event, Record)]


def kinds(events: list[Event]) -> list[str]:
    """Return what each event is."""
    return [type(event).__name__ for event in events]


def test_records_are_known_by_their_kind(tmp_path: Path) -> None:
    """A conversion is a text; requests, revisits and unknown kinds are skipped and named."""
    named = ["warcinfo", "request", "revisit", "metadata", "resource"]
    records = [warc_record(kind, b"x") for kind in named] + [warc_record("conversion", b"a\0b", url="<http://a.org/1>")]
    events = read(tmp_path, "a.warc", b"".join(records))
    assert [event.kind for event in events if isinstance(event, Skipped)] == named
    assert isinstance(events[-1], Record)
    assert (events[-1].text, events[-1].url, events[-1].position) == ("a\0b", "http://a.org/1", 5)


@pytest.mark.parametrize("how", ["plain", "members", "one member", "frames"])
def test_reading_goes_on_after_any_record(tmp_path: Path, how: str) -> None:
    """However an archive is packed, a reader that is resumed yields exactly the records behind the given one."""
    records = conversions(6)
    packed = {"plain": records, "members": members(records), "one member": members([b"".join(records)])}
    content = b"".join(packed[how] if how in packed else [zstandard.compress(record) for record in records])
    whole = read(tmp_path, "a.warc", content)
    assert texts(whole) == [f"text {i}" for i in range(6)]
    for i, event in enumerate(whole):
        assert read(tmp_path, "a.warc", content, after=event) == whole[i + 1 :]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_records_behind_garbage_are_read(tmp_path: Path, packed: bool) -> None:
    """Garbage between records is one Unreadable; the records behind it have their true offsets."""
    parts = members(conversions(4)) if packed else conversions(4)
    content = b"".join([*parts[:2], GARBAGE, *parts[2:]])
    events = read(tmp_path, "a.warc", content)
    assert texts(events) == [f"text {i}" for i in range(4)]
    assert kinds(events) == ["Record", "Record", "Unreadable", "Record", "Record"]
    assert [event.position for event in events] == list(range(5))
    assert events[3].offset == content.index(GARBAGE) + len(GARBAGE)
    for i, event in enumerate(events):
        assert read(tmp_path, "a.warc", content, after=event) == events[i + 1 :]


@pytest.mark.parametrize("place", [12, 60, -6])
def test_a_damaged_member_costs_itself_only(tmp_path: Path, place: int) -> None:
    """Wrong bytes in one member, or its checksum, are one Unreadable; its neighbours are read."""
    parts = members(conversions(4))
    damaged = bytearray(parts[1])
    damaged[place] ^= 0x55
    events = read(tmp_path, "a.warc", b"".join([parts[0], bytes(damaged), *parts[2:]]))
    assert kinds(events) == ["Record", "Unreadable", "Record", "Record"]
    assert texts(events) == ["text 0", "text 2", "text 3"]


def test_a_damaged_first_member_does_not_hide_the_rest(tmp_path: Path) -> None:
    """An archive whose first bytes are wrong is read from the first whole record, by its name."""
    parts = members(conversions(3))
    events = read(tmp_path, "a.warc.gz", parts[0][:10] + b"\xff" * 40 + parts[1] + parts[2])
    assert kinds(events) == ["Unreadable", "Record", "Record"]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_wherever_an_archive_is_cut_it_is_said(tmp_path: Path, packed: bool) -> None:
    """Cut in a header or in a block, the whole records are read and the last one is Unreadable."""
    parts = members(conversions(3)) if packed else conversions(3)
    content, start = b"".join(parts), len(parts[0] + parts[1])
    for cut in range(start + 20, len(content) - 14, 3):
        events = read(tmp_path, "a.warc", content[:cut])
        assert kinds(events) == ["Record", "Record", "Unreadable"], cut


@pytest.mark.parametrize("length", ["-5", "abc", "", "9" * 30, "1000000000000"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_lying_length_costs_one_record(tmp_path: Path, length: str, packed: bool) -> None:
    """A Content-Length that is no length, or longer than the file, is Unreadable and swallows nothing."""
    records = conversions(4)
    records[1] = records[1].replace(b"Content-Length: 6", f"Content-Length: {length}".encode())
    events = read(tmp_path, "a.warc", b"".join(members(records) if packed else records))
    assert kinds(events) == ["Record", "Unreadable", "Record", "Record"]


def test_a_large_record_is_counted_and_not_read(tmp_path: Path) -> None:
    """A record over the limit is TooLarge with its URL, and the next one is read."""
    content = b"".join(members([warc_record("conversion", b"x" * 200, url="http://a.org/"), *conversions(1)]))
    large, after = read(tmp_path, "a.warc", content, limit=100)
    assert large == TooLarge(position=0, offset=0, size=200, url="http://a.org/")
    assert isinstance(after, Record)


def test_an_archive_without_a_record_is_unreadable(tmp_path: Path) -> None:
    """A file that its name calls an archive and that holds something else is no silence."""
    assert kinds(read(tmp_path, "a.warc.gz", gzip.compress(b"<html>no archive</html>"))) == ["Unreadable"]
    assert kinds(read(tmp_path, "a.arc", b"<html>no archive</html>")) == ["Unreadable"]


def response(block: bytes, folder: Path, limit: int = LIMIT) -> Event:
    """Return what one response is."""
    (event,) = read(folder, "a.warc", warc_record("response", block), limit=limit)
    return event


def test_a_page_becomes_its_main_text(tmp_path: Path) -> None:
    """HTML loses its tags and keeps its MIME type in meta."""
    event = response(http(page("Grüße aus Köln").encode(), HTML), tmp_path)
    assert isinstance(event, Record)
    assert (event.text, event.meta) == ("Grüße aus Köln", '{"mime":"text/html"}')


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        (http(b"", status="301 Moved"), "status 3xx"),
        (http(b"", status="404 Not Found"), "status 4xx"),
        (http(b"\x89PNG\r\n\x1a\n" + bytes(50), "Content-Type: image/png"), "not HTML or plain text"),
        (http(b"%PDF-1.4", "Content-Type: application/pdf"), "not HTML or plain text"),
    ],
)
def test_other_responses_are_skipped(tmp_path: Path, block: bytes, kind: str) -> None:
    """Redirects, errors and binary types are no documents."""
    assert response(block, tmp_path) == Skipped(position=0, offset=0, kind=kind)


def test_a_body_that_grows_over_the_limit_is_too_large(tmp_path: Path) -> None:
    """Its bytes are not wrong: it is TooLarge with its URL; what is no page by its type is skipped all the same."""
    body = gzip.compress(bytes(5000))
    event = response(http(body, HTML, "Content-Encoding: gzip"), tmp_path, limit=1000)
    assert event == TooLarge(position=0, offset=0, size=1001, url="http://example.org/")
    event = response(http(body, "Content-Type: image/svg+xml", "Content-Encoding: gzip"), tmp_path, limit=1000)
    assert event == Skipped(position=0, offset=0, kind="not HTML or plain text")


def test_plain_text_is_taken_as_it_is(tmp_path: Path) -> None:
    """A text/plain body keeps its line breaks, in the charset that fits."""
    event = response(http("Köln\n<b>".encode("latin-1"), "Content-Type: text/plain; charset=ISO-8859-1"), tmp_path)
    assert isinstance(event, Record)
    assert event.text == "Köln\n<b>"


@pytest.mark.parametrize("charset", ["klingon", "unicode_escape", "utf-7", "idna", "undefined", "base64", "a\0b", ""])
@pytest.mark.parametrize("mime", ["text/html", "text/plain"])
def test_a_strange_charset_stops_nothing(tmp_path: Path, charset: str, mime: str) -> None:
    """A charset that is none of the web's is passed over."""
    event = response(
        http(b"+2AA- \\ud800 " + page("für").encode(), f"Content-Type: {mime}; charset={charset}"), tmp_path
    )
    assert isinstance(event, Record)
    assert "für" in event.text
    event.text.encode()


def test_bare_newlines_end_a_header_as_well() -> None:
    """Old crawls end the lines of HTTP headers with a newline; a block without a header is a body."""
    assert split_http(b"HTTP/1.0 404 X\nA: b\n\nbody\r\n\r\n") == (404, {"a": "b"}, b"body\r\n\r\n")
    assert split_http(b"<html>") == (200, {}, b"<html>")
    assert split_http(b"HTTP/1.0\r\n\r\n") == (200, {}, b"")
    assert split_http(b"HTTP/1.0 ok\r\nno colon\r\n\r\n") == (200, {"no colon": ""}, b"")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_arc_is_read_and_resumed(tmp_path: Path, packed: bool) -> None:
    """An ARC file gives its responses, from any place on."""
    content = arc(*(http(page(f"page {i}").encode(), HTML) for i in range(3)))
    content = gzip.compress(content) if packed else content
    events = read(tmp_path, "a.arc.gz", content)
    assert kinds(events) == ["Skipped", "Record", "Record", "Record"]
    assert texts(events) == ["page 0", "page 1", "page 2"]
    for i, event in enumerate(events):
        assert read(tmp_path, "a.arc.gz", content, after=event) == events[i + 1 :]


def test_a_cut_arc_is_said(tmp_path: Path) -> None:
    """An ARC file that ends early has its whole records and one Unreadable."""
    content = arc(*(http(page(f"page {i}").encode(), HTML) for i in range(3)))
    for cut in (len(content) - 30, len(content) - 150):
        assert kinds(read(tmp_path, "a.arc", content[:cut])) == ["Skipped", "Record", "Record", "Unreadable"]


@pytest.mark.parametrize("seed", range(20))
def test_no_damage_stops_a_reader(tmp_path: Path, seed: int) -> None:
    """Random damage gives events with rising positions, and resuming at any of them gives the rest."""
    draw = random.Random(seed)
    records = [
        *conversions(3),
        warc_record("response", http(page("p").encode(), HTML)),
        warc_record("request", b"x" * 50),
    ]
    plain = arc(*(http(page(f"page {i}").encode(), HTML) for i in range(3)))
    forms = {"a.warc": [records, members(records), members([b"".join(records)])], "a.arc": [[plain], members([plain])]}
    for name, contents in forms.items():
        for parts in contents:
            content = bytearray(b"".join(parts))
            for _ in range(draw.choice([1, 1, 5])):
                at = draw.randrange(len(content))
                content[at : at + draw.choice([0, 1, 20])] = draw.randbytes(draw.choice([1, 1, 20]))
            events = read(tmp_path, name, bytes(content))
            assert [event.position for event in events] == list(range(len(events)))
            place = draw.choice(events)
            assert read(tmp_path, name, bytes(content), after=place) == events[place.position + 1 :]


@pytest.mark.parametrize(
    ("name", "documents", "records"),
    [
        ("whirlwind.warc.gz", 1, 4),
        ("whirlwind.warc.wet.gz", 1, 2),
        ("pywb-iana.warc.gz", 16, 343),
        ("resiliparse-warcfile.warc.gz", 16, 50),
        ("resiliparse-clueweb-quirk.warc.gz", 29, 30),
        ("resiliparse-clipped.warc.gz", 0, 1),
        ("pywb-example.arc.gz", 1, 2),
    ],
)
def test_real_archives_are_read_whole_and_resumed(name: str, documents: int, records: int) -> None:
    """Archives of real crawlers give every record, from the start and from the middle."""
    if not (DATA / name).exists():
        pytest.skip(f"no sample archive {DATA / name}; LUSTRATE_DATA names the folder that has them")
    piece = Piece(path=str(DATA / name), relative=name, input=0, size=1, changed=0.0)
    events = list(read_piece(piece, Input(), 16_000_000))
    assert len(texts(events)) == documents
    assert [event.position for event in events] == list(range(records))
    middle = events[records // 2]
    place = Place(middle.position, middle.offset)
    assert list(read_piece(piece, Input(), 16_000_000, place)) == events[records // 2 + 1 :]

"""Every line of a file is read once, however the file is cut and whatever is in it."""

import io
import itertools
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import Input
from pipeline.formats import lines as lines_module
from pipeline.formats.lines import Line, Range, read_jsonl, split_lines
from pipeline.formats.record import Event, Record, Skipped, TooLarge, Unreadable
from tests.pipeline.formats.archives import LIMIT, read

PARTS = st.sampled_from([b"", b"\n", b"\n", b"\r\n", b"\n\n", b"a", b"bb", b"ccc", b"a longer line", b"\xff", b"\0"])


def split(data: bytes, start: int, stop: int | None, *, limit: int = LIMIT, after: int = -1) -> list[Line]:
    """Return the lines of a range of some bytes."""
    stream = io.BytesIO(data)
    stream.seek(max(start - 1, 0))
    return list(split_lines(stream, limit, Range(start, stop, after)))


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let chunks end inside lines."""
    monkeypatch.setattr(lines_module, "CHUNK_BYTES", 7)


@settings(max_examples=300, deadline=None)
@given(data=st.lists(PARTS, max_size=20).map(b"".join), cuts=st.lists(st.integers(0, 80)), chunk=st.integers(1, 40))
def test_the_ranges_of_a_file_hold_each_line_once(data: bytes, cuts: list[int], chunk: int) -> None:
    """However a file is cut, the lines of all ranges are the lines of the file."""
    lines_module.CHUNK_BYTES = chunk
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    ranges = [(a, None if b == len(data) else b) for a, b in itertools.pairwise(edges)]
    expected = data.split(b"\n")[: None if data and not data.endswith(b"\n") else -1]
    found = [line for start, stop in ranges for line in split(data, start, stop)]
    assert [line.data for line in found] == expected[: len(expected) if data else 0]
    assert [line.offset for line in found] == [
        sum(len(part) + 1 for part in expected[:i]) for i in range(len(expected) if data else 0)
    ]


@settings(max_examples=100, deadline=None)
@given(data=st.lists(PARTS, max_size=20).map(b"".join), limit=st.integers(0, 12))
def test_a_long_line_is_counted_and_leaves_the_others_alone(data: bytes, limit: int) -> None:
    """A line over the limit has its size and no content; every other line is as without a limit."""
    whole, limited = split(data, 0, None), split(data, 0, None, limit=limit)
    assert [(line.offset, line.size) for line in limited] == [(line.offset, line.size) for line in whole]
    assert [line.data for line in limited] == [line.data if line.size <= limit else None for line in whole]


def test_reading_goes_on_after_any_line() -> None:
    """A range that is resumed yields exactly the lines behind the given one."""
    data = b"one\n\ntwo\r\nthree\nlast"
    whole = split(data, 0, None)
    for i, line in enumerate(whole):
        assert split(data, 0, None, after=line.offset) == whole[i + 1 :]


def jsonl(*values: bytes, given: Input | None = None) -> list[Event]:
    """Return what lines of JSON are."""
    return list(read_jsonl(iter(split(b"\n".join(values), 0, None)), given or Input()))


def test_fields_are_taken_where_the_configuration_says() -> None:
    """Text, id, url, date and source come from the named fields; every other field goes to meta."""
    fields = {"body": "t", "key": 7, "link": "u", "when": "2020", "from": "s", "other": [1]}
    given = Input(text="body", id="key", url="link", date="when", source="from")
    (record,) = jsonl(orjson.dumps(fields), given=given)
    assert isinstance(record, Record)
    assert (record.text, record.source_id, record.url, record.date, record.source) == ("t", "7", "u", "2020", "s")
    assert orjson.loads(record.meta) == {"other": [1]}


@pytest.mark.parametrize("name", ["id", "url", "date"])
def test_the_source_may_be_a_field_that_is_something_else_too(name: str) -> None:
    """A field that is both id, url or date and the source is both."""
    (record,) = jsonl(orjson.dumps({"text": "t", name: "one"}), given=Input(source=name))
    assert isinstance(record, Record)
    assert (record.source, record.meta) == ("one", "{}")
    assert "one" in {record.source_id, record.url, record.date}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text":', "invalid JSON"),
        (b'{"text":"a"} {"text":"b"}', "invalid JSON"),
        (b'{"text":NaN}', "invalid JSON"),
        (b'{"text":"\xff"}', "invalid JSON"),
        (b'{"text":"\xed\xa0\x80"}', "invalid JSON"),
        (b'{"text":"\\ud800","x":' + b"[" * 100_000, "invalid JSON"),
        (b'{"text":"a","n":1' + b"0" * 400 + b"}", "invalid JSON"),
        (b"[" * 100_000, "invalid JSON"),
        (b'{"text":"a","x":' + b"[" * 100_000, "invalid JSON"),
        (b'["text"]', "a JSON object was expected, got list"),
        (b'"text"', "a JSON object was expected, got str"),
        (b"null", "a JSON object was expected, got NoneType"),
        (b"{}", "no field 'text'; the record has no field at all"),
        (b'{"a":1,"b":2}', "no field 'text'; the record has a, b"),
        (b'{"text":null}', "the field 'text' is null"),
        (b'{"text":5}', "the field 'text' holds int, not a string"),
        (b'{"text":["a"]}', "the field 'text' holds list, not a string"),
        (b'{"text":"a","id":' + b"[" * 300 + b"]" * 300 + b"}", "cannot keep the other fields"),
        (b'{"text":"a","x":' + b"[" * 300 + b"]" * 300 + b"}", "cannot keep the other fields"),
    ],
)
def test_a_line_that_is_no_record_says_why(line: bytes, reason: str) -> None:
    """A bad line is one Unreadable at its offset, and the lines around it are read."""
    first, bad, last = jsonl(b'{"text":"x"}', line, b'{"text":"y"}')
    assert isinstance(first, Record)
    assert isinstance(last, Record)
    assert isinstance(bad, Unreadable)
    assert bad.error.startswith(reason)
    assert bad.offset == 13


def test_half_a_surrogate_pair_is_replaced() -> None:
    """JSON can write what UTF-8 cannot; the rest of the record, a whole pair with it, is as it was."""
    (record,) = jsonl(b'{"text":"a\\ud800b\\ud83d\\ude00","n":[1,"\\udc00"]}')
    assert isinstance(record, Record)
    assert (record.text, record.meta) == ("a\ufffdb\U0001f600", '{"n":[1,"\ufffd"]}')


def test_odd_values_are_kept() -> None:
    """NUL, huge integers, a byte order mark and blank lines do no harm."""
    nul, big, blank = jsonl(b'\xef\xbb\xbf{"text":"a\\u0000b"}', b'{"text":"", "n":1' + b"0" * 300 + b"}", b" \r\n")
    assert isinstance(nul, Record)
    assert nul.text == "a\0b"
    assert isinstance(big, Record)
    assert isinstance(blank, Skipped)


def test_lines_of_plain_text_are_documents(tmp_path: Path) -> None:
    """With txt = "lines" each line is one document, without its end; wrong bytes are named by their place."""
    first, blank, bad, last = read(tmp_path, "a.txt", b"one\r\n\r\nt\xffo\nthree", Input(txt="lines"))
    assert isinstance(first, Record)
    assert (first.text, first.position) == ("one", 0)
    assert isinstance(blank, Skipped)
    assert isinstance(bad, Unreadable)
    assert (bad.position, bad.offset) == (7, 8)
    assert isinstance(last, Record)
    assert last.text == "three"


def test_a_text_file_is_one_document(tmp_path: Path) -> None:
    """A whole file is read without its byte order mark; over the limit it is counted."""
    (record,) = read(tmp_path, "a.txt", "\ufefffoo\nbar".encode())
    assert isinstance(record, Record)
    assert record.text == "foo\nbar"
    assert read(tmp_path, "b.txt", b"x" * 30, limit=29) == [TooLarge(position=0, offset=0, size=30)]
    assert isinstance(read(tmp_path, "b.txt", b"x" * 30, limit=30)[0], Record)

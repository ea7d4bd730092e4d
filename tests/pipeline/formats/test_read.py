"""Files are recognised by content and name, and a store that fails is never taken for bad bytes."""

import errno
import gzip
import io
import os
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard

from pipeline.config import Config, Input
from pipeline.formats import read as read_module
from pipeline.formats.read import read_piece
from pipeline.formats.recognise import format_of
from pipeline.formats.record import Record, Unreadable
from pipeline.plan import Piece, find, make_plan
from tests.pipeline.formats.archives import LIMIT, arc, conversions, http, members, page, parquet, read

JSONL = b'{"text":"a"}\n' * 50_000
TEXTS = pa.table({"text": [os.urandom(40).hex() for _ in range(4000)]})


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a", b"PAR1", "parquet"),
        ("a.txt", b"WARC/1.0\r\n", "warc"),
        ("a.jsonl.gz", b"filedesc://x", "arc"),
        ("A.JSONL.GZ", b"x", "jsonl"),
        ("a.ndjson.zst", b"x", "jsonl"),
        ("a.md", b"{", "txt"),
        ("a.warc.wet.gz", b"garbage", "warc"),
        ("a", b'\xef\xbb\xbf \r\n{"text":1}', "jsonl"),
        ("a", "grüße".encode()[:-2], "txt"),
        ("a", "中文".encode()[:4], "txt"),
        ("a", b"\xff\xfe", "unknown"),
        ("a", b"a\0b", "unknown"),
        ("a.bin", b"\x89PNG\r\n\x1a\n", "unknown"),
        ("a.csv.gz", b"id,text", "txt"),
        ("a.html", b"<p>text", "txt"),
    ],
)
def test_a_format_is_known_by_content_then_name(name: str, head: bytes, kind: str) -> None:
    """Magic bytes decide, then the name, then the look of the text."""
    assert format_of(name, head) == kind


def test_an_unknown_format_is_unreadable(tmp_path: Path) -> None:
    """A binary file of no known kind is one Unreadable."""
    (event,) = read(tmp_path, "a.bin", b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert isinstance(event, Unreadable)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz", "a.html", "a.xml"])
def test_a_table_is_no_document_but_its_lines_may_be(tmp_path: Path, name: str) -> None:
    """A file of marked-up or tabular text is one Unreadable, unless a document a line is asked for."""
    content = b"one line\nand another\n"
    (event,) = read(tmp_path, name, gzip.compress(content) if name.endswith("gz") else content)
    assert isinstance(event, Unreadable)
    assert event.error.startswith("a table or markup")
    (piece,) = make_plan(Config(input=(Input(paths=(f"{tmp_path}/*",)),))).shards[0].pieces
    events = list(read_piece(piece, Input(txt="lines"), LIMIT))
    assert [event.text for event in events if isinstance(event, Record)] == ["one line", "and another"]


@pytest.mark.parametrize("make", ["folder", "fifo"])
def test_what_is_no_file_is_never_opened(tmp_path: Path, make: str) -> None:
    """A folder or a FIFO that a pattern matches is one Unreadable, and nothing waits for it."""
    path = tmp_path / "a.jsonl"
    path.mkdir() if make == "folder" else os.mkfifo(path)
    config = Config(input=(Input(paths=(f"{tmp_path}/*",)),))
    (piece,) = make_plan(config).shards[0].pieces
    (event,) = list(read_piece(piece, config.input[0], LIMIT))
    assert isinstance(event, Unreadable)
    assert make in event.error.lower()


def test_a_document_of_one_word_up_to_the_limit_is_read(tmp_path: Path) -> None:
    """A monotonous document of exactly the limit is a Record, in every format of lines."""
    text = "word " * 20_000
    line = b'{"text":"' + text.encode() + b'"}'
    for name, content in (("a.jsonl", line), ("a.jsonl.gz", gzip.compress(line)), ("a.txt", text.encode())):
        (event,) = read(
            tmp_path, name, content, limit=len(gzip.decompress(content) if name.endswith("gz") else content)
        )
        assert isinstance(event, Record)
        assert event.text == text


class Failing(io.BytesIO):
    """A stream whose store fails after so many bytes."""

    def __init__(self, content: bytes, good: int, failure: Exception) -> None:
        super().__init__(content)
        self.left, self.failure = good, failure

    def read(self, size: int | None = -1, /) -> bytes:
        """Return what is asked for until the store fails."""
        part = super().read(size)
        self.left -= len(part)
        if self.left < 0:
            raise self.failure
        return part


class StoreError(Exception):
    """An error of a store that is no OSError."""


RESPONSES = arc(*(http(page(os.urandom(500).hex()).encode(), "Content-Type: text/html") for _ in range(300)))
FORMS = {
    "a.jsonl": JSONL,
    "a.jsonl.gz": gzip.compress(os.urandom(50_000).hex().encode()),
    "a.jsonl.zst": zstandard.compress(os.urandom(50_000).hex().encode()),
    "a.txt": JSONL,
    "a.parquet": parquet(TEXTS, rows=1000),
    "a.warc": b"".join(conversions(3000)),
    "a.warc.gz": b"".join(members(conversions(1500))),
    "a.arc": RESPONSES,
    "a.arc.gz": gzip.compress(RESPONSES),
}


@pytest.mark.parametrize("failure", [OSError(errno.EIO, "I/O error"), OSError("no errno"), StoreError("503")], ids=str)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("name", FORMS)
def test_an_error_of_the_store_is_raised(
    name: str, share: float, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a read fails, the store's own error comes out and no Unreadable is written for it."""
    content = FORMS[name]
    monkeypatch.setattr(read_module, "open_input", lambda _: Failing(content, int(len(content) * share), failure))
    piece = Piece(path=name, relative=name, input=0, size=len(content), changed=0.0)
    events: list[Unreadable] = []
    with pytest.raises(type(failure)) as raised:
        events.extend(event for event in read_piece(piece, Input(), LIMIT) if isinstance(event, Unreadable))
    assert raised.value is failure
    assert not [event for event in events if "failure" in event.error]


def test_offsets_do_not_depend_on_the_place_of_a_file(tmp_path: Path) -> None:
    """The same content gives the same events under any path."""
    (tmp_path / "other folder").mkdir()
    for name, content in FORMS.items():
        if name in {"a.jsonl.gz", "a.jsonl.zst"}:
            continue
        assert read(tmp_path, name, content) == read(tmp_path / "other folder", name, content)


def test_ids_do_not_depend_on_the_split(tmp_path: Path) -> None:
    """The byte ranges that the plan makes give the records of the whole file, each once."""
    (tmp_path / "a.jsonl").write_bytes(JSONL)
    given = Input(paths=(str(tmp_path / "*.jsonl"),))
    (whole,) = find(given, 0)
    plan = make_plan(Config(input=(given,)))
    pieces = [piece for shard in plan.shards for piece in shard.pieces]
    assert len(pieces) > 1
    split = [event for piece in pieces for event in read_piece(piece, given, LIMIT)]
    assert split == list(read_piece(whole, given, LIMIT))

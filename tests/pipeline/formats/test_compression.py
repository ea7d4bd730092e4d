"""Compressed streams give all that precedes a damaged place, in bounded memory."""

import gzip
import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from pipeline.formats.compression import WRONG_BYTES, decompressed
from pipeline.formats.lines import Range, split_lines
from pipeline.formats.record import Event, Record, Skipped, TooLarge, Unreadable
from tests.pipeline.formats.archives import read

Pack = Callable[[bytes], bytes]
LINES = b"".join(b'{"text":"line %d %d"}\n' % (i, i * i * 7919 % 10_007) for i in range(20_000))

both = pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])


def unpack(data: bytes) -> tuple[bytes, bool]:
    """Return what comes out, and whether it came to a good end."""
    out, stream = b"", decompressed(io.BytesIO(data))
    try:
        while part := stream.read(100):
            out += part
    except WRONG_BYTES:
        return out, False
    return out, True


@both
def test_members_and_padding_are_one_stream(pack: Pack) -> None:
    """Members one after the other, an empty one and padding included, give their contents joined."""
    assert unpack(pack(LINES) + pack(b"") + pack(b"more") + b"\0" * 99) == (LINES + b"more", True)


@both
def test_what_precedes_garbage_comes_out(pack: Pack) -> None:
    """Garbage between members is an error after the last good byte."""
    assert unpack(pack(LINES) + b"garbage" * 9 + pack(b"more")) == (LINES, False)


@both
@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_cut_stream_is_an_error(pack: Pack, share: float) -> None:
    """A truncated stream gives a prefix and then an error, never a silent end."""
    packed = pack(LINES)
    out, whole = unpack(packed[: int(len(packed) * share)])
    assert not whole
    assert LINES.startswith(out)
    assert len(out) >= (share - 0.5) * len(LINES)


@both
def test_the_lines_before_the_cut_are_read(tmp_path: Path, pack: Pack) -> None:
    """A truncated file gives each whole line as a record and one Unreadable, also when it is resumed there."""
    packed = pack(LINES)
    events = read(tmp_path, "a.jsonl.x", packed[: len(packed) * 4 // 5])
    assert len(events) > 10_000
    assert all(isinstance(event, Record) for event in events[:-1])
    assert isinstance(events[-1], Unreadable)
    assert events[-1].offset == LINES.index(b"\n", events[-2].offset) + 1
    assert read(tmp_path, "a.jsonl.x", packed[: len(packed) * 4 // 5], after=events[-3]) == events[-2:]
    assert read(tmp_path, "a.jsonl.x", packed[: len(packed) * 4 // 5], after=events[-1]) == []


@both
@pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "a.parquet", "a.warc", "a"])
def test_a_file_cut_in_its_first_bytes_is_unreadable(tmp_path: Path, pack: Pack, name: str) -> None:
    """A file of which nothing can be decompressed is one Unreadable, whatever its name says."""
    (event,) = read(tmp_path, name, pack(LINES)[:8])
    assert isinstance(event, Unreadable)


@both
def test_a_file_of_nothing_has_no_document(tmp_path: Path, pack: Pack) -> None:
    """Nothing, compressed or not, is skipped and counted, as no bytes of it are wrong."""
    nothing = [Skipped(position=0, offset=0, kind="empty file")]
    assert read(tmp_path, "a.jsonl", pack(b"")) == read(tmp_path, "a.jsonl.gz", pack(b"")) == nothing
    for name in ("b.jsonl", "b.txt", "b.warc", "b"):
        assert read(tmp_path, name, b"") == nothing


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.warc.ZST", "a.parquet"])
def test_a_file_that_lost_all_its_bytes_is_unreadable(tmp_path: Path, name: str) -> None:
    """One of a kind that is never without a byte."""
    assert read(tmp_path, name, b"") == [Unreadable(position=0, offset=0, error="the file is empty")]


def peak_of(work: Callable[[], list[Event]]) -> tuple[list[Event], int]:
    """Return a result and the most bytes that Python held meanwhile."""
    tracemalloc.start()
    try:
        result = work()
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
def test_a_line_of_64_megabytes_is_counted_and_not_held(tmp_path: Path, pack: Pack) -> None:
    """A line far over the limit takes about the memory of one step of decompression, and the next one is read."""
    content = pack(b'{"text":"' + b"a " * 32_000_000 + b'"}\n{"text":"next"}\n')
    (long, after), peak = peak_of(lambda: read(tmp_path, "a.jsonl", content))
    assert isinstance(long, TooLarge)
    assert long.size == 64_000_011
    assert isinstance(after, Record)
    assert peak < 48_000_000


def test_what_is_held_of_a_line_stays_within_the_limit() -> None:
    """While a long line passes, no more than the limit and a chunk is in memory."""

    class Endless(io.RawIOBase):
        """A stream of 50 MB without a line end."""

        left = 50_000_000

        def read(self, size: int = -1, /) -> bytes:
            part = b"a" * min(size, self.left)
            self.left -= len(part)
            return part

    def sizes() -> list[Event]:
        found = split_lines(Endless(), 100_000, Range())
        return [TooLarge(position=0, offset=0, size=line.size) for line in found]

    (event,), peak = peak_of(sizes)
    assert event == TooLarge(position=0, offset=0, size=50_000_000)
    assert peak < 6_000_000

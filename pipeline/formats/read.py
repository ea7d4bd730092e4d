"""read_piece: one piece of an input, recognised from its content and its name, as events."""

from collections.abc import Iterator

from pipeline.config import Input
from pipeline.formats.compression import Readable, decompressed
from pipeline.formats.lines import Range, read_jsonl, read_text_file, read_text_lines, split_lines
from pipeline.formats.parquet import read_parquet
from pipeline.formats.recognise import is_no_document, needs_bytes, recognise
from pipeline.formats.record import Event, Place, Skipped, Unreadable
from pipeline.formats.warc import read_arc, read_warc
from pipeline.plan import Piece
from pipeline.storage import open_input


def read_piece(piece: Piece, given: Input, limit: int, after: Place | None = None) -> Iterator[Event]:
    """Yield every record of a piece, those after `after`; a store's error is raised, wrong bytes are events."""
    last = after.position if after else -1
    events = _whole(piece.error) if piece.error else _read_file(piece, given, limit, last)
    return (event for event in events if event.position > last)


def _whole(error: str) -> Iterator[Event]:
    """Yield a file of which nothing can be read."""
    yield Unreadable(position=0, offset=0, error=error)


def _read_file(piece: Piece, given: Input, limit: int, after: int) -> Iterator[Event]:
    """Yield the records of a file; those before `after` only where they are in the way."""
    with open_input(piece.path) as stream:
        kind = recognise(stream, piece.path)
        if kind == "parquet":
            yield from read_parquet(stream, given, piece.groups, limit, after)
        elif kind == "warc":
            yield from read_warc(stream, limit, after)
        elif kind == "arc":
            yield from read_arc(stream, limit, after)
        elif kind == "empty":
            cut_off = needs_bytes(piece.path) and not stream.read(1)
            yield from _whole("the file is empty") if cut_off else [Skipped(position=0, offset=0, kind="empty file")]
        elif kind == "unknown":
            yield from _whole("not JSONL, Parquet, WARC, WET, ARC or UTF-8 text")
        elif kind == "txt" and given.txt == "file" and is_no_document(piece.path):
            yield from _whole("a table or markup by its name, not documents: make it JSONL or Parquet")
        else:
            yield from _read_text(decompressed(stream), kind, piece, given, limit, after)


def _read_text(stream: Readable, kind: str, piece: Piece, given: Input, limit: int, after: int) -> Iterator[Event]:
    if kind == "txt" and given.txt == "file":
        yield from read_text_file(stream, limit)
        return
    if piece.start:
        stream.seek(piece.start - 1)  # type: ignore[attr-defined]  # only plain files are split
    lines = split_lines(stream, limit, Range(piece.start, piece.stop, after))
    yield from read_jsonl(lines, given) if kind == "jsonl" else read_text_lines(lines)

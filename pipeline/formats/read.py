"""read_piece: one piece of an input, recognised from its content and its name, as events."""

from collections.abc import Iterator

from pipeline.config import Input
from pipeline.formats.compression import WRONG_BYTES, Readable, decompressed
from pipeline.formats.lines import Range, read_jsonl, read_text_file, read_text_lines, split_lines
from pipeline.formats.parquet import read_parquet
from pipeline.formats.record import Event, Place, Unreadable
from pipeline.formats.warc import read_arc, read_warc
from pipeline.plan import Piece
from pipeline.storage import open_input

HEAD_BYTES = 4096
_NAMES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".txt": "txt",
    ".text": "txt",
    ".md": "txt",
}
_PACKED = (".gz", ".zst", ".zstd")


def format_of(name: str, head: bytes) -> str:
    """Return jsonl, txt, parquet, warc, arc or unknown: magic bytes first, then the name, then the look of the text."""
    for magic, kind in ((b"PAR1", "parquet"), (b"WARC/", "warc"), (b"filedesc://", "arc")):
        if head.startswith(magic):
            return kind
    name = name.lower()
    for packed in _PACKED:
        name = name.removesuffix(packed)
    for suffix, kind in _NAMES.items():
        if name.endswith(suffix):
            return kind
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return "jsonl"
    return "txt" if _looks_like_text(head) else "unknown"


def _looks_like_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return len(head) - error.start < 4 and b"\0" not in head  # cut inside a character
    return b"\0" not in head


def read_piece(piece: Piece, given: Input, limit: int, after: Place | None = None) -> Iterator[Event]:
    """Yield every record of a piece, those after `after`; a store's error is raised, wrong bytes are events."""
    if piece.error:
        yield Unreadable(position=0, offset=0, error=piece.error)
        return
    with open_input(piece.path) as stream:
        if piece.size == 0 or not stream.read(1):
            yield Unreadable(position=0, offset=0, error="the file is empty")
            return
        stream.seek(0)
        try:
            head = decompressed(stream).read(HEAD_BYTES)[:HEAD_BYTES]
        except WRONG_BYTES as error:
            yield Unreadable(position=0, offset=0, error=f"cannot decompress: {error}")
            return
        stream.seek(0)
        kind = format_of(piece.path, head)
        if kind == "parquet":
            yield from read_parquet(stream, given, piece.groups, limit, after.position if after else -1)
        elif kind == "warc":
            yield from read_warc(stream, limit, after)
        elif kind == "arc":
            yield from read_arc(stream, limit, after)
        elif kind == "unknown":
            yield Unreadable(position=0, offset=0, error="not JSONL, Parquet, WARC, WET, ARC or UTF-8 text")
        else:
            yield from _read_text(decompressed(stream), kind, piece, given, limit, after)


def _read_text(
    stream: Readable, kind: str, piece: Piece, given: Input, limit: int, after: Place | None
) -> Iterator[Event]:
    if kind == "txt" and given.txt == "file":
        if after is None:
            yield from read_text_file(stream, limit)
        return
    if piece.start:
        stream.seek(piece.start - 1)  # type: ignore[attr-defined]  # only plain files are split
    lines = split_lines(stream, limit, Range(piece.start, piece.stop, after.offset if after else -1))
    yield from read_jsonl(lines, given) if kind == "jsonl" else read_text_lines(lines)

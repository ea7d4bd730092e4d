"""Which format a file has: from its first bytes, then its name, then the look of the text."""

from typing import BinaryIO

from pipeline.formats.compression import WRONG_BYTES, decompressed

HEAD_BYTES = 4096
_NAMES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".txt": "txt",
    ".text": "txt",
    ".md": "txt",
    ".parquet": "parquet",
    ".warc": "warc",
    ".wet": "warc",
    ".arc": "arc",
}
_PACKED = (".gz", ".zst", ".zstd")


def format_of(name: str, head: bytes) -> str:
    """Return jsonl, txt, parquet, warc, arc or unknown: magic bytes first, then the name, then the look of the text."""
    for magic, kind in ((b"PAR1", "parquet"), (b"WARC/", "warc"), (b"filedesc://", "arc")):
        if head.startswith(magic):
            return kind
    name = _unpacked(name)
    for suffix, kind in _NAMES.items():
        if name.endswith(suffix):
            return kind
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return "jsonl"
    return "txt" if _looks_like_text(head) else "unknown"


def is_no_document(name: str) -> bool:
    """Tell by its name whether a text is a whole table or a marked-up page, which is no document; its lines may be."""
    return _unpacked(name).endswith((".csv", ".tsv", ".html", ".htm", ".xml"))


def _unpacked(name: str) -> str:
    """Return a name in small letters, without what compression adds to it."""
    name = name.lower()
    for packed in _PACKED:
        name = name.removesuffix(packed)
    return name


def _looks_like_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data" and b"\0" not in head  # cut inside a character
    return b"\0" not in head


def recognise(stream: BinaryIO, name: str) -> str:
    """Return the format of a file, empty for one without bytes; the stream is at its start again afterwards."""
    try:
        head = decompressed(stream).read(HEAD_BYTES)[:HEAD_BYTES]
    except WRONG_BYTES:
        head = None  # the reader that the name calls for says what is wrong
    stream.seek(0)
    return "empty" if head == b"" else format_of(name, head or b"")


def needs_bytes(name: str) -> bool:
    """Tell by its name whether a file without a byte was cut off, as compressed ones and Parquet have some."""
    return name.lower().endswith((*_PACKED, ".parquet"))


def is_compressed(stream: BinaryIO) -> bool:
    """Tell whether a file is compressed, whatever its name; the stream is at its start again afterwards."""
    plain = decompressed(stream) is stream
    stream.seek(0)
    return not plain

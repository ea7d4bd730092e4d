"""Decompression that notices when a stream is cut off."""

import gzip
from typing import Any, BinaryIO, Protocol

import zstandard
from isal import igzip, isal_zlib

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MAX_ZSTD_WINDOW = 2**31  # `zstd --long=31`; the library's default refuses more than 2**27

# What a decompressor raises for wrong bytes, as opposed to a store that fails (any other OSError).
WRONG_BYTES: Any = (EOFError, gzip.BadGzipFile, isal_zlib.error, zstandard.ZstdError)


class Readable(Protocol):
    """The one method a reader needs."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes; none at the end."""


class ZstdStream:
    """Frames of zstandard as one stream; raises EOFError when the last frame is cut off."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._frame = self._new_frame()
        self._started = False  # the current frame has seen bytes
        self._left = b""  # compressed bytes after the frame that ended

    @staticmethod
    def _new_frame() -> Any:
        return zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW).decompressobj()

    def read(self, size: int = -1, /) -> bytes:
        """Return some decompressed bytes; more than `size` may come, none at the end."""
        while True:
            data = self._left or self._stream.read(size if size > 0 else 1 << 20)
            self._left = b""
            if not data:
                if self._started:
                    raise EOFError("the zstandard stream is cut off")
                return b""
            out = self._frame.decompress(data)
            self._started = not self._frame.eof
            if self._frame.eof:
                self._left = self._frame.unused_data
                self._frame = self._new_frame()
            if out:
                return out


def decompressed(stream: BinaryIO) -> Readable:
    """Return a stream of plain bytes, whatever compression the first bytes show."""
    head = stream.read(4)
    stream.seek(0)
    if head.startswith(GZIP_MAGIC):
        return igzip.IGzipFile(fileobj=stream, mode="rb")
    if head == ZSTD_MAGIC:
        return ZstdStream(stream)
    return stream

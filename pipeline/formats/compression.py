"""Decompression in small steps: what precedes a damaged place still comes out, and no bomb is held in memory."""

from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO, Protocol, cast

import zstandard
from isal import isal_zlib

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MAX_ZSTD_WINDOW = 2**31  # `zstd --long=31`; the library's default refuses more than 2**27

# Compressed bytes taken at once: deflate expands up to 1,032 times, zstandard up to 32,768 times: 8 and 16 MB come out.
GZIP_FEED_BYTES = 8192
ZSTD_FEED_BYTES = 512

# What a decompressor raises for wrong bytes, as opposed to a store that fails (an OSError).
WRONG_BYTES: Any = (EOFError, isal_zlib.error, zstandard.ZstdError)


class Readable(Protocol):
    """The one method a reader needs."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes; none at the end."""


class WatchedStream:
    """A stream that remembers when the store failed, because a parser turns that into an error of its own."""

    closed = False

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._failure: Exception | None = None

    def read(self, size: int = -1, /) -> bytes:
        """Read, and keep the store's error."""
        try:
            return self._stream.read(size)
        except WRONG_BYTES:
            raise
        except Exception as error:
            self._failure = error
            raise

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move, where the stream can."""
        return cast("BinaryIO", self._stream).seek(offset, whence)

    def tell(self) -> int:
        """Return the place, where the stream knows."""
        return cast("BinaryIO", self._stream).tell()

    def raise_failure(self) -> None:
        """Raise the store's error, if there was one."""
        if self._failure is not None:
            raise self._failure


class Unpacked:
    """Members of gzip or frames of zstandard as one stream; raises EOFError when the last one is cut off."""

    def __init__(self, stream: BinaryIO, new_member: Callable[[], Any], feed_bytes: int) -> None:
        self._stream = stream
        self._new_member = new_member
        self._feed_bytes = feed_bytes
        self._member: Any = None  # None between two of them
        self._left = b""  # compressed bytes after the member that ended

    def read(self, _size: int = -1, /) -> bytes:
        """Return some decompressed bytes, whatever the size asked for; none at the end."""
        while data := self._left or self._stream.read(self._feed_bytes):
            self._left = b""
            if self._member is None:
                data = data.lstrip(b"\0")  # padding is legal after a member
                if not data:
                    continue
                self._member = self._new_member()
            out: bytes = self._member.decompress(data)
            if self._member.eof:
                self._left, self._member = self._member.unused_data, None
            if out:
                return out
        if self._member is not None:
            raise EOFError("the compressed stream is cut off")
        return b""


def decompressed(stream: BinaryIO) -> Readable:
    """Return a stream of plain bytes, whatever compression the first bytes show."""
    head = stream.read(4)
    stream.seek(0)
    if head.startswith(GZIP_MAGIC):
        return Unpacked(stream, partial(isal_zlib.decompressobj, wbits=31), GZIP_FEED_BYTES)
    if head == ZSTD_MAGIC:
        frames = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW)
        return Unpacked(stream, frames.decompressobj, ZSTD_FEED_BYTES)
    return stream

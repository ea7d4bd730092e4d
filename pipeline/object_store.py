"""Files in object stores, through fsspec: s3:// by s3fs, gs:// by gcsfs, and whatever else it knows.

A request that fails is asked again after a pause, here and nowhere below, so that tries are counted and a store that
stays away is given up in time; of gs:// gcsfs does so itself, which cannot be switched off. Place, region and keys come
from where all tools look for them: the environment of a process (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, …), ~/.aws, or
the role of the machine.
"""

import contextlib
import errno
import io
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, TypeVar

T = TypeVar("T")

ATTEMPTS = 7  # failures of a request that end it
BUSY_ATTEMPTS = 20  # of those by which a store says that it is too busy (503, SlowDown)
FIRST_WAIT_SECONDS = 0.5  # doubled after each try
LONGEST_WAIT_SECONDS = 8.0
LONGEST_BUSY_SECONDS = 3.0  # so that these tries end within a lease's lifetime (lease.py)
CONNECT_SECONDS, READ_SECONDS = 5, 60  # until a connection, or an answer, is given up
LEAST_READ_BYTES, MOST_READ_BYTES = 1 << 20, 1 << 24  # asked for at once; doubled while a file is read on
PARTS_AT_ONCE = 2  # of an upload beyond 100 MB; each is held in memory
READ_AT_ONCE = 100  # small objects
DELETED_AT_ONCE = 1000  # what S3 takes
REFUSALS = (PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError)
_MAGIC = re.compile(r"[*?\[]")


class StoreFailed(OSError):  # noqa: N818 - as RunFailed
    """A store refuses, or has failed at every try; the message is the one line that its user reads."""


@dataclass(slots=True)
class Tries:
    """What this process had to ask again."""

    again: int = 0


TRIES = Tries()


def files(path: str) -> Any:
    """Return the fsspec file system of a URL, one a process; raises ValueError where there is none."""
    import fsspec  # and what it imports in turn, for those who have a store

    scheme = path.partition("://")[0]
    try:
        if scheme == "gs":
            from gcsfs.core import (
                GCSFileSystem,
            )  # that of the package asks by gRPC, which no fork survives, for its kind

            return GCSFileSystem(**_settings(scheme))
        return fsspec.filesystem(scheme, **_settings(scheme))
    except ImportError as error:
        extra = {"s3": "aws", "gs": "gcp"}.get(scheme)
        needed = f"the extra [{extra}] (README, In an object store)" if extra else str(error)
        raise ValueError(f"{scheme}:// needs {needed}") from error


def _settings(scheme: str) -> dict[str, Any]:
    """Return how a file system asks: once, so that only `asked` tries again, and never from a cache."""
    if scheme == "gs":
        from aiohttp import ClientTimeout

        soon = ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
        return {"use_listings_cache": False, "requests_timeout": soon}
    if scheme != "s3":
        return {"use_listings_cache": False}
    import s3fs

    s3fs.S3FileSystem.retries = 1
    once = {"retries": {"total_max_attempts": 1}, "connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}
    return {"use_listings_cache": False, "max_concurrency": PARTS_AT_ONCE, "config_kwargs": once}


def asked(path: str, action: Callable[[Any], T]) -> T:
    """Ask the store of a path for something, again after a pause when it fails.

    Raises FileNotFoundError for what is not there, StoreFailed for all else; both name the path.
    """
    store = files(path)
    tries, busy = 0, 0
    while True:
        try:
            return action(store)
        except Exception as error:  # whatever a library of a store raises
            if isinstance(error, FileNotFoundError) and _code(error) != "NoSuchUpload":  # that of an upload begun anew
                raise FileNotFoundError(f"{path}: {_reason(error, path)}") from error
            if not _passes(error, path.partition("://")[0]):
                raise StoreFailed(f"{path}: {_reason(error, path)}") from error
            is_busy = getattr(error, "errno", None) == errno.EBUSY  # what s3fs makes of it
            tries, busy = tries + 1, busy + is_busy
            if busy == BUSY_ATTEMPTS or tries - busy == ATTEMPTS:
                raise StoreFailed(f"{path}: {_reason(error, path)} (at {tries} tries)") from error
        TRIES.again += 1
        longest = min(FIRST_WAIT_SECONDS * 2 ** (tries - 1), LONGEST_BUSY_SECONDS if is_busy else LONGEST_WAIT_SECONDS)
        time.sleep(longest * random.uniform(0.75, 1))  # noqa: S311 - workers should not all come back at once


def _passes(error: Exception, scheme: str) -> bool:
    """Tell whether what a store or a connection to it raised may be gone at the next try."""
    if scheme == "gs":  # what else gcsfs raises is refused: a 403 is a plain OSError
        from gcsfs.retry import is_retriable

        return isinstance(error, (ConnectionError, TimeoutError)) and not is_retriable(error)  # by it: tried six times
    if isinstance(error, OSError):
        return not isinstance(error, REFUSALS)
    try:
        from botocore.exceptions import ConnectionError as NotConnected
        from s3fs.core import S3_RETRYABLE_ERRORS
    except ImportError:
        return False
    return isinstance(error, (*S3_RETRYABLE_ERRORS, NotConnected))


def _code(error: Exception) -> str:
    """Return the code of an answer of S3 that became this error."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _no_bucket(error: Exception, path: str) -> bool:
    """Tell whether what is not there is the bucket: gcsfs says what it asked, the list of the bucket's objects."""
    return _code(error) == "NoSuchBucket" or str(error).endswith(f"b/{path.split('/')[2]}/o")


def _reason(error: Exception, path: str) -> str:
    if isinstance(error, FileNotFoundError) and path.startswith("gs://"):
        return "the bucket does not exist" if _no_bucket(error, path) else "not there"
    said = str(getattr(error, "strerror", None) or error).partition("\n")[0].strip()
    if not said or said.rstrip("/") == path.partition("://")[2].rstrip("/"):
        return "not there" if isinstance(error, FileNotFoundError) else type(error).__name__
    return said


def open_object(path: str) -> BinaryIO:
    """Open an object for reading, seekable."""
    size, _ = looked_at(path)
    return io.BufferedReader(Ranges(path, size))


class Ranges(io.RawIOBase):
    """An object as ranges of it: a little around a place that is jumped to, more and more where it is read on."""

    def __init__(self, path: str, size: int) -> None:
        super().__init__()
        self._path, self._size, self._place = path, size, 0
        self._held, self._start, self._next = b"", 0, LEAST_READ_BYTES

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read anywhere."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move; nothing is asked of the store."""
        self._place = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence])
        return self._place

    def tell(self) -> int:
        """Return the place."""
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        """Read what is held of the place, or else hold what follows it."""
        wanted = min(len(buffer), self._size - self._place)
        if wanted <= 0:
            return 0
        if not self._start <= self._place < self._start + len(self._held):
            self._hold(wanted)
        at = self._place - self._start
        data = self._held[at : at + wanted]
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def _hold(self, wanted: int) -> None:
        read_on = self._place == self._start + len(self._held)
        self._next = min(2 * self._next, MOST_READ_BYTES) if read_on and self._held else LEAST_READ_BYTES
        stop = min(self._size, self._place + max(wanted, self._next))
        self._held = read_part(self._path, self._place, stop)
        self._start = self._place


def read(path: str) -> bytes:
    """Return an object that is not empty, by one request."""
    return bytes(asked(path, lambda store: store.cat_file(path, start=0)))


def read_end(path: str, size: int) -> bytes:
    """Return the last bytes of an object that is not empty, all where it has no more, by one request."""
    return bytes(asked(path, lambda store: store.cat_file(path, start=-size)))


def read_part(path: str, start: int, stop: int) -> bytes:
    """Return a part of an object, which is not empty, by one request; raises StoreFailed where it does not have it."""
    data = bytes(asked(path, lambda store: store.cat_file(path, start=start, end=stop)))
    if len(data) != stop - start:
        raise StoreFailed(f"{path}: {len(data)} of {stop - start} bytes came; has it changed?")
    return data


def read_all(paths: Sequence[str]) -> Iterator[bytes]:
    """Yield objects that are not empty, many of them asked for at once."""
    for first in range(0, len(paths), READ_AT_ONCE):
        part = list(paths[first : first + READ_AT_ONCE])
        found = asked(part[0], partial(_cat, part))
        for path in part:
            got = found[path.partition("://")[2]]
            TRIES.again += not isinstance(got, bytes)
            yield got if isinstance(got, bytes) else read(path)


def _cat(paths: Sequence[str], store: Any) -> dict[str, Any]:
    """Return what came of each object, by its path without a scheme: bytes, or an error."""
    return dict(store.cat(list(paths), on_error="return", start=0))


def put(path: str, source: str) -> None:
    """Write a local file to an object, which appears whole."""
    asked(path, lambda store: store.put_file(source, path))


def get(path: str, target: str) -> None:
    """Copy an object to a local file."""
    asked(path, lambda store: store.get_file(path, target))


def exists(path: str) -> bool:
    """Tell whether an object, or one below it, is there."""
    return bool(asked(path, lambda store: store.exists(path)))


def copy(source: str, target: str) -> None:
    """Copy an object within its store."""
    asked(source, lambda store: store.cp_file(source, target))


def looked_at(path: str) -> tuple[int, float]:
    """Return the size of an object and the time of its last change, in seconds since the epoch."""
    info = asked(path, lambda store: store.info(path))
    return info["size"], _changed(info)


def names(folder: str) -> list[str]:
    """Return the names of the objects directly in a folder, sorted."""
    return sorted(name for name, _ in _listed(folder.rstrip("/") + "/", deep=False))


def walk(folder: str) -> list[str]:
    """Return the names of all objects under a folder, relative to it, sorted."""
    return sorted(name for name, _ in _listed(folder.rstrip("/") + "/", deep=True))


def match(pattern: str) -> Iterator[tuple[str, int, float]]:
    """Yield path, size and time of change of the objects that a pattern matches: * and ? within a name, ** across.

    Raises FileNotFoundError where the bucket or, for a pattern without wildcards, the object is not there.
    """
    magic = _MAGIC.search(pattern)
    if not magic:
        yield (pattern, *looked_at(pattern))
        return
    from fsspec.utils import glob_translate

    folder = pattern[: pattern.rfind("/", 0, magic.start()) + 1]
    wanted = re.compile(glob_translate(pattern[len(folder) :]))
    deep = "/" in pattern[magic.start() :] or "**" in pattern
    for name, info in _listed(folder, deep=deep):
        if wanted.match(name):
            yield folder + name, info["size"], _changed(info)


def _listed(folder: str, *, deep: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a folder: their names in it and what the store says of them."""
    base = folder.partition("://")[2]
    for info in asked(folder, lambda store: _list(store, folder, deep=deep)):
        name = str(info["name"])
        if info["type"] == "file" and name.startswith(base) and name != base:
            yield name[len(base) :], info


def _list(store: Any, folder: str, *, deep: bool) -> list[dict[str, Any]]:
    """List a folder; a glob of fsspec's would pass over what cannot be listed."""
    if deep:
        return list(store.find(folder, detail=True).values())
    try:
        return list(store.ls(folder, detail=True))
    except FileNotFoundError as error:
        if _no_bucket(error, folder):
            raise
        return []


def _changed(info: dict[str, Any]) -> float:
    """Return the seconds since the epoch at which an object was written, 0 where a store does not say."""
    told: Any = info.get("LastModified") or info.get("mtime") or info.get("last_modified") or 0
    return float(told.timestamp() if hasattr(told, "timestamp") else told)


def remove(path: str) -> None:
    """Remove an object and all below it; raises StoreFailed where one is left."""
    found = [f"{path}/{name}" for name in walk(path)]
    for first in range(0, len(found), DELETED_AT_ONCE):
        asked(path, partial(_delete, found[first : first + DELETED_AT_ONCE]))
    if found and (left := walk(path)):  # s3fs does not say what a store refused to delete
        raise StoreFailed(f"{path}/{left[0]}: the store does not remove it")
    remove_object(path)


def remove_object(path: str) -> None:
    """Remove one object, by one request; nothing happens where it is not there."""
    with contextlib.suppress(FileNotFoundError):
        asked(path, lambda store: store.rm_file(path))


def _delete(paths: list[str], store: Any) -> None:
    store.rm(paths)

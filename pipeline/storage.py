"""Files on local disks and object stores, through Beam's file systems.

A file appears under its name only when it is complete: locally by a rename, in an object store because a PUT is
atomic. Errors of the store are retried and then raised; only the bytes themselves can make a record unreadable.
"""

import contextlib
import hashlib
import io
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import orjson

T = TypeVar("T")
_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.tmp$")

ATTEMPTS = 4  # tries of an operation on an object store
UNCOMPRESSED = "uncompressed"  # Beam's CompressionTypes: bytes as they are stored
FIRST_WAIT_SECONDS = 0.5  # doubled after each try


def is_local(path: str) -> bool:
    """Tell whether a path is on this machine's file system."""
    return "://" not in path


def _beams() -> Any:
    """Return Beam's file systems, whose import takes half a second: local files do not wait for it."""
    from apache_beam.io.filesystems import FileSystems

    return FileSystems


def check_url(path: str) -> None:
    """Raise ValueError for a path that no file system knows."""
    if not is_local(path):
        _beams().get_filesystem(path)


def join(folder: str, *names: str) -> str:
    """Join a folder and names with slashes, for local paths and URLs alike."""
    return "/".join([folder.rstrip("/"), *names])


def lies_in(path: str, folder: str) -> bool:
    """Tell whether a path is in a folder, at any depth."""
    if is_local(path) and is_local(folder):
        return Path(path).absolute().is_relative_to(Path(folder).absolute())
    return path.startswith(folder.rstrip("/") + "/")


def retried(action: Callable[[], T]) -> T:
    """Run an action, again after a pause when the store fails; a missing file is no failure of the store."""
    for attempt in range(ATTEMPTS):
        try:
            return action()
        except (FileNotFoundError, IsADirectoryError, PermissionError):
            raise
        except OSError:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(FIRST_WAIT_SECONDS * 2**attempt)
    raise AssertionError


def open_input(path: str) -> BinaryIO:
    """Open a file for reading as it is stored, seekable, never decompressed on the way."""
    if is_local(path):
        return Path(path).open("rb")
    opened: BinaryIO = retried(
        lambda: _beams().open(path, mime_type="application/octet-stream", compression_type=UNCOMPRESSED)
    )
    return opened


@contextlib.contextmanager
def create(path: str) -> Iterator[Any]:
    """Open a file for writing that appears under its name when the block ends without an error."""
    if not is_local(path):
        buffer = io.BytesIO()
        yield buffer
        retried(lambda: _put(path, buffer))
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    unfinished = f"{path}.{uuid.uuid4().hex}.tmp"
    try:
        with Path(unfinished).open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # a record must not outlive the files it speaks of
        Path(unfinished).replace(path)
    finally:
        Path(unfinished).unlink(missing_ok=True)


def _put(path: str, buffer: io.BytesIO) -> None:
    with _beams().create(path, mime_type="application/octet-stream", compression_type=UNCOMPRESSED) as file:
        file.write(buffer.getbuffer())


def write_json(path: str, value: object) -> None:
    """Write a value as JSON, keys sorted, in one step."""
    with create(path) as file:
        file.write(orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS))


def read_json(path: str) -> Any:
    """Read a JSON file."""
    with open_input(path) as file:
        return orjson.loads(file.read())


def checksum(path: str) -> str:
    """Return the sha256 of a file, hex."""
    with open_input(path) as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
        return digest.hexdigest()


def exists(path: str) -> bool:
    """Tell whether a file or folder is there."""
    return Path(path).exists() if is_local(path) else bool(retried(lambda: _beams().exists(path)))


def looked_at(path: str) -> tuple[int, float]:
    """Return the size of a file and the time of its last change, in seconds since the epoch."""
    if is_local(path):
        status = Path(path).stat()
        return status.st_size, status.st_mtime
    found = retried(lambda: _beams().get_filesystem(path).metadata(path))
    return found.size_in_bytes, found.last_updated_in_seconds or 0.0


def names(folder: str) -> list[str]:
    """Return the names of the files directly in a folder, sorted; none when it is not there."""
    if is_local(folder):
        return sorted(p.name for p in Path(folder).iterdir() if not p.is_dir()) if Path(folder).is_dir() else []
    found = retried(lambda: _beams().match([join(folder, "*")]))[0].metadata_list
    return sorted(m.path.removeprefix(folder.rstrip("/") + "/") for m in found)


def unfinished(folder: str) -> list[str]:
    """Return the names of what killed writers left directly in a folder; an object store shows nothing unfinished."""
    return [name for name in names(folder) if _UNFINISHED.search(name)] if is_local(folder) else []


def match(pattern: str) -> Iterator[tuple[str, int, float]]:
    """Yield path, size and time of change of what matches a URL pattern; raises ValueError for a wrong one."""
    from apache_beam.io.filesystem import BeamIOError

    try:
        found = retried(lambda: _beams().match([pattern]))[0].metadata_list
    except BeamIOError as error:
        raise ValueError(str(error)) from error
    for one in found:
        yield one.path, one.size_in_bytes, one.last_updated_in_seconds or 0.0


def walk(folder: str) -> list[str]:
    """Return the names of all files under a folder, relative to it, sorted."""
    if is_local(folder):
        root = Path(folder)
        return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if not p.is_dir())
    found = retried(lambda: _beams().match([join(folder, "**")]))[0].metadata_list
    return sorted(m.path.removeprefix(folder.rstrip("/") + "/") for m in found)


def publish(source: str, target: str) -> None:
    """Make a finished file appear under a second name: a hard link where the disk can, else a copy."""
    if not is_local(target):
        retried(lambda: _beams().copy([source], [target]))
        return
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    unfinished = f"{target}.{uuid.uuid4().hex}.tmp"
    try:
        try:
            os.link(source, unfinished)
        except OSError:
            shutil.copyfile(source, unfinished)
        Path(unfinished).replace(target)
    finally:
        Path(unfinished).unlink(missing_ok=True)  # a rename of one link over another of the same file leaves both


def remove(path: str) -> None:
    """Remove a file or a folder with all it holds; nothing happens when it is not there."""
    if not is_local(path):
        found = [join(path, name) for name in walk(path)] + ([path] if exists(path) else [])
        if found:
            retried(lambda: _beams().delete(found))
    elif Path(path).is_dir() and not Path(path).is_symlink():
        shutil.rmtree(path)
    else:
        Path(path).unlink(missing_ok=True)

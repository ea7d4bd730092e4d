"""Files on local disks and in object stores.

A file appears under its name only when it is complete: locally by a rename, in an object store because a PUT is
atomic. After a machine's failure that holds of files that a record speaks of (`synced_later`). Errors of the store are
retried and then raised; only the bytes themselves can make a record unreadable.
"""

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from pipeline import object_store

_LATER: ContextVar[list[int] | None] = ContextVar("later", default=None)  # descriptors that `synced_later` syncs
MOST_LATER = 64  # of them, so that a task of many files does not run out
_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.tmp$")


def is_local(path: str) -> bool:
    """Tell whether a path is on this machine's file system."""
    return "://" not in path


def check_url(path: str) -> None:
    """Raise ValueError for a path that no file system knows."""
    if not is_local(path):
        object_store.files(path)


def join(folder: str, *names: str) -> str:
    """Join a folder and names with slashes, for local paths and URLs alike."""
    return "/".join([folder.rstrip("/"), *names])


def folder_and_name(path: str) -> tuple[str, str]:
    """Return the folder and the name of a file."""
    folder, slash, name = path.rpartition("/")
    return folder or slash or ".", name


def lies_in(path: str, folder: str) -> bool:
    """Tell whether a path is in a folder, at any depth."""
    if is_local(path) and is_local(folder):
        return Path(path).absolute().is_relative_to(Path(folder).absolute())
    return path.startswith(folder.rstrip("/") + "/")


def open_input(path: str) -> BinaryIO:
    """Open a file for reading as it is stored, seekable, never decompressed on the way."""
    return Path(path).open("rb") if is_local(path) else object_store.open_object(path)


@contextlib.contextmanager
def parts(path: str) -> Iterator[tuple[Callable[[int], bytes], Callable[[int, int], bytes]]]:
    """Open a file that is not empty for parts of it: its last bytes, all where it has no more; and from one to another.

    Without a file object, which takes three times as long: small slices are millions.
    """
    if not is_local(path):
        yield partial(object_store.read_end, path), partial(object_store.read_part, path)
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield partial(_read_end, descriptor), partial(_read_part, descriptor)
    finally:
        os.close(descriptor)


def _read_end(descriptor: int, size: int) -> bytes:
    whole = os.lseek(descriptor, 0, os.SEEK_END)
    return _read_part(descriptor, max(0, whole - size), whole)


def _read_part(descriptor: int, start: int, stop: int) -> bytes:
    """Return the bytes of a part, fewer where the file ends before; one call gives 2 GB at most."""
    data = os.pread(descriptor, stop - start, start)
    while len(data) < stop - start and (more := os.pread(descriptor, stop - start - len(data), start + len(data))):
        data += more
    return data


@contextlib.contextmanager
def create(path: str) -> Iterator[Any]:
    """Open a file for writing that appears under its name when the block ends without an error."""
    if not is_local(path):
        with tempfile.TemporaryFile() as file:  # has no name, so a kill leaves nothing of it
            yield file
            file.flush()
            object_store.put(path, f"/dev/fd/{file.fileno()}")
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    unfinished = f"{path}.{uuid.uuid4().hex}.tmp"
    try:
        with Path(unfinished).open("wb") as file:
            yield file
            file.flush()
            _keep(file.fileno())
        Path(unfinished).replace(path)
    finally:
        Path(unfinished).unlink(missing_ok=True)


def _keep(descriptor: int) -> None:
    """Wait until a file's bytes are on the disk, unless `synced_later` is to: no record may outlive them."""
    later = _LATER.get()
    if later is None or len(later) == MOST_LATER:
        os.fsync(descriptor)
    else:
        later.append(os.dup(descriptor))


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Sync all files so far, and those of this block before they have their names: records of what came before."""
    _sync(_LATER.get() or [])
    token = _LATER.set(None)
    try:
        yield
    finally:
        _LATER.reset(token)


def _sync(descriptors: list[int]) -> None:
    try:
        for descriptor in descriptors:
            os.fsync(descriptor)
    finally:
        _close(descriptors)


@contextlib.contextmanager
def synced_later() -> Iterator[Callable[[], None]]:
    """Let files have their names before their bytes are on the disk; yield what waits for those, in any thread.

    Of files that this thread creates in the block; where it ends by an error nothing is left to wait for.
    """
    descriptors: list[int] = []
    token = _LATER.set(descriptors)
    try:
        yield partial(_sync, descriptors)
    except BaseException:
        _close(descriptors)
        raise
    finally:
        _LATER.reset(token)


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


@contextlib.contextmanager
def on_disk(folder: str, files: Iterable[str]) -> Iterator[Path]:
    """Yield a folder with these files on this machine's disk: itself, or a copy that goes when the block ends."""
    if is_local(folder):
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory(prefix="lustrate-") as copy:
        for name in files:
            object_store.get(join(folder, name), str(Path(copy, name)))
        yield Path(copy)


def copy(path: str, target: str) -> None:
    """Copy a file that fits into memory, in one step."""
    with open_input(path) as file, create(target) as written:
        written.write(file.read())


def write_json(path: str, value: object) -> None:
    """Write a value as JSON, keys sorted, in one step."""
    with create(path) as file:
        file.write(orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS))


def read_json(path: str) -> Any:
    """Read a JSON file."""
    return orjson.loads(Path(path).read_bytes() if is_local(path) else object_store.read(path))


def read_all_json(folder: str, names: Iterable[str]) -> Iterator[Any]:
    """Yield the JSON files of a folder that have these names."""
    paths = [join(folder, name) for name in names]
    contents = (Path(path).read_bytes() for path in paths) if is_local(folder) else object_store.read_all(paths)
    yield from map(orjson.loads, contents)


def checksum(path: str) -> str:
    """Return the sha256 of a file, hex."""
    with open_input(path) as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
        return digest.hexdigest()


def exists(path: str) -> bool:
    """Tell whether a file or folder is there."""
    return Path(path).exists() if is_local(path) else object_store.exists(path)


def looked_at(path: str) -> tuple[int, float]:
    """Return the size of a file and the time of its last change, in seconds since the epoch."""
    if is_local(path):
        status = Path(path).stat()
        return status.st_size, status.st_mtime
    return object_store.looked_at(path)


def names(folder: str) -> list[str]:
    """Return the names of the files directly in a folder, sorted; none when it is not there."""
    if is_local(folder):
        try:
            with os.scandir(folder) as entries:  # which knows what is a folder without asking for each
                return sorted(entry.name for entry in entries if not entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []
    return object_store.names(folder)


def make_folder(folder: str) -> None:
    """Make a folder; in an object store there are none."""
    if is_local(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)


def unfinished(folder: str) -> list[str]:
    """Return the names of what killed writers left directly in a folder; an object store shows nothing unfinished."""
    return [name for name in names(folder) if _UNFINISHED.search(name)] if is_local(folder) else []


def walk(folder: str) -> list[str]:
    """Return the names of all files under a folder, relative to it, sorted."""
    if is_local(folder):
        root = Path(folder)
        return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if not p.is_dir())
    return object_store.walk(folder)


def publish(source: str, target: str) -> None:
    """Make a finished file appear under a second name: a hard link where the disk can, else a copy."""
    if not is_local(target):
        object_store.copy(source, target)
        return
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    unfinished = f"{target}.{uuid.uuid4().hex}.tmp"
    try:
        os.link(source, unfinished)
    except OSError:
        with open_input(source) as file, create(target) as copied:
            shutil.copyfileobj(file, copied, 1 << 20)
        return
    try:
        Path(unfinished).replace(target)
    finally:
        Path(unfinished).unlink(missing_ok=True)  # a rename of one link over another of the same file leaves both


def remove(path: str) -> None:
    """Remove a file or a folder with all it holds; nothing happens when it is not there."""
    if not is_local(path):
        object_store.remove(path)
    elif Path(path).is_dir() and not Path(path).is_symlink():
        shutil.rmtree(path)
    else:
        remove_file(path)


def remove_file(path: str) -> None:
    """Remove what is known to be a file; nothing happens when it is not there."""
    if is_local(path):
        Path(path).unlink(missing_ok=True)
    else:
        object_store.remove_object(path)

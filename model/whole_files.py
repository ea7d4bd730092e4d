"""Files that appear whole or not at all, also where two attempts of one training write side by side."""

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.tmp$")  # as the pipeline names and sweeps its own


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file through a neighbour and os.replace: a reader sees the old content or the new one."""
    with replacing(path) as neighbour:
        neighbour.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of a neighbour to be written, then put it on the disk and in the place of the file."""
    neighbour = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        neighbour.touch()
        mode = neighbour.stat().st_mode
        yield neighbour
        neighbour.chmod(mode)  # safetensors lets nobody else read
        with neighbour.open("rb") as file:
            os.fsync(file.fileno())
        neighbour.replace(path)
    finally:
        neighbour.unlink(missing_ok=True)


def unfinished(folder: Path) -> list[Path]:
    """Return what killed writers left in a folder, and what others are at work on."""
    return [path for path in folder.iterdir() if _UNFINISHED.search(path.name)] if folder.is_dir() else []

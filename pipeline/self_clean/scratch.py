"""The folder of a training: on this machine's disk while it is at work, in the store where it stays."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline import object_store, storage

CHECKPOINT = "checkpoint"  # how its name begins


@contextlib.contextmanager
def at_work(folder: str) -> Iterator[tuple[Path, Callable[[str], None]]]:
    """Yield a local folder to train in, and what is to be called, with a line said, while the training goes on.

    Of a folder in a store it is a copy, put back after each checkpoint and at the end: a killed training goes on from
    its last checkpoint on any machine.
    """
    if storage.is_local(folder):
        yield Path(folder), lambda _: None
        return
    with tempfile.TemporaryDirectory(prefix="lustrate-") as scratch:
        mirror = Mirror(folder, Path(scratch))
        mirror.pull()
        yield mirror.place, mirror.follow
        mirror.push()


@dataclass(slots=True)
class Mirror:
    """A local folder of files, and its copy in a store."""

    folder: str
    place: Path
    there: dict[str, int] = field(default_factory=dict)  # when the files of the copy were written here

    def pull(self) -> None:
        """Take what the store has."""
        for name in storage.names(self.folder):
            object_store.get(storage.join(self.folder, name), str(self.place / name))
        self.there = self._written()

    def follow(self, _line: str) -> None:
        """Put the files into the store when there is a new checkpoint."""
        if any(name.startswith(CHECKPOINT) and self.there.get(name) != at for name, at in self._written().items()):
            self.push()

    def push(self) -> None:
        """Put into the store what has changed, in the order in which it was written, and remove what is gone."""
        written = self._written()
        for name in sorted(written, key=lambda name: written[name]):
            if self.there.get(name) != written[name]:
                object_store.put(storage.join(self.folder, name), str(self.place / name))
        for name in self.there.keys() - written.keys():
            storage.remove(storage.join(self.folder, name))
        self.there = written

    def _written(self) -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in self.place.iterdir() if path.suffix != ".tmp"}

"""An object store for tests: Beam's file system interface over a local folder, addressed as folder:///path.

As in a store there are no folders, only names; nothing is renamed, and what is put appears whole.
"""

from pathlib import Path
from typing import Any

from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem
from apache_beam.io.localfilesystem import LocalFileSystem
from apache_beam.options.pipeline_options import PipelineOptions

SCHEME = "folder://"


def local(path: str) -> str:
    """Return where a name lies on the disk."""
    return path.removeprefix(SCHEME)


class FolderStore(FileSystem):
    """Beam finds it by its scheme, as it finds gs:// and s3://."""

    def __init__(self, pipeline_options: PipelineOptions) -> None:
        super().__init__(pipeline_options)  # type: ignore[no-untyped-call]
        self._disk: Any = LocalFileSystem(pipeline_options)

    @classmethod
    def scheme(cls) -> str:
        """Return what stands before ://."""
        return "folder"

    def join(self, basepath: str, *paths: str) -> str:
        """Join names."""
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path: str) -> tuple[str, str]:
        """Return the folder and the name."""
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path: str) -> None:
        """Do nothing: there are no folders."""

    def has_dirs(self) -> bool:
        """Tell that there are no folders."""
        return False

    def _list(self, dir_or_prefix: str) -> Any:
        root, prefix = Path(local(dir_or_prefix)), local(dir_or_prefix)
        while not root.is_dir():
            root = root.parent
        for path in sorted(root.rglob("*")):
            if path.is_file() and str(path).startswith(prefix):
                yield FileMetadata(SCHEME + str(path), path.stat().st_size, path.stat().st_mtime)

    def create(self, path: str, mime_type: str = "", compression_type: str = "auto") -> Any:
        """Open a name for writing."""
        Path(local(path)).parent.mkdir(parents=True, exist_ok=True)
        return self._disk.create(local(path), mime_type, compression_type)

    def open(self, path: str, mime_type: str = "", compression_type: str = "auto") -> Any:
        """Open a name for reading."""
        return self._disk.open(local(path), mime_type, compression_type)

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        """Copy names."""
        for source, target in zip(source_file_names, destination_file_names, strict=True):
            Path(local(target)).parent.mkdir(parents=True, exist_ok=True)
            Path(local(target)).write_bytes(Path(local(source)).read_bytes())

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        """Refuse: a store cannot."""
        raise NotImplementedError

    def exists(self, path: str) -> bool:
        """Tell whether a name, or one below it, is there."""
        return Path(local(path)).exists()

    def size(self, path: str) -> int:
        """Return a size in bytes."""
        return Path(local(path)).stat().st_size

    def last_updated(self, path: str) -> float:
        """Return the time of the last change."""
        return Path(local(path)).stat().st_mtime

    def checksum(self, path: str) -> str:
        """Return something that changes with the content."""
        return f"{self.size(path)} {self.last_updated(path)}"

    def metadata(self, path: str) -> FileMetadata:
        """Return size and time of change."""
        return FileMetadata(path, self.size(path), self.last_updated(path))

    def delete(self, paths: list[str]) -> None:
        """Delete names; those that are not there are an error."""
        for path in paths:
            try:
                Path(local(path)).unlink()
            except OSError as error:
                raise BeamIOError("cannot delete", {path: error}) from error

"""An object store for tests: fsspec's interface over a local folder, addressed as folder:///path."""

from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

SCHEME = "folder://"


class FolderStore(LocalFileSystem):
    """It is found by its scheme, as s3:// is."""

    protocol = "folder"

    def __init__(self, **settings: Any) -> None:
        super().__init__(auto_mkdir=True, **settings)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        stripped = path.removeprefix(SCHEME) if isinstance(path, str) else path
        return super()._strip_protocol(stripped)


fsspec.register_implementation("folder", FolderStore, clobber=True)

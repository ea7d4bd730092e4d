"""A server of Google's storage for the tests of this folder, with faults on demand."""

from collections.abc import Iterator

import fsspec
import pytest

from tests.pipeline.store.conftest import BUCKET, Store, started, store  # noqa: F401 - a fixture, of the server below


@pytest.fixture(scope="module")
def server() -> Iterator[Store]:
    """Start the server; everything that is started finds it by its environment."""
    from gcsfs.core import GCSFileSystem

    with pytest.MonkeyPatch.context() as patch, started("tests.pipeline.dataflow.gs.server") as address:
        patch.setenv("STORAGE_EMULATOR_HOST", address)
        patch.setenv("FSSPEC_GS_TOKEN", "anon")
        patch.setitem(fsspec.config.conf, "gs", {"token": "anon"})  # as the variable says to who imports it from now on
        found = Store(address, "gs", GCSFileSystem)
        found.files.mkdir(BUCKET)
        yield found

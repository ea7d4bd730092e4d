"""An S3 server for the tests of this folder, with faults on demand."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

import pytest
import s3fs
from fsspec import AbstractFileSystem

from pipeline import object_store

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
BUCKET = "corpus"


@dataclass(frozen=True)
class Store:
    """A bucket of a server."""

    address: str
    scheme: str = "s3"
    kind: type[AbstractFileSystem] = s3fs.S3FileSystem

    def url(self, *names: str) -> str:
        """Return the URL of an object or a folder."""
        return "/".join([f"{self.scheme}://{BUCKET}", *names])

    def faults(self, **asked: Any) -> dict[str, int]:
        """Set what goes wrong from now on, and return what was counted since the last time."""
        request = Request(f"{self.address}/-/faults", json.dumps(asked).encode(), method="PUT")
        with urlopen(request) as answer:
            return dict(json.load(answer))

    def open_to(self, requests: float) -> None:
        """Let so many requests pass without looking at their keys."""
        headers = {"Content-Type": "text/plain"}
        urlopen(Request(f"{self.address}/moto-api/reset-auth", str(requests).encode(), headers, method="POST")).close()

    @property
    def files(self) -> AbstractFileSystem:
        """The bucket for the tests themselves: not by the code that is tested."""
        return self.kind(use_listings_cache=False)

    def contents(self, folder: str) -> dict[str, bytes]:
        """Return all objects below a folder."""
        root = f"{BUCKET}/{folder}/"
        return {path.removeprefix(root): self.files.cat_file(path) for path in self.files.find(root)}

    def fill(self, folder: str, contents: dict[str, bytes]) -> None:
        """Put objects into a folder."""
        for name, content in contents.items():
            self.files.pipe_file(f"{BUCKET}/{folder}/{name}", content)


@contextmanager
def started(module: str) -> Iterator[str]:
    """Start a server and yield its address."""
    command = [sys.executable, "-m", module]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.stdin.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Store]:
    """Start the server, with listings in pages of 100; everything that is started finds it by its environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "100")
        for name, value in KEYS.items():
            patch.setenv(name, value)
        with started("tests.pipeline.store.server") as address:
            patch.setenv("AWS_ENDPOINT_URL", address)
            s3fs.S3FileSystem.clear_instance_cache()
            found = Store(address)
            found.files.mkdir(BUCKET)
            yield found
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def store(server: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Yield the store without a fault, and waits that tests can afford."""
    monkeypatch.setattr(object_store, "FIRST_WAIT_SECONDS", 0.02)
    server.faults()
    yield server
    server.faults()

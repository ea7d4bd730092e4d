"""Files in gs://, and what gcsfs raises: it ends a run at once, or is asked again by us or by it, but never by both.

Of the server: fake-gcs-server, as tests/pipeline/store is of moto's S3; it needs Beam's [gcp].
"""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

pytest.importorskip("gcsfs", reason="gcsfs is not here: make dataflow-test")

import fsspec
from aiohttp import ServerTimeoutError
from gcsfs.core import GCSFileSystem
from gcsfs.retry import HttpError
from requests.exceptions import ProxyError

from pipeline import object_store, storage
from pipeline.object_store import TRIES, StoreFailed
from tests.pipeline.store.conftest import Store
from tests.pipeline.store.test_object_store import (
    read,
    test_a_changed_object_is_named,
    test_a_forked_process_has_its_own_connection,
    test_any_range_is_read,
    test_copies_on_a_disk_go_when_they_were_used,
    test_listings_have_pages,
    test_nothing_is_written_after_an_exception,
    test_what_is_written_is_read,
    write,
)

__all__ = [
    "test_a_changed_object_is_named",
    "test_a_forked_process_has_its_own_connection",
    "test_any_range_is_read",
    "test_copies_on_a_disk_go_when_they_were_used",
    "test_listings_have_pages",
    "test_nothing_is_written_after_an_exception",
    "test_what_is_written_is_read",
]


class Refusing(BaseHTTPRequestHandler):
    """Answers every GET with 403."""

    def do_GET(self) -> None:
        """Refuse."""
        said = b'{"error": {"code": 403, "message": "no access"}}'
        self.send_response(403)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let gs:// be a server that refuses all."""
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = {"endpoint_url": f"http://127.0.0.1:{server.server_port}", "token": "anon"}
    monkeypatch.setitem(fsspec.config.conf, "gs", place)
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("refusing")
def test_a_refusal_is_said_at_once() -> None:
    """What gcsfs makes of a 403 is a plain OSError, which is not asked again."""
    before = TRIES.again
    with pytest.raises(StoreFailed, match=r"^gs://b/o: Forbidden: [^(]*$"):
        object_store.read("gs://b/o")
    assert TRIES.again == before


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (HttpError({"code": 503, "message": "later"}), False),
        (ProxyError(), False),
        (OSError("Forbidden: https://…"), False),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (ServerTimeoutError(), False),
    ],
)
def test_what_gcsfs_has_tried_is_not_tried_again(error: Exception, passes: bool) -> None:
    """It makes a request six times where the store answers that it cannot, and 502 is its ProxyError."""
    assert object_store._passes(error, "gs") is passes


@pytest.mark.parametrize(
    ("path", "why"), [("corpus/none", "not there"), ("no-bucket/none", "the bucket does not exist")]
)
def test_what_is_not_there_is_said(store: Store, path: str, why: str) -> None:
    """It is a FileNotFoundError at once; listing a bucket that is not there is one, too, and an empty folder is not."""
    store.faults()
    with pytest.raises(FileNotFoundError, match=f"^gs://{path}: {why}$"):
        read(f"gs://{path}")
    assert store.faults()["requests"] <= 3
    assert storage.names(store.url("none")) == storage.walk(store.url("none")) == []
    for listed in (storage.names, storage.walk):
        with pytest.raises(FileNotFoundError, match=r"^gs://no-bucket/folder/: the bucket does not exist$"):
            listed("gs://no-bucket/folder")


def test_an_upload_in_parts_is_whole(store: Store) -> None:
    """What is larger than a part of gcsfs's, 50 MB, is sent in two."""
    path, content = store.url("parts"), bytes(range(256)) * (60 << 12)
    store.faults()
    write(path, content)
    assert store.faults()["POST"] == 3
    assert read(path) == content
    storage.publish(path, f"{path}-copy")
    assert storage.checksum(f"{path}-copy") == storage.checksum(path)


@pytest.mark.parametrize("fault", [{"fail": 0.5}, {"reset": 0.5}, {"slow": 0.5, "seconds": 1.5}])
def test_gcsfs_asks_again(store: Store, monkeypatch: pytest.MonkeyPatch, fault: dict[str, float]) -> None:
    """Where the server cannot answer, cuts its answer off, or takes too long."""
    monkeypatch.setattr(object_store, "READ_SECONDS", 0.7)
    path, before = store.url("asked again"), TRIES.again
    store.faults(**fault, method="POST", seed=1)
    write(path, b"x")
    told = store.faults()
    assert (told["POST"], sum(told[kind] for kind in ("fail", "reset", "slow") if kind in told)) == (2, 1)
    assert read(path) == b"x"
    assert TRIES.again == before


def test_no_bucket_is_asked_for_its_kind(store: Store) -> None:
    """As gcsfs would by gRPC: for 60 seconds at each write, where nobody answers."""
    assert type(object_store.files(store.url())) is GCSFileSystem

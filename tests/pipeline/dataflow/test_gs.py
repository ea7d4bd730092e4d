"""What gcsfs raises ends a run at once, or is asked again by us, but never by both; it needs Beam's [gcp]."""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # read at its import: it would ask Google of what kind b is
pytest.importorskip("gcsfs", reason="gcsfs is not here: make dataflow-test")

import fsspec
from gcsfs.retry import HttpError
from requests.exceptions import ProxyError

from pipeline import object_store
from pipeline.object_store import TRIES, StoreFailed


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
    ],
)
def test_what_gcsfs_has_tried_is_not_tried_again(error: Exception, passes: bool) -> None:
    """It makes a request six times where the store answers that it cannot, and 502 is its ProxyError."""
    assert object_store._passes(error, "gs") is passes

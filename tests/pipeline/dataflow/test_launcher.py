"""A launcher that is killed, started again and stopped, with Beam's own runner: Dataflow is a server on loopback.

The runner submits its jobs there with the credentials of a service account, of which only the server is not Google's.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

pytest.importorskip("google.cloud.dataflow_v1beta3", reason="Beam's [gcp] is not here: make dataflow-test")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.pipeline.dataflow.conftest import PROJECT, Service

ROOT = Path(__file__).parents[3]
SECONDS = 300  # for a launcher to submit or to end, however busy the machine is
PKCS8, PEM = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM


def account(service: Service, folder: Path) -> Path:
    """Write a service account's key whose tokens come from the server."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = folder / "account.json"
    told = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key": key.private_bytes(PEM, PKCS8, serialization.NoEncryption()).decode(),
        "client_email": f"lustrate@{PROJECT}.iam.gserviceaccount.com",
        "token_uri": f"{service.url}/token",
    }
    path.write_text(json.dumps(told))
    return path


@contextmanager
def launched(service: Service, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a run of one document, and let it end with the block."""
    options = [option for option in service.options if option != "--no_auth"]
    image = ["--sdk_container_image=localhost/lustrate:0", "--sdk_location=container"]
    line = ["--input", f"{folder}/in.jsonl", "--output", f"{folder}/out", "--until", "ingest", *options, *image]
    named = {"GOOGLE_APPLICATION_CREDENTIALS": str(account(service, folder)), "STORAGE_EMULATOR_HOST": service.url}
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.run", *line],
        cwd=ROOT,
        env={**os.environ, **named},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(seen: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something is so while a process lives."""
    until = time.monotonic() + SECONDS
    while not seen():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)


def test_no_launcher_leaves_a_job(service: Service, tmp_path: Path) -> None:
    """The job of one that was killed is cancelled before the next submits, and that one's own at Ctrl-C."""
    (tmp_path / "in.jsonl").write_text('{"text": "A river and a mountain."}\n')
    service.looks = 0  # seconds pass between two
    with launched(service, tmp_path) as first:
        wait_for(lambda: len(service.jobs) == 1, first)
    assert [state for _, state in service.jobs.values()] == ["RUNNING"]
    with launched(service, tmp_path) as second:
        wait_for(lambda: len(service.jobs) == 2, second)
        (name, before), (again, state) = service.jobs.values()
        assert (again, before, state) == (name, "CANCELLED", "RUNNING")
        second.send_signal(signal.SIGINT)
        said, error = second.communicate(timeout=SECONDS)
    assert (second.returncode, error) == (130, "stopped; the same command goes on from here\n")
    assert [state for _, state in service.jobs.values()] == ["CANCELLED", "CANCELLED"]
    assert service.cancelled == list(service.jobs)
    assert said.count(f"cancelling the job {name} on Dataflow") == 2
    events = [orjson.loads(line)["event"] for line in (tmp_path / "out/run.log").read_text().splitlines()]
    told = [event for event in events if event in {"cancelling", "submitted", "stopped"}]
    assert told == ["submitted", "cancelling", "submitted", "cancelling", "stopped"]

"""The line on a session cluster with input and output in a store that fails, judges trained there, workers killed."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # no stubs are locked
import pytest

from tests.pipeline.flink.session_cluster import Cluster, session_cluster
from tests.pipeline.flink.test_session_cluster import JARS, PATIENCE, failures, started
from tests.pipeline.outputs import RESULTS
from tests.pipeline.store.conftest import BUCKET, Store, server, store  # noqa: F401 - fixtures
from tests.pipeline.store.test_kills_in_a_store import inside
from tests.pipeline.store.test_line_in_a_store import FAULTS, published
from tests.pipeline.store.test_line_in_a_store import local as files_of


@pytest.fixture
def cluster(store: Store, tmp_path: Path, jar: str) -> Iterator[Cluster]:  # noqa: ARG001, F811 - the fixture
    """Start a cluster whose workers find the store by their environment."""
    with session_cluster(tmp_path, JARS, jar) as begun:
        yield begun


def results(contents: dict[str, bytes]) -> dict[str, bytes]:
    """Return what is published, and the judges."""
    return {name: content for name, content in contents.items() if name.split("/")[0] in (*RESULTS, "evaluator")}


def killed(cluster: Cluster) -> int:
    """Kill every worker that is connected to a task manager; return how many."""
    rest = [process.pid for name, process in cluster.processes.items() if name.startswith("taskmanager")]
    ports = {c.laddr.port for pid in rest for c in psutil.Process(pid).net_connections() if not c.raddr}
    workers = [
        worker
        for worker in psutil.Process(cluster.processes["pool"].pid).children(recursive=True)
        if any(c.raddr and c.raddr.port in ports for c in worker.net_connections())
    ]
    for worker in workers:
        worker.kill()
    return len(workers)


def test_a_store_holds_what_a_local_run_writes(
    store: Store,  # noqa: F811 - the fixture
    cluster: Cluster,
    local: Path,
    corpus: Path,
    one_round: Path,
) -> None:
    """All workers are killed in the middle of ingest and one request in twelve goes wrong: the same bytes and rows."""
    store.fill("crawl", files_of(corpus))
    places = ["--input", store.url("crawl", "*.jsonl"), "--output", store.url("out")]
    line = [sys.executable, "-m", "pipeline.run", *places, "--config", str(one_round), *cluster.options()]
    store.faults(slow=1, seconds=0.5, only="out/stages/ingest", method="PUT")
    with started(line) as process:
        until = time.monotonic() + PATIENCE
        while not inside({name.removeprefix(f"{BUCKET}/out/") for name in store.files.find(f"{BUCKET}/out")}, "ingest"):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.1)
        (job,) = (one["jid"] for one in cluster.get("/jobs/overview")["jobs"] if one["state"] == "RUNNING")
        assert killed(cluster)
        while not failures(cluster, job):
            assert process.poll() is None, "nothing failed where all workers were killed"
            assert time.monotonic() < until
            time.sleep(0.1)
        store.faults(**FAULTS)
        _, said = process.communicate(timeout=2 * PATIENCE)
    assert (process.returncode, said) == (0, "")
    told = store.faults()
    assert min(told[kind] for kind in ("fail", "busy", "reset", "slow")) > 3
    assert store.files.exists(f"{BUCKET}/out/_SUCCESS")
    there, here = (published(results(held)) for held in (store.contents("out"), files_of(local)))
    assert there.keys() == here.keys()
    assert not [name for name in here if there[name] != here[name]]

"""The whole line on a session cluster of two task managers, also where what works at a stage is killed.

Takes minutes and another environment (Flink's jars), so `make flink-test` runs it and `make test` does not.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil  # type: ignore[import-untyped]  # no stubs are locked
import pytest
from rich.console import Console
from rich.table import Table

from pipeline.running_jobs import job_name
from pipeline.stage import Stage
from tests.pipeline.flink.session_cluster import Cluster, session_cluster
from tests.pipeline.outputs import RESULTS, assert_same, results
from tests.pipeline.test_kills import inside, kill_when, manifest

Run = Callable[..., subprocess.CompletedProcess[str]]
JARS = os.environ.get("LUSTRATE_FLINK", "")
RESTART_SECONDS = 3  # until what supervises a task manager starts it again

if not JARS:
    pytest.skip("not run on a session cluster: make flink-test does", allow_module_level=True)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, jar: str) -> Iterator[Cluster]:
    """Start the cluster."""
    with session_cluster(tmp_path_factory.mktemp("cluster"), JARS, jar) as started:
        yield started


@pytest.fixture(scope="module")
def on_flink(
    cluster: Cluster, local: Path, one_round: Path, tmp_path_factory: pytest.TempPathFactory, run: Run
) -> Path:
    """Run undisturbed on the cluster."""
    output = tmp_path_factory.mktemp("flink") / "out"
    run(output, "--evaluator", str(local / "evaluator"), *cluster.options(), config=one_round)
    return output


def seconds(output: Path) -> dict[str, float]:
    """Return the wall seconds of each stage, by name."""
    return orjson.loads((output / "run.json").read_bytes())["seconds"]


def shown(table: Table) -> None:
    """Print a table."""
    Console(width=120).print(table)


def test_a_session_cluster_writes_what_a_local_run_writes(on_flink: Path, local: Path, cluster: Cluster) -> None:
    """The results are the same bytes, and no job was restarted on the way."""
    assert_same(results(on_flink), results(local))
    jobs = cluster.get("/jobs/overview")["jobs"]
    assert len(jobs) == len(seconds(on_flink)) + 1, "one job for each stage, and one that asks the workers"
    assert {job["state"] for job in jobs} == {"FINISHED"}
    table = Table("stage", "seconds here", "seconds on Flink", title="The same work, by stage")
    for name, there in seconds(on_flink).items():
        table.add_row(name, f"{seconds(local).get(name, 0):.1f}", f"{there:.1f}")
    shown(table)


@dataclass(frozen=True)
class Kill:
    """What is killed, in which stage, and when: `before` is the stage that is finished then."""

    stage: str
    before: str
    victim: str
    records: int = 0  # of the stage's tasks that are done then; with none it may not have begun to work


KILLS = (
    Kill("ingest", "", "task manager", 1),
    Kill("deduplicate.stars-1", "deduplicate.hashes", "worker"),
    Kill("deduplicate", "deduplicate.keepers", "task manager"),
    Kill("tokenizer", "tokenizer.sample", "worker"),
    Kill("self_clean.round-1.score", "self_clean.round-1.measure", "worker", 1),
    Kill("publish.encode", "self_clean.round-1.verdicts", "task manager", 1),
    Kill("publish.merge", "publish.encode", "worker"),
)


def workers(cluster: Cluster) -> list[psutil.Process]:
    """Return the workers that the pool has started."""
    found = []
    for child in psutil.Process(cluster.processes["pool"].pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            found.extend(child.children())
    return found


def strike(cluster: Cluster, kill: Kill, output: Path, done: threading.Event) -> str:
    """Wait until a stage is worked on, and kill what the kill says; return what was killed."""
    while not done.is_set():
        due = not kill.before or manifest(output, kill.before)
        if due and (not kill.records or inside(output, kill.stage, kill.records)) and (found := workers(cluster)):
            break
        time.sleep(0.01)
    else:
        return ""
    if kill.victim == "worker":
        youngest = max(found, key=lambda worker: float(worker.create_time()))
        youngest.kill()
        return f"worker {youngest.pid}"
    process = cluster.processes["taskmanager-1"]
    process.kill()
    process.wait()
    time.sleep(RESTART_SECONDS)
    cluster.start("taskmanager-1")
    return f"task manager {process.pid}"


def killed(cluster: Cluster, output: Path, done: threading.Event, struck: list[str]) -> None:
    """Strike in one stage after another."""
    struck.extend(strike(cluster, kill, output, done) for kill in KILLS)


def restarts(cluster: Cluster, output: Path, stage: str) -> int:
    """Return how often the last job of a stage was restarted."""
    (folder,) = (output / "stages" / stage).iterdir()
    name = job_name(Stage(stage, folder.name, str(output)))
    log = (cluster.work / "jobmanager.log").read_text(errors="replace")
    last = log.rpartition(f"Received JobGraph submission '{name}'")[2]
    return sum(name in line and "to RESTARTING" in line for line in last.splitlines())


def test_kills_leave_no_trace_on_flink(
    on_flink: Path, cluster: Cluster, local: Path, one_round: Path, tmp_path: Path, run: Run
) -> None:
    """Workers and task managers are killed in the middle of stages; the one command ends with the same bytes."""
    output, done = tmp_path / "out", threading.Event()
    struck: list[str] = []
    thread = threading.Thread(target=killed, args=(cluster, output, done, struck))
    thread.start()
    try:
        run(output, "--evaluator", str(local / "evaluator"), *cluster.options(), config=one_round)
    finally:
        done.set()
        thread.join()
    assert_same(results(output), results(on_flink))
    table = Table("stage", "killed", "restarts of its job", "seconds", "undisturbed", "lost", title="Kills on Flink")
    for kill, hit in zip(KILLS, struck, strict=True):
        took, usual = seconds(output)[kill.stage], seconds(on_flink)[kill.stage]
        times = [f"{took:.1f}", f"{usual:.1f}", f"{took - usual:.1f}"]
        table.add_row(kill.stage, hit, str(restarts(cluster, output, kill.stage)), *times)
    shown(table)
    assert all(struck)
    assert all(restarts(cluster, output, k.stage) for k in KILLS if k.records or k.victim == "task manager")


def unpublished(finished: Path, folder: Path) -> Path:
    """Return a copy of a finished run of which all is left to do that publication does."""
    output = folder / "out"
    shutil.copytree(finished, output)
    for path in [*output.glob("stages/publish*"), *(output / name for name in RESULTS)]:
        shutil.rmtree(path)
    (output / "_SUCCESS").unlink()
    return output


def encoding(cluster: Cluster) -> list[dict[str, str]]:
    """Return the running jobs that encode."""
    with contextlib.suppress(OSError):
        jobs = cluster.get("/jobs/overview")["jobs"]
        return [job for job in jobs if "publish-encode" in job["name"] and job["state"] == "RUNNING"]
    return []


def held(cluster: Cluster, stopped: list[psutil.Process]) -> bool:
    """Hold the two workers that encode where they are, once both are there."""
    for job in encoding(cluster):
        found = [worker for worker in workers(cluster) if worker.create_time() * 1000 > int(job["start-time"])]
        stopped.extend(found if len(found) == 2 else [])
        for worker in stopped:
            worker.suspend()
    return bool(stopped)


def test_a_killed_client_leaves_no_second_job(
    on_flink: Path,
    cluster: Cluster,
    local: Path,
    one_round: Path,
    tmp_path: Path,
    command: Callable[..., list[str]],
    run: Run,
) -> None:
    """What submitted a job is killed while its workers work; the same command cancels that job and does the stage."""
    output = unpublished(on_flink, tmp_path)
    given = ["--evaluator", str(local / "evaluator"), *cluster.options()]
    stopped: list[psutil.Process] = []
    line = command(output, *given, config=one_round)
    try:
        assert kill_when(line, output, lambda _: held(cluster, stopped), group=False)
        (job,) = encoding(cluster)
        began = time.monotonic()
        run(output, *given, config=one_round)
        print(f"\nclient killed in publish.encode: the same command took {time.monotonic() - began:.1f} s")
    finally:
        for worker in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
    assert cluster.get(f"/jobs/{job['jid']}")["state"] == "CANCELED"
    assert_same(results(output), results(on_flink))


def test_a_stopped_run_leaves_no_job(
    on_flink: Path, cluster: Cluster, local: Path, one_round: Path, tmp_path: Path, command: Callable[..., list[str]]
) -> None:
    """By Ctrl-C while its workers work: its job, whose name the log has, is cancelled before it ends."""
    output = unpublished(on_flink, tmp_path)
    line = command(output, "--evaluator", str(local / "evaluator"), *cluster.options(), config=one_round)
    stopped: list[psutil.Process] = []
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            while not held(cluster, stopped):
                assert process.poll() is None
                time.sleep(0.01)
            (job,) = encoding(cluster)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=400)
    finally:
        for worker in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
    assert (process.returncode, said) == (130, "stopped; the same command goes on from here\n")
    assert cluster.get(f"/jobs/{job['jid']}")["state"] == "CANCELED"
    events = [orjson.loads(event) for event in (output / "run.log").read_bytes().splitlines()]
    assert job["name"] in [event["job"] for event in events if event["event"] == "submitted"]


def test_a_killed_job_manager_ends_in_one_line(
    on_flink: Path, cluster: Cluster, local: Path, one_round: Path, tmp_path: Path, command: Callable[..., list[str]]
) -> None:
    """Without high availability its jobs are lost: the run says so, and the same command finishes it."""
    output = unpublished(on_flink, tmp_path)
    line = command(output, "--evaluator", str(local / "evaluator"), *cluster.options(), config=one_round)
    stopped: list[psutil.Process] = []
    began = time.monotonic()
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while not held(cluster, stopped):
            assert process.poll() is None
            time.sleep(0.01)
        cluster.processes["jobmanager"].kill()
        cluster.processes["jobmanager"].wait()
        for worker in stopped:
            worker.resume()
        _, said = process.communicate(timeout=400)
    print(f"\njob manager killed in publish.encode: after {time.monotonic() - began:.1f} s: {said.strip()}")
    assert process.returncode == 1
    assert said.startswith("failed: publish.encode: ")
    assert len(said.splitlines()) == 1
    cluster.start("jobmanager")
    cluster.wait_for(2)
    assert subprocess.run(line, check=False, capture_output=True, timeout=400).returncode == 0
    assert_same(results(output), results(on_flink))

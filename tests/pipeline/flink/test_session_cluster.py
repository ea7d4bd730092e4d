"""The whole line on a session cluster of two task managers, also where what works at a stage is killed.

Takes minutes and another environment (Flink's jars), so `make flink-test` runs it and `make test` does not.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import psutil  # type: ignore[import-untyped]  # no stubs are locked
import pytest

from pipeline.running_jobs import job_name
from pipeline.stage import Stage, finished_keys
from tests.pipeline.flink.kills_page import Page, shortened, sums, typed
from tests.pipeline.flink.session_cluster import Cluster, session_cluster
from tests.pipeline.outputs import RESULTS, assert_same, digests, results

Run = Callable[..., subprocess.CompletedProcess[str]]
JARS = os.environ.get("LUSTRATE_FLINK", "")
PAGE = os.environ.get("LUSTRATE_KILLS", "")  # the page that is written
TRAINING = "self_clean.round-1.train"
PUBLICATION = ("publish.encode", "publish.merge")
ALIVE = ("RUNNING", "FINISHED")  # states of a job that recovered
# What README (On Flink) advises where the tests' own cluster differs.
ADVISED = {
    "restart-strategy.failure-rate.delay": "10 s",
    "heartbeat.interval": "10000",
    "blob.service.cleanup.interval": "600",
}
RESTART_SECONDS = 1  # until what supervises a task manager starts it again
LINES = 30  # of what a run prints, on the page
PATIENCE = 400  # seconds for what takes some, or a minute on a busy machine

if not JARS:
    pytest.skip("not run on a session cluster: make flink-test does", allow_module_level=True)


@pytest.fixture(scope="module")
def page(request: pytest.FixtureRequest) -> Iterator[Page]:
    """Yield what is shown; it is a page where one is asked for and every test passed."""
    shown = Page()
    yield shown
    if PAGE and not request.session.testsfailed:
        shown.write(Path(PAGE))


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
    done = run(output, "--evaluator", str(local / "evaluator"), *cluster.options(), config=one_round)
    output.with_name("printed").write_text(done.stdout)
    return output


@pytest.fixture(scope="module")
def again(
    on_flink: Path, cluster: Cluster, local: Path, one_round: Path, tmp_path_factory: pytest.TempPathFactory, run: Run
) -> Path:
    """Run undisturbed once more: what a cluster loads for its first run is there then, as it is where it is killed."""
    output = tmp_path_factory.mktemp("again") / "out"
    assert (on_flink / "_SUCCESS").exists()
    run(output, "--evaluator", str(local / "evaluator"), *cluster.options(), config=one_round)
    return output


def seconds(output: Path) -> dict[str, float]:
    """Return the wall seconds of each stage, by name."""
    return orjson.loads((output / "run.json").read_bytes())["seconds"]


def test_a_session_cluster_writes_what_a_local_run_writes(
    on_flink: Path, local: Path, cluster: Cluster, one_round: Path, command: Callable[..., list[str]], page: Page
) -> None:
    """The results are the same bytes, and no job failed and was restarted on the way."""
    assert_same(results(on_flink), results(local))
    jobs = cluster.get("/jobs/overview")["jobs"]
    assert len(jobs) == len(seconds(on_flink)) + 1, "one job for each stage, and one that asks the workers"
    assert {job["state"] for job in jobs} == {"FINISHED"}
    assert not any(failures(cluster, job["jid"]) for job in jobs)
    here = command(local, "--direct_num_workers=1", config=one_round)
    there = command(on_flink, "--evaluator", str(local / "evaluator"), *cluster.options(), config=one_round)
    said = [f"{typed(line)}\n{printed(output)}" for line, output in ((here, local), (there, on_flink))]
    page.show("Two runs, as typed, and the end of what they print", "\n\n".join(said))
    mine, theirs = sums(results(local)), sums(results(on_flink))
    rows = [(name, mine[name], theirs[name]) for name in mine]
    page.table("sha256 over the names and checksums of all files", ("folder", "here", "on Flink"), rows)


def test_a_second_run_writes_the_same(on_flink: Path, again: Path, local: Path, page: Page) -> None:
    """A cluster that has worked before gives the same bytes."""
    assert_same(results(again), results(local))
    runs = [seconds(output) for output in (local, on_flink, again)]
    rows = [(name, *(f"{took.get(name, 0):.1f}" for took in runs)) for name in runs[1]]
    columns = ("stage", "seconds here", "seconds on Flink, its first run", "seconds on Flink, its second")
    page.table("The same work, by stage", columns, rows)


def printed(output: Path) -> str:
    """Return the end of what a run printed."""
    lines = [line.rstrip() for line in shortened(output.with_name("printed").read_text()).splitlines() if line.strip()]
    return "\n".join(f"    {line}" for line in lines[-LINES:])


def stages(finished: Path, output: Path) -> list[tuple[Stage, int]]:
    """Return the stages of a finished run in the order of work, as another output has them, and how many tasks each."""
    found = []
    for path in sorted(finished.glob("stages/*/*/manifest.json"), key=lambda manifest: manifest.stat().st_mtime):
        name, fingerprint = path.parts[-3:-1]
        found.append((Stage(name, fingerprint, str(output)), len(orjson.loads(path.read_bytes())["records"])))
    return found


@contextlib.contextmanager
def started(line: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Start a run that does not outlive the block."""
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def held(cluster: Cluster, process: subprocess.Popen[str], stage: Stage, least: int = 0) -> psutil.Process:
    """Return a worker that is stopped in the middle of a stage's task; fails where the run ends before."""
    cluster.hold(Path(stage.folder), least)
    until = time.monotonic() + PATIENCE
    while (worker := cluster.held()) is None:
        assert process.poll() is None, f"{stage.name}: no worker was met at work"
        assert time.monotonic() < until, f"{stage.name}: no worker came to work"
        time.sleep(0.01)
    return worker


def running(cluster: Cluster, stage: Stage) -> dict[str, Any]:
    """Return the running job of a stage."""
    named = [job for job in cluster.get("/jobs/overview")["jobs"] if job["name"] == job_name(stage)]
    (job,) = (job for job in named if job["state"] == "RUNNING")
    return job


def strike(cluster: Cluster, process: subprocess.Popen[str], victim: str, stage: Stage, tasks: int) -> str:
    """Stop a worker in the middle of a task, kill it or its task manager, and wait until Flink runs the job again.

    Returns how many of the tasks were recorded; half of them are before a worker is stopped.
    """
    worker = held(cluster, process, stage, (tasks - 1) // 2)
    job, recorded, at = running(cluster, stage), len(finished_keys(stage.folder)), time.time() * 1000
    assert job["tasks"]["running"]
    assert recorded < tasks
    if victim == "worker":
        worker.kill()
    else:
        name = cluster.task_manager_of(worker)
        cluster.processes[name].kill()
        cluster.processes[name].wait()
        worker.resume()  # to see that nobody is there
        time.sleep(RESTART_SECONDS)
        cluster.start(name)
    until = time.monotonic() + PATIENCE
    while not any(failed >= at for failed in failures(cluster, job["jid"])) or state(cluster, job["jid"]) not in ALIVE:
        assert process.poll() is None, f"{stage.name}: nothing failed where a {victim} was killed"
        assert time.monotonic() < until, f"{stage.name}: its job does not run again"
        time.sleep(0.1)
    return f"{recorded} of {tasks}"


def state(cluster: Cluster, job: str) -> str:
    """Return the state of a job."""
    return cluster.get(f"/jobs/{job}")["state"]


def failures(cluster: Cluster, job: str) -> list[int]:
    """Return when a job failed, in milliseconds since the epoch; where it has ended well it was restarted each time."""
    history = cluster.get(f"/jobs/{job}/exceptions?maxExceptions=20")["exceptionHistory"]
    return [failure["timestamp"] for failure in history["entries"]]


def undone(finished: Path, folder: Path, names: Iterable[str]) -> Path:
    """Return a copy of a finished run in which these stages and publication are left to do."""
    output = folder / "out"
    shutil.copytree(finished, output)
    for path in (*(output / "stages" / name for name in names), *(output / name for name in RESULTS)):
        shutil.rmtree(path)
    (output / "_SUCCESS").unlink()
    return output


@pytest.mark.parametrize(("victim", "least"), [("worker", 1), ("task manager", 2)])
def test_kills_leave_no_trace_on_flink(
    victim: str,
    least: int,
    on_flink: Path,
    again: Path,
    cluster: Cluster,
    local: Path,
    one_round: Path,
    tmp_path: Path,
    command: Callable[..., list[str]],
    page: Page,
) -> None:
    """In the middle of each stage of at least so many tasks; one command ends with the bytes of an undisturbed run."""
    chosen = [(stage, tasks) for stage, tasks in stages(on_flink, tmp_path / "out") if tasks >= least]
    output = undone(on_flink, tmp_path, [stage.name for stage, _ in chosen])
    line = command(output, "--evaluator", str(local / "evaluator"), *cluster.options(), config=one_round)
    with started(line) as process:
        struck = [strike(cluster, process, victim, stage, tasks) for stage, tasks in chosen]
        _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (0, "")
    assert_same(results(output), results(on_flink))
    rows = []
    jobs = {job["name"]: job["jid"] for job in cluster.get("/jobs/overview")["jobs"]}
    for (stage, _), done in zip(chosen, struck, strict=True):
        restarts = len(failures(cluster, jobs[job_name(stage)]))
        took, usual = (f"{seconds(place)[stage.name]:.1f}" for place in (output, again))
        rows.append((stage.name, f"a {victim}", done, str(restarts), took, usual))
    columns = ("stage", "killed at work", "tasks done then", "restarts of the job", "seconds", "undisturbed")
    page.table(f"A {victim} killed in the middle of each stage: the same bytes", columns, rows)


def test_a_cluster_set_as_advised_recovers(
    on_flink: Path,
    local: Path,
    one_round: Path,
    tmp_path: Path,
    jar: str,
    command: Callable[..., list[str]],
    page: Page,
) -> None:
    """With the delay and the heartbeats of the README kills leave the same bytes; the page has what they cost."""
    rows = []
    with session_cluster(tmp_path, JARS, jar, **ADVISED) as cluster:
        told = {one["key"]: one["value"] for one in cluster.get("/jobmanager/config")}
        assert {name: told[name] for name in ADVISED} == ADVISED
        for number, victim in enumerate(("", "", "worker", "task manager")):  # a cluster's first work takes longer
            output = undone(on_flink, tmp_path / str(number), PUBLICATION)
            line = command(output, "--evaluator", str(local / "evaluator"), *cluster.options(), config=one_round)
            stage, tasks = next(own for own in stages(on_flink, output) if own[0].name == PUBLICATION[0])
            with started(line) as process:
                done = strike(cluster, process, victim, stage, tasks) if victim else ""
                _, said = process.communicate(timeout=PATIENCE)
            assert (process.returncode, said) == (0, "")
            assert_same(results(output), results(on_flink))
            rows.append((victim or "nobody", done, seconds(output)[stage.name]))
    columns = ("killed in publish.encode", "tasks done then", "seconds, the start of a job server among them")
    shown = [(*row, f"{took:.1f}") for *row, took in rows[1:]]
    page.table("A cluster that is set as README advises", columns, shown)


def test_a_killed_training_ends_with_the_same_weights(
    local: Path, cluster: Cluster, one_round: Path, tmp_path: Path, command: Callable[..., list[str]], page: Page
) -> None:
    """Judges are trained on the cluster: a worker is killed at it, and the weights are those of a training here."""
    output = undone(local, tmp_path, [TRAINING])
    stage, tasks = next(own for own in stages(local, output) if own[0].name == TRAINING)
    with started(command(output, *cluster.options(), config=one_round)) as process:
        done = strike(cluster, process, "worker", stage, tasks)
        _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (0, "")
    assert_same(digests(output), digests(local))
    took, usual = (f"{seconds(place)[stage.name]:.1f}" for place in (output, local))
    columns = ("stage", "tasks done then", "seconds", "seconds here, undisturbed")
    page.table("A worker killed as it trains: the same weights", columns, [(stage.name, done, took, usual)])


def encoding(finished: Path, output: Path) -> Stage:
    """Return the stage that encodes."""
    return next(stage for stage, _ in stages(finished, output) if stage.name == "publish.encode")


def test_a_killed_client_leaves_no_second_job(
    on_flink: Path,
    cluster: Cluster,
    local: Path,
    one_round: Path,
    tmp_path: Path,
    command: Callable[..., list[str]],
    run: Run,
    page: Page,
) -> None:
    """What submitted a job is killed while a worker works; the same command cancels that job and does the stage."""
    output = undone(on_flink, tmp_path, PUBLICATION)
    given = ["--evaluator", str(local / "evaluator"), *cluster.options()]
    with started(command(output, *given, config=one_round)) as client:
        worker = held(cluster, client, stage := encoding(on_flink, output))
        job = running(cluster, stage)
    try:
        assert client.returncode == -signal.SIGKILL
        began = time.monotonic()
        run(output, *given, config=one_round)
        took = time.monotonic() - began
    finally:
        worker.kill()
    assert state(cluster, job["jid"]) == "CANCELED"
    assert_same(results(output), results(on_flink))
    went = f"The same command cancelled the job that was left and finished it, in {took:.0f} s: the same bytes."
    page.show("What submitted the job killed in publish.encode", went)


def test_a_stopped_run_leaves_no_job(
    on_flink: Path, cluster: Cluster, local: Path, one_round: Path, tmp_path: Path, command: Callable[..., list[str]]
) -> None:
    """By Ctrl-C while a worker works: its job, whose name the log has, is cancelled before it ends."""
    output = undone(on_flink, tmp_path, PUBLICATION)
    line = command(output, "--evaluator", str(local / "evaluator"), *cluster.options(), config=one_round)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    with started(line) as process:
        worker = held(cluster, process, stage := encoding(on_flink, output))
        job = running(cluster, stage)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    worker.kill()
    assert (process.returncode, said) == (130, "stopped; the same command goes on from here\n")
    assert state(cluster, job["jid"]) == "CANCELED"
    events = [orjson.loads(event) for event in (output / "run.log").read_bytes().splitlines()]
    assert job["name"] in [event["job"] for event in events if event["event"] == "submitted"]


@contextlib.contextmanager
def disk(place: Path) -> Iterator[Callable[[str], None]]:
    """Mount a file system of its own; yield what gives it another size."""

    def mount(*options: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["mount", *options, place], capture_output=True, check=False)

    place.mkdir()
    mounted = mount("-t", "tmpfs", "none")
    if mounted.returncode:
        pytest.skip(f"no right to mount a file system: {mounted.stderr.decode().strip()}")
    try:
        yield lambda size: mount("-o", f"remount,size={size}").check_returncode()
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def test_a_full_disk_ends_the_run_at_once(
    local: Path, cluster: Cluster, one_round: Path, tmp_path: Path, command: Callable[..., list[str]], page: Page
) -> None:
    """Flink does not try again what cannot pass: the line is the worker's, and with room the same command finishes."""
    with disk(tmp_path / "disk") as resize:
        output = undone(local, tmp_path / "disk", PUBLICATION)
        line = command(output, *cluster.options(), config=one_round)
        with started(line) as process:
            worker = held(cluster, process, stage := encoding(local, output))
            job = running(cluster, stage)
            resize(str(shutil.disk_usage(output).used))
            began = time.monotonic()
            worker.resume()
            _, said = process.communicate(timeout=PATIENCE)
        took = time.monotonic() - began
        page.show("No room left in publish.encode", f"After {took:.0f} s:\n\n    {shortened(said)}")
        assert process.returncode == 1
        full = r"OSError: \[Errno 28\] No space left on device"
        there = rf"free now: 0\.\d MB in {output}, [^;]*; make room, and the same command goes on from here"
        told = rf"failed: publish.encode: on {socket.gethostname()}: {full}[^;]*; {there} \([^;]*\)\n"
        assert re.fullmatch(told, said), said
        assert took < 60
        assert state(cluster, job["jid"]) in ("CANCELED", "FINISHED")
        assert not failures(cluster, job["jid"])
        resize("1g")
        assert subprocess.run(line, check=False, capture_output=True, timeout=PATIENCE).returncode == 0
        assert_same(results(output), results(local))


def test_a_killed_job_manager_ends_in_one_line(
    on_flink: Path,
    cluster: Cluster,
    local: Path,
    one_round: Path,
    tmp_path: Path,
    command: Callable[..., list[str]],
    page: Page,
) -> None:
    """Without high availability its jobs are lost: the run says whom it asked, and the same command finishes it."""
    output = undone(on_flink, tmp_path, PUBLICATION)
    line = command(output, "--evaluator", str(local / "evaluator"), *cluster.options(), config=one_round)
    with started(line) as process:
        worker = held(cluster, process, encoding(on_flink, output))
        began = time.monotonic()
        cluster.processes["jobmanager"].kill()
        cluster.processes["jobmanager"].wait()
        worker.resume()
        _, said = process.communicate(timeout=PATIENCE)
    took = time.monotonic() - began
    assert process.returncode == 1
    assert said.startswith("failed: publish.encode: ")
    assert f"--flink_master=http://localhost:{cluster.rest} does not answer: " in said
    assert "; once it does, the same command goes on from here (detail in " in said
    assert len(said.splitlines()) == 1
    cluster.start("jobmanager")
    cluster.wait_for(2)
    assert subprocess.run(line, check=False, capture_output=True, timeout=PATIENCE).returncode == 0
    assert_same(results(output), results(on_flink))
    went = (
        f"After {took:.0f} s:\n\n    {shortened(said)}\nStarted again, it let the same command finish: the same bytes."
    )
    page.show("The job manager killed in publish.encode", went)

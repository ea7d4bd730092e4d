"""Workers that cannot do the work are found before they get any, and the run's user reads one line."""

import contextlib
import os
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # no stubs are locked
import pytest
from apache_beam.utils.subprocess_server import pick_port

from pipeline import cluster, identity
from pipeline.config import ConfigError
from pipeline.running_jobs import job_name
from pipeline.session import engine
from pipeline.stage import make_stage
from tests.pipeline.test_execute import Number, burn

BEAMS_OWN = "apache_beam.runners.worker.worker_pool_main"
PYTHON = f"{sys.base_prefix}/bin/python3"  # without any package


@contextlib.contextmanager
def pool(module: str, folder: Path, python: str, **environment: str) -> Iterator[str]:
    """Start a pool whose first `python` on the path is the one given; yield its address."""
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to(python)
    (port,) = pick_port(None)
    flag = "--service_port" if module == BEAMS_OWN else "--port"
    path = f"{folder}/bin{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        [sys.executable, "-m", module, f"{flag}={port}"],
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("localhost", port)):
                break
            time.sleep(0.1)
        yield f"localhost:{port}"
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def go(folder: Path, address: str) -> None:
    """Run a stage of two tasks with the workers of a pool."""
    options = [
        "--runner=PortableRunner",
        "--job_endpoint=embed",
        "--environment_type=EXTERNAL",
        f"--environment_config={address}",
    ]
    stage = make_stage(str(folder), "stage", 1, [], [])
    with engine(options, workers=1) as working:
        working.run(stage, burn, [Number("a"), Number("b")], lambda *_: None)


def test_our_pool_does_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever `python` is first on the path, workers of our pool have what the pool has.

    The job that asks them has a name of the output, by which the next start finds one that hangs.
    """
    asked: list[str] = []
    ask = cluster.check_workers

    def heard(pool: Executor, options: tuple[str, ...], output: str) -> None:
        asked.append(options[0])
        ask(pool, options, output)

    monkeypatch.setattr(cluster, "check_workers", heard)
    tests = str(Path(__file__).parents[2])  # so that a worker finds this test's task
    with pool("pipeline.worker_pool", tmp_path, "/bin/false", PYTHONPATH=tests) as address:
        go(tmp_path / "out", address)
    assert not (tmp_path / "out/stages/workers").exists()
    of_the_output = job_name(make_stage(str(tmp_path / "out"), "stage", 1, [], [])).rpartition("-")[2]
    assert asked == [f"--job_name=lustrate-workers-0-{of_the_output}"]


def test_a_worker_that_is_killed_before_it_begins_is_started_again(tmp_path: Path) -> None:
    """Its runner would wait for it for ever."""
    tests = str(Path(__file__).parents[2])
    killed: list[int] = []

    def kill() -> None:
        (server,) = [child for child in psutil.Process().children() if "worker_pool" in " ".join(child.cmdline())]
        while not killed:
            for worker in [worker for child in server.children() for worker in child.children()]:
                worker.kill()
                killed.append(worker.pid)

    with pool("pipeline.worker_pool", tmp_path, "/bin/false", PYTHONPATH=tests) as address:
        thread = threading.Thread(target=kill, daemon=True)
        thread.start()
        go(tmp_path / "out", address)
    assert len(killed) == 1


def test_a_pool_without_the_package_is_found(tmp_path: Path) -> None:
    """Beam is there and the package is not: one line says so, and no task was tried."""
    beam = sysconfig.get_paths()["purelib"]  # named so, its .pth files are not followed, of which ours is one
    with (
        pool(BEAMS_OWN, tmp_path, PYTHON, PYTHONPATH=beam) as address,
        pytest.raises(ConfigError, match=r"cannot import the package: ModuleNotFoundError: No module named 'pipeline'"),
    ):
        go(tmp_path / "out", address)
    assert not list((tmp_path / "out").rglob("done/*"))


def test_a_pool_without_beam_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that dies at its first import never answers, and the run does not wait for it for ever."""
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 5)
    with (
        pool(BEAMS_OWN, tmp_path, PYTHON) as address,
        pytest.raises(ConfigError, match=rf"no answer from the workers within 5 s: .* a pool at {address}"),
    ):
        go(tmp_path / "out", address)


def test_an_output_that_workers_do_not_share_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is another one where the workers are."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with (
        pool("pipeline.worker_pool", tmp_path, "/bin/false") as address,
        pytest.raises(ConfigError, match=r"--output out: what workers write is not seen here; name an absolute path"),
    ):
        go(Path("out"), address)


def test_a_worker_with_other_versions_is_refused() -> None:
    """The first difference is named, with both sides."""
    own = identity.identity()
    answer = {"host": "node-7", "python": "/usr/bin/python", "identity": {**own, "apache-beam": "2.76.0"}}
    with pytest.raises(ConfigError, match=r"node-7 \(/usr/bin/python\) has apache-beam 2.76.0, this process 2.77"):
        cluster._check_answer(answer, own)


def test_a_changed_source_is_another_identity(tmp_path: Path) -> None:
    """A file that differs, or bears another name, makes another package of the same version number."""
    (tmp_path / "pipeline").mkdir()
    found = set()
    for name, text in (("steps.py", "a = 1\n"), ("steps.py", "a = 2\n"), ("step.py", "a = 2\n")):
        (tmp_path / "pipeline" / name).write_text(text)
        found.add(identity.checksum(tmp_path))
        (tmp_path / "pipeline" / name).unlink()
    assert len(found) == 3
    assert identity.SOURCES in identity.identity()["lustrate"]


@pytest.mark.parametrize(
    ("options", "elsewhere"),
    [
        ((), False),
        (("--runner=FlinkRunner",), False),
        (("--runner=FlinkRunner", "--flink_master=[local]"), False),
        (("--runner=FlinkRunner", "--flink_master=host:8081"), True),
        (("--runner=FlinkRunner", "--flink_master=host:8081", "--environment_type=LOOPBACK"), False),
        (("--runner=FlinkRunner", "--environment_type=EXTERNAL"), True),
        (("--runner=PortableRunner", "--job_endpoint=embed"), True),
        (("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"), False),
    ],
)
def test_only_workers_elsewhere_are_asked(options: tuple[str, ...], *, elsewhere: bool) -> None:
    """Workers that are threads of this process have its package."""
    assert cluster.has_workers_elsewhere(options) == elsewhere

"""A session cluster on this machine, as one without Docker is run: a job manager, task managers, a pool of workers.

Flink's jars come from PyPI (apache-flink-libraries, without start scripts), so its processes are started by class.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil  # type: ignore[import-untyped]  # no stubs are locked
from apache_beam.utils.subprocess_server import pick_port

RUNTIME = "org.apache.flink.runtime"
SCRATCH = "scratch"  # folder of what the processes write for themselves
HOLD = "hold"  # file by which a worker is asked to stop
# Our pool, whose workers stop where a test asks for it.
POOL = """\
import sys
from pipeline import worker_pool
worker_pool.PRELOADED += ("tests.pipeline.flink.holding",)
sys.exit(worker_pool.main())
"""
# Flink 1.19 on Java 17: what its own start scripts open.
OPENS = ("java.util", "java.lang", "java.nio", "sun.nio.ch", "java.util.concurrent", "java.time", "java.net", "java.io")
SETTINGS = {
    "jobmanager.rpc.address": "localhost",
    "rest.address": "localhost",
    "taskmanager.host": "localhost",
    "taskmanager.numberOfTaskSlots": "1",
    "restart-strategy.type": "failure-rate",
    "restart-strategy.failure-rate.max-failures-per-interval": "60",
    "restart-strategy.failure-rate.failure-rate-interval": "1 h",
    "restart-strategy.failure-rate.delay": "1 s",
    "heartbeat.interval": "1000",  # ms: a dead task manager is noticed in 2 s instead of 20, of dozens of kills
    "blob.service.cleanup.interval": "60",  # s: for an hour, by default, each of a hundred jobs leaves its jar
    "web.refresh-interval": "200",  # ms: what the job manager says of a job is no older
    "classloader.resolve-order": "parent-first",
}
MEMORY = {
    "cpu.cores": "1",
    "memory.task.heap.size": "512mb",
    "memory.task.off-heap.size": "0b",
    "memory.managed.size": "128mb",
    "memory.network.min": "64mb",
    "memory.network.max": "64mb",
    "memory.framework.heap.size": "128mb",
    "memory.framework.off-heap.size": "128mb",
    "memory.jvm-metaspace.size": "256mb",
    "memory.jvm-overhead.min": "192mb",
    "memory.jvm-overhead.max": "192mb",
}
LOGGING = """\
rootLogger.level=INFO
rootLogger.appenderRef.out.ref=Out
appender.out.name=Out
appender.out.type=CONSOLE
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %-5p %c{1} %m%n
"""


@dataclass
class Cluster:
    """Processes by name, and where they listen."""

    work: Path
    jars: str  # folder of Flink's
    jar: str  # Beam's job server
    rest: int
    rpc: int
    pool: int
    settings: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]]

    def start(self, name: str) -> None:
        """Start a process: `jobmanager`, `taskmanager-N` or `pool`."""
        log = (self.work / f"{name}.log").open("ab")
        command = self._pool() if name == "pool" else self._java(name.partition("-")[0])
        given = {**os.environ, "LUSTRATE_HOLD": str(self.work / HOLD)}
        self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=given)

    def _pool(self) -> list[str]:
        return [sys.executable, "-c", POOL, f"--port={self.pool}"]

    def _java(self, role: str) -> list[str]:
        main = {
            "jobmanager": f"{RUNTIME}.entrypoint.StandaloneSessionClusterEntrypoint",
            "taskmanager": f"{RUNTIME}.taskexecutor.TaskManagerRunner",
        }[role]
        opens = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENS]
        settings = {**SETTINGS, "rest.port": str(self.rest), "jobmanager.rpc.port": str(self.rpc), **self.settings}
        settings["io.tmp.dirs"] = str(self.work / SCRATCH)  # gigabytes that nobody removes after a kill
        if role == "taskmanager":
            settings |= {f"taskmanager.{name}": value for name, value in MEMORY.items()}
        given = [part for name, value in settings.items() for part in ("-D", f"{name}={value}")]
        # Beam's classes on the cluster's own path are loaded once, not again for every job (parent-first, below).
        classpath = f"{self.jars}/*:{self.jar}"
        heap = "-Xmx1g" if role == "jobmanager" else "-Xmx640m"
        logging = f"-Dlog4j.configurationFile={self.work}/log4j.properties"
        return ["java", *opens, heap, logging, "-cp", classpath, main, "--configDir", str(self.work), *given]

    def get(self, path: str) -> Any:
        """Ask the job manager."""
        with urlopen(f"http://localhost:{self.rest}{path}", timeout=30) as answer:
            return json.load(answer)

    def wait_for(self, task_managers: int, seconds: float = 90) -> None:
        """Wait until so many task managers are registered; raises TimeoutError, also where the job manager ended."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.processes["jobmanager"].poll() is not None:
                raise TimeoutError(f"the job manager ended at once: {self.work}/jobmanager.log")
            with contextlib.suppress(OSError):
                if self.get("/overview")["taskmanagers"] == task_managers:
                    return
            time.sleep(0.5)
        raise TimeoutError(f"{task_managers} task managers were not there after {seconds:.0f} s: {self.work}/*.log")

    def hold(self, folder: Path, least: int = 0) -> None:
        """Ask a worker to stop in the middle of a task of a stage, by its folder, of which so many are recorded."""
        asked = self.work / f"{HOLD}.tmp"
        asked.write_text(f"{least} {folder}")
        asked.replace(self.work / HOLD)

    def held(self) -> psutil.Process | None:
        """Return the worker that stopped, once."""
        for taken in self.work.glob(f"{HOLD}-*"):
            worker = psutil.Process(int(taken.name.removeprefix(f"{HOLD}-")))
            if worker.status() == psutil.STATUS_STOPPED:
                taken.unlink()
                return worker
        return None

    def task_manager_of(self, worker: psutil.Process) -> str:
        """Return the name of the task manager whose port a worker is connected to."""
        reached = {connection.raddr.port for connection in worker.net_connections() if connection.raddr}
        (name,) = (
            name
            for name, process in self.processes.items()
            if name.startswith("taskmanager")
            and reached & {c.laddr.port for c in psutil.Process(process.pid).net_connections() if not c.raddr}
        )
        return name

    def options(self) -> tuple[str, ...]:
        """Return what a run needs to know of this cluster."""
        return (
            "--runner=FlinkRunner",
            "--flink_version=1.19",
            f"--flink_job_server_jar={self.jar}",
            f"--flink_master=localhost:{self.rest}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{self.pool}",
            "--parallelism=2",
        )


@contextlib.contextmanager
def session_cluster(work: Path, jars: str, jar: str, **settings: str) -> Iterator[Cluster]:
    """Start a job manager, two task managers and a pool; end them with all that they started."""
    (work / "log4j.properties").write_text(LOGGING)
    (work / "config.yaml").write_text("")
    rest, rpc, pool = pick_port(None, None, None)
    cluster = Cluster(work, jars, jar, rest, rpc, pool, settings, {})
    try:
        for name in ("jobmanager", "taskmanager-1", "taskmanager-2", "pool"):
            cluster.start(name)
        cluster.wait_for(2)
        yield cluster
    finally:
        for process in cluster.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()
        shutil.rmtree(work / SCRATCH, ignore_errors=True)

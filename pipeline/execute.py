"""Engine: runs a stage's transform over its tasks, on this machine or on a given Beam runner.

On this machine (`--runner=DirectRunner`, the default) a stage runs as N operating-system processes, each an in-memory
FnApiRunner on its slice of the tasks. Beam's own ways to use several cores lose data: `multi_threading` always,
`multi_processing` unless its periodic flush is switched off (2.77, worker_handlers.py).
"""

import argparse
import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.pvalue import PCollection
from apache_beam.runners.portability import local_job_service
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from pipeline.config import ConfigError
from pipeline.stage import (
    Manifest,
    Record,
    Stage,
    finished_keys,
    read_records,
    write_manifest,
    write_record,
)
from pipeline.storage import exists, is_local, join, remove, walk

SLICES_PER_WORKER = 4  # a slow slice holds up the others less
SLICED_BYTES = 50_000_000  # of tasks; for less, what a pipeline costs (0.08 s) is more than what levelling out gains
POLL_SECONDS = 0.5
TASK_ATTEMPTS = 3  # when a store fails
LOG = logging.getLogger(__name__)
LOCAL_RUNNERS = frozenset({"DirectRunner", "FnApiRunner", "direct"})
ONE_TASK = threading.Lock()  # a worker of another runner has threads, and a task takes a process's memory and settings


class RunFailed(Exception):  # noqa: N818 - what happened to the run, not an error of its code
    """The run cannot go on; the message is the one line that its user reads."""


# A piece of a stage's work: a small picklable value whose `key` names its record; Beam checks no protocols.
Task = Any
Work = Callable[[Any], Record]
Watch = Callable[[int, Sequence[Record], str], None]  # tasks in all, records that are new, what goes on inside


class ForEach(beam.PTransform):
    """Do `work` once for each task and record it in the stage's folder; recorded tasks are skipped.

    Tasks are small, so what spreads them over workers is the runner's reshuffle. `spread=False` leaves it out, for a
    runner with one worker: there it costs half of what an in-memory pipeline takes (0.25 of 0.45 s).
    """

    def __init__(self, work: Work, folder: str, *, spread: bool = True) -> None:
        super().__init__()
        self._work = work
        self._folder = folder
        self._spread = spread

    def expand(self, tasks: PCollection[Any]) -> PCollection[Any]:
        """Return the keys of the tasks done."""
        if self._spread:
            tasks = tasks | "Spread" >> beam.Reshuffle()
        return tasks | "Work" >> beam.Map(do_task, self._work, self._folder)

    def do(self, task: Task) -> str:
        """Do one task here; return its key."""
        return do_task(task, self._work, self._folder)


def do_task(task: Task, work: Work, folder: str) -> str:
    """Do one task unless it is recorded; return its key."""
    if exists(join(folder, "done", task.key + ".json")):
        return task.key
    with ONE_TASK:
        wall, cpu = time.monotonic(), time.process_time()
        record = _attempted(work, task)
        seconds = {
            "seconds": round(time.monotonic() - wall, 3),
            "cpu_seconds": round(time.process_time() - cpu, 3),
        }
    write_record(folder, {**record, **seconds, "key": task.key})
    return task.key


def _attempted(work: Work, task: Task) -> Record:
    """Do a task, again when the store fails: a server's 503 must not end the run."""
    for attempt in range(TASK_ATTEMPTS - 1):
        try:
            return work(task)
        except OSError as error:
            if isinstance(error, FileNotFoundError | PermissionError):
                raise
            LOG.warning("task %s: %s; trying again", task.key, error)
            time.sleep(2**attempt)
    return work(task)


@dataclass(frozen=True, slots=True)
class Engine:
    """How transforms run: the pool of processes, and what returns Beam's options for a stage once all is ready."""

    pool: ProcessPoolExecutor
    workers: int
    ready: Callable[[Stage], tuple[str, ...]]
    local: bool  # N in-memory runners on slices, instead of one pipeline

    def run(
        self,
        stage: Stage,
        transform: ForEach,
        tasks: Sequence[Task],
        watch: Watch,
        inside: Callable[[], str] = str,
    ) -> Manifest:
        """Run a stage to its manifest; tasks that are recorded are not done again.

        `inside` says what goes on in tasks that take long.
        """
        started = time.monotonic()
        _sweep(stage)
        finished = finished_keys(stage.folder)
        pending = [task for task in tasks if task.key not in finished]
        futures = [self._submit(stage, transform, part) for part in self._slices(pending)]
        self._follow(stage, futures, lambda new: watch(len(tasks), new, inside()))
        got = len(finished_keys(stage.folder))
        if got != len(tasks):
            raise RunFailed(f"{stage.name}: {got} of {len(tasks)} tasks are recorded; the runner lost the others")
        return write_manifest(stage, time.monotonic() - started)

    def _submit(self, stage: Stage, transform: ForEach, tasks: list[Task]) -> Future[Any]:
        """Let a worker do some tasks; here it does a single one itself, which no pipeline could spread."""
        if self.local and len(tasks) == 1:
            return self.pool.submit(transform.do, tasks[0])
        return self.pool.submit(run_pipeline, self.ready(stage), transform, tasks)

    def _slices(self, tasks: list[Task]) -> list[list[Task]]:
        """Cut the tasks into slices for the pool, large ones first and spread evenly."""
        if not tasks:
            return []
        if not self.local:
            return [tasks]
        ordered = sorted(tasks, key=lambda task: -getattr(task, "size", 0))
        much = sum(getattr(task, "size", 0) for task in tasks) >= SLICED_BYTES
        count = min(len(tasks), self.workers * (SLICES_PER_WORKER if much else 1))
        return [ordered[i::count] for i in range(count)]

    def _follow(self, stage: Stage, futures: Sequence[Future[Any]], watch: Callable[[list[Record]], None]) -> None:
        """Wait for the slices and report what is recorded; the first error ends the run."""
        seen: set[str] = set()
        pending = set(futures)
        while True:
            finished, pending = wait(pending, timeout=POLL_SECONDS)
            for future in finished:
                _raise_failure(stage, future)
            new = finished_keys(stage.folder) - seen
            seen |= new
            watch(list(read_records(stage.folder, new)))
            if not pending:
                return


@dataclass(frozen=True, slots=True)
class Rank:
    """One of several processes that torchrun started: it does its share of one stage's tasks itself, without Beam."""

    number: int
    count: int
    allowed: str  # how the names of stages end that it may work on
    local: bool = True

    def run(
        self, stage: Stage, transform: ForEach, tasks: Sequence[Task], watch: Watch, inside: Callable[[], str] = str
    ) -> Manifest:
        """Do this rank's tasks; whoever finds all recorded writes the manifest. Raises RunFailed for other stages."""
        if not stage.name.endswith(self.allowed):
            raise RunFailed(f"{stage.name} is not finished; run the same command with --train-only first")
        started = time.monotonic()
        for task in tasks[self.number :: self.count]:
            transform.do(task)
            watch(len(tasks), list(read_records(stage.folder, {task.key})), inside())
        if len(finished_keys(stage.folder)) < len(tasks):
            return Manifest(stage, (), {}, 0.0, 0.0)
        return write_manifest(stage, time.monotonic() - started)


def _sweep(stage: Stage) -> None:
    """Remove what killed writers left; the output folder is ours alone."""
    for name in walk(stage.folder) if is_local(stage.folder) else []:
        if name.endswith(".tmp"):
            remove(stage.path(name))


def _raise_failure(stage: Stage, future: Future[Any]) -> None:
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        raise RunFailed(f"{stage.name}: a worker process died; the same command goes on from here") from error
    if error is not None:
        raise RunFailed(": ".join([stage.name, *_said(error)])) from error


def _said(error: BaseException) -> list[str]:
    """Return what an error says in one line: of a worker elsewhere, what its traceback ends with."""
    text = str(error).strip()
    _, remote, trace = text.rpartition("Traceback (most recent call last):\n")
    if remote:
        return [next((line for line in trace.splitlines() if line and not line.startswith(" ")), "no reason given")]
    first = text.partition("\n")[0]  # a MemoryError, say, has no text
    return [type(error).__name__, *([first] if first else [])]


def run_pipeline(options: tuple[str, ...], transform: beam.PTransform, tasks: Sequence[Task]) -> None:
    """Run one Beam pipeline over some tasks, here or where the options say."""
    parsed = PipelineOptions(list(options))
    name = parsed.view_as(StandardOptions).runner
    runner = FnApiRunner() if name is None or name in LOCAL_RUNNERS else name
    with beam.Pipeline(runner=runner, options=parsed) as pipeline:
        pipeline | "Tasks" >> beam.Create(list(tasks), reshuffle=False) | transform


@contextlib.contextmanager
def start(options: Sequence[str], workers: int | None = None) -> Iterator[Engine]:
    """Open an engine for Beam options; raises ConfigError for a mode that loses data.

    `workers` is the number of processes of a local run; by default --direct_num_workers, or one for each core.
    """
    parsed = PipelineOptions(list(options))
    runner = parsed.view_as(StandardOptions).runner or "DirectRunner"
    direct = parsed.view_as(DirectOptions)
    mode = direct.direct_running_mode if runner in LOCAL_RUNNERS else "in_memory"
    if mode == "multi_threading":
        raise ConfigError("--direct_running_mode=multi_threading loses data in Beam 2.77; leave it out")
    local = runner in LOCAL_RUNNERS and mode == "in_memory"
    given = _asked_workers(options)
    count = workers or given or len(os.sched_getaffinity(0))
    # Forked here, before this process has threads, the workers need not import Beam and the kernels again.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    prepare = _start_worker if local else _start_silent_worker
    pool = ProcessPoolExecutor(count if local else 1, mp_context=context, initializer=prepare)
    pool.submit(os.getpid).result()
    try:
        with _prepared(pool, options, local=local) as ready:
            yield Engine(pool, count, ready, local)
    finally:
        for process in list((pool._processes or {}).values()):  # noqa: SLF001 - no public way to end running work
            process.kill()
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _prepared(
    pool: ProcessPoolExecutor, options: Sequence[str], *, local: bool
) -> Iterator[Callable[[Stage], tuple[str, ...]]]:
    """Yield what returns the options that a stage is run with."""
    if local:
        yield lambda _: tuple(options)
        return
    from pipeline.cluster import prepared  # imports runners that a local run does without

    with prepared(pool, options) as ready:
        yield ready


def _asked_workers(options: Sequence[str]) -> int:
    """Return --direct_num_workers, 0 where it is not given; Beam's own default cannot be told from 1."""
    line = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    line.add_argument("--direct_num_workers", type=int, default=0)
    return max(0, int(line.parse_known_args(list(options))[0].direct_num_workers))


def _start_worker() -> None:
    """Prepare a worker: end with the driver, mend Beam's multi_processing, one thread a library."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to answer
    logging.getLogger().setLevel(logging.CRITICAL)  # a failure reaches the driver, which says it once
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
    worker_class: Any = local_job_service.SubprocessSdkWorker
    work = worker_class.run

    def run_or_end(worker: Any) -> Any:
        try:
            return work(worker)
        except BaseException:  # noqa: BLE001 - whatever it is, the worker is dead
            os._exit(1)  # Beam would wait for the dead worker for ever

    worker_class.run = run_or_end


def _start_silent_worker() -> None:
    """Prepare a worker in which Beam's own may run: they print each failure, too, and that their runner hung up."""
    sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    _start_worker()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

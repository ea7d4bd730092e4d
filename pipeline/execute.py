"""Engine: does a stage's tasks, on this machine or by a given Beam runner.

On this machine N operating-system processes take the tasks one by one. Beam (beam_runner.py) comes in where an option
asks for it: on a laptop it would do nothing but iterate, for 0.7 s of imports a run and 0.08 s a pipeline.
"""

import contextlib
import itertools
import logging
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from pipeline import cost
from pipeline.failure import HOPELESS, said
from pipeline.object_store import StoreFailed
from pipeline.stage import (
    Manifest,
    Record,
    Stage,
    finished_keys,
    read_records,
    write_manifest,
    write_record,
)
from pipeline.storage import exists, is_local, join, remove, synced_later, walk

POLL_SECONDS = 0.5
STORE_POLL_SECONDS = 2.0  # a listing is a request for each thousand records
LOOKS_SHARE = 0.02  # of a stage's time that goes to looks at its records, since each look lists all
TASK_ATTEMPTS = 3  # when a file cannot be opened or written; what fails on its way to the disk ends the run
LOG = logging.getLogger(__name__)
ONE_TASK = threading.Lock()  # a worker of another runner has threads, and a task takes a process's memory and settings


class RunFailed(Exception):  # noqa: N818 - what happened to the run, not an error of its code
    """The run cannot go on; the message is the one line that its user reads."""


# A piece of a stage's work: a small picklable value whose `key` names its record; Beam checks no protocols.
Task = Any
Work = Callable[[Any], Record]
Watch = Callable[[int, Sequence[Record], str], None]  # tasks in all, records that are new, what goes on inside


def jobs_folder(output: str) -> str:
    """Return the folder of what a job elsewhere is to do (job.py); one that begins when it is empty fails."""
    return join(output, "stages", "jobs")


def do_task(task: Task, work: Work, folder: str) -> str:
    """Do one task unless it is recorded; return its key."""
    _done(task, work, folder)()
    return task.key


def _done(task: Task, work: Work, folder: str) -> Callable[[], None]:
    """Do one task unless it is recorded; return what waits until its files are on the disk, and records it."""
    if exists(join(folder, "done", task.key + ".json")):
        return lambda: None
    with ONE_TASK, synced_later() as sync:
        began = cost.begin()
        record = _attempted(work, task)
        taken = cost.since(began)

    def record_it() -> None:
        sync()
        write_record(folder, {**record, **taken, "key": task.key})

    return record_it


def do_tasks(tasks: Sequence[Task], work: Work, folder: str) -> None:
    """Do some tasks in turn; what one has written reaches the disk, and is recorded, while the next is at work."""
    with ThreadPoolExecutor(1) as behind:
        try:
            before: Future[Any] = behind.submit(int)
            for task in tasks:
                record_it = _done(task, work, folder)
                before.result()
                before = behind.submit(record_it)
            before.result()
        except Exception as error:
            _check_travels(error)
            raise


def _check_travels(error: Exception) -> None:
    """Raise RunFailed for an error that could not be unpickled: the driver would take it for a worker's death."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - what the pool does with it
    except Exception:  # noqa: BLE001 - whatever the error's class does
        raise RunFailed(f"{type(error).__name__}: {error}".partition("\n")[0]) from None


def _attempted(work: Work, task: Task) -> Record:
    """Do a task, again where a file system fails for a moment; a store was asked again for each request."""
    for attempt in range(TASK_ATTEMPTS - 1):
        try:
            return work(task)
        except OSError as error:
            if error.errno in HOPELESS or isinstance(error, StoreFailed | FileNotFoundError):
                raise
            LOG.warning("task %s: %s; trying again", task.key, error)
            time.sleep(2**attempt)
    return work(task)


@dataclass(frozen=True, slots=True)
class Engine:
    """How tasks are done: what takes those of a stage and returns what they are waited for by.

    `clear` ends what earlier starts left at work elsewhere for an output.
    """

    submit: Callable[[Stage, Work, Sequence[Task]], Sequence[Future[Any]]]
    clear: Callable[[str], None] = lambda _: None

    def run(
        self, stage: Stage, work: Work, tasks: Sequence[Task], watch: Watch, inside: Callable[[], str] = str
    ) -> Manifest:
        """Run a stage to its manifest; tasks that are recorded are not done again.

        `inside` says what goes on in tasks that take long.
        """
        started = time.monotonic()
        remove(jobs_folder(stage.output))  # an earlier start's job, of whatever stage, that begins only now fails
        self.clear(stage.output)  # before it is swept, and workers are asked: a job writes there, and may hold slots
        _sweep(stage)
        finished = finished_keys(stage.folder)
        pending = [task for task in tasks if task.key not in finished]
        futures = self.submit(stage, work, pending) if pending else []
        self._follow(stage, futures, lambda new: watch(len(tasks), new, inside()))
        got = len(finished_keys(stage.folder))
        if got != len(tasks):
            raise RunFailed(f"{stage.name}: {got} of {len(tasks)} tasks are recorded; the runner lost the others")
        remove(jobs_folder(stage.output))
        return write_manifest(stage, time.monotonic() - started)

    def _follow(self, stage: Stage, futures: Sequence[Future[Any]], watch: Callable[[list[Record]], None]) -> None:
        """Wait for what was submitted and report what is recorded; the first error ends the run."""
        seen: set[str] = set()
        pending = set(futures)
        due = 0.0
        while True:
            finished, pending = wait(pending, pause(stage.folder), return_when=FIRST_EXCEPTION)
            for future in finished:
                _raise_failure(stage, future)
            new: set[str] = set()
            began = time.monotonic()
            if began >= due or not pending:
                new = finished_keys(stage.folder) - seen
                due = began + (time.monotonic() - began) / LOOKS_SHARE
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

    def run(
        self, stage: Stage, work: Work, tasks: Sequence[Task], watch: Watch, inside: Callable[[], str] = str
    ) -> Manifest:
        """Do this rank's tasks; whoever finds all recorded writes the manifest. Raises RunFailed for other stages."""
        if not stage.name.endswith(self.allowed):
            raise RunFailed(f"{stage.name} is not finished; run the same command with --train-only first")
        started = time.monotonic()
        for task in tasks[self.number :: self.count]:
            do_task(task, work, stage.folder)
            watch(len(tasks), list(read_records(stage.folder, {task.key})), inside())
        if len(finished_keys(stage.folder)) < len(tasks):
            return Manifest(stage, (), {}, 0.0, 0.0)
        return write_manifest(stage, time.monotonic() - started)


def pause(folder: str) -> float:
    """Return the seconds between two looks into a folder."""
    return POLL_SECONDS if is_local(folder) else STORE_POLL_SECONDS


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
        raise RunFailed(f"{stage.name}: {error if isinstance(error, RunFailed) else said(error)}") from error


@contextlib.contextmanager
def start(workers: int | None = None) -> Iterator[Engine]:
    """Open an engine of processes of this machine; by default one for each core."""
    count = workers or len(os.sched_getaffinity(0))
    with processes(count, start_worker) as pool:

        def submit(stage: Stage, work: Work, tasks: Sequence[Task]) -> list[Future[Any]]:
            return [pool.submit(do_tasks, hand, work, stage.folder) for hand in dealt(tasks, count)]

        yield Engine(submit)


def dealt(tasks: Sequence[Task], workers: int) -> list[list[Task]]:
    """Deal the tasks into hands, large tasks first: each about half of a worker's share of what is left, by size.

    Guided self-scheduling (Polychronopoulos and Kuck 1987): few hands, since the end of each waits for the disk, and
    small ones last, so that workers end together. Neighbours, which may be slow alike, go to different hands.
    """
    rest = large_first(tasks)
    left = sum(map(_size, rest))
    hands: list[list[Task]] = []
    while rest:
        spread = rest[::workers]
        held = list(itertools.accumulate(map(_size, spread)))
        count = min(len(held), bisect_left(held, left / (2 * workers)) + 1)
        hands.append(spread[:count])
        del rest[: count * workers : workers]
        left -= held[count - 1]
    return hands


def large_first(tasks: Sequence[Task]) -> list[Task]:
    """Return the tasks by size, the largest first."""
    return sorted(tasks, key=lambda task: -_size(task))


def _size(task: Task) -> int:
    return getattr(task, "size", 0) + 1


@contextlib.contextmanager
def processes(count: int, prepare: Callable[[], None]) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of processes that are killed at the end, whatever they are at."""
    # Forked here, before this process has threads, the workers need not import and load the kernels again.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=prepare)
    pool.submit(os.getpid).result()
    try:
        yield pool
    finally:
        for process in list((pool._processes or {}).values()):  # noqa: SLF001 - no public way to end running work
            process.kill()
        pool.shutdown(wait=True, cancel_futures=True)


def start_worker() -> None:
    """Prepare a worker: it ends with the driver, and leaves Ctrl-C and messages to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.getLogger().setLevel(logging.CRITICAL)  # a failure reaches the driver, which says it once
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

"""Beam: a stage as a pipeline, run where the options say.

`--runner=DirectRunner` is N processes, each an in-memory FnApiRunner on its slice of the tasks. Beam's own ways to use
several cores lose data: `multi_threading` always, `multi_processing` unless its periodic flush is switched off (2.77,
worker_handlers.py). Any other runner gets one pipeline a stage.
"""

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.pvalue import PCollection
from apache_beam.runners.portability import local_job_service
from apache_beam.runners.portability.flink_runner import MAGIC_HOST_NAMES, FlinkRunner
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.runner import create_runner

from pipeline.cluster import prepared
from pipeline.config import ConfigError
from pipeline.execute import Engine, Task, Work, do_task, large_first, processes, start_worker
from pipeline.job import LOCAL_RUNNERS, JobOptions, check_accelerator, make_job, run_job
from pipeline.running_jobs import cleared
from pipeline.stage import Stage

SLICES_PER_WORKER = 4  # a slow slice holds up the others less


class ForEach(beam.PTransform):
    """Do `work` once for each task and record it in the stage's folder; recorded tasks are skipped.

    There is no reshuffle: an in-memory runner has one worker, and a reshuffle costs half of what a pipeline takes (0.25
    of 0.45 s). Elsewhere job.py spreads the tasks.
    """

    def __init__(self, work: Work, folder: str) -> None:
        super().__init__()
        self._work = work
        self._folder = folder

    def expand(self, tasks: PCollection[Any]) -> PCollection[Any]:
        """Return the keys of the tasks done."""
        return tasks | "Work" >> beam.Map(do_task, self._work, self._folder)


def run_pipeline(options: Sequence[str], transform: beam.PTransform, tasks: Sequence[Task]) -> None:
    """Run one in-memory pipeline over some tasks."""
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(list(options))) as pipeline:
        pipeline | "Tasks" >> beam.Create(list(tasks), reshuffle=False) | transform


@contextlib.contextmanager
def start(
    options: Sequence[str], workers: int | None = None, tell: Callable[..., None] = lambda *_, **__: None
) -> Iterator[Engine]:
    """Open an engine for Beam options that were checked.

    `workers` is the number of processes of a local run; by default one for each core. `tell` gets an event and its
    values for each job elsewhere.
    """
    mode = _local_mode(options)
    count = workers or len(os.sched_getaffinity(0))
    if mode == "in_memory":
        with processes(count, start_worker) as pool:

            def submit(stage: Stage, work: Work, tasks: Sequence[Task]) -> list[Future[Any]]:
                transform = ForEach(work, stage.folder)
                ordered, slices = large_first(tasks), min(len(tasks), count * SLICES_PER_WORKER)
                parts = [ordered[number::slices] for number in range(slices)]
                return [pool.submit(run_pipeline, options, transform, part) for part in parts]

            yield Engine(submit)
        return
    given = [*options, f"--direct_num_workers={count}"] if mode else list(options)
    with (
        cleared(given, tell) as clear,
        processes(1, _start_beams_worker) as pool,
        prepared(pool, given, tell) as ready,
    ):

        def submit_whole(stage: Stage, work: Work, tasks: Sequence[Task]) -> list[Future[Any]]:
            job = make_job(stage, work, tasks)
            return [pool.submit(run_job, ready(stage), job)]

        yield Engine(submit_whole, clear)


def _local_mode(options: Sequence[str]) -> str:
    """Return how Beam runs on this machine, empty for a runner that is told so itself."""
    parsed = PipelineOptions(list(options))
    local = (parsed.view_as(StandardOptions).runner or "DirectRunner") in LOCAL_RUNNERS
    return parsed.view_as(DirectOptions).direct_running_mode if local else ""


def check_options(options: Sequence[str], workers: int | None = None) -> None:
    """Raise ConfigError for an option that Beam does not know (Beam itself would pass over it) and for its refusals.

    And for a mode that loses data, and a number of local processes for a runner that has none.
    """
    known = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for kind in _all_subclasses(PipelineOptions):
        try:
            kind._add_argparse_args(known)  # noqa: SLF001 - Beam's own way to declare options
        except argparse.ArgumentError:
            continue  # declared by two of Beam's classes
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            _, unknown = known.parse_known_args(list(options))
    except SystemExit:
        raise ConfigError(said.getvalue().strip().rpartition("error: ")[2]) from None
    if unknown:
        raise ConfigError(f"unknown option {unknown[0]}; see --help, and Beam's own options")
    mode = _local_mode(options)
    if mode == "multi_threading":
        raise ConfigError("--direct_running_mode=multi_threading loses data in Beam 2.77; leave it out")
    if given := next((option for option in options if option.startswith("--s3_")), ""):
        name = given.partition("=")[0]
        raise ConfigError(f"{name} is not used: set AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and the like")
    parsed = PipelineOptions(list(options))
    check_accelerator(parsed.view_as(JobOptions).score_accelerator)
    runner = parsed.view_as(StandardOptions).runner
    if workers is not None and not mode:
        raise ConfigError(f"--direct_num_workers is for runs on this machine; --runner={runner} has options of its own")
    if runner and runner not in LOCAL_RUNNERS:
        _check_runner(runner, parsed)


def _check_runner(name: str, parsed: PipelineOptions) -> None:
    """Raise ConfigError for a runner that cannot be made, and for one whose jobs we could not find again to end them.

    The portable runner has no endpoint of its own; and a job server that stands goes on when this process ends.
    """
    try:
        found = create_runner(name)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"--runner={name}: {str(error).strip().splitlines()[0]}") from None
    endpoint, master = parsed.view_as(PortableOptions).job_endpoint, parsed.view_as(FlinkRunnerOptions).flink_master
    if type(found) is PortableRunner and not endpoint:  # the others start a server of their own
        raise ConfigError(f"--runner={name}: name the runner behind it, as --runner=FlinkRunner --flink_master=…")
    if endpoint not in (None, "embed") and (not isinstance(found, FlinkRunner) or master in MAGIC_HOST_NAMES):
        raise ConfigError(
            "--job_endpoint needs --runner=FlinkRunner and --flink_master, where jobs that outlive this process can be "
            "found and cancelled"
        )


def _all_subclasses(kind: type[Any]) -> list[type[Any]]:
    return [found for sub in kind.__subclasses__() for found in [sub, *_all_subclasses(sub)]]


def _start_beams_worker() -> None:
    """Prepare a process in which Beam's own workers may run: mend multi_processing, and keep what they print."""
    sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")  # each failure, too, and that their runner hung up
    start_worker()
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
    worker_class: Any = local_job_service.SubprocessSdkWorker
    work = worker_class.run

    def run_or_end(worker: Any) -> Any:
        try:
            return work(worker)
        except BaseException:  # noqa: BLE001 - whatever it is, the worker is dead
            os._exit(1)  # Beam would wait for the dead worker for ever

    worker_class.run = run_or_end

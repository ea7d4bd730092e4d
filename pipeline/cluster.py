"""A cluster: one job server a run, and workers that say who they are before they get work.

Beam starts a job server for each pipeline, and ends none of them where the pipelines run in a process that is killed.
And a worker that cannot start makes its job hang: the runner waits for it.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.runners.portability.flink_runner import MAGIC_HOST_NAMES, FlinkJarJobServer, FlinkRunner
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.runner import PipelineState
from apache_beam.utils.subprocess_server import pick_port

from pipeline import storage
from pipeline.config import ConfigError
from pipeline.failure import said
from pipeline.identity import identity
from pipeline.job import is_dataflow, runner_of
from pipeline.running_jobs import job_name
from pipeline.stage import Stage

ANSWER_SECONDS = 300  # until all workers have started and answered: 20 on two busy cores, over 90 on overrun ones
# Dataflow's runner stages what `python -m pipeline.run` imported, and a list of packages that pip takes seconds to
# make; workers have all that in their container.
UNSTAGED = ("--no_save_main_session", "--experiments=disable_logging_submission_environment")
QUESTIONS = 4  # to each worker, so that a reshuffle passes over none


@contextlib.contextmanager
def prepared(
    pool: Executor, options: Sequence[str], tell: Callable[..., None] = lambda *_, **__: None
) -> Iterator[Callable[[Stage], tuple[str, ...]]]:
    """Yield what returns the options to submit a stage with; its first call prepares the run.

    `tell` gets an event and its values for each job.
    """
    parsed = PipelineOptions(list(options))
    with contextlib.ExitStack() as ends:
        reached: list[str] = []

        def ready(stage: Stage) -> tuple[str, ...]:
            name = job_name(stage)
            if not reached:
                reached.extend(options)
                if is_dataflow(parsed):
                    reached.extend(UNSTAGED)
                if _needs_server(parsed):
                    reached.append(f"--job_endpoint={_start_server(parsed, ends)}")
                if has_workers_elsewhere(options):
                    asking = job_name(Stage("workers", "0", stage.output))  # cancelled as a stage's is, where it hangs
                    check_workers(pool, (f"--job_name={asking}", *reached), stage.output)
            tell("submitted", stage=stage.name, job=name, runner=parsed.view_as(StandardOptions).runner)
            return (f"--job_name={name}", *reached)

        yield ready


def _needs_server(parsed: PipelineOptions) -> bool:
    asked = parsed.view_as(PortableOptions).job_endpoint or parsed.view_as(FlinkRunnerOptions).flink_submit_uber_jar
    return not asked and isinstance(runner_of(parsed), FlinkRunner)


def _start_server(parsed: PipelineOptions, ends: contextlib.ExitStack) -> str:
    """Start Beam's job server, which ends with this process however that ends; return its address."""
    java, flink = parsed.view_as(JobServerOptions), parsed.view_as(FlinkRunnerOptions)
    if shutil.which(java.job_server_java_launcher) is None:
        raise ConfigError(f"--runner=FlinkRunner needs Java: there is no {java.job_server_java_launcher!r} to start")
    if shutil.which("setpriv"):
        tied = ["--pdeathsig", "TERM", java.job_server_java_launcher]
        java.job_server_jvm_properties = [*tied, *java.job_server_jvm_properties]
        java.job_server_java_launcher = "setpriv"
    flink.flink_master = FlinkRunner.add_http_scheme(flink.flink_master)
    (java.job_port,) = pick_port(java.job_port)
    server = FlinkJarJobServer(parsed)
    try:
        server.start()
    except Exception as error:
        jar = "--flink_job_server_jar" if flink.flink_job_server_jar else f"--flink_version={flink.flink_version}"
        raise ConfigError(f"Flink's job server ({jar}) does not start: {error}") from error
    ends.callback(server.stop)
    return f"localhost:{java.job_port}"


def has_workers_elsewhere(options: Sequence[str]) -> bool:
    """Tell whether a portable runner's workers are other processes than ours, which may hold another package."""
    parsed = PipelineOptions(list(options))
    runner, kind = runner_of(parsed), parsed.view_as(PortableOptions).environment_type
    embedded = isinstance(runner, FlinkRunner) and parsed.view_as(FlinkRunnerOptions).flink_master in MAGIC_HOST_NAMES
    return isinstance(runner, PortableRunner) and kind != "LOOPBACK" and bool(kind or not embedded)


def check_workers(pool: Executor, options: tuple[str, ...], output: str) -> None:
    """Raise ConfigError unless every worker starts, sees the output folder and has our package and versions."""
    folder = storage.join(output, "stages", "workers")
    storage.remove(folder)
    storage.make_folder(folder)  # on NFS one that is looked for before it is there stays away for half a minute
    try:
        failure = pool.submit(ask_workers, options, folder).result()
        answers = [storage.read_json(storage.join(folder, name)) for name in storage.names(folder)]
    finally:
        storage.remove(folder)
    if failure:
        raise ConfigError(failure)
    if not answers:
        raise ConfigError(
            f"--output {output}: what workers write is not seen here; name an absolute path that all share"
        )
    for answer in answers:
        _check_answer(answer, identity())


def _check_answer(answer: dict[str, Any], wanted: dict[str, str]) -> None:
    """Raise ConfigError for a worker that would compute something else."""
    place = f"the worker on {answer['host']} ({answer['python']})"
    if "error" in answer:
        raise ConfigError(f"{place} cannot import the package: {answer['error']}; install it for the pool's `python`")
    for name, value in wanted.items():
        if answer["identity"].get(name) != value:
            raise ConfigError(f"{place} has {name} {answer['identity'].get(name)}, this process {value}")


def ask_workers(options: tuple[str, ...], folder: str) -> str:
    """Let every worker write its answer into a folder; return what went wrong, in one line."""
    parsed = PipelineOptions(list(options))
    asked = QUESTIONS * max(1, parsed.view_as(FlinkRunnerOptions).parallelism)
    pipeline = beam.Pipeline(runner=runner_of(parsed), options=parsed)
    pipeline | beam.Create(range(asked), reshuffle=False) | beam.Reshuffle() | beam.Map(_question(folder))
    result = pipeline.run()
    try:
        state = result.wait_until_finish(duration=ANSWER_SECONDS * 1000)
    except Exception as error:  # noqa: BLE001 - whatever it is, its user reads one line
        return f"the workers cannot be asked who they are, and to write that to {folder}: {said(error)}"
    if state == PipelineState.DONE:
        return ""
    result.cancel()
    where = parsed.view_as(PortableOptions).environment_config or "its address"
    return (
        f"no answer from the workers within {ANSWER_SECONDS} s: the cluster needs free slots, and beside every task "
        f"manager a pool at {where} whose `python` has this Python and Beam, and may write to {folder}"
    )


def _question(folder: str) -> Callable[[int], None]:
    """Return what a worker is asked. It is nested, so that it travels whole: our package may not be there."""

    def answer(number: int) -> None:
        import json
        import os
        import socket
        import sys

        told: dict[str, object] = {"host": socket.gethostname(), "python": sys.executable}
        try:
            from pipeline.identity import identity as own

            told["identity"] = own()
        except Exception as error:  # noqa: BLE001 - the answer is that there is an error
            told["error"] = f"{type(error).__name__}: {error}"
        path = f"{folder}/{socket.gethostname()}-{os.getpid()}-{number}.json"
        if "://" in folder:
            import fsspec

            with fsspec.open(path, "wb") as file:
                file.write(json.dumps(told).encode())
            return
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - as little as can be imported
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(json.dumps(told).encode())

    return answer

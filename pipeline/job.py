"""Job: a stage as one pipeline of a runner elsewhere, whose graph names the stage's tasks instead of holding them.

A graph with its tasks inside grows with the corpus: 11 MB for 100,000 input files, of which Dataflow takes 10, and
40 seconds to build. So the work and the tasks lie in a file of the output folder. The graph holds its path and its
checksum, counts the tasks' numbers up, and spreads those: what a runner shuffles are whole numbers.

Before a start looks for jobs of earlier ones (execute.py) it removes their files. So one that was still being submitted
then finds nothing to do and fails: never do two jobs work on one stage. What fails by itself is not the runner's to try
again: its task leaves that in a file (task_failure.py), and the run ends.
"""

import hashlib
import io
import pickle
import re
import socket
import threading
import uuid
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import apache_beam as beam
import zstandard
from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions, StandardOptions, WorkerOptions
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.runner import create_runner

from pipeline import storage, task_failure
from pipeline.config import ConfigError
from pipeline.execute import RunFailed, Task, Work, do_task, jobs_folder, pause
from pipeline.identity import identity
from pipeline.needs import NOTHING, WORKER_BYTES, Needs
from pipeline.stage import Stage, make_room

LOCAL_RUNNERS = frozenset({"DirectRunner", "FnApiRunner", "direct"})
# Dataflow takes an L4 with machines of the series G2 only, and a hint's own machine before --machine_type.
EXAMPLE = "type:nvidia-l4;count:1;machine_type:g2-standard-4;install-nvidia-driver"
_CORES = re.compile(r"-(\d+)(-\d+)?(-[a-z]+)?$")  # n2d-standard-4, n2-custom-4-32768-ext
_GPUS = re.compile(r"^(.+)-(\d+)g$")  # a2-highgpu-1g: its name says GPUs
# Virtual CPUs for each of them (Compute Engine, GPU machine types).
_CORES_PER_GPU = {"a2-highgpu": 12, "a2-ultragpu": 12, "a2-megagpu": 6, "a3-highgpu": 26, "a3-megagpu": 26}
ONE_LIST = threading.Lock()  # Dataflow's workers have threads, and each would read the list


class JobOptions(PipelineOptions):
    """What we ask of Dataflow beside Beam's own options."""

    @classmethod
    def _add_argparse_args(cls, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--score_accelerator",
            default="",
            help=f"GPU for the stage that scores: {EXAMPLE}",
        )


@dataclass(frozen=True, slots=True)
class Job:
    """A stage's tasks, by number, for workers that are elsewhere."""

    stage: Stage
    path: str  # of the file with work and tasks
    sha256: str  # of that file
    count: int  # tasks
    needs: Needs
    identity: tuple[tuple[str, str], ...]  # of the process that wrote the file


def make_job(stage: Stage, work: Work, tasks: Sequence[Task]) -> Job:
    """Write the work and its tasks to the output's folder of jobs and return the job that does them."""
    make_room(stage)
    data = zstandard.compress(pickle.dumps((work, list(tasks)), protocol=pickle.HIGHEST_PROTOCOL))
    path = storage.join(jobs_folder(stage.output), f"{stage.name}-{uuid.uuid4().hex}.pickle.zst")
    with storage.create(path) as file:
        file.write(data)
    task_failure.keep_room(path)
    needs = getattr(work, "needs", NOTHING)
    digest = hashlib.sha256(data).hexdigest()
    return Job(stage, path, digest, len(tasks), needs, tuple(sorted(identity().items())))


def make_pipeline(options: Sequence[str], job: Job) -> beam.Pipeline:
    """Return the pipeline of a job, on the runner that the options name."""
    parsed = PipelineOptions(list(options))
    name = parsed.view_as(StandardOptions).runner
    runner = FnApiRunner() if name is None or name in LOCAL_RUNNERS else create_runner(name)
    pipeline = beam.Pipeline(runner=runner, options=parsed)
    pipeline | DoNumbered(job, hints(parsed, job.needs, job.count))
    return pipeline


def run_job(options: Sequence[str], job: Job) -> None:
    """Run a job to its end; raises what the runner raises, and RunFailed as soon as a task has left why.

    The runner waits in a thread: Beam's own wait of limited duration leaves two threads behind each time (2.77).
    """
    pending = {ThreadPoolExecutor(1).submit(lambda: make_pipeline(options, job).run().wait_until_finish())}
    while pending:
        ended, pending = wait(pending, timeout=pause(job.stage.folder))
        task_failure.check(job.path)
    ended.pop().result()


def is_dataflow(parsed: PipelineOptions) -> bool:
    """Tell whether Dataflow is to run what is submitted."""
    return type(runner_of(parsed)).__name__ == "DataflowRunner"


def runner_of(parsed: PipelineOptions) -> Any:
    """Return Beam's runner of the name that the options give."""
    return create_runner(parsed.view_as(StandardOptions).runner or "DirectRunner")


def hints(parsed: PipelineOptions, needs: Needs, tasks: int) -> dict[str, str]:
    """Return Beam's resource hints for what tasks need: for Dataflow only, since other runners fuse less for them.

    Memory is a machine's: as many of the tasks as it has processes may meet on it.
    """
    if not is_dataflow(parsed):
        return {}
    processes = machine_processes(parsed)
    least = WORKER_BYTES * processes + needs.memory * min(tasks, processes)
    memory = {"min_ram": f"{least}B"} if needs.memory else {}
    asked = parsed.view_as(JobOptions).score_accelerator
    return {**memory, **({"accelerator": asked} if asked and needs.accelerator else {})}


def machine_processes(parsed: PipelineOptions) -> int:
    """Return how many processes a Dataflow worker starts: one a core, 1 where the machine's name does not say."""
    if "no_use_multiple_sdk_containers" in (parsed.view_as(DebugOptions).experiments or []):
        return 1
    machine = parsed.view_as(WorkerOptions).machine_type or ""
    if (named := _GPUS.search(machine)) and named[1] in _CORES_PER_GPU:
        return int(named[2]) * _CORES_PER_GPU[named[1]]
    named = _CORES.search(machine)
    return int(named[1]) if named else 1


def check_accelerator(asked: str) -> None:
    """Raise ConfigError for a GPU that no machine of the job can have."""
    parts = asked.split(";")
    if "type:nvidia-l4" in parts and not any(part.startswith("machine_type:g2-") for part in parts):
        raise ConfigError(f"--score_accelerator={asked}: an L4 needs a machine of the series G2, as in {EXAMPLE}")


class DoNumbered(beam.PTransform):
    """Do the tasks of a job, each once, wherever the runner puts them."""

    def __init__(self, job: Job, hinted: dict[str, str]) -> None:
        super().__init__()
        self._job = job
        self._hints = hinted

    def expand(self, begin: PBegin) -> PCollection[str]:
        """Return the keys of the tasks done."""
        spread = (
            begin
            | "Tasks" >> beam.Create([self._job.count], reshuffle=False)
            | "Numbers" >> beam.FlatMap(numbers)
            | "Spread" >> beam.Reshuffle()
        )
        work = beam.Map(do_numbered, self._job, self._hints.get("accelerator", "")).with_output_types(str)
        return spread | "Work" >> (work.with_resource_hints(**self._hints) if self._hints else work)


def numbers(count: int) -> Iterator[int]:
    """Yield the numbers of so many tasks."""
    yield from range(count)


def do_numbered(number: int, job: Job, accelerator: str = "") -> str:
    """Do one task of a job, with the accelerator that was asked for, if any; return its key, none where it has failed.

    Raises RunFailed where its launcher cannot be told.
    """
    try:
        if storage.exists(task_failure.failure_of(job.path)):
            return ""
        with ONE_LIST:
            work, tasks = load(job)
        if accelerator:
            require_gpu(accelerator)
        return do_task(tasks[number], work, job.stage.folder)
    except Exception as error:  # noqa: BLE001 - whatever it is: what can pass, _attempted has tried
        task_failure.leave(error, job.path, job.stage.output)
        return ""


def require_gpu(accelerator: str) -> None:
    """Raise RunFailed where this process finds no GPU: it would score on the CPU, and the GPU be paid for."""
    from model.score import own_device  # torch takes seconds to import

    if own_device() == "cpu":
        raise RunFailed(
            f"the worker {socket.gethostname()} finds no GPU, which --score_accelerator={accelerator} asks for: "
            "its image needs LOCAL_RANK and the driver's libraries, as in the Dockerfile"
        )


@lru_cache(maxsize=1)
def load(job: Job) -> tuple[Work, list[Any]]:
    """Return a job's work and tasks; raises RunFailed for another worker, or no file or another, than the driver's."""
    own = identity()
    for name, value in job.identity:
        if own[name] != value:
            raise RunFailed(f"the worker {socket.gethostname()} has {name} {own[name]}, the driver {value}")
    try:
        with storage.open_input(job.path) as file:
            data = file.read()
    except FileNotFoundError:
        raise RunFailed(f"{job.path} is gone: this job's start has ended, and its stage is another's or done") from None
    if hashlib.sha256(data).hexdigest() != job.sha256:
        raise RunFailed(f"{job.path} is not what the driver wrote; the same command goes on from here")
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)) as stream:
        return pickle.load(stream)  # noqa: S301 - the job's own, by its checksum; Beam ships its functions likewise

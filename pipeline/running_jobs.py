"""Running jobs: those that work for an output on a service that goes on when their launcher ends.

A start cancels what earlier ones left for its output, of whatever stage and settings: their results would be nobody's,
and Dataflow refuses a second job of a name. A run that ends early cancels its own: Flink's would hold slots, Dataflow's
be paid for.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from apache_beam.options.pipeline_options import FlinkRunnerOptions, GoogleCloudOptions, PipelineOptions
from apache_beam.runners.portability.flink_runner import MAGIC_HOST_NAMES, FlinkRunner

from pipeline import storage
from pipeline.config import ConfigError
from pipeline.execute import RunFailed, jobs_folder
from pipeline.job import is_dataflow, runner_of
from pipeline.lease import LeaseLost
from pipeline.line import Paused
from pipeline.stage import Stage

JOB = "lustrate-"  # how the names of our jobs begin
REQUEST_SECONDS = 60.0  # for an answer
FLINK_SECONDS = 240.0  # it ends a task manager whose task is not cancelled within 180 (task.cancellation.timeout)
FLINK_WAITS = (1.0, 2.0, 4.0)  # before a request that got no answer is sent again, in seconds
SERVER_ERROR = 500  # from this HTTP status on, as without an answer
FLINK_ENDED = frozenset({"FINISHED", "CANCELED", "FAILED"})
FLINK_GONE = frozenset({404, 409})  # its answers to a cancelling of what has ended meanwhile
# Dataflow shuts machines down, for minutes; Google names no bound. Airflow's hook waits 300 s (cancel_timeout), and
# gcloud (jobs cancel --force) takes a job for stuck after 1,800 at the earliest.
DATAFLOW_SECONDS = 600.0
DATAFLOW_PAUSE = 2.0
DATAFLOW_ENDED = frozenset({"DONE", "FAILED", "CANCELLED", "UPDATED", "DRAINED"})
DATAFLOW_ENDING = frozenset({"CANCELLING", "RESOURCE_CLEANING_UP"})

Tell = Callable[..., None]  # gets an event and its values


@dataclass(frozen=True, slots=True)
class Running:
    """A job that has not ended."""

    key: str  # by which its service knows it
    name: str
    state: str


@dataclass(frozen=True, slots=True)
class Service:
    """Where jobs go on when their launcher ends.

    Both functions raise ConfigError where it refuses, RunFailed where it is silent.
    """

    place: str
    running: Callable[[], list[Running]]
    cancel: Callable[[Running], None]  # asks for it; what has ended meanwhile is no error
    seconds: float  # that a cancelled job may take to end
    pause: float  # between two looks, in seconds


def job_name(stage: Stage) -> str:
    """Return the one name of this stage of this output; Dataflow allows lower case, digits and hyphens."""
    name = f"{JOB}{stage.name}-{stage.fingerprint}-{_digest(stage.output)}"
    return name.replace(".", "-").replace("_", "-")


def _digest(output: str) -> str:
    place = Path(output).resolve().as_posix() if storage.is_local(output) else output  # one folder, one name
    return blake2b(place.encode(), digest_size=4).hexdigest()


@contextlib.contextmanager
def cleared(options: Sequence[str], tell: Tell = lambda *_, **__: None) -> Iterator[Callable[[str], None]]:
    """Yield what cancels the jobs that earlier starts left for an output; a block that ends early cancels its own.

    To be entered before the processes that submit: they must have ended before their jobs are looked for.
    """
    outputs: set[str] = set()

    def clear(output: str) -> None:
        cancel_jobs(options, output, tell)
        outputs.add(output)

    try:
        yield clear
    except (LeaseLost, Paused):  # who took the folder over runs jobs of the same names; a paused run's are done
        raise
    except BaseException as end:
        silent = []
        for output in outputs:
            with contextlib.suppress(OSError):  # where nothing can be written any more the job must end all the same
                storage.remove(jobs_folder(output))  # what is submitted at this moment, and not listed yet, fails
            try:
                cancel_jobs(options, output, tell)
            except (ConfigError, RunFailed) as error:  # the run's own end is what its user must read last
                tell("not_cancelled", error=str(error))
                silent.append(str(error))
        if silent and isinstance(end, RunFailed):  # for want of the service, as a rule
            raise RunFailed("; ".join([str(end), *silent])) from end
        raise


def cancel_jobs(options: Sequence[str], output: str, tell: Tell = lambda *_, **__: None) -> None:
    """Cancel the jobs that work for this output and wait for their end.

    Raises RunFailed where one stays, and what Service does.
    """
    service = _service(PipelineOptions(list(options)))
    if service is None:
        return
    told: set[str] = set()
    until = time.monotonic() + service.seconds
    while left := [job for job in service.running() if _is_for(output, job.name)]:
        if time.monotonic() > until:
            raise RunFailed(
                f"{service.place} still has the job {left[0].name} ({left[0].state}) {service.seconds:.0f} s after "
                "it was asked to cancel it; the same command asks again"
            )
        for job in left:
            if job.key not in told:
                tell("cancelling", job=job.name, place=service.place)
            service.cancel(job)
        told |= {job.key for job in left}
        time.sleep(service.pause)


def _is_for(output: str, name: str) -> bool:
    return name.startswith(JOB) and name.endswith(f"-{_digest(output)}")


def _service(parsed: PipelineOptions) -> Service | None:
    """Return where jobs are submitted to; none where they end with this process."""
    if is_dataflow(parsed):
        return _dataflow(parsed)
    master = parsed.view_as(FlinkRunnerOptions).flink_master
    if master in MAGIC_HOST_NAMES or not isinstance(runner_of(parsed), FlinkRunner):
        return None
    return _flink(FlinkRunner.add_http_scheme(master))


def _flink(url: str) -> Service:
    """Return a Flink cluster, by its REST interface: whatever is asked of it may be asked twice."""

    def ask(path: str, method: str = "GET", waits: Sequence[float] = FLINK_WAITS) -> Any:
        try:
            with urlopen(Request(url + path, method=method), timeout=REQUEST_SECONDS) as answer:  # noqa: S310 - the user's own cluster
                return json.load(answer)
        except (OSError, HTTPException, ValueError) as error:
            status = error.code if isinstance(error, HTTPError) else SERVER_ERROR
            if status in FLINK_GONE and method == "PATCH":
                return None
            if status < SERVER_ERROR:
                raise ConfigError(f"--flink_master={url} refuses: {error}") from error
            if not waits:
                remedy = "once it does, the same command goes on from here"
                raise RunFailed(f"--flink_master={url} does not answer: {error}; {remedy}") from error
        time.sleep(waits[0])
        return ask(path, method, waits[1:])

    def running() -> list[Running]:
        jobs = [Running(job["jid"], job["name"], job["state"]) for job in ask("/jobs/overview")["jobs"]]
        return [job for job in jobs if job.state not in FLINK_ENDED]

    def cancel(job: Running) -> None:
        ask(f"/jobs/{job.key}?mode=cancel", "PATCH")

    return Service(url, running, cancel, FLINK_SECONDS, pause=1.0)


def _dataflow(parsed: PipelineOptions) -> Service:
    """Return Dataflow in a project's region, by the client that Beam submits with: its endpoint, its credentials."""
    from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient
    from google.api_core import exceptions
    from google.api_core.retry import Retry
    from google.cloud import dataflow

    cloud = parsed.view_as(GoogleCloudOptions)
    region = cloud.region or runner_of(parsed).get_default_gcp_region()
    if not (cloud.project and region):
        raise ConfigError("--runner=DataflowRunner needs --project and --region")
    place = f"Dataflow ({cloud.project}, {region})"
    client = DataflowApplicationClient(parsed)._jobs_client  # noqa: SLF001 - its public ways retry for ten minutes
    where = {"project_id": cloud.project, "location": region}
    patient = {"retry": Retry(timeout=REQUEST_SECONDS), "timeout": REQUEST_SECONDS}

    def running() -> list[Running]:
        request = dataflow.ListJobsRequest(filter=dataflow.ListJobsRequest.Filter.ACTIVE, **where)
        found = []
        with _answering(place):
            for page in client.list_jobs(request, **patient).pages:
                if page.failed_location:  # its jobs are not in the answer
                    raise exceptions.ServiceUnavailable(f"no answer from {page.failed_location[0].name}")
                found += [Running(j.id, j.name, j.current_state.name.removeprefix("JOB_STATE_")) for j in page.jobs]
        return [job for job in found if job.state not in DATAFLOW_ENDED]

    def cancel(job: Running) -> None:
        if job.state in DATAFLOW_ENDING:
            return
        wanted = dataflow.Job(requested_state=dataflow.JobState.JOB_STATE_CANCELLED)
        ended = (exceptions.BadRequest, exceptions.NotFound, exceptions.Conflict)  # meanwhile; the next look tells
        with _answering(place), contextlib.suppress(*ended):
            client.update_job(dataflow.UpdateJobRequest(job_id=job.key, job=wanted, **where), **patient)

    return Service(place, running, cancel, DATAFLOW_SECONDS, DATAFLOW_PAUSE)


@contextlib.contextmanager
def _answering(place: str) -> Iterator[None]:
    """Raise one line: ConfigError where Dataflow refuses, RunFailed where it does not answer."""
    from google.api_core.exceptions import ClientError, GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        line = str(error).strip().partition("\n")[0]
        if isinstance(error, ClientError):
            raise ConfigError(f"{place} refuses: {line}") from error
        raise RunFailed(f"{place} does not answer: {line}") from error

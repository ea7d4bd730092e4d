"""Jobs that a start left on Dataflow are ended by the next one, and a run that ends early ends its own.

Google's client library asks a server on loopback, which Beam's --dataflow_endpoint names: the service is not reached.
"""

from collections.abc import Callable

import pytest

pytest.importorskip("google.cloud.dataflow_v1beta3", reason="Beam's [gcp] is not here: make dataflow-test")

from pipeline import running_jobs
from pipeline.config import ConfigError
from pipeline.execute import RunFailed
from pipeline.lease import LeaseLost
from pipeline.line import Paused
from pipeline.running_jobs import cancel_jobs, cleared, job_name
from pipeline.stage import make_stage
from tests.pipeline.dataflow.conftest import PROJECT, REGION, Service

OUTPUT = "gs://our-bucket/web"
STAGE = make_stage(OUTPUT, "self_clean.round-1.score", 1, [], [])
NAME = job_name(STAGE)
PLACE = rf"Dataflow \({PROJECT}, {REGION}\)"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait for seconds."""
    monkeypatch.setattr(running_jobs, "DATAFLOW_PAUSE", 0.05)
    monkeypatch.setattr(running_jobs, "DATAFLOW_SECONDS", 5.0)
    monkeypatch.setattr(running_jobs, "REQUEST_SECONDS", 0.5)


def test_jobs_of_this_output_are_cancelled_and_no_others(service: Service) -> None:
    """Of any stage and settings, on all pages; not another output's, nobody else's, and what has ended is left."""
    other = make_stage(OUTPUT, "ingest", 2, ["other settings"], [])
    foreign = make_stage(f"{OUTPUT}-2", "ingest", 1, [], [])
    service.add(job_name(foreign))
    service.add(f"theirs-{NAME}")
    service.add(job_name(STAGE), "DONE")
    ours = [service.add(job_name(other), "PENDING"), service.add(NAME)]
    told: list[tuple[str, dict[str, str]]] = []
    cancel_jobs(service.options, OUTPUT, lambda event, **what: told.append((event, what)))
    assert service.cancelled == ours
    assert [state for _, state in service.jobs.values()] == ["RUNNING", "RUNNING", "DONE", "CANCELLED", "CANCELLED"]
    place = f"Dataflow ({PROJECT}, {REGION})"
    assert told == [("cancelling", {"job": name, "place": place}) for name in (job_name(other), NAME)]


def test_a_start_waits_for_the_end(service: Service) -> None:
    """A job that is being cancelled still has its name; it is asked once."""
    service.looks = 4
    ours = service.add(NAME)
    cancel_jobs(service.options, OUTPUT)
    assert service.jobs[ours] == [NAME, "CANCELLED"]
    assert service.cancelled == [ours]
    assert sum(request.startswith("GET") for request in service.requests) >= 5


def test_a_job_that_stays_is_one_line(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which and what it is at."""
    monkeypatch.setattr(running_jobs, "DATAFLOW_SECONDS", 0.3)
    service.looks = 1_000
    service.add(NAME)
    with pytest.raises(RunFailed, match=rf"^{PLACE} still has the job {NAME} \(CANCELLING\) 0 s after it was asked"):
        cancel_jobs(service.options, OUTPUT)


@pytest.mark.parametrize("status", [400, 404, 409])
def test_a_job_that_has_ended_meanwhile_is_no_error(service: Service, status: int) -> None:
    """Dataflow refuses to cancel it, and lists it no more."""
    ours = service.add(NAME)
    service.status["PUT"] = status
    cancelled = service.cancelled

    def end(*_: str, **__: str) -> None:
        service.jobs[ours][1] = "CANCELLED"

    cancel_jobs(service.options, OUTPUT, end)
    assert not cancelled
    assert "PUT" in service.requests[-2]


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_refusal_is_one_line(service: Service, method: str) -> None:
    """To list or to cancel, at once: a permission does not come by asking again."""
    service.add(NAME)
    service.status[method] = 403
    with pytest.raises(ConfigError, match=rf"^{PLACE} refuses: 403 {method} .*: dataflow.jobs.list is not yours$"):
        cancel_jobs(service.options, OUTPUT)
    assert [request.partition(" ")[0] for request in service.requests].count(method) == 1


def test_a_service_that_fails_for_a_moment_is_asked_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """One 503 before one of forty stages must not end a run."""
    monkeypatch.setattr(running_jobs, "REQUEST_SECONDS", 20.0)
    ours = service.add(NAME)
    statuses = iter((503, 503, 200))

    class Failing(dict[str, int]):
        def get(self, *_: object) -> int:
            return next(statuses, 200)

    service.status = Failing()
    cancel_jobs(service.options, OUTPUT)
    assert service.cancelled == [ours]


def test_silence_is_one_line(service: Service) -> None:
    """Of the service, of a region behind it, and of a port where nobody listens."""
    service.silent = REGION
    with pytest.raises(RunFailed, match=rf"^{PLACE} does not answer: 503 no answer from {REGION}$"):
        cancel_jobs(service.options, OUTPUT)
    service.status["GET"] = 503
    with pytest.raises(RunFailed, match=rf"^{PLACE} does not answer: Timeout of 0.5s exceeded.*$"):
        cancel_jobs(service.options, OUTPUT)
    nobody = [option.replace(service.url, "http://localhost:1") for option in service.options]
    with pytest.raises(RunFailed, match=rf"^{PLACE} does not answer: Timeout of 0.5s exceeded.*$"):
        cancel_jobs(nobody, OUTPUT)


def test_a_place_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without project or region there is nothing to ask."""
    monkeypatch.setenv("PATH", "")  # gcloud's own defaults
    with pytest.raises(ConfigError, match="needs --project and --region"):
        cancel_jobs(("--runner=DataflowRunner", "--no_auth", f"--project={PROJECT}"), OUTPUT)


@pytest.mark.parametrize("end", [KeyboardInterrupt(), ValueError(), LeaseLost(), Paused(), None], ids=repr)
def test_only_a_run_that_ends_early_cancels_its_job(service: Service, end: BaseException | None) -> None:
    """By Ctrl-C or a failure; not where it was taken over, nor where it ended as it should."""

    def work(clear: Callable[[str], None]) -> None:
        clear(OUTPUT)
        service.add(NAME)
        if end:
            raise end

    def go() -> None:
        with cleared(service.options) as clear:
            work(clear)

    if end:
        with pytest.raises(type(end)):
            go()
    else:
        go()
    assert bool(service.cancelled) == isinstance(end, KeyboardInterrupt | ValueError)


def test_an_end_that_cannot_cancel_says_so(service: Service) -> None:
    """The run's own end stays what it was, and what may go on is told."""
    told: list[tuple[str, dict[str, str]]] = []

    def work(clear: Callable[[str], None]) -> None:
        clear(OUTPUT)
        service.status["GET"] = 403
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        cleared(service.options, lambda event, **what: told.append((event, what))) as clear,
    ):
        work(clear)
    ((event, what),) = told
    assert event == "not_cancelled"
    assert what["error"].startswith(f"Dataflow ({PROJECT}, {REGION}) refuses: 403 ")

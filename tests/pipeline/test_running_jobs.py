"""Jobs that a start left on Flink are ended by the next one, and a run that ends early ends its own."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline import running_jobs
from pipeline.execute import RunFailed, jobs_folder
from pipeline.lease import LeaseLost
from pipeline.line import Paused
from pipeline.running_jobs import cancel_jobs, cleared, job_name
from pipeline.stage import make_stage

REMEDY = "once it does, the same command goes on from here"


@dataclass
class Cluster:
    """A Flink cluster's jobs, as its REST interface tells of them: name, state; and who was to be cancelled."""

    jobs: dict[str, tuple[str, str]] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    answer: int = 202  # to a cancelling
    resets: int = 0  # how many requests get a connection that is closed
    url: str = ""

    @property
    def options(self) -> tuple[str, ...]:
        """Beam's options that name it."""
        return ("--runner=FlinkRunner", f"--flink_master={self.url}")


@pytest.fixture
def flink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Serve a cluster's jobs."""
    monkeypatch.setattr(running_jobs, "FLINK_WAITS", (0.0, 0.0, 0.0))
    cluster = Cluster()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if cluster.resets:
                cluster.resets -= 1
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            listed = [{"jid": jid, "name": name, "state": state} for jid, (name, state) in cluster.jobs.items()]
            self.reply(200, json.dumps({"jobs": listed}).encode())

        def do_PATCH(self) -> None:
            jid = self.path.removeprefix("/jobs/").removesuffix("?mode=cancel")
            cluster.cancelled.append(jid)
            cluster.jobs[jid] = (cluster.jobs[jid][0], "CANCELED" if cluster.answer == 202 else "FINISHED")
            self.reply(cluster.answer, b"{}")

        def reply(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    cluster.url = f"http://127.0.0.1:{server.server_port}"
    yield cluster
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("answer", [202, 404, 409])
def test_jobs_that_a_killed_start_left_are_cancelled(flink: Cluster, tmp_path: Path, answer: int) -> None:
    """Also those of other settings, and one that ends by itself meanwhile; nobody else's, and none that has ended."""
    stage = make_stage(str(tmp_path), "stage", 1, [], [])
    other, foreign = make_stage(str(tmp_path), "stage", 2, [], []), make_stage(f"{tmp_path}/b", "stage", 1, [], [])
    flink.answer = answer
    named = {"same": stage, "other": other, "foreign": foreign}
    flink.jobs = {jid: (job_name(one), "RUNNING") for jid, one in named.items()}
    flink.jobs["ended"] = (job_name(stage), "FAILED")
    told: list[tuple[str, dict[str, str]]] = []
    with cleared(flink.options, lambda name, **what: told.append((name, what))) as clear:
        clear(stage.output)
    assert flink.cancelled == ["same", "other"]
    names = [job_name(one) for one in (stage, other)]
    assert told == [("cancelling", {"job": name, "place": flink.url}) for name in names]


def test_a_folder_by_another_name_is_the_same(flink: Cluster, tmp_path: Path) -> None:
    """Jobs of a start that named its output by a link are those of one that names the folder, and the reverse."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    for left, started in (("link", "folder"), ("folder", "link")):
        flink.jobs[left] = (job_name(make_stage(f"{tmp_path}/{left}", "stage", 1, [], [])), "RUNNING")
        cancel_jobs(flink.options, f"{tmp_path}/{started}")
    assert flink.cancelled == ["link", "folder"]


@pytest.mark.parametrize(
    ("end", "cancelled"),
    [(KeyboardInterrupt(), ["1"]), (ValueError(), ["1"]), (LeaseLost(), []), (Paused(), [])],
    ids=repr,
)
def test_a_run_that_ends_early_cancels_its_job(
    flink: Cluster, tmp_path: Path, end: BaseException, cancelled: list[str]
) -> None:
    """By Ctrl-C or a failure; where it was taken over, the job of this name is the other's, and a pause is no end.

    One that is not listed yet finds nothing to do.
    """
    stage = make_stage(str(tmp_path), "stage", 1, [], [])
    tasks = Path(jobs_folder(stage.output), "stage.pickle.zst")

    def work(clear: Callable[[str], None]) -> None:
        clear(stage.output)
        tasks.parent.mkdir(parents=True)
        tasks.touch()
        flink.jobs["1"] = (job_name(stage), "RUNNING")
        raise end

    with pytest.raises(type(end)), cleared(flink.options) as clear:
        work(clear)
    assert flink.cancelled == cancelled
    assert tasks.exists() == (not cancelled)


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (403, "refuses: HTTP Error 403: Forbidden"),
        (500, f"does not answer: HTTP Error 500: Internal Server Error; {REMEDY}"),
    ],
)
def test_a_cluster_that_refuses_is_one_line(flink: Cluster, tmp_path: Path, answer: int, line: str) -> None:
    """To cancel, as where it does not answer at all; at a run's end that is told, and hides nothing."""
    stage = make_stage(str(tmp_path), "stage", 1, [], [])
    told: list[dict[str, str]] = []

    def work(clear: Callable[[str], None]) -> None:
        clear(stage.output)
        flink.answer = answer
        flink.jobs["1"] = (job_name(stage), "RUNNING")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), cleared(flink.options, lambda _, **what: told.append(what)) as clear:
        work(clear)
    said = f"--flink_master={flink.url} {line}"
    assert told == [{"job": job_name(stage), "place": flink.url}, {"error": said}]
    with pytest.raises(RunFailed, match=rf"localhost:1 does not answer: <urlopen error .*; {REMEDY}$"):
        cancel_jobs(("--runner=FlinkRunner", "--flink_master=localhost:1"), stage.output)


@pytest.mark.parametrize("resets", [3, 4])
def test_a_request_that_gets_no_answer_is_sent_again(flink: Cluster, tmp_path: Path, resets: int) -> None:
    """Three times: a connection that was reset is no reason to end a run, a cluster that is not there is one."""
    stage = make_stage(str(tmp_path), "stage", 1, [], [])
    flink.jobs["1"] = (job_name(stage), "RUNNING")
    flink.resets = resets
    expected = pytest.raises(RunFailed, match="does not answer") if resets == 4 else contextlib.nullcontext()
    with expected:
        cancel_jobs(flink.options, stage.output)
    assert flink.cancelled == ([] if resets == 4 else ["1"])


def test_a_run_that_fails_for_want_of_its_cluster_says_so(flink: Cluster, tmp_path: Path) -> None:
    """In its one line: what the runner said, where it asked, and what to do."""

    def work(clear: Callable[[str], None]) -> None:
        clear(str(tmp_path))
        flink.resets = 9
        raise RunFailed("stage: Connection refused")

    said = rf"^stage: Connection refused; --flink_master={flink.url} does not answer: .*; {REMEDY}$"
    with pytest.raises(RunFailed, match=said), cleared(flink.options) as clear:
        work(clear)

"""One run at a time has a folder: on a disk by flock, elsewhere for as long as its lock changes."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pipeline import lease, lock
from pipeline.claim import claimed
from pipeline.config import ConfigError
from pipeline.lease import (
    MARK,
    RUNNING,
    Lease,
    LeaseLost,
    Taken,
    holder_of,
    lives,
    lock_content,
    myself,
    pack,
    parse,
    refuse_living,
    take,
)
from pipeline.lock import SIZE, Changed, Place, place_of

BUCKET = "corpus"
HOLD = """
import os, sys, time
from pipeline.lease import take
from pipeline.lock import place_of
with place_of(sys.argv[1]) as place:
    held = take(sys.argv[1], place, lambda _: None)
    if sys.argv[2:] and not os.fork():
        time.sleep(float(sys.argv[2]))
        os._exit(0)
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """Yield a bucket of an S3 server on this machine, moto's."""
    from botocore.session import get_session
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "any")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "any")
        get_session().create_client("s3").create_bucket(Bucket=BUCKET)
        yield f"s3://{BUCKET}"
    server.stop()


@pytest.fixture(params=["disk", "s3"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a folder, and an address in the store."""
    if request.param == "s3":
        return f"{request.getfixturevalue('store')}/{tmp_path.name}"
    return str(tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let locks live for a second."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(lease, "LIFETIME_SECONDS", 0.6)
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.05)


@contextmanager
def taken(output: str, say: Callable[[str], None] = print) -> Iterator[Lease]:
    """Hold a folder."""
    with place_of(output) as place:
        yield take(output, place, say)


def of_another_machine(output: str, **changes: Any) -> None:
    """Write the lock of a run of another machine."""
    with place_of(output) as place:
        holder = replace(myself(), host="node-7", boot="another", pid=4711, **changes)
        place.write(pack(holder), place.read()[1])


@contextmanager
def killed(output: str, *more: str) -> Iterator[int]:
    """Let a process hold a folder and kill it; yield its id."""
    line = [sys.executable, "-c", HOLD, output, *more]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.kill()
        process.wait()
        assert said == "held\n"
        yield process.pid


def test_who_comes_second_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    """The refusal names process, machine and time."""
    with claimed(str(tmp_path / "out")) as held, pytest.raises(ConfigError) as refused, claimed(str(tmp_path / "out")):
        pass
    who = f"process {os.getpid()} on {os.uname().nodename} since {held.holder.since[:10]}"
    assert str(refused.value).startswith(f"another run is working on {tmp_path}/out: {who} ")


def test_a_killed_run_of_this_machine_is_followed_at_once(output: str) -> None:
    """Its process is not there; the message names it, and nobody waits for a lifetime. A live one is refused."""
    said: list[str] = []
    with killed(output) as pid, taken(output, said.append) as held:
        assert said == [f"taking over {output} from {held.before}, which ended without a word"]
        with pytest.raises(Taken, match=f"process {os.getpid()} on "), taken(output, said.append):
            pass
        assert said[1:] == []
        assert held.before is not None
        assert held.before.pid == pid
        assert lives(held.before) is False
        assert lives(held.holder) is True


def test_workers_of_a_killed_run_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They hold its flock a moment longer; when they do not end, the line says so."""
    with killed(str(tmp_path), "2"), taken(str(tmp_path)) as held:
        assert held.before is not None
    monkeypatch.setattr(lease, "ORPHANS_SECONDS", 0.2)
    with (
        killed(str(tmp_path), "4"),
        pytest.raises(Taken, match="it has ended, but a worker of it still runs"),
        taken(str(tmp_path)),
    ):
        pass


@pytest.mark.usefixtures("quick")
def test_a_silent_lock_of_another_machine_is_taken_over(output: str) -> None:
    """Also one that is dated in the future, or long ago: what counts is that it does not change.

    Who only looks goes on past it, and leaves it as it is.
    """
    for stamp in ("2099-01-01T00:00:00.000+00:00", "1970-01-01T00:00:00.000+00:00", lease.now()):
        of_another_machine(output, at=stamp, since=stamp)
        left, said = lock_content(output), list[str]()
        refuse_living(output, said.append)
        assert "watching for up to 1 s" in said.pop()
        assert lock_content(output) == left
        with taken(output, said.append) as held:
            assert held.before is not None
            assert held.before.host == "node-7"
        assert "watching for up to 1 s whether it lives" in said[0]
        assert said[1].startswith(f"taking over {output} from process 4711 on node-7")


@pytest.mark.usefixtures("quick")
def test_a_flock_that_a_machine_left_behind_holds_nobody_up(tmp_path: Path) -> None:
    """A file server keeps that of a machine that failed: where its lock does not change, it is taken over."""
    of_another_machine(str(tmp_path))
    said: list[str] = []
    with (tmp_path / ".lock").open("rb") as left:
        fcntl.flock(left, fcntl.LOCK_EX)
        with taken(str(tmp_path), said.append) as held:
            assert held.before is not None
            assert held.before.host == "node-7"
            held.renew()
            with pytest.raises(Taken), taken(str(tmp_path), said.append):
                pass
    assert "watching for up to 1 s whether it lives" in said[0]


@pytest.mark.usefixtures("quick")
def test_a_lock_of_another_machine_that_changes_is_respected(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A beat is enough, whatever its clock says; and when that run ends its folder is free without a word."""
    monkeypatch.setattr(lease, "LIFETIME_SECONDS", 30.0)  # the first beat ends the watching
    over = threading.Event()

    def live() -> None:
        for beat in count(1):
            of_another_machine(output, beat=beat, at="1970-01-01T00:00:00.000+00:00")
            if over.wait(0.1):
                break
        of_another_machine(output, state="finished")

    of_another_machine(output)
    thread = threading.Thread(target=live)
    thread.start()
    try:
        with pytest.raises(Taken, match=r"another run is working on .*: process 4711 on node-7"), taken(output):
            pass
        with pytest.raises(Taken, match="process 4711 on node-7"):
            refuse_living(output, print)
    finally:
        over.set()
        thread.join()
    said: list[str] = []
    refuse_living(output, said.append)
    with taken(output, said.append):
        assert said == []


def test_a_run_whose_folder_was_taken_over_knows_it(output: str) -> None:
    """At its next renewal; what it would then do is refused, with the name of the other."""
    with taken(output) as held:
        held.renew()
        of_another_machine(output)
        with pytest.raises(LeaseLost, match=r"taken over by process 4711 on node-7 .*; this run stops"):
            held.renew()
        with pytest.raises(LeaseLost):
            held.check()
        found = holder_of(output)
        assert found is not None
        assert found.pid == 4711


def test_a_lock_that_is_gone_is_lost(tmp_path: Path) -> None:
    """A removed or replaced lock file is not this run's, though it is open still."""
    with taken(str(tmp_path)) as held:
        (tmp_path / ".lock").unlink()
        with pytest.raises(LeaseLost, match="or its lock was removed"):
            held.renew()


def test_renewal_goes_on_in_the_background(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock changes while a run works, and shows what it does."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    with taken(output) as held, held.renewed():
        held.doing(stage="ingest", done=3)
        before = held.holder.beat
        until = time.monotonic() + 20
        while (found := holder_of(output)) and (found.beat < before + 3 or not found.doing):
            assert time.monotonic() < until
            time.sleep(0.02)
    assert found is not None
    assert found.doing == {"stage": "ingest", "done": 3}


def test_of_many_that_start_together_one_begins(store: str, tmp_path: Path) -> None:
    """Conditional puts: a new lock, and one that a stopped run left, go to one of six."""
    output = f"{store}/{tmp_path.name}"
    for _ in range(2):
        won: list[Lease] = []
        lost: list[Taken] = []
        ready = threading.Barrier(6)

        def start(won: list[Lease] = won, lost: list[Taken] = lost, ready: threading.Barrier = ready) -> None:
            with place_of(output) as place:
                held = place.read()
                together = replace(place, read=lambda: held, write=lambda c, v: (ready.wait(), place.write(c, v))[1])
                try:
                    won.append(take(output, together, print))
                except Taken as error:
                    lost.append(error)

        threads = [threading.Thread(target=start) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(won), len(lost)) == (1, 5)
        found = holder_of(output)
        assert found is not None
        assert found.run == won[0].holder.run
        with place_of(output) as won[0].place:
            won[0].renew("stopped")


def losing_an_answer(place: Place) -> tuple[Place, list[str]]:
    """Return a place whose first put arrives, and is answered as if another had; and the versions put over."""
    calls: list[str] = []

    def write(content: bytes, version: str) -> str:
        calls.append(version)
        written = place.write(content, version)
        if len(calls) == 1:
            raise Changed
        return written

    return replace(place, write=write), calls


def test_an_answer_that_was_lost_loses_no_lease(output: str) -> None:
    """A put that arrived and was sent again is refused by the store; the lock that stands there is this run's own."""
    with taken(output) as held:
        held.place, calls = losing_an_answer(held.place)
        held.renew()
        held.renew()
        assert len(calls) == 3
        found = holder_of(output)
        assert found is not None
        assert found.beat == held.holder.beat


def test_an_answer_that_was_lost_refuses_no_run(output: str) -> None:
    """So it is with the first put of a run: it has the folder, and nobody else."""
    with place_of(output) as place:
        losing, calls = losing_an_answer(place)
        held = take(output, losing, print)
        held.place = place
        held.renew()
        assert len(calls) == 2
        with pytest.raises(Taken, match=f"process {os.getpid()} on "), taken(output):
            pass


@contextmanager
def conflicting(times: int) -> Iterator[list[int]]:
    """Serve puts as S3 does, after so many answers that they met another; yield the codes of all answers."""
    answers: list[int] = []

    class Answer(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answers.append(409 if len(answers) < times else 200)
            body = b"<Error><Code>ConditionalRequestConflict</Code></Error>" if answers[-1] == 409 else b""
            self.send_response(answers[-1])
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{len(answers)}"')
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "any")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "any")
        yield answers
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_put_that_met_another_loses_no_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 answers 409 and does nothing: the put is sent again, and a store that goes on so is no taker-over."""
    monkeypatch.setattr(lock, "CONFLICT_WAITS", (0.01, 0.01))
    for times, expected in ((1, [409, 200]), (9, [409, 409, 409])):
        with conflicting(times) as answers, place_of("s3://corpus/out") as place:
            held = Lease("s3://corpus/out", place, myself(), '"0"')
            with ExitStack() as may:
                if times == 9:
                    may.enter_context(pytest.raises(OSError, match="ConditionalRequestConflict"))
                held.renew()
            assert answers == expected
            assert not held.lost
            held.check()


def test_locks_of_earlier_versions_are_known(tmp_path: Path) -> None:
    """A folder with the old mark, or with a lock that was never written, is ours; one with another's is not."""
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / ".lock").write_bytes(MARK)
    with claimed(str(tmp_path)):
        assert lock_content(str(tmp_path)).startswith(MARK)
    (tmp_path / ".lock").write_text("apt")
    with pytest.raises(ConfigError, match="holds other files"), claimed(str(tmp_path)):
        pass
    (tmp_path / "run.json").unlink()
    (tmp_path / ".lock").write_bytes(b"")
    with claimed(str(tmp_path)):
        pass


def test_what_a_lock_says_comes_back() -> None:
    """Also to a version that knows less; and no content makes it fail."""
    holder = replace(myself(), doing={"stage": "ingest", "done": 1})
    assert parse(pack(holder)) == holder
    assert len(pack(holder)) == SIZE
    assert parse(MARK + b'{"run": 1}') is None
    later = pack(holder).replace(b'{"run"', b'{"colour":"blue","run"')
    assert parse(later) == holder
    assert [parse(content) for content in (b"", MARK, b"\xff", b"[1]", b"null")] == [None] * 5


def test_a_lock_keeps_its_size(tmp_path: Path) -> None:
    """What is being done is left out where it does not fit: a shorter lock after a longer one would not be readable."""
    with taken(str(tmp_path)) as held:
        for note in ("long " * SIZE, "short"):
            held.doing(stage="ingest", note=note)
            held.renew()
            assert len(lock_content(str(tmp_path))) == SIZE
            found = holder_of(str(tmp_path))
            assert found is not None
            assert found.run == held.holder.run
        assert held.holder.doing == {"stage": "ingest", "note": "short"}


def test_a_process_id_that_came_again_is_another_process(tmp_path: Path) -> None:
    """A process is known by when it began."""
    with ExitStack() as opened, killed(str(tmp_path)):
        held = opened.enter_context(taken(str(tmp_path)))
        assert lives(replace(held.holder, began="1")) is False
        assert lives(replace(held.holder, boot="another")) is None


def slow_at_its_end(place: Place) -> Place:
    """Return a place whose put of a final state is slow, as one that is asked again."""

    def write(content: bytes, version: str) -> str:
        holder = parse(content)
        assert holder is not None
        if holder.state != RUNNING:
            time.sleep(0.3)
        return place.write(content, version)

    return replace(place, write=write)


def test_an_end_stays(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewal that waited for the put of how the run ended shows the same."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    with taken(output) as held:
        held.place = slow_at_its_end(held.place)
        with held.renewed():
            held.renew("finished")
            ended = held.holder.beat
            while held.holder.beat == ended:
                time.sleep(0.05)
        found = holder_of(output)
        assert found is not None
        assert (found.state, found.beat) == ("finished", held.holder.beat)


def test_who_is_sure_asks_where_time_has_passed(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was frozen learns that it was taken over; one that has just written its lock writes no other."""
    with taken(output) as held:
        held.sure()
        assert held.holder.beat == 0
        of_another_machine(output)
        held.sure()
        monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
        time.sleep(0.2)
        with pytest.raises(LeaseLost, match="taken over by process 4711 on node-7"):
            held.sure()


def test_what_is_done_is_said_by_the_next_renewal(tmp_path: Path) -> None:
    """And changes nothing before it, so that no renewal that is under way is undone."""
    with taken(str(tmp_path)) as held:
        before = held.holder
        held.doing(stage="ingest")
        assert held.holder is before
        held.renew()
        assert held.holder.doing == {"stage": "ingest"}

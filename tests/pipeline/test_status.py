"""What `python -m pipeline.status` says of a folder, and what the log holds that it says it from."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline import journal, lease, status
from pipeline.journal import FINISHED, LOG, PROGRESS, REUSED, STARTED, Journal, open_journal
from pipeline.lease import MARK, myself, pack, take
from pipeline.lock import place_of
from pipeline.status import WIDTH, main, read_log, read_status, shown
from tests.pipeline.folder_store import SCHEME

LIVES = """
import sys, time
from pipeline.journal import open_journal
from pipeline.lease import take
from pipeline.lock import place_of
with place_of(sys.argv[1]) as place:
    journal = open_journal(take(sys.argv[1], place, print), {})
    journal.stage("stage_started", stage="ingest")
    journal.stage("stage_progress", stage="ingest", done=3, total=12, seconds=2.0, documents=4000, seconds_left=300)
    journal.lease.renew()
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def begun(output: object) -> Iterator[Journal]:
    """Begin a run's log and lock in a folder."""
    with place_of(str(output)) as place:
        yield open_journal(take(str(output), place, print), {"until": "report"})


def said(capsys: pytest.CaptureFixture[str], output: object, *more: str) -> str:
    """Return what the command prints."""
    assert main([str(output), *more]) == 0
    return capsys.readouterr().out


def test_a_live_run_and_a_dead_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Process, machine, stage, counts, speed and time left; after a kill, that it is dead."""
    with subprocess.Popen([sys.executable, "-c", LIVES, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        alive = said(capsys, tmp_path)
        process.kill()
    assert alive.startswith(f"{tmp_path}\n  running · no results yet\n  process {process.pid} on ")
    assert "last sign of life" in alive
    assert "ingest: 3 of 12 · 4,000 documents, 2,000/s · about 5 min left in this stage" in alive
    dead = said(capsys, tmp_path)
    assert dead.startswith(f"{tmp_path}\n  dead: its process ended without a word; the same command goes on from here")
    assert "ingest: 3 of 12" in dead


def test_stages_and_the_last_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A start that failed is told of while a later one runs, and to programs after it; results are there or not."""
    with begun(tmp_path) as first:
        first.stage(STARTED, stage="ingest")
        with pytest.raises(FileNotFoundError) as failed:
            (tmp_path / "nowhere").stat()
        first.end("failed", "ingest: the disk is full", failed.value)
    assert said(capsys, tmp_path).startswith(
        f"{tmp_path}\n  failed; when the cause is gone, the same command goes on from here · no results"
    )
    (event,) = [event for event in read_log(str(tmp_path)) if event["event"] == "failed"]
    assert "test_status.py" in event["traceback"]
    with begun(tmp_path) as second:
        assert "UTC: ingest: the disk is full" in said(capsys, tmp_path)
        second.stage(REUSED, stage="ingest", seconds=12.5)
        second.stage(STARTED, stage="deduplicate")
        second.stage(FINISHED, stage="deduplicate", seconds=2.0, done=1, total=1)
        assert "finished stages: ingest 12.5 s (before), deduplicate 2.0 s" in said(capsys, tmp_path)
        second.end("finished")
    (tmp_path / "_SUCCESS").touch()
    text = said(capsys, tmp_path)
    assert text.startswith(f"{tmp_path}\n  finished · results are there")
    assert text.endswith("\n  1 stage in 2 s · 1 stage finished before\n")
    assert "the disk is full" not in text
    table = orjson.loads(said(capsys, tmp_path, "--json"))
    assert (table["state"], table["published"]) == ("finished", True)
    assert table["failure"] == {}
    assert [stage["stage"] for stage in table["stages"]] == ["ingest", "deduplicate"]
    assert table["holder"]["pid"] == second.lease.holder.pid
    with begun(tmp_path):
        assert "the disk is full" not in said(capsys, tmp_path)


@pytest.mark.parametrize("store", [False, True])
def test_a_start_that_filled_the_folder_says_what_is_in_it(tmp_path: Path, store: bool) -> None:
    """Not one that ended before, whose documents these are not; a run.json that does not say is no error."""
    output = f"{SCHEME}{tmp_path}/out" if store else f"{tmp_path}/out"
    (tmp_path / "out").mkdir()
    (tmp_path / "out/_SUCCESS").touch()
    table = tmp_path / "out/run.json"
    table.write_bytes(orjson.dumps({"counts": {"documents": 1200, "kept after self-cleaning": 700}}))
    with begun(output) as run:
        run.stage(REUSED, stage="ingest", seconds=9.0)
        run.end("finished")
    assert str(shown(read_status(output))).endswith("\n  1 stage finished before")
    with begun(output) as run:
        run.stage(REUSED, stage="ingest", seconds=9.0)
        run.stage(FINISHED, stage="publish.merge", seconds=60.0, done=1, total=1)
        assert read_status(output).counts == {}, "it still runs"
        run.end("finished")
    said = "1 stage in 60 s · 1 stage finished before"
    assert str(shown(read_status(output))).endswith(f"\n  {said} · 700 of 1,200 documents kept")
    for content in (b"", b"null", b"[]", b"{}", b'{"counts": null}', b'{"counts": {"documents": 5}}'):
        table.write_bytes(content)
        assert str(shown(read_status(output))).endswith(f"\n  {said}")
    table.unlink()
    assert read_status(output).counts == {}


def test_lines_break_between_stages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of forty stages each is on one line, with its seconds."""
    with begun(tmp_path) as run:
        for number in range(40):
            run.stage(FINISHED, stage=f"deduplicate.verify-{number}", seconds=1234.5, done=1, total=1)
        lines = said(capsys, tmp_path).split("\n")
    assert max(map(len, lines)) <= WIDTH
    for number in range(40):
        assert sum(f"deduplicate.verify-{number} 1,234.5 s" in line for line in lines) == 1


def test_a_run_of_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh beat is life; an old one, or one from the future, is watched for the next."""
    monkeypatch.setattr(status, "RENEW_SECONDS", 1.0)

    def write(**changes: Any) -> None:
        (tmp_path / ".lock").write_bytes(pack(replace(myself(), boot="another", **changes)))

    write(at=lease.now())
    assert read_status(str(tmp_path)).state == "running"
    for stamp in ("1970-01-01T00:00:00.000+00:00", "2099-01-01T00:00:00.000+00:00"):
        write(at=stamp)
        began = time.monotonic()
        assert read_status(str(tmp_path)).state == "dead"
        assert time.monotonic() - began > 1
        beats = iter(range(1, 1000))
        monkeypatch.setattr("time.sleep", lambda _, stamp=stamp, beats=beats: write(at=stamp, beat=next(beats)))
        assert read_status(str(tmp_path)).state == "running"
        monkeypatch.undo()
        monkeypatch.setattr(status, "RENEW_SECONDS", 1.0)


def test_what_is_no_output_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 2; a folder of an earlier version is one."""
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        assert main([str(place)]) == 2
        text = capsys.readouterr().err
        assert text.startswith(f"error: {place} is no output folder of pipeline.run")
        assert text.count("\n") == 1
    (tmp_path / ".lock").write_bytes(MARK)
    assert "an earlier version's, which kept no account" in said(capsys, tmp_path)


def test_watching_ends_with_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is shown anew until it has ended."""
    calls: list[float] = []
    with begun(tmp_path) as run:

        def sleep(seconds: float) -> None:
            calls.append(seconds)
            if len(calls) == 3:
                run.end("finished")

        monkeypatch.setattr("time.sleep", sleep)
        assert "finished" in said(capsys, tmp_path, "--watch")
    assert len(calls) == 3


def test_it_imports_neither_beam_nor_numba(tmp_path: Path) -> None:
    """So it answers at once."""
    with begun(tmp_path) as run:
        run.end("finished")
    code = "import sys; from pipeline.status import main; main([sys.argv[1]]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert "finished" in done.stdout
    assert not {"apache_beam", "numba", "numpy", "pyarrow", "torch"} & set(done.stderr.split())


def test_a_store_without_its_extra_is_a_mistake() -> None:
    """One line says what to install, and the exit code is that of a mistake."""
    code = """
import sys
for name in ("botocore", "botocore.config", "s3fs"):
    sys.modules[name] = None  # what import takes for: not there
from pipeline.status import main
sys.exit(main(["s3://corpus/out"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "error: s3://corpus/out cannot be read: s3:// needs the extra [aws] (README, In an object store)\n"
    )


def test_a_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a stage of a hundred thousand tasks over a week there are some 150 lines, not one a task."""
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    with begun(tmp_path) as run:
        run.stage(STARTED, stage="ingest")
        for done in range(100_000):
            clock[0] += 6
            run.stage(PROGRESS, stage="ingest", done=done, total=100_000, seconds=clock[0])
        run.stage(FINISHED, stage="ingest", done=100_000, total=100_000, seconds=clock[0])
    lines = (tmp_path / LOG).read_bytes().splitlines()
    assert 50 < len(lines) < 200
    times = [orjson.loads(line)["seconds"] for line in lines[2:-1]]
    assert all(after - before >= 30 for before, after in pairwise(times))


def test_a_large_log_makes_way(tmp_path: Path) -> None:
    """At a start, so that a folder's logs are two at most."""
    (tmp_path / LOG).write_bytes(b"x" * (journal.LOG_BYTES + 1))
    with begun(tmp_path):
        assert (tmp_path / "run.log.1").stat().st_size > journal.LOG_BYTES
        assert [event["event"] for event in read_log(str(tmp_path))] == ["started"]


def test_a_log_in_a_store_is_an_object_a_start(tmp_path: Path) -> None:
    """Nothing is appended there; the objects of two starts stand beside each other, and status reads both."""
    output = f"{SCHEME}{tmp_path}/out"
    with begun(output) as first:
        first.stage(STARTED, stage="ingest")
        first.end("failed", "ingest: the store is away")
    with begun(output) as second:
        second.end("finished")
    assert len(list((tmp_path / "out/log").iterdir())) == 2
    assert [event["error"] for event in read_log(output) if event["event"] == "failed"] == ["ingest: the store is away"]
    assert read_status(output).state == "finished"


def test_a_line_is_whole_or_absent(tmp_path: Path) -> None:
    """On a full disk a line that does not fit leaves nothing, and a shorter one says what it can."""
    line = ["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(tmp_path)]
    mounted = subprocess.run(line, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no right to mount a small file system: {mounted.stderr.decode().strip()}")
    try:
        with begun(tmp_path) as run:
            run.end("failed", "too much", RuntimeError("x" * 20_000))
            assert run.trouble == "No space left on device"
            assert [event["event"] for event in read_log(str(tmp_path))] == ["started", "failed"]
            assert read_status(str(tmp_path)).failure["error"] == "too much"
    finally:
        subprocess.run(["umount", tmp_path], check=True)

"""How a stage is run: what it cost, and what its user reads when it fails."""

import errno
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import execute, storage
from pipeline.execute import RunFailed, _raise_failure, dealt, do_tasks
from pipeline.failure import InputChanged, with_remedy
from pipeline.object_store import StoreFailed
from pipeline.session import engine
from pipeline.stage import Manifest, Record, finished_keys, make_stage, read_manifest, write_record


@dataclass(frozen=True)
class Number:
    """A task."""

    key: str


def burn(task: Number) -> Record:
    """Use a processor for a third of a second."""
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
    return {"documents": 1, "note": task.key}


def go(folder: Path, work: Callable[[Any], Record], *options: str) -> Manifest:
    """Run a stage of two tasks."""
    stage = make_stage(str(folder), "stage", 1, [], [])
    with engine(options, workers=1) as working:
        return working.run(stage, work, [Number("a"), Number("b")], lambda *_: None)


@pytest.mark.parametrize("options", [(), ("--runner=DirectRunner",), ("--direct_running_mode=multi_processing",)])
def test_cpu_seconds_are_those_of_the_tasks(tmp_path: Path, options: tuple[str, ...]) -> None:
    """A task counts wherever it was worked on, also in a process that Beam started."""
    assert go(tmp_path, burn, *options).cpu_seconds >= 0.6


def test_what_an_earlier_start_did_is_counted(tmp_path: Path) -> None:
    """A stage that a second start finishes has cost what both starts' tasks did."""
    stage = make_stage(str(tmp_path), "stage", 1, [], [])
    write_record(stage.folder, {"key": "a", "seconds": 90.0, "cpu_seconds": 100.0})
    manifest = go(tmp_path, burn)
    assert 100.3 <= manifest.cpu_seconds < 110
    assert manifest.seconds < 90
    assert read_manifest(stage) == manifest


def full(_: Number) -> Record:
    """Fail as on a full disk."""
    raise OSError(errno.ENOSPC, "No space left on device")


def changed(_: Number) -> Record:
    """Fail as for an input that went."""
    raise InputChanged("input a.jsonl is gone")


@pytest.mark.parametrize("options", [(), ("--runner=DirectRunner",), ("--direct_running_mode=multi_processing",)])
@pytest.mark.parametrize(
    ("work", "line"),
    [(full, "stage: OSError: [Errno 28] No space left on device"), (changed, "stage: input a.jsonl is gone")],
)
def test_what_fails_in_a_pipeline_is_one_line(
    tmp_path: Path, work: Callable[[Any], Record], line: str, options: tuple[str, ...]
) -> None:
    """However Beam wraps an error, its user reads what it says; of a job's task also where, and the room there."""
    with pytest.raises(RunFailed) as failed:
        go(tmp_path, work, *options)
    if "multi_processing" in "".join(options):
        there = f"stage: on {socket.gethostname()}: {line.removeprefix('stage: ')}"
        assert str(failed.value).partition("; free now: ")[0] == there
        assert with_remedy(str(failed.value), "s3://nowhere") == str(failed.value)
    else:
        assert str(failed.value) == line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "stage: MemoryError"),
        (ValueError(" \n"), "stage: ValueError"),
        (ValueError("first\nsecond"), "stage: ValueError: first"),
        (
            RuntimeError(
                "job 7 failed: Traceback (most recent call last):\n  File\n    x\nOSError: disk full [x]\n\n\tat a\n"
            ),
            "stage: OSError: disk full [x]",
        ),
        (
            RuntimeError("Dataflow pipeline failed. State: FAILED, Error:\nWorkflow failed. Causes: no quota\nmore"),
            "stage: RuntimeError: Dataflow pipeline failed. State: FAILED, Error: Workflow failed. Causes: no quota",
        ),
        (
            RuntimeError(
                "job 7 failed: Traceback (most recent call last):\n  x\npipeline.execute.RunFailed: numpy 1.0\n"
            ),
            "stage: numpy 1.0",
        ),
        (StoreFailed("s3://b/o: refused"), "stage: s3://b/o: refused"),
        (RuntimeError("pipeline.object_store.StoreFailed: s3://b/o: refused"), "stage: s3://b/o: refused"),
    ],
)
def test_a_failure_is_one_line(error: Exception, line: str) -> None:
    """The name of the error and its first line, where it has one."""
    future: Future[None] = Future()
    future.set_exception(error)
    with pytest.raises(RunFailed) as failed:
        _raise_failure(make_stage("out", "stage", 1, [], []), future)
    assert str(failed.value) == line


class Two(Exception):  # noqa: N818 - a user's
    """An error that cannot be unpickled: its class wants two arguments."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")


def fail(_task: Number) -> Record:
    """Raise it."""
    raise Two("this", "that")


def test_an_error_that_does_not_travel_is_named(tmp_path: Path) -> None:
    """The worker that raised it has not died."""
    with pytest.raises(RunFailed, match=r"^stage: Two: this and that$"):
        go(tmp_path, fail)


def test_what_killed_writers_left_in_a_stage_is_swept(tmp_path: Path) -> None:
    """A file's and a training's."""
    stage = make_stage(str(tmp_path), "stage", 1, [], [])
    for name in ("documents/a.parquet.0.tmp", "fold-0/checkpoint.safetensors.0.tmp", "fold-0/config.json"):
        Path(stage.path(name)).parent.mkdir(parents=True, exist_ok=True)
        Path(stage.path(name)).touch()
    go(tmp_path, burn)
    assert not list(tmp_path.rglob("*.0.*"))
    assert Path(stage.path("fold-0/config.json")).exists()


def test_what_still_writes_is_ended_before_its_stage_is_swept(tmp_path: Path) -> None:
    """A job that an earlier start left: what it does until its end is swept, or counts."""
    stage = make_stage(str(tmp_path), "stage", 1, [], [])

    def last_words(output: str) -> None:
        assert output == stage.output
        Path(stage.folder).mkdir(parents=True)
        Path(stage.path("b.parquet.0.tmp")).touch()
        write_record(stage.folder, {"key": "a", "cpu_seconds": 100.0})

    with engine((), workers=1) as working:
        ended = replace(working, clear=last_words)
        manifest = ended.run(stage, burn, [Number("a"), Number("b")], lambda *_: None)
    assert manifest.cpu_seconds >= 100.3
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_full_disk_says_where_there_is_room(tmp_path: Path) -> None:
    """Of a run in a store it is that of the temporary files, which TMPDIR names."""
    line, temporary = "ingest: OSError: [Errno 28] No space left on device", tempfile.gettempdir()
    for output, places in (("s3://corpus/out", [temporary]), (str(tmp_path), [str(tmp_path), temporary])):
        said = with_remedy(line, output)
        assert re.findall(r"MB in ([^ ,]+)", said) == places
        assert f"MB in {temporary} (TMPDIR); make room" in said


def test_a_disk_too_full_for_a_temporary_file_is_said_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python then knows no temporary folder; what the error was is said, and what to do."""
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "nowhere")])
    line = "ingest: OSError: [Errno 28] No space left on device"
    said = with_remedy(line, str(tmp_path))
    assert said == f"{line}; no temporary folder takes a file; make room, and the same command goes on from here"


def test_a_local_run_does_without_beam() -> None:
    """What a run on this machine imports holds no Beam, which takes longer to import than all the rest."""
    code = "import sys, pipeline.run, pipeline.session; sys.exit('apache_beam' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def hold(task: Number) -> Record:
    """Hold fifty million bytes for task a, none for b, and write ten thousand."""
    held = np.ones(50_000_000 if task.key == "a" else 1, np.uint8)
    with tempfile.TemporaryFile() as file:
        file.write(bytes(10_000))
    return {"documents": int(held[0])}


def test_a_task_says_what_it_held_and_wrote(tmp_path: Path) -> None:
    """The second task of a process does not count what the first one held."""
    first, second = go(tmp_path, hold).records
    assert 45_000_000 < first["peak_bytes"] - second["peak_bytes"] < 80_000_000
    assert 10_000 <= second["written_bytes"] < 20_000


@dataclass(frozen=True)
class Write:
    """A work that writes two files."""

    folder: str

    def __call__(self, task: Number) -> Record:
        """Write them."""
        for name in "xy":
            with storage.create(f"{self.folder}/{task.key}.{name}") as file:
                file.write(b"text")
        return {"documents": 1}


def opened() -> int:
    """Return how many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def named(descriptor: int) -> str:
    """Return the name that an open file has now."""
    return Path(f"/proc/self/fd/{descriptor}").readlink().name


def test_a_record_reaches_the_disk_after_what_it_speaks_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a task's files are waited for the next is at work; nothing is recorded before, and nothing left open."""
    synced, written = list[str](), list[list[str]]()
    descriptors = opened()

    def fsync(descriptor: int) -> None:
        name = named(descriptor).partition(".json")[0]
        until = time.monotonic() + 60
        while name == "a.x" and not (tmp_path / "b.x").exists():
            assert time.monotonic() < until, "the next task waits for the disk"
            time.sleep(0.01)
        written.append(sorted(path.name for path in tmp_path.glob("*.x")))
        synced.append(name)

    monkeypatch.setattr(os, "fsync", fsync)
    do_tasks([Number(key) for key in "abc"], Write(str(tmp_path)), str(tmp_path))
    assert synced == ["a.x", "a.y", "a", "b.x", "b.y", "b", "c.x", "c.y", "c"]
    assert written[0] == ["a.x", "b.x"], "the second task waited for the first one's files"
    assert opened() == descriptors
    assert len(list(tmp_path.glob("done/*.json"))) == 3


def test_a_file_that_never_reached_the_disk_is_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the task's, and what came before is recorded."""

    def fsync(descriptor: int) -> None:
        if named(descriptor) == "b.y":
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    descriptors = opened()
    with pytest.raises(OSError, match="Input/output error"):
        do_tasks([Number(key) for key in "abc"], Write(str(tmp_path)), str(tmp_path))
    assert [path.name for path in tmp_path.glob("done/*.json")] == ["a.json"]
    assert opened() <= descriptors + 2, "those of the task that was begun last"


@dataclass(frozen=True)
class Sized:
    """A task of some size."""

    key: str
    size: int


@given(st.lists(st.integers(0, 10**9), max_size=300), st.integers(1, 16))
def test_hands_end_together(sizes: list[int], workers: int) -> None:
    """Every task is in one hand; workers that take hands in turn end within the largest task of each other's work."""
    tasks = [Sized(str(number), size) for number, size in enumerate(sizes)]
    hands = dealt(tasks, workers)
    assert sorted(task.key for hand in hands for task in hand) == sorted(task.key for task in tasks)
    spent = worked(hands, workers, [size + 1 for size in sizes])
    assert max(spent) <= sum(spent) / workers + max(sizes, default=0) + 1


def worked(hands: list[list[Any]], workers: int, cost: list[int]) -> list[int]:
    """Return what each worker spends that takes the next hand when it has done one; tasks are named by number."""
    spent = [0] * workers
    for hand in hands:
        spent[spent.index(min(spent))] += sum(cost[int(task.key)] for task in hand)
    return spent


@pytest.mark.parametrize(
    ("count", "workers", "slow", "times"), [(72, 2, 18, 5), (1000, 16, 30, 10), (5000, 64, 500, 5)]
)
def test_neighbours_that_are_slow_alike_go_to_different_hands(count: int, workers: int, slow: int, times: int) -> None:
    """Of tasks of one size the first take longer, as files of one site or format may: nobody is left with them all."""
    cost = [times if number < slow else 1 for number in range(count)]
    spent = worked(dealt([Sized(str(number), 10) for number in range(count)], workers), workers, cost)
    assert max(spent) <= 1.05 * sum(spent) / workers + times


def test_hands_are_few() -> None:
    """Of a hundred thousand tasks half of a worker's share comes first, and single ones last."""
    hands = dealt([Sized(str(number), 10) for number in range(100_000)], 16)
    assert [len(hands[0]), len(hands[-1])] == [100_000 // 32, 1]
    assert len(hands) < 18 * 16


@pytest.mark.parametrize("workers", [2, 16])
def test_small_tasks_are_begun_last(workers: int) -> None:
    """As the parts of files are, one full and one what was left over: nobody begins a full one when others end."""
    hands = dealt([Sized(f"{number}", 11 if number % 2 else 2) for number in range(40 * workers)], workers)
    sizes = [task.size for hand in hands for task in hand]
    assert sizes[-10 * workers :] == [2] * (10 * workers)


def test_a_giant_is_a_hand_of_its_own() -> None:
    """What takes as long as all the rest is begun first, and nothing waits behind it."""
    hands = dealt([*(Sized(str(number), 10) for number in range(100)), Sized("giant", 1000)], 2)
    assert [task.key for task in hands[0]] == ["giant"]
    assert len(hands) < 20


def fail_or_sleep(task: Number) -> Record:
    """Fail in one task, and sleep in the other."""
    if task.key == "a":
        raise ValueError("no")
    time.sleep(300)
    return {}


def test_what_fails_is_known_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the driver sleeps between two looks, and whatever else is at work."""
    monkeypatch.setattr(execute, "POLL_SECONDS", 200.0)
    stage = make_stage(str(tmp_path), "stage", 1, [], [])
    began = time.monotonic()
    with execute.start(2) as working, pytest.raises(RunFailed, match="stage: ValueError: no"):
        working.run(stage, fail_or_sleep, [Number("a"), Number("b")], lambda *_: None)
    assert time.monotonic() - began < 100


def test_looks_cost_a_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that take long to list are listed seldom; what watches is called at each turn all the same."""
    looks, turns = [], []

    def slow(folder: str) -> set[str]:
        looks.append(folder)
        time.sleep(0.05)
        return finished_keys(folder)

    monkeypatch.setattr(execute, "finished_keys", slow)
    monkeypatch.setattr(execute, "POLL_SECONDS", 0.01)
    stage = make_stage(str(tmp_path), "stage", 1, [], [])
    began = time.monotonic()
    with execute.start(1) as working:
        working.run(stage, burn, [Number("a"), Number("b")], lambda *_: turns.append(1))
    least = 0.05 / execute.LOOKS_SHARE  # seconds between two looks
    assert len(looks) <= 4 + (time.monotonic() - began) / least  # before, at once, at the end and after it
    assert len(turns) > 10

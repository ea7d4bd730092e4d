"""A job names its tasks instead of holding them, and a worker takes no other work than its driver's."""

import errno
import os
import pickle
import re
import resource
import socket
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline import task_failure
from pipeline.beam_runner import start
from pipeline.execute import RunFailed, jobs_folder
from pipeline.failure import InputChanged
from pipeline.job import Job, do_numbered, machine_processes, make_job, make_pipeline
from pipeline.needs import Needs
from pipeline.stage import Record, finished_keys, make_stage, read_records
from tests.pipeline.test_execute import Number

OPTIONS = ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK")


@dataclass(frozen=True)
class Note:
    """A work with a field of its own."""

    said: str

    @property
    def needs(self) -> Needs:
        """Something that Dataflow would be told."""
        return Needs(memory=1)

    def __call__(self, task: Number) -> Record:
        """Say it."""
        return {"documents": 1, "note": f"{self.said} {task.key}"}


def job(folder: Path, tasks: int) -> Job:
    """Return a job of so many tasks."""
    stage = make_stage(str(folder), "stage", 1, [], [])
    return make_job(stage, Note("task"), [Number(f"{number:05d}") for number in range(tasks)])


def test_a_number_is_enough_to_do_a_task(tmp_path: Path) -> None:
    """Work and task come from the file that the job names."""
    made = job(tmp_path, 3)
    assert [do_numbered(number, made) for number in (2, 0)] == ["00002", "00000"]
    assert [record["note"] for record in read_records(made.stage.folder)] == ["task 00000", "task 00002"]


def test_a_graph_does_not_grow_with_its_tasks(tmp_path: Path) -> None:
    """It takes as many bytes for 50,000 tasks as for one, and hints only where Dataflow would read them."""
    sizes = []
    for count in (1, 50_000):
        graph = make_pipeline(OPTIONS, job(tmp_path, count)).to_runner_api()
        sizes.append(graph.ByteSize())
        assert not any(environment.resource_hints for environment in graph.components.environments.values())
    assert abs(sizes[1] - sizes[0]) < 500


def test_an_earlier_starts_job_finds_nothing_to_do(tmp_path: Path) -> None:
    """One that was still being submitted when the next start looked for it: its tasks were gone before that look."""
    late, found = job(tmp_path, 2), list[str]()

    def look(_: str) -> None:
        with pytest.raises(RunFailed, match="is gone: this job's start has ended") as failed:
            do_numbered(0, late)
        found.append(str(failed.value))

    stage = make_stage(str(tmp_path), "stage", 1, [], [])
    with start(("--direct_running_mode=multi_processing",), 1) as working:
        replace(working, clear=look).run(stage, Note("own"), [Number("a")], lambda *_: None)
    assert found
    assert [record["note"] for record in read_records(stage.folder)] == ["own a"]
    look("")


def test_another_file_is_not_unpickled(tmp_path: Path) -> None:
    """What somebody else wrote under the job's path ends the job."""
    made = job(tmp_path, 1)
    Path(made.path).write_bytes(Path(job(tmp_path / "other", 2).path).read_bytes())
    assert not do_numbered(0, made)
    with pytest.raises(RunFailed, match="is not what the driver wrote"):
        task_failure.check(made.path)


class Odd(Exception):  # noqa: N818 - as RunFailed
    """An error that no other process can make again."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} {why}\nand more")


@dataclass(frozen=True)
class Failing:
    """A work that fails at its second task, and takes note of every try."""

    folder: str
    error: type[Exception] | Exception

    def __call__(self, task: Number) -> Record:
        """Try."""
        tried = len(list(Path(self.folder).iterdir()))
        (Path(self.folder) / task.key).touch(exist_ok=False)
        if tried == 1:
            raise Odd("odd", "end") if self.error is Odd else self.error
        return {"documents": 1}


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (Odd, "Odd: odd end"),
        (InputChanged("input a is gone"), "input a is gone"),
        (PermissionError(errno.EACCES, "denied", "a"), r"PermissionError: \[Errno 13\] denied: 'a'"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            r"OSError: \[Errno 28\] No space left on device; free now: \d.* MB in /.*/out, .*; make room, and .*",
        ),
    ],
)
def test_an_error_that_cannot_pass_ends_the_run(tmp_path: Path, error: type[Exception] | Exception, line: str) -> None:
    """In the worker's one line, whatever its class; no task is begun after it; the same command goes on from there."""
    stage, tries = make_stage(str(tmp_path / "out"), "stage", 1, [], []), tmp_path / "tries"
    tries.mkdir()
    tasks = [Number(f"{number:02d}") for number in range(20)]
    with pytest.raises(RunFailed) as failed, start(OPTIONS) as working:
        working.run(stage, Failing(str(tries), error), tasks, lambda *_: None)
    assert re.fullmatch(f"stage: on {socket.gethostname()}: {line}", str(failed.value))
    assert "in __call__" in "".join(traceback.format_exception(failed.value)), "the log has no worker's traceback"
    assert len(list(tries.iterdir())) == 2
    assert len(finished_keys(stage.folder)) == 1
    with start(OPTIONS) as working:
        assert len(working.run(stage, Note("own"), tasks, lambda *_: None).records) == 20
    assert not Path(jobs_folder(stage.output)).exists()


@dataclass(frozen=True)
class Waiting:
    """A work that says that it has begun, and goes on for a minute."""

    folder: str

    def __call__(self, _: Number) -> Record:
        """Wait."""
        (Path(self.folder) / "begun").touch()
        time.sleep(60)
        return {"documents": 1}


def test_a_failure_is_found_while_other_tasks_work(tmp_path: Path) -> None:
    """That of another worker; an earlier start's job that ends now leaves none, and its failure is not this job's."""
    stage = make_stage(str(tmp_path / "out"), "stage", 1, [], [])
    late = make_job(stage, Note("late"), [Number("a")])
    left = list[str]()

    def fail() -> None:
        while not (tmp_path / "begun").exists():
            time.sleep(0.05)
        with pytest.raises(RunFailed, match=rf"^on {socket.gethostname()}: ValueError: late$"):
            task_failure.leave(ValueError("late"), late.path, stage.output)
        left.extend(path.name for path in Path(jobs_folder(stage.output)).iterdir())
        (own,) = Path(jobs_folder(stage.output)).glob("*.pickle.zst")
        task_failure.leave(ValueError("own"), str(own), stage.output)

    began = time.monotonic()
    other = threading.Thread(target=fail)
    other.start()
    with pytest.raises(RunFailed, match=r"^stage: on .*: ValueError: own$"), start(OPTIONS) as working:
        working.run(stage, Waiting(str(tmp_path)), [Number("a")], lambda *_: None)
    other.join()
    assert time.monotonic() - began < 30
    assert not [name for name in left if name.endswith(".failed.json")]


def test_a_failure_that_cannot_be_left_is_the_runners(tmp_path: Path) -> None:
    """Where no file can be written, the runner gets the line, for which any process can make the error again."""
    made = job(tmp_path, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(RunFailed, match=r"^on .*: OSError: \[Errno 27\] File too large$") as failed:
            do_numbered(0, made)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(pickle.loads(pickle.dumps(failed.value))) == str(failed.value)
    assert do_numbered(0, made) == "00000"


def test_tasks_that_fail_at_once_leave_one_failure_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written over what was kept for it, in place, so that no task can take the room; the others are content."""
    made = job(tmp_path, 1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pipeline.storage.create", full)
    (room,) = Path(made.path).parent.glob("*.room")
    inode, size = room.stat().st_ino, room.stat().st_size
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: task_failure.leave(ValueError("é" * 20_000), made.path, "out"), range(8)))
    left = Path(task_failure.failure_of(made.path))
    assert left.stat().st_ino == inode
    assert left.stat().st_size < size
    assert sorted(path.name for path in left.parent.iterdir()) == sorted([Path(made.path).name, left.name])
    with pytest.raises(RunFailed, match=r"ValueError: é+$"):
        task_failure.check(made.path)


def test_a_failure_says_what_failed_where_nothing_can_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what keeps a task from leaving why may be a lost permission: the line is that of the task's own error."""
    made = job(tmp_path, 1)

    def forbidden(_: str) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("pipeline.storage.exists", forbidden)
    with pytest.raises(RunFailed, match=r"^on .*: ValueError: the reason$"):
        task_failure.leave(ValueError("the reason"), made.path, "out")


def test_a_failure_is_left_where_files_are_not_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the room is given up first; a traceback that does not fit ends as it would."""
    made, replace_ = job(tmp_path, 1), Path.replace

    def elsewhere(path: Path, target: Path) -> Path:
        if str(target).endswith(".failed.json") and ".room." in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace_(path, target)

    monkeypatch.setattr(Path, "replace", elsewhere)
    task_failure.leave(ValueError("\x01" * 50_000), made.path, "out")
    left = Path(task_failure.failure_of(made.path))
    assert left.stat().st_size <= task_failure.ROOM
    assert not [path for path in left.parent.iterdir() if ".room" in path.name]
    with pytest.raises(RunFailed, match="ValueError: \x01"):
        task_failure.check(made.path)


def test_another_worker_does_nothing(tmp_path: Path) -> None:
    """A worker with other versions, or other sources, than the driver's ends the job with both named."""
    made = job(tmp_path, 1)
    told = dict(made.identity) | {"numpy": "1.0"}
    other = replace(made, identity=tuple(told.items()))
    assert not do_numbered(0, other)
    with pytest.raises(RunFailed, match=r"the worker .* has numpy 2.*, the driver 1.0"):
        task_failure.check(made.path)


@pytest.mark.parametrize(
    ("options", "processes"),
    [
        (["--machine_type=n2d-standard-4"], 4),
        (["--worker_machine_type=n2-custom-16-131072-ext"], 16),
        (["--machine_type=custom-2-8192"], 2),
        (["--machine_type=c3-standard-8-lssd"], 8),
        (["--machine_type=n2d-standard-4", "--experiments=no_use_multiple_sdk_containers"], 1),
        (["--machine_type=a2-highgpu-2g"], 24),
        (["--machine_type=a3-highgpu-8g"], 208),
        (["--machine_type=e2-medium"], 1),
        ([], 1),
    ],
)
def test_a_machine_has_a_process_a_core(options: list[str], processes: int) -> None:
    """The name of a machine type says how many tasks may meet on it."""
    assert machine_processes(PipelineOptions(options)) == processes

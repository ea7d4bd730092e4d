"""A job names its tasks instead of holding them, and a worker takes no other work than its driver's."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.beam_runner import start
from pipeline.execute import RunFailed
from pipeline.job import Job, do_numbered, machine_processes, make_job, make_pipeline
from pipeline.needs import Needs
from pipeline.stage import Record, make_stage, read_records
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
    assert [record["note"] for record in read_records(made.folder)] == ["task 00000", "task 00002"]


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
    with pytest.raises(RunFailed, match="is not what the driver wrote"):
        do_numbered(0, made)


def test_another_worker_does_nothing(tmp_path: Path) -> None:
    """A worker with other versions, or other sources, than the driver's ends the job with both named."""
    made = job(tmp_path, 1)
    told = dict(made.identity) | {"numpy": "1.0"}
    other = replace(made, identity=tuple(told.items()))
    with pytest.raises(RunFailed, match=r"the worker .* has numpy 2.*, the driver 1.0"):
        do_numbered(0, other)


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

"""The whole line on Flink inside Beam's job server, with workers in the submitting process."""

import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # no stubs are locked
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.cluster import _start_server
from pipeline.config import ConfigError
from tests.pipeline.outputs import assert_same, results
from tests.pipeline.test_kills import kill_when, manifest

Run = Callable[..., subprocess.CompletedProcess[str]]


def servers(scratch: Path) -> list[str]:
    """Return the job servers that keep their files under a folder."""
    running = (" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    return [line for line in running if "--job-port" in line and str(scratch) in line]


def test_flink_writes_what_a_local_run_writes(
    jar: str,
    local: Path,
    one_round: Path,
    tmp_path: Path,
    command: Callable[..., list[str]],
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed between two stages and started again, a run on Flink gives the same bytes and leaves no job server."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    flink = ["--runner=FlinkRunner", "--flink_version=1.19", f"--flink_job_server_jar={jar}", "--parallelism=2"]
    line = command(tmp_path / "out", "--evaluator", str(local / "evaluator"), *flink, config=one_round)
    seen: list[str] = []

    def due(output: Path) -> bool:
        seen[:] = servers(scratch)
        return manifest(output, "deduplicate.hashes")

    assert kill_when(line, tmp_path / "out", due, group=False)
    assert len(seen) == 1
    until = time.monotonic() + 60
    while servers(scratch):
        assert time.monotonic() < until, "the job server outlives its run"
        time.sleep(0.2)
    done = run(tmp_path / "out", *line[line.index("--evaluator") :], config=one_round)
    assert_same(results(tmp_path / "out"), results(local))
    assert not done.stderr
    assert not servers(scratch)


def test_a_jar_that_is_none_is_named(jar: str, tmp_path: Path) -> None:
    """The one that was given, in the error that its user reads."""
    (tmp_path / "no.jar").write_bytes(Path(jar).read_bytes()[:1000])
    options = PipelineOptions(["--runner=FlinkRunner", f"--flink_job_server_jar={tmp_path}/no.jar"])
    with ExitStack() as ends, pytest.raises(ConfigError, match=r"job server \(--flink_job_server_jar\) does not start"):
        _start_server(options, ends)

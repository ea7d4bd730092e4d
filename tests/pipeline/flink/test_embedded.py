"""The whole line on Flink inside Beam's job server, with workers in the submitting process."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # no stubs are locked
import pytest

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

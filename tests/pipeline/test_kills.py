"""Killed anywhere and started again, a run ends with the bytes of an undisturbed one."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.pipeline.outputs import assert_same, digests

Run = Callable[..., subprocess.CompletedProcess[str]]


def count(output: Path, pattern: str) -> int:
    """Count files."""
    return len(list(output.glob(pattern)))


def inside(output: Path, stage: str, least: int = 0) -> bool:
    """Tell whether a stage has begun, has `least` records and no manifest."""
    folders = [p for p in output.glob(f"stages/{stage}/*") if p.is_dir()]
    return bool(folders) and count(output, f"stages/{stage}/*/done/*.json") >= least and not manifest(output, stage)


def manifest(output: Path, stage: str) -> bool:
    """Tell whether a stage is finished."""
    return count(output, f"stages/{stage}/*/manifest.json") > 0


def between(output: Path, before: str, after: str) -> bool:
    """Tell whether one stage is finished and the next is not."""
    return manifest(output, before) and not manifest(output, after)


KILLS: dict[str, Callable[[Path], bool]] = {
    "inside a shard of ingest, between two parts": lambda o: (
        inside(o, "ingest") and count(o, "stages/ingest/*/parts/*.json") > count(o, "stages/ingest/*/done/*.json")
    ),
    "between the last shard of ingest and its manifest": lambda o: inside(o, "ingest", 10),
    "inside the links of duplicates": lambda o: between(o, "deduplicate.hashes", "deduplicate.clusters"),
    "inside the verdicts on duplicates": lambda o: between(o, "deduplicate.clusters", "deduplicate"),
    "inside the training of tokenizers": lambda o: between(o, "tokenizer.sample", "tokenizer"),
    "inside the folds": lambda o: between(o, "self_clean.links.hashes", "self_clean.folds"),
    "inside the training of evaluators": lambda o: (
        count(o, "stages/self_clean.round-1.train/*/fold-*/log.jsonl") > 0
        and not manifest(o, "self_clean.round-1.train")
    ),
    "inside the measuring of damage": lambda o: between(o, "self_clean.round-1.count", "self_clean.round-1.damage"),
    "inside scoring": lambda o: between(o, "self_clean.round-1.measure", "self_clean.round-1.score"),
    "inside encoding": lambda o: inside(o, "publish.encode", 1),
    "inside publication": lambda o: count(o, "documents/*") > 0 and not (o / "_SUCCESS").exists(),
    "inside the report": lambda o: (o / "report.json").exists() and not (o / "_SUCCESS").exists(),
}


def kill_when(command: list[str], output: Path, due: Callable[[Path], bool], *, group: bool) -> bool:
    """Start a run, kill -9 it (or it and its workers) once something is seen; return whether it was."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    try:
        while process.poll() is None:
            if due(output):
                return True
            time.sleep(0.002)
        return False
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL) if group else process.kill()
        process.wait()


def test_kills_leave_no_trace(finished: Path, tmp_path: Path, command: Callable[..., list[str]], run: Run) -> None:
    """Killed twelve times, at least once inside each stage, a run ends with the bytes of an undisturbed one."""
    output = tmp_path / "out"
    for number, (name, due) in enumerate(KILLS.items()):
        line = command(output, "--direct_num_workers=2")
        assert kill_when(line, output, due, group=number % 2 == 0), f"never seen: {name}"
    run(output, "--direct_num_workers=2")
    assert_same(digests(output), digests(finished))

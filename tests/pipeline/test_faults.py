"""What goes wrong around a run ends in one clear line, and in a state from which the same command goes on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from pipeline.lease import holder_of, myself, pack
from pipeline.lock import place_of
from tests.pipeline.outputs import assert_same, results

# A step that waits in the middle of ingest until it is told to go on.
WAITS = """
import time
from pathlib import Path

def until_told(text: str) -> None:
    Path("reached").touch()
    while not Path("go").exists():
        time.sleep(0.02)
"""
# A rank of --score-only that does not end.
READS = """
import sys, time
from pipeline.claim import claimed_by_rank
with claimed_by_rank(sys.argv[1], 1, 2) as lease, lease.renewed():
    print("reading", flush=True)
    time.sleep(600)
"""
CONFIG = """
[self_clean]
rounds = 0
[tokenizer]
vocab_size = 300
[ingest]
steps = ["language", "waits:until_told", "edits"]
"""
HERE = Path.cwd()
ALL_FILES = "-dac_override,-dac_read_search"  # what lets root write where nobody may


@pytest.fixture
def place(tmp_path: Path, story: Callable[[int], str]) -> Path:
    """Return a folder with two inputs, a configuration and the step."""
    return furnished(tmp_path, story)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, story: Callable[[int], str]) -> dict[str, str]:
    """Return the checksums of what an undisturbed run makes of these inputs."""
    return fresh(furnished(tmp_path_factory.mktemp("undisturbed"), story))


def furnished(folder: Path, story: Callable[[int], str]) -> Path:
    """Write inputs, configuration and step into a folder."""
    for name, first in (("a", 0), ("b", 100)):
        lines = [orjson.dumps({"text": story(first + i)}) for i in range(40)]
        (folder / f"{name}.jsonl").write_bytes(b"\n".join(lines))
    (folder / "waits.py").write_text(WAITS)
    (folder / "c.toml").write_text(CONFIG)
    return folder


def command(output: str = "out", *more: str) -> list[str]:
    """Return the command line."""
    fixed = ["--config", "c.toml", "--input", "*.jsonl", "--output", output, "--direct_num_workers=1"]
    return [sys.executable, "-m", "pipeline.run", *fixed, *more]


def settings(**more: str) -> dict[str, str]:
    """Return an environment in which the package and the step are found."""
    return {**os.environ, "PYTHONPATH": f"{HERE}:.", **more}


def go_on(place: Path, line: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    """Run to the end."""
    (place / "go").touch()
    return subprocess.run(
        line, cwd=place, env=settings(**more), capture_output=True, text=True, timeout=300, check=False
    )


@contextmanager
def in_the_middle(place: Path, line: list[str], **more: str) -> Iterator[subprocess.Popen[str]]:
    """Yield a run that waits inside ingest; it is told to go on by the file `go`."""
    for name in ("go", "reached"):
        (place / name).unlink(missing_ok=True)
    pipe = subprocess.PIPE
    with subprocess.Popen(line, cwd=place, env=settings(**more), text=True, stdout=pipe, stderr=pipe) as process:
        try:
            while not (place / "reached").exists():
                assert process.poll() is None, process.communicate()
                time.sleep(0.02)
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def ends(process: subprocess.Popen[str], place: Path) -> tuple[int, str]:
    """Let a run go on; return its exit code and the line it says, which is one."""
    (place / "go").touch()
    _, said = process.communicate(timeout=300)
    assert said.count("\n") == 1, said
    return process.returncode, said


def fresh(place: Path) -> dict[str, str]:
    """Return the checksums of an undisturbed run's results."""
    done = go_on(place, command("fresh"))
    assert done.returncode == 0, done.stderr
    return results(place / "fresh")


def assert_goes_on(place: Path, expected: dict[str, str], output: str = "out") -> str:
    """Run the same command: it must succeed, with these results; return what it says."""
    done = go_on(place, command(output))
    assert done.returncode == 0, done.stderr
    assert_same(results(place / output), expected)
    assert holder_of(str(place / output)).state == "finished"  # type: ignore[union-attr]
    return done.stdout


def texts_of(file: Path) -> list[str]:
    """Return the texts of a file of documents."""
    texts: list[str] = pq.read_table(file, columns=["text"])["text"].to_pylist()
    return texts


def events(place: Path, output: str = "out") -> list[dict[str, str]]:
    """Return the log."""
    return [orjson.loads(line) for line in (place / output / "run.log").read_bytes().splitlines()]


@pytest.fixture
def small_disk(place: Path) -> Iterator[Callable[[str], None]]:
    """Mount a small file system at `disk`; yield what makes it larger."""
    (place / "disk").mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96k", "none", place / "disk"], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no right to mount a small file system: {mounted.stderr.decode().strip()}")
    try:
        yield lambda size: _remount(place / "disk", size)
    finally:
        subprocess.run(["umount", place / "disk"], check=True)


def _remount(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


def test_a_full_disk(place: Path, undisturbed: dict[str, str], small_disk: Callable[[str], None]) -> None:
    """Wherever it fills up the line says so, and how much is free where; with room the run goes on from there."""
    for size in ("96k", "160k", "420k"):
        small_disk(size)
        done = go_on(place, command("disk/out"))
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1, done.stderr
        assert "No space left on device" in done.stderr
        assert "MB in disk/out" in done.stderr
        assert "make room, and the same command goes on from here" in done.stderr
    small_disk("100m")
    assert_goes_on(place, undisturbed, "disk/out")


def test_a_permission_that_is_lost(place: Path, undisturbed: dict[str, str]) -> None:
    """The line names the file; given back, the run goes on."""
    line = command()
    if os.geteuid() == 0:
        line = ["setpriv", f"--bounding-set={ALL_FILES}", *line]
    with in_the_middle(place, line) as process:
        folders = [path for path in (place / "out/stages").glob("ingest/*/**/") if path.is_dir()]
        for path in folders:
            path.chmod(0o555)
        try:
            code, said = ends(process, place)
        finally:
            for path in folders:
                path.chmod(0o755)
    assert code == 1
    assert said.startswith("failed: ingest: PermissionError: [Errno 13] Permission denied: 'out/stages/ingest/")
    assert said.endswith("(detail in out/run.log)\n")
    assert events(place)[-1]["error"] in said
    assert "Traceback" in events(place)[-1]["traceback"]
    assert_goes_on(place, undisturbed)


def test_old_stages_that_cannot_be_removed(place: Path) -> None:
    """With --force: one line, and an end in log and lock."""
    assert go_on(place, command("out", "--until", "ingest")).returncode == 0
    line = command("out", "--until", "ingest", "--force")
    if os.geteuid() == 0:
        line = ["setpriv", f"--bounding-set={ALL_FILES}", *line]
    (place / "out/stages/ingest").chmod(0o555)
    try:
        done = go_on(place, line)
    finally:
        (place / "out/stages/ingest").chmod(0o755)
    assert done.returncode == 1
    assert done.stderr.startswith("failed: PermissionError: [Errno 13] Permission denied: ")
    assert done.stderr.count("\n") == 1
    assert events(place)[-1]["event"] == holder_of(str(place / "out")).state == "failed"  # type: ignore[union-attr]


def test_a_clock_that_was_set_back(place: Path, undisturbed: dict[str, str]) -> None:
    """A run that was killed two days ahead, and whose lock and files are from there, is gone on with today."""
    (library,) = Path(sys.prefix).glob("lib/python3*/site-packages/libfaketime/vendor/libfaketime/src/libfaketime.so.1")
    ahead = {"LD_PRELOAD": str(library), "FAKETIME": "+2d", "DONT_FAKE_MONOTONIC": "1"}
    with in_the_middle(place, command(), **ahead) as process:
        process.kill()
    before = holder_of(str(place / "out"))
    assert before is not None
    assert before.since > myself().since[:10], "the clock was not ahead"
    done = go_on(place, command(), **ahead)
    assert done.returncode == 0, done.stderr
    assert "taking over out from" in done.stdout
    assert f"since {before.since[:10]}" in done.stdout
    assert "ingest … publish.merge: " in assert_goes_on(place, undisturbed)


def test_an_input_that_changed_between_two_starts(place: Path) -> None:
    """Also when only its time tells: the run says so and reads again; what else is new or gone is said, too."""
    assert go_on(place, command("out", "--until", "ingest")).returncode == 0
    content = (place / "b.jsonl").read_bytes()
    (place / "b.jsonl").write_bytes(content.replace(b"the", b"teh"))
    os.utime(place / "b.jsonl", (1, 1))
    (place / "a.jsonl").rename(place / "c.jsonl")
    said = assert_goes_on(place, fresh(place))
    line = "inputs are not what the last start saw: 1 changed (b.jsonl), 1 new (c.jsonl), 1 gone (a.jsonl)"
    assert f"{line}; ingest begins anew" in said
    assert [event["change"] for event in events(place) if event["event"] == "inputs_changed"] == [line]
    assert any("teh" in text for file in (place / "out/documents").iterdir() for text in texts_of(file))


@pytest.mark.parametrize("change", ["grows", "is gone", "is another"])
def test_an_input_that_changes_while_it_is_read(place: Path, change: str) -> None:
    """The run fails with its name, and records nothing of it; the next start reads what is there."""
    path = place / "b.jsonl"
    with in_the_middle(place, command()) as process:
        if change == "grows":
            with path.open("ab") as file:
                file.write(b"\n" + path.read_bytes().splitlines()[0])
        elif change == "is gone":
            path.rename(place / "kept")
        else:
            other = place / "other"
            other.write_bytes(path.read_bytes().replace(b"the", b"teh"))  # of the same size
            other.replace(path)
        code, said = ends(process, place)
    assert code == 1
    expected = "is gone: it was there when" if change == "is gone" else "was changed while the run was at work"
    assert said.startswith(f"failed: ingest: input b.jsonl {expected}")
    assert not list((place / "out/stages/ingest").glob("*/parts/*"))
    if change == "is gone":
        (place / "kept").rename(path)
    assert go_on(place, command("out", "--until", "ingest")).returncode == 0
    texts = [text for file in (place / "out/stages/ingest").glob("*/documents/*") for text in texts_of(file)]
    assert len(texts) == (81 if change == "grows" else 80)
    assert any("teh" in text for text in texts) == (change == "is another")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped(place: Path, undisturbed: dict[str, str], number: signal.Signals) -> None:
    """By Ctrl-C or by a supervisor: a line, exit code 130, an end in log and lock."""
    with in_the_middle(place, command()) as process:
        process.send_signal(number)
        code, said = ends(process, place)
    assert (code, said) == (130, "stopped; the same command goes on from here\n")
    assert events(place)[-1]["event"] == holder_of(str(place / "out")).state == "stopped"  # type: ignore[union-attr]
    if number == signal.SIGTERM:
        assert "taking over" not in assert_goes_on(place, undisturbed)


def test_a_second_run_is_refused(place: Path) -> None:
    """While one works: exit code 2, and a line that names the process and since when it works."""
    with in_the_middle(place, command()) as process:
        second = subprocess.run(
            command(), cwd=place, env=settings(), capture_output=True, text=True, timeout=300, check=False
        )
        assert second.returncode == 2
        assert second.stderr.startswith(f"error: another run is working on out: process {process.pid} on ")
        assert second.stderr.count("\n") == 1
        (place / "go").touch()
        assert process.wait(timeout=300) == 0


def test_reading_is_refused_where_a_run_lives(place: Path) -> None:
    """With --score-only, which holds a rank's folder alone: it names the process; where that died, it goes on."""
    (place / "judged.toml").write_text(CONFIG.replace("rounds = 0", "rounds = 1"))
    reading = command("out", "--config", "judged.toml", "--score-only")
    with in_the_middle(place, command()) as process:
        refused = subprocess.run(
            reading, cwd=place, env=settings(), capture_output=True, text=True, timeout=300, check=False
        )
        assert refused.returncode == 2
        assert refused.stderr.startswith(f"error: another run is working on out: process {process.pid} on ")
        assert refused.stderr.count("\n") == 1
        process.kill()
        process.wait()
    assert holder_of(str(place / "out")).pid == process.pid  # type: ignore[union-attr]
    late = go_on(place, reading)
    assert late.returncode == 1
    assert "is not finished; run the same command with --train-only first" in late.stderr


def test_a_run_is_refused_where_a_rank_reads(place: Path) -> None:
    """It names the rank's process and does nothing; where the rank was killed, it goes on."""
    (place / "out").mkdir()
    me = myself()
    (place / "out/.lock").write_bytes(pack(replace(me, at=me.since, state="paused")))
    (place / "go").touch()
    with subprocess.Popen(
        [sys.executable, "-c", READS, "out"], cwd=place, env=settings(), stdout=subprocess.PIPE, text=True
    ) as rank:
        try:
            assert rank.stdout is not None
            assert rank.stdout.readline() == "reading\n"
            refused = subprocess.run(
                command(), cwd=place, env=settings(), capture_output=True, text=True, timeout=300, check=False
            )
            shown = subprocess.run(
                [sys.executable, "-m", "pipeline.status", "out"], cwd=place, env=settings(), capture_output=True,
                text=True, timeout=300, check=True,
            )  # fmt: skip
        finally:
            rank.kill()
    assert refused.returncode == 2
    assert refused.stderr.startswith(
        f"error: another run is working on out/stages/ranks/1-of-2: process {rank.pid} on "
    )
    assert refused.stderr.count("\n") == 1
    assert not (place / "out/stages/ingest").exists()
    assert shown.stdout.startswith("out\n  paused, as asked · no results yet\n")  # as it was before
    assert f"\n  rank 1 of 2: running · process {rank.pid} on " in shown.stdout
    late = go_on(place, command())
    assert late.returncode == 0
    assert f"taking over out/stages/ranks/1-of-2 from process {rank.pid} on " in late.stdout


def test_a_run_whose_folder_is_taken_over_publishes_nothing(place: Path) -> None:
    """As by a run of another machine, on a file system without flock, that took this one for dead."""
    with in_the_middle(place, command()) as process:
        with place_of(str(place / "out")) as lock:
            holder = myself()
            lock.write(pack(holder), lock.read()[1])
        code, said = ends(process, place)
    assert code == 1
    assert said.startswith(f"failed: out was taken over by {holder}; this run stops and publishes nothing")
    assert not (place / "out/documents").exists()
    assert not (place / "out/_SUCCESS").exists()
    assert holder_of(str(place / "out")) == holder

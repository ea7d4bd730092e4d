"""The whole line on gs://: what a folder would hold, one run at a time, and going on after a kill."""

import os
import signal
import time
from pathlib import Path

import pytest

from pipeline import status
from pipeline.lease import RUNNING, holder_of
from pipeline.run import main
from tests.pipeline.store.conftest import Store
from tests.pipeline.store.test_kills_in_a_store import SETTINGS, start
from tests.pipeline.store.test_line_in_a_store import (
    Runs,
    cleaned,
    lines,
    local,
    published,
    test_a_second_run_finds_all_finished,
    test_a_store_holds_what_a_folder_holds,
    test_what_reads_a_finished_run_reads_it_in_a_store,
)

__all__ = [
    "test_a_second_run_finds_all_finished",
    "test_a_store_holds_what_a_folder_holds",
    "test_what_reads_a_finished_run_reads_it_in_a_store",
]

FAULTS = {"fail": 0.006, "reset": 0.004, "seed": 1626}  # gcsfs waits more than a second before it asks again


@pytest.fixture(scope="module")
def runs(server: Store, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Clean a corpus in a folder, and in a store of which one request in a hundred goes wrong."""
    return cleaned(server, tmp_path_factory.mktemp("line"), FAULTS)


def test_a_run_that_lives_is_alone_and_one_that_was_killed_is_followed(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second one is refused, while status sees the first; once it is killed the same command finishes its work."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_bytes(lines(5, 120))
    (tmp_path / "c.toml").write_text(SETTINGS)
    store.fill("source", local(tmp_path / "in"))
    fixed = ["--config", f"{tmp_path}/c.toml", "--direct_num_workers=1"]
    assert main([*fixed, "--input", f"{tmp_path}/in/*", "--output", f"{tmp_path}/out"]) == 0
    output = store.url("killed")
    command = [*fixed, "--input", store.url("source", "*"), "--output", output]
    store.faults(slow=1, seconds=0.1)
    process = start(command)
    try:
        while not ((holder := holder_of(output)) and holder.doing):
            assert os.waitpid(process, os.WNOHANG) == (0, 0), "it never held the folder"
            time.sleep(0.1)
        assert (holder.pid, holder.state) == (process, RUNNING)
        capsys.readouterr()
        assert main(command) == 2
        assert capsys.readouterr().err.startswith(f"error: another run is working on {output}: process {process} on ")
        assert status.main([output]) == 0
        assert "running" in capsys.readouterr().out
    finally:
        os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
    store.faults()
    assert main(command) == 0
    assert f"taking over {output} from process {process} on " in capsys.readouterr().out
    there, here = store.contents("killed"), local(tmp_path / "out")
    there, here = (
        {name: content for name, content in held.items() if not name.startswith(("stages/", "log/", "run.log"))}
        for held in (there, here)
    )
    assert there.keys() == here.keys()
    assert published(there) == published(here)


@pytest.mark.parametrize(
    ("source", "output", "line"),
    [
        ("no-bucket/*", "corpus/x", "--input gs://no-bucket/*: gs://no-bucket/: the bucket does not exist"),
        ("corpus/none.gz", "corpus/x", "--input gs://corpus/none.gz: gs://corpus/none.gz: not there"),
        ("corpus/some/*.warc", "corpus/x", "input 'input': nothing matches gs://corpus/some/*.warc"),
        (
            "corpus/some/*",
            "no-bucket/x",
            "--output gs://no-bucket/x cannot be written: gs://no-bucket/x/: the bucket does not",
        ),
        ("corpus/some/*", "corpus/some", "--output gs://corpus/some holds the input gs://corpus/some/a.jsonl"),
    ],
)
def test_a_mistake_is_one_line(
    store: Store, capsys: pytest.CaptureFixture[str], source: str, output: str, line: str
) -> None:
    """Nothing is written anywhere."""
    store.fill("some", {"a.jsonl": lines(1, 3)})
    assert main(["--input", f"gs://{source}", "--output", f"gs://{output}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {line}")
    assert said.count("\n") == 1
    assert store.contents("x") == {}

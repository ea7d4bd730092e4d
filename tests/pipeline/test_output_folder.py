"""The output folder: whose it is, on a disk and in a store, and what a kill leaves of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline import storage
from pipeline.claim import claimed
from pipeline.config import Config, ConfigError, Output
from pipeline.line import Line
from pipeline.output_folder import tidy
from pipeline.progress import Display
from pipeline.stage import make_stage, read_manifest, write_manifest, write_record
from tests.pipeline.folder_store import SCHEME

NOT_USED: Any = None


def test_foreign_folders_are_refused(tmp_path: Path) -> None:
    """A folder with other files is not written to, also where another tool has locked it."""
    (tmp_path / "thesis.tex").write_text("mine")
    for names in (["thesis.tex"], [".lock", "thesis.tex"]):
        for output in (str(tmp_path), f"{SCHEME}{tmp_path}"):
            with pytest.raises(ConfigError, match=r"holds other files .*thesis\.tex"), claimed(output):
                pass
        assert sorted(path.name for path in tmp_path.iterdir()) == names
        (tmp_path / ".lock").write_text("another tool")


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    """A second run on a folder is refused while the first one works."""
    with (
        claimed(str(tmp_path / "out")),
        pytest.raises(ConfigError, match="another run"),
        claimed(str(tmp_path / "out")),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """An output below a file is a clear mistake."""
    (tmp_path / "file").write_text("")
    for output in (f"{tmp_path}/file/out", f"{SCHEME}{tmp_path}/file/out"):
        with pytest.raises(ConfigError, match="cannot be written"), claimed(output):
            pass


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AWS_ENDPOINT_URL", "localhost:9000", "Invalid endpoint: localhost:9000"),
        ("AWS_PROFILE", "nobody", r"The config profile \(nobody\) could not be found"),
    ],
)
def test_a_store_whose_settings_are_wrong_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    """Before it is asked for anything: an address without its scheme, a profile that is not there."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"^--output s3://b/o cannot be written: {message}$"), claimed("s3://b/o"):
        pass


@pytest.mark.parametrize("keep", ["signatures", "false"])
def test_killed_while_tidying_a_stage_is_not_taken_for_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: str
) -> None:
    """Whatever was removed last, what is left is done again, or whole."""
    remove = storage.remove
    for kill in range(4):
        stage = make_stage(str(tmp_path / str(kill)), "ingest", 1, {}, [])
        write_record(stage.folder, {"key": "0", "cpu_seconds": 1.0})
        with storage.create(stage.path("documents", "0.parquet")) as file:
            file.write(b"text")
        config = replace(Config(), output=Output(keep_stages=keep))
        line = Line(config, str(tmp_path), NOT_USED, Display(Console()), manifests=[write_manifest(stage, 1.0)])
        done: list[str] = []

        def until_killed(path: str, done: list[str] = done, kill: int = kill) -> None:
            if len(done) == kill:
                raise KeyboardInterrupt
            done.append(path)
            remove(path)

        monkeypatch.setattr(storage, "remove", until_killed)
        with pytest.raises(KeyboardInterrupt):
            tidy(line, lambda: None)
        monkeypatch.setattr(storage, "remove", remove)
        whole = storage.exists(stage.path("documents", "0.parquet")) and storage.exists(stage.path("done", "0.json"))
        assert read_manifest(stage) is None or whole

"""The output folder is filled with what is wanted and nothing else."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import lease, publish, storage
from pipeline.lease import LeaseLost, myself, pack, take
from pipeline.lock import place_of
from pipeline.publish import fill_output


def test_what_killed_writers_left_is_swept(tmp_path: Path) -> None:
    """Unfinished files, an earlier run's pages, strangers in published folders go; a user's file and the log stay."""
    (tmp_path / "shards").mkdir()
    hexes = "0123456789abcdef" * 2
    left = [f"run.json.{hexes}.tmp", f"report.html.{hexes}.tmp", f"shards/index.json.{hexes}.tmp", "shards/old.arrow"]
    for name in [*left, "_SUCCESS", "notes.tmp", "run.json", "run.log"]:
        (tmp_path / name).write_text("x")
    fill_output(str(tmp_path), {}, {"shards/index.json": {}}, lambda: None)
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert found == ["notes.tmp", "run.log", "shards/index.json"]


def test_who_was_frozen_in_publication_changes_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder was taken over between two files: it stops before the third, whose name is the other's."""
    monkeypatch.setattr(publish, "FILES_AT_ONCE", 1)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    files = {f"documents/{number}.parquet": str(tmp_path / f"{number}") for number in range(9)}
    for number in range(9):
        (tmp_path / f"{number}").write_text("new")
    output = tmp_path / "out"
    for name in (*files, "shards/index.json"):
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_text("old")
    whole = storage.publish

    def frozen_after_two(source: str, target: str) -> None:
        whole(source, target)
        if sum(path.read_text() == "new" for path in (output / "documents").iterdir()) == 2:
            with place_of(str(output)) as place:
                other = replace(myself(), host="node-7", boot="another", pid=4711)
                place.write(pack(other), place.read()[1])
            time.sleep(0.2)

    monkeypatch.setattr(storage, "publish", frozen_after_two)
    with place_of(str(output)) as place:
        held = take(str(output), place, print)
        with pytest.raises(LeaseLost, match="taken over by process 4711 on node-7"):
            fill_output(str(output), files, {"shards/index.json": {}}, held.sure)
    assert [(output / name).read_text() for name in files] == ["new"] * 2 + ["old"] * 7
    assert not (output / "shards/index.json").exists(), "which would list old shards beside new ones"


@pytest.mark.parametrize("kind", ["removal", "file", "text"])
def test_a_name_is_changed_by_who_is_sure(tmp_path: Path, kind: str) -> None:
    """Whatever is next, an old name's removal, a file or a value: it is not done by who is not sure."""
    (tmp_path / "source").write_text("new")
    (tmp_path / "out/shards").mkdir(parents=True)
    (tmp_path / "out/shards/stranger").write_text("old")
    left = {"removal": 5, "file": 6, "text": 7}[kind]  # _SUCCESS, the index and three pages, the stranger, the file

    def sure() -> None:
        nonlocal left
        if not left:
            raise LeaseLost
        left -= 1

    with pytest.raises(LeaseLost):
        fill_output(f"{tmp_path}/out", {"shards/a": f"{tmp_path}/source"}, {"shards/index.json": {}}, sure)
    found = sorted(path.name for path in (tmp_path / "out/shards").iterdir())
    assert found == {"removal": ["stranger"], "file": [], "text": ["a"]}[kind]

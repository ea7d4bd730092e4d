"""The output folder is filled with what is wanted and nothing else."""

from pathlib import Path

from pipeline.publish import fill_output


def test_what_killed_writers_left_is_swept(tmp_path: Path) -> None:
    """Unfinished files, an earlier run's pages, strangers in published folders go; a user's file and the log stay."""
    (tmp_path / "shards").mkdir()
    hexes = "0123456789abcdef" * 2
    left = [f"run.json.{hexes}.tmp", f"report.html.{hexes}.tmp", f"shards/index.json.{hexes}.tmp", "shards/old.arrow"]
    for name in [*left, "_SUCCESS", "notes.tmp", "run.json", "run.log"]:
        (tmp_path / name).write_text("x")
    fill_output(str(tmp_path), {}, {"shards/index.json": {}})
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert found == ["notes.tmp", "run.log", "shards/index.json"]

"""Ingest: kinds of errors, and what is on the disk before a part is recorded."""

import os
from pathlib import Path

import orjson
import pytest

from pipeline import ingest
from pipeline.config import Config, Ingest, Input
from pipeline.execute import do_tasks
from pipeline.ingest import IngestShard, Settings, _kind
from pipeline.plan import make_plan


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("no field 'text'; the record has a, b", "no field 'text'; the record has a, b"),
        ("no column 'text'; the file has a, b", "no column 'text'; the file has a, b"),
        ("the field 'text' holds int, not a string", "the field 'text' holds int, not a string"),
        ("cut off after 12 of 345 bytes", "cut off after N of N bytes"),
        ("invalid UTF-8: invalid start byte", "invalid UTF-8: invalid start byte"),
        (
            "the archive is damaged here or after: Content-Length is '9x'",
            "the archive is damaged here or after: Content-Length is …",
        ),
    ],
)
def test_errors_of_a_kind_count_together(error: str, kind: str) -> None:
    """A record's own values and numbers are not in the name under which its error counts."""
    assert _kind(error) == kind


def test_what_edits_leave_is_counted_beside_what_was_read(tmp_path: Path) -> None:
    """Of the kept alone: what a line without an end mark took of a kept text, and nothing of a rejected one."""
    story = "\n".join(
        f"Number {n} of the stories was told to the people who had come from the village." for n in range(9)
    )
    texts = [story, f"{story}\nNo mark ends this", "Too short to be kept.\nNor does one here"]
    (tmp_path / "texts.jsonl").write_bytes(b"\n".join(orjson.dumps({"text": text}) for text in texts))
    steps = ("language", "gopher_quality", "c4")
    config = Config(input=(Input(paths=(f"{tmp_path}/texts.jsonl",)),), ingest=Ingest(steps=steps))
    work = IngestShard(Settings(config, 1.0, str(tmp_path)))
    (record,) = [work(task) for task in make_plan(config).shards]
    assert (record["kept"], record["rejected"]) == (2, 1)
    assert record["summary"]["bytes"] == {"kept": 2 * len(story), "read": 2 * len(story) + len("\nNo mark ends this")}


def test_a_part_is_recorded_when_its_files_are_on_the_disk(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that fails in the middle of a shard leaves no record of what it lost."""
    config = Config(
        input=(Input(paths=(f"{corpus}/part-0.jsonl",)),),
        ingest=Ingest(part_bytes=1_000),
    )
    synced: list[str] = []

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        assert path.suffix == ".tmp" or path.parent.name not in ("parts", "done"), "a record had its name before"
        synced.append(f"{path.parent.name}/{path.name.partition('.')[0]}")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(ingest, "BATCH_DOCUMENTS", 20)
    do_tasks(make_plan(config).shards, IngestShard(Settings(config, 1.0, str(tmp_path))), str(tmp_path))
    parts = [name for name in synced if name.startswith("parts/")]
    assert len(parts) > 3
    for part in parts:
        name = part.partition("/")[2]
        own = [place for place in synced if place.endswith(f"/{name}")]
        assert len(own) > 3
        assert own[-1] == part

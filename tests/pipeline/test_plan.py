"""The plan is a pure function of the files and the configuration."""

import os
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import Config, ConfigError, Ingest, Input
from pipeline.plan import MIN_SHARD_BYTES, Plan, find, make_plan

BIG = 2_000_000


def fill(folder: Path, **sizes: int) -> None:
    """Write files of these sizes; a double underscore stands for the dot."""
    for name, size in sizes.items():
        path = folder / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)


def plan(*patterns: str, share: float = 1.0, shard_bytes: int = 256_000_000, txt: str = "file") -> Plan:
    """Return the plan of one input."""
    given = Input(paths=patterns, txt=txt)
    return make_plan(Config(input=(given,), ingest=Ingest(shard_bytes=shard_bytes), sample=share))


def places(plan: Plan) -> list[tuple[str, int, int | None]]:
    """Return what is read of which file, in order."""
    return [(piece.relative, piece.start, piece.stop) for shard in plan.shards for piece in shard.pieces]


def test_overlapping_patterns_count_a_file_once(tmp_path: Path) -> None:
    """A file that several patterns match is read once, under one name."""
    fill(tmp_path, a__jsonl=10, b__jsonl=10)
    both = plan(f"{tmp_path}/*.jsonl", f"{tmp_path}/a*", f"{tmp_path}/a.jsonl", f"{tmp_path}/**")
    assert [place[0] for place in places(both)] == ["a.jsonl", "b.jsonl"]
    assert (both.files, both.size) == (2, 20)


def test_a_pattern_that_matches_nothing_is_named(tmp_path: Path) -> None:
    """An empty match is a mistake, also beside a pattern that matches."""
    fill(tmp_path, a__jsonl=10)
    for pattern in ("*.parquet", "missing/**", "missing.jsonl"):
        with pytest.raises(ConfigError, match="input 'input': nothing matches") as raised:
            plan(f"{tmp_path}/*.jsonl", f"{tmp_path}/{pattern}")
        assert pattern in str(raised.value)
    with pytest.raises(ConfigError, match=re.escape(f"nothing matches here/*.jsonl in {Path.cwd()}")):
        plan("here/*.jsonl")


def test_odd_names_are_found(tmp_path: Path) -> None:
    """Brackets, spaces and letters of every script are found, by a pattern and by themselves."""
    names = ["a b.txt", "c[1].txt", "d*e.txt", "ü文.txt", "deep/er/f.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    files = [piece.relative for piece in find(Input(paths=(f"{tmp_path}/**/*.txt",)), 0)]
    assert sorted(files) == sorted(names)
    for name in names:
        (piece,) = find(Input(paths=(f"{tmp_path}/{name}",)), 0)
        assert piece.path == str(tmp_path / name)


def test_two_stars_find_files_and_not_their_folders(tmp_path: Path) -> None:
    """A pattern that ends in ** takes the files below, and no folder becomes an unreadable input."""
    fill(tmp_path, **{"a__txt": 5, "deep/b__txt": 5})
    assert [piece.relative for piece in find(Input(paths=(f"{tmp_path}/**",)), 0)] == ["a.txt", "deep/b.txt"]


@pytest.mark.parametrize("end", ["", "/"])
def test_a_folder_is_no_input(tmp_path: Path, end: str) -> None:
    """It is a mistake of its user's, said before anything is read; among a pattern's matches it is unreadable."""
    fill(tmp_path, **{"deep/b__txt": 5})
    with pytest.raises(ConfigError, match=r"deep/? is a folder; name its files, as in .*deep/\*\* for all"):
        plan(f"{tmp_path}/deep{end}")
    (piece,) = find(Input(paths=(f"{tmp_path}/*",)), 0)
    assert piece.error == "a folder, not a file"


def test_a_plan_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    """The same files elsewhere give the same shards and relative names."""
    fill(tmp_path / "one", a__jsonl=BIG, b__txt=10, c__gz=BIG)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert places(plan(f"{tmp_path}/one/*")) == places(plan(f"{tmp_path}/two/*"))
    assert plan(f"{tmp_path}/one/*") == plan(f"{tmp_path}/one/*")


def test_names_stay_when_files_are_added_and_shards_change(tmp_path: Path) -> None:
    """What goes into ids depends neither on other files nor on the size of shards."""
    fill(tmp_path, a__jsonl=BIG, b__jsonl=10)
    before = {place[0] for place in places(plan(f"{tmp_path}/*"))}
    fill(tmp_path, **{"0__jsonl": 10, "aa__jsonl": BIG})
    after = plan(f"{tmp_path}/*", shard_bytes=100_000)
    assert before < {place[0] for place in places(after)} == {"0.jsonl", "a.jsonl", "aa.jsonl", "b.jsonl"}


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "A.NDJSON"])
def test_large_files_of_lines_are_split_without_a_gap(tmp_path: Path, name: str) -> None:
    """The ranges of a large file follow each other from its first byte to its end."""
    (tmp_path / name).write_bytes(b"x" * BIG)
    ranges = [place[1:] for place in places(plan(f"{tmp_path}/*", txt="lines"))]
    assert len(ranges) == BIG // MIN_SHARD_BYTES
    assert ranges[0][0] == 0
    assert ranges[-1][1] is None
    assert all(left[1] == right[0] for left, right in pairwise(ranges))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.warc.gz", "a.txt", "a"])
def test_other_large_files_are_not_split(tmp_path: Path, name: str) -> None:
    """Compressed files, archives and text files that are one document stay whole."""
    magic = b"\x1f\x8b" if name.endswith(".gz") else b""
    (tmp_path / name).write_bytes(magic + b"x" * BIG)
    assert places(plan(f"{tmp_path}/*")) == [(name, 0, None)]


def test_small_files_are_packed(tmp_path: Path) -> None:
    """Shards hold files up to about the target size, in order, and their keys count up."""
    fill(tmp_path, **{f"f{i:02d}__gz": 200_000 for i in range(20)})
    made = plan(f"{tmp_path}/*")
    assert [len(shard.pieces) for shard in made.shards] == [2] * 10
    assert [shard.key for shard in made.shards] == [f"{i:05d}" for i in range(10)]
    assert sum(shard.size for shard in made.shards) == made.size == 4_000_000


def test_parquet_is_split_by_row_groups(tmp_path: Path) -> None:
    """The pieces of a Parquet file hold each row group once; a damaged file stays whole."""
    table = pa.table({"text": [f"{i * 7919:0200d}" for i in range(20_000)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1000, compression="none", use_dictionary=False)
    groups = [piece.groups for shard in plan(f"{tmp_path}/*").shards for piece in shard.pieces]
    assert len(groups) > 3
    assert [i for group in groups if group for i in range(*group)] == list(range(20))
    fill(tmp_path, a__parquet=BIG)
    assert places(plan(f"{tmp_path}/*")) == [("a.parquet", 0, None)]


def test_a_sample_takes_whole_inputs_and_then_documents(tmp_path: Path) -> None:
    """As few inputs as hold the share are read, and of their documents as many as make it exact."""
    fill(tmp_path, **{f"f{i:02d}__gz": 1000 for i in range(40)})
    for share in (0.01, 0.1, 0.33, 0.99):
        sample = plan(f"{tmp_path}/*", share=share)
        read = sum(shard.size for shard in sample.shards)
        assert read * sample.document_share == pytest.approx(share * 40_000)
        assert read < share * 40_000 + 1000
        assert sample.size == 40_000
    small, large = (set(places(plan(f"{tmp_path}/*", share=share))) for share in (0.2, 0.5))
    assert small < large
    assert plan(f"{tmp_path}/*").document_share == 1.0


def test_the_same_file_of_two_inputs_is_read_for_both(tmp_path: Path) -> None:
    """Inputs are independent; no shard mixes them, so that each is counted by itself."""
    fill(tmp_path, a__jsonl=10, b__jsonl=10)
    given = tuple(Input(name=name, paths=(f"{tmp_path}/*",)) for name in ("one", "two"))
    shards = make_plan(Config(input=given)).shards
    assert [[piece.input for piece in shard.pieces] for shard in shards] == [[0, 0], [1, 1]]


def test_links_that_lead_nowhere_are_no_files(tmp_path: Path) -> None:
    """A link in a circle, a link to nothing and a name that is not UTF-8 each say why they are not read."""
    fill(tmp_path, a__jsonl=10)
    (tmp_path / "circle.jsonl").symlink_to(tmp_path / "circle.jsonl")
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jsonl")).write_bytes(b"{}")
    (shard,) = plan(f"{tmp_path}/*.jsonl").shards
    errors = {Path(piece.path).name: piece.error for piece in shard.pieces}
    assert errors.pop("a.jsonl") == ""
    assert errors == {
        "circle.jsonl": "Too many levels of symbolic links",
        "gone.jsonl": "No such file or directory",
        "caf\\xe9.jsonl": "its name is not UTF-8",
    }


@pytest.mark.parametrize("content", [b"\x1f\x8b" + b"x" * BIG, b"WARC/1.0\r\n" + b"x" * BIG], ids=["gzip", "warc"])
def test_names_that_lie_split_nothing(tmp_path: Path, content: bytes) -> None:
    """What a file holds decides whether it is cut into lines, as it decides how it is read."""
    (tmp_path / "a.jsonl").write_bytes(content)
    assert places(plan(f"{tmp_path}/*")) == [("a.jsonl", 0, None)]


def test_files_that_would_share_ids_are_refused(tmp_path: Path) -> None:
    """Two patterns of one input with a file of the same name below them are an error that names both."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jsonl").write_bytes(b"{}")
    given = Input(paths=(f"{tmp_path}/a/*.jsonl", f"{tmp_path}/b/*.jsonl"))
    with pytest.raises(ConfigError, match="would share ids"):
        make_plan(Config(input=(given,)))
    assert make_plan(Config(input=(Input(paths=(f"{tmp_path}/*/*.jsonl",)),))).files == 2

"""Every row of a Parquet file is read once, and damage costs no more than its row group."""

import datetime as dt
import tracemalloc
from collections import Counter
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from pipeline.config import Input
from pipeline.formats.read import read_piece
from pipeline.formats.record import Event, Record, TooLarge, Unreadable
from pipeline.plan import Piece
from tests.pipeline.formats.archives import LIMIT, parquet, read

TABLE = pa.table({"text": [f"text {i}" for i in range(1000)], "id": range(1000)})


def texts(events: list[Event]) -> list[str]:
    """Return the texts of the records."""
    return [event.text for event in events if isinstance(event, Record)]


def test_row_groups_hold_each_row_once_and_resume(tmp_path: Path) -> None:
    """The rows of all pieces are the rows of the file, from any row on."""
    whole = read(tmp_path, "a.parquet", parquet(TABLE, rows=300))
    assert texts(whole) == TABLE["text"].to_pylist()
    parts = []
    for groups in ((0, 1), (1, 3), (3, 4)):
        piece = Piece(path=str(tmp_path / "a.parquet"), relative="a", input=0, size=1, changed=0.0, groups=groups)
        parts += list(read_piece(piece, Input(), LIMIT))
    assert parts == whole
    for i in (0, 255, 299, 300, 998, 999):
        assert read(tmp_path, "a.parquet", parquet(TABLE, rows=300), after=whole[i]) == whole[i + 1 :]


def test_nulls_other_types_and_large_texts_are_named(tmp_path: Path) -> None:
    """A null is Unreadable, a text over the limit TooLarge, and the row beside them is read."""
    null, large, good = read(tmp_path, "a.parquet", parquet(pa.table({"text": [None, "é" * 30, "ok"]})), limit=59)
    assert isinstance(null, Unreadable)
    assert large == TooLarge(position=1, offset=1, size=60)
    assert isinstance(good, Record)
    (number,) = read(tmp_path, "b.parquet", parquet(pa.table({"text": [5]})))
    assert isinstance(number, Unreadable)
    assert number.error == "the field 'text' holds int, not a string"


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_a_large_cell_that_rows_share_is_not_held_for_each(tmp_path: Path, kind: pa.DataType) -> None:
    """Rows of much text are taken a few at a time, and a text over the limit is not taken at all."""
    column = pa.array(["a" * 400_000] * 200 + ["b" * 800_000] * 56).cast(kind)
    path = tmp_path / "a.parquet"
    path.write_bytes(parquet(pa.table({"text": column}), rows=256))
    piece = Piece(path=str(path), relative="a.parquet", input=0, size=1, changed=0.0)
    tracemalloc.start()
    kinds = Counter(type(event) for event in read_piece(piece, Input(), 500_000))
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert kinds == {Record: 200, TooLarge: 56}
    assert held < 40_000_000


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    """A file without the text column says which columns it has."""
    assert read(tmp_path, "a.parquet", parquet(pa.table({"body": ["a"], "n": [1]}))) == [
        Unreadable(position=0, offset=0, error="no column 'text'; the file has body, n")
    ]


def test_other_columns_are_kept_as_json(tmp_path: Path) -> None:
    """Times, decimals, bytes, maps, structs, NaN and nanoseconds all find their way into meta."""
    far = pa.array([2**40], pa.int64()).cast(pa.timestamp("s"))
    columns = {
        "text": ["t"],
        "date": pa.array([1_600_000_000_000_000_001], pa.timestamp("ns", "UTC")),
        "day": [dt.date(2020, 1, 2)],
        "struct": [{"a": [1, None]}],
        "bytes": [b"\xff"],
        "nan": [float("nan")],
        "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        "far": far,
    }
    (record,) = read(tmp_path, "a.parquet", parquet(pa.table(columns)))
    assert isinstance(record, Record)
    assert record.date.startswith("2020-09-13 12:26:40.000000001")
    assert orjson.loads(record.meta)["day"] == "2020-01-02"
    assert orjson.loads(record.meta)["struct"] == {"a": [1, None]}


def test_invalid_utf8_costs_one_row(tmp_path: Path) -> None:
    """A string that is no UTF-8 is one Unreadable; the rows around it are read."""
    wrong = pa.array([b"a", b"\xff\xfe", b"c"]).view(pa.string())
    first, bad, last = read(tmp_path, "a.parquet", parquet(pa.table({"text": wrong})))
    assert texts([first, last]) == ["a", "c"]
    assert isinstance(bad, Unreadable)
    assert bad.position == 1


def test_a_damaged_group_costs_itself_only(tmp_path: Path) -> None:
    """Wrong bytes in one row group are one Unreadable there; the other groups are read."""
    content = bytearray(parquet(TABLE, rows=250))
    at = content.index(b"PAR1", 4) if b"PAR1" in content[4:-4] else len(content) // 3
    content[at : at + 200] = b"\xff" * 200
    events = read(tmp_path, "a.parquet", bytes(content))
    bad = [event for event in events if isinstance(event, Unreadable)]
    assert len(bad) == 1
    assert "is damaged" in bad[0].error
    assert len(texts(events)) >= 750


@pytest.mark.parametrize("cut", [5, 100, -1, -9, -200])
def test_a_cut_file_is_unreadable(tmp_path: Path, cut: int) -> None:
    """A Parquet file that lost its end is one Unreadable."""
    (event,) = read(tmp_path, "a.parquet", parquet(TABLE)[:cut])
    assert isinstance(event, Unreadable)
    assert event.error.startswith("not readable as Parquet")

"""Rows that wait on disk for their readers come back whole, each to its reader, in order."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedup.clusters import EDGE
from pipeline.exchange import Spill, by_reader, read_every, read_rows, read_slices, slices, write_rows


def edges(numbers: list[int]) -> np.ndarray:
    """Return rows of 21 bytes that tell where they came from."""
    rows = np.zeros(len(numbers), EDGE)
    rows["left"], rows["right"] = np.arange(len(numbers)), numbers
    return rows


@given(st.lists(st.integers(0, 6)), st.integers(7, 9))
def test_rows_are_grouped_in_order(readers: list[int], count: int) -> None:
    """As a stable sort by reader would; a reader of nothing has an empty slice."""
    rows = edges(readers)
    grouped, bounds = by_reader(np.array(readers, np.int64), rows, count)
    assert grouped.tolist() == rows[np.argsort(readers, kind="stable")].tolist()
    assert np.diff(bounds).tolist() == np.bincount(readers, minlength=count).tolist()


def test_each_reader_gets_its_rows(tmp_path: Path) -> None:
    """From one file, from several in their order, or all slices; beyond the last reader is an error."""
    path, numbers = str(tmp_path / "a.rows"), [2, 0, 2, 3, 0]
    write_rows(path, np.array(numbers), edges(numbers), 5)
    assert [read_rows(path, i, EDGE)["left"].tolist() for i in range(5)] == [[1, 4], [], [0, 2], [3], []]
    assert [part["left"].tolist() for part in read_slices(path, EDGE)] == [[1, 4], [], [0, 2], [3], []]
    assert read_every([path, path], 2, EDGE)["left"].tolist() == [0, 2, 0, 2]
    with pytest.raises(IndexError, match="5 readers"):
        read_rows(path, 5, EDGE)


@pytest.mark.parametrize("readers", [3, 200, 10_000])
def test_slices_before_and_in_the_end_are_read(tmp_path: Path, readers: int) -> None:
    """Whether rows, and the places of all readers, are within what is read first, or not, or partly."""
    path, numbers = str(tmp_path / "a.rows"), np.arange(20_000) * 7 % readers
    write_rows(path, numbers, edges(numbers.tolist()), readers)
    for reader in {0, 1, readers // 2, readers - 1}:
        assert read_rows(path, reader, EDGE)["left"].tolist() == np.flatnonzero(numbers == reader).tolist()


def test_a_file_without_rows(tmp_path: Path) -> None:
    """It has its slices all the same."""
    with slices(str(tmp_path / "none.rows"), EDGE) as write:
        write(np.empty(0, EDGE))
    assert len(read_rows(str(tmp_path / "none.rows"), 0, EDGE)) == 0
    assert [len(part) for part in read_slices(str(tmp_path / "none.rows"), EDGE)] == [0]


def test_a_spill_holds_no_more_than_its_limit(tmp_path: Path) -> None:
    """What is over it goes to the next file, and nothing is lost."""
    spill = Spill(str(tmp_path), "rows", 3, EDGE, limit=10 * EDGE.itemsize)
    for start in range(0, 100, 4):
        numbers = np.arange(start, start + 4)
        spill.add(numbers % 3, edges(numbers.tolist()))
    files = [str(tmp_path / name) for name in spill.close()]
    assert len(files) == 9
    found = [read_every(files, reader, EDGE)["right"].tolist() for reader in range(3)]
    assert found == [list(range(reader, 100, 3)) for reader in range(3)]

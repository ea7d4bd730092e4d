"""Objects are read by ranges, listed page by page, written whole; failures are asked again, refusals said at once."""

import io
import multiprocessing
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import exchange, object_store, publish, storage
from pipeline.lease import LIFETIME_SECONDS
from pipeline.object_store import ATTEMPTS, BUSY_ATTEMPTS, TRIES, StoreFailed
from pipeline.publish import fill_output
from tests.pipeline.store.conftest import Store

NUMBERS = random.Random(0)


def write(path: str, content: bytes) -> None:
    """Write a file."""
    with storage.create(path) as file:
        file.write(content)


def read(path: str) -> bytes:
    """Read a file."""
    with storage.open_input(path) as file:
        return file.read()


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_what_is_written_is_read(store: Store, size: int) -> None:
    """An empty object is one, too; a name with other letters is a name."""
    path, content = store.url("written", f"ü b+{size}"), NUMBERS.randbytes(size)
    write(path, content)
    assert read(path) == content
    assert storage.exists(path)
    assert not storage.exists(path + "x")


def test_nothing_is_written_after_an_exception(store: Store) -> None:
    """A block that fails leaves the old object as it was."""
    path = store.url("half", "a")
    write(path, b"old")

    def fail() -> None:
        with storage.create(path) as file:
            file.write(b"new")
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        fail()
    assert read(path) == b"old"


def test_any_range_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jumps and reading on give what a file in memory gives."""
    monkeypatch.setattr(object_store, "LEAST_READ_BYTES", 1000)
    monkeypatch.setattr(object_store, "MOST_READ_BYTES", 4000)
    path, content = store.url("ranges"), NUMBERS.randbytes(100_000)
    write(path, content)
    with storage.open_input(path) as file:
        memory = io.BytesIO(content)
        for _ in range(60):
            if NUMBERS.random() < 0.5:
                place, whence = NUMBERS.choice([(NUMBERS.randrange(110_000), 0), (-NUMBERS.randrange(9000), 2)])
                assert file.seek(place, whence) == memory.seek(place, whence)
            size = NUMBERS.choice([1, 700, 9000, 30_000])
            assert file.read(size) == memory.read(size)
        assert file.tell() == memory.tell()


def test_a_file_that_is_read_on_takes_few_requests(store: Store) -> None:
    """Ranges double from 1 MB to 16 MB: 20 MB are 5 of them."""
    path, content = store.url("long"), NUMBERS.randbytes(1000) * 20_000
    write(path, content)
    store.faults()
    with storage.open_input(path) as file:
        parts = list(iter(lambda: file.read(8192), b""))
    assert b"".join(parts) == content
    assert store.faults()["GET"] == 5


def test_a_row_group_is_read_by_ranges(store: Store) -> None:
    """One column of one of ten row groups takes the footer and a range, not the file."""
    numbers = np.random.default_rng(0).random((2, 1_000_000))
    held = io.BytesIO()
    pq.write_table(pa.table({"a": numbers[0], "b": numbers[1]}), held, row_group_size=100_000, use_dictionary=False)
    path = store.url("table.parquet")
    write(path, held.getvalue())
    store.faults()
    with storage.open_input(path) as file:
        column = pq.ParquetFile(file).read_row_group(5, columns=["b"])["b"].to_numpy()
    assert (column == numbers[1, 500_000:600_000]).all()
    told = store.faults()
    assert told["GET"] == 2
    assert told["sent"] < held.tell() / 4


def test_a_slice_of_rows_takes_two_requests_and_its_own_bytes(store: Store) -> None:
    """The end, which says where it is, and the slice; one where there is nothing or it lies in the end: no megabyte."""
    path, kind = store.url("long.rows"), np.dtype([("number", np.int64)])
    rows = np.arange(500_000).astype(kind)
    exchange.write_rows(path, np.repeat(np.arange(100), 5000), rows, 101)
    for reader, requests, most in ((3, 2, 106_000), (99, 1, 66_000), (100, 1, 66_000)):
        store.faults()
        assert exchange.read_rows(path, reader, kind).tolist() == rows[reader * 5000 : (reader + 1) * 5000].tolist()
        told = store.faults()
        assert (told["requests"], told["GET"]) == (requests, requests)
        assert told["sent"] < most


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_files_of_a_result_are_published_side_by_side(
    store: Store, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """A store that takes its time for a copy, or to remove what an earlier run left, takes it for eight at once."""
    store.fill("finished", {str(number): b"x" for number in range(16)})
    files = {f"documents/{number}": store.url("finished", str(number)) for number in range(16)}
    spent = []
    for at_once in (1, 8):
        store.fill("filled/documents", {f"{number}-later": b"x" for number in range(16)})
        monkeypatch.setattr(publish, "FILES_AT_ONCE", at_once)
        store.faults(slow=1, seconds=0.5, only="filled/documents/", method=method)
        began = time.monotonic()
        fill_output(store.url("filled"), files, {}, lambda: None)
        spent.append(time.monotonic() - began)
        assert store.faults()["slow"] == 16
    assert set(store.contents("filled")) == set(files)
    assert spent[0] - spent[1] > 3  # of 14 waits of half a second


def test_listings_have_pages(store: Store) -> None:
    """All of 150 objects are found in pages of 100, by name, below a folder and by a pattern, and removed."""
    wanted = [f"{number:03d}.jsonl.gz" for number in range(150)]
    store.fill("many", {**dict.fromkeys(wanted, b"x"), "deep/er/000.jsonl.gz": b"xy", "other.txt": b""})
    folder = store.url("many")
    assert storage.names(folder) == [*wanted, "other.txt"]
    assert storage.walk(folder) == [*wanted, "deep/er/000.jsonl.gz", "other.txt"]
    assert [path for path, *_ in object_store.match(f"{folder}/*.gz")] == [f"{folder}/{name}" for name in wanted]
    assert len(list(object_store.match(f"{folder}/**/*.gz"))) == 151
    ((path, size, changed),) = object_store.match(f"{folder}/d*/*/0?0.jsonl.gz")
    assert (path, size) == (f"{folder}/deep/er/000.jsonl.gz", 2)
    assert 0 < time.time() - changed < 600
    assert list(object_store.match(f"{folder}/*.warc")) == []
    for _ in range(2):
        storage.remove(folder)
        assert storage.walk(folder) == storage.names(folder) == []


def test_a_pattern_takes_a_request_a_page(store: Store) -> None:
    """Nothing is asked of each of 150 objects."""
    store.fill("pages", {f"{number:03d}.jsonl.gz": b"x" for number in range(150)})
    store.faults()
    assert len(list(object_store.match(store.url("pages", "*.gz")))) == 150
    assert store.faults()["GET"] == 2


def test_failures_are_asked_again_and_counted(store: Store) -> None:
    """With one request in five refused and one in ten cut off, all is read, written, listed, copied and removed."""
    store.faults(fail=0.2, reset=0.1, seed=3)
    before = TRIES.again
    for number in range(12):
        path = store.url("faults", str(number))
        write(path, bytes([number]) * 1000)
        storage.publish(path, path + "-copy")
        assert read(path + "-copy") == bytes([number]) * 1000
    assert len(storage.walk(store.url("faults"))) == 24
    storage.remove(store.url("faults"))
    told = store.faults()
    assert 10 < told["fail"] <= TRIES.again - before <= told["fail"] + told["reset"]  # aiohttp asks some again itself
    assert storage.walk(store.url("faults")) == []


def test_a_store_that_always_fails_is_given_up(store: Store) -> None:
    """After so many tries one line says of what, and why."""
    write(store.url("given up"), b"x")
    store.faults(fail=1)
    with pytest.raises(StoreFailed, match=rf"^s3://corpus/given up: .*\(at {ATTEMPTS} tries\)$"):
        read(store.url("given up"))
    assert store.faults()["requests"] == ATTEMPTS


def test_a_busy_store_is_given_more_tries(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What asks for fewer requests is asked far more often before it is given up, and other failures count apart."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    write(store.url("busy"), b"x")
    store.faults(busy=1)
    with pytest.raises(StoreFailed, match=rf"^s3://corpus/busy: SlowDown.*\(at {BUSY_ATTEMPTS} tries\)$"):
        object_store.read(store.url("busy"))
    assert store.faults()["busy"] == BUSY_ATTEMPTS > 2 * ATTEMPTS
    store.faults(busy=1)
    with pytest.raises(StoreFailed, match=rf"\(at {BUSY_ATTEMPTS} tries\)$"):  # a HEAD, whose answer has no words
        storage.exists(store.url("busy"))
    assert sum(waits[: BUSY_ATTEMPTS - 1]) < LIFETIME_SECONDS
    store.faults(busy=0.8, fail=0.1, seed=1)
    assert object_store.read(store.url("busy")) == b"x"
    told = store.faults()
    assert told["busy"] > ATTEMPTS
    assert 0 < told["fail"] < ATTEMPTS


def test_a_store_fails_when_it_is_told_to(store: Store) -> None:
    """The faults of these tests come after the requests that are let through; one with another name is refused."""
    write(store.url("in time"), b"x")
    store.faults(fail=1, least=4, only="in time")
    assert [read(store.url("in time")) for _ in range(2)] == [b"x", b"x"]  # a HEAD and a GET each
    with pytest.raises(StoreFailed):
        read(store.url("in time"))
    assert store.faults()["fail"] == ATTEMPTS
    with pytest.raises(HTTPError, match="Unknown: failing"):
        store.faults(failing=1)


@pytest.mark.parametrize("path", ["s3://corpus/none", "s3://no-bucket/none"])
def test_what_is_not_there_is_not_asked_again(store: Store, path: str) -> None:
    """It is a FileNotFoundError at once, and listing a bucket that is not there is one, too."""
    store.faults()
    with pytest.raises(FileNotFoundError, match=f"^{path}: "):
        read(path)
    assert store.faults()["requests"] == 2
    with pytest.raises(FileNotFoundError, match="bucket does not exist"):
        storage.names("s3://no-bucket/folder")


def test_a_changed_object_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removed or cut short between two ranges, it is not taken for one that ends there."""
    monkeypatch.setattr(object_store, "LEAST_READ_BYTES", 1000)
    for content, error in ((None, FileNotFoundError), (b"x", StoreFailed)):
        path = store.url("vanishing")
        write(path, bytes(100_000))
        with storage.open_input(path) as file:
            file.read(10)
            storage.remove(path) if content is None else write(path, content)
            with pytest.raises(error, match="vanishing"):
                file.read(50_000)


def test_wrong_keys_are_refused_at_once(store: Store) -> None:
    """A 403 is no failure that passes."""
    store.open_to(0)
    try:
        store.faults()
        began = time.monotonic()
        actions: list[Callable[[str], Any]] = [read, storage.names, storage.remove, lambda path: write(path, b"")]
        for action in actions:
            with pytest.raises(StoreFailed, match="s3://corpus/none"):
                action(store.url("none"))
        assert store.faults()["requests"] == 4
        assert time.monotonic() - began < 5
    finally:
        store.open_to(float("inf"))


def test_an_unreachable_store_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is refused is tried again, and then said in one line."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    again = TRIES.again
    store.files.clear_instance_cache()
    try:
        with pytest.raises(StoreFailed, match=r'^s3://corpus/a: Could not connect to the endpoint URL: "http://127'):
            storage.exists(store.url("a"))
    finally:
        store.files.clear_instance_cache()
    assert TRIES.again - again == ATTEMPTS - 1


def _write_in_child(path: str) -> None:
    write(path, read(path) + b" and child")


def test_a_forked_process_has_its_own_connection(store: Store) -> None:
    """Parent and child both go on with a store that the parent has used."""
    path = store.url("fork")
    write(path, b"parent")
    child = multiprocessing.get_context("fork").Process(target=_write_in_child, args=(path,))
    child.start()
    child.join(20)
    assert child.exitcode == 0
    assert read(path) == b"parent and child"


def test_copies_on_a_disk_go_when_they_were_used(store: Store, tmp_path: Path) -> None:
    """Local files stay where they are; of a store's there is a copy while the block runs."""
    store.fill("model", {"a": b"1", "b": b"2"})
    with storage.on_disk(store.url("model"), ["a", "b"]) as here:
        assert (here / "b").read_bytes() == b"2"
    assert not here.exists()
    with storage.on_disk(str(tmp_path), []) as here:
        assert here == tmp_path
    assert tmp_path.exists()


def test_an_unknown_scheme_is_said() -> None:
    """What is missing is named."""
    with pytest.raises(ValueError, match="Protocol not known: s4"):
        object_store.files("s4://a/b")
    with pytest.raises(ValueError, match=r"gs:// needs the extra \[gcp\]"):
        object_store.files("gs://a/b")

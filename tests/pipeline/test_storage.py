"""Files appear whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from pipeline import storage


def held(folder: Path) -> list[str]:
    """Return the names in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    """Inside the block the name does not exist; afterwards it holds everything and nothing else is left."""
    path = tmp_path / "new" / "a.bin"
    with storage.create(str(path)) as file:
        file.write(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one"
    assert held(path.parent) == ["a.bin"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_after_an_exception(tmp_path: Path, error: type[BaseException]) -> None:
    """A block that fails leaves the old file as it was and no other."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail() -> None:
        with storage.create(str(path)) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_bytes() == b"old"
    assert held(tmp_path) == ["a.bin"]


def test_publishing_links_or_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second name is a hard link where the disk can, a copy where it cannot, and replaces what was there."""
    source, target = tmp_path / "a", tmp_path / "out" / "b"
    source.write_bytes(b"content")
    storage.publish(str(source), str(target))
    assert source.stat().st_ino == target.stat().st_ino
    storage.publish(str(source), str(target))
    assert held(target.parent) == ["b"]
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links")))
    storage.publish(str(source), str(target))
    assert target.read_bytes() == b"content"
    assert source.stat().st_ino != target.stat().st_ino
    assert held(target.parent) == ["b"]


def test_a_copy_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a machine that fails could keep _SUCCESS and lose what it speaks of."""
    source, target, kept = tmp_path / "a", tmp_path / "b", []
    source.write_bytes(b"content")
    fsync = os.fsync

    def noted(file: int) -> None:
        fsync(file)
        kept.append((Path(f"/proc/self/fd/{file}").read_bytes(), target.exists()))

    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links")))
    monkeypatch.setattr(os, "fsync", noted)
    storage.publish(str(source), str(target))
    assert kept == [(b"content", False)]
    assert target.read_bytes() == b"content"


def test_a_failed_copy_leaves_nothing(tmp_path: Path) -> None:
    """A publication whose source is gone raises and leaves no unfinished file."""
    with pytest.raises(FileNotFoundError):
        storage.publish(str(tmp_path / "missing"), str(tmp_path / "out" / "b"))
    assert held(tmp_path / "out") == []


def test_files_are_listed_and_removed(tmp_path: Path) -> None:
    """Names are those of a folder, a walk goes below, and removing twice does no harm."""
    for name in ("b.txt", "a.txt", "deep/er/c.txt"):
        storage.write_json(storage.join(str(tmp_path), name), {"b": 1, "a": 2})
    assert storage.names(str(tmp_path)) == ["a.txt", "b.txt"]
    assert storage.walk(str(tmp_path)) == ["a.txt", "b.txt", "deep/er/c.txt"]
    assert storage.read_json(str(tmp_path / "a.txt")) == {"a": 2, "b": 1}
    assert (tmp_path / "a.txt").read_bytes() == b'{"a":2,"b":1}'
    for _ in range(2):
        storage.remove(str(tmp_path / "deep"))
        storage.remove(str(tmp_path / "a.txt"))
    assert storage.walk(str(tmp_path)) == ["b.txt"]
    assert storage.names(str(tmp_path / "missing")) == storage.walk(str(tmp_path / "missing")) == []


def test_a_link_is_removed_and_not_what_it_points_to(tmp_path: Path) -> None:
    """Removing a link to a folder leaves the folder."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    storage.remove(str(tmp_path / "link"))
    assert held(tmp_path) == ["folder"]
    assert stat.S_ISDIR((tmp_path / "folder").stat().st_mode)


def test_files_are_synced_later_but_before_a_record_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When asked to, or at once where very many are waited for; each once, and none after an error."""
    synced: list[str] = []

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(storage, "MOST_LATER", 3)

    def write(*names: str) -> None:
        for name in names:
            with storage.create(f"{tmp_path}/{name}") as file:
                file.write(b"x")

    with storage.synced_later() as sync:
        write("a", "b")
        assert held(tmp_path) == ["a", "b"]
        assert not synced
        with storage.at_once():
            assert synced == ["a", "b"]
            write("record")
        assert synced.pop().endswith(".tmp"), "a record has its name when it is on the disk"
        write("c", "d", "e", "f")
        assert [name.partition(".")[0] for name in synced] == ["a", "b", "f"]
    assert len(synced) == 3
    sync()
    sync()
    assert synced[3:] == ["c", "d", "e"]
    left = []

    def fail() -> None:
        with storage.synced_later() as sync:
            left.append(sync)
            write("g")
            raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        fail()
    left[0]()
    assert "g" not in synced
    with storage.at_once():
        assert "g" not in synced


def test_parts_are_whole_where_the_system_gives_less_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux reads 2 GB at once at most, whatever is asked for; here 3 bytes."""
    path, pread = tmp_path / "file", os.pread
    path.write_bytes(b"0123456789")
    monkeypatch.setattr(os, "pread", lambda descriptor, size, start: pread(descriptor, min(size, 3), start))
    with storage.parts(str(path)) as (read_end, read_part):
        assert read_part(1, 9) == b"12345678"
        assert read_end(7) == b"3456789"
        assert read_end(100) == b"0123456789"

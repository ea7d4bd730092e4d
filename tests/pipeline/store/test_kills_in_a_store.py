"""Killed at any moment, a run leaves a store in which a reader who waits for _SUCCESS sees a whole result or none."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from pipeline import lease
from pipeline.run import main
from tests.pipeline.store.conftest import BUCKET, Store
from tests.pipeline.store.test_line_in_a_store import lines, local, published

SETTINGS = "[self_clean]\nrounds = 0\n[tokenizer]\nvocab_size = 300\n[publish]\nshard_tokens = 30000\n"
STRICTER = SETTINGS + "[gopher_quality.words]\nmin = 100\n"
Names = Callable[[set[str]], bool]


def seen(store: Store, folder: str) -> dict[str, bytes] | None:
    """Return the token shards that a reader finds, checked against the index; None where there is no finished run."""
    root = f"{BUCKET}/{folder}"
    if not store.files.exists(f"{root}/_SUCCESS"):
        return None
    try:
        index = orjson.loads(store.files.cat_file(f"{root}/shards/index.json"))
        found = {
            shard["path"]: (store.files.cat_file(f"{root}/shards/{shard['path']}"), shard["sha256"])
            for shard in index["shards"]
        }
    except FileNotFoundError:
        found = {"gone": (b"", "")}
    if not store.files.exists(f"{root}/_SUCCESS"):  # it was republished while it was read
        return None
    assert all(sha256(content).hexdigest() == told for content, told in found.values())
    return {name: content for name, (content, _) in found.items()}


def start(arguments: list[str]) -> int:
    """Start a run in a process group of its own; forked, it has imported all already."""
    process = os.fork()
    if process:
        return process
    os.setsid()
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):  # noqa: PTH123
        os._exit(main(arguments))


def killed(store: Store, arguments: list[str], due: Names, results: list[dict[str, bytes]]) -> None:
    """Start a run and kill it, workers and all, once the names in its folder are such; look on as a reader."""
    process = start(arguments)
    try:
        while not due({path.removeprefix(f"{BUCKET}/killed/") for path in store.files.find(f"{BUCKET}/killed")}):
            assert seen(store, "killed") in (None, *results)
            assert os.waitpid(process, os.WNOHANG) == (0, 0), "never seen"
            time.sleep(0.1)
    finally:
        os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
    assert seen(store, "killed") in (None, *results)


def inside(names: set[str], stage: str) -> bool:
    """Tell whether a stage has a record and no manifest."""
    of_it = [name for name in names if name.startswith(f"stages/{stage}/")]
    return any("/done/" in name for name in of_it) and not any(name.endswith("/manifest.json") for name in of_it)


FIRST: dict[str, Names] = {  # by what is slow meanwhile
    "killed/stages/ingest": lambda names: inside(names, "ingest"),
    "killed/documents": lambda names: any(name.startswith("documents/") for name in names),
    "killed/_SUCCESS": lambda names: "run.json" in names,
}


def test_a_reader_never_sees_half_a_result(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in ingest, in publication, before _SUCCESS, and while another result takes the place of the first."""
    monkeypatch.setattr(lease, "LIFETIME_SECONDS", 1.0)  # whoever held the lock was killed
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_bytes(lines(5, 120))
    store.fill("source", local(tmp_path / "in"))
    wanted, commands = [], []
    for name, settings in (("first", SETTINGS), ("second", STRICTER)):
        (tmp_path / f"{name}.toml").write_text(settings)
        fixed = ["--config", str(tmp_path / f"{name}.toml"), "--direct_num_workers=1"]
        assert main([*fixed, "--input", f"{tmp_path}/in/*", "--output", str(tmp_path / name)]) == 0
        commands.append([*fixed, "--input", store.url("source", "*"), "--output", store.url("killed")])
        held = local(tmp_path / name)
        wanted.append({name: content for name, content in held.items() if not name.startswith("stages/")})
    shards = [
        {name.removeprefix("shards/"): content for name, content in one.items() if re.match(r"shards/.*arrow", name)}
        for one in wanted
    ]
    assert shards[0].keys() == shards[1].keys()
    changed = next(name for name, content in shards[0].items() if content != shards[1][name])
    for slow, moment in FIRST.items():
        store.faults(slow=1, seconds=1, only=slow, method="PUT")
        killed(store, commands[0], moment, [])
        assert seen(store, "killed") is None
    store.faults()
    assert main(commands[0]) == 0
    assert seen(store, "killed") == shards[0]
    store.faults(slow=1, seconds=0.2, only="killed/shards", method="PUT")
    path = f"{BUCKET}/killed/shards/{changed}"
    killed(store, commands[1], lambda _: store.files.cat_file(path) == shards[1][changed], shards)
    assert seen(store, "killed") is None
    assert store.files.exists(f"{BUCKET}/killed/shards/{max(shards[0])}")
    store.faults()
    assert main(commands[1]) == 0
    assert seen(store, "killed") == shards[1]
    there = {name: content for name, content in store.contents("killed").items() if not name.startswith("stages/")}
    assert published(there) == published(wanted[1])

"""The built-in demo corpus is gathered the same way twice."""

from pathlib import Path

import orjson
import pytest

from pipeline import demo
from pipeline.demo import FILES, MAX_BYTES, gather


def test_the_demo_corpus_is_real_and_stable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every document has a text and a distinct id, the sum keeps its limit, and a second run changes nothing."""
    packages = [
        p for p in demo._packages() if p.metadata["Name"] in {"numpy", "pytest", "hypothesis", "orjson", "ruff"}
    ]
    monkeypatch.setattr(demo, "_packages", lambda: packages)
    monkeypatch.setattr(demo, "SYSTEM", ())
    pattern = gather(tmp_path / "demo")
    files = sorted((tmp_path / "demo").glob("*.jsonl"))
    assert pattern == f"{tmp_path}/demo/demo-*.jsonl"
    assert len(files) == FILES
    texts = [orjson.loads(line) for file in files for line in file.read_bytes().splitlines()]
    assert len(texts) > 50
    assert len({text["id"] for text in texts}) == len(texts)
    assert all(text["text"].strip() and text["source"] for text in texts)
    assert sum(len(text["text"].encode()) for text in texts) <= MAX_BYTES
    times = [file.stat().st_mtime_ns for file in files]
    gather(tmp_path / "demo")
    assert [file.stat().st_mtime_ns for file in files] == times

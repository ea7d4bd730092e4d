"""Addresses, personal data, a classifier and a user's function in one configuration, through the command."""

import os
import random
import subprocess
import sys
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from pipeline.train_quality import main
from tests.pipeline.conftest import text

CONFIG = """
[ingest]
steps = ["language", "url", "classifier.quality", "mine:long_enough", "mine:commas", "pii"]
[url]
blocked_domains = ["domains.txt"]
[classifier.quality]
model = "quality.bin"
label = "good"
min = 0.5
[own.commas]
max = 0.2
[tokenizer]
vocab_size = 600
[self_clean]
rounds = 0
"""
MINE = """
def long_enough(text):
    return len(text) > 100

def commas(text):
    return text.count(",") / len(text)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a corpus, lists, a function, and train a classifier."""
    folder = tmp_path_factory.mktemp("filters")
    draw = random.Random(5)
    stories = [text(draw) for _ in range(120)]
    junk = [" ".join(draw.choices("casino bonus click free winner prize deal offer".split(), k=60)) for _ in range(60)]
    rows = [{"text": story, "url": f"http://host{n}.example/{n}"} for n, story in enumerate(stories[:60])]
    rows += [{"text": story + " Write to a@b.org!", "url": "http://x.bad.example/"} for story in stories[60:70]]
    rows += [{"text": story + " Write to a@b.org!"} for story in stories[70:100]]
    rows += [{"text": words} for words in junk[:20]]
    rows += [{"text": story[:50]} for story in stories[100:105]]
    rows += [{"text": story.replace(" ", ",,")} for story in stories[105:110]]
    for name, lines in (("in.jsonl", rows), ("good.jsonl", [{"text": s} for s in stories]),
                        ("bad.jsonl", [{"text": words} for words in junk])):  # fmt: skip
        (folder / name).write_bytes(b"\n".join(orjson.dumps(line) for line in lines))
    (folder / "domains.txt").write_text("bad.example\n")
    (folder / "mine.py").write_text(MINE)
    (folder / "c.toml").write_text(CONFIG)
    line = ["--good", f"{folder}/good.jsonl", "--bad", f"{folder}/bad.jsonl", "--output", f"{folder}/quality.bin"]
    assert main([*line, "--buckets", "1000", "--epochs", "20", "--held-out", "0.2"]) == 0
    return folder


def start(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run in the folder, where mine.py is, with two workers."""
    line = [sys.executable, "-m", "pipeline.run", "--config", "c.toml", "--input", "in.jsonl", "--output", "out"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [*line, "--direct_num_workers=2", *more],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


def test_every_step_rejects_its_own_and_masks_reach_the_documents(folder: Path) -> None:
    """Ten by domain, twenty junk, five short, five full of commas; no address is left in what is kept."""
    done = start(folder)
    assert done.returncode == 0, done.stderr
    rejected = pq.read_table(folder / "out/rejected").to_pylist()
    counted: dict[str, int] = {}
    for row in rejected:
        counted[row["reason"]] = counted.get(row["reason"], 0) + 1
        assert row["value"] is not None
        assert row["threshold"] is not None or row["stage"] != "ingest"
    assert counted["domain_blocked"] == 10
    assert counted["quality_too_low"] >= 20
    assert counted.get("refused_by_long_enough", 0) + counted.get("commas_too_high", 0) > 0
    kept = pq.read_table(folder / "out/documents").to_pylist()
    assert not any("a@b.org" in row["text"] for row in kept)
    assert sum("Write to <EMAIL_1>!" in row["text"] for row in kept) == sum(row["pii.email"] for row in kept) > 20
    report = orjson.loads((folder / "out/report.json").read_bytes())
    bounds = {signal["name"]: signal["thresholds"] for signal in report["signals"]}
    assert (bounds["classifier.quality"], bounds["own.commas"], bounds["pii.email"]) == ([0.5], [0.2], [])


def test_what_files_hold_decides_whether_work_is_done_again(folder: Path) -> None:
    """Nothing changed: all is done; another line in a list, or in the function: to do."""
    assert start(folder).returncode == 0
    assert "ingest               done" in start(folder, "--dry-run").stdout
    for name, more in (("domains.txt", "more.example\n"), ("mine.py", "\nLIMIT = 5\n")):
        before = (folder / name).read_text()
        (folder / name).write_text(before + more)
        assert "ingest               to do" in start(folder, "--dry-run").stdout
        (folder / name).write_text(before)


def test_a_function_that_fails_is_one_line(folder: Path) -> None:
    """It names the function and the document."""
    (folder / "mine.py").write_text(MINE.replace("len(text) > 100", "text[10**6]"))
    done = start(folder)
    (folder / "mine.py").write_text(MINE)
    assert done.returncode == 1
    assert "mine:long_enough failed on document" in done.stderr
    assert "IndexError" in done.stderr

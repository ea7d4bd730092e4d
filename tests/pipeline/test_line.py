"""The whole line: conservation, the same bytes however it is run, and the same bytes after every kill."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from model.data import PackedTokens
from tokenizer.encode import Tokenizer

Run = Callable[..., subprocess.CompletedProcess[str]]
RESULTS = ("documents", "rejected", "unreadable", "tokenizer", "shards")


def digests(output: Path) -> dict[str, str]:
    """Return a checksum of every file that must not depend on how a run went."""
    wanted = [p for name in RESULTS for p in (output / name).rglob("*")]
    wanted += [*output.glob("stages/**/*.parquet"), *output.glob("stages/**/model.safetensors")]
    return {str(p.relative_to(output)): sha256(p.read_bytes()).hexdigest() for p in wanted if p.is_file()}


def results(output: Path) -> dict[str, str]:
    """Return the checksums of what is published."""
    return {name: digest for name, digest in digests(output).items() if name.split("/")[0] in RESULTS}


def assert_same(left: dict[str, str], right: dict[str, str]) -> None:
    """Compare checksums and name the first files that differ."""
    different = [name for name in sorted(left.keys() | right.keys()) if left.get(name) != right.get(name)]
    assert not different, different[:10]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """Run undisturbed with two workers."""
    output = tmp_path_factory.mktemp("finished") / "out"
    run(output, "--direct_num_workers=2")
    return output


def read(output: Path, name: str) -> pa.Table:
    """Read a published folder."""
    return pq.read_table(output / name)


def test_every_record_is_somewhere_once(finished: Path) -> None:
    """Records read are documents, unreadable or skipped; documents are kept or rejected, under one id."""
    kept, rejected = read(finished, "documents"), read(finished, "rejected")
    ids = kept["id"].to_pylist() + rejected["id"].to_pylist()
    assert len(ids) == len(set(ids)) == 900
    assert len(read(finished, "unreadable")) == 10
    assert set(rejected["stage"].to_pylist()) == {"ingest", "deduplicate", "self_clean"}


def test_every_reject_has_its_reason(finished: Path) -> None:
    """Each rejected document has a stage, a reason and a number, and a duplicate names what it duplicates."""
    kept, rejected = read(finished, "documents"), read(finished, "rejected")
    assert not any(reason is None for reason in rejected["reason"].to_pylist())
    assert not any(value is None for value in rejected["value"].to_pylist())
    known = set(kept["id"].to_pylist()) | set(rejected["id"].to_pylist())
    for row in rejected.to_pylist():
        if row["stage"] == "deduplicate":
            assert row["duplicate_of"] in known
            assert row["linked_to"] in known
            assert row["value"] >= row["threshold"]
        if row["stage"] == "self_clean":
            assert row["round"] in {1, 2}


def test_no_near_duplicate_keeper_is_rejected_by_dedup(finished: Path) -> None:
    """The document that a duplicate names as its keeper is no duplicate itself."""
    rejected = read(finished, "rejected").to_pylist()
    duplicates = {row["id"]: row for row in rejected if row["stage"] == "deduplicate"}
    assert duplicates
    assert not any(row["duplicate_of"] in duplicates for row in duplicates.values())


def test_shards_hold_the_documents(finished: Path) -> None:
    """Decoded, the token shards are the kept documents, each once; the files open with datasets too."""
    tokenizer = Tokenizer((finished / "tokenizer/tokenizer.model").read_bytes())
    index = orjson.loads((finished / "shards/index.json").read_bytes())
    texts = dict(zip(*(read(finished, "documents")[name].to_pylist() for name in ("id", "text")), strict=True))
    seen = {}
    for shard in index["shards"]:
        path = finished / "shards" / shard["path"]
        assert sha256(path.read_bytes()).hexdigest() == shard["sha256"]
        with pa.OSFile(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
        assert len(table) == shard["documents"]
        for row in table.to_pylist():
            assert row["tokens"][-1] == index["eos"]
            seen[row["id"]] = tokenizer.decode(row["tokens"][:-1])
    assert seen == texts
    assert {shard["split"] for shard in index["shards"]} == {"train", "validation"}
    files = [str(path) for path in sorted((finished / "shards").glob("*.arrow"))]
    assert len(load_dataset("arrow", data_files=files, split="train")) == len(texts)


def test_shards_feed_the_dataset(finished: Path) -> None:
    """The model's dataset packs the shards' tokens, all of them in one epoch."""
    index = orjson.loads((finished / "shards/index.json").read_bytes())
    rows = list(PackedTokens(finished / "shards", context_length=64, epochs=1))
    train = sum(shard["tokens"] for shard in index["shards"] if shard["split"] == "train")
    assert sum(int((row["targets"] >= 0).sum()) for row in rows) == train


def test_run_record_says_what_was_done(finished: Path) -> None:
    """run.json has configuration, versions, fingerprints and counts, and _SUCCESS is there."""
    record = orjson.loads((finished / "run.json").read_bytes())
    assert record["config"]["self_clean"]["rounds"] == 2
    assert record["counts"]["records read"] == 910
    assert record["fingerprints"]["ingest"]
    assert (finished / "_SUCCESS").exists()
    assert list((finished / "evaluator").glob("round-1/fold-*/model.safetensors"))


@pytest.mark.parametrize(
    "options",
    [
        ("--direct_num_workers=1",),
        ("--direct_running_mode=multi_processing", "--direct_num_workers=2"),
        ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"),
    ],
    ids=["one worker", "multi_processing", "portable"],
)
def test_same_bytes_however_it_is_run(finished: Path, tmp_path: Path, run: Run, options: tuple[str, ...]) -> None:
    """One worker, Beam's own processes and a portable runner write what two workers write."""
    run(tmp_path / "out", *options)
    assert_same(digests(tmp_path / "out"), digests(finished))


def test_a_second_run_changes_nothing(finished: Path, run: Run) -> None:
    """The same command finds every stage finished."""
    before = {p: p.stat().st_mtime_ns for p in finished.glob("stages/**/*") if p.is_file()}
    run(finished)
    assert {p: p.stat().st_mtime_ns for p in finished.glob("stages/**/*") if p.is_file()} == before


def test_a_late_threshold_runs_late_stages_only(finished: Path, tmp_path: Path, run: Run, settings: Path) -> None:
    """Another drop budget leaves ingest, dedup, tokenizers and scores alone, and equals a fresh run."""
    changed = tmp_path / "changed.toml"
    changed.write_text(settings.read_text().replace("[self_clean]\nrounds = 2", "[self_clean]\ndrop = 0.2\nrounds = 1"))
    again = tmp_path / "again"
    shutil.copytree(finished, again)
    early = [
        p for p in again.glob("stages/**/*") if p.is_file() and ".verdicts" not in str(p) and "publish" not in str(p)
    ]
    before = {p: p.stat().st_mtime_ns for p in early}
    run(again, config=changed)
    assert {p: p.stat().st_mtime_ns for p in early} == before
    fresh = tmp_path / "fresh"
    run(fresh, config=changed)
    assert_same(results(again), results(fresh))
    assert results(again) != results(finished)


def test_an_early_threshold_runs_what_it_touches(finished: Path, tmp_path: Path, run: Run, settings: Path) -> None:
    """Another bound of a filter, and all that follows from it, give what a fresh run gives."""
    changed = tmp_path / "changed.toml"
    changed.write_text(settings.read_text() + "\n[gopher_quality]\nwords = { min = 100 }\n")
    again, fresh = tmp_path / "again", tmp_path / "fresh"
    shutil.copytree(finished, again)
    run(again, config=changed)
    run(fresh, config=changed)
    assert_same(results(again), results(fresh))
    assert len(read(again, "documents")) < len(read(finished, "documents"))


def count(output: Path, pattern: str) -> int:
    """Count files."""
    return len(list(output.glob(pattern)))


def inside(output: Path, stage: str, least: int = 0) -> bool:
    """Tell whether a stage has begun, has `least` records and no manifest."""
    folders = [p for p in output.glob(f"stages/{stage}/*") if p.is_dir()]
    return bool(folders) and count(output, f"stages/{stage}/*/done/*.json") >= least and not manifest(output, stage)


def manifest(output: Path, stage: str) -> bool:
    """Tell whether a stage is finished."""
    return count(output, f"stages/{stage}/*/manifest.json") > 0


def between(output: Path, before: str, after: str) -> bool:
    """Tell whether one stage is finished and the next is not."""
    return manifest(output, before) and not manifest(output, after)


KILLS: dict[str, Callable[[Path], bool]] = {
    "inside a shard of ingest, between two parts": lambda o: (
        inside(o, "ingest") and count(o, "stages/ingest/*/parts/*.json") > count(o, "stages/ingest/*/done/*.json")
    ),
    "between the last shard of ingest and its manifest": lambda o: inside(o, "ingest", 10),
    "inside the links of duplicates": lambda o: between(o, "deduplicate.hashes", "deduplicate.clusters"),
    "inside the verdicts on duplicates": lambda o: between(o, "deduplicate.clusters", "deduplicate"),
    "inside the training of tokenizers": lambda o: between(o, "tokenizer.sample", "tokenizer"),
    "inside the folds": lambda o: between(o, "self_clean.links.hashes", "self_clean.folds"),
    "inside the training of evaluators": lambda o: (
        count(o, "stages/self_clean.round-1.train/*/fold-*/log.jsonl") > 0
        and not manifest(o, "self_clean.round-1.train")
    ),
    "inside scoring": lambda o: inside(o, "self_clean.round-1.score", 1),
    "inside encoding": lambda o: inside(o, "publish.encode", 1),
    "inside publication": lambda o: count(o, "documents/*") > 0 and not (o / "_SUCCESS").exists(),
    "inside the report": lambda o: (o / "report.json").exists() and not (o / "_SUCCESS").exists(),
}


def kill_when(command: list[str], output: Path, due: Callable[[Path], bool], *, group: bool) -> bool:
    """Start a run, kill -9 it (or it and its workers) once something is seen; return whether it was."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    try:
        while process.poll() is None:
            if due(output):
                return True
            time.sleep(0.002)
        return False
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL) if group else process.kill()
        process.wait()


def test_kills_leave_no_trace(finished: Path, tmp_path: Path, command: Callable[..., list[str]], run: Run) -> None:
    """Killed eleven times, at least once inside each stage, a run ends with the bytes of an undisturbed one."""
    output = tmp_path / "out"
    for number, (name, due) in enumerate(KILLS.items()):
        line = command(output, "--direct_num_workers=2")
        assert kill_when(line, output, due, group=number % 2 == 0), f"never seen: {name}"
    run(output, "--direct_num_workers=2")
    assert_same(digests(output), digests(finished))

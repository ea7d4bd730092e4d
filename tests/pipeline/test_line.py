"""The whole line: conservation, and the same bytes however it is run."""

import shutil
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from model.data import PackedTokens
from tests.pipeline.outputs import assert_same, digests, results
from tokenizer.encode import Tokenizer

Run = Callable[..., subprocess.CompletedProcess[str]]


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


def test_given_evaluators_judge_as_they_did(finished: Path, tmp_path: Path, run: Run) -> None:
    """Weights and tokenizer of a finished run, passed to another one, give the same results."""
    run(tmp_path / "out", "--evaluator", str(finished / "evaluator"))
    assert_same(results(tmp_path / "out"), results(finished))


def test_every_stage_says_how_much_it_read(finished: Path) -> None:
    """Stages that go through every text agree on its bytes, and no stage but those that train says nothing."""
    stages = {stage["name"]: stage for stage in orjson.loads((finished / "report.json").read_bytes())["stages"]}
    silent = {name for name, stage in stages.items() if not stage["bytes"]}
    trained = {f"self_clean.round-{number}.{part}" for number in (1, 2) for part in ("train", "fit")}
    assert silent == {"tokenizer", "self_clean.tokenizer"} | trained
    texts = {
        stages[name]["bytes"] for name in ("tokenizer.sample", "self_clean.round-1.sample", "self_clean.round-1.score")
    }
    assert len(texts) == 1
    assert 0 < texts.pop() < stages["publish.encode"]["bytes"] < stages["ingest"]["bytes"]

"""The whole line: conservation, and the same bytes however it is run."""

import random
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.data import PackedTokens
from pipeline.self_clean.counting import CountNgrams, CountTask
from pipeline.self_clean.excerpt import Excerpts, excerpts
from pipeline.self_clean.judges import (
    COUNTS,
    EVALUATOR_TOKENIZER,
    Judges,
    by_ngrams,
    by_transnormer,
    published,
)
from pipeline.self_clean.scores import judge_all
from pipeline.self_clean.scoring import load_score
from pipeline.self_clean.signals import CHEAP, SIGNALS
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
            assert (row["reason"], row["round"]) == ("unlike_the_corpus", 2)
            assert row["score"] == row["value"] >= row["threshold"] == row["cut_score"]
            assert row["mainly"].split()[0] in SIGNALS
            assert row["scored_tokens"] > 0
        assert row["stage"] == "self_clean" or row["round"] is None


def test_what_is_kept_lies_below_its_cut(finished: Path) -> None:
    """A document that the TransNormer read and that is kept has a score below its cut, where it has one."""
    rows = read(finished, "documents").to_pylist()
    assert all(row["score"] is not None for row in rows), "both languages of the corpus are judged"
    cut = [row for row in rows if row["loss"] is not None and row["cut_score"] is not None]
    assert len(cut) > 20
    assert all(row["score"] < row["cut_score"] for row in cut)
    unread = [row for row in rows if row["loss"] is None]
    assert unread
    assert all(row["bits_per_byte"] is None and row["unigram_bits"] is not None for row in unread)


def sampled(output: Path, kind: str, fold: int) -> set[str]:
    """Return the ids of what one judge of the rounds was trained on (fold) or counts beside it (more)."""
    paths = output.glob(f"stages/self_clean.round-*.sample/*/{kind}-{fold}/*.arrow")
    return {id_ for path in paths for id_ in pa.ipc.open_file(path.read_bytes()).read_all()["id"].to_pylist()}


def test_no_judge_saw_what_it_judges(finished: Path) -> None:
    """Anchors train no judge and are counted by none; neither is a document of the fold that the judge judges."""
    anchors, after = (next(finished.glob(f"stages/self_clean.round-{n}.anchors/*/anchors")) for n in (1, 2))
    kept, rejected = read(finished, "documents"), read(finished, "rejected")
    folds = {row["id"]: row["fold"] for table in (kept, rejected) for row in table.select(["id", "fold"]).to_pylist()}
    held_out = set(pq.read_table(anchors)["id"].to_pylist())
    assert len(held_out) > 50
    (verdicts,) = finished.glob("stages/self_clean.round-1.verdicts/*/verdicts")
    (documents,) = finished.glob("stages/ingest/*/documents")
    gone = {
        id_
        for path in verdicts.glob("*.parquet")
        for id_, rejected in zip(
            pq.read_table(documents / path.name, columns=["id"])["id"].to_pylist(),
            pq.read_table(path, columns=["rejected"])["rejected"].to_pylist(),
            strict=True,
        )
        if rejected
    }
    assert held_out & gone
    assert set(pq.read_table(after)["id"].to_pylist()) == held_out - gone
    assert {folds[id_] for id_ in held_out} == {0, 1}
    for fold in (0, 1):
        seen = {kind: sampled(finished, kind, fold) for kind in ("fold", "more")}
        assert all(seen.values())
        together = seen["fold"] | seen["more"]
        assert not together & held_out
        assert {folds[id_] for id_ in together} == {1 - fold}


def unseeing(output: Path, fold: int, folder: Path) -> Judges:
    """Return the judge of round 2 that saw no document of a fold, found by the documents that it was made of.

    Its n-grams are counted anew, into a folder.
    """
    folds = {row["id"]: row["fold"] for name in ("documents", "rejected") for row in read(output, name).to_pylist()}
    (sample,) = output.glob("stages/self_clean.round-2.sample/*")
    paths = sorted(sample.glob("*/*.arrow"), key=lambda path: (path.name, path.parent.name))  # as they were counted
    shards = {path: pa.ipc.open_file(path.read_bytes()).read_all() for path in paths}
    seen = {path: {folds[id_] for id_ in shard["id"].to_pylist()} for path, shard in shards.items()}
    others = [path for path in paths if seen[path] and fold not in seen[path]]
    tokens = sum(len(shards[path]["tokens"].combine_chunks().flatten()) for path in others)
    tokenizer = str(output / "evaluator" / EVALUATOR_TOKENIZER)
    task = CountTask(f"without-{fold}", tuple(map(str, others)), ("en", "zh"), tokens)
    CountNgrams(str(folder), tokenizer)(task)
    sums = {sha256(path.read_bytes()).hexdigest() for path in others}
    keys = output.glob("stages/self_clean.round-2.train/*/*/trained_on.json")
    parts = {path.parent: orjson.loads(path.read_bytes())["shards"] for path in keys}
    (weights,) = (place for place, used in parts.items() if {part["sha256"] for part in used if part["tokens"]} <= sums)
    (rejects,) = output.glob("stages/self_clean.round-2.count/*/rejects/ngrams.arrow")
    return Judges(tokenizer, (str(folder / task.key / COUNTS),), (str(weights),), str(rejects))


def test_every_document_is_judged_by_the_judge_that_did_not_see_its_fold(finished: Path, tmp_path: Path) -> None:
    """What is published is what the n-grams and the TransNormer of the other folds say, not what its own fold's do."""
    judges = [unseeing(finished, fold, tmp_path) for fold in (0, 1)]
    rows = [row for name in ("documents", "rejected") for row in read(finished, name).to_pylist()]
    for fold, judge in enumerate(judges):
        own = [row for row in rows if row["fold"] == fold and row["scored_tokens"]][:30]
        assert {row["language"] for row in own} == {"en", "zh"}
        found = excerpts([row["text"] for row in own], judge.load_tokenizer())
        told, other = (said_by(one, found, [row["language"] for row in own]) for one in (judge, judges[1 - fold]))
        stored = np.array([[row[name] for name in SIGNALS] for row in own])
        assert np.array_equal(told[:, : len(CHEAP)].astype(np.float32), stored[:, : len(CHEAP)].astype(np.float32))
        assert told == pytest.approx(stored, rel=1e-4, abs=1e-4)
        assert {row["context_gain"] for row in own} == {None}  # nobody asked for it
        at = [SIGNALS.index(name) for name in ("unigram_bits", "trigram_gain", "bits_per_byte")]
        assert (np.abs(other - stored)[:, at] > 1e-3).mean(axis=0).min() > 0.5


def said_by(judge: Judges, found: Excerpts, languages: list[str]) -> np.ndarray:
    """Return the signals (documents, SIGNALS) by one judge."""
    cheap = by_ngrams(judge, 0, found, languages)
    return np.concatenate([cheap, by_transnormer(judge, 0, found, cheap).signals], axis=1)


def test_anchors_are_measured_by_every_judge_and_damaged_for_one(finished: Path) -> None:
    """Each anchor of a language is measured as it is by both judges, in one order, and damaged for one at most."""
    files = sorted(finished.glob("stages/self_clean.round-1.damage/*/measured/*.parquet"))
    assert [path.stem for path in files] == ["en", "zh"]
    for path in files:
        rows = pq.read_table(path).to_pylist()
        plain = [[row["id"] for row in rows if row["judge"] == judge and row["kind"] == "clean"] for judge in (0, 1)]
        assert plain[0] == plain[1] == sorted(set(plain[0]))
        damaged = [row["id"] for row in rows if row["kind"] != "clean"]
        assert len(damaged) == len(set(damaged)) > len(plain[0]) / 2
        assert set(damaged) <= set(plain[0])
        assert all(row["size"] <= row["bytes"] and row["severity"] in {0, 1, 2, -1} for row in rows)


def test_reading_stays_within_its_budget(finished: Path, settings: Path) -> None:
    """The TransNormers read no more tokens of documents than a round may cost, and most of them."""
    budget = tomllib.loads(settings.read_text())["self_clean"]["score_tokens"]
    for one in report(finished)["rounds"]:
        assert 0.5 * budget < one["tokens_scored"] <= budget
        assert 0 < one["depth"] < 1
        assert 0 < one["rejected"] <= one["scored"] < one["documents_judged"]


def report(output: Path) -> Any:
    """Return the report's facts."""
    return orjson.loads((output / "report.json").read_bytes())


def test_published_rounds_can_judge_other_texts(finished: Path) -> None:
    """OUT/evaluator has a tokenizer, counts, weights and the score of each round, and they score a document."""
    for number in (1, 2):
        judges = published(str(finished / "evaluator"), number, 2)
        score = load_score(str(finished / "evaluator" / f"round-{number}"))
        assert set(score.languages) == {"en", "zh"}
        texts = [row["text"] for row in read(finished, "documents").to_pylist() if row["language"] == "en"][:5]
        shuffled = [" ".join(random.Random(1).sample(text.split(), len(text.split()))) for text in texts]
        found = excerpts(texts + shuffled, judges.load_tokenizer())
        cheap = by_ngrams(judges, 0, found, ["en"] * 10)
        signals = np.concatenate([cheap, by_transnormer(judges, 0, found, cheap).signals], axis=1)
        total, *_ = judge_all(signals, found.size, found.whole, np.zeros(10, np.int64), ["en"] * 10, score)
        assert (total[5:] > total[:5]).sum() >= 4
        unknown = by_ngrams(judges, 0, found, ["xx"] * 10)
        assert np.isnan(unknown).all()


def test_no_near_duplicate_keeper_is_rejected_by_dedup(finished: Path) -> None:
    """The document that a duplicate names as its keeper is no duplicate itself."""
    rejected = read(finished, "rejected").to_pylist()
    duplicates = {row["id"]: row for row in rejected if row["stage"] == "deduplicate"}
    assert duplicates
    assert not any(row["duplicate_of"] in duplicates for row in duplicates.values())


def test_shards_hold_the_documents(finished: Path) -> None:
    """Decoded, the token shards are the kept documents, each once."""
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


@pytest.fixture(scope="session")
def researcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of who trains on the shards: Hugging Face's datasets and nothing of ours.

    In our own environment it would bring pandas, which PyArrow and Beam import wherever it is, 0.2 s a process.
    """
    python = tmp_path_factory.mktemp("researcher") / "bin/python"
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(python.parents[1])], check=True)
    pinned = ["--require-hashes", "-r", str(Path(__file__).with_name("datasets.lock"))]
    subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *pinned], check=True)
    return python


def test_datasets_opens_the_shards(finished: Path, researcher: Path) -> None:
    """What the README tells who trains on them to do."""
    code = "import sys, datasets; print(len(datasets.load_dataset('arrow', data_files=sys.argv[1:], split='train')))"
    files = [str(path) for path in sorted((finished / "shards").glob("*.arrow"))]
    said = subprocess.run([researcher, "-c", code, *files], capture_output=True, text=True, check=True).stdout
    assert int(said) == len(read(finished, "documents"))


def test_shards_feed_the_dataset(finished: Path) -> None:
    """The model's dataset packs the shards' tokens, all of them in one epoch."""
    index = orjson.loads((finished / "shards/index.json").read_bytes())
    rows = list(PackedTokens(finished / "shards", context_length=64, epochs=1))
    train = sum(shard["tokens"] for shard in index["shards"] if shard["split"] == "train")
    assert sum(int((row["targets"] >= 0).sum()) for row in rows) == train


def test_run_record_says_what_was_done(finished: Path) -> None:
    """run.json has configuration, versions, fingerprints and counts, those of the files, and _SUCCESS is there."""
    record = orjson.loads((finished / "run.json").read_bytes())
    assert record["config"]["self_clean"]["rounds"] == 2
    assert record["counts"]["records read"] == 910
    kept, rejected = (
        sum(pq.read_metadata(path).num_rows for path in (finished / name).iterdir())
        for name in ("documents", "rejected")
    )
    assert (kept, kept + rejected) == (record["counts"]["kept after self-cleaning"], record["counts"]["documents"])
    assert record["fingerprints"]["ingest"]
    assert (finished / "_SUCCESS").exists()
    assert list((finished / "evaluator").glob("round-1/fold-*/model.safetensors"))


@pytest.mark.parametrize(
    "options",
    [
        ("--runner=DirectRunner", "--direct_num_workers=1"),
        ("--direct_running_mode=multi_processing", "--direct_num_workers=2"),
        ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"),
    ],
    ids=["in-memory, one worker", "multi_processing", "portable"],
)
def test_same_bytes_however_it_is_run(finished: Path, tmp_path: Path, run: Run, options: tuple[str, ...]) -> None:
    """One in-memory worker of Beam, its own processes and a portable runner write what two workers write."""
    run(tmp_path / "out", *options)
    assert_same(digests(tmp_path / "out"), digests(finished))


def test_a_second_run_changes_nothing(finished: Path, run: Run) -> None:
    """The same command finds every stage finished."""
    before = {p: p.stat().st_mtime_ns for p in finished.glob("stages/**/*") if p.is_file()}
    run(finished)
    assert {p: p.stat().st_mtime_ns for p in finished.glob("stages/**/*") if p.is_file()} == before


def test_a_late_threshold_runs_late_stages_only(finished: Path, tmp_path: Path, run: Run, settings: Path) -> None:
    """Another drop budget and `outlier` leave ingest, dedup, tokenizers and scores alone, and equal a fresh run."""
    changed, asked = tmp_path / "changed.toml", settings.read_text()
    for given, wanted in {"rounds = 2": "drop = 0.2\nrounds = 1", "outlier = 1\n": "outlier = 0.75\n"}.items():
        assert given in asked
        asked = asked.replace(given, wanted)
    changed.write_text(asked)
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


def test_where_no_language_can_be_judged_nothing_is_trained(
    finished: Path, tmp_path: Path, run: Run, settings: Path
) -> None:
    """Where there is too little of every language no judge rejects anything, and the report says why."""
    changed, again = tmp_path / "changed.toml", tmp_path / "again"
    changed.write_text(settings.read_text().replace("min_language_tokens = 1000", "min_language_tokens = 10_000_000"))
    shutil.copytree(finished, again)
    run(again, config=changed)
    facts = report(again)
    assert facts["decision"].startswith("no language can be judged; en: its judges can see about")
    assert "; zh: its judges can see about" in facts["decision"]
    assert facts["rounds"] == []
    assert set(facts["not_judged"]) == {"en", "zh"}
    assert all(
        "fewer than self_clean.min_language_tokens = 10,000,000" in reason for reason in facts["not_judged"].values()
    )
    assert "why no judge was trained for it" in (again / "report.html").read_text()


def test_a_round_whose_judges_disagree_does_not_count(finished: Path, tmp_path: Path, run: Run, settings: Path) -> None:
    """Where judges disagree about every language the round rejects nothing, and the report says why."""
    changed, again = tmp_path / "changed.toml", tmp_path / "again"
    changed.write_text(settings.read_text().replace("min_agreement = -1", "min_agreement = 1"))
    shutil.copytree(finished, again)
    run(again, config=changed)
    facts = report(again)
    assert facts["decision"] == "round 1 judged no language, so its verdicts do not count"
    (one,) = facts["rounds"]
    assert (one["accepted"], one["judged"], one["rejected"], one["scored"]) == (False, [], 0, 0)
    assert set(one["not_judged"]) == {"en", "zh"}
    assert all("on the anchor, less than 1" in reason for reason in one["not_judged"].values())
    assert set(read(again, "rejected")["stage"].to_pylist()) == {"ingest", "deduplicate"}
    assert set(read(again, "documents")["score"].to_pylist()) == {None}


def test_a_tripped_guard_puts_the_verdicts_aside(finished: Path, tmp_path: Path, run: Run, settings: Path) -> None:
    """A round that would take too much of a language ends the rounds, and nothing is lost by it."""
    changed, again = tmp_path / "changed.toml", tmp_path / "again"
    changed.write_text(
        settings.read_text().replace("guard_documents = 1000", "guard_documents = 50\nmax_vocabulary_shift = 0")
        .replace("max_vocabulary_shift = 1\n", "")
    )  # fmt: skip
    shutil.copytree(finished, again)
    run(again, config=changed)
    facts = report(again)
    assert facts["decision"].startswith("round 1 tripped a guard and its verdicts were put aside: the vocabulary of ")
    assert facts["rounds"][0]["rejected"] > 0
    assert "self_clean" not in read(again, "rejected")["stage"].to_pylist()


def test_a_floor_holds_cuts_back_and_the_round_counts(finished: Path, tmp_path: Path, run: Run, settings: Path) -> None:
    """A language that would lose more than its floor allows loses less, and the report says how much it would have."""
    changed, again = tmp_path / "changed.toml", tmp_path / "again"
    floor = "guard_documents = 50\nmax_language_loss = 0.01"
    changed.write_text(
        settings.read_text().replace("guard_documents = 1000", floor).replace("rounds = 2", "rounds = 1")
    )
    shutil.copytree(finished, again)
    run(again, config=changed)
    (one,) = report(again)["rounds"]
    assert one["accepted"]
    assert one["held"]
    assert all(line.startswith("language ") and line.endswith("is held to 1.0%") for line in one["held"])
    assert all(cell["rejected_bytes"] <= 0.01 * cell["bytes"] for cell in one["language"].values())
    assert read(again, "rejected")["stage"].to_pylist().count("self_clean") == one["rejected"] > 0


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
        stages[name]["bytes"]
        for name in (
            "tokenizer.sample",
            "self_clean.round-1.anchors",
            "self_clean.round-1.sample",
            "self_clean.round-1.measure",
        )
    }
    assert len(texts) == 1
    assert 0 < texts.pop() < stages["publish.encode"]["bytes"] < stages["ingest"]["bytes"]

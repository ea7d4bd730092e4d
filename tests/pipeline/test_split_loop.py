"""The loop in parts: training on one machine, reading on others, weights that were trained before."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.status import read_log, read_status, shown
from tests.benchmarks import contrasts
from tests.pipeline.outputs import assert_same, digests

Command = Callable[..., list[str]]


def start(line: list[str], rank: int | None = None, count: int = 2) -> subprocess.CompletedProcess[str]:
    """Run a command line, as one of torchrun's ranks or alone."""
    ranks = {} if rank is None else {"RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank)}
    return subprocess.run(line, capture_output=True, text=True, timeout=600, check=False, env={**os.environ, **ranks})


def test_training_and_reading_apart_give_the_same_bytes(finished: Path, tmp_path: Path, command: Command) -> None:
    """Trained by one command and read by two ranks, a run goes on to what an undisturbed one writes."""
    output = tmp_path / "out"
    early = start(command(output, "--score-only"))
    assert early.returncode == 2
    assert early.stderr == f"error: --output {output} holds no run yet; run the same command with --train-only first\n"
    assert not output.exists()
    trained = start(command(output, "--train-only"))
    assert trained.returncode == 0, trained.stderr
    assert "round 1 is trained" in trained.stdout
    assert not (output / "_SUCCESS").exists()
    read = [start(command(output, "--score-only"), rank) for rank in (1, 0)]
    assert [one.returncode for one in read] == [0, 0], read[0].stderr + read[1].stderr
    assert "rank 1 of 2" in read[0].stdout
    (folder,) = output.glob("stages/self_clean.round-1.score/*")
    assert (folder / "manifest.json").exists()
    for name in ("0-of-2", "1-of-2"):
        stage = [
            event for event in read_log(f"{output}/stages/ranks/{name}") if event.get("stage", "").endswith("score")
        ]
        assert [event["event"] for event in stage] == ["stage_started", "stage_finished"]
    assert [(one.output.rpartition("/")[2], one.state) for one in read_status(str(output)).ranks] == [
        ("0-of-2", "paused"),
        ("1-of-2", "paused"),
    ]
    again = start(command(output, "--score-only"))
    assert (again.returncode, "its part of round 1 is read" in again.stdout) == (0, True), again.stderr
    trained = start(command(output, "--train-only"))
    assert "round 2 is trained" in trained.stdout, trained.stderr
    read = [start(command(output, "--score-only"), rank) for rank in (0, 1)]
    assert ["its part of round 2 is read" in one.stdout for one in read][1], read[1].stderr
    (folder,) = output.glob("stages/self_clean.round-2.score/*")
    assert (folder / "manifest.json").exists()
    done = start(command(output))
    assert done.returncode == 0, done.stderr
    worked = re.findall(r"^([\w.-]+): \d+ of", done.stdout, re.MULTILINE)
    assert ("self_clean.round-2.score" in worked, "publish.merge" in worked) == (False, True)
    kept = sum(pq.read_metadata(path).num_rows for path in output.glob("documents/*.parquet"))
    assert f" · {kept:,} of " in str(shown(read_status(str(output))))
    assert_same(digests(output), digests(finished))
    over = start(command(output, "--score-only"))
    assert (over.returncode, "nothing is left to read" in over.stdout) == (0, True), over.stderr


def test_judges_that_torchrun_trained_are_this_corpus_own(tmp_path: Path, command: Command, settings: Path) -> None:
    """What one command samples, model.train trains, and another takes by its key: the weights of a run that trains."""
    once = settings.read_text().replace("rounds = 2", "rounds = 1\ncontext_gain = true")
    (tmp_path / "once.toml").write_text(once)
    own, output = tmp_path / "own", tmp_path / "out"
    trained = start(command(own, "--train-only", config=tmp_path / "once.toml"))
    assert trained.returncode == 0, trained.stderr
    sampled = start(command(output, "--sample-only", config=tmp_path / "once.toml"))
    assert sampled.returncode == 0, sampled.stderr
    lines = [line.split() for line in sampled.stdout.splitlines() if line.startswith("torchrun ")]
    assert len(lines) == 2
    judges = output / "judges"
    assert f"--evaluator {judges}" in sampled.stdout
    for line in lines:
        done = start([sys.executable, "-m", "torch.distributed.run", *line[1:]])
        assert done.returncode == 0, done.stderr
    taken = start(command(output, "--evaluator", str(judges), config=tmp_path / "once.toml"))
    assert taken.returncode == 0, taken.stderr
    assert not orjson.loads((output / "report.json").read_bytes())["rounds"][0]["external"]
    for fold in ("fold-0", "fold-1"):
        (weights,) = own.glob(f"stages/self_clean.round-1.train/*/{fold}")
        published = output / "evaluator" / "round-1" / fold
        assert (published / "model.safetensors").read_bytes() == (weights / "model.safetensors").read_bytes()
        assert orjson.loads((published / "trained_on.json").read_bytes()) == orjson.loads(
            (weights / "trained_on.json").read_bytes()
        )
    rows = pq.read_table(output / "documents").to_pylist()
    gains = [row["context_gain"] for row in rows if row["scored_tokens"]]
    assert len(gains) > 20
    assert None not in gains
    assert all(row["context_gain"] is None for row in rows if not row["scored_tokens"])
    other = judges / "round-1/fold-0/run.json"
    other.write_bytes(orjson.dumps({**orjson.loads(other.read_bytes()), "shards": "0" * 64}))
    refused = start(command(output, "--evaluator", str(judges), config=tmp_path / "once.toml"))
    assert refused.returncode == 2
    assert "--evaluator-is-external" in refused.stderr


def test_without_a_language_to_judge_nothing_is_trained(tmp_path: Path, command: Command, settings: Path) -> None:
    """A cluster's training ends with the reason, and leaves the shards to the run that is whole."""
    changed = tmp_path / "changed.toml"
    changed.write_text(settings.read_text().replace("min_language_tokens = 1000", "min_language_tokens = 10_000_000"))
    done = start(command(tmp_path / "out", "--train-only", config=changed))
    assert done.returncode == 0, done.stderr
    assert "no language can be judged" in done.stdout
    assert not (tmp_path / "out" / "_SUCCESS").exists()
    assert not list((tmp_path / "out").glob("stages/self_clean.round-1.*"))


def test_weights_of_this_corpus_are_taken_and_others_refused(finished: Path, tmp_path: Path, command: Command) -> None:
    """What says that it left these folds out is taken as it is; what does not is refused, unless it is external."""
    output, given = tmp_path / "out", tmp_path / "evaluator"
    shutil.copytree(finished, output)
    (output / "_SUCCESS").unlink()
    shutil.copytree(finished / "evaluator", given)
    taken = start(command(output, "--evaluator", str(given)))
    assert taken.returncode == 0, taken.stderr
    assert_same(
        {name: digest for name, digest in digests(output).items() if name.startswith(("documents", "rejected"))},
        {name: digest for name, digest in digests(finished).items() if name.startswith(("documents", "rejected"))},
    )
    key = given / "round-1" / "fold-1" / "trained_on.json"
    key.write_bytes(orjson.dumps({**orjson.loads(key.read_bytes()), "fold_left_out": "fold-0"}))
    refused = start(command(tmp_path / "out2", "--evaluator", str(given)))
    assert refused.returncode == 2
    assert "--evaluator-is-external" in refused.stderr
    external = start(command(output, "--evaluator", str(given), "--evaluator-is-external"))
    assert external.returncode == 0, external.stderr
    assert orjson.loads((output / "report.json").read_bytes())["rounds"][0]["external"] is True


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--train-only", "--score-only"), "cannot be given together"),
        (("--sample-only", "--train-only"), "cannot be given together"),
        (("--evaluator-is-external",), "--evaluator, which is not given"),
        (
            ("--train-only", "--until", "ingest"),
            "--train-only stops within self-cleaning, and --until ingest before it",
        ),
    ],
)
def test_options_that_contradict_are_refused(
    tmp_path: Path, command: Command, options: tuple[str, ...], complaint: str
) -> None:
    """The mistake is named before anything is read."""
    done = start(command(tmp_path / "out", *options))
    assert done.returncode == 2
    assert complaint in done.stderr


def test_what_cannot_be_done_is_refused_before_any_work(tmp_path: Path, command: Command, settings: Path) -> None:
    """Judges for no round are; a GPU that is not there is noted, since judges may be trained already."""
    (tmp_path / "none.toml").write_text(settings.read_text().replace("rounds = 2", "rounds = 0"))
    for_nothing = start(command(tmp_path / "out", "--evaluator", "judges", config=tmp_path / "none.toml"))
    assert for_nothing.returncode == 2
    assert for_nothing.stderr == "error: --evaluator needs self_clean.rounds of at least 1\n"
    (tmp_path / "cuda.toml").write_text(settings.read_text().replace("[evaluator]", '[evaluator]\ndevice = "cuda"'))
    if not torch.cuda.is_available():
        nowhere = start(command(tmp_path / "out", "--dry-run", config=tmp_path / "cuda.toml"))
        assert nowhere.returncode == 0
        assert "note: [evaluator] device is 'cuda', and torch finds no GPU here" in nowhere.stdout
    assert not (tmp_path / "out").exists()


def test_what_pairs_of_models_would_add_is_measured_on_the_run(
    finished: Path, tmp_path: Path, story: Callable[[int], str]
) -> None:
    """A judge that is trained again says what it said; each contrast is one more signal of the same anchors."""
    good = tmp_path / "good.jsonl"
    good.write_bytes(b"".join(orjson.dumps({"text": story(seed), "source": f"{seed}"}) + b"\n" for seed in range(60)))
    at = contrasts.read_at(finished, str(tmp_path))
    seed = at.run.config.self_clean.seed + at.run.round  # of its judges
    again = partial(contrasts.trained, evaluator=at.run.config.evaluator, seed=seed)
    tried: list[contrasts.Contrast] = [("again", again, np.subtract), *contrasts.contrasts(at, str(good))]
    signals = {one[0]: contrasts.measured_by(at, one) for one in tried}
    for language, one in at.run.measured.items():
        for name, rows in signals.items():
            assert rows[language].id == one.id
            assert np.array_equal(rows[language].signals[:, :-1], one.signals, equal_nan=True)
            assert (rows[language].signals[:, -1] != 0).any() == (name != "again")
        assert (signals["disagreement of two seeds"][language].signals[:, -1] >= 0).all()

"""Evaluators that are given: where the weights of a round come from, and what is refused before any work."""

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest

from model.checkpoint import save_model
from model.config import TransNormerConfig
from model.transnormer import TransNormer
from pipeline.config import ConfigError, SelfClean
from pipeline.run import main
from pipeline.self_clean.evaluators import KEY, TrainingKey
from pipeline.self_clean.given import check_given, check_keys, given_weights
from pipeline.self_clean.judges import EVALUATOR_TOKENIZER
from tokenizer.encode import Tokenizer
from tokenizer.train import train

TOLD = TrainingKey("a" * 16, 2, 1, 800)
SETTINGS = SelfClean(rounds=5)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make what a run of two rounds and folds publishes of its evaluators, as they begin."""
    folder = tmp_path_factory.mktemp("given")
    tokenizer = train(["the river and the mountain"] * 50, 290)
    (folder / EVALUATOR_TOKENIZER).write_bytes(tokenizer)
    read = Tokenizer(tokenizer)
    sizes = TransNormerConfig(
        vocab_size=read.vocab_size, eos=read.end_of_document, width=16, layers=1, heads=2, hidden=16
    )
    for number in (1, 2):
        for fold in range(2):
            place = folder / f"round-{number}/fold-{fold}"
            save_model(place, TransNormer(sizes, seed=2 * number + fold))
            told = {**asdict(TOLD), "fold_left_out": f"fold-{fold}", "tokens_by_language": {"en": 7}}
            (place / KEY).write_bytes(orjson.dumps(told))
    return folder


@pytest.fixture
def given(made: Path, tmp_path: Path) -> Path:
    """Return a copy to break."""
    return shutil.copytree(made, tmp_path / "given")


def test_given_weights_are_found_by_round(made: Path) -> None:
    """A round beyond those that are there takes the last one's; without a folder every fold is trained."""
    for number, wanted in ((1, 1), (2, 2), (5, 2)):
        assert given_weights(str(made), number, 2) == [f"{made}/round-{wanted}/fold-{k}" for k in (0, 1)]
    assert given_weights("", 1, 3) == ["", "", ""]


def test_a_runs_evaluators_are_taken(given: Path) -> None:
    """By a run of its settings, whatever its rounds; where they say nothing, as external ones."""
    check_given(str(given), SETTINGS, external=False)
    for path in given.glob(f"*/*/{KEY}"):
        path.unlink()
    check_given(str(given), SETTINGS, external=True)
    with pytest.raises(ConfigError, match=f"no count in a {KEY}.*--evaluator-is-external"):
        check_given(str(given), SETTINGS, external=False)


@pytest.mark.parametrize(
    "missing", [EVALUATOR_TOKENIZER, "round-1/fold-1/model.safetensors", "round-2/fold-0/config.json"]
)
def test_missing_files_are_named(given: Path, missing: str) -> None:
    """Weights of some folds only, without their sizes or their tokenizer, are refused."""
    (given / missing).unlink()
    with pytest.raises(ConfigError, match=f"holds no .*{missing}"):
        check_given(str(given), SETTINGS, external=True)


def test_an_output_folder_is_not_its_evaluators(made: Path, tmp_path: Path) -> None:
    """Who names OUT reads where in it the evaluators are."""
    shutil.copytree(made, tmp_path / "out/evaluator")
    with pytest.raises(ConfigError, match=f"holds no {EVALUATOR_TOKENIZER}; {tmp_path}/out/evaluator does"):
        check_given(f"{tmp_path}/out", SETTINGS, external=True)


def test_one_judge_under_two_names_is_refused(given: Path) -> None:
    """The same weights for two folds always agree, so that no language would fail the test of agreement."""
    shutil.copy(given / "round-1/fold-0/model.safetensors", given / "round-1/fold-1/model.safetensors")
    with pytest.raises(ConfigError, match="hold the same weights"):
        check_given(str(given), SETTINGS, external=True)


def changed(**values: Any) -> Callable[[bytes], bytes]:
    """Return what changes values of a JSON file."""
    return lambda content: orjson.dumps({**orjson.loads(content), **values})


BROKEN: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "tokenizer": (EVALUATOR_TOKENIZER, lambda _: b"none", f"{EVALUATOR_TOKENIZER}: not a SentencePiece model"),
    "cut off weights": ("round-2/fold-1/model.safetensors", lambda content: content[:-1], "Error while deserializing"),
    "no weights": ("round-1/fold-1/model.safetensors", lambda _: b"{}", "Error while deserializing"),
    "sizes": ("round-1/fold-1/config.json", lambda _: b"{", "round-1/fold-1/config.json: "),
    "other sizes": ("round-1/fold-1/config.json", changed(depth=3), "unknown key config.depth"),
    "pieces": (
        "round-1/fold-1/config.json",
        changed(vocab_size=999),
        "is a model of 999 pieces, and tokenizer.model has",
    ),
    "key": (f"round-1/fold-1/{KEY}", lambda _: b"{", f"round-1/fold-1/{KEY}: "),
    "list": (f"round-1/fold-1/{KEY}", lambda _: b"[]", f"round-1/fold-1/{KEY} is not what a run writes"),
    "tokens": (f"round-1/fold-1/{KEY}", changed(tokens_by_language=["en"]), "is not what a run writes"),
    "count of tokens": (f"round-1/fold-1/{KEY}", changed(tokens_by_language={"en": "7"}), "is not what a run writes"),
    "folds": (f"round-2/fold-1/{KEY}", changed(count=3), "without fold 1 (count is 3 there and 2 here)"),
    "seed": (f"round-1/fold-1/{KEY}", changed(seed=2), "without fold 1 (seed is 2 there and 1 here)"),
    "anchors": (f"round-1/fold-1/{KEY}", changed(anchor_documents=9), "(anchor_documents is 9 there and 800 here)"),
    "fold": (f"round-1/fold-1/{KEY}", changed(fold_left_out="fold-0"), "(fold_left_out is 'fold-0' there and 'fold-1'"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_cannot_be_used_is_said_before_any_work(
    given: Path, tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run says in a line what is wrong and leaves no folder; of external weights nobody asks what they saw."""
    name, change, said = BROKEN[what]
    (given / name).write_bytes(change((given / name).read_bytes()))
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}')
    config = tmp_path / "c.toml"
    config.write_text("[self_clean]\nrounds = 2\n")
    line = ["--config", str(config), "--input", f"{tmp_path}/a.jsonl", "--output", f"{tmp_path}/out"]
    assert main([*line, "--evaluator", str(given)]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "out").exists()
    if "there and" in said:
        check_given(str(given), SETTINGS, external=True)
    else:
        with pytest.raises(ConfigError):
            check_given(str(given), SETTINGS, external=True)


def test_given_weights_must_say_that_they_left_the_fold_out(tmp_path: Path) -> None:
    """Weights without a key, of other folds, or of the other fold are refused with what to do; no weights are none."""
    key = asdict(TOLD)
    check_keys(["", ""], key)
    with pytest.raises(ConfigError, match="--evaluator-is-external"):
        check_keys([str(tmp_path)], key)
    told = {**key, "fold_left_out": "fold-0", "shards": []}
    (tmp_path / KEY).write_bytes(orjson.dumps(told))
    check_keys([str(tmp_path)], key)
    with pytest.raises(ConfigError, match="without fold 1"):
        check_keys(["", str(tmp_path)], key)
    (tmp_path / KEY).write_bytes(orjson.dumps({**told, "folds": "b" * 16}))
    with pytest.raises(ConfigError, match="without fold 0"):
        check_keys([str(tmp_path)], key)

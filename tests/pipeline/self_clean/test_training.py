"""Where the weights of a round come from."""

from typing import Any

import pytest

from pipeline.config import ConfigError
from pipeline.self_clean.judges import EVALUATOR_TOKENIZER
from pipeline.self_clean.training import given_weights
from pipeline.storage import join, write_json


def weights(folder: str, rounds: int, folds: int = 2) -> None:
    """Write what stands for trained evaluators."""
    write_json(join(folder, EVALUATOR_TOKENIZER), {})
    for number in range(1, rounds + 1):
        for fold in range(folds):
            write_json(join(folder, f"round-{number}", f"fold-{fold}", "model.safetensors"), {"of": [number, fold]})


def test_given_weights_are_found_by_round(tmp_path: Any) -> None:
    """A round beyond those that are there takes the last one's; without a folder every fold is trained."""
    folder = str(tmp_path)
    weights(folder, 2)
    for number, wanted in ((1, 1), (2, 2), (5, 2)):
        assert given_weights(folder, number, 2) == [join(folder, f"round-{wanted}", f"fold-{k}") for k in (0, 1)]
    assert given_weights("", 1, 3) == ["", "", ""]


@pytest.mark.parametrize(
    "missing", [EVALUATOR_TOKENIZER, "round-1/fold-1/model.safetensors", "round-2/fold-0/model.safetensors"]
)
def test_missing_weights_are_named(tmp_path: Any, missing: str) -> None:
    """Weights of some folds only, or without their tokenizer, are refused."""
    weights(str(tmp_path), 2)
    (tmp_path / missing).unlink()
    with pytest.raises(ConfigError, match="holds no"):
        given_weights(str(tmp_path), 2, 2)


def test_one_judge_under_two_names_is_refused(tmp_path: Any) -> None:
    """The same weights for two folds always agree, so that no language would fail the test of agreement."""
    weights(str(tmp_path), 1)
    for fold in range(2):
        write_json(join(str(tmp_path), "round-1", f"fold-{fold}", "model.safetensors"), {"of": "both"})
    with pytest.raises(ConfigError, match="hold the same weights"):
        given_weights(str(tmp_path), 1, 2)

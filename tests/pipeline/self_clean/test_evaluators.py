"""Weights that are given."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.config import ConfigError
from pipeline.self_clean.evaluators import (
    KEY,
    WEIGHTS,
    TrainingKey,
    check_keys,
    checksums,
)


def test_given_weights_must_say_that_they_left_the_fold_out(tmp_path: Path) -> None:
    """Weights without a key, of other folds, or of the other fold are refused with what to do; no weights are none."""
    key = TrainingKey("a" * 16, 2, 1, 400)
    check_keys(["", ""], key)
    with pytest.raises(ConfigError, match="--evaluator-is-external"):
        check_keys([str(tmp_path)], key)
    told = {**asdict(key), "fold_left_out": "fold-0", "shards": []}
    (tmp_path / KEY).write_bytes(orjson.dumps(told))
    check_keys([str(tmp_path)], key)
    with pytest.raises(ConfigError, match="without fold 1"):
        check_keys(["", str(tmp_path)], key)
    wrongs: tuple[dict[str, Any], ...] = ({"folds": "b" * 16}, {"count": 3}, {"seed": 2}, {"anchor_documents": 500})
    for wrong in wrongs:
        (tmp_path / KEY).write_bytes(orjson.dumps({**told, **wrong}))
        with pytest.raises(ConfigError, match="without fold 0"):
            check_keys([str(tmp_path)], key)


def test_given_weights_are_all_their_files(tmp_path: Path) -> None:
    """A changed configuration or key is another evaluator, as changed weights are."""
    for name in WEIGHTS:
        (tmp_path / name).write_bytes(b"1")
    found = [checksums(str(tmp_path))]
    for name in (*WEIGHTS, KEY):
        (tmp_path / name).write_bytes(b"2")
        found.append(checksums(str(tmp_path)))
    assert len({tuple(one) for one in found}) == 4

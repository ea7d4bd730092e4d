"""Given evaluators: where those of a round are under --evaluator, and whether they can be used."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from safetensors import SafetensorError, safe_open

from model.config import model_config
from pipeline import storage
from pipeline.config import ConfigError, SelfClean
from pipeline.self_clean.evaluators import KEY, WEIGHTS, load_tokenizer, read_key
from pipeline.self_clean.judges import EVALUATOR_TOKENIZER
from pipeline.storage import exists, join


def given_weights(folder: str, number: int, count: int) -> list[str]:
    """Return the folder of each fold's weights for a round under --evaluator, or empty strings to train.

    A round beyond those that are there takes the last one's. Raises ConfigError where a file is missing.
    """
    if not folder:
        return [""] * count
    found: list[str] = []
    for one in range(1, number + 1):
        paths = [join(folder, f"round-{one}", f"fold-{k}") for k in range(count)]
        files = [join(path, name) for path in paths for name in WEIGHTS]
        there = [exists(file) for file in files]
        if found and not any(there):
            break
        if not all(there):
            raise ConfigError(f"--evaluator {folder} holds no {files[there.index(False)]}")
        found = paths
    return found


def check_given(folder: str, settings: SelfClean, *, external: bool) -> None:
    """Raise ConfigError for evaluators that a round could not use, as far as that can be seen before any work."""
    if not exists(join(folder, EVALUATOR_TOKENIZER)):
        inside = join(folder, "evaluator")  # an output folder was named
        hint = f"; {inside} does" if exists(join(inside, EVALUATOR_TOKENIZER)) else ""
        raise ConfigError(f"--evaluator {folder} holds no {EVALUATOR_TOKENIZER}{hint}")
    pieces = _pieces(join(folder, EVALUATOR_TOKENIZER))
    wanted = {"count": settings.folds, "seed": settings.seed, "anchor_documents": settings.anchor_documents}
    rounds = (tuple(given_weights(folder, 1 + n, settings.folds)) for n in range(settings.rounds))
    for given in dict.fromkeys(rounds):
        for one in given:
            _check_model(one, pieces)
            _told(one)
        _check_differ(given)
        if not external:
            check_keys(given, wanted)


def _pieces(path: str) -> int:
    """Return how many pieces a tokenizer has."""
    try:
        return load_tokenizer(path).vocab_size
    except ValueError as error:
        raise ConfigError(f"--evaluator: {path}: {error}") from error


def _check_model(folder: str, pieces: int) -> None:
    """Raise ConfigError for what is no model of a tokenizer of so many pieces; weights are opened and not read."""
    with storage.on_disk(folder, WEIGHTS) as here:
        at = WEIGHTS[0]
        try:
            with safe_open(here / at, "numpy"):
                at = WEIGHTS[1]
                config = model_config(orjson.loads((here / at).read_bytes()))
        except (ValueError, SafetensorError) as error:
            raise ConfigError(f"--evaluator: {join(folder, at)}: {error}") from error
    if config.vocab_size != pieces:
        raise ConfigError(
            f"--evaluator: {folder} is a model of {config.vocab_size} pieces, and {EVALUATOR_TOKENIZER} has {pieces}"
        )


def _check_differ(folders: Sequence[str]) -> None:
    """Raise ConfigError where two folds have the same weights: such judges always agree, which says nothing."""
    by_sum: dict[str, str] = {}
    for folder in folders:
        other = by_sum.setdefault(storage.checksum(join(folder, WEIGHTS[0])), folder)
        if other != folder:
            raise ConfigError(
                f"--evaluator: {other} and {folder} hold the same weights; each fold needs a judge of its own, whose "
                "agreement with the other tells which languages can be judged"
            )


def check_keys(given: Sequence[str], wanted: Mapping[str, Any]) -> None:
    """Raise ConfigError where given weights do not say that they were trained on the folds of this corpus.

    `wanted` holds what they must say as a TrainingKey does, or the part of it that is known.
    """
    for number, folder in enumerate(given):
        if not folder:
            continue
        told = _told(folder)
        for name, value in {**wanted, "fold_left_out": f"fold-{number}"}.items():
            if told.get(name) != value:
                said = f"{name} is {told[name]!r} there and {value!r} here" if name in told else f"no {name} in a {KEY}"
                raise ConfigError(
                    f"--evaluator: {folder} does not say that it was trained on this corpus without fold {number} "
                    f"({said}), so it may have seen what it is to judge; where it has not, add "
                    "--evaluator-is-external"
                )


def _told(folder: str) -> dict[str, Any]:
    """Return what weights say that they were trained on; nothing where they do not say. Raises ConfigError."""
    try:
        found = read_key(folder)
    except ValueError as error:
        raise ConfigError(f"--evaluator: {error}") from error
    seen = found.get("tokens_by_language", {})
    if not isinstance(seen, dict) or not all(type(count) is int for count in seen.values()):
        raise ConfigError(
            f"--evaluator: {join(folder, KEY)} is not what a run writes beside an evaluator that it trained"
        )
    return found

"""What a model and its training are configured by, without importing torch."""

import math
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

T = TypeVar("T", "TransNormerConfig", "TrainingConfig")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransNormerConfig:
    """Sizes of a TransNormerLLM.

    Raises ValueError naming the field, its value and what is allowed.
    """

    vocab_size: int
    eos: int  # id of the end-of-document token; the first token of a document is predicted from it
    width: int = 96
    layers: int = 3
    heads: int = 4  # each of width / heads
    hidden: int = 256  # of the channel mixer (SGLU)
    tie_embeddings: bool = False  # as in the released code
    initial_std: float = 0.02  # of every weight, as in the released code for a width of 1024

    def __post_init__(self) -> None:
        """Refuse sizes that make no model."""
        for name in ("vocab_size", "width", "layers", "heads", "hidden"):
            _require(self, name, getattr(self, name) >= 1, "at least 1")
        _require(self, "eos", 0 <= self.eos < self.vocab_size, f"an id below vocab_size = {self.vocab_size}")
        _require(self, "initial_std", 0 < self.initial_std < math.inf, "above 0 and finite")
        _require(self, "heads", self.width % self.heads == 0, f"a divisor of width = {self.width}")


def evaluator(vocab_size: int, eos: int) -> TransNormerConfig:
    """Return the sizes of a judge that CPU cores train in minutes: 1,932,384 parameters at 8,192 pieces.

    A tied head would save 0.8 million of them and no time, but it learns later: after 0.4 million tokens of a
    mixed corpus the validation loss was 7.60 tied and 7.24 untied. The weights start as wide, relative to the
    width, as in the released model of width 1024: 0.02 (1024 / 96)^(1/2); after 0.2 million tokens 7.53
    against 7.62 nats.
    """
    return TransNormerConfig(vocab_size=vocab_size, eos=eos, initial_std=0.06)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How a model is trained; the defaults are tuned for about a million parameters on two CPU cores.

    Raises ValueError naming the field, its value and what is allowed.
    """

    tokens: int = 2_000_000  # budget: predicted tokens, rounded up to whole steps
    context_length: int = 512  # tokens in a row
    batch: int = 4  # rows in a step; 8 are no faster on a CPU and take half the steps
    learning_rate: float = 8e-3  # peak; 0.2 million tokens end at 7.39 nats in validation, 3e-3 at 7.53
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_fraction: float = 0.05  # of the steps, linear from 0
    final_fraction: float = 0.1  # of the peak, where the cosine ends
    weight_decay: float = 0.1  # of matrices; of "Scaling Laws for Linear Complexity Language Models", 3.2
    beta1: float = 0.9  # AdamW
    beta2: float = 0.95  # AdamW
    clip: float = 1.0  # largest norm of the gradient
    precision: Literal["fp32", "bf16"] = "fp32"  # bf16 by autocast; slower on a CPU without its instructions
    seed: int = 0  # of the weights and the order of documents
    threads: int = 2  # changes the rounding, so it belongs to what a run is
    log_steps: int = 10
    checkpoint_seconds: float = 60.0  # between checkpoints, at most one a step
    checkpoint_steps: int = 0  # and after every so many steps; 0: by the clock alone
    validation_steps: int = 0  # 0: only after the last step
    validation_tokens: int = 100_000  # at most, the same ones each time

    def __post_init__(self) -> None:
        """Refuse values that train nothing."""
        for name in ("tokens", "context_length", "batch", "threads", "log_steps", "validation_tokens"):
            _require(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("learning_rate", "clip"):
            _require(self, name, 0 < getattr(self, name) < math.inf, "above 0 and finite")
        for name in ("weight_decay", "validation_steps", "checkpoint_seconds", "checkpoint_steps", "seed"):
            _require(self, name, getattr(self, name) >= 0, "at least 0")
        for name in ("warmup_fraction", "final_fraction", "beta1", "beta2"):
            _require(self, name, 0 <= getattr(self, name) < 1, "a fraction from 0 up to but without 1")
        _require(self, "schedule", self.schedule in {"cosine", "constant"}, "'cosine' or 'constant'")
        _require(self, "precision", self.precision in {"fp32", "bf16"}, "'fp32' or 'bf16'")

    @property
    def steps(self) -> int:
        """Return the number of optimizer steps that the token budget buys."""
        return -(-self.tokens // (self.batch * self.context_length))


def _require(config: object, name: str, allowed: bool, what: str) -> None:
    if not allowed:
        raise ValueError(f"{name} must be {what}, got {getattr(config, name)!r}")


def read_config(path: str | Path | None, vocab_size: int, eos: int) -> tuple[TransNormerConfig, TrainingConfig]:
    """Read the tables [model] and [training] of a TOML file, or take every default for None.

    The tokens' own facts, vocab_size and eos, come from the shards and may not stand in the file. Raises
    ValueError with one line that names the file, the key and what is allowed.
    """
    try:
        tables = {} if path is None else tomllib.loads(Path(path).read_text(encoding="utf-8"))
        for name in tables:
            _require_known(name, ("model", "training"))
        model = _build(TransNormerConfig, tables.get("model", {}), "model", vocab_size=vocab_size, eos=eos)
        return model, _build(TrainingConfig, tables.get("training", {}), "training")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _build(kind: type[T], table: object, name: str, **given: Any) -> T:
    types: dict[str, Any] = {field.name: field.type for field in fields(kind) if field.name not in given}
    if not isinstance(table, dict):
        raise ValueError(f"{name} must be a table, [{name}], got {table!r}")  # noqa: TRY004 - the user's mistake
    for key, value in table.items():
        _require_known(f"{name}.{key}", tuple(f"{name}.{known}" for known in types))
        if not _is_a(value, types[key]):
            raise ValueError(f"{name}.{key} must be {_described(types[key])}, got {value!r}")
    try:
        return kind(**given, **table)
    except ValueError as error:
        raise ValueError(f"{name}.{error}") from None


def _is_a(value: object, kind: Any) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    return isinstance(value, (int, float) if kind is float else kind if kind is int else str)


def _described(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false"}
    return names.get(kind) or " or ".join(map(repr, get_args(kind)))


def _require_known(key: str, known: tuple[str, ...]) -> None:
    if key not in known:
        raise ValueError(f"unknown key {key}; known keys here: {', '.join(known)}")

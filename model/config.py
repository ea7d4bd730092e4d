"""What a model and its training are configured by, without importing torch."""

import math
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

T = TypeVar("T", "TransNormerConfig", "TrainingConfig")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransNormerConfig:
    """Sizes and choices of a TransNormerLLM; every default is the published model's.

    Raises ValueError naming the field, its value and what is allowed.
    """

    vocab_size: int
    eos: int  # id of the end-of-document token; the first token of a document is predicted from it
    width: int = 96
    layers: int = 3
    heads: int = 4  # each of width / heads
    hidden: int = 256  # of the channel mixer (SGLU)
    norm: Literal["srms", "rms", "layer"] = "srms"  # arXiv:2405.17381, table 7: 4.770, 4.766, 4.765 perplexity
    decay: Literal["released", "linear", "none"] = "released"  # slopes of the weights; the paper's equation 10; 0
    lrpe: Literal["first", "all", "none"] = "first"  # layers that turn q and k by position; table 4
    learn_theta: bool = True  # LRPE's angles; false: as they start
    gate: bool = True  # table 6
    scale_embedding: bool = True  # by the square root of the width, as in the released code
    tie_embeddings: bool = False  # as in the released code
    initial_std: float = 0.02  # of every weight, as in the released code for a width of 1024

    def __post_init__(self) -> None:
        """Refuse sizes that make no model."""
        for name in ("vocab_size", "width", "layers", "heads", "hidden"):
            _require(self, name, getattr(self, name) >= 1, "at least 1")
        _require(self, "eos", 0 <= self.eos < self.vocab_size, f"an id below vocab_size = {self.vocab_size}")
        _require(self, "initial_std", 0 < self.initial_std < math.inf, "above 0 and finite")
        _require(self, "heads", self.width % self.heads == 0, f"a divisor of width = {self.width}")
        _require(self, "norm", self.norm in {"srms", "rms", "layer"}, "'srms', 'rms' or 'layer'")
        _require(self, "decay", self.decay in {"released", "linear", "none"}, "'released', 'linear' or 'none'")
        _require(self, "lrpe", self.lrpe in {"first", "all", "none"}, "'first', 'all' or 'none'")

    @property
    def parameters(self) -> int:
        """Return the number of weights that are learnt, a tied one counted once."""
        per_norm = {"srms": 0, "rms": 1, "layer": 2}[self.norm] * self.width
        turned = {"first": 1, "all": self.layers, "none": 0}[self.lrpe] * self.learn_theta
        attention = (5 if self.gate else 4) * self.width**2 + per_norm
        mixer = 3 * self.width * self.hidden
        ends = (1 if self.tie_embeddings else 2) * self.vocab_size * self.width + per_norm
        return self.layers * (attention + mixer + 2 * per_norm) + turned * self.width + ends


# HF: configuration of the released modelling code. Scaling: "Scaling Laws for Linear Complexity Language Models".
# A field marked assumed has no source that could be read. Counts are with untied heads unless said; the published
# vocabularies are 64,000 (HF; assumed for 7B) and 100,280 pieces (Scaling; the 15B's README names that tokenizer).
SIZES: dict[str, dict[str, Any]] = {
    # Ours, for scoring with 8,192 pieces; initial_std is 0.02 (1024 / width)^(1/2), as wide as the released model's.
    "1M": {"width": 96, "layers": 2, "heads": 3, "hidden": 256, "tie_embeddings": True, "initial_std": 0.065},
    "4M": {"width": 128, "layers": 8, "heads": 4, "hidden": 384, "initial_std": 0.057},
    # Deep and thin: the head is then a tenth of the work, and at this size depth learns more (arXiv:2402.14905).
    "15M": {"width": 192, "layers": 24, "heads": 6, "hidden": 576, "initial_std": 0.046},
    "385M": {  # 464,520,192 parameters; 333,448,192 without embedding and head
        "width": 1024,  # HF
        "layers": 24,  # HF
        "heads": 8,  # HF
        "hidden": 2816,  # HF
    },
    "1B": {  # 1,289,528,832 parameters; 981,468,672 without embedding and head
        "width": 1536,  # Scaling, table 2
        "layers": 32,  # Scaling, table 2
        "heads": 16,  # Scaling, table 2, which also says that heads are 128 wide: that would be 12
        "hidden": 4096,  # Scaling, table 1: a channel mixer of 8 width^2
    },
    "7B": {  # 7,193,235,456 parameters
        "width": 4096,  # assumed: heads of 128, as in 385M and 15B
        "layers": 30,  # an explainer of arXiv:2307.14995, section 2.2
        "heads": 32,  # the same
        "hidden": 11264,  # assumed: 2.75 width, as in 385M
    },
    "15B": {  # 14,830,720,000 parameters
        "width": 5120,  # README of TransNormerLLM3-15B
        "layers": 42,  # the same
        "heads": 40,  # the same
        "hidden": 12864,  # assumed: gives the README's 14.83 billion parameters with a gate of full rank
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How a model is trained; the defaults are tuned for about a million parameters on two CPU cores.

    Raises ValueError naming the field, its value and what is allowed.
    """

    tokens: int = 2_000_000  # budget: predicted tokens, rounded up to whole steps
    context_length: int = 512  # tokens in a row
    batch: int = 4  # rows in a step, of all processes; 8 are no faster on a CPU and take half the steps
    accumulation: int = 1  # parts of a process's rows that run one after the other, for less memory
    learning_rate: float = 8e-3  # peak; 0.2 million tokens end at 7.39 nats in validation, 3e-3 at 7.53
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_fraction: float = 0.05  # of the steps, linear from 0
    final_fraction: float = 0.1  # of the peak, where the cosine ends
    weight_decay: float = 0.1  # of matrices; of "Scaling Laws for Linear Complexity Language Models", 3.2
    beta1: float = 0.9  # AdamW
    beta2: float = 0.95  # AdamW
    clip: float = 1.0  # largest norm of the gradient
    precision: Literal["fp32", "bf16"] = "fp32"  # bf16 by autocast; slower on a CPU without its instructions
    recompute: bool = False  # activation checkpointing: each layer runs again in the backward pass; less memory
    device: Literal["cpu", "cuda"] = "cpu"  # only the CPU gives the same bits again
    tensor_parallel: int = 1  # processes that share each layer; all the others share rows and weights (FSDP2)
    seed: int = 0  # of the weights and the order of documents
    threads: int = 2  # changes the rounding, so it belongs to what a run is
    log_steps: int = 10
    checkpoint_seconds: float = 60.0  # between checkpoints, at most one a step
    checkpoint_steps: int = 0  # and after every so many steps; 0: by the clock alone
    validation_steps: int = 0  # 0: only after the last step
    validation_tokens: int = 100_000  # at most, the same ones each time

    def __post_init__(self) -> None:
        """Refuse values that train nothing."""
        for name in ("tokens", "context_length", "batch", "accumulation", "tensor_parallel"):
            _require(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("threads", "log_steps", "validation_tokens"):
            _require(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("learning_rate", "clip"):
            _require(self, name, 0 < getattr(self, name) < math.inf, "above 0 and finite")
        for name in ("weight_decay", "validation_steps", "checkpoint_seconds", "checkpoint_steps", "seed"):
            _require(self, name, getattr(self, name) >= 0, "at least 0")
        for name in ("warmup_fraction", "final_fraction", "beta1", "beta2"):
            _require(self, name, 0 <= getattr(self, name) < 1, "a fraction from 0 up to but without 1")
        _require(self, "schedule", self.schedule in {"cosine", "constant"}, "'cosine' or 'constant'")
        _require(self, "precision", self.precision in {"fp32", "bf16"}, "'fp32' or 'bf16'")
        _require(self, "device", self.device in {"cpu", "cuda"}, "'cpu' or 'cuda'")
        _require(self, "accumulation", self.batch % self.accumulation == 0, f"a divisor of batch = {self.batch}")

    @property
    def steps(self) -> int:
        """Return the number of optimizer steps that the token budget buys."""
        return -(-self.tokens // (self.batch * self.context_length))


def require_processes(processes: int, model: TransNormerConfig, training: TrainingConfig) -> None:
    """Refuse, with ValueError, a number of processes that the model's layers and a step's rows do not share evenly."""
    each = training.tensor_parallel
    shared = {"the number of processes": processes, "model.heads": model.heads, "model.hidden": model.hidden}
    for what, count in shared.items():
        if count % each:
            raise ValueError(f"training.tensor_parallel must be a divisor of {what} = {count}, got {each}")
    parts = processes // each * training.accumulation
    if training.batch % parts:
        raise ValueError(
            f"training.batch must be a multiple of {parts}, the processes that share rows times accumulation, "
            f"got {training.batch}"
        )


def _require(config: object, name: str, allowed: bool, what: str) -> None:
    if not allowed:
        raise ValueError(f"{name} must be {what}, got {getattr(config, name)!r}")


def read_config(path: str | Path | None, vocab_size: int, eos: int) -> tuple[TransNormerConfig, TrainingConfig]:
    """Read the tables [model] and [training] of a TOML file, or take every default for None.

    In [model], `size` takes the fields of a named size, before those that stand beside it. The tokens' own
    facts, vocab_size and eos, come from the shards and may not stand in the file. Raises ValueError with one
    line that names the file, the key and what is allowed.
    """
    try:
        tables = {} if path is None else tomllib.loads(Path(path).read_text(encoding="utf-8"))
        for name in tables:
            _require_known(name, ("model", "training"))
        sizes = _sized(tables.get("model", {}))
        model = _build(TransNormerConfig, sizes, "model", vocab_size=vocab_size, eos=eos)
        return model, _build(TrainingConfig, tables.get("training", {}), "training")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def model_config(values: object) -> TransNormerConfig:
    """Return the configuration with these fields, at least vocab_size and eos. Raises ValueError naming the field."""
    try:
        return _build(TransNormerConfig, values, "config")
    except TypeError:
        raise ValueError("config.vocab_size or config.eos is missing") from None


def _sized(table: object) -> object:
    if not isinstance(table, dict) or "size" not in table:
        return table
    rest = {key: value for key, value in table.items() if key != "size"}
    if table["size"] not in list(SIZES):
        raise ValueError(f"model.size must be one of {', '.join(SIZES)}, got {table['size']!r}")
    return SIZES[table["size"]] | rest


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

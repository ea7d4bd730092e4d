"""The training loop: steps, log, validation, checkpoints, and going on after a kill to the same bits.

What a step is does not depend on how many processes there are, and neither does a checkpoint: it holds whole
weights, whoever wrote it.
"""

import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import torch
from torch import Tensor

from model.checkpoint import load_state, restore, save_model, save_state, shapes
from model.config import TrainingConfig, TransNormerConfig
from model.data import IGNORED, PackedTokens, Row
from model.determinism import deterministic
from model.parallel import agreed, gathered, joined, scattered, summed
from model.shards import Index
from model.step import Learner, columns, learner_of, learning_rate, require_finite, take_step
from model.transnormer import TransNormer
from model.whole_files import write_atomically

CHECKPOINT = "checkpoint.safetensors"
LARGEST_EXPONENT = 709  # nats whose exponential a float64 holds

Record = dict[str, int | float]


@dataclass(slots=True)
class Progress:
    """How far a run has come."""

    step: int = 0
    tokens: int = 0  # predicted
    seconds: float = 0.0  # over all starts
    nats: float = 0.0  # lost on these tokens


@dataclass(frozen=True, slots=True)
class Run:
    """A training run: who learns from which rows, how far it is, and where it goes."""

    output: Path
    learner: Learner
    rows: PackedTokens
    progress: Progress
    window: Progress  # since the last line of the log


def run(
    index: Index, output: Path, model: TransNormerConfig, training: TrainingConfig, say: Callable[[str], None]
) -> None:
    """Train from the last checkpoint in `output`, or from the start, to the end; see `model.train.train`."""
    if training.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("training.device is 'cuda', but torch finds no GPU here")
    bits = deterministic(training.threads) if training.device == "cpu" else nullcontext()
    with bits, joined(training) as grid:
        say = say if grid.rank == 0 else _silent
        rows = PackedTokens(index, context_length=training.context_length, seed=training.seed)
        state = Run(output, learner_of(TransNormer(model, training.seed), training, grid), rows, Progress(), Progress())
        say(_told(state, model))
        _resume(state, model, say)
        _finish(state, model, _loop(state, index, say))
        agreed(True, grid)  # nobody goes on to read the result before the first process has written it
    say(f"{output}: {state.progress.tokens:,} tokens in {state.progress.seconds:.0f} s")


def _told(run: Run, model: TransNormerConfig) -> str:
    count = sum(math.prod(shape) for shape in shapes(model).values())
    learnt = f"{count:,} parameters, {model.vocab_size:,} pieces, {run.learner.config.steps:,} steps"
    return f"{learnt} on {run.learner.config.device} → {run.output}"


def _silent(_: str) -> None:
    pass


def _loop(run: Run, index: Index, say: Callable[[str], None]) -> Record:
    """Learn to the end and return the log's last line: the file may by then be another attempt's."""
    progress, config, rows = run.progress, run.learner.config, iter(run.rows)
    saved = time.monotonic()
    kept = _kept_lines(run)
    record: Record = orjson.loads(kept[-1]) if kept else {}
    with _open_log(run, kept) as log:
        while progress.step < config.steps:
            started = time.monotonic()
            batch = list(islice(rows, config.batch))
            loss, count = take_step(run.learner, batch, progress.step)
            for counter in (progress, run.window):
                counter.step += 1
                counter.tokens += count
                counter.nats += loss * count
                counter.seconds += time.monotonic() - started
            if _due(progress.step, config.log_steps, config.steps) or _due(progress.step, config.validation_steps):
                record = _record(run) | _validated(run, index)
                log.write(orjson.dumps(record) + b"\n")
                log.flush()
                say(_line(record))
                _set(run.window, asdict(Progress()))
            late = time.monotonic() - saved >= config.checkpoint_seconds
            if agreed(_due(progress.step, config.checkpoint_steps) or late, run.learner.grid):
                _save(run)
                saved = time.monotonic()
    return record


def _due(step: int, every: int, last: int | None = None) -> bool:
    return step == last or (every > 0 and step % every == 0)


def _set(progress: Progress, values: Mapping[str, float]) -> None:
    for field, value in values.items():
        setattr(progress, field, value)


def _record(run: Run) -> Record:
    window = run.window
    return {
        "step": run.progress.step,
        "steps": run.learner.config.steps,
        "tokens": run.progress.tokens,
        "loss": window.nats / window.tokens,
        "seconds": round(run.progress.seconds, 3),
        "tokens_per_second": round(window.tokens / max(window.seconds, 1e-9)),
        "learning_rate": learning_rate(run.progress.step - 1, run.learner.config),
    }


def _line(record: Record) -> str:
    line = (
        f"step {record['step']}/{record['steps']}  {record['tokens']:,} tokens  loss {record['loss']:.4f}  "
        f"{record['tokens_per_second']:,} tokens/s"
    )
    if left := round(record["seconds"] / record["step"] * (record["steps"] - record["step"])):
        line += f"  {timedelta(seconds=left)} left"
    if "validation_loss" in record:
        line += f"  validation {record['validation_loss']:.4f}, perplexity {record['perplexity']:.2f}"
    return line


def _validated(run: Run, index: Index) -> Record:
    """Measure the validation loss where one is due and there are documents for it."""
    learner, config = run.learner, run.learner.config
    if not _due(run.progress.step, config.validation_steps, config.steps) or not index.split("validation"):
        return {}
    rows = PackedTokens(index, split="validation", context_length=config.context_length, epochs=1, shuffle=False)
    wanted = islice(rows, -(-config.validation_tokens // config.context_length))
    total = torch.zeros(2, dtype=torch.float64, device=config.device)
    with torch.no_grad():
        while batch := list(islice(wanted, config.batch)):
            total += _losses(learner, batch)
    nats, count = summed(total, learner.grid, "data").tolist()
    loss = nats / count
    require_finite("validation loss", loss, run.progress.step)
    return {"validation_loss": loss, "perplexity": math.exp(loss) if loss < LARGEST_EXPONENT else math.inf}


def _losses(learner: Learner, batch: Sequence[Row]) -> Tensor:
    """Return the summed loss of this process's rows of a batch and the number of tokens they predict, (2,)."""
    mine = batch[learner.grid.data :: learner.grid.data_size]
    # A process without a row must run too: the others gather their weights from it.
    tokens, targets, positions = columns(mine or batch[:1], learner.config.device)
    count = (targets != IGNORED).sum() * bool(mine)
    return torch.stack([learner.objective(tokens, targets, positions).double() * count, count.double()])


def _kept_lines(run: Run) -> list[bytes]:
    """Return the lines of the log up to the step that it goes on after, without one that was cut off."""
    step = run.progress.step
    if run.learner.grid.rank or not step:
        return []
    lines = (run.output / "log.jsonl").read_bytes().split(b"\n")[:-1]
    return [line for line in lines if orjson.loads(line)["step"] <= step]


def _open_log(run: Run, kept: Sequence[bytes]) -> BinaryIO:
    """Open the log to go on after these lines."""
    if run.learner.grid.rank:
        return io.BytesIO()
    path = run.output / "log.jsonl"
    write_atomically(path, b"".join(line + b"\n" for line in kept))
    return path.open("ab")


def _kinds(learner: Learner) -> dict[str, dict[str, Tensor]]:
    return {"model": learner.parts(), "mean": learner.moments.mean, "square": learner.moments.square}


def _save(run: Run) -> None:
    learner = run.learner
    whole = {kind: gathered(learner.weights, parts, learner.grid) for kind, parts in _kinds(learner).items()}
    tensors = {f"{kind}.{name}": tensor for kind, named in whole.items() for name, tensor in named.items()}
    if learner.grid.rank == 0:
        save_state(run.output / CHECKPOINT, tensors, _values(run))


def _values(run: Run) -> dict[str, Any]:
    return {"progress": asdict(run.progress), "window": asdict(run.window), "rows": run.rows.state_dict()}


def _resume(run: Run, model: TransNormerConfig, say: Callable[[str], None]) -> None:
    path, learner = run.output / CHECKPOINT, run.learner
    if not path.is_file():
        return
    wanted = {f"{kind}.{name}": shape for kind in _kinds(learner) for name, shape in shapes(model).items()}
    try:
        tensors, values = load_state(path, wanted)
    except ValueError as error:
        raise ValueError(f"{error}; without it training begins anew") from None
    for kind, parts in _kinds(learner).items():
        whole = {name: tensors[f"{kind}.{name}"] for name in parts}
        for name, part in scattered(learner.weights, whole, learner.grid).items():
            parts[name].copy_(part)
    if values.keys() != _values(run).keys():
        raise ValueError(f"{path} was written by another version: delete {run.output} to train anew")
    run.rows.load_state_dict(values["rows"])
    _set(run.progress, values["progress"])
    _set(run.window, values["window"])
    say(f"{run.output}: going on after step {run.progress.step} of {learner.config.steps}")


def _finish(run: Run, model: TransNormerConfig, last: Record) -> None:
    """Write the model, then the result that marks the run as finished, and drop the checkpoint."""
    whole = gathered(run.learner.weights, run.learner.parts(), run.learner.grid)
    if run.learner.grid.rank:
        return
    net = TransNormer(model)
    restore(net, whole)
    save_model(run.output, net)
    result = {name: last.get(name) for name in ("steps", "tokens", "loss", "validation_loss", "perplexity", "seconds")}
    result["parameters"] = sum(weight.numel() for weight in whole.values())
    write_atomically(run.output / "result.json", orjson.dumps(result, option=orjson.OPT_INDENT_2))
    (run.output / CHECKPOINT).unlink(missing_ok=True)

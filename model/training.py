"""The training loop: steps, log, validation, checkpoints, and going on after a kill to the same bits.

Every process reads all rows of a step and runs its share of them. So what a step is does not depend on how
many processes there are, and neither does a checkpoint: it holds whole weights, whoever wrote it.
"""

import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import orjson
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from model.adamw import Moments, update, zero_moments
from model.checkpoint import load_state, restore, save_model, save_state, write_atomically
from model.config import TrainingConfig, TransNormerConfig
from model.data import IGNORED, PackedTokens, Row
from model.determinism import deterministic
from model.loss import mean_loss, token_losses
from model.parallel import Grid, agreed, distribute, gathered, gradient_norm, joined, local, scattered, summed
from model.shards import Index
from model.transnormer import TransNormer

CHECKPOINT = "checkpoint.safetensors"

Record = dict[str, int | float]


@dataclass(slots=True)
class Progress:
    """How far a run has come."""

    step: int = 0
    tokens: int = 0  # predicted
    seconds: float = 0.0  # over all starts


class Objective(nn.Module):
    """The mean loss of packed rows under a model, as the one forward pass that FSDP2 wants a step to be."""

    def __init__(self, net: TransNormer, precision: str) -> None:
        super().__init__()
        self.net, self.precision = net, precision

    def forward(self, tokens: Tensor, targets: Tensor, positions: Tensor) -> Tensor:
        """Return nats per token, a scalar, of rows that lie one after the other: all (T,), see `model.data`."""
        starts = (positions == 0).nonzero()[:, 0]
        lengths = torch.cat([starts, starts.new_tensor([len(tokens)])])
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            hidden, _ = self.net.hidden(tokens[None], lengths=lengths)
        known = targets != IGNORED
        if torch.is_grad_enabled():
            return mean_loss(hidden[0].float(), self.net.head.weight, targets)
        return token_losses(hidden[0].float()[known], self.net.head.weight, targets[known]).double().mean()


@dataclass(frozen=True, slots=True)
class Learner:
    """A model in training and what a step changes."""

    objective: Callable[[Tensor, Tensor, Tensor], Tensor]  # tokens, targets, positions of rows -> their mean loss
    weights: Mapping[str, Tensor]  # by name, whose gradients the objective fills
    moments: Moments  # of this process's parts of the weights
    config: TrainingConfig
    grid: Grid

    def parts(self) -> dict[str, Tensor]:
        """Return this process's parts of the weights by name, as views."""
        return {name: local(weight, self.grid) for name, weight in self.weights.items()}


@dataclass(frozen=True, slots=True)
class Run:
    """A training run: who learns from which rows, how far it is, and where it goes."""

    output: Path
    learner: Learner
    rows: PackedTokens
    progress: Progress


def run(
    index: Index, output: Path, model: TransNormerConfig, training: TrainingConfig, say: Callable[[str], None]
) -> None:
    """Train from the last checkpoint in `output`, or from the start, to the end; see `model.train.train`."""
    if training.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("training.device is 'cuda', but torch finds no GPU here")
    bits = deterministic(training.threads) if training.device == "cpu" else nullcontext()
    with bits, joined(training) as grid:
        say = say if grid.rank == 0 else _silent
        rows = PackedTokens(index.folder, context_length=training.context_length, seed=training.seed)
        state = Run(output, _learner(TransNormer(model, training.seed), training, grid), rows, Progress())
        _resume(state, say)
        _loop(state, index, say)
        _finish(state, model)
        agreed(True, grid)  # nobody goes on to read the result before the first process has written it
    say(f"{output}: {state.progress.tokens:,} tokens in {state.progress.seconds:.0f} s")


def _silent(_: str) -> None:
    pass


def _learner(net: TransNormer, config: TrainingConfig, grid: Grid) -> Learner:
    """Prepare a model for training, of which this process keeps its part."""
    objective = Objective(net.to(config.device), config.precision)
    if config.recompute:
        for layer in net.layers:
            # In the instance: a wrapping module would change the names of the weights.
            again = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
            vars(layer)["forward"] = again
    distribute(objective, net, grid)
    weights = dict(net.named_parameters())
    moments = zero_moments({name: local(weight, grid) for name, weight in weights.items()})
    return Learner(objective, weights, moments, config, grid)


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Return the rate of a step, counted from 0: linear from 0 to the peak, then constant or half a cosine.

    The cosine (arXiv:1608.03983, without restarts) ends at `final_fraction` of the peak after the last step.
    """
    warmup = math.ceil(config.warmup_fraction * config.steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - warmup) / max(config.steps - warmup, 1)
    share = config.final_fraction + (1 - config.final_fraction) * (1 + math.cos(math.pi * done)) / 2
    return config.learning_rate * share


def _loop(run: Run, index: Index, say: Callable[[str], None]) -> None:
    progress, config, rows = run.progress, run.learner.config, iter(run.rows)
    window, saved = Progress(), time.monotonic()
    loss_sum = 0.0
    with _open_log(run) as log:
        while progress.step < config.steps:
            started = time.monotonic()
            batch = list(islice(rows, config.batch))
            loss, count = take_step(run.learner, batch, progress.step)
            loss_sum += loss * count
            for counter in (progress, window):
                counter.step += 1
                counter.tokens += count
                counter.seconds += time.monotonic() - started
            if _due(progress.step, config.log_steps, config.steps) or _due(progress.step, config.validation_steps):
                record = _record(run, loss_sum / window.tokens, window) | _validated(run, index)
                log.write(orjson.dumps(record) + b"\n")
                log.flush()
                say(_line(record))
                window, loss_sum = Progress(), 0.0
            late = time.monotonic() - saved >= config.checkpoint_seconds
            if agreed(_due(progress.step, config.checkpoint_steps) or late, run.learner.grid):
                _save(run)
                saved = time.monotonic()


def _due(step: int, every: int, last: int | None = None) -> bool:
    return step == last or (every > 0 and step % every == 0)


def take_step(learner: Learner, rows: Sequence[Row], step: int) -> tuple[float, int]:
    """Take one optimizer step, counted from 0; return the rows' mean loss and the number of tokens they predict.

    The loss is in nats per token. Raises FloatingPointError if it is no number.
    """
    config, grid = learner.config, learner.grid
    count = sum(int((row["targets"] != IGNORED).sum()) for row in rows)
    loss = _accumulate(learner, rows, count)
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss} at step {step + 1}: lower training.learning_rate")
    gradients = {name: local(_gradient(weight), grid) for name, weight in learner.weights.items()}
    shrink = (config.clip / (gradient_norm(gradients, grid) + 1e-6)).clamp(max=1)  # 1e-6 as torch's own clipping has it
    for gradient in gradients.values():
        gradient.mul_(shrink)
    update(learner.parts(), gradients, learner.moments, learning_rate(step, config), step + 1, config)
    for weight in learner.weights.values():
        weight.grad = None
    return loss, count


def _gradient(weight: Tensor) -> Tensor:
    assert weight.grad is not None
    return weight.grad


def _accumulate(learner: Learner, rows: Sequence[Row], count: int) -> float:
    """Add up the gradients of this process's rows, part by part, and return the mean loss of all rows."""
    config, grid = learner.config, learner.grid
    mine = rows[grid.data :: grid.data_size]
    size = len(mine) // config.accumulation
    total = torch.zeros((), device=config.device)
    for start in range(0, len(mine), size):
        tokens, targets, positions = _columns(mine[start : start + size], config.device)
        share = (targets != IGNORED).sum() / count
        loss = learner.objective(tokens, targets, positions) * share
        torch.autograd.backward(loss * grid.data_size)  # FSDP2 takes the mean over the processes
        total += loss.detach()
    return summed(total, grid, "data").item()


def _columns(rows: Sequence[Row], device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return the tokens, targets and positions of rows, (T,) each."""
    tokens, targets, positions = (
        torch.cat([row[name] for row in rows]).to(device) for name in ("tokens", "targets", "positions")
    )
    return tokens, targets, positions


def _record(run: Run, loss: float, window: Progress) -> Record:
    return {
        "step": run.progress.step,
        "steps": run.learner.config.steps,
        "tokens": run.progress.tokens,
        "loss": loss,
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
    rows = PackedTokens(index.folder, split="validation", context_length=config.context_length, epochs=1, shuffle=False)
    wanted = islice(rows, -(-config.validation_tokens // config.context_length))
    total = torch.zeros(2, dtype=torch.float64, device=config.device)
    with torch.no_grad():
        while batch := list(islice(wanted, config.batch)):
            total += _losses(learner, batch)
    nats, count = summed(total, learner.grid, "data").tolist()
    return {"validation_loss": nats / count, "perplexity": math.exp(nats / count)}


def _losses(learner: Learner, batch: Sequence[Row]) -> Tensor:
    """Return the summed loss of this process's rows of a batch and the number of tokens they predict, (2,)."""
    mine = batch[learner.grid.data :: learner.grid.data_size]
    # A process without a row must run too: the others gather their weights from it.
    tokens, targets, positions = _columns(mine or batch[:1], learner.config.device)
    count = (targets != IGNORED).sum() * bool(mine)
    return torch.stack([learner.objective(tokens, targets, positions).double() * count, count.double()])


def _open_log(run: Run) -> BinaryIO:
    """Open the log to go on after a step, without the lines that are later or cut off."""
    if run.learner.grid.rank:
        return io.BytesIO()
    path, step = run.output / "log.jsonl", run.progress.step
    kept = [line for line in path.read_bytes().split(b"\n")[:-1] if orjson.loads(line)["step"] <= step] if step else []
    write_atomically(path, b"".join(line + b"\n" for line in kept))
    return path.open("ab")


def _kinds(learner: Learner) -> dict[str, dict[str, Tensor]]:
    return {"model": learner.parts(), "mean": learner.moments.mean, "square": learner.moments.square}


def _save(run: Run) -> None:
    learner = run.learner
    whole = {kind: gathered(learner.weights, parts, learner.grid) for kind, parts in _kinds(learner).items()}
    tensors = {f"{kind}.{name}": tensor for kind, named in whole.items() for name, tensor in named.items()}
    values = {"progress": asdict(run.progress), "rows": run.rows.state_dict()}
    if learner.grid.rank == 0:
        save_state(run.output / CHECKPOINT, tensors, values)


def _resume(run: Run, say: Callable[[str], None]) -> None:
    path, learner = run.output / CHECKPOINT, run.learner
    if not path.is_file():
        return
    tensors, values = load_state(path)
    for kind, parts in _kinds(learner).items():
        whole = {name: tensors[f"{kind}.{name}"] for name in parts}
        for name, part in scattered(learner.weights, whole, learner.grid).items():
            parts[name].copy_(part)
    run.rows.load_state_dict(values["rows"])
    for field, value in values["progress"].items():
        setattr(run.progress, field, value)
    say(f"{run.output}: going on after step {run.progress.step} of {learner.config.steps}")


def _finish(run: Run, model: TransNormerConfig) -> None:
    """Write the model, then the result that marks the run as finished, and drop the checkpoint."""
    whole = gathered(run.learner.weights, run.learner.parts(), run.learner.grid)
    if run.learner.grid.rank:
        return
    net = TransNormer(model)
    restore(net, whole)
    save_model(run.output, net)
    last = orjson.loads((run.output / "log.jsonl").read_bytes().splitlines()[-1])
    result = {name: last.get(name) for name in ("steps", "tokens", "loss", "validation_loss", "perplexity", "seconds")}
    result["parameters"] = sum(weight.numel() for weight in whole.values())
    write_atomically(run.output / "result.json", orjson.dumps(result, option=orjson.OPT_INDENT_2))
    (run.output / CHECKPOINT).unlink(missing_ok=True)

"""The training loop: steps, log, validation, checkpoints, and going on after a kill to the same bits."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import orjson
import torch
from torch import Tensor, nn

from model.adamw import Moments, update, zero_moments
from model.checkpoint import load_state, restore, save_model, save_state, weights, write_atomically
from model.config import TrainingConfig, TransNormerConfig
from model.data import IGNORED, PackedTokens, Row
from model.determinism import deterministic
from model.loss import mean_loss, token_losses
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


@dataclass(frozen=True, slots=True)
class Run:
    """What changes while training, and where it goes."""

    output: Path
    config: TrainingConfig
    net: TransNormer
    moments: Moments
    rows: PackedTokens
    progress: Progress


def run(
    index: Index, output: Path, model: TransNormerConfig, training: TrainingConfig, say: Callable[[str], None]
) -> None:
    """Train from the last checkpoint in `output`, or from the start, to the end; see `model.train.train`."""
    with deterministic(training.threads):
        net = TransNormer(model, training.seed)
        rows = PackedTokens(index.folder, context_length=training.context_length, seed=training.seed)
        state = Run(output, training, net, zero_moments(weights(net)), rows, Progress())
        _resume(state, say)
        _loop(state, index, say)
        _finish(state)
    say(f"{output}: {state.progress.tokens:,} tokens in {state.progress.seconds:.0f} s")


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
    progress, config, rows = run.progress, run.config, iter(run.rows)
    window, saved = Progress(), time.monotonic()
    loss_sum = 0.0
    with _open_log(run.output / "log.jsonl", progress.step) as log:
        while progress.step < config.steps:
            started = time.monotonic()
            loss, count = _step(run, list(islice(rows, config.batch)))
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
            if _due(progress.step, config.checkpoint_steps) or time.monotonic() - saved >= config.checkpoint_seconds:
                _save(run)
                saved = time.monotonic()


def _due(step: int, every: int, last: int | None = None) -> bool:
    return step == last or (every > 0 and step % every == 0)


def _step(run: Run, rows: list[Row]) -> tuple[float, int]:
    """Take one optimizer step and return its mean loss and the number of tokens it predicted."""
    step, config = run.progress.step, run.config
    hidden, targets = _hidden(run, rows)
    loss = mean_loss(hidden, run.net.head.weight, targets)
    if not loss.isfinite():
        raise FloatingPointError(f"the loss is {loss.item()} at step {step + 1}: lower training.learning_rate")
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(run.net.parameters(), config.clip)
    update(dict(run.net.named_parameters()), run.moments, learning_rate(step, config), step + 1, config)
    run.net.zero_grad()
    return loss.item(), int((targets != IGNORED).sum())


def _hidden(run: Run, rows: list[Row]) -> tuple[Tensor, Tensor]:
    """Run rows as one packed row whose sequences are the documents: (T, width) and targets (T,)."""
    tokens, targets, positions = (torch.cat([row[name] for row in rows]) for name in ("tokens", "targets", "positions"))
    starts = (positions == 0).nonzero()[:, 0]
    lengths = torch.cat([starts, torch.tensor([len(tokens)])])
    with torch.autocast("cpu", torch.bfloat16, enabled=run.config.precision == "bf16"):
        hidden, _ = run.net.hidden(tokens[None], lengths=lengths)
    return hidden[0].float(), targets


def _record(run: Run, loss: float, window: Progress) -> Record:
    return {
        "step": run.progress.step,
        "steps": run.config.steps,
        "tokens": run.progress.tokens,
        "loss": loss,
        "seconds": round(run.progress.seconds, 3),
        "tokens_per_second": round(window.tokens / max(window.seconds, 1e-9)),
        "learning_rate": learning_rate(run.progress.step - 1, run.config),
    }


def _line(record: Record) -> str:
    line = (
        f"step {record['step']}/{record['steps']}  {record['tokens']:,} tokens  loss {record['loss']:.4f}  "
        f"{record['tokens_per_second']:,} tokens/s"
    )
    if "validation_loss" in record:
        line += f"  validation {record['validation_loss']:.4f}, perplexity {record['perplexity']:.2f}"
    return line


def _validated(run: Run, index: Index) -> Record:
    """Measure the validation loss where one is due and there are documents for it."""
    config = run.config
    if not _due(run.progress.step, config.validation_steps, config.steps) or not index.split("validation"):
        return {}
    rows = PackedTokens(index.folder, split="validation", context_length=config.context_length, epochs=1, shuffle=False)
    wanted = islice(rows, -(-config.validation_tokens // config.context_length))
    total, count = 0.0, 0
    with torch.no_grad():
        while batch := list(islice(wanted, config.batch)):
            hidden, targets = _hidden(run, batch)
            known = targets != IGNORED
            total += float(token_losses(hidden[known], run.net.head.weight, targets[known]).double().sum())
            count += int(known.sum())
    return {"validation_loss": total / count, "perplexity": math.exp(total / count)}


def _open_log(path: Path, step: int) -> BinaryIO:
    """Open the log to go on after a step, without the lines that are later or cut off."""
    kept = [line for line in path.read_bytes().split(b"\n")[:-1] if orjson.loads(line)["step"] <= step] if step else []
    write_atomically(path, b"".join(line + b"\n" for line in kept))
    return path.open("ab")


def _save(run: Run) -> None:
    parts = {"model": weights(run.net), "mean": run.moments.mean, "square": run.moments.square}
    tensors = {f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()}
    values = {"progress": asdict(run.progress), "rows": run.rows.state_dict()}
    save_state(run.output / CHECKPOINT, tensors, values)


def _resume(run: Run, say: Callable[[str], None]) -> None:
    path = run.output / CHECKPOINT
    if not path.is_file():
        return
    tensors, values = load_state(path)
    restore(run.net, {name: tensors[f"model.{name}"] for name in weights(run.net)})
    for name in weights(run.net):
        run.moments.mean[name], run.moments.square[name] = tensors[f"mean.{name}"], tensors[f"square.{name}"]
    run.rows.load_state_dict(values["rows"])
    for field, value in values["progress"].items():
        setattr(run.progress, field, value)
    say(f"{run.output}: going on after step {run.progress.step} of {run.config.steps}")


def _finish(run: Run) -> None:
    """Write the model, then the result that marks the run as finished, and drop the checkpoint."""
    save_model(run.output, run.net)
    last = orjson.loads((run.output / "log.jsonl").read_bytes().splitlines()[-1])
    result = {name: last.get(name) for name in ("steps", "tokens", "loss", "validation_loss", "perplexity", "seconds")}
    result["parameters"] = sum(weight.numel() for weight in run.net.parameters())
    write_atomically(run.output / "result.json", orjson.dumps(result, option=orjson.OPT_INDENT_2))
    (run.output / CHECKPOINT).unlink(missing_ok=True)

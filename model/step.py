"""One optimizer step of a model: the loss of its rows, their gradients, and the update.

Every process reads all rows of a step and runs its share of them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from model.adamw import Moments, update, zero_moments
from model.config import TrainingConfig
from model.data import IGNORED, Row
from model.loss import mean_loss, token_losses
from model.parallel import Grid, distribute, gradient_norm, local, summed
from model.transnormer import TransNormer


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


def learner_of(net: TransNormer, config: TrainingConfig, grid: Grid) -> Learner:
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


def take_step(learner: Learner, rows: Sequence[Row], step: int) -> tuple[float, int]:
    """Take one optimizer step, counted from 0; return the rows' mean loss and the number of tokens they predict.

    The loss is in nats per token. Raises FloatingPointError, and changes nothing, if it or a gradient is no number.
    """
    config, grid = learner.config, learner.grid
    count = sum(int((row["targets"] != IGNORED).sum()) for row in rows)
    loss = _accumulate(learner, rows, count)
    require_finite("loss", loss, step + 1)
    gradients = {name: local(_gradient(weight), grid) for name, weight in learner.weights.items()}
    norm = gradient_norm(gradients, grid)
    require_finite("gradient's norm", norm.item(), step + 1)
    shrink = (config.clip / (norm + 1e-6)).clamp(max=1)  # 1e-6 as torch's own clipping has it
    for gradient in gradients.values():
        gradient.mul_(shrink)
    update(learner.parts(), gradients, learner.moments, learning_rate(step, config), step + 1, config)
    for weight in learner.weights.values():
        weight.grad = None
    return loss, count


def require_finite(what: str, value: float, step: int) -> None:
    """Raise FloatingPointError, one plain line, if training has come to a value that is no number."""
    if not math.isfinite(value):
        raise FloatingPointError(f"the {what} is {value} at step {step}: lower training.learning_rate")


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
        tokens, targets, positions = columns(mine[start : start + size], config.device)
        share = (targets != IGNORED).sum() / count
        loss = learner.objective(tokens, targets, positions) * share
        torch.autograd.backward(loss * grid.data_size)  # FSDP2 takes the mean over the processes
        total += loss.detach()
    return summed(total, grid, "data").item()


def columns(rows: Sequence[Row], device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return the tokens, targets and positions of rows, (T,) each."""
    tokens, targets, positions = (
        torch.cat([row[name] for row in rows]).to(device) for name in ("tokens", "targets", "positions")
    )
    return tokens, targets, positions

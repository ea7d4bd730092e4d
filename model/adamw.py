"""AdamW with its moments as plain tensors by name, so that they are saved and restored like weights.

torch.optim does the same, after an import of the compiler that takes longer than training an evaluator's
first hundred steps; the tests hold this one against it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model.config import TrainingConfig

EPSILON = 1e-8  # arXiv:1412.6980, algorithm 1
UNDECAYED = (".theta", ".gain", ".bias")


@dataclass(frozen=True, slots=True)
class Moments:
    """Running means of each weight's gradient and of its square, by name."""

    mean: dict[str, Tensor]
    square: dict[str, Tensor]


def zero_moments(weights: Mapping[str, Tensor]) -> Moments:
    """Return the moments before the first step."""
    zeros = [{name: torch.zeros_like(weight) for name, weight in weights.items()} for _ in range(2)]
    return Moments(*zeros)


def update(
    weights: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    moments: Moments,
    rate: float,
    count: int,
    config: TrainingConfig,
) -> None:
    """Change weights and moments in place by gradients of the same names; `count` is the step's number from 1.

    arXiv:1711.05101, algorithm 2. Embeddings are not decayed, since a rare token's row would shrink unseen,
    nor are angles, gains and biases.
    """
    for name, weight in weights.items():
        gradient, mean, square = gradients[name], moments.mean[name], moments.square[name]
        decayed = not name.startswith("embedding.") and not name.endswith(UNDECAYED)
        with torch.no_grad():
            mean.lerp_(gradient, 1 - config.beta1)
            square.mul_(config.beta2).addcmul_(gradient, gradient, value=1 - config.beta2)
            spread = (square / (1 - config.beta2**count)).sqrt_().add_(EPSILON)
            weight.mul_(1 - rate * config.weight_decay * decayed)
            weight.addcdiv_(mean, spread, value=-rate / (1 - config.beta1**count))

"""The optimizer is AdamW."""

import torch

from model.adamw import update, zero_moments
from model.config import TrainingConfig

SHAPES = {
    "embedding.weight": (9, 4),
    "layers.0.attention.theta": (2, 2),
    "layers.0.norm.gain": (4,),
    "layers.0.out.weight": (4, 4),
}


def test_updates_are_those_of_torch() -> None:
    """After twenty steps weights equal those of torch.optim.AdamW, with and without decay."""
    config = TrainingConfig(weight_decay=0.3, beta1=0.8, beta2=0.9)
    generator = torch.Generator().manual_seed(0)
    mine = {name: torch.randn(shape, generator=generator).requires_grad_() for name, shape in SHAPES.items()}
    theirs = {name: weight.detach().clone().requires_grad_() for name, weight in mine.items()}
    groups = [{"params": [weight], "weight_decay": 0.3 if "out" in name else 0.0} for name, weight in theirs.items()]
    optimizer = torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.9))
    moments = zero_moments(mine)
    for count in range(1, 21):
        gradients = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
        for name, weight in theirs.items():
            weight.grad = gradients[name].clone()
        update(mine, gradients, moments, 0.01, count, config)
        optimizer.step()
    for name, weight in mine.items():
        torch.testing.assert_close(weight, theirs[name])

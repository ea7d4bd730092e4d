"""Losses in nats per token from hidden vectors, without ever holding the logits of a whole segment.

With a small model the head is most of the work: 8,192 wide where all else is 96. So logits live only for a
few rows at a time, in the processor's cache, and training takes their gradient in the same visit (the idea of
Liger-Kernel's fused linear cross-entropy, arXiv:2410.10989).
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

SCORING_ROWS = 64  # of logits held at once, in a processor's cache
TRAINING_ROWS = 128
DEVICE_LOGITS = 1 << 27  # held at once elsewhere, 512 MB: a GPU wants few large products


def token_losses(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of each target in nats (T,) float32, without gradient.

    hidden (T, width), weight of the head (V, width), targets (T,) int64 from 0 to V - 1.
    """
    count = _rows(weight, SCORING_ROWS)
    losses = [
        -torch.log_softmax((h @ weight.T).float(), dim=-1).gather(1, t[:, None])[:, 0]
        for h, t in zip(torch.split(hidden, count), torch.split(targets, count), strict=True)
    ]
    return torch.cat(losses)


def mean_loss(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss in nats per token, a scalar, differentiable once in hidden and weight.

    hidden (T, width), weight of the head (V, width), targets (T,) int64; a negative target counts nothing.
    """
    loss: Tensor = _MeanLoss.apply(hidden, weight, targets)
    return loss


def _rows(weight: Tensor, on_cpu: int) -> int:
    """Return of how many rows the logits are held at once."""
    return on_cpu if weight.device.type == "cpu" else max(1, DEVICE_LOGITS // len(weight))


class _MeanLoss(Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        share = (targets >= 0) / (targets >= 0).sum().clamp(min=1)  # of each row in the mean
        d_hidden, d_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        total = hidden.new_zeros(())
        count = _rows(weight, TRAINING_ROWS)
        for start in range(0, len(hidden), count):
            rows = slice(start, start + count)
            h, part, target = hidden[rows], share[rows, None], targets[rows, None].clamp(min=0)
            log_p = torch.log_softmax(h @ weight.T, dim=-1)
            total -= (log_p.gather(1, target) * part).sum()
            d_logits = log_p.exp_().mul_(part).scatter_add_(1, target, -part)
            torch.mm(d_logits, weight, out=d_hidden[rows])
            d_weight.addmm_(d_logits.T, h)
        ctx.save_for_backward(d_hidden, d_weight)
        return total

    @staticmethod
    def backward(ctx: Any, *d_loss: Tensor) -> tuple[Tensor, Tensor, None]:
        d_hidden, d_weight = ctx.saved_tensors
        return d_hidden * d_loss[0], d_weight * d_loss[0], None

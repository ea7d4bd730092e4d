"""Tensor parallelism of arXiv:2405.17381, appendix E: each process has some heads and some channels of a layer.

The projections into heads and channels are split by rows of their weights, those back by columns, so a layer
needs two sums over the processes forward and two backward. The norm after attention runs over the whole width
(equation 41 writes it across the parts), so its mean square is summed as well. Embedding, head and the norms
before a layer are whole in every process.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd import Function
from torch.distributed import ProcessGroup

from kernels.norm import EPS
from model.transnormer import Attention, ChannelMixer, Norm, TransNormer

ROWS = ("qkvu.weight", "vu.weight", "theta", "decay", "attention.norm.gain", "attention.norm.bias")
COLUMNS = ("out.weight",)


def is_split(name: str) -> bool:
    """Tell whether a tensor of the model, by its full name, is shared among the processes."""
    return name.endswith(ROWS + COLUMNS)


def split(name: str, whole: Tensor, place: int, size: int) -> Tensor:
    """Return the part of a whole tensor that is the process's in this place of `size`."""
    if size == 1 or not is_split(name):
        return whole
    if name.endswith(COLUMNS):
        return whole.chunk(size, 1)[place].contiguous()
    stacked = _stacked(whole, _projections(name, whole, 1))
    return stacked.chunk(size, 1)[place].flatten(0, 1)


def join(name: str, parts: Sequence[Tensor]) -> Tensor:
    """Return the whole tensor from the parts of all places, in their order."""
    if name.endswith(COLUMNS):
        return torch.cat(list(parts), 1)
    projections = _projections(name, parts[0], len(parts))
    return torch.cat([_stacked(part, projections) for part in parts], 1).flatten(0, 1)


def _projections(name: str, part: Tensor, size: int) -> int:
    """Return how many projections lie one after the other in the rows: q, k, v and, if gated, u; or v and u."""
    if name.endswith("qkvu.weight"):
        return len(part) * size // part.shape[1]
    return 2 if name.endswith("vu.weight") else 1


def _stacked(x: Tensor, projections: int) -> Tensor:
    return x.view(projections, -1, *x.shape[1:])


def split_layers(net: TransNormer, place: int, group: ProcessGroup) -> None:
    """Leave of each layer the heads and channels of this place, and let the parts work as the whole did."""
    size = distributed.get_world_size(group)
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        tensor.data = split(name, tensor.data, place, size).clone()

    def enter(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return _copied(inputs[0], group), *inputs[1:]

    def leave(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return _summed(output, group)

    for module in net.modules():
        if isinstance(module, Attention):
            module.heads //= size
            module.register_module("norm", SplitNorm(module.norm, size, group))
        if isinstance(module, Attention | ChannelMixer):
            module.register_forward_pre_hook(enter)
            module.out.register_forward_hook(leave)


class SplitNorm(nn.Module):
    """The norm of x (..., width) where each process has some of the width; see `model.transnormer.Norm`."""

    def __init__(self, norm: Norm, size: int, group: ProcessGroup) -> None:
        super().__init__()
        self.gain, self.bias = norm.gain, norm.bias
        self.size, self.group = size, group

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Return this process's part of the normed vector, times its part of the gate, from its part of x."""
        wide = x.float()
        if self.bias is not None:  # a LayerNorm
            wide = wide - self._mean(wide)
        normed = wide * torch.rsqrt(self._mean(wide.square()) + EPS)
        if self.gain is not None:
            normed = normed * self.gain
        normed = normed if self.bias is None else normed + self.bias
        return (normed if gate is None else normed * gate).to(x.dtype)

    def _mean(self, x: Tensor) -> Tensor:
        """Return the mean over the whole width, which every process goes on to use: both directions are sums."""
        local = x.mean(-1, keepdim=True) / self.size
        return _copied(_summed(local, self.group), self.group)


class _Sum(Function):
    """Forward, the sum over the processes; backward, the gradient that each of them has anyway."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:  # noqa: ARG004 - torch's signature
        total = x.clone()
        distributed.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004 - torch's signature
        return gradient[0], None


class _Copy(Function):
    """Forward, what each process has anyway; backward, the sum of the gradients of what each made of it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient[0].clone()
        distributed.all_reduce(total, group=ctx.group)
        return total, None


def _summed(x: Tensor, group: ProcessGroup) -> Tensor:
    total: Tensor = _Sum.apply(x, group)
    return total


def _copied(x: Tensor, group: ProcessGroup) -> Tensor:
    copy: Tensor = _Copy.apply(x, group)
    return copy

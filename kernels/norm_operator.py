"""The Triton form of SRMSNorm as two operators that autograd and torch.compile see as one step each."""

from typing import Any

import torch
from torch import Tensor

from kernels.entries import power_of_two
from kernels.launch import Launch, run
from kernels.norm import EPS
from kernels.norms import norm_gradients, norm_rows
from kernels.tiles import INTERPRETED

ELEMENTS = 4096  # of a program at least, so that narrow rows still fill its threads


def norm_plan(x: Tensor, gate: Tensor | None) -> tuple[Launch, Tensor]:
    """Return the launch that norms x (rows, width), times the gate, and the tensor that it fills."""
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    arguments = {"x": x, "gate": gate, "out": out, "x_row": x.stride(0), "gate_row": _row(gate), "count": len(x)}
    return _launch(norm_rows, x, gate, arguments), out


def gradient_plan(x: Tensor, gate: Tensor | None, g: Tensor) -> tuple[Launch, Tensor, Tensor]:
    """Return the launch that differentiates, dx and the gate's gradient, which is empty without a gate."""
    dx = torch.empty_like(x, memory_format=torch.contiguous_format)
    d_gate = x.new_empty(0) if gate is None else torch.empty_like(gate, memory_format=torch.contiguous_format)
    arguments: dict[str, Any] = {"x": x, "gate": gate, "g": g, "dx": dx, "d_gate": None if gate is None else d_gate}
    arguments |= {"x_row": x.stride(0), "gate_row": _row(gate), "g_row": g.stride(0), "count": len(x)}
    return _launch(norm_gradients, x, gate, arguments), dx, d_gate


def _launch(kernel: Any, x: Tensor, gate: Tensor | None, arguments: dict[str, Any]) -> Launch:
    width = x.shape[1]
    tile = power_of_two(width)
    rows = max(1, ELEMENTS // tile)
    constants = {
        "WIDTH": width, "TILE": tile, "ROWS": rows, "GATED": gate is not None, "EPS": EPS, "INTERPRETED": INTERPRETED
    }  # fmt: skip
    return Launch(kernel, -(-len(x) // rows), arguments, constants, warps=16 if tile > ELEMENTS else 8, stages=1)


def _row(x: Tensor | None) -> int:
    return 0 if x is None else x.stride(0)


def _rows(x: Tensor) -> Tensor:
    return x if x.stride(1) == 1 else x.contiguous()


def fused_norm(x: Tensor, gate: Tensor | None) -> Tensor:
    """Norm the rows of x (rows, width) and multiply them by the gate's, any row stride; differentiable in both."""
    out: Tensor = _norm(_rows(x), None if gate is None else _rows(gate))
    return out


@torch.library.custom_op("lustrate::srms_norm", mutates_args=())
def _norm(x: Tensor, gate: Tensor | None) -> Tensor:
    launch, out = norm_plan(x, gate)
    run(launch)
    return out


@torch.library.custom_op("lustrate::srms_norm_gradients", mutates_args=())
def _norm_gradients(x: Tensor, gate: Tensor | None, g: Tensor) -> tuple[Tensor, Tensor]:
    launch, dx, d_gate = gradient_plan(x, gate, g)
    run(launch)
    return dx, d_gate


@_norm.register_fake
def _(x: Tensor, gate: Tensor | None) -> Tensor:  # noqa: ARG001  the schema's arguments
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@_norm_gradients.register_fake
def _(x: Tensor, gate: Tensor | None, g: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    dx = torch.empty_like(x, memory_format=torch.contiguous_format)
    return dx, x.new_empty(0) if gate is None else torch.empty_like(dx)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor | None]:
    x, gate = ctx.saved_tensors
    dx, d_gate = _norm_gradients(x, gate, _rows(g))
    return dx, None if gate is None else d_gate


_norm.register_autograd(_differentiate, setup_context=_keep)

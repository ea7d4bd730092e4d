"""The Triton form of attention as two operators that autograd and torch.compile see as one step each."""

from typing import Any

import torch
from torch import Tensor

from kernels.entries import CHUNK
from kernels.launch import run
from kernels.layout import Layout, chunk_bound, dense, packed
from kernels.plan import backward_plan, forward_plan, kept_dtype
from kernels.tune import fastest

LIMIT = 2**31  # within a chunk, kernels count in 32 bits


def lightning(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Attend in Triton kernels and return the output and the final state, differentiable in q, k, v and state.

    q, k (B, H, N, D), v (B, H, N, E), all bfloat16, float16 or float32, D and E from 1 to 256, decay (H,) >= 0: a
    negative one gives NaN. state (B, H, D, E); packed, with cumulative `lengths`, (sequences, H, D, E). Any strides.
    Output (B, H, N, E), the heads of a token side by side in memory; state float32.
    """
    q, k, v = (_addressable(x) for x in (q, k, v))
    output, final, _ = _attention(q, k, v, decay.float(), None if state is None else state.float(), lengths)
    return output, final


def _addressable(x: Tensor) -> Tensor:
    """Return x, copied where its rows are not contiguous or too far apart for 32 bits within a chunk."""
    near = x.stride(2) * CHUNK < LIMIT
    return x if x.stride(3) == 1 and near else x.contiguous()


def _layout(q: Tensor, lengths: Tensor | None) -> Layout:
    if lengths is None:
        return dense(q.shape[0], q.shape[2])
    return packed(lengths.to(q.device), q.shape[2])


@torch.library.custom_op("lustrate::attention", mutates_args=())
def _attention(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor | None, lengths: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    initial = None if state is None else state.contiguous()
    # The third output is what the backward pass reads again; a first state of zeros in it is never written nor read.
    launches, outputs = forward_plan(q, k, v, decay.contiguous(), initial, _layout(q, lengths))
    for alternatives in launches:
        run(fastest(alternatives))
    return outputs


@torch.library.custom_op("lustrate::attention_gradients", mutates_args=())
def _attention_gradients(
    inputs: list[Tensor], decay: Tensor, states: Tensor, d_final: Tensor, lengths: Tensor | None, given: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    q, k, v, g = inputs
    layout, decay, d_final = _layout(q, lengths), decay.contiguous(), d_final.contiguous()
    launches, outputs = backward_plan((q, k, v, g), decay, states, d_final, layout, given=given)
    for alternatives in launches:
        run(fastest(alternatives))
    return outputs


@_attention.register_fake
def _(
    q: Tensor,
    k: Tensor,  # noqa: ARG001  the operator's arguments, here and below
    v: Tensor,
    decay: Tensor,  # noqa: ARG001
    state: Tensor | None,  # noqa: ARG001
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    batch, heads, tokens, d = q.shape
    chunks = batch * -(-tokens // CHUNK) if lengths is None else chunk_bound(lengths.shape[0] - 1, tokens)
    out = v.new_empty(batch, tokens, heads, v.shape[3]).transpose(1, 2)
    sequences = batch if lengths is None else lengths.shape[0] - 1
    final = q.new_empty(sequences, heads, d, v.shape[3], dtype=torch.float32)
    return out, final, q.new_empty(chunks, heads, d, v.shape[3], dtype=kept_dtype(q.dtype))


@_attention_gradients.register_fake
def _(
    inputs: list[Tensor],
    decay: Tensor,  # noqa: ARG001
    states: Tensor,  # noqa: ARG001
    d_final: Tensor,
    lengths: Tensor | None,  # noqa: ARG001
    given: bool,  # noqa: ARG001
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    q, k, v, _ = (x.new_empty(x.shape[0], x.shape[2], x.shape[1], x.shape[3]).transpose(1, 2) for x in inputs)
    return q, k, v, torch.empty_like(d_final)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    q, k, v, decay, state, lengths = inputs
    ctx.save_for_backward(q, k, v, decay, output[2], lengths)
    ctx.state_shape, ctx.given = output[1].shape, state is not None


def _differentiate(ctx: Any, d_out: Tensor | None, d_final: Tensor | None, _: Tensor | None) -> tuple[Any, ...]:
    q, k, v, decay, states, lengths = ctx.saved_tensors
    g = torch.zeros_like(v) if d_out is None else _addressable(d_out)
    if d_final is None:
        d_final = states.new_zeros(ctx.state_shape, dtype=torch.float32)
    dq, dk, dv, d_state = _attention_gradients([q, k, v, g], decay, states, d_final, lengths, ctx.given)
    return dq, dk, dv, None, d_state if ctx.given else None, None


_attention.register_autograd(_differentiate, setup_context=_keep)

"""Attention with fixed decay as a recurrence: the definition that the other forms are tested against."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


def recurrent(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor,
    state: Tensor | None = None,
    *,
    bounds: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Attend token by token and return the output and the state after the last token.

    q, k (B, H, N, D), v (B, H, N, E), N >= 0, decay (H,) >= 0, state (B, H, D, E) or None for zeros. With
    `bounds`, cumulative lengths from 0 to N, B is 1 and the state (sequences, H, D, E). Output (B, H, N, E) in the
    dtype of v, state in `state_dtype(q)`. The robust inference form of arXiv:2405.17381, appendix A:
    S_t = exp(-decay) S_(t-1) + k_t v_t^T, o_t = q_t^T S_t.
    """
    state = empty_state(q, v, None if bounds is None else len(bounds) - 1) if state is None else state
    if q.numel() == 0:
        return no_output(q, k, v), state.to(state_dtype(q))
    with torch.autocast(q.device.type, enabled=False):  # it would round the products
        return _recurrent(q, k, v, decay, state, bounds)


def _recurrent(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor, bounds: Sequence[int] | None
) -> tuple[Tensor, Tensor]:
    if bounds is None:
        return _walk(q, k, v, decay, state)
    steps = [
        _walk(q[:, :, start:stop], k[:, :, start:stop], v[:, :, start:stop], decay, before)
        for (start, stop), before in zip(pairwise(bounds), torch.split(state, 1), strict=True)
    ]
    outputs, states = zip(*steps, strict=True)
    return torch.cat(outputs, dim=2), torch.cat(states)


def _walk(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    precise = state_dtype(q)
    shrink = torch.exp(-decay.to(precise))[:, None, None]
    state = state.to(precise)
    outputs = [v[:, :, :0].to(precise)]
    for t in range(q.shape[2]):
        q_t, k_t, v_t = (x[:, :, t].to(precise) for x in (q, k, v))
        state = shrink * state + k_t[..., :, None] * v_t[..., None, :]  # (B, H, D, E)
        outputs.append(torch.einsum("bhd,bhde->bhe", q_t, state)[:, :, None])
    return torch.cat(outputs, dim=2).to(v.dtype), state


def no_output(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return the output (B, H, 0, E) of no tokens, with gradients that are as empty."""
    return (q + k).sum(-1, keepdim=True) * v


def state_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype in which a state is summed for inputs like x: float32, or float64 for float64."""
    return torch.promote_types(x.dtype, torch.float32)


def empty_state(q: Tensor, v: Tensor, sequences: int | None = None) -> Tensor:
    """Return the zero state (B, H, D, E) of the first token; `sequences` takes the place of B when packed."""
    count = q.shape[0] if sequences is None else sequences
    return q.new_zeros(count, q.shape[1], q.shape[3], v.shape[3], dtype=state_dtype(q))

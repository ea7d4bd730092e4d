"""Attention with fixed decay as a recurrence: the definition that the other forms are tested against."""

import torch
from torch import Tensor


def recurrent(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Attend token by token and return the output and the state after the last token.

    q, k (B, H, N, D), v (B, H, N, E), decay (H,) >= 0, state (B, H, D, E) or None for zeros. Output
    (B, H, N, E) in the dtype of v, state (B, H, D, E) in `state_dtype(q)`. The robust inference form of
    arXiv:2405.17381, appendix A: S_t = exp(-decay) S_(t-1) + k_t v_t^T, o_t = q_t^T S_t.
    """
    precise = state_dtype(q)
    shrink = torch.exp(-decay.to(precise))[:, None, None]
    state = empty_state(q, v) if state is None else state.to(precise)
    outputs = []
    for t in range(q.shape[2]):
        q_t, k_t, v_t = (x[:, :, t].to(precise) for x in (q, k, v))
        state = shrink * state + k_t[..., :, None] * v_t[..., None, :]  # (B, H, D, E)
        outputs.append(torch.einsum("bhd,bhde->bhe", q_t, state))
    return torch.stack(outputs, dim=2).to(v.dtype), state


def state_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype in which a state is summed for inputs like x: float32, or float64 for float64."""
    return torch.promote_types(x.dtype, torch.float32)


def empty_state(q: Tensor, v: Tensor, sequences: int | None = None) -> Tensor:
    """Return the zero state (B, H, D, E) of the first token; `sequences` takes the place of B when packed."""
    count = q.shape[0] if sequences is None else sequences
    return q.new_zeros(count, q.shape[1], q.shape[3], v.shape[3], dtype=state_dtype(q))

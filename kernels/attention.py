"""The one public attention: checks its arguments and chooses the form that computes it."""

import torch
from torch import Tensor

from kernels.chunkwise import chunkwise
from kernels.reference import recurrent


def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor,
    *,
    state: Tensor | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return o_t = q_t^T S_t with S_t = exp(-decay) S_(t-1) + k_t v_t^T, and the state after the last token.

    q, k (B, H, N, D), v (B, H, N, E), N >= 1, decay (H,) >= 0 without gradient, state (B, H, D, E), zeros by
    default. Output (B, H, N, E) in the dtype of v; the state is float32, or float64 for float64 inputs.
    Packed: B = 1 and `lengths` (sequences + 1,) int, cumulative from 0 to N, empty sequences allowed; each
    starts from its own state, and both states are (sequences, H, D, E). No scale: the norm after removes it.
    Raises ValueError for shapes that do not fit.
    """
    bounds = None if lengths is None else _bounds(lengths, q)
    _check(q, k, v, decay)
    _check_state(q, v, state, None if bounds is None else len(bounds) - 1)
    if bounds is None and q.shape[2] == 1:
        return recurrent(q, k, v, decay, state)
    return chunkwise(q, k, v, decay, state, bounds=bounds, size=_chunk_size(q, bounds))


def _chunk_size(q: Tensor, bounds: list[int] | None) -> int:
    """Choose 64, or less where the mean sequence is short: each fills its last chunk with zeros."""
    sequences = 1 if bounds is None else max(len(bounds) - 1, 1)
    return min(64, max(8, 1 << (q.shape[2] // sequences - 1).bit_length()))


def _bounds(lengths: Tensor, q: Tensor) -> list[int]:
    bounds: list[int] = lengths.tolist()
    if q.shape[0] != 1:
        raise ValueError(f"packed sequences need B = 1, got B = {q.shape[0]}")
    if len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != q.shape[2] or bool((lengths.diff() < 0).any()):
        raise ValueError(f"lengths must rise from 0 to N = {q.shape[2]}, got {bounds}")
    return bounds


def _check(q: Tensor, k: Tensor, v: Tensor, decay: Tensor) -> None:
    if q.dim() != 4 or q.shape != k.shape or q.shape[:3] != v.shape[:3] or q.shape[2] == 0:
        raise ValueError(
            "q, k must be (B, H, N, D) and v (B, H, N, E) with N >= 1, "
            f"got {tuple(q.shape)}, {tuple(k.shape)}, {tuple(v.shape)}"
        )
    if decay.shape != q.shape[1:2] or decay.requires_grad:
        raise ValueError(f"decay must be ({q.shape[1]},) without gradient, got {tuple(decay.shape)}")
    if decay.device.type == "cpu" and bool((decay < 0).any()):  # elsewhere the look would wait for the device
        raise ValueError(f"decay must be >= 0, got {decay.min().item()}")


def _check_state(q: Tensor, v: Tensor, state: Tensor | None, sequences: int | None) -> None:
    expected = torch.Size((q.shape[0] if sequences is None else sequences, q.shape[1], q.shape[3], v.shape[3]))
    if state is not None and state.shape != expected:
        raise ValueError(f"state must be {tuple(expected)}, got {tuple(state.shape)}")

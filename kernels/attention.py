"""The one public attention: checks its arguments and chooses the form that computes it."""

import os
from typing import Literal, get_args

import torch
from torch import Tensor

from kernels.chunkwise import chunkwise
from kernels.reference import recurrent

Form = Literal["recurrent", "chunkwise", "triton"]
FORCED = os.environ.get("LUSTRATE_ATTENTION")  # the form where the caller names none; read once, at import
MAX_WIDTH = 256  # of D and E in the Triton form, whose tiles hold a whole row


def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor,
    *,
    state: Tensor | None = None,
    lengths: Tensor | None = None,
    form: Form | None = None,
) -> tuple[Tensor, Tensor]:
    """Return o_t = q_t^T S_t with S_t = exp(-decay) S_(t-1) + k_t v_t^T, and the state after the last token.

    q, k (B, H, N, D), v (B, H, N, E), of one floating dtype, B, H and N >= 0, D and E from 1 (in Triton to 256), any
    strides; decay (H,) >= 0, finite and without gradient, state (B, H, D, E), zeros by default. Output (B, H, N, E) in
    the dtype of v; the state is float32, or float64 for float64 inputs. Differentiable once in q, k, v and state, both
    results counted.
    Packed: B = 1 and `lengths` (sequences + 1,) int32 or int64, cumulative from 0 to N, empty sequences allowed;
    each starts from its own state, and both states are (sequences, H, D, E). No scale: the norm after removes it.
    `form`, or the environment variable LUSTRATE_ATTENTION, overrides the choice: Triton on a GPU, elsewhere chunks.
    Raises ValueError for what does not fit. Decays and lengths on a GPU or in a compiled graph are not read: there a
    negative decay gives NaN in Triton, and lengths that do not rise from 0 to N give numbers that mean nothing.
    """
    _check(q, k, v, decay)
    _check_lengths(q, lengths)
    _check_state(q, v, state, None if lengths is None else len(lengths) - 1)
    form = _chosen(q, v, lengths, form or FORCED)
    if form == "triton":
        return _triton(q, k, v, decay, state, lengths)
    bounds = None if lengths is None else lengths.tolist()
    if form == "recurrent":
        return recurrent(q, k, v, decay, state, bounds=bounds)
    return chunkwise(q, k, v, decay, state, bounds=bounds, size=_chunk_size(q, bounds))


def _chosen(q: Tensor, v: Tensor, lengths: Tensor | None, wanted: str | None) -> Form:
    if wanted is not None:
        if wanted not in get_args(Form):
            raise ValueError(f"form, or LUSTRATE_ATTENTION, must be one of {get_args(Form)}, got {wanted!r}")
        return wanted  # type: ignore[return-value]
    if lengths is None and q.shape[2] == 1:
        return "recurrent"
    return "triton" if q.is_cuda and _fits_triton(q, v) else "chunkwise"


def _fits_triton(q: Tensor, v: Tensor) -> bool:
    return q.dtype in {torch.bfloat16, torch.float16, torch.float32} and max(q.shape[3], v.shape[3]) <= MAX_WIDTH


def _triton(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, state: Tensor | None, lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    if not _fits_triton(q, v):
        raise ValueError(
            f"the Triton form takes bfloat16, float16 or float32 and widths up to {MAX_WIDTH}, "
            f"got {q.dtype}, D = {q.shape[3]}, E = {v.shape[3]}"
        )
    from kernels.tiles import INTERPRETED

    if not (q.is_cuda or INTERPRETED):
        raise ValueError("the Triton form needs a GPU, or Triton's interpreter: TRITON_INTERPRET=1")
    from kernels.lightning import lightning  # here, so that a CPU needs neither Triton nor its second of import

    return lightning(q, k, v, decay, state, lengths)


def _chunk_size(q: Tensor, bounds: list[int] | None) -> int:
    """Choose 64, or less where the mean sequence is short: each fills its last chunk with zeros."""
    sequences = 1 if bounds is None else max(len(bounds) - 1, 1)
    return min(64, max(8, 1 << max(q.shape[2] // sequences - 1, 0).bit_length()))


def _check_lengths(q: Tensor, lengths: Tensor | None) -> None:
    if lengths is None:
        return
    if q.shape[0] != 1:
        raise ValueError(f"packed sequences need B = 1, got B = {q.shape[0]}")
    if lengths.dim() != 1 or len(lengths) < 1 or lengths.dtype not in {torch.int32, torch.int64}:
        raise ValueError(f"lengths must be (sequences + 1,) int32 or int64, got {tuple(lengths.shape)} {lengths.dtype}")
    if not _readable(lengths):
        return
    if lengths[0] != 0 or lengths[-1] != q.shape[2] or bool((lengths.diff() < 0).any()):
        raise ValueError(f"lengths must rise from 0 to N = {q.shape[2]}, got {lengths.tolist()}")


def _check(q: Tensor, k: Tensor, v: Tensor, decay: Tensor) -> None:
    if q.dim() != 4 or q.shape != k.shape or q.shape[:3] != v.shape[:3] or 0 in {q.shape[3], v.shape[3]}:
        raise ValueError(
            "q, k must be (B, H, N, D) and v (B, H, N, E) with D, E >= 1, "
            f"got {tuple(q.shape)}, {tuple(k.shape)}, {tuple(v.shape)}"
        )
    if not q.dtype == k.dtype == v.dtype:
        raise ValueError(f"q, k and v must have one dtype, got {q.dtype}, {k.dtype}, {v.dtype}")
    if not q.is_floating_point():
        raise ValueError(f"q, k and v must be floating-point numbers, got {q.dtype}")
    if decay.shape != q.shape[1:2] or decay.requires_grad:
        what = f"{tuple(decay.shape)} that requires grad" if decay.requires_grad else f"{tuple(decay.shape)}"
        raise ValueError(
            f"decay must be ({q.shape[1]},), one for each head of q (B, H, N, D), without gradient, got {what}"
        )
    if _readable(decay) and not bool(((decay >= 0) & decay.isfinite()).all()):
        raise ValueError(f"decay must be >= 0 and finite, got {decay.tolist()}")


def _readable(x: Tensor) -> bool:
    """Tell whether a look at the numbers neither waits for a device nor breaks a compiled graph."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _check_state(q: Tensor, v: Tensor, state: Tensor | None, sequences: int | None) -> None:
    expected = torch.Size((q.shape[0] if sequences is None else sequences, q.shape[1], q.shape[3], v.shape[3]))
    if state is not None and state.shape != expected:
        raise ValueError(f"state must be {tuple(expected)}, got {tuple(state.shape)}")

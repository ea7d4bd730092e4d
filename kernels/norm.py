"""SRMSNorm and its product with a gate: one kernel each way on a GPU, PyTorch elsewhere."""

import torch
from torch import Tensor
from torch.nn import functional

EPS = 1e-6  # beside the mean square, in float32: the authors' lightning-attention package
MAX_WIDTH = 16_384  # a program holds whole rows


def srms_norm(x: Tensor, gate: Tensor | None = None, *, form: str | None = None) -> Tensor:
    """Divide x (..., width) by its root mean square, without gain, and multiply by gate (..., width) where given.

    Equation 14 of arXiv:2405.17381, and 11 with a gate. Summed in float32, or float64 for float64; returns the
    dtype of x. `form`, "triton" or "torch", overrides the choice: Triton on a GPU up to a width of 16,384.
    Raises ValueError for a gate of another shape or dtype, and for a form that there is not or that cannot take x.
    """
    if form not in {None, "triton", "torch"}:
        raise ValueError(f"form must be 'triton' or 'torch', got {form!r}")
    if gate is not None and (gate.shape != x.shape or gate.dtype != x.dtype):
        raise ValueError(f"gate must be {tuple(x.shape)} {x.dtype}, got {tuple(gate.shape)} {gate.dtype}")
    fits = x.dtype != torch.float64 and x.shape[-1] <= MAX_WIDTH
    if form == "triton" and not fits:
        raise ValueError(
            f"the Triton form takes rows of up to {MAX_WIDTH} numbers, not float64, got {x.shape[-1]} {x.dtype}"
        )
    if form == "triton" or (form is None and fits and x.is_cuda):
        from kernels.norm_operator import fused_norm  # here, so that a CPU does not import Triton

        rows = x.reshape(-1, x.shape[-1])
        return fused_norm(rows, None if gate is None else gate.reshape(rows.shape)).view(x.shape)
    normed = functional.rms_norm(x if x.dtype == torch.float64 else x.float(), x.shape[-1:], eps=EPS)
    return normed.to(x.dtype) if gate is None else (normed * gate).to(x.dtype)

"""SRMSNorm in Triton, interpreted, and in PyTorch agree with float64, alone and with a gate."""

import pytest
import torch
from torch import Tensor

from kernels.norm import srms_norm
from tests.kernels.interpreted import BOUND, DEVICE, draw, worst


def formula(x: Tensor, gate: Tensor | None) -> Tensor:
    """Equation 14 as it is printed, with eps, and the gate of equation 11."""
    normed = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    return normed if gate is None else normed * gate


@pytest.mark.parametrize("form", ["torch", "triton"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("shape", [(2, 33, 24), (3, 1, 1000), (1, 2, 4097)], ids=str)
def test_the_norm_and_its_gradients(shape: tuple[int, ...], gated: bool, dtype: torch.dtype, form: str) -> None:
    """Output and gradients keep to the bound for narrow, odd and wide rows, sliced out of wider ones."""
    wide = draw((*shape[:2], 2 * shape[2] + 3), dtype, 1).to(DEVICE)
    pieces = [wide[..., 1 : 1 + shape[2]], wide[..., 2 + shape[2] : 2 + 2 * shape[2]]][: 1 + gated]
    leaves = [x.detach().requires_grad_() for x in pieces]
    exact = [x.detach().double().requires_grad_() for x in pieces]
    weight = draw(shape, dtype, 2).to(DEVICE)
    output = srms_norm(leaves[0], leaves[1] if gated else None, form=form)
    expected = formula(exact[0], exact[1] if gated else None)
    found = (output, *torch.autograd.grad(output, leaves, weight))
    right = (expected, *torch.autograd.grad(expected, exact, weight.double()))
    assert output.dtype == dtype
    errors = [worst(a.detach()[:, None], b.detach()[:, None]) for a, b in zip(found, right, strict=True)]
    assert max(errors) <= BOUND[dtype], errors


def test_a_row_of_zeros_stays_zero() -> None:
    """Eps keeps a row of zeros from becoming NaN, in the output and in the gradient."""
    x = torch.zeros(2, 8, device=DEVICE, requires_grad=True)
    output = srms_norm(x, form="triton")
    (gradient,) = torch.autograd.grad(output.sum(), x)
    assert not output.any()
    assert gradient.isfinite().all()


def test_no_rows_are_no_error() -> None:
    """An empty batch gives an empty result."""
    assert srms_norm(torch.empty(0, 5, 8, device=DEVICE), form="triton").shape == (0, 5, 8)


@pytest.mark.parametrize(
    ("x", "form", "message"),
    [
        (torch.ones(2, 8), "tritn", "form must be 'triton' or 'torch', got 'tritn'"),
        (torch.ones(2, 8, dtype=torch.float64), "triton", "not float64, got 8 torch.float64"),
        (torch.ones(1, 16_385), "triton", "up to 16384 numbers, not float64, got 16385"),
    ],
    ids=["name", "dtype", "width"],
)
def test_a_form_that_cannot_be_is_refused(x: Tensor, form: str, message: str) -> None:
    """Neither a misspelt form nor what the kernel cannot hold is computed in another way without a word."""
    with pytest.raises(ValueError, match=message):
        srms_norm(x, form=form)


def test_a_gate_of_another_shape_is_refused() -> None:
    """The error names both shapes."""
    with pytest.raises(ValueError, match=r"gate must be \(2, 8\) torch.float32, got \(2, 7\)"):
        srms_norm(torch.ones(2, 8), torch.ones(2, 7))

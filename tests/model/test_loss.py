"""The chunked losses are the plain cross-entropy, values and gradients."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model.loss import mean_loss, token_losses


def drawn(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw hidden vectors (count, 12), a head (70, 12) and targets (count,)."""
    generator = torch.Generator().manual_seed(count)
    hidden = torch.randn(count, 12, generator=generator, requires_grad=True)
    weight = torch.randn(70, 12, generator=generator, requires_grad=True)
    return hidden, weight, torch.randint(70, (count,), generator=generator)


@pytest.mark.parametrize("count", [1, 64, 300])
def test_token_losses_are_the_cross_entropy(count: int) -> None:
    """Each token's loss is that of torch on the full logits."""
    hidden, weight, targets = drawn(count)
    expected = functional.cross_entropy(hidden @ weight.T, targets, reduction="none")
    torch.testing.assert_close(token_losses(hidden, weight, targets), expected)


@pytest.mark.parametrize("count", [1, 128, 300])
def test_the_mean_loss_has_the_gradients_of_the_plain_one(count: int) -> None:
    """Loss and gradients equal torch's on the full logits, padding left out, for any factor on it."""
    hidden, weight, targets = drawn(count)
    targets[1::5] = -100
    expected = functional.cross_entropy(hidden @ weight.T, targets, ignore_index=-100)
    plain = torch.autograd.grad(3 * expected, (hidden, weight))
    found = mean_loss(hidden, weight, targets)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(3 * found, (hidden, weight)), plain)


def test_rows_of_padding_alone_have_loss_zero() -> None:
    """Without a single target the loss and its gradients are zero, not a division by zero."""
    hidden, weight, targets = drawn(9)
    loss = mean_loss(hidden, weight, torch.full_like(targets, -100))
    (gradient,) = torch.autograd.grad(loss, hidden)
    assert loss == 0
    assert not gradient.any()

"""The opponent of the benchmarks is what it claims to be: softmax attention, causal, of equal size."""

import math

import pytest
import torch
from torch import Tensor

from model.config import SIZES, TransNormerConfig
from tests.benchmarks.softmax_transformer import Attention, SoftmaxTransformer, rotate_pairs

CONFIG = TransNormerConfig(vocab_size=60, eos=2, width=128, layers=2, heads=4, hidden=96)


def drawn() -> tuple[SoftmaxTransformer, Tensor]:
    """Return a model livelier than a fresh one, and two rows of tokens."""
    model = SoftmaxTransformer(CONFIG)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)
    return model, torch.randint(60, (2, 70), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", ["1M", "4M"])
def test_the_opponent_has_as_many_parameters(size: str) -> None:
    """Its wider mixer makes up for the gate to 1 %."""
    config = TransNormerConfig(vocab_size=8192, eos=2, **SIZES[size])
    count = sum(weight.numel() for weight in SoftmaxTransformer(config).parameters())
    assert count == pytest.approx(config.parameters, rel=0.01)


def test_the_attention_is_the_softmax_of_products() -> None:
    """One head's output is the weighted mean of values by exp(q k / sqrt(D)) over the past, written out."""
    torch.manual_seed(0)
    attention = Attention(64)
    x, ones, zeros = torch.randn(1, 9, 64), torch.ones(9, 32), torch.zeros(9, 32)
    q, k, v = attention.qkv(x)[0].chunk(3, dim=-1)
    weights = ((q @ k.T) / 8 + torch.full((9, 9), -math.inf).triu(1)).softmax(-1)
    torch.testing.assert_close(attention(x, ones, zeros, [9])[0], (weights @ v) @ attention.out.weight.T)


def test_rotated_products_depend_on_distance_alone() -> None:
    """A pair turned at places 5 and 3 has the product it has at 105 and 103, and another at 4 and 3."""
    q, k = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0))
    rates = 10_000 ** (-torch.arange(4) / 4)

    def product(at: int, seen: int) -> float:
        turned = [rotate_pairs(x, (place * rates).cos(), (place * rates).sin()) for x, place in ((q, at), (k, seen))]
        return (turned[0] * turned[1]).sum().item()

    assert product(5, 3) == pytest.approx(product(105, 103), abs=1e-4)
    assert abs(product(5, 3) - product(4, 3)) > 0.01


def test_documents_in_a_row_do_not_see_each_other_or_the_future() -> None:
    """Packed documents, an empty one among them, have the logits they have alone; the past does not change."""
    model, tokens = drawn()
    row = tokens[:1]
    packed = model(row, torch.tensor([0, 40, 40, 41, 70]))
    for start, stop in ((0, 40), (40, 41), (41, 70)):
        torch.testing.assert_close(packed[:, start:stop], model(row[:, start:stop]), rtol=1e-3, atol=1e-4)
    changed = row.clone()
    changed[:, 30] = (changed[:, 30] + 1) % 60
    torch.testing.assert_close(model(changed)[:, :30], model(row)[:, :30], rtol=1e-3, atol=1e-4)
    assert (model(changed)[:, 30] - model(row)[:, 30]).abs().max() > 1e-3

"""The network: its sizes and constants, its causality, and that segments give what the whole gives."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from model.config import TransNormerConfig, evaluator
from model.transnormer import TransNormer, decay_rates, initial_theta, rotate, srms_norm

SMALL = TransNormerConfig(vocab_size=50, eos=2, width=24, layers=3, heads=3, hidden=40, tie_embeddings=True)


def drawn(config: TransNormerConfig = SMALL, tokens: int = 150) -> tuple[TransNormer, Tensor]:
    """Return a model in float64, ten times as lively as a fresh one, and two rows of tokens."""
    model = TransNormer(config).double()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.mul_(1 if "theta" in name else 10)
    return model, torch.randint(config.vocab_size, (2, tokens), generator=torch.Generator().manual_seed(3))


def test_the_released_sizes_give_the_released_count() -> None:
    """24 layers, width 1024, 8 heads, hidden 2816: 333,448,192 parameters besides embedding and head."""
    with torch.device("meta"):
        model = TransNormer(
            TransNormerConfig(
                vocab_size=64_000, eos=2, width=1024, layers=24, heads=8, hidden=2816, tie_embeddings=False
            )
        )
    counts = {name: weight.numel() for name, weight in model.named_parameters()}
    assert counts.pop("embedding.weight") == counts.pop("head.weight") == 64_000 * 1024
    assert sum(counts.values()) == 333_448_192


def test_an_evaluator_has_two_million_parameters() -> None:
    """At 8,192 pieces there are 1,932,384, two of five in the embedding; a tied head is counted once."""
    config = evaluator(vocab_size=8192, eos=2)
    assert sum(weight.numel() for weight in TransNormer(config).parameters()) == 1_932_384
    model = TransNormer(replace(config, tie_embeddings=True))
    assert sum(weight.numel() for weight in model.parameters()) == 1_932_384 - 8192 * 96
    assert model.head.weight is model.embedding.weight


@pytest.mark.parametrize("cuts", [[150], [1, 149], [64, 1, 85], [1] * 150])
def test_segments_give_the_logits_of_the_whole(cuts: list[int]) -> None:
    """Read in any segments, even token by token, a text has the logits and final state it has at once."""
    model, tokens = drawn()
    whole, end = model(tokens)
    state, parts = None, []
    for part in torch.split(tokens, cuts, dim=1):
        logits, state = model(part, state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    assert state is not None
    assert state.position.tolist() == end.position.tolist() == [150, 150]
    for found, expected in zip(state.attention, end.attention, strict=True):
        torch.testing.assert_close(found, expected)


def test_packed_documents_have_the_logits_they_have_alone() -> None:
    """Documents in one row, each going on from its own state, are as independent as in separate calls."""
    model, tokens = drawn()
    row = tokens[:1]
    lengths = torch.tensor([0, 40, 41, 150])
    first, state = model(row, None, lengths)
    second, _ = model(row, state, lengths)
    for start, stop in ((0, 40), (40, 41), (41, 150)):
        alone, own = model(row[:, start:stop])
        torch.testing.assert_close(first[:, start:stop], alone)
        torch.testing.assert_close(second[:, start:stop], model(row[:, start:stop], own)[0])


def test_the_future_changes_no_bit_of_the_past() -> None:
    """Logits before a changed token are bit-identical, those from it on are not."""
    model, tokens = drawn()
    changed = tokens.clone()
    changed[:, 70] = (changed[:, 70] + 1) % 50
    before, after = model.float()(tokens)[0], model(changed)[0]
    assert torch.equal(before[:, :70], after[:, :70])
    assert not torch.equal(before[:, 70], after[:, 70])


def test_fresh_weights_guess() -> None:
    """A fresh model's loss is near that of guessing, log V, and its weights depend on the seed alone."""
    config = replace(SMALL, tie_embeddings=False)
    model, again, other = TransNormer(config), TransNormer(config), TransNormer(config, seed=1)
    tokens = torch.randint(50, (4, 100))
    loss = torch.nn.functional.cross_entropy(model(tokens)[0][:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    assert abs(loss.item() - math.log(50)) < 0.1
    assert torch.equal(model.head.weight, again.head.weight)
    assert not torch.equal(model.head.weight, other.head.weight)
    assert model.state_dict()["layers.1.attention.qkvu.weight"].std().item() == pytest.approx(0.02, rel=0.05)


def test_decay_follows_the_released_slopes() -> None:
    """Eight heads have the slopes 1/2 .. 1/256 in the first layer and almost none in the last."""
    first = torch.tensor([2.0**-power for power in range(1, 9)])
    torch.testing.assert_close(decay_rates(8, 0, 24), first * (1 + 1e-5))
    torch.testing.assert_close(decay_rates(8, 23, 24), first * 1e-5)
    torch.testing.assert_close(decay_rates(8, 0, 1), first * (1 + 1e-5))


@pytest.mark.parametrize("heads", [1, 3, 5, 6, 12, 40])
def test_any_number_of_heads_has_slopes(heads: int) -> None:
    """Other than powers of two take the lower power's slopes, then every other one of the higher power's."""
    rates = decay_rates(heads, 0, 1) / (1 + 1e-5)
    lower = 2 ** math.floor(math.log2(heads))
    expected = [2 ** (-8 * head / lower) for head in range(1, lower + 1)]
    expected += [2 ** (-4 * head / lower) for head in range(1, 2 * (heads - lower), 2)]
    assert rates.tolist() == pytest.approx(expected, rel=1e-6)


def test_the_norm_divides_by_the_root_mean_square() -> None:
    """A vector keeps its direction and gets root mean square 1; bfloat16 stays bfloat16."""
    x = torch.randn(5, 16, generator=torch.Generator().manual_seed(0)) * 7
    torch.testing.assert_close(srms_norm(x), x / (x.norm(dim=-1, keepdim=True) / 4))
    assert srms_norm(x.bfloat16()).dtype == torch.bfloat16
    assert srms_norm(torch.zeros(16)).tolist() == [0] * 16


def test_rotated_products_depend_on_distance_alone() -> None:
    """Products of rotated vectors are sums of q k cos(theta distance), far beyond bfloat16's integers."""
    q, k = torch.randn(2, 1, 2, 1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    theta = initial_theta(2, 4).double()
    for start in (0, 1000):
        at = [rotate(x, theta, torch.tensor([[place]])) for x, place in ((q, start + 7), (k, start))]
        expected = (q * k * (7 * theta[:, None]).cos()).sum(-1)
        torch.testing.assert_close((at[0] * at[1]).sum(-1), expected)


def test_theta_is_learnt_in_the_first_layer_only() -> None:
    """Only the first layer has angles, from 1 down, and they get a gradient."""
    model, tokens = drawn()
    angles = {name: x for name, x in model.named_parameters() if "theta" in name}
    assert list(angles) == ["layers.0.attention.theta"]
    theta = angles["layers.0.attention.theta"]
    (gradient,) = torch.autograd.grad(model(tokens)[0].square().mean(), theta)
    assert theta.shape == (3, 8)
    assert theta[0, 0] == 1
    assert gradient.abs().max() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 5}, "heads must be a divisor of width = 24, got 5"),
        ({"layers": 0}, "layers must be at least 1, got 0"),
        ({"eos": 50}, "eos must be an id below vocab_size = 50, got 50"),
    ],
)
def test_impossible_sizes_are_refused(change: dict[str, Any], message: str) -> None:
    """The error names the field, what is allowed and the value."""
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)

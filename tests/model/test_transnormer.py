"""The network: its sizes and constants, its causality, and that segments give what the whole gives."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from kernels.norm import srms_norm
from model.config import SIZES, TransNormerConfig, read_config
from model.transnormer import TransNormer, decay_rates, initial_theta, released_decay, rotate

SMALL = TransNormerConfig(vocab_size=50, eos=2, width=24, layers=3, heads=3, hidden=40, tie_embeddings=True)


def drawn(config: TransNormerConfig = SMALL, tokens: int = 150) -> tuple[TransNormer, Tensor]:
    """Return a model in float64, ten times as lively as a fresh one, and two rows of tokens."""
    model = TransNormer(config).double()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.mul_(1 if "theta" in name else 10)
    return model, torch.randint(config.vocab_size, (2, tokens), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("size", "vocab_size", "count"),
    [
        ("1M", 8192, 1_026_144),
        ("4M", 8192, 3_932_288),
        ("15M", 8192, 15_532_224),
        ("385M", 64_000, 464_520_192),
        ("1B", 100_280, 1_289_528_832),
        ("7B", 64_000, 7_193_235_456),
        ("15B", 100_280, 14_830_720_000),
    ],
)
def test_named_sizes_have_their_count(size: str, vocab_size: int, count: int) -> None:
    """The count by arithmetic is the documented one, and of what fits here that of the built model."""
    config = TransNormerConfig(vocab_size=vocab_size, eos=2, **SIZES[size])
    assert config.parameters == count
    if count < 10_000_000:
        assert sum(weight.numel() for weight in TransNormer(config).parameters()) == count


def test_a_named_size_stands_in_a_configuration_file(tmp_path: Path) -> None:
    """`size` takes the fields of a named size; a field beside it goes before."""
    path = tmp_path / "model.toml"
    path.write_text("[model]\nlayers = 4\nsize = '4M'\n")
    model, _ = read_config(path, vocab_size=8192, eos=2)
    assert model == replace(TransNormerConfig(vocab_size=8192, eos=2, **SIZES["4M"]), layers=4)


CHOICES: list[dict[str, Any]] = [
    {"norm": "rms"},
    {"norm": "layer"},
    {"decay": "linear"},
    {"decay": "none"},
    {"lrpe": "all"},
    {"lrpe": "none"},
    {"gate": False},
    {"scale_embedding": False},
    {"tie_embeddings": False},
]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_every_choice_counts_its_weights_and_reads_in_segments(choice: dict[str, Any]) -> None:
    """Each choice changes the logits, has the weights it says, and gives the whole's logits in segments."""
    config = replace(SMALL, **choice)
    model, tokens = drawn(config, 100)
    assert config.parameters == sum(weight.numel() for weight in model.parameters())
    whole, _ = model(tokens)
    first, state = model(tokens[:, :33])
    second, _ = model(tokens[:, 33:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    assert (whole - drawn(SMALL, 100)[0](tokens)[0]).abs().max() > 1e-3


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


@pytest.mark.parametrize(
    ("heads", "first", "last"),
    [
        (8, [2**-1, 2**-2, 2**-3, 2**-4], [2**-7, 2**-8]),
        (20, [2**-0.5, 2**-1, 2**-1.5, 2**-2], [2**-1.25, 2**-1.75]),
        (40, [2**-0.25, 2**-0.5, 2**-0.75, 2**-1], [2**-1.625, 2**-1.875]),
    ],
)
def test_decay_follows_the_released_slopes(heads: int, first: list[float], last: list[float]) -> None:
    """Eight heads have 1/2 .. 1/256; 20 and 40 those of 16 and 32, then every other one of 32 and 64."""
    rates = released_decay(heads, 0, 24)
    assert (rates[:4] / (1 + 1e-5)).tolist() == pytest.approx(first, rel=1e-6)
    assert (rates[-2:] / (1 + 1e-5)).tolist() == pytest.approx(last, rel=1e-6)
    assert len(rates) == heads
    torch.testing.assert_close(released_decay(heads, 23, 24), rates / (1 + 1e-5) * 1e-5)
    torch.testing.assert_close(released_decay(heads, 0, 1), rates)


def test_the_linear_decay_is_the_printed_one() -> None:
    """Equation 10: with 8 heads and 24 layers the second layer has rates 0, 0.96, 1.92 .. 6.7 nats."""
    rates = decay_rates(replace(SMALL, width=24, heads=8, layers=24, decay="linear"), 1)
    assert rates.tolist() == pytest.approx([head * 23 / 24 for head in range(8)])
    assert decay_rates(replace(SMALL, decay="none"), 0).tolist() == [0, 0, 0]


@pytest.mark.parametrize("heads", [1, 3, 5, 6, 12])
def test_any_number_of_heads_has_slopes(heads: int) -> None:
    """Other than powers of two take the lower power's slopes, then every other one of the higher power's."""
    rates = released_decay(heads, 0, 1) / (1 + 1e-5)
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


@pytest.mark.parametrize(("lrpe", "layers"), [("first", [0]), ("all", [0, 1, 2]), ("none", [])])
def test_theta_is_learnt_in_the_layers_that_turn(lrpe: Literal["first", "all", "none"], layers: list[int]) -> None:
    """Those layers have angles, from 1 down, which get a gradient; fixed ones are the same and no weights."""
    model, tokens = drawn(replace(SMALL, lrpe=lrpe))
    angles = {name: x for name, x in model.named_parameters() if "theta" in name}
    assert list(angles) == [f"layers.{layer}.attention.theta" for layer in layers]
    loss = model(tokens)[0].square().mean()
    for theta in angles.values():
        (gradient,) = torch.autograd.grad(loss, theta, retain_graph=True)
        assert theta.shape == (3, 8)
        assert theta[0, 0] == 1
        assert gradient.abs().max() > 0
    fixed, _ = drawn(replace(SMALL, lrpe=lrpe, learn_theta=False))
    assert not any("theta" in name for name, _ in fixed.named_parameters())
    torch.testing.assert_close(fixed(tokens)[0], model(tokens)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 5}, "heads must be a divisor of width = 24, got 5"),
        ({"layers": 0}, "layers must be at least 1, got 0"),
        ({"norm": "batch"}, "norm must be 'srms', 'rms' or 'layer', got 'batch'"),
        ({"decay": "alibi"}, "decay must be 'released', 'linear' or 'none', got 'alibi'"),
        ({"lrpe": "last"}, "lrpe must be 'first', 'all' or 'none', got 'last'"),
        ({"eos": 50}, "eos must be an id below vocab_size = 50, got 50"),
    ],
)
def test_impossible_sizes_are_refused(change: dict[str, Any], message: str) -> None:
    """The error names the field, what is allowed and the value."""
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)

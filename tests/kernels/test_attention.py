"""The forms of attention agree with the recurrence, and no token sees another it should not see."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from kernels.attention import _chosen, linear_attention
from kernels.chunkwise import chunkwise
from kernels.reference import recurrent
from tests.kernels.interpreted import worst

Inputs = tuple[Tensor, Tensor, Tensor]
DECAYS = torch.tensor([0.0, 0.004, 0.5, 6.7], dtype=torch.float64)


def inputs(
    tokens: int, *, batch: int = 2, dtype: torch.dtype = torch.float64, sizes: tuple[int, int] = (8, 5)
) -> Inputs:
    """Draw q, k (batch, 4, tokens, D) and v (batch, 4, tokens, E)."""
    generator = torch.Generator().manual_seed(tokens)
    shapes = [(batch, 4, tokens, width) for width in (sizes[0], sizes[0], sizes[1])]
    q, k, v = (torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes)
    return q, k, v


def initial(sequences: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Draw a state (sequences, 4, 8, 5) that is not zero."""
    return torch.randn(sequences, 4, 8, 5, generator=torch.Generator().manual_seed(1), dtype=dtype)


def error(x: Tensor, expected: Tensor) -> float:
    """Return RMS(x - expected) / RMS(expected)."""
    difference = (x.double() - expected.double()).square().mean().sqrt()
    return float(difference / expected.double().square().mean().sqrt())


@pytest.mark.parametrize("tokens", [1, 2, 63, 64, 65, 300])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-13), (torch.float32, 1e-6), (torch.bfloat16, 5e-3)])
def test_chunkwise_equals_the_recurrence(tokens: int, dtype: torch.dtype, bound: float) -> None:
    """Output and final state match the recurrence in float64 on the rounded inputs, head by head."""
    state, x = initial(2), inputs(tokens, dtype=dtype)
    expected = recurrent(x[0].double(), x[1].double(), x[2].double(), DECAYS, state)
    found = linear_attention(*x, DECAYS, state=state)
    assert found[0].dtype == dtype
    assert worst(found[0], expected[0]) < bound
    assert worst(found[1], expected[1]) < bound


@pytest.mark.parametrize("tokens", [1, 2])
def test_autocast_rounds_nothing(tokens: int) -> None:
    """Under autocast float32 inputs are computed in float32, token by token and in chunks."""
    x, state = inputs(tokens, dtype=torch.float32), initial(2)
    expected = recurrent(*inputs(tokens), DECAYS, state)
    with torch.autocast("cpu", torch.bfloat16):
        found = linear_attention(*x, DECAYS, state=state)
    assert worst(found[0], expected[0]) < 1e-6


def test_the_form_follows_device_length_and_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """One token goes through the recurrence, more through chunks, on a GPU through Triton if it takes them."""
    with FakeTensorMode():
        here, one = torch.empty(1, 2, 9, 8), torch.empty(1, 2, 1, 8)
        there, wide = torch.empty(1, 2, 9, 8, device="cuda"), torch.empty(1, 2, 9, 257, device="cuda")
        assert _chosen(here, here, None, None) == "chunkwise"
        assert _chosen(one, one, None, None) == "recurrent"
        assert _chosen(there, there, None, None) == "triton"
        assert _chosen(there, wide, None, None) == "chunkwise"
        assert _chosen(there.double(), there.double(), None, None) == "chunkwise"
    monkeypatch.setattr("kernels.attention.FORCED", "recurrent")
    monkeypatch.setattr("kernels.attention.chunkwise", None)
    expected = recurrent(*inputs(5), DECAYS)
    assert torch.equal(linear_attention(*inputs(5), DECAYS)[0], expected[0])


def test_the_recurrence_is_the_sum_it_stands_for() -> None:
    """The oracle equals the masked quadratic sum over all earlier tokens."""
    q, k, v = inputs(20)
    distance = torch.arange(20)[:, None] - torch.arange(20)
    weights = torch.where(distance >= 0, torch.exp(-DECAYS[:, None, None] * distance.clamp(min=0)), 0.0)
    torch.testing.assert_close(recurrent(q, k, v, DECAYS)[0], (q @ k.mT * weights) @ v)


@pytest.mark.parametrize("size", [16, 128])
def test_the_chunk_size_does_not_matter(size: int) -> None:
    """Every chunk size gives the same output and state."""
    expected = recurrent(*inputs(200), DECAYS)
    found = chunkwise(*inputs(200), DECAYS, size=size)
    assert error(found[0], expected[0]) < 1e-13
    assert error(found[1], expected[1]) < 1e-13


def gradients(q: Tensor, k: Tensor, v: Tensor, cuts: list[int]) -> dict[str, Tensor]:
    """Attend piece by piece, carrying the state, and return outputs, state and gradients by name."""
    leaves = {name: x.detach().clone().requires_grad_() for name, x in zip("qkv", (q, k, v), strict=True)}
    state, outputs = None, []
    for start, stop in pairwise(cuts):
        q, k, v = (x[:, :, start:stop] for x in leaves.values())
        output, state = linear_attention(q, k, v, DECAYS, state=state)
        outputs.append(output)
    assert state is not None
    output = torch.cat(outputs, dim=2)
    found = torch.autograd.grad(output.square().sum() + state.sin().sum(), list(leaves.values()))
    return {"output": output.detach(), "state": state.detach()} | dict(zip(("dq", "dk", "dv"), found, strict=True))


def test_split_and_carried_equals_unsplit() -> None:
    """Carrying the state across cuts changes neither output, final state nor any gradient."""
    whole = gradients(*inputs(300), [0, 300])
    split = gradients(*inputs(300), [0, 1, 64, 65, 200, 300])
    assert {name: error(split[name], whole[name]) < 1e-12 for name in whole} == dict.fromkeys(whole, True)


def test_gradients_are_those_of_finite_differences() -> None:
    """Autograd through the chunks passes gradcheck in q, k, v and the initial state."""
    arguments = [x.requires_grad_() for x in (*inputs(5, batch=1, sizes=(2, 3)), torch.randn(1, 4, 2, 3).double())]

    def attend(q: Tensor, k: Tensor, v: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return chunkwise(q, k, v, DECAYS, state, size=2)

    assert torch.autograd.gradcheck(attend, arguments)


@pytest.mark.parametrize("cut", [1, 64, 100])
def test_the_future_changes_no_bit_of_the_past(cut: int) -> None:
    """Outputs before a token are bit-identical whatever follows."""
    q, k, v = inputs(300, dtype=torch.float32)
    before = linear_attention(q, k, v, DECAYS)[0][:, :, :cut]
    q, k, v = (torch.cat([x[:, :, :cut], 9 * x[:, :, cut:].flip(2)], dim=2) for x in (q, k, v))
    assert torch.equal(linear_attention(q, k, v, DECAYS)[0][:, :, :cut], before)


@pytest.mark.parametrize("sizes", [[0, 1, 65, 0, 64, 3, 1, 0], [5, 5, 5], [300], [1] * 9])
def test_packed_sequences_do_not_see_each_other(sizes: list[int]) -> None:
    """Each packed sequence, empty and one-token ones included, gives what it gives alone."""
    bounds = torch.tensor([0, *sizes]).cumsum(0)
    q, k, v = inputs(int(bounds[-1]), batch=1)
    states = initial(len(sizes))
    output, final = linear_attention(q, k, v, DECAYS, state=states, lengths=bounds)
    for number, (start, stop) in enumerate(pairwise(bounds.tolist())):
        state = states[number : number + 1]
        if start < stop:
            part = slice(start, stop)
            alone, state = recurrent(q[:, :, part], k[:, :, part], v[:, :, part], DECAYS, state)
            torch.testing.assert_close(output[:, :, start:stop], alone)
        torch.testing.assert_close(final[number : number + 1], state)


def test_packed_gradients_stay_within_their_sequence() -> None:
    """The loss of one packed sequence has no gradient in another and the right one in itself."""
    q, k, v = (x.requires_grad_() for x in inputs(150, batch=1))
    output, _ = linear_attention(q, k, v, DECAYS, lengths=torch.tensor([0, 70, 150]))
    found = torch.autograd.grad(output[:, :, 70:].square().sum(), (q, k, v))
    alone = recurrent(q[:, :, 70:], k[:, :, 70:], v[:, :, 70:], DECAYS)[0].square().sum()
    for gradient, expected in zip(found, torch.autograd.grad(alone, (q, k, v)), strict=True):
        assert not gradient[:, :, :70].any()
        assert error(gradient, expected) < 1e-12


def test_strong_decay_leaves_no_nan_in_a_partial_chunk() -> None:
    """A last chunk with few tokens and a decay of 6.7 per token keeps every number finite in float32."""
    output, state = linear_attention(*inputs(79, dtype=torch.float32), torch.tensor([6.7] * 4))
    assert output.isfinite().all()
    assert state.isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decay": torch.ones(3)}, r"decay must be \(4,\)"),
        ({"decay": -DECAYS}, r"decay must be >= 0 and finite, got \[.*, -6.7\]"),
        ({"decay": DECAYS / 0}, r"decay must be >= 0 and finite, got \[nan, inf"),
        ({"decay": DECAYS.clone().requires_grad_()}, "without gradient"),
        ({"k": torch.ones(2, 4, 7, 9)}, r"q, k must be \(B, H, N, D\)"),
        ({"state": torch.ones(1, 4, 8, 5)}, r"state must be \(2, 4, 8, 5\), got \(1, 4, 8, 5\)"),
        ({"lengths": torch.tensor([0, 7])}, "B = 1, got B = 2"),
        (dict.fromkeys("qkv", torch.ones(2, 4, 7, 8, dtype=torch.int64)), "floating-point numbers, got torch.int64"),
        ({"form": "flash"}, r"form, or LUSTRATE_ATTENTION, must be one of \('recurrent', .*\), got 'flash'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    """The error names what was expected and what came."""
    q, k, v = inputs(7)
    x = {"q": q, "k": k, "v": v, "decay": DECAYS} | change
    with pytest.raises(ValueError, match=message):
        linear_attention(x.pop("q"), x.pop("k"), x.pop("v"), x.pop("decay"), **x)


@pytest.mark.parametrize("lengths", [[0, 6], [1, 7], [0, 5, 3, 7], [7]])
def test_lengths_rise_from_zero_to_the_last_token(lengths: list[int]) -> None:
    """Cumulative lengths that miss a token or fall are refused."""
    with pytest.raises(ValueError, match="rise from 0 to N = 7"):
        linear_attention(*inputs(7, batch=1), DECAYS, lengths=torch.tensor(lengths))

"""The Triton kernels, interpreted, agree with the recurrence in float64 in outputs and all gradients."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from kernels.attention import linear_attention
from kernels.reference import recurrent
from tests.kernels.interpreted import BOUND, DEVICE, NAMES, draw, inputs, worst

DTYPES = [torch.float32, torch.bfloat16]


def attend(
    form: str, x: tuple[Tensor, ...], decay: Tensor, state: Tensor, lengths: Tensor | None = None
) -> dict[str, Tensor]:
    """Return output, final state and the gradients of a loss that reads both, by name."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in (*x, state)]
    q, k, v, initial = leaves
    if form == "oracle":
        bounds = None if lengths is None else lengths.tolist()
        results = recurrent(q, k, v, decay, initial, bounds=bounds)
    else:
        results = linear_attention(q, k, v, decay, state=initial, lengths=lengths, form="triton")
    weights = [draw(result.shape, torch.bfloat16, 7).to(result) for result in results]
    found = torch.autograd.grad(results, leaves, weights)
    return dict(zip(NAMES, (*(result.detach() for result in results), *found), strict=True))


def errors(
    x: tuple[Tensor, ...], decays: list[float], state: Tensor, lengths: Tensor | None = None
) -> dict[str, float]:
    """Return the worst error of a head, by tensor, against float64 on the same rounded inputs."""
    rate = torch.tensor(decays, dtype=torch.float64)
    expected = attend("oracle", tuple(t.double() for t in x), rate, state.double(), lengths)
    there = None if lengths is None else lengths.to(DEVICE)
    found = attend("triton", tuple(t.to(DEVICE) for t in x), rate.to(DEVICE), state.to(DEVICE), there)
    return {name: worst(found[name].cpu(), expected[name]) for name in NAMES}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("tokens", "d", "e", "decays"),
    [
        (1, 8, 16, [0.5, 0.0]),
        (64, 16, 16, [0.0, 6.7]),  # one block
        (79, 40, 24, [6.7, 0.02]),  # a block and a remainder, strong decay
        (256, 16, 16, [0.004, 0.0]),  # one chunk
        (300, 33, 65, [0.0, 0.02]),  # two chunks with a remainder, odd widths
    ],
)
def test_lengths_widths_and_decays(tokens: int, d: int, e: int, decays: list[float], dtype: torch.dtype) -> None:
    """Every length, width and decay keeps to the bound, outputs and gradients, with a state given and returned."""
    found = errors(inputs(tokens, d, e, dtype), decays, draw((1, 2, d, e), torch.float32, 5))
    assert max(found.values()) <= BOUND[dtype], found


@pytest.mark.parametrize(("d", "e"), [(1, 1), (256, 16), (129, 200)])
def test_the_narrowest_and_the_widest_heads(d: int, e: int) -> None:
    """Widths from 1 to 256, which the layer with LRPE may have, keep to the bound."""
    found = errors(inputs(70, d, e, torch.float32, heads=1), [0.1], draw((1, 1, d, e), torch.float32, 5))
    assert max(found.values()) <= BOUND[torch.float32], found


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16], ids=str)
def test_every_sequence_of_a_batch_has_its_own_chunks(dtype: torch.dtype) -> None:
    """Two sequences of three chunks, whose states pass through several, keep to the bound."""
    found = errors(inputs(600, 16, 8, dtype, batch=2), [0.0, 0.004], draw((2, 2, 16, 8), torch.float32, 5))
    assert max(found.values()) <= BOUND[dtype], found


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("d", "e"), [(64, 32), (160, 16)])
@pytest.mark.parametrize("entry", [1, 2])
def test_every_entry_is_as_accurate(
    entry: int, d: int, e: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries that only tuning would choose keep to the bound, where a kernel has so many."""
    monkeypatch.setattr("kernels.lightning.fastest", lambda launches: launches[min(entry, len(launches) - 1)])
    found = errors(inputs(140, d, e, dtype, heads=1), [0.02], draw((1, 1, d, e), torch.float32, 5))
    assert max(found.values()) <= BOUND[dtype], found


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", [torch.int32, torch.int64], ids=str)
def test_packed_with_empty_and_one_token_sequences(kind: torch.dtype, dtype: torch.dtype) -> None:
    """Packed sequences give outputs, states and gradients of their own, each from its own state."""
    lengths = torch.tensor([0, 0, 1, 70, 70, 71, 335, 335], dtype=kind)
    found = errors(inputs(335, 8, 17, dtype, heads=1), [0.05], draw((7, 1, 8, 17), torch.float32, 5), lengths)
    assert max(found.values()) <= BOUND[dtype], found


@pytest.mark.parametrize("lengths", [None, [0, 0, 0], [0]])
@pytest.mark.parametrize("form", ["recurrent", "chunkwise", "triton"])
def test_no_tokens_leave_the_state_and_pass_its_gradient(form: str, lengths: list[int] | None) -> None:
    """With N = 0, packed or not, the output is empty, the state stays, and gradients exist."""
    q, k, v = (x.to(DEVICE).requires_grad_() for x in inputs(0, 8, 5, torch.float32))
    state = draw((1 if lengths is None else len(lengths) - 1, 2, 8, 5), torch.float32, 3).to(DEVICE).requires_grad_()
    bounds = None if lengths is None else torch.tensor(lengths, device=DEVICE)
    output, final = linear_attention(q, k, v, torch.ones(2, device=DEVICE), state=state, lengths=bounds, form=form)  # type: ignore[arg-type]
    assert output.shape == (1, 2, 0, 5)
    assert torch.equal(final, state)
    gradients = torch.autograd.grad((output.sum(), (final * 3).sum()), (q, k, v, state))
    assert [x.shape for x in gradients] == [q.shape, k.shape, v.shape, state.shape]
    assert (gradients[3] == 3).all()


@pytest.mark.parametrize("cuts", [[0, 1, 77, 300], [0, 256, 300]])
def test_split_and_carried_equals_unsplit(cuts: list[int]) -> None:
    """Carrying the state over cuts, also inside a chunk, changes neither output nor any gradient."""
    decay = torch.tensor([0.01], device=DEVICE)
    x = [t.to(DEVICE) for t in inputs(300, 16, 8, torch.float32, heads=1)]
    results = []
    for edges in ([0, 300], cuts):
        q, k, v = (t.clone().requires_grad_() for t in x)
        state, outputs = None, []
        for a, b in pairwise(edges):
            output, state = linear_attention(
                q[:, :, a:b], k[:, :, a:b], v[:, :, a:b], decay, state=state, form="triton"
            )
            outputs.append(output)
        assert state is not None
        output = torch.cat(outputs, dim=2)
        results.append((output, state, *torch.autograd.grad(output.square().sum() + state.sin().sum(), (q, k, v))))
    whole, split = results
    assert max(worst(a.detach(), b.detach()) for a, b in zip(split, whole, strict=True)) < 1e-6


@pytest.mark.parametrize("cut", [1, 63, 64, 130, 256])
def test_the_future_changes_no_bit_of_the_past(cut: int) -> None:
    """Outputs before a token are bit-identical whatever follows, with no decay too."""
    q, k, v = inputs(270, 8, 8, torch.float32, heads=1)
    runs = []
    for change in (1.0, -9.0):
        x, y, z = (torch.cat([t[:, :, :cut], change * t[:, :, cut:]], dim=2).to(DEVICE) for t in (q, k, v))
        runs.append(linear_attention(x, y, z, torch.zeros(1, device=DEVICE), form="triton")[0])
    assert torch.equal(runs[0][:, :, :cut], runs[1][:, :, :cut])
    assert not torch.equal(runs[0][:, :, cut:], runs[1][:, :, cut:])


def test_any_strides_give_the_same_bits() -> None:
    """Views over a projection, sliced or transposed, with NaN beside every row, give what copies give."""
    wide = torch.full((2, 70, 3, 64), float("nan"))
    for number, x in enumerate(inputs(66, 10, 10, torch.float32, batch=2, heads=3)):
        wide[:, 2:68, :, 16 * number + 3 : 16 * number + 13] = x.transpose(1, 2)
    wide = wide.to(DEVICE)
    q, k, v = (wide[:, 2:68, :, start : start + 10].transpose(1, 2) for start in (3, 19, 35))
    decay = torch.tensor([0.0, 0.1, 6.7], device=DEVICE)
    found = linear_attention(q, k, v, decay, form="triton")
    expected = linear_attention(q.contiguous(), k.contiguous(), v.contiguous(), decay, form="triton")
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_negative_decay_is_seen_where_it_cannot_be_refused() -> None:
    """On a device, whose numbers are not read, a negative decay gives NaN and nothing plausible."""
    from kernels.lightning import lightning

    q, k, v = (t.to(DEVICE) for t in inputs(3, 4, 4, torch.float32))
    output, state = lightning(q, k, v, torch.tensor([-0.1, 0.1], device=DEVICE))
    assert output[:, 0].isnan().all()
    assert state[:, 0].isnan().all()
    assert output[:, 1].isfinite().all()


def test_lengths_that_fall_stay_within_the_tensors() -> None:
    """Lengths that the host cannot check are bent until they fit, whatever they say."""
    from kernels.layout import packed

    layout = packed(torch.tensor([5, 900, -3, 2**40, 7]), 300)
    assert layout.spans is not None
    assert layout.firsts is not None
    assert (layout.spans >= 0).all()
    assert (layout.spans[:, :2].sum(1) <= 300).all()
    assert layout.firsts[-1] <= layout.chunks
    assert packed(torch.tensor([0]), 300).chunks == 0


def test_torch_compile_sees_one_step_forward_and_one_back() -> None:
    """A compiled caller needs no graph break and computes the same bits."""

    def loss(leaves: list[Tensor], decay: Tensor) -> Tensor:
        q, k, v = leaves
        output, state = linear_attention(q * 2, k, v, decay, form="triton")
        return output.square().sum() + state.sum()

    decay = torch.tensor([0.1], device=DEVICE)
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    found = []
    for function in (loss, compiled):
        leaves = [x.to(DEVICE).requires_grad_() for x in inputs(20, 8, 5, torch.float32, heads=1)]
        found.append(torch.autograd.grad(function(leaves, decay), leaves))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (inputs(3, 257, 8, torch.float32), "widths up to 256, got torch.float32, D = 257"),
        (inputs(3, 8, 8, torch.float64), "got torch.float64"),
    ],
    ids=["width", "dtype"],
)
def test_what_triton_cannot_take_is_refused(x: tuple[Tensor, Tensor, Tensor], message: str) -> None:
    """The error names the limit and what came."""
    with pytest.raises(ValueError, match=message):
        linear_attention(x[0], x[1], x[2], torch.ones(2), form="triton")


def test_without_a_gpu_triton_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a GPU nor the interpreter: one line names both."""
    monkeypatch.setattr("kernels.tiles.INTERPRETED", False)
    with pytest.raises(ValueError, match="needs a GPU, or Triton's interpreter: TRITON_INTERPRET=1"):
        linear_attention(*inputs(3, 8, 8, torch.float32), torch.ones(2), form="triton")


@pytest.mark.parametrize("shape", [(0, 4, 7), (2, 0, 7), (2, 4, 0)])
@pytest.mark.parametrize("form", ["recurrent", "chunkwise", "triton"])
def test_nothing_to_attend_to_is_an_empty_output(form: Any, shape: tuple[int, int, int]) -> None:
    """No batch, no heads or no tokens give an empty output and a state of zeros."""
    q, v = torch.ones(*shape, 8, device=DEVICE), torch.ones(*shape, 5, device=DEVICE)
    output, state = linear_attention(q, q, v, torch.ones(shape[1], device=DEVICE), form=form)
    assert output.shape == v.shape
    assert state.shape == (*shape[:2], 8, 5)
    assert not state.any()


@pytest.mark.parametrize("form", ["recurrent", "chunkwise", "triton"])
def test_sums_beyond_float16_stay_finite(form: Any) -> None:
    """States of 86,400 and products q k of 184,320, where float16 ends at 65,504, give outputs and gradients in it."""
    for numbers in ((0.01, 12.0, 12.0), (12.0, 1920.0, 1e-5)):
        x = [torch.full((1, 1, 600, 8), number, dtype=torch.float16) for number in numbers]
        expected, _ = recurrent(x[0].double(), x[1].double(), x[2].double(), torch.zeros(1))
        leaves = [t.to(DEVICE).requires_grad_() for t in x]
        output, state = linear_attention(leaves[0], leaves[1], leaves[2], torch.zeros(1, device=DEVICE), form=form)
        torch.testing.assert_close(output.double().cpu(), expected, rtol=5e-3, atol=0)
        gradients = torch.autograd.grad((output.float().sum() * 1e-6, state.sum() * 1e-9), leaves)
        assert all(x.isfinite().all() for x in (state, *gradients))

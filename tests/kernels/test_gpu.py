"""Accuracy and speed on a real GPU: `make gpu`, which also runs there what CI runs interpreted."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from kernels.attention import linear_attention
from kernels.norm import srms_norm
from kernels.reference import recurrent
from kernels.tiles import INTERPRETED
from tests.kernels.interpreted import NAMES, draw, inputs, worst

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="needs a GPU and TRITON_INTERPRET=0"),
]


@pytest.mark.parametrize(("d", "e"), [(64, 64), (128, 64), (128, 128), (256, 128), (33, 65)])
@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.bfloat16, 5e-3), (torch.float16, 2e-3), (torch.float32, 1e-5)], ids=str
)
def test_accuracy(dtype: torch.dtype, bound: float, d: int, e: int) -> None:
    """Outputs, states and gradients keep to the bound against float64; float32 is three passes of TF32."""
    decay = torch.tensor([0.0, 0.004, 0.5, 6.7])
    x = inputs(1000, d, e, dtype, batch=2, heads=4)
    results = []
    for device, kind, form in (("cuda", dtype, "triton"), ("cpu", torch.float64, "recurrent")):
        leaves = [t.to(device, kind).requires_grad_() for t in x]
        leaves.append(draw((2, 4, d, e), torch.float32, 5).to(device).requires_grad_())
        q, k, v, state = leaves
        pair = (
            recurrent(q, k, v, decay.double(), state.double())
            if form == "recurrent"
            else linear_attention(q, k, v, decay.to(device), state=state)
        )
        weights = [draw(y.shape, torch.bfloat16, 7).to(y) for y in pair]
        results.append([t.detach().cpu() for t in (*pair, *torch.autograd.grad(pair, leaves, weights))])
    found = dict(zip(NAMES, map(worst, *results), strict=True))
    print(dtype, d, e, {name: f"{error:.1e}" for name, error in found.items()})
    assert max(found.values()) <= bound, found


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_packed_sequences_are_as_accurate(dtype: torch.dtype) -> None:
    """Packed, with an empty sequence and one of one token, every sequence has the output that it has alone."""
    decay, lengths = torch.tensor([0.0, 0.02]), [0, 700, 700, 701, 2000]
    q, k, v = inputs(2000, 128, 64, dtype)
    there = [x.cuda() for x in (q, k, v, decay, torch.tensor(lengths))]
    output, state = linear_attention(there[0], there[1], there[2], there[3], lengths=there[4])
    expected = recurrent(q.double(), k.double(), v.double(), decay.double(), bounds=lengths)
    errors = [worst(x.cpu(), y) for x, y in zip((output, state), expected, strict=True)]
    print(dtype, "packed", errors)
    assert max(errors) <= (5e-3 if dtype == torch.bfloat16 else 1e-5)


def seconds(step: object) -> float:
    """Return the mean time of a call on the GPU."""
    from triton import testing

    return testing.do_bench(step) / 1e3


def test_time_grows_with_the_length_and_not_its_square() -> None:
    """Four times the tokens take at most five times as long, forward and backward."""
    times = []
    for tokens in (8192, 32_768):
        q, k, v = (t.cuda().requires_grad_() for t in inputs(tokens, 128, 128, torch.bfloat16, heads=16))
        decay = torch.full((16,), 0.01, device="cuda")

        def step(q: Tensor = q, k: Tensor = k, v: Tensor = v, decay: Tensor = decay) -> None:
            torch.autograd.grad(linear_attention(q, k, v, decay)[0].sum(), (q, k, v))

        times.append(seconds(step))
    print(f"8,192 tokens {times[0] * 1e3:.2f} ms, 32,768 tokens {times[1] * 1e3:.2f} ms")
    assert times[1] <= 5 * times[0]


def test_faster_than_softmax_attention_on_long_sequences() -> None:
    """At 16,384 tokens the kernel takes less time than causal scaled_dot_product_attention."""
    q, k, v = (t.cuda() for t in inputs(16_384, 128, 128, torch.bfloat16, heads=16))
    decay = torch.full((16,), 0.01, device="cuda")
    linear = seconds(lambda: linear_attention(q, k, v, decay))
    softmax = seconds(lambda: functional.scaled_dot_product_attention(q, k, v, is_causal=True))
    print(f"linear {linear * 1e3:.2f} ms, softmax {softmax * 1e3:.2f} ms")
    assert linear < softmax


def test_the_fused_norm_is_faster_than_its_parts() -> None:
    """The norm with a gate in one kernel beats norm and product one after the other."""
    x, gate = (draw((16_384, 2048), torch.bfloat16, seed).cuda() for seed in range(2))
    fused, parts = (seconds(lambda form=form: srms_norm(x, gate, form=form)) for form in ("triton", "torch"))
    print(f"fused {fused * 1e6:.0f} µs, parts {parts * 1e6:.0f} µs")
    assert fused < parts

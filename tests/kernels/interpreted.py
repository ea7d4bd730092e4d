"""What the tests of interpreted kernels share: inputs, errors, and a scheduler that chooses the order of programs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor
from triton.runtime.interpreter import interpreter_builder

from kernels.launch import Launch, run
from kernels.tiles import INTERPRETED

DEVICE = "cpu" if INTERPRETED else "cuda"
BOUND = {
    torch.float32: 1e-6 if INTERPRETED else 1e-5,  # on a device, three passes of TF32
    torch.bfloat16: 5e-3,
    torch.float16: 2e-3,  # its states are kept in bfloat16, or they would end at 65,504
}  # RMS(x - ref) / RMS(ref), outputs and gradients
NAMES = ("output", "final", "dq", "dk", "dv", "d_state")


def draw(shape: Sequence[int], dtype: torch.dtype, seed: int) -> Tensor:
    """Draw normal numbers, rounded to dtype."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def inputs(
    tokens: int, d: int, e: int, dtype: torch.dtype, batch: int = 1, heads: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw q, k (batch, heads, tokens, d) and v (batch, heads, tokens, e)."""
    shapes = [(batch, heads, tokens, width) for width in (d, d, e)]
    q, k, v = (draw(shape, dtype, seed) for seed, shape in enumerate(shapes))
    return q, k, v


def worst(found: Tensor, expected: Tensor) -> float:
    """Return the largest RMS(found - expected) / RMS(expected) of a head; the second dimension counts heads."""
    found, expected = (x.double().transpose(0, 1).flatten(1) for x in (found, expected))
    if found.numel() == 0:
        return 0.0
    difference = (found - expected).square().mean(1).sqrt()
    return float((difference / expected.square().mean(1).sqrt().clamp(min=1e-30)).max())


@contextmanager
def order_of(programs: Sequence[int]) -> Iterator[None]:
    """Let the i-th program that is started be number `programs[i]`."""
    set_index = interpreter_builder.set_grid_idx

    def set_mapped(x: int, y: int, z: int) -> None:
        interpreter_builder.set_grid_dim(max(programs) + 1, 1, 1)
        set_index(programs[x], y, z)

    with pytest.MonkeyPatch.context() as change:
        change.setattr(interpreter_builder, "set_grid_idx", set_mapped)
        yield


def run_all(launches: Sequence[Sequence[Launch]]) -> None:
    """Run the default of each launch in its plain order."""
    for alternatives in launches:
        run(alternatives[0])

"""Every kernel compiles for an A100 and an H100 and keeps within their registers and shared memory, without either."""

import pytest
import torch

from kernels.report import (
    COMPILED_ONLY,
    DEVICES,
    GATED,
    NORMS,
    STEPS,
    Case,
    Row,
    cases,
    faults,
    measure_all,
    norm_cases,
)
from kernels.tiles import INTERPRETED

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="compiles where no GPU can run the kernels: TRITON_INTERPRET=1")


def chosen() -> list[Case]:
    """Name what CI compiles; `make kernels` compiles the whole matrix."""
    gated = [
        *cases(GATED, ["bfloat16"], DEVICES, defaults=True),
        *(case for case in cases(GATED, ["bfloat16"], [90]) if case.entry),  # Hopper's take the most shared memory
        *cases([(128, 128)], ["float16"], DEVICES, defaults=True),
        *cases(GATED, ["float32"], [80]),
    ]
    compiled = [*cases(COMPILED_ONLY, ["bfloat16"], [80], defaults=True)]
    packed = [Case(step, 0, 128, 64, "bfloat16", 80, packed=True) for step in STEPS]
    return [*gated, *compiled, *packed, *norm_cases([80]), *(c for c in norm_cases([90]) if c.d == 4096)]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Compile them all, in two processes."""
    return list(measure_all(chosen()))


def test_every_kernel_and_entry_compiles(rows: list[Row]) -> None:
    """All cases come back, the odd and the extreme widths among them, each with registers."""
    assert [row.case for row in rows] == chosen()
    assert all(0 < row.registers <= 255 for row in rows)
    assert {row.case.step for row in rows} == {*STEPS, *NORMS}


def test_no_default_entry_spills_or_asks_for_too_much_shared_memory(rows: list[Row]) -> None:
    """No stack in default entries, shared memory for a 3090 in all, tensor cores of the inputs' own type.

    Nor is that bought with small blocks: memory traffic stays below 2.5 times the least, over 256 programs.
    """
    assert [fault for row in rows for fault in faults(row)] == []


def test_the_gates_see_a_spill(rows: list[Row]) -> None:
    """A row that spills, or multiplies bfloat16 as TF32, is a fault."""
    row = next(row for row in rows if row.case.step == "output")
    spilled = Row(row.case, 255, 8, 200_000, frozenset({"tf32"}), 8, row.moved, 3.0, row.seconds)
    assert len(faults(spilled)) == 5


def test_the_length_is_no_constant_of_the_compiled_kernel() -> None:
    """Lengths, heads and the strides that follow from them are given at run time and never specialised on."""
    from triton.runtime.jit import JITFunction

    from kernels.outputs import attend, gradients
    from kernels.states import chunk_states, scan_states

    for kernel in (attend, gradients, chunk_states, scan_states):
        general = {p.name for p in JITFunction(kernel.fn).params if not p.is_constexpr}
        source = kernel.fn.__globals__  # the decorator's options are kept on the interpreted kernel
        assert source
        free = set(kernel.kwargs["do_not_specialize"])
        depends = {n for n in general if n.endswith(("_batch", "_head")) or n in {"tokens", "heads", "chunks"}}
        assert depends == free


def test_traffic_counts_what_the_algorithm_must_move() -> None:
    """The closed form of the smallest case, by hand: B H = 8, N = 8,192, D = E = 64 in bfloat16."""
    from kernels.aot import attention_launches
    from kernels.traffic import ideal, traffic

    states, scan, output = (x[0] for x in attention_launches(64, 64, torch.bfloat16)[:3])
    tokens, state, chunks = 8 * 8192 * 64 * 2, 64 * 64, 8 * 8192 // 256
    assert traffic(states) == 2 * tokens + chunks * state * 4
    assert traffic(scan) == chunks * state * 4 + (chunks - 8) * state * 2 + 8 * state * 4
    assert traffic(output) == 4 * tokens + (chunks - 8) * state * 2
    assert ideal([states, scan, output]) == 4 * tokens

"""Every kernel compiles for an A100 and an H100 and keeps within their registers and shared memory, without either."""

import pytest
import torch

from kernels.report import (
    COMPILED_ONLY,
    DEVICES,
    FETCHED_LIMIT,
    GATED,
    NORMS,
    STEPS,
    TRAFFIC_LIMIT,
    Case,
    Row,
    cases,
    faults,
    launches,
    measure_all,
    norm_cases,
    shares,
)
from kernels.tiles import INTERPRETED

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="compiles where no GPU can run the kernels: TRITON_INTERPRET=1")


def chosen() -> list[Case]:
    """Name what CI compiles: all that has a limit, and the rest for one device. `make kernels` compiles all of it."""
    gated = [*cases(GATED, ["bfloat16", "float16"], DEVICES), *cases(GATED, ["float32"], [80])]
    compiled = [*cases(COMPILED_ONLY, ["bfloat16"], [80])]
    packed = [*cases([(128, 64)], ["bfloat16"], [90], defaults=True, sequences=4)]
    return [*gated, *compiled, *packed, *norm_cases(["bfloat16"], DEVICES), *norm_cases(["float16"], [80])]


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
    spilled = Row(row.case, 255, 8, 200_000, frozenset({"tf32"}), 8, row.moved, 3.0, 6.0, row.seconds)
    assert len(faults(spilled)) == 6


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("sequences", [0, 4])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_packed_or_with_a_state_no_pass_moves_more(dtype: str, sequences: int, given: bool) -> None:
    """The limits on traffic hold for one sequence and four packed ones, starting from zeros or from a state."""
    for case in cases(GATED, [dtype], [80], defaults=True, sequences=sequences, given=given):
        moved, fetched = shares([alternatives[0] for alternatives in launches(case)])
        assert moved <= TRAFFIC_LIMIT, case
        assert fetched <= FETCHED_LIMIT, case


def test_the_gates_see_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 32 by 32 tokens, which need no stack either, fetch more than is allowed at every size."""
    from kernels import plan
    from kernels.entries import Entry

    monkeypatch.setattr(plan, "output_entries", lambda *_: (Entry(32, 32, 32, 8, 1),))
    for d, e in GATED:
        steps = launches(Case("gradients", 0, d, e, "bfloat16", 80))
        assert shares([alternatives[0] for alternatives in steps])[1] > FETCHED_LIMIT


def test_the_length_is_no_constant_of_the_compiled_kernel() -> None:
    """Lengths, heads and the strides that follow from them are given at run time and never specialised on."""
    from triton.runtime.jit import JITFunction

    from kernels.outputs import attend, gradients
    from kernels.states import chunk_states, scan_states

    for kernel in (attend, gradients, chunk_states, scan_states):
        general = {p.name for p in JITFunction(kernel.fn).params if not p.is_constexpr}
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

"""What running programs one after the other hides: their order, what they store, and how far they reach."""

from collections.abc import Callable
from itertools import chain

import numpy as np
import pytest
import torch
from torch import Tensor
from triton.runtime import interpreter
from triton.runtime.interpreter import interpreter_builder

from kernels.launch import Launch, run
from kernels.layout import Layout, dense, packed
from kernels.norm_operator import gradient_plan, norm_plan
from kernels.plan import backward_plan, forward_plan
from kernels.tiles import INTERPRETED
from kernels.traffic import fetched, traffic
from tests.kernels.interpreted import draw, order_of

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="looks into Triton's interpreter: TRITON_INTERPRET=1")
OUTPUTS = ("parts", "states", "final", "out", "dq", "dk", "dv", "dx", "d_gate")


def guarded(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    """Draw numbers that lie between bands of NaN: a read beside them spoils what is computed."""
    *outer, rows, width = shape
    band = torch.full((*outer, rows + 8, width + 16), float("nan"), dtype=dtype)
    inside = band[..., 4 : rows + 4, 8 : width + 8]
    inside.copy_(draw(shape, dtype, seed))
    return inside


def plan(dtype: torch.dtype, *, pack: bool = False, given: bool = True) -> list[Launch]:
    """Return all launches of attention and norm on guarded inputs, their outputs NaN before they run."""
    q, k, v, g = (guarded((1, 2, 270, width), dtype, seed) for seed, width in enumerate((8, 8, 12, 12)))
    decay, lengths = torch.tensor([0.0, 0.3]), torch.tensor([0, 3, 3, 270])
    layout: Layout = packed(lengths, 270) if pack else dense(1, 270)
    state = draw((layout.sequences, 2, 8, 12), torch.float32, 5) if given else None
    forward, (_, final, states) = forward_plan(q, k, v, decay, state, layout)
    backward, _ = backward_plan((q, k, v, g), decay, states, final, layout, given=given)
    x, gate, dy = (guarded((300, 24), dtype, seed) for seed in range(3))
    norms = [norm_plan(x, gate)[0], gradient_plan(x, gate, dy)[0], norm_plan(x, None)[0]]
    launches = [*chain.from_iterable(x[:1] for x in (*forward, *backward)), *norms]
    for launch in launches:
        for output in stored(launch).values():
            output.fill_(float("nan"))
    return launches


def stored(launch: Launch) -> dict[str, Tensor]:
    """Return the tensors that a launch fills."""
    reads = {"attend": {"states"}, "gradients": {"states"}, "scan_states": {"parts"}}
    inputs = reads.get(launch.kernel.__name__, set())
    return {name: launch.arguments[name] for name in OUTPUTS if name in launch.arguments and name not in inputs}


def run_in(launches: list[Launch], order: Callable[[int], list[int]]) -> list[Tensor]:
    """Run launches with their programs in some order and return copies of all they filled."""
    filled = []
    for launch in launches:
        with order_of(order(launch.programs)):
            run(launch)
        filled += [output.clone() for output in stored(launch).values()]
    return filled


@pytest.mark.parametrize("pack", [False, True])
def test_the_order_of_programs_changes_no_bit(pack: bool) -> None:
    """Every kernel, its grid reversed or shuffled, stores the same bits, none of them NaN."""
    generator = torch.Generator().manual_seed(0)
    orders: list[Callable[[int], list[int]]] = [
        lambda n: list(range(n)),
        lambda n: list(reversed(range(n))),
        lambda n: torch.randperm(n, generator=generator).tolist(),
    ]
    launches = plan(torch.float32, pack=pack)
    plain, *others = (run_in(launches, order) for order in orders)
    for other in others:
        assert all(torch.equal(a.nan_to_num(7), b.nan_to_num(7)) for a, b in zip(plain, other, strict=True))
    if not pack:  # packed, scratch for chunks that there might have been stays as it was
        assert all(x.isfinite().all() for x in plain)


def addresses(launch: Launch, kind: str) -> list[np.ndarray]:
    """Run a launch and return the addresses that each program loads or stores, as often as it does."""
    found: list[list[np.ndarray]] = [[] for _ in range(launch.programs)]
    names = {"store": "create_masked_store", "load": "create_masked_load"}
    access, set_index = getattr(interpreter_builder, names[kind]), interpreter_builder.set_grid_idx
    current = [0]

    def record(pointers: object, *rest: object) -> object:
        mask = rest[1] if kind == "store" else rest[0]
        size = pointers.get_element_ty().primitive_bitwidth // 8  # type: ignore[attr-defined]
        hit = pointers.data[np.broadcast_to(mask.data, pointers.data.shape)].ravel()  # type: ignore[attr-defined]
        found[current[0]].append(np.stack([hit, np.full_like(hit, size)]))
        return access(pointers, *rest)

    def count(x: int, y: int, z: int) -> None:
        current[0] = x
        set_index(x, y, z)

    with pytest.MonkeyPatch.context() as change:
        change.setattr(interpreter_builder, names[kind], record)
        change.setattr(interpreter_builder, "set_grid_idx", count)
        run(launch)
    return [np.concatenate([*parts, np.empty((2, 0), np.uint64)], axis=1) for parts in found]


def every_address(x: Tensor) -> np.ndarray:
    """Return the address of each element of a tensor that fills its memory."""
    return x.data_ptr() + x.element_size() * np.arange(x.numel(), dtype=np.uint64)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("pack", [False, True])
def test_every_output_element_is_stored_exactly_once_and_nothing_else(pack: bool, given: bool) -> None:
    """Over all programs, the addresses stored to are those of the outputs, each once, but for unused scratch."""
    for launch in plan(torch.bfloat16, pack=pack, given=given):
        found = np.sort(np.concatenate([x[0] for x in addresses(launch, "store")]))
        expected = np.sort(np.concatenate([every_address(x) for x in used(launch, given=given)]))
        assert np.array_equal(found, expected), launch.kernel.__name__


def used(launch: Launch, *, given: bool) -> list[Tensor]:
    """Return the tensors that a launch fills: of states those of chunks with tokens that do not start from zeros."""
    filled = stored(launch)
    chunks = [filled.pop(name) for name in ("parts", "states") if name in filled]
    if not chunks:
        return list(filled.values())
    spans, zeros = launch.arguments["spans"], not (given or launch.constants["REVERSE"])
    places = range(len(chunks[0])) if spans is None else spans[spans[:, 1] > 0][:, 2].tolist()
    first = launch.kernel.__name__ == "scan_states" and zeros
    return [*filled.values(), *(x[number] for x in chunks for number, place in enumerate(places) if place or not first)]


def _of_the_plan(place: np.ndarray, launch: Launch) -> np.ndarray:
    """Tell which addresses hold decays, or where chunks lie: a few bytes a program, which the formulas leave out."""
    few = [launch.arguments.get(name) for name in ("decay", "spans", "firsts")]
    return np.isin(place, np.concatenate([np.empty(0, np.uint64), *(every_address(x) for x in few if x is not None)]))


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("pack", [False, True])
def test_the_formulas_count_the_addresses_that_programs_touch(pack: bool, given: bool) -> None:
    """The closed forms equal bytes loaded and stored, each once a program and as often as it does, of all kernels."""
    for launch in plan(torch.bfloat16, pack=pack, given=given):
        once, often = 0, 0
        for kind in ("load", "store"):
            for program in addresses(launch, kind):
                of_data = program[:, ~_of_the_plan(program[0], launch)]
                once += int(np.unique(of_data, axis=1)[1].sum())
                often += int(of_data[1].sum())
        assert (once, often) == (traffic(launch), fetched(launch)), launch.kernel.__name__


def last_program(launch: Launch) -> None:
    """Run the last program of a launch alone, on tensors whose other pages are never touched."""
    alone = Launch(launch.kernel, 1, launch.arguments, launch.constants, launch.warps, launch.stages)
    with order_of([launch.programs - 1]), pytest.MonkeyPatch.context() as change:
        change.setattr(interpreter.GridExecutor, "_restore_args_dev", lambda *_: None)  # it would copy every page
        run(alone)


def test_elements_beyond_2_to_the_31_are_addressed() -> None:
    """The last chunk of 2^31 elements and more gives what it gives as a sequence of its own."""
    tokens, width = 2**27 + 5, 16  # the last chunk has 5 tokens
    far = torch.empty(1, 1, tokens, width, dtype=torch.float16)  # lazily committed: 4 GiB that nobody writes
    near = draw((1, 1, 5, width), torch.float16, 1)
    far[:, :, -5:] = near
    decay, results = torch.tensor([0.2]), []
    for x in (far, near):
        layout = dense(1, x.shape[2])
        state = torch.zeros(1, 1, width, width)
        forward, (out, final, states) = forward_plan(x, x, x, decay, state, layout)
        backward, gradients = backward_plan((x, x, x, x), decay, states, final, layout, given=True)
        states[-1] = 0.5
        backward[2][0].arguments["state_gradients"][-1] = 0.25
        for step in (forward[0], forward[2], backward[2]):
            last_program(step[0])
        parts = forward[0][0].arguments["parts"][-1]
        results.append([parts.clone(), *(y[:, :, -5:].clone() for y in (out, *gradients[:3]))])
    assert out.numel() < 2**31 < far.numel()
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert results[0][1].abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_rounding_by_hand_is_torchs_rounding(dtype: torch.dtype) -> None:
    """Interpreted, 16-bit operands are rounded to nearest even: ties, subnormals, infinities and NaN included."""
    import triton
    import triton.language as tl

    from kernels.tiles import round_to

    bits = torch.randint(-(2**31), 2**31, (4090,), generator=torch.Generator().manual_seed(0)).to(torch.int32)
    ties = torch.tensor([0x3F808000, 0x3F818000, 0x7F7FFFFF, 0x7F800000, 0x00000001, 0x7FC00000], dtype=torch.int32)
    x = torch.cat([bits, ties, (bits & ~0xFFFF) | 0x8000, ties | -(2**31)]).view(torch.float32)
    if dtype == torch.float16:
        x = torch.where(x.abs() < 65504, x, 1.0)  # beyond, NumPy warns of what torch also makes infinite
    handle = interpreter.TensorHandle(x.numpy(), tl.float32)
    scope = interpreter._patch_lang(round_to.fn)
    try:
        found = round_to(tl.tensor(handle, tl.block_type(tl.float32, [len(x)])), getattr(tl, str(dtype)[6:]))
    finally:
        scope.restore()
    assert triton.knobs.runtime.interpret
    assert torch.equal(torch.from_numpy(found.handle.data).nan_to_num(3), x.to(dtype).float().nan_to_num(3))

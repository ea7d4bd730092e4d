"""Which kernels are launched for a forward and a backward pass, with how many programs and what tensors."""

from typing import Any

import torch
from torch import Tensor

from kernels.entries import CHUNK, Entry, output_entries, power_of_two, state_entries, tile
from kernels.launch import Launch
from kernels.layout import Layout
from kernels.outputs import attend, gradients
from kernels.states import chunk_states, scan_states
from kernels.tiles import INTERPRETED


def chunk_states_with(
    entry: Entry, k: Tensor, v: Tensor, decay: Tensor, parts: Tensor, layout: Layout, *, reverse: bool
) -> Launch:
    """Plan the sum of each chunk's own part of the state into parts (chunks, H, D, E)."""
    d, e = k.shape[3], v.shape[3]
    arguments = (
        {"k": k, "v": v, "decay": decay, "spans": layout.spans, "parts": parts}
        | _strides("k", k)
        | _strides("v", v)
        | _sizes(k, layout)
    )
    constants = {"D": d, "E": e, "D_TILE": tile(d), "E_TILE": entry.columns, "ROWS": entry.rows, "REVERSE": reverse}
    programs = layout.chunks * k.shape[1] * -(-e // entry.columns)
    return Launch(chunk_states, programs, arguments, constants | _constants(layout, k, v), entry.warps, entry.stages)


def scan_states_with(
    parts: Tensor, initial: Tensor | None, decay: Tensor, states: Tensor, final: Tensor, layout: Layout, like: Tensor,
    *, reverse: bool,
) -> Launch:  # fmt: skip
    """Plan the scan of parts (chunks, H, D, E) into states, of the same shape, from initial or zeros to final."""
    size = final.shape[2] * final.shape[3]
    block = max(32, min(512, power_of_two(-(-size // 32))))  # 32 programs a head, so that 8 heads are 256
    arguments = {
        "parts": parts, "initial": initial, "decay": decay, "spans": layout.spans, "firsts": layout.firsts,
        "states": states, "final": final,
    } | _sizes(like, layout)  # fmt: skip
    constants = {
        "SIZE": size, "BLOCK": block, "CHUNK": CHUNK, "GIVEN": initial is not None, "REVERSE": reverse,
        "PACKED": layout.spans is not None, "INTERPRETED": INTERPRETED,
    }  # fmt: skip
    programs = layout.sequences * final.shape[1] * -(-size // block)
    return Launch(scan_states, programs, arguments, constants, warps=4 if block > 128 else 1, stages=3)


def attend_with(
    entry: Entry,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor,
    states: Tensor,
    out: Tensor,
    layout: Layout,
    *,
    given: bool,
) -> Launch:
    """Plan the output (B, H, N, E) from q, k, v and the state before each chunk."""
    arguments: dict[str, Any] = {
        "q": q,
        "k": k,
        "v": v,
        "decay": decay,
        "spans": layout.spans,
        "states": states,
        "out": out,
    }
    for name, x in zip("qkv", (q, k, v), strict=True):
        arguments |= _strides(name, x)
    constants = _tiles(entry, q, v) | _constants(layout, q, k, v) | {"GIVEN": given}
    programs = layout.chunks * q.shape[1]
    return Launch(attend, programs, arguments | _sizes(q, layout), constants, entry.warps, entry.stages)


def gradients_with(
    entry: Entry,
    inputs: tuple[Tensor, Tensor, Tensor, Tensor],
    decay: Tensor,
    states: tuple[Tensor, Tensor],
    outputs: tuple[Tensor, Tensor, Tensor],
    layout: Layout,
    *,
    given: bool,
) -> Launch:
    """Plan dq, dk, dv from q, k, v, dO, the states before each chunk and the gradients of those after it."""
    arguments: dict[str, Any] = {"decay": decay, "spans": layout.spans}
    arguments |= zip(("states", "state_gradients"), states, strict=True)
    arguments |= zip(("dq", "dk", "dv"), outputs, strict=True)
    for name, x in zip("qkvg", inputs, strict=True):
        arguments |= {name: x} | _strides(name, x)
    q, _, v, _ = inputs
    constants = _tiles(entry, q, v) | _constants(layout, *inputs) | {"GIVEN": given}
    programs = layout.chunks * q.shape[1]
    return Launch(gradients, programs, arguments | _sizes(q, layout), constants, entry.warps, entry.stages)


def forward_plan(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, initial: Tensor | None, layout: Layout
) -> tuple[list[list[Launch]], tuple[Tensor, Tensor, Tensor]]:
    """Return the launches of a forward pass, alternatives together, and the tensors that they fill.

    These are the output (B, H, N, E), the final state and the states before each chunk, which a backward pass
    reads again: they take as much memory as D E / 256 numbers a token. Without an initial state a sequence starts
    from zeros, which are neither written nor read.
    """
    batch, heads, tokens, d = q.shape
    e = v.shape[3]
    parts = q.new_empty(layout.chunks, heads, d, e, dtype=torch.float32)
    states = torch.empty_like(parts, dtype=kept_dtype(q.dtype))
    final = parts.new_empty(layout.sequences, heads, d, e)
    given = initial is not None
    out = q.new_empty(batch, tokens, heads, e).transpose(1, 2)
    launches = [
        [chunk_states_with(x, k, v, decay, parts, layout, reverse=False) for x in state_entries(d, e, q.dtype)],
        [scan_states_with(parts, initial, decay, states, final, layout, q, reverse=False)],
        [attend_with(x, q, k, v, decay, states, out, layout, given=given) for x in output_entries(d, e, q.dtype)],
    ]
    return launches, (out, final, states)


def backward_plan(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor],
    decay: Tensor,
    states: Tensor,
    d_final: Tensor,
    layout: Layout,
    *,
    given: bool,
) -> tuple[list[list[Launch]], tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Return the launches of a backward pass, alternatives together, and dq, dk, dv and the initial state's gradient.

    inputs are q, k, v and dO; d_final is the gradient of the final state, float32; `given`: a
    forward pass with an initial state filled `states`.
    """
    q, k, v, g = inputs
    d, e = q.shape[3], v.shape[3]
    parts = torch.empty_like(states, dtype=torch.float32)
    after, d_initial = torch.empty_like(states), torch.empty_like(d_final)
    outputs = (token_major(q), token_major(k), token_major(v))
    launches = [
        [chunk_states_with(x, q, g, decay, parts, layout, reverse=True) for x in state_entries(d, e, q.dtype)],
        [scan_states_with(parts, d_final, decay, after, d_initial, layout, q, reverse=True)],
        [
            gradients_with(x, inputs, decay, (states, after), outputs, layout, given=given)
            for x in output_entries(d, e, q.dtype)
        ],
    ]
    dq, dk, dv = (x.transpose(1, 2) for x in outputs)
    return launches, (dq, dk, dv, d_initial)


def kept_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which states between chunks are kept for inputs of dtype; float16 would end at 65,504."""
    return torch.bfloat16 if dtype == torch.float16 else dtype


def token_major(x: Tensor) -> Tensor:
    """Return an empty (B, N, H, width) for x (B, H, N, width): a token's heads lie together, as projections want."""
    return x.new_empty(x.shape[0], x.shape[2], x.shape[1], x.shape[3])


def _strides(name: str, x: Tensor) -> dict[str, int]:
    return {f"{name}_batch": x.stride(0), f"{name}_head": x.stride(1), f"{name}_row": x.stride(2)}


def _sizes(x: Tensor, layout: Layout) -> dict[str, int]:
    return {"tokens": x.shape[2], "heads": x.shape[1], "chunks": layout.per_sequence}


def _tiles(entry: Entry, q: Tensor, v: Tensor) -> dict[str, int]:
    d, e = q.shape[3], v.shape[3]
    width = min(entry.width, tile(d), tile(e))
    tiles = {"D": d, "E": e, "D_TILE": tile(d), "E_TILE": tile(e), "K_TILE": width}
    return tiles | {"ROWS": entry.rows, "COLUMNS": entry.columns}


def _constants(layout: Layout, *inputs: Tensor) -> dict[str, Any]:
    # A single pass of TF32 has 11 bits: too few for float32, as many as float16 has; bfloat16 ignores it.
    precision = {torch.float32: "tf32x3", torch.float16: "tf32"}.get(inputs[0].dtype, "ieee")
    return {
        "CHUNK": CHUNK,
        "PACKED": layout.spans is not None,
        "ALIGNED": all(stride % 16 == 0 for x in inputs for stride in x.stride()[:3]),
        "PRECISION": precision,
        "INTERPRETED": INTERPRETED,
    }

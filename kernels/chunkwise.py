"""Attention with fixed decay chunk by chunk in PyTorch, for the CPU and any other device.

arXiv:2401.04658, algorithm 1, with every exponent of the decay <= 0. Products run over all chunks at once, as
batches of matrices that lie one after the other: on a CPU, copies between products cost more than they do. States
pass from chunk to chunk as one product for GROUP chunks. A chunk that ends early shrinks the state by the tokens it
has, not by its size, so the final state is exact for every length.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from kernels.reference import empty_state, no_output, state_dtype

GROUP = 32  # chunks; 64 tokens each of heads 64 wide, the states then cost an eighth of the other products


class Chunks(NamedTuple):
    """The chunks that sequences are cut into, counted on the host."""

    counts: list[int]  # chunks of each sequence; 0 for an empty one
    last: list[int]  # tokens in the last chunk of each sequence, 1..size; 0 for an empty one
    slots: Tensor | None  # (N,) int64: place of each token among chunks * size; None: in order from 0


def chunkwise(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor,
    state: Tensor | None = None,
    *,
    bounds: Sequence[int] | None = None,
    size: int = 64,
) -> tuple[Tensor, Tensor]:
    """Attend in chunks of `size` tokens and return the output and the final state.

    q, k (B, H, N, D), v (B, H, N, E), N >= 0, decay (H,) >= 0, state (B, H, D, E). With `bounds`, cumulative lengths
    from 0 to N, B is 1 and sequences lie one after the other: state (sequences, H, D, E), none sees another.
    Output (B, H, N, E) in the dtype of v; states in `state_dtype(q)`. Differentiable in q, k, v and state. float16
    is computed in float32: its sums would end at 65,504.
    """
    tokens = q.shape[2]
    if state is None:
        state = empty_state(q, v, None if bounds is None else len(bounds) - 1)
    if q.numel() == 0:
        return no_output(q, k, v), state.to(state_dtype(q))
    if q.dtype == torch.float16:
        output, final = chunkwise(q.float(), k.float(), v.float(), decay, state, bounds=bounds, size=size)
        return output.to(v.dtype), final
    layout = _dense(tokens, size) if bounds is None else _packed(bounds, size, q.device)
    initial = (state,) if bounds is None else torch.split(state, 1)
    with torch.autocast(q.device.type, enabled=False):  # it would round the states
        chunks = [_to_chunks(x, layout, size) for x in (q, k, v)]
        output, final = _attend(chunks, -decay.to(state_dtype(q))[:, None, None], layout, initial)
    return _from_chunks(output, layout, tokens), final


def _attend(chunks: Sequence[Tensor], rate: Tensor, layout: Chunks, initial: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    q, k, v = chunks  # (B, H, chunks, C, D or E)
    size = q.shape[3]
    place = torch.arange(size, device=q.device)[:, None]
    within = torch.exp(rate * (place - place.T).clamp(min=0)).tril()[:, None]  # (H, 1, C, C)
    since_start = torch.exp(rate * (place + 1))[:, None]  # (H, 1, C, 1)
    update = _product((k * _until_end(rate, layout, size).to(k.dtype)).mT, v)  # (B, H, chunks, D, E)
    before, final = _scan(update.to(rate.dtype), rate, size, layout, initial)
    inner = _product(_product(q, k.mT) * within.to(q.dtype), v)
    return torch.addcmul(inner, _product(q, before.to(q.dtype)), since_start.to(q.dtype)), final


def _product(x: Tensor, y: Tensor) -> Tensor:
    """Multiply the matrices of two batches of any shape; matmul would copy the transposed ones."""
    return torch.bmm(x.flatten(0, 2), y.flatten(0, 2)).view(*x.shape[:4], y.shape[4])


def _until_end(rate: Tensor, layout: Chunks, size: int) -> Tensor:
    """Return what is left of each token at the end of its chunk: (H, chunks or 1, C, 1)."""
    sizes = [size] * sum(layout.counts)
    for end, last in zip(accumulate(layout.counts), layout.last, strict=True):
        if last:
            sizes[end - 1] = last
    used = torch.tensor(sizes, device=rate.device)[:, None, None]
    place = torch.arange(size, device=rate.device)[:, None]
    return torch.exp(rate[:, None] * (used - 1 - place).clamp(min=0))


def _scan(update: Tensor, rate: Tensor, size: int, layout: Chunks, initial: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the state before each chunk, like `update`, and after each sequence (sequences, H, D, E)."""
    before, final, start = [], [], 0
    for state, count, last in zip(initial, layout.counts, layout.last, strict=True):
        running = state.to(update.dtype)[:, :, None]
        for first in range(0, count, GROUP):
            stop = min(first + GROUP, count)
            states = _states_before(update[:, :, start + first : start + stop], running, rate * size)
            shrink = torch.exp(rate * (last if stop == count else size))[:, None]
            running = torch.addcmul(update[:, :, start + stop - 1, None], states[:, :, -1:], shrink)
            before.append(states)
        final.append(running[:, :, 0])
        start += count
    return torch.cat(before, dim=2), torch.cat(final)


def _states_before(update: Tensor, state: Tensor, rate: Tensor) -> Tensor:
    """Return the state before each of a few chunks, from the one before the first (B, H, 1, D, E)."""
    count = update.shape[2]
    if count == 1:
        return state
    place = torch.arange(count, device=rate.device)[:, None]
    weights = torch.exp(rate * (place - 1 - place.T).clamp(min=0)).tril(-1)  # (H, chunks, chunks)
    own = torch.matmul(weights, update.flatten(3)).view_as(update)
    return torch.addcmul(own, state, torch.exp(rate * place)[..., None])


def _dense(tokens: int, size: int) -> Chunks:
    chunks = -(-tokens // size)
    return Chunks([chunks], [tokens - (chunks - 1) * size], None)


def _packed(bounds: Sequence[int], size: int, device: torch.device) -> Chunks:
    edges = torch.tensor(bounds)
    length = edges.diff()
    counts = (length + size - 1) // size
    first = counts.cumsum(0) - counts  # first chunk of each sequence
    last = length - (counts - 1).clamp(min=0) * size
    shift = (first * size - edges[:-1]).repeat_interleave(length)
    slots = torch.arange(bounds[-1]) + shift
    return Chunks(counts.tolist(), last.tolist(), slots.to(device))


def _to_chunks(x: Tensor, layout: Chunks, size: int) -> Tensor:
    batch, heads, tokens, width = x.shape
    places = sum(layout.counts) * size
    if layout.slots is not None:
        x = x.new_zeros(batch, heads, places, width).index_copy(2, layout.slots, x)
    elif places > tokens:
        x = functional.pad(x, (0, 0, 0, places - tokens))
    return x.contiguous().view(batch, heads, -1, size, width)


def _from_chunks(x: Tensor, layout: Chunks, tokens: int) -> Tensor:
    x = x.flatten(2, 3)
    return x[:, :, :tokens] if layout.slots is None else x.index_select(2, layout.slots)

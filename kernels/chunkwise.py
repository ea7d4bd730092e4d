"""Attention with fixed decay chunk by chunk in PyTorch, for the CPU and any other device.

arXiv:2401.04658, algorithm 1, with every exponent of the decay <= 0. Products run over all chunks at once;
only the state passes from chunk to chunk. A chunk that ends early shrinks the state by the tokens it has, not
by its size, so the final state is exact for every length.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from kernels.reference import empty_state, no_output, state_dtype


class Layout(NamedTuple):
    """How sequences lie in chunks: each starts a chunk of its own."""

    used: Tensor  # (chunks,) int64: tokens in each chunk, 1..size
    counts: list[int]  # chunks of each sequence; 0 for an empty one
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
    Output (B, H, N, E) in the dtype of v; states in `state_dtype(q)`. Differentiable in q, k, v and state.
    """
    tokens = q.shape[2]
    if state is None:
        state = empty_state(q, v, None if bounds is None else len(bounds) - 1)
    if tokens == 0:
        return no_output(q, k, v), state.to(state_dtype(q))
    layout = _dense(tokens, size, q.device) if bounds is None else _packed(bounds, size, q.device)
    initial = (state,) if bounds is None else torch.split(state, 1)
    chunks = [_to_chunks(x, layout, size) for x in (q, k, v)]
    output, final = _attend(chunks, decay.to(state_dtype(q)), layout, initial)
    return _from_chunks(output, layout, tokens), final


def _attend(
    chunks: Sequence[Tensor], decay: Tensor, layout: Layout, initial: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    q, k, v = chunks  # (B, H, chunks, C, D or E)
    size = q.shape[3]
    place = torch.arange(size, device=q.device)
    distance = place[:, None] - place[None, :]
    rate = -decay[:, None, None]
    within = torch.exp(rate * distance.clamp(min=0)).tril()[:, None].to(q.dtype)  # (H, 1, C, C)
    since_start = torch.exp(rate * (place + 1))[..., None].to(q.dtype)  # (H, 1, C, 1)
    until_end = torch.exp(rate * (layout.used[:, None] - 1 - place).clamp(min=0))  # (H, chunks, C)
    update = (k * until_end[..., None].to(k.dtype)).mT @ v  # (B, H, chunks, D, E)
    shrink = torch.exp(-decay[:, None] * layout.used)[..., None, None]  # (H, chunks, 1, 1)
    before, final = _scan(update.to(decay.dtype), shrink, layout.counts, initial)
    output = ((q @ k.mT) * within) @ v + (q * since_start) @ before.to(q.dtype)
    return output, final


def _scan(update: Tensor, shrink: Tensor, counts: Sequence[int], initial: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    steps = zip(update.unbind(2), shrink.unbind(1), strict=True)
    before, final = [], []
    for state, count in zip(initial, counts, strict=True):
        running = state.to(update.dtype)
        for _ in range(count):
            before.append(running)
            contribution, factor = next(steps)
            running = torch.addcmul(contribution, running, factor)
        final.append(running)
    return torch.stack(before, dim=2), torch.cat(final)


def _dense(tokens: int, size: int, device: torch.device) -> Layout:
    chunks = -(-tokens // size)
    used = torch.full((chunks,), size, device=device)
    used[-1] = tokens - (chunks - 1) * size
    return Layout(used, [chunks], None)


def _packed(bounds: Sequence[int], size: int, device: torch.device) -> Layout:
    edges = torch.tensor(bounds)
    length = edges.diff()
    counts = (length + size - 1) // size
    first = counts.cumsum(0) - counts  # first chunk of each sequence
    used = torch.full((int(counts.sum()),), size)
    filled = counts > 0
    used[(first + counts - 1)[filled]] = (length - (counts - 1) * size)[filled]
    shift = (first * size - edges[:-1]).repeat_interleave(length)
    slots = torch.arange(bounds[-1]) + shift
    return Layout(used.to(device), counts.tolist(), slots.to(device))


def _to_chunks(x: Tensor, layout: Layout, size: int) -> Tensor:
    batch, heads, tokens, width = x.shape
    chunks = len(layout.used)
    if layout.slots is None:
        x = functional.pad(x, (0, 0, 0, chunks * size - tokens))
    else:
        x = x.new_zeros(batch, heads, chunks * size, width).index_copy(2, layout.slots, x)
    return x.reshape(batch, heads, chunks, size, width)


def _from_chunks(x: Tensor, layout: Layout, tokens: int) -> Tensor:
    x = x.flatten(2, 3)
    return x[:, :, :tokens] if layout.slots is None else x.index_select(2, layout.slots)

"""How sequences lie in chunks on the device: each starts a chunk of its own."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.entries import CHUNK


@dataclass(frozen=True, slots=True)
class Layout:
    """Chunks of a batch of equal sequences, or of sequences packed one after the other."""

    sequences: int
    per_sequence: int  # chunks of one; 0 when packed
    chunks: int  # in all; packed: at most so many, since only the device knows
    spans: Tensor | None = None  # (chunks, 3) int64: first token, number of tokens, place in its sequence; packed only
    firsts: Tensor | None = None  # (sequences + 1,) int64: first chunk of each sequence; packed only


def dense(batch: int, tokens: int) -> Layout:
    """Return the layout of `batch` sequences of `tokens` each."""
    per_sequence = -(-tokens // CHUNK)
    return Layout(batch, per_sequence, batch * per_sequence)


def packed(lengths: Tensor, tokens: int) -> Layout:
    """Return the layout of sequences with cumulative `lengths` (sequences + 1,), without waiting for the device.

    Lengths that fall or leave 0..tokens are bent until they fit: wrong, but never outside the tensors.
    """
    edges = lengths.to(torch.int64).clamp(0, tokens).cummax(0).values
    counts = (edges.diff() + CHUNK - 1) // CHUNK
    firsts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    sequences = len(counts)
    chunks = chunk_bound(sequences, tokens)
    number = torch.arange(chunks, device=lengths.device)
    sequence = torch.searchsorted(firsts[1:], number, right=True).clamp(max=max(sequences - 1, 0))
    place = number - firsts[sequence]
    start = edges[sequence] + place * CHUNK
    count = (edges[sequence + 1] - start).clamp(0, CHUNK)
    return Layout(sequences, 0, chunks, torch.stack([start.clamp(max=tokens), count, place], dim=1), firsts)


def chunk_bound(sequences: int, tokens: int) -> int:
    """Return the most chunks that `sequences` of together `tokens` can take."""
    return tokens // CHUNK * min(sequences, 1) + min(sequences, tokens)

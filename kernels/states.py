"""Triton kernels for the states between chunks: each chunk's own sum, then a scan over the chunks.

Lightning Attention-2 (arXiv:2401.04658, algorithms 1 and 2) walks over the sequence in one program per head. Here
each chunk sums its part of the state by itself, and the scan that joins them reads nothing but states.
Backwards in time the same two kernels give the gradient of the state: q takes the place of k, dO that of v.
"""

import triton
import triton.language as tl

from kernels.tiles import chunk_span, chunk_start, decay_rate, faded, load_rows, operand, stored


@triton.jit(do_not_specialize=["k_batch", "k_head", "v_batch", "v_head", "tokens", "heads", "chunks"])
def chunk_states(
    k, v, decay, spans, parts,
    k_batch, k_head, k_row, v_batch, v_head, v_row, tokens, heads, chunks,
    D: tl.constexpr, E: tl.constexpr, D_TILE: tl.constexpr, E_TILE: tl.constexpr, ROWS: tl.constexpr,
    CHUNK: tl.constexpr, REVERSE: tl.constexpr, PACKED: tl.constexpr, ALIGNED: tl.constexpr,
    PRECISION: tl.constexpr, INTERPRETED: tl.constexpr,
):  # fmt: skip
    """Sum exp(-decay distance) k_t v_t^T over a chunk into parts (chunks, H, D, E) float32.

    The distance is that of t to the chunk's last token; REVERSE: to the token before the chunk's first.
    """
    tiles: tl.constexpr = (E + E_TILE - 1) // E_TILE
    column = tl.program_id(0) % tiles * E_TILE
    head = tl.program_id(0) // tiles % heads
    chunk = tl.program_id(0) // tiles // heads
    first, count, batch, _ = chunk_span(spans, chunk, chunks, tokens, PACKED, CHUNK)
    k = chunk_start(k, batch, head, first, k_batch, k_head, k_row, ALIGNED)
    v = chunk_start(v, batch, head, first, v_batch, v_head, v_row, ALIGNED)
    rate = decay_rate(decay, head)
    d = tl.arange(0, D_TILE)
    e = column + tl.arange(0, E_TILE)
    state = tl.full((D_TILE, E_TILE), 0.0, tl.float32)
    for start in range(0, count, ROWS):
        rows = start + tl.arange(0, ROWS)
        distance = rows + 1 if REVERSE else count - 1 - rows
        k_rows = load_rows(k, rows, k_row, count, d, D)
        v_rows = load_rows(v, rows, v_row, count, e, E)
        weighed = v_rows.to(tl.float32) * faded(rate, distance)[:, None]
        state = tl.dot(
            tl.trans(operand(k_rows, k.dtype.element_ty, INTERPRETED)),
            operand(weighed, k.dtype.element_ty, INTERPRETED),
            state,
            input_precision=PRECISION,
        )
    parts += (chunk.to(tl.int64) * heads + head) * (D * E)
    if count > 0:  # packed, chunks that there might have been have no tokens
        tl.store(parts + d[:, None] * E + e[None, :], state, mask=(d < D)[:, None] & (e < E)[None, :])


@triton.jit(do_not_specialize=["tokens", "heads", "chunks"])
def scan_states(
    parts, initial, decay, spans, firsts, states, final, tokens, heads, chunks,
    SIZE: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr,
    GIVEN: tl.constexpr, REVERSE: tl.constexpr, PACKED: tl.constexpr, INTERPRETED: tl.constexpr,
):  # fmt: skip
    """Carry a sequence's state from chunk to chunk: what each chunk starts from, and what is left at the end.

    parts (chunks, H, SIZE) float32, initial and final (sequences, H, SIZE) float32, states (chunks, H, SIZE) in
    the dtype of the products that read them; SIZE = D E. REVERSE: from the last chunk to the first. Unless
    GIVEN, a sequence starts from zeros, which are not stored.
    """
    blocks: tl.constexpr = (SIZE + BLOCK - 1) // BLOCK
    place = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    head = tl.program_id(0) // blocks % heads
    sequence = (tl.program_id(0) // blocks // heads).to(tl.int64)
    mask = place < SIZE
    rate = decay_rate(decay, head)
    if PACKED:
        start = tl.load(firsts + sequence)
        steps = tl.load(firsts + sequence + 1) - start
    else:
        start = sequence * chunks
        steps = chunks
    running = tl.full((BLOCK,), 0.0, tl.float32)
    if GIVEN:
        running = tl.load(initial + (sequence * heads + head) * SIZE + place, mask=mask, other=0.0)
    for step in range(steps):
        chunk = start + (steps - 1 - step if REVERSE else step)
        here = (chunk * heads + head) * SIZE + place
        _, count, _, _ = chunk_span(spans, chunk, chunks, tokens, PACKED, CHUNK)
        tl.store(states + here, stored(running, states.dtype.element_ty, INTERPRETED), mask=mask & (GIVEN | (step > 0)))
        running = running * faded(rate, count) + tl.load(parts + here, mask=mask, other=0.0)
    tl.store(final + (sequence * heads + head) * SIZE + place, running, mask=mask)

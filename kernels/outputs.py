"""Triton kernels for what comes out of a chunk, given the state it starts from: the output and the gradients.

One block product serves all four: with A(q, k, v, S) for the output, dq = A(dO, v, k, S^T), and backwards in time
dk = A'(v, dO, q, dS^T), dv = A'(k, q, dO, dS) (arXiv:2401.04658, algorithms 1 and 2, regrouped by output).
"""

import triton
import triton.language as tl

from kernels.tiles import (
    chunk_span,
    chunk_start,
    decay_rate,
    faded,
    input_operand,
    load_rows,
    operand,
    stored,
    sum_operand,
)


@triton.jit
def attend_chunk(
    q, k, v, state, out, q_row, k_row, v_row, out_row, d_step, e_step, known, count, rate,
    D: tl.constexpr, E: tl.constexpr, D_TILE: tl.constexpr, E_TILE: tl.constexpr, K_TILE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, REVERSE: tl.constexpr,
    PRECISION: tl.constexpr, INTERPRETED: tl.constexpr,
):  # fmt: skip
    """Store the sum over s of exp(-decay |t - s|) (q_t k_s) v_s plus the faded q_t S, for t of a chunk.

    s runs from the chunk's first token to t; REVERSE: from t to its last. q, k are (count, D), v and out
    (count, E), the state is (D, E) with strides d_step and e_step, its rows from `known` on not read.
    """
    dtype: tl.constexpr = q.dtype.element_ty
    d = tl.arange(0, D_TILE)
    e = tl.arange(0, E_TILE)
    for start in range(0, count, ROWS):
        rows = start + tl.arange(0, ROWS)
        total = tl.full((ROWS, E_TILE), 0.0, tl.float32)
        for part in range(0, known, K_TILE):
            d_part = part + tl.arange(0, K_TILE)
            q_part = operand(load_rows(q, rows, q_row, count, d_part, D), dtype, INTERPRETED)
            mask = (d_part < D)[:, None] & (e < E)[None, :]
            state_part = tl.load(state + d_part[:, None] * d_step + e[None, :] * e_step, mask=mask, other=0.0)
            state_part = sum_operand(state_part, dtype, INTERPRETED)
            total = tl.dot(input_operand(q_part, dtype), state_part, total, input_precision=PRECISION)
        total *= faded(rate, count - 1 - rows if REVERSE else rows + 1)[:, None]
        q_rows = operand(load_rows(q, rows, q_row, count, d, D), dtype, INTERPRETED)
        stop = count if REVERSE else tl.minimum(start + ROWS, count)
        for other in range(start if REVERSE else 0, stop, COLUMNS):
            columns = other + tl.arange(0, COLUMNS)
            k_columns = operand(load_rows(k, columns, k_row, count, d, D), dtype, INTERPRETED)
            scores = tl.dot(q_rows, tl.trans(k_columns), input_precision=PRECISION)
            distance = columns[None, :] - rows[:, None] if REVERSE else rows[:, None] - columns[None, :]
            scores = sum_operand(scores * faded(rate, distance), dtype, INTERPRETED)
            v_columns = operand(load_rows(v, columns, v_row, count, e, E), dtype, INTERPRETED)
            total = tl.dot(scores, input_operand(v_columns, dtype), total, input_precision=PRECISION)
        mask = (rows < count)[:, None] & (e < E)[None, :]
        tl.store(
            out + rows[:, None] * out_row + e[None, :], stored(total, out.dtype.element_ty, INTERPRETED), mask=mask
        )


@triton.jit(
    do_not_specialize=["q_batch", "q_head", "k_batch", "k_head", "v_batch", "v_head", "tokens", "heads", "chunks"]
)
def attend(
    q, k, v, decay, spans, states, out,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row, tokens, heads, chunks,
    D: tl.constexpr, E: tl.constexpr, D_TILE: tl.constexpr, E_TILE: tl.constexpr, K_TILE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHUNK: tl.constexpr, GIVEN: tl.constexpr,
    PACKED: tl.constexpr, ALIGNED: tl.constexpr, PRECISION: tl.constexpr, INTERPRETED: tl.constexpr,
):  # fmt: skip
    """Store out (B, N, H, E) of one chunk and head from q, k, v and the state (D, E) before the chunk.

    Unless GIVEN, a sequence starts from zeros, which are not fetched.
    """
    head = tl.program_id(0) % heads
    chunk = tl.program_id(0) // heads
    first, count, batch, place = chunk_span(spans, chunk, chunks, tokens, PACKED, CHUNK)
    q = chunk_start(q, batch, head, first, q_batch, q_head, q_row, ALIGNED)
    k = chunk_start(k, batch, head, first, k_batch, k_head, k_row, ALIGNED)
    v = chunk_start(v, batch, head, first, v_batch, v_head, v_row, ALIGNED)
    known = D if GIVEN else tl.where(place == 0, 0, D)
    out += ((batch * tokens + first) * heads + head) * E
    states += (chunk.to(tl.int64) * heads + head) * (D * E)
    attend_chunk(
        q, k, v, states, out, q_row, k_row, v_row, heads * E, E, 1, known, count, decay_rate(decay, head),
        D, E, D_TILE, E_TILE, K_TILE, ROWS, COLUMNS, False, PRECISION, INTERPRETED,
    )  # fmt: skip


@triton.jit(
    do_not_specialize=[
        "q_batch", "q_head", "k_batch", "k_head", "v_batch", "v_head", "g_batch", "g_head", "tokens", "heads", "chunks"
    ]
)  # fmt: skip
def gradients(
    q, k, v, g, decay, spans, states, state_gradients, dq, dk, dv,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row, g_batch, g_head, g_row,
    tokens, heads, chunks,
    D: tl.constexpr, E: tl.constexpr, D_TILE: tl.constexpr, E_TILE: tl.constexpr, K_TILE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHUNK: tl.constexpr, GIVEN: tl.constexpr,
    PACKED: tl.constexpr, ALIGNED: tl.constexpr, PRECISION: tl.constexpr, INTERPRETED: tl.constexpr,
):  # fmt: skip
    """Store dq, dk (B, N, H, D) and dv (B, N, H, E) of one chunk and head; g is the output's gradient.

    states hold what the chunk starts from, state_gradients the gradient of what it leaves, both (D, E). One
    program takes all three, so that each input is fetched from memory once.
    """
    head = tl.program_id(0) % heads
    chunk = tl.program_id(0) // heads
    first, count, batch, place = chunk_span(spans, chunk, chunks, tokens, PACKED, CHUNK)
    q = chunk_start(q, batch, head, first, q_batch, q_head, q_row, ALIGNED)
    k = chunk_start(k, batch, head, first, k_batch, k_head, k_row, ALIGNED)
    v = chunk_start(v, batch, head, first, v_batch, v_head, v_row, ALIGNED)
    g = chunk_start(g, batch, head, first, g_batch, g_head, g_row, ALIGNED)
    rate = decay_rate(decay, head)
    known = E if GIVEN else tl.where(place == 0, 0, E)
    before = states + (chunk.to(tl.int64) * heads + head) * (D * E)
    after = state_gradients + (chunk.to(tl.int64) * heads + head) * (D * E)
    start = (batch * tokens + first) * heads + head
    attend_chunk(
        g, v, k, before, dq + start * D, g_row, v_row, k_row, heads * D, 1, E, known, count, rate,
        E, D, E_TILE, D_TILE, K_TILE, ROWS, COLUMNS, False, PRECISION, INTERPRETED,
    )  # fmt: skip
    attend_chunk(
        v, g, q, after, dk + start * D, v_row, g_row, q_row, heads * D, 1, E, E, count, rate,
        E, D, E_TILE, D_TILE, K_TILE, ROWS, COLUMNS, True, PRECISION, INTERPRETED,
    )  # fmt: skip
    attend_chunk(
        k, q, g, after, dv + start * E, k_row, q_row, g_row, heads * E, E, 1, D, count, rate,
        D, E, D_TILE, E_TILE, K_TILE, ROWS, COLUMNS, True, PRECISION, INTERPRETED,
    )  # fmt: skip

"""Triton kernels for SRMSNorm, alone or times a gate: one program a few rows, each read once and written once.

y = x / sqrt(mean(x^2) + eps), equation 14 of arXiv:2405.17381; with a gate u, y u, equation 11. Backwards, with r the
factor and g the gradient of the norm's own output: dx = r (g - r^2 mean(x g) x).
"""

import triton
import triton.language as tl

from kernels.tiles import stored


@triton.jit
def row_tile(pointer, rows, stride, columns, mask):
    """Load rows [rows, columns] as float32, zero where masked; offsets are 64 bits wide."""
    return tl.load(pointer + rows.to(tl.int64)[:, None] * stride + columns[None, :], mask=mask, other=0.0).to(
        tl.float32
    )


@triton.jit(do_not_specialize=["count"])
def norm_rows(
    x, gate, out, x_row, gate_row, count,
    WIDTH: tl.constexpr, TILE: tl.constexpr, ROWS: tl.constexpr, GATED: tl.constexpr, EPS: tl.constexpr,
    INTERPRETED: tl.constexpr,
):  # fmt: skip
    """Store the normed rows, times the gate's, into out (count, WIDTH)."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, TILE)
    mask = (rows < count)[:, None] & (columns < WIDTH)[None, :]
    values = row_tile(x, rows, x_row, columns, mask)
    values *= tl.rsqrt(tl.sum(values * values, axis=1) / WIDTH + EPS)[:, None]
    if GATED:
        values *= row_tile(gate, rows, gate_row, columns, mask)
    here = out + rows.to(tl.int64)[:, None] * WIDTH + columns[None, :]
    tl.store(here, stored(values, out.dtype.element_ty, INTERPRETED), mask=mask)


@triton.jit(do_not_specialize=["count"])
def norm_gradients(
    x, gate, g, dx, d_gate, x_row, gate_row, g_row, count,
    WIDTH: tl.constexpr, TILE: tl.constexpr, ROWS: tl.constexpr, GATED: tl.constexpr, EPS: tl.constexpr,
    INTERPRETED: tl.constexpr,
):  # fmt: skip
    """Store dx and, when gated, the gate's gradient, both (count, WIDTH), from x, the gate and g, dO."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, TILE)
    mask = (rows < count)[:, None] & (columns < WIDTH)[None, :]
    values = row_tile(x, rows, x_row, columns, mask)
    incoming = row_tile(g, rows, g_row, columns, mask)
    factor = tl.rsqrt(tl.sum(values * values, axis=1) / WIDTH + EPS)[:, None]
    values *= factor
    place = rows.to(tl.int64)[:, None] * WIDTH + columns[None, :]
    if GATED:
        tl.store(d_gate + place, stored(incoming * values, d_gate.dtype.element_ty, INTERPRETED), mask=mask)
        incoming *= row_tile(gate, rows, gate_row, columns, mask)
    shared = tl.sum(values * incoming, axis=1)[:, None] / WIDTH
    tl.store(dx + place, stored(factor * (incoming - values * shared), dx.dtype.element_ty, INTERPRETED), mask=mask)

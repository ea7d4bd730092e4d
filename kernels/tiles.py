"""What every kernel does with a tile: find its tokens, load it, round it, weigh it by the decay.

Functions of the device, called from kernels only. Interpreted, a 16-bit operand is rounded to nearest even by
hand and then multiplied in float32, which is the arithmetic of the tensor cores up to the order of sums: the
interpreter of Triton 3.9 multiplies bfloat16 as if its bits were integers and truncates when it stores.
"""

import triton
import triton.language as tl
from triton import knobs

INTERPRETED = bool(knobs.runtime.interpret)  # the decorator below decides by the same variable, when imported


@triton.jit
def chunk_span(spans, chunk, chunks, tokens, PACKED: tl.constexpr, CHUNK: tl.constexpr):
    """Return the first token of a chunk (int64), its number of tokens (int32), and its batch (int64)."""
    if PACKED:
        first = tl.load(spans + 2 * chunk)
        return first, tl.load(spans + 2 * chunk + 1).to(tl.int32), first * 0
    batch = (chunk // chunks).to(tl.int64)
    first = (chunk % chunks).to(tl.int64) * CHUNK
    return first, tl.minimum(tokens - first, CHUNK).to(tl.int32), batch


@triton.jit
def chunk_start(
    pointer, batch, head, first, batch_stride, head_stride, row_stride, ALIGNED: tl.constexpr
):  # fmt: skip
    """Return the pointer to a chunk's first token: 64 bits here, so that 32 do for the rows of one chunk."""
    offset = batch * batch_stride + head.to(tl.int64) * head_stride
    if ALIGNED:
        offset = tl.multiple_of(offset, 16)
    return pointer + offset + first * row_stride


@triton.jit
def load_rows(pointer, rows, stride, count, columns, WIDTH: tl.constexpr):
    """Load [rows, columns] of a chunk, zero from row `count` and column WIDTH on."""
    mask = (rows < count)[:, None] & (columns < WIDTH)[None, :]
    return tl.load(pointer + rows[:, None] * stride + columns[None, :], mask=mask, other=0.0)


@triton.jit
def operand(x, dtype: tl.constexpr, INTERPRETED: tl.constexpr):
    """Round x to the dtype in which a product takes it."""
    if INTERPRETED:
        return round_to(x.to(tl.float32), dtype)
    return x.to(dtype)


@triton.jit
def stored(x, dtype: tl.constexpr, INTERPRETED: tl.constexpr):
    """Round float32 x to the dtype in which it is stored."""
    if INTERPRETED:
        x = round_to(x, dtype)
    return x.to(dtype)


@triton.jit
def round_to(x, dtype: tl.constexpr):
    """Return float32 x rounded to nearest even to the values that dtype has, still as float32; NaN stays NaN."""
    if dtype == tl.bfloat16:
        bits = x.to(tl.uint32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        return tl.where(tl.abs(x) >= 0, bits.to(tl.float32, bitcast=True), x)
    return x.to(dtype).to(tl.float32)


@triton.jit
def decay_rate(decay, head):
    """Return the decay of a head in bits per token; NaN for a negative one, so that it cannot pass unseen."""
    rate = tl.load(decay + head) * 1.4426950408889634  # log2(e)
    return tl.where(rate >= 0, rate, float("nan"))


@triton.jit
def faded(rate, distance):
    """Return exp(-decay distance) and zero where distance < 0; no exponent is ever above zero."""
    return tl.where(distance >= 0, tl.exp2(-rate * tl.maximum(distance, 0).to(tl.float32)), 0.0)

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
    """Return a chunk's first token (int64), number of tokens (int32), batch (int64) and place in its sequence."""
    if PACKED:
        first = tl.load(spans + 3 * chunk)
        return first, tl.load(spans + 3 * chunk + 1).to(tl.int32), first * 0, tl.load(spans + 3 * chunk + 2)
    batch = (chunk // chunks).to(tl.int64)
    place = (chunk % chunks).to(tl.int64)
    return place * CHUNK, tl.minimum(tokens - place * CHUNK, CHUNK).to(tl.int32), batch, place


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
def sum_operand(x, dtype: tl.constexpr, INTERPRETED: tl.constexpr):
    """Round a sum, which no input bounds, for a product with inputs of dtype.

    float16 ends at 65,504. In its place comes TF32, which has as many bits and the range of float32.
    """
    return drop_bits(x.to(tl.float32), 13) if dtype == tl.float16 else operand(x, dtype, INTERPRETED)


@triton.jit
def input_operand(x, dtype: tl.constexpr):
    """Return inputs, unrounded, in the type that a product with `sum_operand` takes."""
    return x.to(tl.float32) if dtype == tl.float16 else x


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
        return drop_bits(x, 16)
    return x.to(dtype).to(tl.float32)


@triton.jit
def drop_bits(x, COUNT: tl.constexpr):
    """Return float32 x without its last COUNT bits, rounded to nearest even; NaN stays NaN."""
    bits = x.to(tl.uint32, bitcast=True)
    last = (bits >> COUNT) & 1
    bits = (bits + ((1 << (COUNT - 1)) - 1) + last) >> COUNT << COUNT
    return tl.where(tl.abs(x) >= 0, bits.to(tl.float32, bitcast=True), x)


@triton.jit
def decay_rate(decay, head):
    """Return the decay of a head in bits per token; NaN for a negative one, so that it cannot pass unseen."""
    rate = tl.load(decay + head) * 1.4426950408889634  # log2(e)
    return tl.where(rate >= 0, rate, float("nan"))


@triton.jit
def faded(rate, distance):
    """Return exp(-decay distance) and zero where distance < 0; no exponent is ever above zero."""
    return tl.where(distance >= 0, tl.exp2(-rate * tl.maximum(distance, 0).to(tl.float32)), 0.0)

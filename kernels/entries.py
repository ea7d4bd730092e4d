"""The block sizes in which each kernel is launched: the first entry is the default, the others are tuned among."""

from dataclasses import dataclass

import torch

CHUNK = 256  # tokens between two states: 256 programs at B H = 8, N = 8,192; states cost 0.4 to 1 times q, k, v, o


@dataclass(frozen=True, slots=True)
class Entry:
    """Tokens of a tile (rows by columns), key width taken at once, and how the compiler schedules them."""

    rows: int
    columns: int
    width: int
    warps: int
    stages: int


def tile(width: int) -> int:
    """Return the power of two, at least 16, that holds a width of 1 to 256: what a product on the device takes."""
    return max(16, power_of_two(width))


def power_of_two(size: int) -> int:
    """Return the least power of two that is not below size >= 1."""
    return 1 << (size - 1).bit_length()


def state_entries(d: int, e: int, dtype: torch.dtype) -> tuple[Entry, ...]:
    """Return the entries of `chunk_states`; `columns` is the width of v that one program takes."""
    wide = min(tile(e), 128)
    if dtype == torch.float32:
        return (Entry(32, min(wide, 64), tile(d), 8, 1),)
    warps = 8 if tile(d) * wide > 64 * 64 else 4
    return Entry(32, wide, tile(d), warps, 3), Entry(64, wide, tile(d), 8, 2)


def output_entries(d: int, e: int, dtype: torch.dtype) -> tuple[Entry, ...]:
    """Return the entries of `attend` and `gradients`."""
    if dtype == torch.float32:
        return (Entry(32, 32, 32, 8, 1),)
    widest = max(tile(d), tile(e))
    if widest > 128:
        narrow = 32 if dtype == torch.float16 else 64  # whose states are multiplied in 32 bits
        return Entry(64, 32, narrow, 8, 2), Entry(64, 64, 64, 8, 1)
    if widest > 64 and dtype == torch.float16:
        return Entry(64, 32, 64, 8, 2), Entry(64, 64, 64, 8, 2)
    return Entry(64, 64, 64, 8, 2), Entry(64, 32, 64, 8, 2), Entry(128, 64, 64, 8, 2)

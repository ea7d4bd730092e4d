"""Bytes that a launch moves from and to GPU memory, in closed form from its geometry.

Counted is what programs touch: each byte once a program, never shared between programs. What one program reads
again within its chunk lies a few hundred KB back, in the L2 cache; tests count the same from real addresses.
"""

from math import prod

from torch import Tensor

from kernels.launch import Launch

HARDWARE = {"A100": (2.039e12, 312e12), "H100": (3.35e12, 989e12)}  # bytes/s, dense bf16 FLOP/s: NVIDIA, 80 GB SXM


def size(x: Tensor) -> int:
    """Return the bytes of all elements of x."""
    return prod(x.shape) * x.element_size()


def traffic(launch: Launch) -> int:
    """Return the bytes that a dense launch reads and writes."""
    moved = sum(size(x) for name, x in launch.arguments.items() if _moves(name, x))
    if launch.kernel.__name__ == "chunk_states":
        tiles = -(-launch.constants["E"] // launch.constants["E_TILE"])
        moved += (tiles - 1) * size(launch.arguments["k"])  # each slice of v meets the whole of k
    if launch.constants.get("GIVEN") is False:  # zeros before the first chunk are neither written nor read
        moved -= size(launch.arguments["states"]) // launch.arguments["chunks"]
    return moved


def _moves(name: str, x: object) -> bool:
    return isinstance(x, Tensor) and name not in {"decay", "spans", "firsts"}


def flops(launch: Launch) -> int:
    """Return the multiplications and additions of a dense launch of attention, diagonal blocks counted whole."""
    c = launch.constants
    name = launch.kernel.__name__
    if name not in {"chunk_states", "attend", "gradients"}:
        return 0
    rows = prod(launch.arguments["k"].shape[:3])
    if name == "chunk_states":
        return 2 * rows * c["D"] * c["E"]
    seen = (c["CHUNK"] + c["ROWS"]) // 2  # tokens that a token meets within its chunk, on average
    products = 1 if name == "attend" else 3
    return products * 2 * rows * (c["D"] * c["E"] + seen * (c["D"] + c["E"]))


def roofline(launch: Launch, device: str) -> float:
    """Return the seconds that a launch takes at least on a device of HARDWARE."""
    bandwidth, peak = HARDWARE[device]
    return max(traffic(launch) / bandwidth, flops(launch) / peak)


def ideal(launches: list[Launch]) -> int:
    """Return the bytes of q, k, v read and o written once; with dO among the arguments, of q, k, v, dO, dq, dk, dv."""
    last = launches[-1].arguments
    return sum(size(last[name]) for name in ("q", "k", "v", "g", "out", "dq", "dk", "dv") if name in last)

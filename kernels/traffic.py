"""Bytes that a launch moves, in closed form from its geometry: between memory and a GPU, and within it.

`traffic` counts what programs touch, each byte once a program and never shared between programs: what memory must
deliver where the cache holds what one program reads again, a chunk's few hundred KB. `fetched` counts every load and
store as often as it is made, which the cache must deliver and which small blocks make large. Tests count both from
real addresses.
"""

from math import prod

from torch import Tensor

from kernels.launch import Launch

HARDWARE = {"A100": (2.039e12, 312e12), "H100": (3.35e12, 989e12)}  # bytes/s, dense bf16 FLOP/s: NVIDIA, 80 GB SXM
PRODUCTS = {  # of a chunk, as `attend_chunk` takes them: q, k, v, state, out, and whether it runs backwards
    "attend": [("q", "k", "v", "states", "out", False)],
    "gradients": [
        ("g", "v", "k", "states", "dq", False),
        ("v", "g", "q", "state_gradients", "dk", True),
        ("k", "q", "g", "state_gradients", "dv", True),
    ],
}


def size(x: Tensor) -> int:
    """Return the bytes of all elements of x."""
    return prod(x.shape) * x.element_size()


def traffic(launch: Launch) -> int:
    """Return the bytes that the programs of a launch read and write, each once a program."""
    moved = sum(_touched(name, x, launch) for name, x in launch.arguments.items() if _moves(name, x))
    if launch.kernel.__name__ == "chunk_states":
        tiles = -(-launch.constants["E"] // launch.constants["E_TILE"])
        moved += (tiles - 1) * size(launch.arguments["k"])  # each slice of v meets the whole of k
    return moved


def fetched(launch: Launch) -> int:
    """Return the bytes that the programs of a launch read and write, as often as they do."""
    if launch.kernel.__name__ not in PRODUCTS:
        return traffic(launch)
    return sum(_fetched(launch, *product) for product in PRODUCTS[launch.kernel.__name__])


def _moves(name: str, x: object) -> bool:
    return isinstance(x, Tensor) and name not in {"decay", "spans", "firsts"}


def _touched(name: str, x: Tensor, launch: Launch) -> int:
    if name not in {"parts", "states", "state_gradients"}:
        return size(x)
    return size(x) // x.shape[0] * sum(_known(name, place, launch) for _, place in _chunks(launch))


def _known(name: str, place: int, launch: Launch) -> bool:
    """Tell whether a chunk at this place of its sequence has a state: unless given, zeros are not stored."""
    return place > 0 or name != "states" or launch.constants["GIVEN"]


def _chunks(launch: Launch) -> list[tuple[int, int]]:
    """Return the tokens of each chunk that has any, and its place in its sequence."""
    arguments, longest = launch.arguments, launch.constants["CHUNK"]
    if arguments["spans"] is not None:
        return [(tokens, place) for _, tokens, place in arguments["spans"].tolist() if tokens]
    tokens, count = arguments["tokens"], arguments["chunks"]
    sequence = [(min(tokens - place * longest, longest), place) for place in range(count)]
    states = arguments["parts"] if "parts" in arguments else arguments["states"]
    return sequence * (states.shape[0] // max(count, 1))


def _fetched(launch: Launch, q: str, k: str, v: str, state: str, out: str, reverse: bool) -> int:
    """Return the bytes that `attend_chunk` reads and writes for all chunks and heads."""
    arguments, rows = launch.arguments, launch.constants["ROWS"]
    row = {name: arguments[name].shape[-1] * arguments[name].element_size() for name in (q, k, v, out)}
    matrix = prod(arguments[state].shape[2:]) * arguments[state].element_size()
    total = 0
    for tokens, place in _chunks(launch):
        known = _known(state, place, launch)
        total += tokens * ((1 + known) * row[q] + row[out])
        total += _visits(tokens, rows, launch.constants["COLUMNS"], reverse) * (row[k] + row[v])
        total += known * -(-tokens // rows) * matrix
    return total * arguments["heads"]


def _visits(tokens: int, rows: int, columns: int, reverse: bool) -> int:
    """Return how many rows of k, tokens of a chunk, all blocks of q meet together."""
    if reverse:
        return sum(tokens - start for start in range(0, tokens, rows))
    return sum(min(-(-min(start + rows, tokens) // columns) * columns, tokens) for start in range(0, tokens, rows))


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
    """Return the bytes that a pass moves at least: q, k, v read and o written once; backward, dO, dq, dk, dv too.

    With states given, those are read and those after the last tokens written as well.
    """
    _, scan, last = (launch.arguments for launch in launches)
    least = sum(size(last[name]) for name in ("q", "k", "v", "g", "out", "dq", "dk", "dv") if name in last)
    return least + launches[-1].constants["GIVEN"] * (size(scan["final"]) * 2)

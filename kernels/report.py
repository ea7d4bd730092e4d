"""`python -m kernels.report`: what every kernel needs of an A100 and an H100, compiled here and checked against limits.

No GPU takes part. Published peers, compiled in the same way, have 24 to 6,248 bytes of stack.
"""

import argparse
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, product

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from kernels.launch import Launch
from kernels.traffic import HARDWARE, fetched, ideal, roofline, traffic

GATED = [(64, 64), (128, 64), (128, 128), (256, 128)]
COMPILED_ONLY = [(1, 1), (8, 16), (33, 65), (96, 96), (256, 256)]
STEPS = ("states", "scan", "output", "states, back", "scan, back", "gradients")
NORMS = ("norm", "norm, back", "gated norm", "gated norm, back")
DEVICES = {80: "A100", 90: "H100"}
PRODUCTS = {"bfloat16": "bf16", "float16": "f16", "float32": "tf32"}
SHARED_LIMIT = 101_376  # bytes a program: what GPUs of the RTX 3090's class have, the least of capability 8.x
PACKED_STACK = 8  # bytes a thread, of two of eight packed kernels at (256, 128): no block size tried is without
TRAFFIC_LIMIT = 2.5  # times the least that any algorithm moves
FETCHED_LIMIT = 5.5  # times the same, from the cache; blocks of 32 tokens fetch 6.3 times as much backward
PROGRAMS = 256  # at B H = 8, N = 8,192: more than an H100 has multiprocessors


@dataclass(frozen=True, slots=True)
class Case:
    """One kernel to compile: (step, entry) of (D, E), or for the norms of (width, 0)."""

    step: str
    entry: int
    d: int
    e: int
    dtype: str
    capability: int
    sequences: int = 0  # packed; 0: one that is not
    given: bool = False  # a state to start from


@dataclass(frozen=True, slots=True)
class Row:
    """What compiling one case showed; bytes, and seconds of the roofline at B H = 8, N = 8,192."""

    case: Case
    registers: int
    stack: int
    shared: int
    products: frozenset[str]
    programs: int
    moved: int
    share: float  # of what this pass moves, all its launches together, in the least possible
    fetched: float  # of what this pass fetches, again and again, in the same
    seconds: float


def launches(case: Case) -> list[list[Launch]]:
    """Return the launches of the pass that a case belongs to, the alternatives of each together."""
    from kernels.aot import attention_launches, norm_launches  # here: Triton decides by the environment how it loads

    dtype = getattr(torch, case.dtype)
    if case.step in NORMS:
        return [[x] for x in norm_launches(case.d, dtype, gated="gated" in case.step)]
    both = attention_launches(case.d, case.e, dtype, sequences=case.sequences, given=case.given)
    return both[:3] if STEPS.index(case.step) < 3 else both[3:]


def cases(
    pairs: Iterable[tuple[int, int]],
    dtypes: Iterable[str],
    capabilities: Iterable[int],
    *,
    defaults: bool = False,
    sequences: int = 0,
    given: bool = False,
) -> Iterator[Case]:
    """Name every kernel and entry of these sizes, dtypes and capabilities, or the default entries alone."""
    for d, e in pairs:
        for dtype in dtypes:
            for capability in capabilities:
                for step in STEPS:
                    one = Case(step, 0, d, e, dtype, capability, sequences, given)
                    yield from [one] if defaults else _entries(one)


def norm_cases(dtypes: Iterable[str], capabilities: Iterable[int]) -> Iterator[Case]:
    """Name the kernels of the norm at a small, an odd and a large width."""
    for dtype, capability, width, step in product(dtypes, capabilities, (96, 1000, 4096), NORMS):
        yield Case(step, 0, width, 0, dtype, capability)


def _entries(case: Case) -> Iterator[Case]:
    alternatives = launches(case)[STEPS.index(case.step) % 3]
    yield from (replace(case, entry=entry) for entry in range(len(alternatives)))


def measure(case: Case) -> Row:
    """Compile a case and count what it moves."""
    from kernels.aot import resources

    steps = launches(case)
    if case.step in NORMS:
        launch = steps[NORMS.index(case.step) % 2][0]
        share, again = 1.0, 1.0  # each tensor is read or written once
    else:
        place = STEPS.index(case.step) % 3
        launch = steps[place][case.entry]
        share, again = shares([launch if other == place else steps[other][0] for other in range(3)])
    needs = resources(launch, case.capability)
    seconds = roofline(launch, DEVICES[case.capability])
    taken = (needs.registers, needs.stack, needs.shared, needs.products)
    return Row(case, *taken, launch.programs, traffic(launch), share, again, seconds)


def shares(steps: list[Launch]) -> tuple[float, float]:
    """Return what a pass of these launches moves, and what it fetches again and again, in the least possible."""
    least = ideal(steps)
    return sum(map(traffic, steps)) / least, sum(map(fetched, steps)) / least


def measure_all(which: list[Case], workers: int = 2) -> Iterator[Row]:
    """Compile cases in processes of their own, in which Triton compiles even where this one interprets."""
    before = os.environ.get("TRITON_INTERPRET")
    os.environ["TRITON_INTERPRET"] = "0"
    try:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            yield from pool.map(measure, which)
    finally:
        os.environ.pop("TRITON_INTERPRET")
        if before is not None:
            os.environ["TRITON_INTERPRET"] = before


def faults(row: Row) -> list[str]:
    """Say which limits a row breaks; sizes that are only compiled, and the stack of float32, have none."""
    case = row.case
    if (case.d, case.e) not in GATED and case.step not in NORMS:
        return []
    dense = case.step in STEPS and "scan" not in case.step
    stack = PACKED_STACK if case.sequences else 0
    limits = {
        f"stack {row.stack} B": row.stack > stack and case.entry == 0 and case.dtype != "float32",
        f"shared {row.shared} B > {SHARED_LIMIT}": row.shared > SHARED_LIMIT,
        f"products of {set(row.products)}": dense and not _expected(case) >= row.products >= {PRODUCTS[case.dtype]},
        f"traffic {row.share:.2f}": row.share > TRAFFIC_LIMIT and case.dtype != "float32",
        f"fetched {row.fetched:.2f}": row.fetched > FETCHED_LIMIT and case.dtype != "float32",
        f"{row.programs} programs": row.programs < PROGRAMS,
    }
    return [f"{case}: {text}" for text, broken in limits.items() if broken]


def _expected(case: Case) -> set[str]:
    """Return the input types of products; float16 takes its sums, which outgrow it, as TF32."""
    return {PRODUCTS[case.dtype], *(["tf32"] if case.dtype == "float16" else [])}


def table(rows: Iterable[Row], title: str) -> Table:
    """Lay rows out with a line for each kernel and device."""
    found = Table(title=title)
    heads = ("kernel", "D, E", "dtype", "device", "entry", "registers", "stack B", "shared B", "programs", "MB moved")
    for head in (*heads, "pass / least", "fetched", "roofline µs"):
        found.add_column(head, justify="left" if head in {"kernel", "dtype", "device"} else "right")
    for row in rows:
        case = row.case
        sizes = f"{case.d}, {case.e}" if case.e else str(case.d)
        numbers = (row.registers, row.stack, f"{row.shared:,}", row.programs, f"{row.moved / 1e6:.1f}")
        found.add_row(
            case.step, sizes, case.dtype, DEVICES[case.capability], str(case.entry), *map(str, numbers),
            f"{row.share:.2f}", f"{row.fetched:.2f}", f"{row.seconds * 1e6:.1f}",
        )  # fmt: skip
    return found


def main() -> None:
    """Compile the matrix, print its table, and exit with 1 where a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="every size, dtype and entry")
    parser.add_argument("--workers", type=int, default=2, help="processes that compile")
    options = parser.parse_args()
    pick = partial(cases, capabilities=DEVICES)
    if options.all:
        which = [*pick(GATED + COMPILED_ONLY, PRODUCTS), *norm_cases(PRODUCTS, DEVICES)]
        which += chain(*(pick(GATED, ["bfloat16"], defaults=True, sequences=4, given=x) for x in (False, True)))
        which += pick(GATED, ["bfloat16"], defaults=True, given=True)
    else:
        which = [*pick(GATED, ["bfloat16"], defaults=True), *pick(GATED, ["float32"], defaults=True)]
        which += norm_cases(["bfloat16"], DEVICES)
    console = Console(width=None if sys.stdout.isatty() else 140)
    rows = [*track(measure_all(which, options.workers), "compiling", total=len(which), console=Console(stderr=True))]
    shape = "B H = 8, N = 8,192" + f"; {', '.join(f'{n}: {b / 1e12:.2f} TB/s' for n, (b, _) in HARDWARE.items())}"
    console.print(table(rows, f"Kernels compiled without a GPU, {shape}"))
    broken = [fault for row in rows for fault in faults(row)]
    console.print("\n".join(broken) or f"{len(rows)} kernels, every limit kept.")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()

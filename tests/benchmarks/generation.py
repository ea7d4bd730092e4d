"""What a token costs at position 100 and at position 100,000: the same, since the state does not grow.

    python -m tests.benchmarks.generation --size 4M --tokens 200

One model goes on from both states by turns, a token here, a token there; the ratio is that of the medians.
"""

import argparse
import statistics
import time

import torch
from rich.console import Console
from rich.table import Table

from model.config import SIZES, TransNormerConfig
from model.generation import read
from model.transnormer import TransNormer

POSITIONS = (100, 100_000)
TARGET = 1.15  # of the ratio, at most


def main() -> None:
    """Measure and print."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--size", choices=("1M", "4M", "15M"), default="4M")
    line.add_argument("--tokens", type=int, default=200, help="timed at each position")
    line.add_argument("--threads", type=int, default=1)
    asked = line.parse_args()
    torch.set_num_threads(asked.threads)
    model = TransNormer(TransNormerConfig(vocab_size=8192, eos=2, **SIZES[asked.size]))
    prompt = torch.randint(8192, (max(POSITIONS),), generator=torch.Generator().manual_seed(0)).tolist()
    with torch.inference_mode():
        states = [read(model, prompt[:position])[1] for position in POSITIONS]
        taken: list[list[float]] = [[] for _ in POSITIONS]
        for number in range(asked.tokens):
            for which in (0, 1) if number % 2 else (1, 0):
                began = time.perf_counter()
                _, states[which] = read(model, [number], states[which])
                taken[which].append(time.perf_counter() - began)
    table = Table("position", "ms a token", "state in bytes", title=f"{asked.size}, {asked.threads} thread")
    for position, each, state in zip(POSITIONS, taken, states, strict=True):
        size = sum(x.nbytes for x in state.attention)
        table.add_row(f"{position:,}", f"{statistics.median(each) * 1e3:.2f}", f"{size:,}")
    ratio = statistics.median(taken[1]) / statistics.median(taken[0])
    table.caption = (
        f"ratio of medians {ratio:.3f}; target, at most {TARGET:g}: {'met' if ratio <= TARGET else 'missed'}"
    )
    Console().print(table)


if __name__ == "__main__":
    main()

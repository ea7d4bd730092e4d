"""What a TransNormer costs beside a softmax transformer of equal width, depth and parameters, on this CPU.

    make bench-model
    python -m tests.benchmarks.language_model --size judge --lengths 512 2048 --pairs 7

Both have the same vocabulary, losses and batches of `--batch-tokens` tokens (a longer text is one row), and in both the
layers are compiled, each shape by itself. Runs of the two alternate, and the ratio is the median over the pairs of
softmax seconds / TransNormer seconds, with the lowest and the highest pair: other work on the machine slows both. Where
there is much of it, `--threads 1 --cpu-seconds` counts the processor's time instead of the clock's. The opponent is
tests/benchmarks/softmax_transformer.py. `judge` is the size that the pipeline trains by default.

The last row is what the pipeline does: `model.score.score` over documents of many lengths, eager, on one thread. The
opponent goes through the same code, in rows that hold its longest document whole, since it has no state to go on from.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from model.config import SIZES, TransNormerConfig
from model.loss import mean_loss, token_losses
from model.score import Scoring, prepare, score
from model.transnormer import TransNormer
from tests.benchmarks.softmax_transformer import SoftmaxTransformer

Model = TransNormer | SoftmaxTransformer
Step = Callable[[], object]
VOCABULARY = 8192
DOCUMENTS = 48  # of the mix
LENGTHS = (16, 8192)  # tokens of its documents: log-normal around MEDIAN, one of them the longest
MEDIAN = 350
TARGETS = {"forward": {512: 1.15, 2048: 1.5, 8192: 3.0}, "training step": {512: 0.95, 2048: 1.3}}  # of the ratio


def main() -> None:
    """Measure and print, a row as soon as it is known."""
    asked = _arguments()
    torch.set_num_threads(asked.threads)
    config = TransNormerConfig(vocab_size=VOCABULARY, eos=2, **SIZES.get(asked.size, {}))
    models: tuple[Model, Model] = (TransNormer(config), SoftmaxTransformer(config))
    counts = [sum(weight.numel() for weight in model.parameters()) for model in models]
    clock = time.process_time if asked.cpu_seconds else time.perf_counter
    console = Console(width=120)
    console.print(
        f"{asked.size}: width {config.width}, {config.layers} layers, {counts[0]:,} parameters; softmax {counts[1]:,}; "
        f"{asked.threads} threads, {'eager' if asked.eager else 'compiled'}, load {os.getloadavg()[0]:.1f}"
    )
    table = Table(
        "what",
        "length",
        "rows",
        "TransNormer tok/s",
        "softmax tok/s",
        "ratio",
        "target",
        "pairs",
        "head",
        "first calls",
    )
    mixed = ("score()", "mixed", str(DOCUMENTS), *_measured_mix(models, asked.pairs, clock))
    console.print(*mixed)
    if not asked.eager:
        for model in models:
            for layer in model.layers:
                layer.compile(dynamic=False)
    for name, make in (("forward", _forward), ("training step", _training)):
        for length in asked.lengths if name == "forward" else asked.training_lengths:
            rows = max(1, asked.batch_tokens // length)
            tokens = torch.randint(VOCABULARY, (rows, length + 1), generator=torch.Generator().manual_seed(length))
            torch._dynamo.reset()  # more shapes than a process scores with: the compiler would stop at its limit
            head = _head(models[0], tokens) if name == "forward" else None
            runs = [make(model, tokens) for model in models]
            target = TARGETS[name].get(length)
            row = (name, f"{length:,}", str(rows), *_measure(runs, rows * length, asked.pairs, clock, head, target))
            table.add_row(*row)
            console.print(*row)
    table.add_row(*mixed)
    console.print(table)


def _arguments() -> argparse.Namespace:
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--size", choices=("judge", "1M", "4M", "15M"), default="15M")
    line.add_argument("--lengths", type=int, nargs="*", default=[512, 2048, 8192], help="of the forward pass")
    line.add_argument("--training-lengths", type=int, nargs="*", default=[512, 2048])
    line.add_argument("--batch-tokens", type=int, default=2048)
    line.add_argument("--pairs", type=int, default=7)
    line.add_argument("--threads", type=int, default=2)
    line.add_argument("--cpu-seconds", action="store_true", help="count the processor's time; for one thread")
    line.add_argument("--eager", action="store_true", help="without compiling")
    return line.parse_args()


def _measure(
    runs: Sequence[Step],
    tokens: int,
    pairs: int,
    clock: Callable[[], float],
    head: Step | None = None,
    target: float | None = None,
) -> list[str]:
    """Time both by turns, which of them goes first by turns too, and return the cells of a row."""
    first = [_seconds(run, time.perf_counter) for run in runs]
    for run in runs:
        run()
    taken: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs):
        for which in (0, 1) if pair % 2 else (1, 0):
            taken[which].append(_seconds(runs[which], clock))
    ratios = sorted(softmax / ours for ours, softmax in zip(*taken, strict=True))
    speeds = [f"{tokens / statistics.median(each):,.0f}" for each in taken]
    compiling = " + ".join(f"{seconds:.0f} s" for seconds in first)
    ratio = statistics.median(ratios)
    return [
        *speeds,
        f"{ratio:.2f}",
        f"{target:g} {'met' if ratio >= target else 'missed'}" if target else "",
        f"{ratios[0]:.2f} .. {ratios[-1]:.2f}",
        f"{_seconds(head, clock) / statistics.median(taken[0]):.0%}" if head else "",
        compiling,
    ]


def _seconds(run: Step, clock: Callable[[], float]) -> float:
    began = clock()
    run()
    return clock() - began


def _measured_mix(models: tuple[Model, Model], pairs: int, clock: Callable[[], float]) -> list[str]:
    """Time `score` over the same documents of many lengths."""
    documents = mixed_documents(DOCUMENTS)
    sizes = np.array([len(document) for document in documents])
    judges = [prepare(models[0]), prepare(models[1], Scoring(batch_tokens=LENGTHS[1]))]  # type: ignore[arg-type]
    runs = [partial(score, judge, documents, sizes.tolist()) for judge in judges]
    return _measure(runs, int(sizes.sum()), pairs, clock)


def mixed_documents(count: int) -> list[np.ndarray]:
    """Return random documents of log-normal lengths, the last of them the longest."""
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.normal(np.log(MEDIAN), 1, count)).clip(*LENGTHS).astype(int)
    sizes[-1] = LENGTHS[1]
    return [rng.integers(3, VOCABULARY, size) for size in sizes]


def _forward(model: Model, tokens: Tensor) -> Step:
    """Return the scoring of a batch: the loss of every token."""

    def run() -> None:
        with torch.inference_mode():
            hidden, _ = model.hidden(tokens[:, :-1])
            token_losses(hidden.flatten(0, 1), model.head.weight, tokens[:, 1:].flatten())

    return run


def _head(model: Model, tokens: Tensor) -> Step:
    """Return the losses alone, the part that both models share."""
    hidden = torch.randn(tokens[:, 1:].numel(), model.config.width)

    def run() -> None:
        with torch.inference_mode():
            token_losses(hidden, model.head.weight, tokens[:, 1:].flatten())

    return run


def _training(model: Model, tokens: Tensor) -> Step:
    """Return a whole step: loss, gradients, update."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def run() -> None:
        hidden, _ = model.hidden(tokens[:, :-1])
        torch.autograd.backward(mean_loss(hidden.flatten(0, 1), model.head.weight, tokens[:, 1:].flatten()))
        optimizer.step()
        optimizer.zero_grad()

    return run


if __name__ == "__main__":
    main()

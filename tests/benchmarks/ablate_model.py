"""How well the TransNormer learns against a softmax transformer of its size, and what its parts contribute.

    make ablate-model
    python -m tests.benchmarks.ablate_model --output out/ablate-model --jobs 2

Every run trains about a million parameters once over clean English and measures bits per byte on text that was held
out. Runs of equal seed see the same rows in the same order, so differences are taken in pairs. Each arm's learning
rate is the best of those tried on the validation split, with the first seed; the ablations keep the TransNormer's. A
finished run is a line of OUTPUT/log.jsonl: started again, the command does what is missing and prints the tables,
here and as OUTPUT/tables.md. One process and one thread a run: two runs side by side are faster than one on two cores.
"""

import argparse
import hashlib
import math
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import orjson
import torch
from rich.console import Console
from rich.table import Table

from model.adamw import zero_moments
from model.config import TrainingConfig, TransNormerConfig
from model.data import IGNORED, PackedTokens
from model.determinism import deterministic
from model.parallel import Grid
from model.step import Learner, Objective, take_step
from model.transnormer import TransNormer
from tests.benchmarks.clean_text import Corpus, read_clean, tokenised
from tests.benchmarks.softmax_transformer import SoftmaxTransformer

DATA = Path(os.environ.get("LUSTRATE_DATA", "../shared/data"))
SIZES: dict[str, Any] = {"width": 128, "layers": 4, "heads": 4, "hidden": 320, "tie_embeddings": True}
INITIAL_STD = 0.057  # of the TransNormer: 0.02 (1024 / 128)^(1/2), as wide as the released model's
VOCABULARY = 2048  # a larger one would make most of a million parameters its embedding, equal in all arms
TOKENS = 2_050_048  # a little more than one pass
SEEDS = range(5)  # of the two arms; the ablations have the first three
ABLATION_SEEDS = range(3)
QUANTILES = {3: 4.303, 5: 2.776, 20: 2.093}  # Student's t at 0.975, by the number of pairs
HELD_OUT = ("validation", "test")
TARGET = 2.0  # percent that the interval's upper end may reach

BASE, SOFTMAX = "TransNormer", "softmax transformer"
# Around what was best after 0.2 million tokens: 8e-3 of 2e-3 .. 1.6e-2, and 2e-3 of 2e-3 .. 8e-3, each twice the last;
# the opponent has one more, since 4e-3 was the best of its first three.
RATES = {BASE: (4e-3, 8e-3, 1.6e-2), SOFTMAX: (1e-3, 2e-3, 4e-3, 8e-3)}
ABLATIONS: dict[str, dict[str, Any]] = {
    "RMSNorm": {"norm": "rms"},
    "LayerNorm": {"norm": "layer"},
    "no decay": {"decay": "none"},
    "LRPE in all layers": {"lrpe": "all"},
    "no LRPE": {"lrpe": "none"},
    "no gate": {"gate": False},
}
# Losses of arXiv:2405.17381 with 385M parameters, 2.248 as published. Table 4 has no model with LRPE in the first layer
# and no decay: its row is LRPE in all layers without decay.
PAPER_BASE = 2.248
PAPER = {
    "RMSNorm": (2.247, "table 7"),
    "LayerNorm": (2.247, "table 7"),
    "no decay": (2.287, "table 4, LRPE in all layers"),
    "LRPE in all layers": (2.236, "table 4"),
    "no LRPE": (2.267, "table 4"),
    "no gate": (2.263, "table 6"),
}


@dataclass(frozen=True, slots=True)
class Arm:
    """A run to make: a model, its learning rate and its seed."""

    name: str
    rate: float
    seed: int


@dataclass(frozen=True, slots=True)
class Setup:
    """What all runs of a table share."""

    corpus: Corpus
    tokens: int = TOKENS
    sizes: dict[str, Any] = field(default_factory=lambda: SIZES)

    @property
    def digest(self) -> str:
        """Return a name for the text, the sizes and the budget: results of another one are not mixed in."""
        index = (self.corpus.folder / "index.json").read_bytes()
        facts = [hashlib.sha256(index).hexdigest(), self.tokens, self.sizes, INITIAL_STD]
        return hashlib.sha256(orjson.dumps(facts)).hexdigest()[:12]


def trained(arm: Arm, setup: Setup) -> dict[str, Any]:
    """Train a model and return its line of the log; a run that diverges has no bits per byte."""
    with deterministic(threads=1):
        net = _net(arm, setup)
        training = TrainingConfig(tokens=setup.tokens, learning_rate=arm.rate, seed=arm.seed, threads=1)
        weights = dict(net.named_parameters())
        objective = Objective(net, training.precision)
        learner = Learner(objective, weights, zero_moments(weights), training, Grid())
        started = time.monotonic()
        diverged = not _learnt(learner, setup.corpus)
        seconds = time.monotonic() - started
        bits = {split: None if diverged else bits_per_byte(objective, setup.corpus, split) for split in HELD_OUT}
    facts = {"arm": arm.name, "rate": arm.rate, "seed": arm.seed, "setup": setup.digest, **bits}
    size = sum(weight.numel() for weight in weights.values())
    return {**facts, "parameters": size, "tokens": setup.tokens, "seconds": round(seconds)}


def _net(arm: Arm, setup: Setup) -> Any:
    ids: dict[str, Any] = {"vocab_size": setup.corpus.vocab_size, "eos": setup.corpus.eos}
    if arm.name == SOFTMAX:
        return SoftmaxTransformer(TransNormerConfig(**ids, **setup.sizes), arm.seed)
    changes = ABLATIONS.get(arm.name, {})
    return TransNormer(TransNormerConfig(**ids, **setup.sizes, initial_std=INITIAL_STD, **changes), arm.seed)


def _learnt(learner: Learner, corpus: Corpus) -> bool:
    config = learner.config
    rows = iter(PackedTokens(corpus.folder, context_length=config.context_length, seed=config.seed))
    try:
        for step in range(config.steps):
            take_step(learner, list(islice(rows, config.batch)), step)
    except FloatingPointError:
        return False
    return True


def bits_per_byte(objective: Objective, corpus: Corpus, split: str) -> float:
    """Return the loss of a split in bits per byte of its text, every token predicted from its row of 512."""
    nats = 0.0
    with torch.no_grad():
        for row in PackedTokens(corpus.folder, split=split, epochs=1, shuffle=False):
            known = int((row["targets"] != IGNORED).sum())
            nats += float(objective(row["tokens"], row["targets"], row["positions"])) * known
    return nats / math.log(2) / corpus.text_bytes[split]


def unigram_bits_per_byte(corpus: Corpus, split: str) -> float:
    """Return what the training part's token counts, plus one each, give a split: a model without context."""
    counts = torch.ones(corpus.vocab_size, dtype=torch.float64) + _counts(corpus, "train")
    bits = -torch.log2(counts / counts.sum())
    return float(_counts(corpus, split) @ bits) / corpus.text_bytes[split]


def _counts(corpus: Corpus, split: str) -> torch.Tensor:
    counts = torch.zeros(corpus.vocab_size, dtype=torch.float64)
    for row in PackedTokens(corpus.folder, split=split, epochs=1, shuffle=False):
        known = row["targets"][row["targets"] != IGNORED]
        counts += torch.bincount(known, minlength=corpus.vocab_size)
    return counts


def wanted(done: Sequence[dict[str, Any]]) -> Iterator[Arm]:
    """Yield the runs of the whole plan, as far as what is done tells the learning rates."""
    for name, rates in RATES.items():
        for rate in rates:
            yield Arm(name, rate, SEEDS[0])
    best = {name: best_rate(done, name) for name in RATES}
    chosen = {name: rate for name, rate in best.items() if rate is not None}
    if len(chosen) < len(RATES):
        return
    for seed in SEEDS:
        for name, rate in chosen.items():
            yield Arm(name, rate, seed)
    for seed in ABLATION_SEEDS:
        for name in ABLATIONS:
            yield Arm(name, chosen[BASE], seed)


def best_rate(done: Sequence[dict[str, Any]], name: str) -> float | None:
    """Return the learning rate with the fewest bits per byte in validation; None until every one was tried."""
    tried = {run["rate"]: run["validation"] for run in done if run["arm"] == name and run["seed"] == SEEDS[0]}
    if not set(RATES[name]) <= tried.keys():
        return None
    return min(RATES[name], key=lambda rate: math.inf if tried[rate] is None else tried[rate])


def run_all(setup: Setup, log: Path, jobs: int, console: Console) -> list[dict[str, Any]]:
    """Make every run that the log lacks, `jobs` at a time, and return the log's runs of this setup."""
    done = read_log(log, setup)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool, log.open("ab") as file:
        while missing := _missing(done):
            for future in as_completed([pool.submit(trained, arm, setup) for arm in missing]):
                done.append(future.result())
                file.write(orjson.dumps(done[-1]) + b"\n")
                file.flush()
                console.print(_told(done))
    return done


def _missing(done: Sequence[dict[str, Any]]) -> list[Arm]:
    made = {(run["arm"], run["rate"], run["seed"]) for run in done}
    return [arm for arm in dict.fromkeys(wanted(done)) if (arm.name, arm.rate, arm.seed) not in made]


def read_log(log: Path, setup: Setup) -> list[dict[str, Any]]:
    """Return the whole lines of a log that are of this setup."""
    lines = log.read_bytes().split(b"\n")[:-1] if log.is_file() else []
    return [run for run in map(orjson.loads, lines) if run["setup"] == setup.digest]


def _told(done: Sequence[dict[str, Any]]) -> str:
    run = done[-1]
    planned = sum(map(len, RATES.values())) + (len(SEEDS) - 1) * len(RATES) + len(ABLATION_SEEDS) * len(ABLATIONS)
    bits = "diverged" if run["test"] is None else f"{run['test']:.4f} bits per byte"
    return (
        f"{len(done)} of {planned}: {run['arm']}, rate {run['rate']:g}, seed {run['seed']}: {bits}, "
        f"{run['tokens'] / run['seconds']:,.0f} tokens/s"
    )


def differences(done: Sequence[dict[str, Any]], name: str, against: str) -> list[float]:
    """Return by how many percent an arm's bits per byte exceed another's, for each seed that both have."""
    one, other = by_seed(done, name), by_seed(done, against)
    return [100 * (one[seed] / other[seed] - 1) for seed in sorted(one.keys() & other.keys())]


def by_seed(done: Sequence[dict[str, Any]], name: str) -> dict[int, float]:
    """Return an arm's bits per byte on the test split, by seed, with its chosen learning rate."""
    rate = best_rate(done, SOFTMAX if name == SOFTMAX else BASE)
    chosen = [run for run in done if run["arm"] == name and run["rate"] == rate]
    return {run["seed"]: math.inf if run["test"] is None else run["test"] for run in chosen}


def interval(pairs: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean by Student's t; infinite until all seeds are there."""
    if len(pairs) not in QUANTILES:
        return -math.inf, math.inf
    mean, half = statistics.mean(pairs), QUANTILES[len(pairs)] * statistics.stdev(pairs) / math.sqrt(len(pairs))
    return mean - half, mean + half


def verdict(low: float, high: float) -> str:
    """Say whether an interval of a difference leaves out zero."""
    if not math.isfinite(low + high):
        return "not finished"
    return "worse" if low > 0 else "better" if high < 0 else "not resolved"


Rows = list[list[str]]


def arms_table(done: Sequence[dict[str, Any]]) -> Rows:
    """Return the comparison with the softmax transformer, its header first."""
    rows = [["arm", "parameters", "learning rate", "seeds", "bits per byte", "standard deviation"]]
    for name in (BASE, SOFTMAX):
        values = list(by_seed(done, name).values())
        spread = f"{statistics.stdev(values):.4f}" if len(values) > 1 else ""
        mean = f"{statistics.mean(values):.4f}" if values else ""
        rows.append([name, _size(done, name), f"{best_rate(done, name) or '?'}", str(len(values)), mean, spread])
    return rows


def answer(done: Sequence[dict[str, Any]]) -> str:
    """Return the difference in one sentence."""
    pairs = differences(done, BASE, SOFTMAX)
    if len(pairs) < len(SEEDS):
        return f"{len(pairs)} of {len(SEEDS)} pairs of seeds are done."
    low, high = interval(pairs)
    met = "met" if high <= TARGET else "missed"
    return (
        f"TransNormer against softmax: {statistics.mean(pairs):+.2f} % bits per byte, 95 % interval "
        f"{low:+.2f} to {high:+.2f} % (paired t, {len(pairs)} seeds); target, upper end at most +{TARGET:g} %: {met}."
    )


def ablations_table(done: Sequence[dict[str, Any]]) -> Rows:
    """Return the ablations, their header first, the paper's losses beside them."""
    rows = [["change", "parameters", "seeds", "bits per byte, %", "95 % interval", "verdict", "the paper's loss, %"]]
    for name in ABLATIONS:
        pairs = differences(done, name, BASE)
        low, high = interval(pairs)
        mean = f"{statistics.mean(pairs):+.2f}" if pairs else ""
        loss, source = PAPER[name]
        paper = f"{100 * (loss / PAPER_BASE - 1):+.2f} ({source})"
        rows.append([name, _size(done, name), str(len(pairs)), mean, f"{low:+.2f} to {high:+.2f}", verdict(low, high)])
        rows[-1].append(paper)
    return rows


def _size(done: Sequence[dict[str, Any]], name: str) -> str:
    return next((f"{run['parameters']:,}" for run in done if run["arm"] == name), "")


def markdown(rows: Rows) -> str:
    """Return rows, their header first, as a table in Markdown."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def shown(title: str, rows: Rows) -> Table:
    """Return rows, their header first, as a table for the screen."""
    table = Table(*rows[0], title=title, title_justify="left")
    for row in rows[1:]:
        table.add_row(*row)
    return table


def main() -> None:
    """Run what is missing and print the tables."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--data", type=Path, default=DATA / "clean", help="folder of clean text")
    line.add_argument("--output", type=Path, default=Path("out/ablate-model"))
    line.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="runs at a time, one thread each")
    line.add_argument("--tables", action="store_true", help="print the tables of what is done, and train nothing")
    asked = line.parse_args()
    setup, console = Setup(tokenised(list(read_clean(asked.data)), asked.output / "corpus", VOCABULARY)), Console()
    log = asked.output / "log.jsonl"
    done = read_log(log, setup) if asked.tables else run_all(setup, log, asked.jobs, console)
    arms, changes = arms_table(done), ablations_table(done)
    console.print(shown("bits per byte on held-out text", arms), answer(done))
    console.print(shown("the TransNormer with one thing changed", changes))
    tables = "\n\n".join([markdown(arms), answer(done), markdown(changes)])
    (asked.output / "tables.md").write_text(tables + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""What a round of self-cleaning costs, and would cost on 6 TB, by the size of its judges.

    python -m tests.benchmarks.budget --run OUT                          a finished run with its stages
    python -m tests.benchmarks.budget --run OUT --sizes 1M 15M --runs 5

Measured: tokens per CPU second of `model.score.score` on one thread, eager, over documents of many lengths;
the run's bytes per token, CPU seconds, the share of its text that full scoring reads (of a document an excerpt), and
the share of that which its TransNormers read. Reckoned: what full scoring would take by the tokens that the run's
TransNormers read a CPU second; FLOP of a token, 2 for each weight that it meets, and attention by its recurrence; a
training step takes three times as much.
Assumed: that a GPU job reaches the share of an A100's peak that a published training speed comes to, and that each of
two judges is trained on 20 tokens a parameter.
"""

import argparse
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from kernels.traffic import HARDWARE
from model.config import SIZES, TransNormerConfig
from model.score import prepare, score
from model.transnormer import TransNormer
from pipeline.stage import Manifest, Stage, read_manifest
from tests.benchmarks.language_model import DOCUMENTS, VOCABULARY, mixed_documents

CORPUS_BYTES = 6e12  # arXiv:2405.17381, table 10
TOKENS_385M = 2026e9  # the same table: those bytes in its 64,000 pieces
PIECES_385M = 64_000
SPEED_385M = 38_172  # tokens/s of training on an A100, 0.4B, 8,192 tokens: arXiv:2401.04658, table 1
TOKENS_PER_PARAMETER = 20  # Hoffmann et al. 2022, arXiv:2203.15556
JUDGES = 2
FEW = 4  # documents that 385M is timed on, on a CPU
DAY, YEAR = 86_400, 86_400 * 365
RULES = ("ingest", "deduplicate", "publish")  # what reading is measured against: stages 1, 2 and 5
READING = ("measure", "score")  # of a round: surrogate and TransNormer


def config_of(size: str) -> TransNormerConfig:
    """Return a named size with the vocabulary that it is used with; `judge` is what the pipeline trains by default."""
    pieces = PIECES_385M if size == "385M" else VOCABULARY
    return TransNormerConfig(vocab_size=pieces, eos=2, **SIZES.get(size, {}))


def flop_per_token(config: TransNormerConfig) -> int:
    """Return the multiplications and additions of one token's forward pass.

    A head's state is read by q and added to by k and v, of which LRPE doubles q and k: 4 D E each token.
    """
    turned = {"first": 1, "all": config.layers, "none": 0}[config.lrpe]
    attention = (5 if config.gate else 4) * config.width**2
    state = 2 * config.width * (config.width // config.heads)
    weights = config.layers * (attention + 3 * config.width * config.hidden) + config.vocab_size * config.width
    return 2 * (weights + state * (config.layers + turned))


def utilisation() -> float:
    """Return the share of an A100's dense bf16 peak that the published training speed of 0.4B parameters comes to."""
    return 3 * flop_per_token(config_of("385M")) * SPEED_385M / HARDWARE["A100"][1]


def speed(size: str, runs: int) -> float:
    """Return tokens per CPU second of scoring documents of many lengths on one thread, the median of runs."""
    judge = prepare(TransNormer(config_of(size)))
    documents = mixed_documents(DOCUMENTS)[: FEW if size == "385M" else DOCUMENTS]
    sizes = [len(document) for document in documents]
    score(judge, documents[:1], sizes[:1])
    taken = []
    for _ in range(runs):
        began = time.process_time()
        score(judge, documents, sizes)
        taken.append(time.process_time() - began)
    return sum(sizes) / statistics.median(taken)


@dataclass(frozen=True, slots=True)
class Found:
    """What a finished run says of cost."""

    megabytes: float  # of text that its rules read
    entered: float  # megabytes of text that entered the round
    judged: float  # of judged languages
    bytes_per_token: float  # of judged documents
    share: float  # of the tokens of their excerpts that a TransNormer read
    excerpts: float  # megabytes of judged documents that full scoring reads: of each an excerpt
    tokens_per_second: float  # CPU second of the TransNormers
    seconds: dict[str, float]  # CPU, by RULES and READING
    fixed: float  # CPU seconds of the round's other stages: samples, training, counting, anchors, fit


def read_run(output: Path) -> Found:
    """Return what a finished run with one round says."""
    prints = orjson.loads((output / "run.json").read_bytes())["fingerprints"]
    stages = {name: _manifest(output, name, print_) for name, print_ in prints.items()}
    spent = {
        name: sum(m.cpu_seconds for stage, m in stages.items() if _part(stage) == name) for name in (*RULES, *READING)
    }
    fixed = sum(
        m.cpu_seconds for stage, m in stages.items() if stage.startswith("self_clean") and _part(stage) not in READING
    )
    measured, scored, ingest = (
        stages["self_clean.round-1.measure"],
        stages["self_clean.round-1.score"],
        stages["ingest"],
    )
    size, tokens, judged, excerpts, most = 0.0, 0.0, 0.0, 0.0, 0.0
    for path in sorted(Path(measured.stage.path("measures")).glob("*.parquet")):
        table = pq.read_table(path, columns=["judged", "present", "bytes", "scored_bytes", "tokens_per_byte"])
        rows = table["judged"].to_numpy()
        own = np.nan_to_num(table["bytes"].to_numpy().astype(np.float64))
        size += own[table["present"].to_numpy()].sum()
        judged += own[rows].sum()
        excerpt = np.nan_to_num(table["scored_bytes"].to_numpy().astype(np.float64))
        per_byte = np.nan_to_num(table["tokens_per_byte"].to_numpy())
        excerpts += excerpt[rows].sum()
        tokens += (own * per_byte)[rows].sum()
        most += (excerpt * per_byte)[rows].sum()
    read = sum(record["tokens"] for record in scored.records)
    return Found(
        megabytes=sum(record["bytes"] for record in ingest.records) / 1e6,
        entered=size / 1e6,
        judged=judged / 1e6,
        bytes_per_token=judged / tokens,
        share=read / most,
        excerpts=excerpts / 1e6,
        tokens_per_second=read / spent["score"],
        seconds=spent,
        fixed=fixed,
    )


def _manifest(output: Path, name: str, print_: str) -> Manifest:
    found = read_manifest(Stage(name, print_, str(output)))
    if found is None:
        raise SystemExit(f"{output} holds no finished stage {name} {print_}: run with [output] keep_stages = true")
    return found


def _part(stage: str) -> str:
    """Return what a stage counts as: `deduplicate.hashes` as deduplicate, `self_clean.round-1.score` as score."""
    return stage.rpartition(".")[2] if stage.startswith("self_clean") else stage.partition(".")[0]


def told(found: Found) -> list[str]:
    """Say what the run's own round cost."""
    spent = found.seconds
    rules, reading = (", ".join(f"{name} {spent[name]:,.1f}" for name in names) for names in (RULES, READING))
    sums = [sum(spent[name] for name in names) for names in (RULES, READING)]
    said = (
        f"{found.megabytes:,.1f} MB read, {found.entered:,.1f} MB entered the round, {found.judged:,.1f} MB were judged"
    )
    times = f"{sums[1] / sums[0]:.2f} times as much"
    each_read, each_judged = sums[0] / found.megabytes, sums[1] / found.judged
    costs = f"{each_read:.2f} CPU seconds a MB read and {each_judged:.2f} a MB judged"
    share = f"the TransNormers read {found.share:.2%} of what full scoring reads of judged documents"
    per_read = 1e6 / found.bytes_per_token / found.tokens_per_second  # CPU seconds a MB that is read
    each = f"full scoring would take {per_read * found.excerpts / found.judged:.1f} CPU seconds a judged MB"
    return [
        f"{said}, {found.bytes_per_token:.2f} bytes a token",
        f"stages 1, 2, 5: {sums[0]:,.1f} CPU seconds ({rules})",
        f"surrogate and scoring: {sums[1]:,.1f} ({reading}), {times}; the round's other stages: {found.fixed:,.1f}",
        f"that is {costs}: {each_judged / each_read:.1f} times as much, were all of it judged",
        f"{share}; n-grams took {spent['measure'] / found.judged:.3f} CPU seconds a judged MB",
        f"they read {found.tokens_per_second:,.0f} tokens a CPU second: {each}",
    ]


def row(size: str, found: Found, tokens_per_second: float) -> list[str]:
    """Return what a round on 6 TB costs with judges of one size, which read all excerpts or a cascade's."""
    config = config_of(size)
    flop = flop_per_token(config)
    tokens = TOKENS_385M if size == "385M" else CORPUS_BYTES / found.bytes_per_token
    full = tokens * found.excerpts / found.judged
    part = full * found.share
    learnt = JUDGES * TOKENS_PER_PARAMETER * config.parameters
    per_day = utilisation() * HARDWARE["A100"][1] * DAY
    cells = (
        f"{config.parameters / 1e6:,.1f} M",
        f"{flop / 1e6:,.1f} M",
        f"{tokens_per_second:,.0f}",
        *(f"{learnt * 3 * flop / per_day:,.3g}",),
        *(f"{read * flop / per_day:,.3g}" for read in (full, part)),
        *(f"{read / tokens_per_second / YEAR:,.3g}" for read in (full, part)),
    )
    return [size, *cells]


def main() -> None:
    """Measure, reckon and print."""
    asked = _arguments()
    console = Console(width=150)
    found = read_run(asked.run)
    for line in told(found):
        console.print(line, highlight=False)
    grams = CORPUS_BYTES / 1e6 * found.seconds["measure"] / found.judged / YEAR
    rules = CORPUS_BYTES / 1e6 * sum(found.seconds[name] for name in RULES) / found.megabytes / YEAR
    other = f"6 TB: n-grams {grams:.2g} core-years, stages 1, 2, 5 {rules:.2g}"
    console.print(
        f"{other}; an A100 at {utilisation():.0%} of its peak; load {os.getloadavg()[0]:.1f}", highlight=False
    )
    table = Table(title="a round on 6 TB", title_justify="left")
    names = ("size", "parameters", "FLOP a token", "tokens per CPU second", "A100-days, training", "A100-days, full",
             "A100-days, cascade", "core-years, full", "core-years, cascade")  # fmt: skip
    for name in names:
        table.add_column(name, justify="right")
    for size in asked.sizes:
        cells = row(size, found, speed(size, 1 if size == "385M" else asked.runs))
        console.print(*cells, highlight=False)
        table.add_row(*cells)
    console.print(table)


def _arguments() -> argparse.Namespace:
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--run", type=Path, required=True, help="output folder of a finished run with its stages")
    line.add_argument(
        "--sizes", nargs="+", choices=("judge", "1M", "4M", "15M", "385M"), default=("judge", "1M", "15M", "385M")
    )
    line.add_argument("--runs", type=int, default=3, help="of which the median counts; 385M: 1")
    return line.parse_args()


if __name__ == "__main__":
    main()

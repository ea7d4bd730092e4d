"""What each stage costs: documents/s, MB/s and CPU seconds, on a real corpus where there is one, else on the demo's.

    make bench
    python -m tests.benchmarks.stages --input 'crawl/*.jsonl.gz' --workers 2 --self-clean --copies 10

Runs into a temporary folder: the line without self-cleaning and with a tokenizer that is given, start-up included but
kernels compiled; with --self-clean the same corpus under the default configuration; with --copies so many altered
copies of it under the same, for what memory does as a corpus grows.
"""

import argparse
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from pipeline.demo import gather
from tests.benchmarks.altered_copies import files_of, write_copies
from tests.measured import Cost, measured

CORPUS = Path(os.environ.get("LUSTRATE_DATA", "../shared/data")) / "demo_corpus/*.jsonl.gz"
RULES_ONLY = '[self_clean]\nrounds = 0\n[tokenizer]\nmodel = "{model}"\n'


def main() -> None:
    """Run and print."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--input", help="JSONL files; default: $LUSTRATE_DATA/demo_corpus, or the demo's where it is not")
    line.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    line.add_argument("--self-clean", action="store_true", help="also time the default run")
    line.add_argument("--copies", type=int, default=0, metavar="N", help="and on N altered copies")
    asked = line.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pattern = asked.input or (str(CORPUS) if files_of(str(CORPUS)) else gather(folder / "demo"))
        console.print(f"{pattern}: training a tokenizer and compiling the kernels …", highlight=False)
        run(pattern, folder / "first", asked.workers, "[self_clean]\nrounds = 0\n")
        rules = RULES_ONLY.format(model=folder / "first/tokenizer/tokenizer.model")
        show = partial(_show, console, folder, asked.workers)
        show("rules, dedup, shards (tokenizer given, rounds = 0)", pattern, rules)
        if asked.self_clean:
            show("the default run, self-cleaning included", pattern, "")
        if asked.copies:
            console.print(f"writing {asked.copies} altered copies …")
            (folder / "copies").mkdir()
            copies = write_copies(pattern, folder / "copies", asked.copies)
            show(f"the default run on {asked.copies} altered copies", copies, "")


def _show(console: Console, folder: Path, workers: int, title: str, pattern: str, config: str) -> None:
    output = Path(tempfile.mkdtemp(dir=folder)) / "out"
    console.print(table(title, output, run(pattern, output, workers, config)))


def run(pattern: str, output: Path, workers: int, config: str) -> Cost:
    """Run the line and return what it took."""
    settings = output.with_suffix(".toml")
    settings.write_text(config)
    inputs = ["--input", pattern, "--output", str(output), "--config", str(settings)]
    cost = measured([sys.executable, "-m", "pipeline.run", *inputs, f"--direct_num_workers={workers}"])
    if cost.returncode:
        raise SystemExit(cost.stderr)
    return cost


def table(title: str, output: Path, cost: Cost) -> Table:
    """Return the stages of a finished run."""
    facts: dict[str, Any] = orjson.loads((output / "report.json").read_bytes())
    shown = Table(title=title, title_justify="left")
    for column in ("stage", "documents/s", "MB/s", "seconds", "CPU seconds"):
        shown.add_column(column, justify="left" if column == "stage" else "right")
    for stage in facts["stages"]:
        seconds = max(stage["seconds"], 1e-3)
        rate = f"{stage['documents'] / seconds:,.0f}" if stage["documents"] else ""
        speed = f"{stage['bytes'] / seconds / 1e6:,.1f}" if stage["bytes"] else ""
        shown.add_row(stage["name"], rate, speed, f"{seconds:,.1f}", f"{stage['cpu_seconds']:,.1f}")
    wall, cpu, peak = cost.wall, cost.cpu, cost.peak_mb
    shown.add_row("the whole command", "", "", f"{wall:,.1f}", f"{cpu:,.1f}", style="bold")
    shown.caption = f"largest resident size of a process: {peak:,.0f} MB"
    return shown


if __name__ == "__main__":
    main()

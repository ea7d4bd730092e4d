"""What dedup costs as the corpus grows, on signatures with known truth: CPU seconds, memory, recall, exact clusters.

    python -m tests.benchmarks.dedup_scale                       0.1 and 1 million documents, the median of three runs
    python -m tests.benchmarks.dedup_scale --times 1 10          10 million, once: minutes, and 16 GB of disk

Each size runs the stages from signatures to sidecars in a process of its own, with one worker; making the signatures
does not count. Prints the fixed part and the slope between each size and the next. `--folder` names where the corpora
and outputs of a size go (about 1.6 KB a document; they are removed afterwards).
"""

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from pipeline import clean
from pipeline.config import Config, Deduplicate
from pipeline.execute import start
from pipeline.line import Line
from pipeline.progress import display
from pipeline.shards import DocumentShard
from pipeline.sign import id_words
from pipeline.stage import Manifest, Stage
from tests.benchmarks.synthetic import COPIES, draw_truth, ids, write_corpus

SETTINGS = Deduplicate()


def main() -> None:
    """Run the sizes asked for and print a table, or one size and its measurements as JSON."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("millions", nargs="*", type=float, default=[0.1, 1.0])
    line.add_argument("--folder", default=tempfile.gettempdir())
    line.add_argument("--times", type=int, default=3, help="runs of each size; the median counts")
    line.add_argument("--one", action="store_true", help="run one size in this process")
    asked = line.parse_args()
    if asked.one:
        print(orjson.dumps(run(int(asked.millions[0] * 1e6), Path(asked.folder))).decode())
        return
    console = Console(soft_wrap=True)
    found = {millions: measured(millions, asked.folder, asked.times) for millions in asked.millions}
    console.print(table(found))
    for small, large in pairwise(found):
        slope = (found[large]["cpu"] - found[small]["cpu"]) / (large - small)
        fixed = found[small]["cpu"] - slope * small
        console.print(
            f"{small:g} to {large:g} million: {fixed:.1f} CPU s fixed, {slope:.1f} CPU s a million", highlight=False
        )


def measured(millions: float, folder: str, times: int) -> dict[str, Any]:
    """Return the run of median CPU time among some, each in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.dedup_scale", "--one", "--folder", folder, str(millions)]
    runs = [orjson.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(times)]
    median = statistics.median_low(run["cpu"] for run in runs)
    chosen: dict[str, Any] = next(run for run in runs if run["cpu"] == median)
    return chosen


def run(documents: int, base: Path) -> dict[str, Any]:
    """Make a corpus, deduplicate it, compare with the truth; return what it cost."""
    folder = Path(tempfile.mkdtemp(dir=base))
    try:
        shards = write_corpus(folder / "signatures", documents, SETTINGS)
        config = Config(deduplicate=SETTINGS)
        ingested = Manifest(Stage("ingest", "synthetic", str(folder / "signatures")), (), {}, 0.0, 0.0)
        began, before = time.monotonic(), own_cpu()
        with start(workers=1) as engine, display(Console(quiet=True)) as shown:
            line = Line(config, str(folder / "out"), engine, shown)
            _, judged = clean.deduplicate(line, ingested, shards, ())
        wall, driver = time.monotonic() - began, own_cpu() - before
        cost = {
            "documents": documents,
            "cpu": round(driver + sum(m.cpu_seconds for m in line.manifests), 2),
            "wall": round(wall, 1),
            "worker_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        }
        stages = {m.stage.name.removeprefix("deduplicate."): m.cpu_seconds for m in line.manifests}
        return {**cost, **judge(documents, shards, judged), "stages": stages}
    finally:
        shutil.rmtree(folder)


def own_cpu() -> float:
    """Return the CPU seconds of this process."""
    return time.process_time()


def judge(documents: int, shards: list[DocumentShard], judged: Manifest) -> dict[str, float]:
    """Compare the sidecars with the truth: clusters found whole, pairs of one cluster found, wrong documents."""
    truth = draw_truth(documents)
    found = np.empty(documents, np.uint64)  # the keeper's id, by drawn number
    drawn = np.argsort(truth.place)
    rejected = 0
    for shard in shards:
        number = drawn[shard.first : shard.first + shard.rows]
        own = id_words(pa.chunked_array([ids(number)]))[:, 0]
        table = pq.read_table(judged.stage.path("verdicts", shard.name + ".parquet"), columns=["rejected", "cluster"])
        lost = table["rejected"].to_numpy()
        own[lost] = id_words(table["cluster"].filter(table["rejected"]))[:, 0]
        found[number] = own
        rejected += int(lost.sum())
    _, label = np.unique(found, return_inverse=True)
    keeper = np.full(label.max() + 1, documents)
    np.minimum.at(keeper, label, truth.original)
    right = keeper[label] == truth.original
    size = np.bincount(label)[label]
    whole = right & (size == np.bincount(truth.original, minlength=documents)[truth.original])
    return {
        "rejected": rejected,
        "in_exact_clusters": float(whole.mean()),
        "expected_rejected": _copies(truth.original),
    }


def _copies(original: np.ndarray) -> int:
    return len(original) - len(np.unique(original))


def table(found: dict[float, dict[str, Any]]) -> Table:
    """Return the runs as a table."""
    shown = Table(title=f"dedup of signatures, clusters of {COPIES + 1} and one of 1 %", title_justify="left")
    names = ("million", "CPU s", "wall s", "peak MB", "rejected", "copies made", "documents in exact clusters")
    for name in names:
        shown.add_column(name, justify="right")
    for millions, cost in found.items():
        numbers = (f"{cost['rejected']:,}", f"{cost['expected_rejected']:,}", f"{cost['in_exact_clusters']:.6f}")
        shown.add_row(
            f"{millions:g}", f"{cost['cpu']:.1f}", f"{cost['wall']:.1f}", f"{cost['worker_mb']:,.0f}", *numbers
        )
    return shown


if __name__ == "__main__":
    main()

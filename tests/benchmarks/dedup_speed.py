"""Signatures and clustering against other libraries: CPU seconds, interleaved, on the same cores.

    LUSTRATE_DATA=… python -m tests.benchmarks.dedup_speed --peers PYTHON

PYTHON has rensa 0.5, datasketch with xxhash, and text-dedup 0.4.0. Signatures: text in, 128 values out, 5 words a
shingle, by script; the fastest way of each library counts. Clustering: a million signatures of known truth in, the
cluster of each out, 14 bands of 8 rows; ours verifies candidates, text-dedup does not.
"""

import argparse
import gzip
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from dedup.clusters import flatten, stars, union
from dedup.lsh import band_hashes, estimated_jaccard
from dedup.signatures import signatures
from filters.arrow_text import text_buffers
from pipeline.sign import words_table
from tests.benchmarks.dedup_peers import VALUES, WORDS
from tests.benchmarks.synthetic import draw_truth, mix, values

DATA = Path(os.environ.get("LUSTRATE_DATA", "../shared/data"))
PEERS = Path(__file__).with_name("dedup_peers.py")
SCRIPTS = {
    "English": ("en",),
    "Latin, others": ("fr", "pt", "fi", "ca", "sw", "ha", "yo", "de", "es"),
    "Chinese": ("zh", "zh-cn", "zh-tw", "zh_CN"),
    "Japanese": ("ja",),
    "Korean": ("ko",),
    "Arabic": ("ar", "ur"),
    "Devanagari": ("hi",),
    "Cyrillic": ("ru",),
    "Greek": ("el",),
    "Ethiopic": ("am", "amh", "ti", "tir"),
}
BANDS, ROWS, ROUNDS, THRESHOLD = 14, 8, 3, 0.7


def main() -> None:
    """Run and print."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--peers", required=True, help="the Python that has the other libraries")
    line.add_argument("--documents", type=int, default=400, help="of each script; 0: no signatures are made")
    line.add_argument("--signatures", type=int, default=1_000_000, help="to cluster; 0: none")
    line.add_argument("--times", type=int, default=3, help="runs; the median of signing counts, each clustering shows")
    asked = line.parse_args()
    console = Console(soft_wrap=True)
    with tempfile.TemporaryDirectory() as folder:
        if asked.documents:
            console.print(signing(asked.peers, Path(folder), asked.documents, asked.times))
        if asked.signatures:
            console.print(clustering(asked.peers, Path(folder), asked.signatures, asked.times))


def texts_by_script(most: int) -> Iterator[tuple[str, list[str]]]:
    """Yield some texts of each script that the corpus has."""
    found: dict[str, list[str]] = {script: [] for script in SCRIPTS}
    names = {name: script for script, all_names in SCRIPTS.items() for name in all_names}
    for path in sorted((DATA / "demo_corpus").glob("*.jsonl.gz")):
        with gzip.open(path) as file:
            for record in map(orjson.loads, file):
                script = names.get(record["lang"])
                if script and len(found[script]) < most:
                    found[script].append(record["text"])
    yield from ((script, texts) for script, texts in found.items() if texts)


def sign(texts: list[str]) -> float:
    """Return the CPU seconds of our signatures."""
    column = pa.array(texts, pa.large_string())
    began = time.process_time()
    offsets, data = text_buffers(column)
    signatures(offsets, data, words_table(), shingle_words=WORDS, count=VALUES, seed=1)
    return time.process_time() - began


def ask(python: str, job: str, path: Path) -> dict[str, float]:
    """Return what a library needs, in a process of its own."""
    done = subprocess.run([python, str(PEERS), job, str(path)], check=True, capture_output=True)
    spent: dict[str, float] = orjson.loads(done.stdout.splitlines()[-1])
    return spent


def signing(python: str, folder: Path, most: int, times: int) -> Table:
    """Return signatures a CPU second, by script."""
    sign(["a few words to compile the kernels with"])
    shown = Table(title=f"signatures, {VALUES} values, {WORDS} words a shingle: documents a CPU second")
    for name in ("script", "documents", "MB", "ours", "rensa", "ratio", "datasketch", "ratio"):
        shown.add_column(name, justify="left" if name == "script" else "right")
    for script, texts in texts_by_script(most):
        path = folder / "texts.json"
        path.write_bytes(orjson.dumps(texts))
        runs: list[tuple[float, float, float]] = []
        for _ in range(times):
            ours = sign(texts)
            rensa, datasketch = (min(ask(python, job, path).values()) for job in ("rensa", "datasketch"))
            runs.append((ours, rensa, datasketch))
        ours, rensa, datasketch = (statistics.median(column) for column in zip(*runs, strict=True))
        rates = [f"{len(texts) / seconds:,.0f}" for seconds in (ours, rensa, datasketch)]
        size = sum(len(text.encode()) for text in texts) / 1e6
        ratios = f"{rensa / ours:.1f}", f"{datasketch / ours:.1f}"
        shown.add_row(script, f"{len(texts):,}", f"{size:.1f}", rates[0], rates[1], ratios[0], rates[2], ratios[1])
    return shown


def clustering(python: str, folder: Path, documents: int, times: int) -> Table:
    """Return the CPU seconds of LSH and clustering."""
    truth = draw_truth(documents)
    drawn = np.argsort(truth.place)
    rows = values(drawn, truth.original[drawn], BANDS * ROWS)
    path = folder / "signatures.npy"
    np.save(path, rows)
    cluster(rows[:1000])
    shown = Table(title=f"{documents:,} signatures to clusters: CPU seconds")
    for name in ("run", "ours, verified", "text-dedup", "ratio"):
        shown.add_column(name, justify="right")
    for number in range(times):
        began = time.process_time()
        root = cluster(rows)
        ours = time.process_time() - began
        assert len(np.unique(root)) == len(np.unique(truth.original))
        theirs = ask(python, "text_dedup", path)["text-dedup"]
        shown.add_row(str(number + 1), f"{ours:.2f}", f"{theirs:.2f}", f"{theirs / ours:.1f}")
    return shown


def cluster(rows: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return the cluster of each signature (n), all in memory: bands, stars, verified edges, union-find."""
    hashes = band_hashes(rows, BANDS, ROWS).ravel()
    numbers = np.repeat(np.arange(len(rows)), BANDS)
    keys = mix(np.arange(len(rows), dtype=np.uint64))
    parent = np.arange(len(rows))
    for _ in range(ROUNDS):
        found = stars(hashes, keys[numbers], numbers)
        pairs, which = np.unique(found["centre"] * len(rows) + found["member"], return_inverse=True)
        centre, member = np.divmod(pairs, len(rows))
        alike = estimated_jaccard(rows[centre], rows[member]) >= THRESHOLD
        union(parent, centre[alike], member[alike])
        failed = found[~alike[which]]
        hashes, numbers = failed["hash"], failed["member"]
        if not len(failed):
            break
    flatten(parent)
    return parent


if __name__ == "__main__":
    main()

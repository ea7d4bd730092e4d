"""What deduplication finds of all pairs alike, on a real corpus: every pair's exact Jaccard against the clusters.

    LUSTRATE_DATA=… python -m tests.benchmarks.dedup_quality

Runs the line up to deduplication without filters, by estimates and exactly, then compares all pairs of documents by an
inverted index over their shingles (5 words, each text's own set, 64-bit hashes). A pair is found when it ends in one
cluster. Of the accepted edges it prints how many are true.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numba import njit
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from dedup.jaccard import jaccard, shingle_sets
from dedup.lsh import candidate_probability
from filters.words import split_words
from pipeline.config import Deduplicate

DATA = Path(os.environ.get("LUSTRATE_DATA", "../shared/data"))
EDGES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
SETTINGS = '[ingest]\nsteps = ["language"]\n[deduplicate]\nverify = "{verify}"\n{more}\n'
Array = NDArray[np.generic]


def main() -> None:
    """Run and print."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--input", default=str(DATA / "demo_corpus/*.jsonl.gz"))
    line.add_argument("--more", default="", help="lines for the [deduplicate] table")
    asked = line.parse_args()
    console = Console(soft_wrap=True)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out"  # one ingest serves both
        found = {verify: run(asked.input, output, verify, asked.more) for verify in ("estimate", "exact")}
        documents = pq.read_table(next(output.glob("stages/ingest/*/documents")), columns=["id", "text"])
        pairs = all_pairs(documents)
        for verify, verdicts in found.items():
            console.print(table(verify, pairs, clusters(documents, verdicts)))
            console.print(edges(documents, verdicts), highlight=False)


def run(pattern: str, output: Path, verify: str, more: str) -> pa.Table:
    """Run the line up to deduplication; return the verdicts of all documents, in their order."""
    settings = output.parent / f"{verify}.toml"
    settings.write_text(SETTINGS.format(verify=verify, more=more))
    options = ["--config", str(settings), "--input", pattern, "--output", str(output), "--until", "deduplicate"]
    before = set(output.glob("stages/deduplicate/*"))
    subprocess.run([sys.executable, "-m", "pipeline.run", *options], check=True, stdout=subprocess.DEVNULL)
    (folder,) = set(output.glob("stages/deduplicate/*")) - before
    return pq.read_table(folder / "verdicts")


def sets(documents: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return the shingle sets of all documents."""
    words = split_words(documents["text"].combine_chunks())
    return shingle_sets(words.data, words.first, words.start, words.end, Deduplicate().shingle_words)


def all_pairs(documents: pa.Table) -> tuple[Array, Array, Array]:
    """Return (one, other, Jaccard) of all pairs of documents of the lowest similarity shown and more."""
    bounds, hashes = sets(documents)
    order = np.argsort(hashes, kind="stable")
    owner = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    first = np.flatnonzero(np.concatenate([[True], hashes[order][1:] != hashes[order][:-1], [True]]))
    rank = np.empty(len(hashes), np.int64)  # of each shingle's posting list
    rank[order] = np.repeat(np.arange(len(first) - 1), np.diff(first))
    return _all_pairs(bounds, rank, first, owner[order], EDGES[0])


@njit(cache=True)
def _all_pairs(bounds: Array, rank: Array, first: Array, posted: Array, least: float) -> tuple[Array, Array, Array]:
    """Count what each document shares with those after it, from the lists of documents that hold each shingle."""
    documents = bounds.shape[0] - 1
    shared = np.zeros(documents, np.int64)
    touched = np.empty(documents, np.int64)
    one, other, value = [0], [0], [0.0]
    for d in range(documents):
        filled = 0
        for i in range(bounds[d], bounds[d + 1]):
            for j in range(first[rank[i]], first[rank[i] + 1]):
                e = posted[j]
                if e > d:
                    if shared[e] == 0:
                        touched[filled] = e
                        filled += 1
                    shared[e] += 1
        for t in range(filled):
            e = touched[t]
            every = bounds[d + 1] - bounds[d] + bounds[e + 1] - bounds[e] - shared[e]
            if shared[e] >= least * every:
                one.append(d)
                other.append(e)
                value.append(shared[e] / every)
            shared[e] = 0
    return np.array(one[1:]), np.array(other[1:]), np.array(value[1:])


def clusters(documents: pa.Table, verdicts: pa.Table) -> NDArray[np.int64]:
    """Return a number for the cluster of each document."""
    own = documents["id"].to_pylist()
    label = [keeper or identity for keeper, identity in zip(verdicts["cluster"].to_pylist(), own, strict=True)]
    return np.unique(label, return_inverse=True)[1].astype(np.int64)


def table(verify: str, pairs: tuple[Array, Array, Array], label: NDArray[np.int64]) -> Table:
    """Return the share of pairs found, by similarity and from each similarity on."""
    shape = Deduplicate()
    one, other = (np.asarray(column, np.int64) for column in pairs[:2])
    value = np.asarray(pairs[2], np.float64)
    found = label[one] == label[other]
    shown = Table(title=f"pairs found, verify = {verify!r}, threshold {shape.threshold:g}", title_justify="left")
    for name in ("Jaccard", "pairs", "in one cluster", "share", "a band alone would find", "from here on", "share"):
        shown.add_column(name, justify="right")
    for low, high in zip(EDGES, (*EDGES[1:], np.inf), strict=True):
        here, on = (value >= low) & (value < high), value >= low
        band = np.mean([candidate_probability(float(s), shape.bands, shape.rows) for s in value[here]] or [np.nan])
        rates = [f"{found[rows].mean():.4f}" if rows.any() else "" for rows in (here, on)]
        counts = [f"{int(rows.sum()):,}" for rows in (here, found & here, on)]
        shown.add_row(f"{low:g}", counts[0], counts[1], rates[0], f"{band:.4f}", counts[2], rates[1])
    return shown


def edges(documents: pa.Table, verdicts: pa.Table) -> str:
    """Return how many accepted edges have an exact Jaccard of at least the threshold."""
    at = {identity: row for row, identity in enumerate(documents["id"].to_pylist())}
    near: list[dict[str, Any]] = [
        {**row, "row": number} for number, row in enumerate(verdicts.to_pylist()) if row["reason"] == "near_duplicate"
    ]
    bounds, hashes = sets(documents)
    one = np.array([row["row"] for row in near], np.int64)
    other = np.array([at[row["linked_to"]] for row in near], np.int64)
    exact: NDArray[np.float64] = np.asarray(jaccard(bounds, hashes, bounds, hashes, one, other), np.float64)
    threshold = Deduplicate().threshold
    true = int((exact >= threshold).sum())
    error = np.abs(exact - np.array([row["value"] for row in near])).max(initial=0)
    return (
        f"of {len(near):,} accepted edges between near-duplicates {true:,} are true: precision {true / len(near):.4f}; "
        f"the least true similarity is {exact.min():.3f}, the largest error of a value {error:.3f}\n"
    )


if __name__ == "__main__":
    main()

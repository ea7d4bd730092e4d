"""Runs every compiled kernel of dedup on texts that end with their buffer; tests/test_bounds.py starts it."""

import numpy as np
import pyarrow as pa

from dedup.clusters import CANDIDATE, EDGE, clustered, flatten, forest, stars, towards_roots, union
from dedup.jaccard import jaccard, normalised_hashes, shingle_sets
from dedup.lines import units, without
from dedup.lsh import band_hashes
from dedup.signatures import signatures
from filters.arrow_text import text_array, text_buffers
from filters.words import split_words
from pipeline.sign import words_table
from tests.checked_bounds import run_checked

ENDINGS = [
    "",
    "a",
    "a ",
    "é",
    "漢",
    "😀",
    "a\u0301",
    "\u0301",
    "漢\u0301",
    "\n",
    "\r\n",
    "a\n",
    "\n\n",
    "a\n\nb",
    " \n",
    "...",
    "İ",
]
BEGINNINGS = ["", " ", "\n", "a b c d ", "漢字漢字", "one line\n\nanother\n", "Ⅷ"]
BUFFERED = 4096  # shingles that signatures hold; dedup/signatures.py


def run_texts(texts: pa.Array) -> None:
    """Sign, split, compare and cut one column."""
    offsets, data = text_buffers(texts)
    words = split_words(texts)
    for length in (1, 5):
        signed = signatures(offsets, data, words_table(), shingle_words=length, count=8, seed=1)
        band_hashes(signed, 4, 2)
        bounds, hashes = shingle_sets(words.data, words.first, words.start, words.end, length)
        every = np.arange(len(texts))
        jaccard(bounds, hashes, bounds, hashes, every, every[::-1].copy())
    normalised_hashes(words.data, words.first, words.start, words.end)
    for paragraphs in (False, True):
        found = units(offsets, data, paragraphs=paragraphs)
        for kept in (found, found[::2], found[1::2], found[:0]):
            first = np.searchsorted(kept["document"], np.arange(len(texts) + 1))
            without(offsets, data, first, *(np.ascontiguousarray(kept[side]) for side in ("start", "end")))


def run_graph(nodes: int) -> None:
    """Link a chain and a star of nodes, and nothing."""
    for count in (0, max(0, nodes - 1)):
        edges = np.zeros(count, EDGE)
        edges["left"], edges["right"] = 0, np.arange(1, count + 1)
        trees = forest(edges)
        parent = np.arange(nodes)
        union(parent, np.ascontiguousarray(trees["left"]), np.ascontiguousarray(trees["right"]))
        flatten(parent)
        towards_roots(parent.copy(), trees)
        clustered(parent)
    every = np.arange(nodes, dtype=np.uint64)
    for hashes in (every, every // 2, np.zeros_like(every)):
        assert stars(hashes, every[::-1], np.arange(nodes)).dtype == CANDIDATE


def exact(texts: list[str]) -> pa.Array:
    """Return a column whose buffer has no byte after the last text."""
    offsets = np.cumsum([0, *(len(text.encode()) for text in texts)])
    return text_array(offsets.astype(np.int64), np.frombuffer("".join(texts).encode(), np.uint8))


def run_all() -> None:
    """Run what there is at every boundary."""
    for beginning in BEGINNINGS:
        for ending in ENDINGS:
            texts = exact(["", beginning + ending])
            run_texts(texts)
            run_texts(texts.slice(1))
    run_texts(exact([]))
    for size in (1, 4, 5, 6, BUFFERED - 1, BUFFERED, BUFFERED + 1, BUFFERED + 4, BUFFERED + 5, 2 * BUFFERED + 4):
        run_texts(exact(["w " * size, "w" + " w" * (size - 1), "漢" * size, "a\n" * size]))
    for nodes in (0, 1, 2, 3, 100):
        run_graph(nodes)


if __name__ == "__main__":
    run_checked(run_all)

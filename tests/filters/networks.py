"""Small fastText networks with random weights, for tests that need no answers but their limits."""

import numpy as np

from filters.fasttext_file import _huffman, _ngram_tables, _word_table
from filters.fasttext_network import SIGMOID, SOFTMAX, TREE, Classifier, Network

WORDS = [b"</s>", b"a", b"word", "漢".encode(), b"__label__x", b"x" * 40]
LABELS, WIDTH, BUCKETS = ("good", "bad", "ugly"), 5, 13


def make_network(loss: int, *, word_ngrams: int = 1, longest: int = 0, pruned: bool = False) -> Network:
    """Return a network of six words, three labels and thirteen buckets; pruned, of which every third is kept."""
    draw = np.random.default_rng(7)
    kept = np.arange(0, BUCKETS, 3, dtype=np.int32)
    pairs = np.stack([kept, np.arange(len(kept), dtype=np.int32)], axis=1) if pruned else None
    n_vectors = len(WORDS) + (len(kept) if pruned else BUCKETS)
    one = np.full(len(LABELS), -1, np.int32)
    left, right = _huffman([30, 20, 10]) if loss == TREE else (one, one)
    bits, rows = _ngram_tables(pairs, BUCKETS, len(WORDS))
    slots, content, start = _word_table(WORDS)
    return Network(
        vectors=draw.normal(size=(n_vectors, WIDTH)).astype(np.float32),
        tree=draw.normal(size=(len(LABELS), WIDTH)).astype(np.float32),
        left=left, right=right, ngram_kept=bits, ngram_row=rows, word_slot=slots, word_bytes=content,
        word_start=start, shortest=1, longest=longest, end_of_line=0, word_ngrams=word_ngrams, loss=loss,
    )  # fmt: skip


CLASSIFIERS = {
    "softmax of bigrams": Classifier(LABELS, make_network(SOFTMAX, word_ngrams=2)),
    "sigmoids of trigrams and characters": Classifier(LABELS, make_network(SIGMOID, word_ngrams=3, longest=4)),
    "tree of characters, pruned": Classifier(LABELS, make_network(TREE, longest=3, pruned=True)),
}

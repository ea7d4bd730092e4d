"""Reads a quantised fastText classifier (.ftz) into the arrays of filters/fasttext_network.py.

Joulin et al. 2016 (arXiv:1607.01759) describe the classifier, arXiv:1612.03651 its quantisation; the
layout of the file is that of the public implementation (facebookresearch/fastText, version 12 of the
format).
"""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.fasttext_network import Classifier, Network, hash_bytes

MAGIC, VERSION = 793712314, 12  # fastText, FASTTEXT_FILEFORMAT_MAGIC_INT32 and FASTTEXT_VERSION
CENTROIDS = 256  # fastText, ProductQuantizer: a code is one byte
END_OF_LINE = b"</s>"  # fastText, Dictionary::EOS
HIERARCHICAL_SOFTMAX, SUPERVISED = 1, 3  # fastText, loss_name::hs and model_name::sup


def read_classifier(path: str) -> Classifier:
    """Read an .ftz file whole (a few MB); raise ValueError where it is another kind of file or of model."""
    stream = io.BytesIO(Path(path).read_bytes())
    try:
        return _read(stream)
    except (struct.error, ValueError, IndexError) as error:
        raise ValueError(f"{path} is not a quantised fastText classifier: {error}") from error


def _read(stream: io.BytesIO) -> Classifier:
    """Read the parts in the order of the file."""
    buckets, shortest, longest = _read_header(stream)
    words, labels, counts, kept = _read_dictionary(stream)
    if _take(stream, "?") != (True,):
        raise ValueError("its vectors are not quantised")
    vectors = _read_quantised(stream)
    tree = _read_matrix(stream)
    left, right = _huffman(counts)
    bits, rows = _ngram_tables(kept, buckets, len(words))
    slots, content, start = _word_table(words)
    network = Network(
        vectors=vectors, tree=tree, left=left, right=right, ngram_kept=bits, ngram_row=rows, word_slot=slots,
        word_bytes=content, word_start=start, shortest=shortest, longest=longest,
        end_of_line=words.index(END_OF_LINE),
    )  # fmt: skip
    return Classifier(tuple(label.decode().removeprefix("__label__") for label in labels), network)


def _take(stream: io.BytesIO, layout: str) -> tuple[Any, ...]:
    """Read little-endian values."""
    layout = "<" + layout
    return struct.unpack(layout, stream.read(struct.calcsize(layout)))


def _array(stream: io.BytesIO, kind: str, count: int) -> NDArray[Any]:
    """Read `count` values of a NumPy type."""
    size = np.dtype(kind).itemsize
    return np.frombuffer(stream.read(count * size), kind, count)


def _read_header(stream: io.BytesIO) -> tuple[int, int, int]:
    """Return the buckets and the shortest and longest character n-gram of a model of the kind we can run."""
    magic, version = _take(stream, "2i")
    if (magic, version) != (MAGIC, VERSION):
        raise ValueError(f"it begins with {magic}, {version}, expected {MAGIC}, {VERSION}")
    _, _, _, _, _, word_ngrams, loss, model, buckets, shortest, longest, _, _ = _take(stream, "12id")
    if (word_ngrams, loss, model) != (1, HIERARCHICAL_SOFTMAX, SUPERVISED):
        raise ValueError("it must be supervised, with a hierarchical softmax and no word n-grams")
    return buckets, shortest, longest


def _read_dictionary(stream: io.BytesIO) -> tuple[list[bytes], list[bytes], list[int], NDArray[np.int32]]:
    """Return words, labels, the labels' counts, and the pairs (bucket, row) of the n-grams that are kept."""
    size, n_words, n_labels, _, n_kept = _take(stream, "3i2q")
    if n_kept < 0 or size != n_words + n_labels:
        raise ValueError("its character n-grams are not pruned")
    content = stream.getvalue()
    entries, counts = [], []
    for _ in range(size):
        start = stream.tell()
        end = content.index(b"\0", start)
        stream.seek(end + 1)
        entries.append(content[start:end])
        counts.append(_take(stream, "qb")[0])
    kept = _array(stream, "<i4", 2 * n_kept).reshape(-1, 2)
    return entries[:n_words], entries[n_words:], counts[n_words:], kept


def _read_quantised(stream: io.BytesIO) -> NDArray[np.float32]:
    """Return the vectors (rows, width) that the codes stand for, each times its norm."""
    (has_norms,) = _take(stream, "?")
    rows, width, n_codes = _take(stream, "2qi")
    codes = _array(stream, "u1", n_codes).reshape(rows, -1)
    vectors = np.concatenate(
        [part[codes[:, i]] for i, part in enumerate(_read_centroids(stream))], axis=1, dtype=np.float32
    )
    if vectors.shape[1] != width:
        raise ValueError(f"its vectors have {vectors.shape[1]} numbers, expected {width}")
    if has_norms:
        norm_codes = _array(stream, "u1", rows)
        vectors *= _read_centroids(stream)[0][norm_codes]
    return vectors


def _read_centroids(stream: io.BytesIO) -> list[NDArray[np.float32]]:
    """Return the centroids (256, width of the part) of every part of a vector."""
    width, parts, part_width, last_width = _take(stream, "4i")
    values = _array(stream, "<f4", width * CENTROIDS)
    widths = [part_width] * (parts - 1) + [last_width]
    starts = [i * CENTROIDS * part_width for i in range(parts)]
    return [
        values[start : start + CENTROIDS * width].reshape(CENTROIDS, width)
        for start, width in zip(starts, widths, strict=True)
    ]


def _read_matrix(stream: io.BytesIO) -> NDArray[np.float32]:
    """Return the weights (labels, width) of the softmax's inner nodes, the last row unused."""
    if _take(stream, "?") != (False,):
        raise ValueError("its output must not be quantised")
    rows, width = _take(stream, "2q")
    return _array(stream, "<f4", rows * width).reshape(rows, width).copy()


def _huffman(counts: list[int]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the children (left, right) of every node of the label tree, leaves first, -1 under a leaf.

    Labels come by falling count; two lists that both rise, leaves from the end and inner nodes from the
    start, are merged (fastText, HierarchicalSoftmaxLoss::buildTree).
    """
    n = len(counts)
    weights = counts + [10**15] * (n - 1)  # fastText, buildTree: more than any count
    children = np.full((2, 2 * n - 1), -1, np.int32)
    leaf, node = n - 1, n
    for parent in range(n, 2 * n - 1):
        for side in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                children[side, parent], leaf = leaf, leaf - 1
            else:
                children[side, parent], node = node, node + 1
        weights[parent] = weights[children[0, parent]] + weights[children[1, parent]]
    return children[0], children[1]


def _ngram_tables(kept: NDArray[np.int32], buckets: int, n_words: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return which buckets are kept, as bits small enough for the cache, and the vector of each."""
    rows = np.full(buckets, -1, np.int32)
    rows[kept[:, 0]] = kept[:, 1] + n_words
    return np.packbits(rows >= 0, bitorder="little"), rows


def _word_table(words: list[bytes]) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.int64]]:
    """Return an open-addressed table of word numbers at most half full, and the words' bytes and starts."""
    slots = np.full(1 << (2 * len(words)).bit_length(), -1, np.int32)
    for number, word in enumerate(words):
        slot = int(hash_bytes(np.frombuffer(word, np.uint8))) & (len(slots) - 1)
        while slots[slot] >= 0:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = number
    start = np.cumsum([0, *map(len, words)], dtype=np.int64)
    return slots, np.frombuffer(b"".join(words), np.uint8), start

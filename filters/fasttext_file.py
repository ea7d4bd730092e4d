"""Reads a fastText classifier, quantised (.ftz) or not (.bin), into the arrays of filters/fasttext_network.py.

Joulin et al. 2016 (arXiv:1607.01759) describe the classifier, arXiv:1612.03651 its quantisation; the
layout of the file is that of the public implementation (facebookresearch/fastText, version 12 of the
format).
"""

import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from filters.fasttext_network import SIGMOID, SOFTMAX, TREE, Classifier, Network, hash_bytes

MAGIC, VERSION = 793712314, 12  # fastText, FASTTEXT_FILEFORMAT_MAGIC_INT32 and FASTTEXT_VERSION
CENTROIDS = 256  # fastText, ProductQuantizer: a code is one byte
COPIED_BYTES = 256_000_000  # ours
END_OF_LINE = b"</s>"  # fastText, Dictionary::EOS
SUPERVISED = 3  # fastText, model_name::sup
LOSSES = {1: TREE, 2: SIGMOID, 3: SOFTMAX, 4: SIGMOID}  # fastText, loss_name: hs, ns, softmax, ova


def read_classifier(path: str) -> Classifier:
    """Read a model; raise ValueError where it is another kind of file or of model.

    Vectors that are not quantised and over 256 MB stay in the file and are mapped, so that processes share them.
    """
    with Path(path).open("rb") as stream:
        try:
            return _read(stream)
        except (struct.error, ValueError, IndexError) as error:
            raise ValueError(f"{path} is not a fastText classifier: {error}") from error


def _read(stream: BinaryIO) -> Classifier:
    """Read the parts in the order of the file."""
    header = _read_header(stream)
    words, labels, counts, kept = _read_dictionary(stream)
    if not labels:
        raise ValueError("it has no labels")
    (quantised,) = _take(stream, "?")
    vectors = _read_quantised(stream) if quantised else _map_matrix(stream)
    if len(vectors) < len(words) or (kept is None and len(vectors) != len(words) + header.buckets):
        raise ValueError(f"it has {len(vectors)} vectors for {len(words)} words and {header.buckets} n-grams")
    if kept is not None and not ((kept >= 0) & (kept < (header.buckets, len(vectors) - len(words)))).all():
        raise ValueError("its n-grams have no vectors")
    (both,) = _take(stream, "?")
    tree = _read_quantised(stream) if quantised and both else np.array(_map_matrix(stream))
    if tree.shape != (len(labels), vectors.shape[1]):
        raise ValueError(f"it has weights of shape {tree.shape} for {len(labels)} labels")
    one = np.full(len(labels), -1, np.int32)
    left, right = _huffman(counts) if header.loss == TREE else (one, one)
    bits, rows = _ngram_tables(kept, header.buckets, len(words))
    slots, content, start = _word_table(words)
    network = Network(
        vectors=vectors, tree=tree, left=left, right=right, ngram_kept=bits, ngram_row=rows, word_slot=slots,
        word_bytes=content, word_start=start, shortest=header.shortest, longest=header.longest,
        end_of_line=words.index(END_OF_LINE) if END_OF_LINE in words else -1,
        word_ngrams=header.word_ngrams, loss=header.loss,
    )  # fmt: skip
    return Classifier(tuple(label.decode().removeprefix("__label__") for label in labels), network)


def _take(stream: BinaryIO, layout: str) -> tuple[Any, ...]:
    """Read little-endian values."""
    layout = "<" + layout
    return struct.unpack(layout, stream.read(struct.calcsize(layout)))


def _array(stream: BinaryIO, kind: str, count: int) -> NDArray[Any]:
    """Read `count` values of a NumPy type."""
    size = np.dtype(kind).itemsize
    return np.frombuffer(stream.read(count * size), kind, count)


class Header(NamedTuple):
    """What a model was trained with, as far as it decides the answers."""

    buckets: int  # that character and word n-grams share
    shortest: int  # characters in an n-gram
    longest: int
    word_ngrams: int
    loss: int


def _read_header(stream: BinaryIO) -> Header:
    """Return the header of a model of the kind we can run."""
    magic, version = _take(stream, "2i")
    if (magic, version) != (MAGIC, VERSION):
        raise ValueError(f"it begins with {magic}, {version}, expected {MAGIC}, {VERSION}")
    _, _, _, _, _, word_ngrams, loss, model, buckets, shortest, longest, _, _ = _take(stream, "12id")
    if model != SUPERVISED or loss not in LOSSES or buckets < 0:
        raise ValueError("it must be supervised")
    return Header(buckets, shortest, longest if buckets else 0, word_ngrams if buckets else 1, LOSSES[loss])


def _read_dictionary(stream: BinaryIO) -> tuple[list[bytes], list[bytes], list[int], NDArray[np.int32] | None]:
    """Return words, labels, the labels' counts, and the pairs (bucket, row) of the n-grams that are kept, None: all."""
    size, n_words, n_labels, _, n_kept = _take(stream, "3i2q")
    if size != n_words + n_labels or min(n_words, n_labels) < 0:
        raise ValueError(f"it has {size} entries for {n_words} words and {n_labels} labels")
    entries: list[bytes] = []
    counts: list[int] = []
    rest = b""
    while len(entries) < size:
        read = stream.read(1 << 20)
        content, at = rest + read, 0
        while len(entries) < size:
            end = content.find(b"\0", at)
            if end < 0 or end + 10 > len(content):
                break
            entries.append(content[at:end])
            counts.append(struct.unpack("<q", content[end + 1 : end + 9])[0])
            at = end + 10  # 8 bytes of count and one that tells words from labels
        rest = content[at:]
        if not read and len(entries) < size:
            raise ValueError("its dictionary is cut off")
    stream.seek(-len(rest), 1)
    kept = _array(stream, "<i4", 2 * n_kept).reshape(-1, 2) if n_kept >= 0 else None
    return entries[:n_words], entries[n_words:], counts[n_words:], kept


def _read_quantised(stream: BinaryIO) -> NDArray[np.float32]:
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


def _read_centroids(stream: BinaryIO) -> list[NDArray[np.float32]]:
    """Return the centroids (256, width of the part) of every part of a vector."""
    width, parts, part_width, last_width = _take(stream, "4i")
    values = _array(stream, "<f4", width * CENTROIDS)
    widths = [part_width] * (parts - 1) + [last_width]
    starts = [i * CENTROIDS * part_width for i in range(parts)]
    return [
        values[start : start + CENTROIDS * width].reshape(CENTROIDS, width)
        for start, width in zip(starts, widths, strict=True)
    ]


def _map_matrix(stream: BinaryIO) -> NDArray[np.float32]:
    """Return a matrix that is not quantised, mapped from the file where it is large, and pass over it.

    In the file its numbers begin at any byte, which makes adding vectors 1.4 times as slow.
    """
    rows, width = _take(stream, "2q")
    start = stream.tell()
    if rows < 0 or width < 1 or start + 4 * rows * width > stream.seek(0, 2):
        raise ValueError(f"a matrix of {rows} x {width} is cut off")
    mapped = np.memmap(stream, "<f4", "r", start, (rows, width)) if rows else np.zeros((0, width), np.float32)
    stream.seek(start + 4 * rows * width)
    return np.asarray(mapped) if mapped.nbytes > COPIED_BYTES else np.array(mapped)


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


def _ngram_tables(
    kept: NDArray[np.int32] | None, buckets: int, n_words: int
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return which buckets are kept, as bits small enough for the cache, and the vector of each."""
    if kept is None:
        rows = np.arange(n_words, n_words + buckets, dtype=np.int32)
    else:
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

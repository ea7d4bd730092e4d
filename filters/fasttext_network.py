"""Runs a fastText classifier over a whole column of texts in compiled code.

Its answers are fastText's (Joulin et al. 2016, arXiv:1607.01759; hashing and scoring as in the public
implementation) up to float32 rounding. A line feed is white space here, and a word "</s>" in a text does
not end it.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters.characters import Array

SMALLEST = np.float32(1e-5)  # fastText, std_log: added to every probability in the tree
CACHED_WORDS = 8192  # tuned: half a megabyte of vectors; most words of a text come again
CACHED_BYTES = 32  # tuned: longer words hardly do
QUEUED = 512  # n-grams of words whose vectors are added in one go: reads from all over the memory, that do not wait
TREE, SIGMOID, SOFTMAX = 1, 2, 3  # fastText, loss_name: hs, ns (and ova), softmax
END_HASH = 3617362777  # of "</s>", fastText's hash
_LABEL = np.frombuffer(b"__label__", np.uint8)  # fastText, Args::label: such a word is not part of a text


class Network(NamedTuple):
    """The arrays that compiled code reads; a row of `vectors` is a word or a kept character n-gram."""

    vectors: NDArray[np.float32]  # (words + n-grams, width)
    tree: NDArray[np.float32]  # (labels, width) weights of the labels; of a tree's inner nodes, the last row unused
    left: NDArray[np.int32]  # (2 labels - 1) the child where the weights say no, -1 under a leaf
    right: NDArray[np.int32]  # (2 labels - 1) the child where they say yes; without a tree both have (labels)
    ngram_kept: NDArray[np.uint8]  # (buckets / 8) bits; most n-grams were pruned
    ngram_row: NDArray[np.int32]  # (buckets) row of `vectors`, -1 where pruned
    word_slot: NDArray[np.int32]  # (a power of two) open-addressed table of word numbers, -1 where free
    word_bytes: NDArray[np.uint8]  # all words, one after the other
    word_start: NDArray[np.int64]  # (words + 1) bytes
    shortest: int  # characters in an n-gram
    longest: int
    end_of_line: int  # the row that ends every text, -1 where there is none
    word_ngrams: int  # most words in an n-gram
    loss: int  # how probabilities are made from scores


@dataclass(frozen=True, slots=True)
class Classifier:
    """A network and its labels, in the order of the tree's leaves."""

    labels: tuple[str, ...]  # without the prefix __label__
    network: Network


@njit(cache=True, nogil=True)
def hash_bytes(word: Array) -> np.uint32:
    """Return fastText's hash of a word: FNV-1a over bytes that are extended with their sign."""
    value = np.uint32(2166136261)  # FNV-1a, 32 bits: offset basis
    for i in range(word.shape[0]):
        value = step_hash(value, word[i])
    return value


@njit(cache=True, nogil=True)
def step_hash(value: np.uint32, byte: np.uint8) -> np.uint32:
    """Take one byte more into fastText's hash."""
    extended = np.uint32(byte) | (np.uint32(0xFFFFFF00) if byte & 0x80 else np.uint32(0))
    return np.uint32((value ^ extended) * np.uint32(16777619))  # FNV-1a, 32 bits: prime


@njit(cache=True, nogil=True)
def predict(network: Network, offsets: Array, data: Array, best: Array, probabilities: Array) -> None:
    """Fill labels and probabilities (documents, k) of the k likeliest of data[offsets[d]:offsets[d + 1]]."""
    cache, hidden = make_cache(network), np.empty(network.vectors.shape[1], np.float32)
    leaves = np.empty(network.left.shape[0], np.float32)
    for document in range(offsets.shape[0] - 1):
        hidden[:] = 0
        total = read_words(network, cache, data, offsets[document], offsets[document + 1], hidden)
        total += add_end(network, hidden)
        score(network, hidden, total, leaves)
        take_best(leaves[: network.tree.shape[0]], best[document], probabilities[document])


@njit(cache=True, nogil=True)
def predict_label(network: Network, offsets: Array, data: Array, label: int) -> Array:
    """Return one label's probability of every data[offsets[d]:offsets[d + 1]] (documents)."""
    cache, hidden = make_cache(network), np.empty(network.vectors.shape[1], np.float32)
    leaves = np.empty(network.left.shape[0], np.float32)
    probabilities = np.empty(offsets.shape[0] - 1, np.float32)
    for document in range(offsets.shape[0] - 1):
        hidden[:] = 0
        total = read_words(network, cache, data, offsets[document], offsets[document + 1], hidden)
        total += add_end(network, hidden)
        score(network, hidden, total, leaves)
        probabilities[document] = min(leaves[label], np.float32(1))
    return probabilities


@njit(cache=True, nogil=True)
def make_cache(network: Network) -> Any:
    """Return what `read_words` needs: words' keys, their vectors, how many each is the sum of, and a queue."""
    keys, counts = np.zeros(CACHED_WORDS + 1, np.uint64), np.zeros(CACHED_WORDS + 1, np.int64)
    vectors = np.empty((CACHED_WORDS + 1, network.vectors.shape[1]), np.float32)
    return keys, vectors, counts, np.empty(QUEUED + 2 * network.word_ngrams, np.int64)


@njit(cache=True, nogil=True)
def read_words(network: Network, cache: Any, data: Array, i: int, stop: int, hidden: Array) -> int:
    """Add the vectors of the words of data[i:stop] and of their n-grams to `hidden`; return how many those are.

    What ends a text is its caller's to add, by `add_end`, but for n-grams of words, which take it in.
    """
    keys, vectors, counts, queue = cache
    total, before = 0, np.zeros(network.word_ngrams, np.uint64)
    opened, queued, buckets = 0, 0, np.uint64(network.ngram_row.shape[0])
    known = (network.vectors, network.word_slot, network.word_bytes, network.word_start)
    while True:
        while i < stop and _is_space(data[i]):
            i += 1
        if i == stop:
            break
        start, slow, key = i, np.uint32(2166136261), np.uint64(0xCBF29CE484222325)  # FNV-1a offset bases
        while i < stop and not _is_space(data[i]):
            slow = step_hash(slow, data[i])
            key = (key ^ np.uint64(data[i])) * np.uint64(0x100000001B3)  # FNV-1a, 64 bits: prime
            i += 1
        if network.word_ngrams > 1 and not _is_label(data, start, i):
            if queued > QUEUED:
                total += _add_buckets(network, queue, queued, hidden)
                queued = 0
            queued = _queue_word_ngrams(before, opened, slow, buckets, queue, queued)
            opened = min(opened + 1, network.word_ngrams - 1)
        if network.longest == 0:  # a word is its own vector, and found as fast as in the cache
            total += _add_known_word(known, network.end_of_line, data, start, i, slow, hidden)
            continue
        slot = np.int64((key ^ key >> np.uint64(29)) & np.uint64(CACHED_WORDS - 1))
        slot = slot if i - start <= CACHED_BYTES else np.int64(CACHED_WORDS)  # they share the last
        if keys[slot] != key:
            counts[slot] = _add_word(network, data, start, i, slow, vectors[slot])
            keys[slot] = key
        total += counts[slot]
        add(hidden, vectors, slot)
    if network.word_ngrams > 1:
        queued = _queue_word_ngrams(before, opened, np.uint32(END_HASH), buckets, queue, queued)
        total += _add_buckets(network, queue, queued, hidden)
    return total


@njit(cache=True, nogil=True)
def add_end(network: Network, hidden: Array) -> int:
    """Add the vector that ends every text to `hidden`; return 1, 0 where the model has none."""
    if network.end_of_line < 0:
        return 0
    add(hidden, network.vectors, network.end_of_line)
    return 1


@njit(cache=True, nogil=True)
def _queue_word_ngrams(before: Array, opened: int, value: Any, buckets: Any, queue: Array, queued: int) -> int:
    """Put the buckets of the n-grams that end with a word of this hash into the queue; return how many are in it.

    `before` holds the n-grams that the words before it began. fastText, Dictionary::addWordNgrams: hashes are signed
    32-bit numbers that are extended to 64 bits.
    """
    word = np.uint64(np.int64(np.int32(value)))
    for k in range(opened - 1, -1, -1):
        ngram = before[k] * np.uint64(116049371) + word  # fastText, addWordNgrams
        queue[queued] = np.int64(ngram % buckets)
        queued += 1
        before[k + 1] = ngram
    before[0] = word
    return queued


@njit(cache=True, nogil=True)
def _add_buckets(network: Network, queue: Array, queued: int, vector: Array) -> int:
    """Add the vectors of buckets of n-grams, unless they were pruned; return how many were added."""
    vectors, kept, rows, added = network.vectors, network.ngram_kept, network.ngram_row, 0
    for place in range(queued):
        bucket = queue[place]
        if kept[bucket >> 3] >> (bucket & 7) & 1:
            add(vector, vectors, rows[bucket])
            added += 1
    return added


@njit(cache=True, nogil=True)
def _is_space(byte: np.uint8) -> bool:
    """Tell whether fastText ends a word at this byte."""
    return bool(byte == 0x20 or 0x09 <= byte <= 0x0D or byte == 0)


@njit(cache=True, nogil=True)
def _add_known_word(known: Any, end_of_line: int, data: Array, start: int, stop: int, value: Any, vector: Array) -> int:
    """Add the vector of a word of the dictionary; return 1, 0 where it is not in there."""
    vectors, slots, words, starts = known
    number = _find_word(slots, words, starts, data, start, stop, value)
    if number < 0 or number == end_of_line:
        return 0
    add(vector, vectors, number)
    return 1


@njit(cache=True, nogil=True)
def _add_word(network: Network, data: Array, start: int, stop: int, value: Any, vector: Array) -> Any:
    """Set the vector to the sum of a word's and its n-grams' vectors; return how many those are."""
    vector[:] = 0
    number = _find_word(network.word_slot, network.word_bytes, network.word_start, data, start, stop, value)
    if number == network.end_of_line or (number < 0 and _is_label(data, start, stop)):
        return 0
    if number >= 0:
        add(vector, network.vectors, number)
    sizes = (network.shortest, network.longest)
    ngrams = _add_ngrams(network.vectors, network.ngram_kept, network.ngram_row, sizes, data, start, stop, vector)
    return ngrams + (number >= 0)


@njit(cache=True, nogil=True)
def add(vector: Array, vectors: Array, row: Any) -> None:
    """Add a row of vectors, in a loop: that compiles to a few instructions, an array expression allocates."""
    for k in range(vector.shape[0]):
        vector[k] += vectors[row, k]


@njit(cache=True, nogil=True)
def _is_label(data: Array, start: int, stop: int) -> bool:
    """Tell whether fastText would take the word for a label."""
    if stop - start < _LABEL.shape[0]:
        return False
    same = True
    for i in range(_LABEL.shape[0]):
        same &= data[start + i] == _LABEL[i]
    return same


@njit(cache=True, nogil=True)
def _find_word(
    slots: Array, words: Array, starts: Array, data: Array, start: int, stop: int, value: np.uint32
) -> np.int64:
    """Return the word's number, -1 where it is not in the dictionary."""
    mask = slots.shape[0] - 1
    slot = np.int64(value) & mask
    while slots[slot] >= 0:
        number = slots[slot]
        same = starts[number + 1] - starts[number] == stop - start
        k = 0
        while same and k < stop - start:
            same = words[starts[number] + k] == data[start + k]
            k += 1
        if same:
            return np.int64(number)
        slot = (slot + 1) & mask
    return np.int64(-1)


@njit(cache=True, nogil=True)
def _add_ngrams(
    vectors: Array,
    kept: Array,
    rows: Array,
    sizes: tuple[int, int],
    data: Array,
    start: int,
    stop: int,
    vector: Array,
) -> int:
    """Add the vectors of the kept character n-grams of "<word>"; return how many there are."""
    shortest, longest = sizes
    found, buckets = 0, np.uint32(rows.shape[0])
    for i in range(start - 1, stop + 1):  # start - 1 is the opening "<", stop the closing ">"
        if start <= i < stop and data[i] & 0xC0 == 0x80:
            continue
        value, j, length = np.uint32(2166136261), i, 1  # FNV-1a, 32 bits: offset basis
        while j <= stop and length <= longest:
            value = step_hash(value, _framed(data, j, start, stop))
            j += 1
            while start < j < stop and data[j] & 0xC0 == 0x80:
                value = step_hash(value, data[j])
                j += 1
            if length >= shortest and not (length == 1 and (i < start or j > stop)):
                bucket = np.int64(value % buckets)
                if kept[bucket >> 3] >> (bucket & 7) & 1:
                    add(vector, vectors, rows[bucket])
                    found += 1
            length += 1
    return found


@njit(cache=True, nogil=True)
def _framed(data: Array, j: int, start: int, stop: int) -> np.uint8:
    """Return byte j of the word with its frame around it."""
    if j < start:
        return np.uint8(0x3C)
    return np.uint8(0x3E) if j == stop else data[j]


@njit(cache=True, nogil=True)
def score(network: Network, hidden: Array, total: int, leaves: Array) -> None:
    """Fill the probability of every label from the sum of so many vectors, and of a tree's nodes."""
    labels = network.tree.shape[0]
    leaves[-1] = 1
    largest = np.float32(-np.inf)
    nodes = range(leaves.shape[0] - 1, labels - 1, -1) if network.loss == TREE else range(labels - 1, -1, -1)
    for node in nodes:  # parents have larger numbers than children
        dot = np.float32(0)
        for k in range(hidden.shape[0]):
            dot += network.tree[node % labels, k] * hidden[k]
        dot /= np.float32(max(total, 1))
        if network.loss == TREE:
            yes = np.float32(1) / (np.float32(1) + np.exp(-dot))
            leaves[network.left[node]] = leaves[node] * (np.float32(1) - yes + SMALLEST)
            leaves[network.right[node]] = leaves[node] * (yes + SMALLEST)
        else:
            leaves[node], largest = dot, max(largest, dot)
    if network.loss != TREE:
        _normalise(leaves, largest, network.loss)


@njit(cache=True, nogil=True)
def _normalise(leaves: Array, largest: Any, loss: int) -> None:
    """Turn scores into probabilities: a softmax over all labels, or a sigmoid for each."""
    total = np.float32(0)
    for label in range(leaves.shape[0]):
        if loss == SOFTMAX:
            leaves[label] = np.exp(leaves[label] - largest)
            total += leaves[label]
        else:
            leaves[label] = np.float32(1) / (np.float32(1) + np.exp(-leaves[label])) + SMALLEST
    if loss == SOFTMAX:
        for label in range(leaves.shape[0]):
            leaves[label] = leaves[label] / total + SMALLEST


@njit(cache=True, nogil=True)
def take_best(leaves: Array, best: Array, probabilities: Array) -> None:
    """Fill the k likeliest labels, best first, the first of equals; probabilities are at most 1."""
    for rank in range(best.shape[0]):
        top = -1
        for label in range(leaves.shape[0]):
            if top < 0 or leaves[label] > leaves[top]:
                top = label
        best[rank], probabilities[rank] = top, min(leaves[top], np.float32(1))
        leaves[top] = -1

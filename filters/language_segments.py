"""Identifies the language of a text and of its segments in one reading.

A segment is a run of whole lines of at least SHORTEST bytes, or what ends at a white space after LONGEST: short
enough to see a mixed page, long enough for lid.176 to be right. Its words are read once, for it and for the text. A
segment has a language where one has a probability of a half or more, which a walk down the model's tree finds in a
few steps. A model with n-grams of words, which cross segments, takes a text for one.
"""

import numpy as np
from numba import njit

from filters.characters import Array
from filters.fasttext_network import TREE, Network, add, add_end, make_cache, read_words, score, take_best

SHORTEST, LONGEST = 200, 1000  # bytes; ours
LEAST_SHARE = 0.1  # ours: of the characters; a language with less is a name, a quotation, or a mistake


@njit(cache=True, nogil=True)
def predict_with_segments(
    network: Network, offsets: Array, data: Array, best: Array, probabilities: Array
) -> tuple[Array, Array]:
    """Fill what `predict` fills; return the share of the likeliest language and the number of languages (documents).

    Both are of the characters in segments that have a language; NaN where none has.
    """
    shares, languages = np.full(offsets.shape[0] - 1, np.nan), np.full(offsets.shape[0] - 1, np.nan)
    width, labels = network.vectors.shape[1], network.tree.shape[0]
    cache, leaves = make_cache(network), np.empty(network.left.shape[0], np.float32)
    whole, part, ends = np.empty((1, width), np.float32), np.empty((1, width), np.float32), np.zeros(width, np.float32)
    end = add_end(network, ends)
    sizes = np.zeros(labels, np.int64)  # characters by language
    for document in range(offsets.shape[0] - 1):
        whole[0] = ends
        sizes[:] = 0
        total, i = end, offsets[document]
        while i < offsets[document + 1]:
            longest = LONGEST if network.word_ngrams == 1 else data.shape[0]
            stop, characters = _end_of_segment(data, i, offsets[document + 1], longest)
            part[0] = 0
            count = read_words(network, cache, data, i, stop, part[0])
            add(whole[0], part, 0)
            total, i = total + count, stop
            part[0] += ends
            label = _likely_label(network, part[0], count + end, leaves) if count else -1
            if label >= 0:
                sizes[label] += characters
        score(network, whole[0], total, leaves)
        take_best(leaves[:labels], best[document], probabilities[document])
        if sizes.sum():
            shares[document] = sizes[best[document, 0]] / sizes.sum()
            languages[document] = (sizes >= LEAST_SHARE * sizes.sum()).sum()
    return shares, languages


@njit(cache=True, nogil=True)
def _likely_label(network: Network, hidden: Array, total: int, leaves: Array) -> int:
    """Return the label with a probability of a half or more, -1 where there is none."""
    labels = network.tree.shape[0]
    if network.loss != TREE:
        score(network, hidden, total, leaves)
        label = np.argmax(leaves[:labels])
        return int(label) if leaves[label] >= 0.5 else -1
    node, probability = network.left.shape[0] - 1, np.float32(1)
    while node >= labels and probability >= 0.5:
        dot = np.float32(0)
        for k in range(hidden.shape[0]):
            dot += network.tree[node - labels, k] * hidden[k]
        yes = np.float32(1) / (np.float32(1) + np.exp(-dot / np.float32(total)))
        node = network.right[node] if yes >= 0.5 else network.left[node]
        probability *= max(yes, np.float32(1) - yes)
    return int(node) if probability >= 0.5 else -1


@njit(cache=True, nogil=True)
def _end_of_segment(data: Array, i: int, stop: int, longest: int) -> tuple[int, int]:
    """Return where the segment from byte i ends, and its code points."""
    start, characters = i, 0
    while i < stop:
        byte = data[i]
        characters += byte & 0xC0 != 0x80
        i += 1
        if (byte == 0x0A and longest == LONGEST and i - start >= SHORTEST) or (byte <= 0x20 and i - start >= longest):
            break
    return i, characters

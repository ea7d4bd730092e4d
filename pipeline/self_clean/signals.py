"""What a document is judged by: numbers from an n-gram model, which every document gets, and from a TransNormer.

All are measured on an excerpt, the whole text where it is short. Bits are per UTF-8 byte of it.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model.ngram import Bits

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CHEAP = (
    "unigram_bits",  # what its words cost, each by itself
    "trigram_gain",  # how much the two tokens before tell about a token: little in shuffled words
    "cache_gain",  # how much the document's own past tells: little in a mixture of topics, much in lists
    "prior_deviation",  # of the unigram bits of its tokens (arXiv:2509.18577 takes their mean and deviation)
    "unevenness",  # how differently predictable its stretches are
    "isolation",  # share of tokens never seen behind the token before, nor before the one behind: misread words
    "returning",  # share of the telling tokens that the document had before: little in babble
    "repetition",  # share of tokens that end four which the document had before
    "tokens_per_byte",  # damaged words fall into many pieces
    "reject_unigrams",  # how much more its words cost as the words of what the rules rejected
    "reject_trigrams",  # and how much more their order
)
LEARNT = (
    "bits_per_byte",
    "beyond_trigram",  # how much more a TransNormer knows than trigrams do
    "slope",  # of the token losses along the document, in nats from its begin to its end
    "loss_deviation",  # of the token losses
)
SIGNALS = CHEAP + LEARNT


def cheap_signals(bits: Bits, rejects: Bits, sizes: Ints) -> Floats:
    """Return the signals CHEAP (documents, signals) of excerpts of so many bytes; NaN without tokens.

    `rejects` is what they take under the n-grams of what the rules rejected; `bits` where there are too few of those.
    """
    size = np.where(bits.tokens > 0, np.maximum(sizes, 1), np.nan).astype(np.float64)
    columns = (
        bits.unigram / size,
        (bits.unigram - bits.trigram) / size,
        (bits.unigram - bits.cached) / size,
        bits.deviation,
        bits.unevenness,
        bits.isolated,
        bits.returning,
        bits.repeated,
        bits.tokens / size,
        (rejects.unigram - bits.unigram) / size,
        (rejects.trigram - bits.trigram) / size,
    )
    return np.where(np.isnan(size)[:, None], np.nan, np.stack(columns, axis=1))


def trigram_bits(cheap: Floats) -> Floats:
    """Return trigram bits per byte (documents) from the signals CHEAP."""
    return np.asarray(cheap[:, CHEAP.index("unigram_bits")] - cheap[:, CHEAP.index("trigram_gain")])


def learnt_signals(losses: Sequence[Floats], trigram: Floats, sizes: Ints) -> Floats:
    """Return the signals LEARNT (documents, signals); NaN without tokens.

    `losses` holds each document's token losses in nats, `trigram` (documents) its trigram bits per byte, `sizes` its
    bytes.
    """
    rows = [
        _learnt(one.astype(np.float64), bits, max(1, size))
        for one, bits, size in zip(losses, trigram.tolist(), sizes.tolist(), strict=True)
    ]
    return np.array(rows).reshape(len(rows), len(LEARNT))


def _learnt(losses: Floats, trigram: float, size: int) -> list[float]:
    if not len(losses):
        return [math.nan] * len(LEARNT)
    bits = float(losses.sum()) / math.log(2)
    place = np.linspace(-0.5, 0.5, len(losses)) if len(losses) > 1 else np.zeros(1)
    slope = float((place * losses).sum() / max(1e-9, (place**2).sum()))
    return [bits / size, trigram - bits / size, slope, float(losses.std())]

"""The n-gram model against plain Python, exact where no cells collide."""

import itertools
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.ngram import (
    CACHE_SHARE,
    DISCOUNT,
    FLOOR,
    NUMBER,
    PHRASE,
    STRETCH,
    TELLING,
    Bits,
    Ngrams,
    add,
    empty,
    finish,
    measure,
)

VOCAB = 8
BITS = 20  # so many cells that no pair and no three of 8 tokens collide: test_no_cells_collide
Tokens = list[int]
documents = st.lists(st.lists(st.integers(0, VOCAB - 1), max_size=40), max_size=8)


def counted(texts: list[Tokens], language: int = 0, languages: int = 1) -> Ngrams:
    """Return the counts of documents in one language."""
    model = empty(languages, VOCAB, bits=BITS)
    for text in texts:
        add(model, np.array(text, np.int64), language)
    return finish(model)


def measured(model: Ngrams, texts: list[list[Tokens]], languages: list[int] | None = None) -> Bits:
    """Measure documents that are lists of windows."""
    windows = [np.array(window, np.int64) for text in texts for window in text]
    owners = np.repeat(np.arange(len(texts)), [len(text) for text in texts]).astype(np.int64)
    return measure(model, windows, owners, np.array(languages or [0] * len(texts), np.int64))


def drawn(seed: int, count: int = 60, length: int = 120) -> list[Tokens]:
    """Return documents of tokens of which some are far more frequent than others."""
    draw = np.random.default_rng(seed)
    share = 1 / np.arange(1, VOCAB + 1) ** 2
    return draw.choice(VOCAB, (count, length), p=share / share.sum()).tolist()


class Reference:
    """The equations of the module, over dictionaries."""

    def __init__(self, texts: list[Tokens]) -> None:
        self.ones = Counter(w for text in texts for w in text)
        self.twos: Counter[tuple[int, ...]] = Counter(pair for text in texts for pair in itertools.pairwise(text))
        self.threes: Counter[tuple[int, ...]] = Counter(
            three for text in texts for three in zip(text, text[1:], text[2:], strict=False)
        )
        self.total = sum(self.ones.values()) + VOCAB * FLOOR

    def unigram(self, w: int) -> float:
        """Return p(w)."""
        return (self.ones[w] + FLOOR) / self.total

    def discounted(self, past: tuple[int, ...], w: int) -> float:
        """Return p(w | past) for a past of one or two tokens."""
        lower = self.unigram(w) if len(past) == 1 else self.discounted(past[1:], w)
        counts = self.twos if len(past) == 1 else self.threes
        after = {key: n for key, n in counts.items() if key[:-1] == past}
        total = sum(after.values())
        if not total:
            return lower
        return (max(counts[(*past, w)] - DISCOUNT, 0) + DISCOUNT * len(after) * lower) / total

    def trigram(self, window: Tokens) -> list[float]:
        """Return the bits of each token of a window."""
        bits = []
        for i, w in enumerate(window):
            past = tuple(window[max(0, i - 2) : i])
            bits.append(-math.log2(self.discounted(past, w) if past else self.unigram(w)))
        return bits


def test_no_cells_collide() -> None:
    """Every pair and every three of the vocabulary has a cell of its own, so that what follows is exact."""
    every = [[u, v, w] for u in range(VOCAB) for v in range(VOCAB) for w in range(VOCAB)]
    model = counted(every)
    assert (model.threes > 0).sum() == VOCAB**3
    assert (model.twos[:, NUMBER] > 0).sum() == VOCAB**2


@settings(deadline=None)
@given(documents, st.lists(st.lists(st.integers(0, VOCAB - 1), max_size=40), min_size=1, max_size=4))
def test_bits_are_those_of_absolute_discounting(texts: list[Tokens], asked: list[Tokens]) -> None:
    """Unigram and trigram bits are the formula's, token by token, whatever was counted."""
    reference = Reference(texts)
    bits = measured(counted(texts), [[window] for window in asked])
    assert bits.trigram == pytest.approx([sum(reference.trigram(w)) for w in asked], rel=1e-5, abs=1e-5)
    assert bits.unigram == pytest.approx(
        [sum(-math.log2(reference.unigram(w)) for w in window) for window in asked], rel=1e-5, abs=1e-5
    )
    assert bits.tokens.tolist() == [len(window) for window in asked]


def test_probabilities_of_all_tokens_add_up_to_one() -> None:
    """After any two tokens, seen or not, the probabilities of what may follow are a distribution."""
    model = counted(drawn(1, count=5))
    for u, v in ((0, 0), (0, 1), (5, 7), (VOCAB - 1, VOCAB - 1)):
        both = measured(model, [[[u, v, w]] for w in range(VOCAB)]).trigram
        past = measured(model, [[[u, v]]]).trigram[0]
        assert np.exp2(past - both).sum() == pytest.approx(1, abs=1e-4)


def test_counting_in_any_order_is_the_same() -> None:
    """Documents counted forwards, backwards and shuffled leave the same tables."""
    texts = drawn(2)
    shuffled = [texts[number] for number in np.random.default_rng(0).permutation(len(texts))]
    tables = [counted(order) for order in (texts, texts[::-1], shuffled)]
    for name in ("unigrams", "ones", "twos", "threes"):
        first, *others = (getattr(table, name) for table in tables)
        assert all((first == other).all() for other in others), name


def test_languages_share_no_counts() -> None:
    """What is counted in one language changes no bit of another, and each has its own."""
    both = empty(2, VOCAB, bits=BITS)
    ones, others = drawn(3), [[VOCAB - 1 - w for w in text] for text in drawn(4)]
    for text in ones:
        add(both, np.array(text), 0)
    for text in others:
        add(both, np.array(text), 1)
    asked = [[text] for text in drawn(5, count=4)]
    alone = measured(counted(ones), asked)
    together = measured(finish(both), asked, [0] * 4)
    assert together.trigram.tolist() == alone.trigram.tolist()
    assert (measured(finish(both), asked, [1] * 4).trigram > together.trigram).all()


@settings(deadline=None)
@given(st.lists(st.lists(st.lists(st.integers(0, VOCAB - 1), max_size=50), max_size=3), min_size=2, max_size=5))
def test_a_document_is_measured_as_if_alone(texts: list[list[Tokens]]) -> None:
    """Company changes no number of a document, however many windows it has, none included."""
    model = counted(drawn(6, count=10))
    together = measured(model, texts)
    for number, text in enumerate(texts):
        alone = measured(model, [text])
        for name in Bits.__slots__:
            assert getattr(together, name)[number] == getattr(alone, name)[0], name


def test_an_empty_document_has_no_bits() -> None:
    """Without a window, or with an empty one, all is zero and no neighbour is moved."""
    bits = measured(counted(drawn(7)), [[], [[1, 2, 3]], [[]]])
    for name in Bits.__slots__:
        assert getattr(bits, name)[[0, 2]].tolist() == [0, 0], name
    assert bits.tokens.tolist() == [0, 3, 0]
    assert measured(counted([]), []).tokens.tolist() == []


def test_no_window_knows_the_one_before_it() -> None:
    """A document in two windows takes the trigram bits of the two alone; its cache and phrases go on."""
    model, text = counted(drawn(8)), drawn(9, count=1, length=80)[0]
    two, one, half = (measured(model, [windows]) for windows in ([text, text], [text + text], [text]))
    assert two.trigram[0] == pytest.approx(2 * half.trigram[0])
    assert two.trigram[0] != pytest.approx(one.trigram[0], abs=1e-3)
    assert two.cached[0] == pytest.approx(one.cached[0])
    assert two.repeated[0] > half.repeated[0]


def test_the_cache_is_the_documents_own_past() -> None:
    """Cached bits mix the unigram with the share of the document's tokens so far, over its windows."""
    texts = drawn(10)
    model, reference = counted(texts), Reference(texts)
    windows, past, bits = drawn(11, count=3, length=50), list[int](), 0.0
    for w in (w for window in windows for w in window):
        p = reference.unigram(w)
        bits -= math.log2((1 - CACHE_SHARE) * p + CACHE_SHARE * past.count(w) / len(past) if past else p)
        past.append(w)
    assert measured(model, [windows]).cached[0] == pytest.approx(bits, rel=1e-5)


def test_repeated_phrases_are_counted() -> None:
    """A token is repeated when it ends four that the document, not its neighbour, had before in some window."""
    windows = [[0, 1, 2, 3, 4, 0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [0, 1, 2]]
    seen, hits, total = set(), 0, 0
    for window in windows:
        total += len(window)
        for i in range(PHRASE - 1, len(window)):
            phrase = tuple(window[i - PHRASE + 1 : i + 1])
            hits += phrase in seen
            seen.add(phrase)
    assert hits == 3
    bits = measured(counted(drawn(12)), [windows, [[0, 1, 2, 3]]])
    assert bits.repeated.tolist() == [hits / total, 0]


def test_spread_within_a_document() -> None:
    """Deviation is that of the tokens' unigram bits; unevenness that of the mean bits of stretches."""
    texts = drawn(13)
    model, reference = counted(texts), Reference(texts)
    window = drawn(14, count=1, length=3 * STRETCH + STRETCH // 2 + 1)[0]
    bits = measured(model, [[window]])
    unigram = [-math.log2(reference.unigram(w)) for w in window]
    stretches = [np.mean(reference.trigram(window)[at : at + STRETCH]) for at in range(0, len(window), STRETCH)]
    assert len(stretches) == 4
    assert bits.deviation[0] == pytest.approx(np.std(unigram), rel=1e-4)
    assert bits.unevenness[0] == pytest.approx(np.std(stretches), rel=1e-3)
    shorter = measured(model, [[window[:-1]]])  # what is left is no more than half a stretch, and is left out
    assert shorter.unevenness[0] == pytest.approx(np.std(stretches[:3]), rel=1e-3)


def test_isolated_tokens_have_unseen_neighbours() -> None:
    """A token is isolated when neither the pair with the token before nor that with the token behind was seen."""
    model = counted([[0, 1, 2, 3, 4, 5, 6]])
    bits = measured(model, [[[0, 1, 2, 3]], [[0, 1, 7, 2, 3]], [[0, 1, 7]], [[7, 0, 1]]])
    assert bits.isolated.tolist() == [0, 1 / 5, 0, 0]


def test_returning_tokens_are_rare_ones_seen_before() -> None:
    """Of the tokens that tell much, the share that the document had before; frequent ones do not count."""
    texts = [[0] * 400 + [1] + [2]]
    model, reference = counted(texts), Reference(texts)
    assert -math.log2(reference.unigram(0)) < TELLING < -math.log2(reference.unigram(1))
    bits = measured(model, [[[0, 0, 1, 0, 2], [1, 1]], [[0, 0, 0]]])
    assert bits.returning.tolist() == [2 / 4, 0]


def test_an_unknown_language_is_measured_as_the_first() -> None:
    """A number beyond the model's languages reads no foreign memory."""
    model = counted(drawn(15))
    asked = [[text] for text in drawn(16, count=2)]
    assert measured(model, asked, [0, 999]).trigram.tolist() == measured(model, asked, [0, 0]).trigram.tolist()


def test_full_tables_give_probabilities() -> None:
    """Where far more is counted than there are cells, bits stay finite and none is negative."""
    draw = np.random.default_rng(17)
    model = empty(1, 1000, bits=4)
    for _ in range(20):
        add(model, draw.integers(0, 1000, 500), 0)
    windows: list[NDArray[np.integer]] = [draw.integers(0, 1000, 300) for _ in range(5)]
    bits = measure(finish(model), windows, np.arange(5), np.zeros(5, np.int64))
    assert np.isfinite(bits.trigram).all()
    assert (bits.trigram >= 0).all()


def test_shuffled_words_gain_less_from_their_order() -> None:
    """Text from a chain costs fewer bits by trigrams than by unigrams; shuffled, the gain is gone."""
    draw = np.random.default_rng(18)

    def walk(length: int) -> Tokens:
        out = [0]
        while len(out) < length:
            out.append(int(out[-1] * 5 + 1 + (draw.random() < 0.3)) % VOCAB)
        return out

    model = counted([walk(500) for _ in range(20)])
    text = walk(200)
    bits = measured(model, [[text], [draw.permutation(text).tolist()]])
    assert bits.unigram[0] == pytest.approx(bits.unigram[1])
    assert bits.trigram[0] < 0.6 * bits.unigram[0]
    assert bits.trigram[1] > bits.unigram[1]


def test_kernels_stay_within_their_arrays(tmp_path: Path) -> None:
    """With Numba's bounds checking on, documents, windows and tables of every awkward size raise nothing."""
    root = Path(__file__).parents[2]
    checking = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(root)}
    script = [sys.executable, str(Path(__file__).with_name("bounds_checked.py"))]
    done = subprocess.run(script, env=os.environ | checking, capture_output=True, text=True, timeout=600, check=False)
    assert done.stdout.split() == ["checked", "done"], done.stderr

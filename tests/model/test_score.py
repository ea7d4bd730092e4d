"""A document's loss is its own: not that of its company, its segments or its place in the call."""

import math

import numpy as np
import pytest
import torch

from model.config import TransNormerConfig
from model.score import losses, score, score_windows, windows
from model.transnormer import TransNormer

EOS = 2
SHARP = 5.0  # times the head's weights: a fresh model guesses, and then no error would show


@pytest.fixture(scope="module")
def model() -> TransNormer:
    """Build a model of three layers with strong opinions."""
    model = TransNormer(TransNormerConfig(vocab_size=300, eos=EOS, width=32, layers=3, heads=4, hidden=48))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(SHARP if weight.dim() == 2 and weight.shape != (4, 8) else 1.0)
    return model


def texts(*lengths: int, seed: int = 0) -> list[np.ndarray]:
    """Draw documents of these lengths."""
    rng = np.random.default_rng(seed)
    return [rng.integers(3, 300, length).astype(np.uint16) for length in lengths]


def by_logits(model: TransNormer, piece: np.ndarray) -> torch.Tensor:
    """Return the losses of a piece computed the plain way, from all of its logits."""
    tokens = torch.from_numpy(piece.astype(np.int64))
    with torch.no_grad():
        logits, _ = model(tokens[None, :-1])
    return torch.nn.functional.cross_entropy(logits[0], tokens[1:], reduction="none")


def test_scores_are_the_cross_entropy_of_the_logits(model: TransNormer) -> None:
    """Sums over packed documents equal the plain computation, the first token predicted from EOS."""
    documents = texts(1, 500, 64, 7, 65, 130)
    found = score(model, documents)
    expected = [by_logits(model, np.append(EOS, document)).sum().item() for document in documents]
    assert found.nats == pytest.approx(expected, rel=1e-6)
    assert found.tokens.tolist() == [1, 500, 64, 7, 65, 130]
    assert found.nats[1] / 500 > math.log(300)


def test_a_document_does_not_depend_on_its_company(model: TransNormer) -> None:
    """Alone, first, last or in a full batch, a document keeps its loss to 1e-5 nats per token."""
    documents = texts(*range(1, 200, 7), seed=1)
    together = score(model, documents)
    reversed_ = score(model, documents[::-1], batch_tokens=300)
    alone = [score(model, [document]).nats[0] for document in documents]
    assert np.abs(together.nats - alone).max() < 1e-5
    assert np.abs(reversed_.nats[::-1] - alone).max() < 1e-4


@pytest.mark.parametrize("segment", [1, 63, 100, 399])
def test_segments_give_the_loss_of_the_whole(model: TransNormer, segment: int) -> None:
    """A document in segments with the state handed on has the losses of the document in one go."""
    pieces = texts(401)
    (whole,) = losses(model, pieces)
    (parts,) = losses(model, pieces, segment_tokens=segment)
    assert np.abs(parts - whole).max() < 2e-5
    (cold,) = losses(model, [pieces[0][200:]])
    assert np.abs(cold - whole[200:]).max() > 0.1


def test_the_same_call_gives_the_same_bits(model: TransNormer) -> None:
    """Two calls agree bit for bit, whatever number of threads torch was set to."""
    documents = texts(300, 20, 5000, 77)
    threads = torch.get_num_threads()
    first = score(model, documents)
    torch.set_num_threads(2)
    second = score(model, documents)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    assert np.array_equal(first.nats, second.nats)


def test_nothing_scored_is_zero(model: TransNormer) -> None:
    """Empty documents and empty calls give zeros and no rows."""
    found = score(model, texts(0, 9, 0))
    assert found.tokens.tolist() == [0, 9, 0]
    assert found.nats[0] == found.nats[2] == 0.0
    assert len(score(model, []).nats) == 0


def test_a_window_is_scored_from_the_token_before_it(model: TransNormer) -> None:
    """Windows start from an empty state and the token before them, or EOS, and add up per document."""
    long, short = texts(100, 12)
    found = score_windows(model, [long, short], [[(0, 10), (45, 55)], [(0, 12)]])
    pieces = [np.append(EOS, long[:10]), long[44:55], np.append(EOS, short)]
    expected = [by_logits(model, piece).sum().item() for piece in pieces]
    assert found.nats == pytest.approx([expected[0] + expected[1], expected[2]], rel=1e-6)
    assert found.tokens.tolist() == [20, 12]


def test_all_windows_of_a_short_document_are_the_document(model: TransNormer) -> None:
    """A document within its share is scored whole, a document without tokens is zero."""
    documents = texts(30, 0)
    found = score_windows(model, documents, [windows(len(document), 16, 2) for document in documents])
    assert found.nats == pytest.approx(score(model, documents).nats)
    assert found.tokens.tolist() == [30, 0]


@pytest.mark.parametrize(
    ("length", "window", "count", "expected"),
    [
        (100, 10, 3, [(0, 10), (45, 55), (90, 100)]),
        (100, 10, 1, [(45, 55)]),
        (30, 10, 3, [(0, 30)]),
        (31, 10, 3, [(0, 10), (10, 20), (21, 31)]),
        (9, 10, 1, [(0, 9)]),
        (0, 10, 2, []),
    ],
)
def test_windows_are_evenly_spaced(length: int, window: int, count: int, expected: list[tuple[int, int]]) -> None:
    """Windows reach from the first token to the last without overlap; what fits is taken whole."""
    assert windows(length, window, count) == expected

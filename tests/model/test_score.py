"""A document's loss is its own: not that of its company, its segments or its place in the call."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from model.config import TransNormerConfig
from model.score import Judge, Scores, Scoring, losses, prepare, score, score_texts, windows
from model.transnormer import TransNormer

EOS = 2
SHARP = 5.0  # times the head's weights: a fresh model guesses, and then no error would show


def sharp_model() -> TransNormer:
    """Build a model of three layers with strong opinions."""
    model = TransNormer(TransNormerConfig(vocab_size=300, eos=EOS, width=32, layers=3, heads=4, hidden=48))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(SHARP if weight.dim() == 2 and weight.shape != (4, 8) else 1.0)
    return model


@pytest.fixture(scope="module")
def judge() -> Judge:
    """Make the model ready as by default: eager, float32."""
    return prepare(sharp_model())


def scored(judge: Judge, documents: list[np.ndarray]) -> Scores:
    """Score documents of three bytes a token."""
    return score(judge, documents, [3 * len(document) for document in documents])


def texts(*lengths: int, seed: int = 0) -> list[np.ndarray]:
    """Draw documents of these lengths."""
    rng = np.random.default_rng(seed)
    return [rng.integers(3, 300, length).astype(np.uint16) for length in lengths]


def by_logits(judge: Judge, piece: np.ndarray) -> torch.Tensor:
    """Return the losses of a piece computed the plain way, from all of its logits."""
    tokens = torch.from_numpy(piece.astype(np.int64))
    with torch.no_grad():
        logits, _ = judge.model(tokens[None, :-1])
    return torch.nn.functional.cross_entropy(logits[0], tokens[1:], reduction="none")


def test_every_document_needs_its_size(judge: Judge) -> None:
    """One size for two documents is refused, not taken for both."""
    with pytest.raises(ValueError, match="2 documents need as many sizes, got 1"):
        score(judge, texts(3, 4), [9])


def test_scores_are_the_cross_entropy_of_the_logits(judge: Judge) -> None:
    """Sums over packed documents equal the plain computation, the first token predicted from EOS."""
    documents = texts(1, 500, 64, 7, 65, 130)
    found = scored(judge, documents)
    expected = [by_logits(judge, np.append(EOS, document)).sum().item() for document in documents]
    assert found.nats == pytest.approx(expected, rel=1e-6)
    assert found.tokens.tolist() == [1, 500, 64, 7, 65, 130]
    assert found.nats[1] / 500 > math.log(300)


def test_a_document_does_not_depend_on_its_company(judge: Judge) -> None:
    """Alone, first, last or in a full batch, a document keeps its loss to 1e-5 nats per token."""
    documents = texts(*range(1, 200, 7), seed=1)
    together = scored(judge, documents)
    reversed_ = scored(prepare(judge.model, Scoring(batch_tokens=300)), documents[::-1])
    alone = [scored(judge, [document]).nats[0] for document in documents]
    assert np.abs(together.nats - alone).max() < 1e-5
    assert np.abs(reversed_.nats[::-1] - alone).max() < 1e-4


@pytest.mark.parametrize("segment", [1, 63, 100, 399])
def test_segments_give_the_loss_of_the_whole(judge: Judge, segment: int) -> None:
    """A document in segments with the state handed on has the losses of the document in one go."""
    pieces = texts(401)
    (whole,) = losses(judge, pieces)
    (parts,) = losses(prepare(judge.model, Scoring(batch_tokens=segment)), pieces)
    assert np.abs(parts - whole).max() < 2e-5
    (cold,) = losses(judge, [pieces[0][200:]])
    assert np.abs(cold - whole[200:]).max() > 0.1


def test_the_same_call_gives_the_same_bits(judge: Judge) -> None:
    """Two calls agree bit for bit, whatever number of threads torch was set to."""
    documents = texts(300, 20, 5000, 77)
    threads = torch.get_num_threads()
    first = scored(judge, documents)
    torch.set_num_threads(2)
    second = scored(judge, documents)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    assert np.array_equal(first.nats, second.nats)


def test_nothing_scored_is_zero(judge: Judge) -> None:
    """Empty documents and empty calls give zeros and no rows."""
    found = scored(judge, texts(0, 9, 0))
    assert found.tokens.tolist() == [0, 9, 0]
    assert found.nats[0] == found.nats[2] == 0.0
    assert len(scored(judge, []).nats) == 0


def test_bits_per_byte_count_every_token_over_the_stored_bytes(judge: Judge) -> None:
    """Bits are -sum log2 p of all tokens, bytes those of the text in UTF-8, whatever the tokenizer makes of it."""
    text = "naïve 数"  # 6 characters of one byte, one of two, one of three
    found = score_texts(judge, [text, ""], lambda texts: [np.array([ord(c) % 300 for c in text]) for text in texts])
    probability = by_logits(judge, np.array([EOS, *(ord(c) % 300 for c in text)]))
    assert found.bytes.tolist() == [len(text.encode()), 0] == [10, 0]
    assert found.bits_per_byte[0] == pytest.approx(probability.sum().item() / math.log(2) / 10, rel=1e-6)
    assert found.loss[0] == pytest.approx(probability.mean().item(), rel=1e-6)
    assert np.isnan([found.bits_per_byte[1], found.loss[1]]).all()


def ranks(x: np.ndarray) -> np.ndarray:
    """Return the place of each number in ascending order."""
    return x.argsort().argsort()


def test_bf16_scores_are_nearly_those_of_fp32(judge: Judge) -> None:
    """Bits per byte differ by 0.5 % at the median at most, and rank documents alike: Spearman .999."""
    documents = [np.resize(part, 40 + 3 * number) for number, part in enumerate(texts(*range(1, 120, 2)))]
    wide, narrow = (scored(one, documents).bits_per_byte for one in (judge, prepare(judge.model, Scoring("bf16"))))
    assert 0 < np.median(np.abs(narrow / wide - 1)) <= 0.005
    assert np.corrcoef(ranks(wide), ranks(narrow))[0, 1] >= 0.999


def test_rows_of_fixed_shapes_give_the_loss_of_the_whole(judge: Judge) -> None:
    """Side by side in rows of 32 and then 8 tokens, filled up at the end, documents keep their losses."""
    lanes = Judge(judge.model, Scoring(compiled=True, batch_tokens=64, lengths=(32, 8)), 0.0)  # not compiled, though
    documents = texts(0, 1, 7, 8, 9, 31, 32, 33, 150, 5, 64)
    assert scored(lanes, documents).nats == pytest.approx(scored(judge, documents).nats, rel=1e-6)


def test_a_compiled_layer_gives_the_losses_of_the_eager_one() -> None:
    """The graph of a layer with LRPE, state and decay computes what the layer does, and leaves the model eager."""
    model = TransNormer(TransNormerConfig(vocab_size=300, eos=EOS, width=16, layers=1, heads=2, hidden=16))
    documents = texts(1, 16, 40)
    expected = scored(prepare(model), documents)
    compiled = prepare(model, Scoring(compiled=True, batch_tokens=32, lengths=(16,)))
    assert compiled.compile_seconds > 0
    assert scored(compiled, documents).nats == pytest.approx(expected.nats, rel=1e-5)
    assert model.layers[0]._compiled_call_impl is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "fp16"}, "precision must be 'fp32' or 'bf16', got 'fp16'"),
        ({"batch_tokens": 0}, "batch_tokens must be at least 1, got 0"),
        ({"lengths": (64, 256)}, r"lengths must be one to three falling numbers of at least 1, got \(64, 256\)"),
        ({"lengths": (8, 4, 2, 1)}, "lengths must be one to three"),
    ],
)
def test_scoring_that_would_not_work_is_refused(change: dict[str, Any], message: str) -> None:
    """The error names the field, what is allowed and the value."""
    with pytest.raises(ValueError, match=message):
        Scoring(**change)


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


def test_no_layer_falls_back_to_eager_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judges of two sizes compile whatever torch's own limit is, and one that may not compile its layers says so."""
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 1)
    scoring = Scoring(compiled=True, batch_tokens=16, lengths=(8,))
    for heads in (2, 4):
        prepare(TransNormer(TransNormerConfig(vocab_size=50, eos=0, width=8 * heads, heads=heads, hidden=16)), scoring)
    monkeypatch.setattr("model.score.RECOMPILES", 1)
    with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
        prepare(TransNormer(TransNormerConfig(vocab_size=50, eos=0, width=24, heads=3, hidden=16)), scoring)

"""Texts encoded by units have the ids that the model gives for the whole of them."""

import io
from typing import Any

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenizer import units
from tokenizer.encode import Tokenizer
from tokenizer.sentences import RESERVED
from tokenizer.train import train

LINES = [
    "The quick brown fox jumps over the lazy dog, and the dogs of the foxes' town sleep.",
    "def f(x):\n\treturn  x  # two  spaces",
    "中文文本，没有空格。全角ＡＢＣ　と改行",
    "Ein größerer Übergang, naïve cafés; ﬁne",
    "aaaaaaaaaaaaaaaa ((((((((((((((((",
] * 30


def model_bytes(**options: Any) -> bytes:
    """Train a SentencePiece model with byte fallback on LINES."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES),
        model_writer=model,
        vocab_size=420,
        hard_vocab_limit=False,
        byte_fallback=True,
        minloglevel=2,
        num_threads=1,
        **options,
    )
    return model.getvalue()


PLAIN = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "add_dummy_prefix": False}
MODELS = {
    "ours": lambda: train(LINES, 500),
    "unigram": lambda: model_bytes(model_type="unigram", **PLAIN),
    "across spaces": lambda: model_bytes(model_type="bpe", split_by_whitespace=False, **PLAIN),
    "own symbols": lambda: model_bytes(model_type="bpe", user_defined_symbols=["<tool>", "x) "], **PLAIN),
    "normalises": lambda: model_bytes(model_type="bpe"),
    "puts a space before": lambda: model_bytes(model_type="bpe", **{**PLAIN, "add_dummy_prefix": True}),
}


@pytest.fixture(scope="module", params=MODELS)
def tokenizer(request: pytest.FixtureRequest) -> tuple[Tokenizer, sentencepiece.SentencePieceProcessor]:
    """Return a tokenizer and the model by itself."""
    model = MODELS[request.param]()
    return Tokenizer(model), sentencepiece.SentencePieceProcessor(model_proto=model)


@settings(max_examples=150, deadline=None)
@given(
    texts=st.lists(st.one_of(st.text(), st.text(alphabet="aeghnot x)(<l>,.中文本，。\n\t é"), st.sampled_from(LINES)))
)
def test_ids_are_those_of_the_model(
    tokenizer: tuple[Tokenizer, sentencepiece.SentencePieceProcessor], texts: list[str]
) -> None:
    """Whatever the model does with text, units or not."""
    texts = [RESERVED.sub("", text) for text in texts]
    ours, model = tokenizer
    assert [ids.tolist() for ids in ours.encode(texts)] == model.encode(texts)


def test_a_full_table_is_emptied_and_long_units_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """More units than there is room for, some of them long, change no id."""
    monkeypatch.setattr(units, "CELL_BITS", 6)
    monkeypatch.setattr(units, "POOL", 128)
    model = train(LINES, 500)
    ours, theirs = Tokenizer(model), sentencepiece.SentencePieceProcessor(model_proto=model)
    generator = np.random.default_rng(0)
    for _ in range(20):
        texts = ["".join(map(chr, generator.integers(97, 110, 40))) + " " + "a" * 200 for _ in range(9)]
        assert [ids.tolist() for ids in ours.encode(texts)] == theirs.encode(texts)


def test_texts_beyond_one_batch_keep_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are cut into units a batch at a time, empty ones among them."""
    monkeypatch.setattr("tokenizer.encode.TOGETHER", 50)
    model = train(LINES, 500)
    texts = ["", *LINES[:7], "", "", LINES[2], ""]
    expected = sentencepiece.SentencePieceProcessor(model_proto=model).encode(texts)
    assert [ids.tolist() for ids in Tokenizer(model).encode(texts)] == expected


def test_ids_that_stand_for_other_text_are_noticed() -> None:
    """Too few bytes, too many or others are not the unit's."""
    pieces = units.packed([b"", b"a", b"b", b"ab"])
    for ids, same in (([3], True), ([1, 2], True), ([1], False), ([1, 2, 1], False), ([2, 1], False), ([0, 3], True)):
        assert units.same_bytes([b"ab"], np.array(ids, np.int32), np.array([0, len(ids)]), pieces) is same

"""The tokenizer loses nothing."""

import io
from collections import Counter

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenizer.encode import Tokenizer
from tokenizer.train import TrainingError, rare, train

SAMPLE = [
    "The quick brown fox jumps over the lazy dog.\n\n    indented code = 1\n",
    "全角ＡＢＣ　と改行\n中文文本，没有空格。",
    "def f(x):\n\treturn x  # two  spaces\n",
] * 40


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    """Train a tokenizer of 600 pieces."""
    return Tokenizer(train(SAMPLE, 600))


@settings(max_examples=300, deadline=None)
@given(text=st.text())
def test_decode_undoes_encode(trained: Tokenizer, text: str) -> None:
    """Every valid UTF-8 string comes back as it was."""
    assert trained.decode(trained.encode([text])[0]) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n",
        "\0",
        "a\0b",
        "\u2581",
        " \u2581 \u2585",
        "\ufeffx",
        "Ａ",
        "e\u0301",
        "<s></s><unk><0x0A>",
        "\r\n\t",
        "  a  b  ",
    ],
)
def test_awkward_texts_come_back(trained: Tokenizer, text: str) -> None:
    """Reserved characters, white space, control pieces in the text and combining marks are kept."""
    assert trained.decode(trained.encode([text])[0]) == text


def test_end_of_document_is_never_made_from_text(trained: Tokenizer) -> None:
    """A text that spells </s> does not end the document."""
    assert trained.end_of_document not in trained.encode(["</s> <s>"])[0]


def test_long_lines_are_learnt_from() -> None:
    """A line over SentencePiece's limit still adds to the vocabulary."""
    tokenizer = Tokenizer(train(["zebra giraffe " * 5000], 300))
    assert len(tokenizer.encode(["zebra giraffe"])[0]) <= 4


def test_training_is_deterministic() -> None:
    """The same sample gives the same bytes."""
    assert train(SAMPLE, 400) == train(SAMPLE, 400)


def test_ids_take_the_smallest_type(trained: Tokenizer) -> None:
    """A small vocabulary is stored in 16 bits."""
    assert trained.encode(["text"])[0].dtype == np.uint16


def test_special_ids_are_the_models_own(trained: Tokenizer) -> None:
    """A model of other origin may have them elsewhere, or not at all."""
    assert trained.special_ids == {"unk": 0, "bos": 1, "eos": 2}
    other = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SAMPLE), model_writer=other, model_type="bpe", vocab_size=600, hard_vocab_limit=False,
        byte_fallback=True, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    assert Tokenizer(other.getvalue()).special_ids == {"pad": 0, "eos": 1, "unk": 2}


@pytest.mark.parametrize("vocab_size", [300, 600])
def test_many_scripts_fit_a_small_vocabulary(vocab_size: int) -> None:
    """Where the sample has more characters than pieces, the rarest go by their bytes; the text still comes back."""
    texts = ["".join(map(chr, range(0x4E00 + 100 * i, 0x4E00 + 100 * i + 100))) for i in range(30)]
    texts += ["the quick brown fox jumps over the lazy dog\n"] * 50
    tokenizer = Tokenizer(train(texts, vocab_size))
    assert tokenizer.vocab_size <= vocab_size
    assert len(tokenizer.encode(["the quick"])[0]) < len("the quick")
    text = "".join(texts)
    assert tokenizer.decode(tokenizer.encode([text])[0]) == text


def test_the_rarest_characters_of_many_go_by_their_bytes() -> None:
    """Only where the others cover too little do characters lose their pieces, among equals the later ones."""
    assert rare(Counter("aaab"), 300) == []
    many = Counter({chr(0x4E00 + i): 1 for i in range(1000)})
    assert rare(many, 559) == [chr(0x4E00 + i) for i in range(150, 1000)]
    assert rare(many + Counter({"a": 10_000_000}), 559) == []


def test_no_text_is_an_error() -> None:
    """An empty sample is refused with a clear message."""
    with pytest.raises(TrainingError, match="no tokenizer"):
        train([], 300)


def test_other_files_are_refused() -> None:
    """Bytes that are no model are refused."""
    with pytest.raises(ValueError, match="not a SentencePiece model"):
        Tokenizer(b"nothing")

"""Training: a SentencePiece BPE model that loses nothing."""

import io
from collections.abc import Iterable

import sentencepiece

from tokenizer.sentences import sentences


class TrainingError(ValueError):
    """A sample from which no model of this size can be trained."""


def train(texts: Iterable[str], vocab_size: int) -> bytes:
    """Return the bytes of a model trained on the texts, in their order.

    Identity normalisation, white space kept, byte fallback: decode(encode(text)) is the text. SentencePiece's own
    defaults normalise by NFKC, join spaces, lose newlines and skip long sentences. Pieces: <unk> 0, <s> 1, </s> 2, then
    256 bytes. A sample that is too small gives fewer pieces than asked for.

    Raises TrainingError when there is no text, or too little of it.
    """
    model = io.BytesIO()
    lines = (part for text in texts for part in sentences(text) if part)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines,
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            character_coverage=0.9995,  # SentencePiece's advice for scripts of many characters; bytes cover the rest
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            allow_whitespace_only_pieces=True,
            split_digits=True,
            max_sentence_length=1 << 20,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise TrainingError(f"no tokenizer of {vocab_size} pieces can be trained on this sample: {error}") from error
    return model.getvalue()

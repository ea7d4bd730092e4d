"""Training: a SentencePiece BPE model that loses nothing."""

import io
from collections import Counter
from collections.abc import Iterable

import sentencepiece

from tokenizer.sentences import sentences

COVERAGE = 0.9995  # SentencePiece's advice for scripts of many characters; bytes cover the rest
META_PIECES = 3 + 256  # <unk>, <s>, </s> and the bytes
ALPHABET_SHARE = 0.5  # of the other pieces that single characters may take; chosen, not tuned


class TrainingError(ValueError):
    """A sample from which no model of this size can be trained."""


def train(texts: Iterable[str], vocab_size: int) -> bytes:
    """Return the bytes of a model trained on the texts, in their order; they are gone through twice.

    Identity normalisation, white space kept, byte fallback: decode(encode(text)) is the text. SentencePiece's own
    defaults normalise by NFKC, join spaces, lose newlines and skip long sentences. Pieces: <unk> 0, <s> 1, </s> 2, then
    256 bytes. A sample that is too small gives fewer pieces than asked for. A character without a piece goes by its
    bytes, and so do the rarest where the characters of many scripts would leave too few pieces for words.

    Raises TrainingError when there is no text, or too little of it.
    """
    model = io.BytesIO()
    characters: Counter[str] = Counter()
    for text in texts:
        characters.update(text)
    cut = str.maketrans(dict.fromkeys(rare(characters, vocab_size), "\n"))
    lines = (part for text in texts for part in sentences(text.translate(cut) if cut else text) if part)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines,
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            character_coverage=COVERAGE,
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


def rare(characters: Counter[str], vocab_size: int) -> list[str]:
    """Return the characters that get no piece: the rarest, where the others take half of the pieces beside the bytes.

    None where SentencePiece's own coverage leaves few enough; it refuses to be set below 0.98.
    """
    most = max(1, int((vocab_size - META_PIECES) * ALPHABET_SHARE))
    ordered = sorted(characters, key=lambda c: (-characters[c], c))
    covered = sum(characters[c] for c in ordered[:most])
    return ordered[most:] if covered < COVERAGE * characters.total() else []

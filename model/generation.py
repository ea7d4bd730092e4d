"""Text from a model, token by token: what it remembers is its state, constant in size at any position."""

import codecs
import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import sentencepiece
import torch
from torch import Tensor

from model.transnormer import ModelState, TransNormer

SEGMENT_TOKENS = 2048  # of a prompt, read at once


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. Raises ValueError naming the field, its value and what is allowed."""

    tokens: int = 200  # at most
    temperature: float = 1.0  # logits are divided by it; 0 takes the likeliest token
    top_p: float = 1.0  # the likeliest tokens that reach this probability are drawn from: arXiv:1904.09751
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that draw nothing."""
        if self.tokens < 1:
            raise ValueError(f"max-tokens must be at least 1, got {self.tokens}")
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature must be at least 0 and finite, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top-p must be above 0 and at most 1, got {self.top_p}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be from 0 to 2^63 - 1, got {self.seed}")


def read(
    model: TransNormer, tokens: Sequence[int], state: ModelState | None = None, segment_tokens: int = SEGMENT_TOKENS
) -> tuple[Tensor, ModelState]:
    """Return the logits (V,) of the token after these tokens, at least one, and the state there, given that before.

    Memory is that of a segment, whatever the number of tokens.
    """
    if not tokens:
        raise ValueError("there must be a token to read")
    first, *rest = torch.split(torch.tensor(tokens, device=model.head.weight.device)[None], segment_tokens, dim=1)
    hidden, state = model.hidden(first, state)
    for segment in rest:
        hidden, state = model.hidden(segment, state)
    return model.head(hidden[0, -1]), state


def generate(model: TransNormer, prompt: Sequence[int], sampling: Sampling) -> Iterator[int]:
    """Yield the tokens after the prompt, up to an end-of-document token, which also stands before the prompt.

    The same model, prompt and sampling give the same tokens.
    """
    draws = torch.Generator().manual_seed(sampling.seed)
    unread, state = [model.config.eos, *prompt], None
    for _ in range(sampling.tokens):
        with torch.inference_mode():
            logits, state = read(model, unread, state)
        token = choose(logits, sampling, draws)
        if token == model.config.eos:
            return
        yield token
        unread = [token]


def choose(logits: Tensor, sampling: Sampling, draws: torch.Generator) -> int:
    """Draw a token by its logits (V,); of equal ones the first counts as likelier."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    wide = logits.double().cpu()  # where the draws are made
    below = (wide - wide.max()) / sampling.temperature  # 0 for the likeliest, however low the temperature
    chances, order = below.softmax(-1).sort(descending=True, stable=True)
    kept = chances.cumsum(-1) - chances < sampling.top_p  # the first always
    return int(order[torch.multinomial(chances * kept, 1, generator=draws)])


def decode(pieces: sentencepiece.SentencePieceProcessor, tokens: Iterator[int]) -> Iterator[str]:
    """Yield the text of tokens as soon as it is certain; bytes that are no UTF-8 become U+FFFD."""
    text = codecs.getincrementaldecoder("utf-8")("replace")
    for token in tokens:
        yield text.decode(_bytes(pieces, token))
    yield text.decode(b"", final=True)


def _bytes(pieces: sentencepiece.SentencePieceProcessor, token: int) -> bytes:
    piece: str = pieces.id_to_piece(token)
    if pieces.is_byte(token):
        return bytes([int(piece[3:5], 16)])  # <0xNN>
    return b"" if pieces.is_control(token) or pieces.is_unknown(token) else piece.replace("\u2581", " ").encode()


def trained_with(folder: str | Path) -> str:
    """Return the SHA-256 of the tokenizer whose shards a model was trained on; empty where its folder does not say."""
    path = Path(folder) / "run.json"
    return str(orjson.loads(path.read_bytes()).get("tokenizer", "")) if path.is_file() else ""


def load_pieces(path: str | Path, vocab_size: int, sha256: str = "") -> sentencepiece.SentencePieceProcessor:
    """Read a SentencePiece model of that many pieces and, where given, with that checksum of its file.

    Raises FileNotFoundError or ValueError, one plain line.
    """
    if not Path(path).is_file():
        what = "is a folder" if Path(path).is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {what}: the tokenizer must be the file of a SentencePiece model")
    content = Path(path).read_bytes()
    try:
        pieces = sentencepiece.SentencePieceProcessor(model_proto=content)
    except RuntimeError:
        raise ValueError(f"{path} is not a SentencePiece model") from None
    if pieces.vocab_size() != vocab_size:
        raise ValueError(f"{path} has {pieces.vocab_size()} pieces, the model {vocab_size}: it is not its tokenizer")
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path} is not the tokenizer that the model was trained with: its checksum is another")
    return pieces

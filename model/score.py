"""Losses of documents under a trained model, on one thread of a CPU.

Every token is predicted from the tokens of its document before it, the first one from the end-of-document
token. Short documents are packed into one row, each a sequence of its own; a long one goes through in
segments that hand on the attention's state. Either way a document's loss is its own: company changes only the
rounding, far below 1e-4 bits per byte.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.determinism import deterministic
from model.loss import token_losses
from model.transnormer import TransNormer

SEGMENT_TOKENS = 2048  # fastest of 1024..8192 with 1-2 million parameters, width 96 and 128
BATCH_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model thinks of documents, in their order."""

    nats: np.ndarray  # (documents,) float64: sum of the losses of the tokens
    tokens: np.ndarray  # (documents,) int64: how many were scored


def score(
    model: TransNormer,
    documents: Sequence[np.ndarray],
    *,
    segment_tokens: int = SEGMENT_TOKENS,
    batch_tokens: int = BATCH_TOKENS,
) -> Scores:
    """Return the summed loss of each document: integers (tokens,), maybe none, scored to the last."""
    begin = np.array([model.config.eos])
    pieces = [np.concatenate([begin, document]) for document in documents]
    return _summed(losses(model, pieces, segment_tokens=segment_tokens, batch_tokens=batch_tokens))


def score_windows(
    model: TransNormer,
    documents: Sequence[np.ndarray],
    spans: Sequence[Sequence[tuple[int, int]]],
    *,
    segment_tokens: int = SEGMENT_TOKENS,
    batch_tokens: int = BATCH_TOKENS,
) -> Scores:
    """Return the summed loss of the spans (start, stop) of each document, as chosen by `windows`.

    A span starts from an empty state with the token before it as its context, so it knows nothing of the
    document's earlier text.
    """
    begin = np.array([model.config.eos])
    pieces = [
        document[start - 1 : stop] if start else np.concatenate([begin, document[:stop]])
        for document, chosen in zip(documents, spans, strict=True)
        for start, stop in chosen
    ]
    each = _summed(losses(model, pieces, segment_tokens=segment_tokens, batch_tokens=batch_tokens))
    owner = np.repeat(np.arange(len(documents)), [len(chosen) for chosen in spans])
    nats, tokens = (np.zeros(len(documents), dtype=values.dtype) for values in (each.nats, each.tokens))
    np.add.at(nats, owner, each.nats)
    np.add.at(tokens, owner, each.tokens)
    return Scores(nats, tokens)


def windows(length: int, window: int, count: int) -> list[tuple[int, int]]:
    """Return up to `count` spans (start, stop) of `window` tokens, evenly spaced from first token to last.

    A document that fits into its share, window * count, is one whole span; an empty one has none. One window
    of several possible ones is the middle. Example: windows(100, 10, 3) -> [(0, 10), (45, 55), (90, 100)].
    """
    if length <= window * count:
        return [(0, length)] if length else []
    if count == 1:
        starts = [(length - window) // 2]
    else:
        starts = [(length - window) * number // (count - 1) for number in range(count)]
    return [(start, start + window) for start in starts]


def losses(
    model: TransNormer,
    pieces: Sequence[np.ndarray],
    *,
    segment_tokens: int = SEGMENT_TOKENS,
    batch_tokens: int = BATCH_TOKENS,
) -> list[np.ndarray]:
    """Return the losses in nats, (tokens,) float32, of pieces (1 + tokens,): a context, then the tokens.

    Memory is that of batch_tokens or segment_tokens, whichever is more, and 4 bytes a token. One thread; the
    same pieces in the same order give the same bits.
    """
    found: list[np.ndarray] = [np.empty(0, dtype=np.float32) for _ in pieces]
    with deterministic(threads=1), torch.inference_mode():
        for batch in _batches([len(piece) - 1 for piece in pieces], segment_tokens, batch_tokens):
            if len(batch) == 1:
                found[batch[0]] = _segmented(model, _tensor(pieces[batch[0]]), segment_tokens)
            else:
                parts = _packed(model, [_tensor(pieces[number]) for number in batch])
                for number, part in zip(batch, parts, strict=True):
                    found[number] = part
    return found


def _batches(lengths: Sequence[int], segment_tokens: int, batch_tokens: int) -> Iterator[list[int]]:
    """Group pieces up to batch_tokens; one of more than segment_tokens is alone, an empty one is left out."""
    batch: list[int] = []
    filled = 0
    for number, length in enumerate(lengths):
        if length > segment_tokens:
            yield [number]
        elif length:
            if batch and filled + length > batch_tokens:
                yield batch
                batch, filled = [], 0
            batch.append(number)
            filled += length
    if batch:
        yield batch


def _segmented(model: TransNormer, piece: Tensor, segment_tokens: int) -> np.ndarray:
    state, parts = None, []
    for start in range(0, len(piece) - 1, segment_tokens):
        segment = piece[start : start + segment_tokens + 1]
        hidden, state = model.hidden(segment[None, :-1], state)
        parts.append(token_losses(hidden[0], model.head.weight, segment[1:]))
    return torch.cat(parts).numpy()


def _packed(model: TransNormer, pieces: Sequence[Tensor]) -> list[np.ndarray]:
    sizes = [len(piece) - 1 for piece in pieces]
    tokens = torch.cat([piece[:-1] for piece in pieces])
    targets = torch.cat([piece[1:] for piece in pieces])
    hidden, _ = model.hidden(tokens[None], lengths=torch.tensor([0, *sizes]).cumsum(0))
    found = token_losses(hidden[0], model.head.weight, targets).numpy()
    return np.split(found, np.cumsum(sizes)[:-1])


def _tensor(piece: np.ndarray) -> Tensor:
    return torch.from_numpy(piece.astype(np.int64))


def _summed(each: Sequence[np.ndarray]) -> Scores:
    nats = np.array([part.sum(dtype=np.float64) for part in each], dtype=np.float64)
    return Scores(nats, np.array([len(part) for part in each], dtype=np.int64))

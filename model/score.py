"""Losses of documents under a trained model, on one thread of a CPU.

Every token is predicted from the tokens of its document before it, the first one from the end-of-document
token. Eager, short documents are packed into one row, each a sequence of its own, and a long one goes through in
segments that hand on the attention's state. Compiled, documents of alike lengths go side by side through batches of
at most three shapes, a long one in several, so that nothing is compiled again. Either way nothing is cut off, and a
document's loss is its own: company changes only the rounding, far below 1e-4 bits per byte.
"""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from model.determinism import deterministic
from model.loss import token_losses
from model.transnormer import ModelState, TransNormer

RECOMPILES = 256  # of a layer's code in one process: two kinds of layer, three lengths, and as many judges as come


@dataclass(frozen=True, slots=True)
class Scoring:
    """How documents are scored; part of what a score is, since each choice rounds in its own way."""

    precision: Literal["fp32", "bf16"] = "fp32"  # bf16 products; slower on a CPU without instructions for them
    compiled: bool = False
    device: str = "cpu"  # or "cuda:0"
    batch_tokens: int = 2048  # in a step; fastest of 1024..8192 with 1-2 million parameters, width 96 and 128
    lengths: tuple[int, ...] = (1024, 256, 64)  # of compiled rows, falling; a document is padded to the last one's

    def __post_init__(self) -> None:
        """Refuse what would compile too often or score nothing."""
        if self.precision not in {"fp32", "bf16"}:
            raise ValueError(f"precision must be 'fp32' or 'bf16', got {self.precision!r}")
        if self.batch_tokens < 1:
            raise ValueError(f"batch_tokens must be at least 1, got {self.batch_tokens}")
        falling = sorted(set(self.lengths), reverse=True)
        if not 1 <= len(self.lengths) <= 3 or list(self.lengths) != falling or falling[-1] < 1:
            raise ValueError(f"lengths must be one to three falling numbers of at least 1, got {self.lengths}")


@dataclass(frozen=True, slots=True)
class Judge:
    """A model made ready to score, by `prepare`."""

    model: TransNormer
    scoring: Scoring
    compile_seconds: float


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model thinks of documents, in their order."""

    nats: np.ndarray  # (documents,) float64: sum of the losses of the tokens
    tokens: np.ndarray  # (documents,) int64: how many were scored
    bytes: np.ndarray  # (documents,) int64: of the stored text in UTF-8

    @property
    def loss(self) -> np.ndarray:
        """Return nats per token (documents,), NaN where there is no token."""
        return np.divide(self.nats, self.tokens, out=np.full(len(self.nats), np.nan), where=self.tokens > 0)

    @property
    def bits_per_byte(self) -> np.ndarray:
        """Return -log2 of the text's probability by its bytes (documents,), NaN where there is none."""
        bits = self.nats / math.log(2)
        return np.divide(bits, self.bytes, out=np.full(len(bits), np.nan), where=self.bytes > 0)


def own_device() -> str:
    """Return the GPU of this process where torchrun gave it one, else the CPU."""
    rank = os.environ.get("LOCAL_RANK", "")
    return f"cuda:{rank}" if rank and torch.cuda.is_available() else "cpu"


def prepare(model: TransNormer, scoring: Scoring | None = None) -> Judge:
    """Make a model ready to score, by default eager in float32; the model itself stays as it is.

    In bf16 the matrices of the layers and the head are rounded once; embedding, angles, norms, sums and states
    stay float32. Compiled, each layer becomes one graph a shape, and all are compiled here: `compile_seconds`.
    """
    scoring = scoring or Scoring()
    kept = [*model.parameters(), *model.buffers()]
    own = deepcopy(model, {id(tensor): tensor for tensor in kept}).eval()  # another module over the same tensors
    if scoring.device != "cpu":
        own = deepcopy(model).eval().to(scoring.device)
    if scoring.precision == "bf16":
        _round_matrices(own)
    if not scoring.compiled:
        return Judge(own, scoring, 0.0)
    for layer in own.layers:
        layer.compile(dynamic=False, recompile_limit=RECOMPILES)
    judge, began = Judge(own, scoring, 0.0), time.monotonic()
    losses(judge, [np.full(length + 1, model.config.eos) for length in scoring.lengths])
    return Judge(own, scoring, time.monotonic() - began)


def _round_matrices(model: TransNormer) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight = nn.Parameter(module.weight.detach().bfloat16(), requires_grad=False)


def score_texts(judge: Judge, texts: Sequence[str], encode: Callable[[Sequence[str]], Sequence[np.ndarray]]) -> Scores:
    """Return the scores of texts, whole; `encode` turns texts into their tokens, without an end-of-document one."""
    if isinstance(texts, str):
        raise TypeError("texts must be a list of texts, got one text")
    return score(judge, encode(texts), [len(text.encode()) for text in texts])


def score(judge: Judge, documents: Sequence[np.ndarray], sizes: Sequence[int]) -> Scores:
    """Return the scores of documents: integers (tokens,), maybe none, and their texts' bytes in UTF-8, one for each."""
    if len(documents) != len(sizes):
        raise ValueError(f"{len(documents)} documents need as many sizes, got {len(sizes)}")
    begin = np.array([judge.model.config.eos])
    each = losses(judge, [np.concatenate([begin, document]) for document in documents])
    nats = np.array([part.sum(dtype=np.float64) for part in each], dtype=np.float64)
    tokens = np.array([len(part) for part in each], dtype=np.int64)
    return Scores(nats, tokens, np.array(sizes, dtype=np.int64))


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


def losses(judge: Judge, pieces: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the losses in nats, (tokens,) float32, of pieces (1 + tokens,): a context, then the tokens.

    Memory is that of batch_tokens, compiled also the states of batch_tokens / lengths[-1] documents, and 4 bytes a
    token. One thread; the same pieces in the same order give the same bits.
    """
    filled = (number for number, piece in enumerate(pieces) if len(piece) > 1)
    order = sorted(filled, key=lambda number: len(pieces[number]))  # alike lengths share a batch
    bf16 = judge.scoring.precision == "bf16"
    compiled = judge.scoring.compiled
    scored = _in_lanes if compiled else _in_rows
    with (
        deterministic(threads=1),
        _no_fallback() if compiled else nullcontext(),
        torch.inference_mode(),
        torch.autocast(judge.model.head.weight.device.type, torch.bfloat16, enabled=bf16),
    ):
        parts = scored(judge, [pieces[number] for number in order])
    found: list[np.ndarray] = [np.empty(0, dtype=np.float32) for _ in pieces]
    for number, part in zip(order, parts, strict=True):
        found[number] = part
    return found


def _no_fallback() -> AbstractContextManager[None]:
    """Let a layer that may not be compiled once more fail, where torch would run it eager and say nothing."""
    from torch._dynamo import config  # here: it takes as long to import as torch

    patched: AbstractContextManager[None] = config.patch(fail_on_recompile_limit_hit=True)
    return patched


def _in_rows(judge: Judge, pieces: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Score pieces in order of length: short ones packed into a row of up to batch_tokens, long ones in segments."""
    model, most = judge.model, judge.scoring.batch_tokens
    parts: list[np.ndarray] = []
    for batch in _rows([len(piece) - 1 for piece in pieces], most):
        row = [_tensor(piece, model) for piece in pieces[batch]]
        parts += _packed(model, row) if len(row) > 1 else [_segmented(model, row[0], most)]
    return parts


def _rows(lengths: Sequence[int], most: int) -> Iterator[slice]:
    """Cut pieces into runs of up to `most` tokens, or of one piece."""
    start, filled = 0, 0
    for number, length in enumerate(lengths):
        if number > start and filled + length > most:
            yield slice(start, number)
            start, filled = number, 0
        filled += length
    if lengths:
        yield slice(start, len(lengths))


def _segmented(model: TransNormer, piece: Tensor, most: int) -> np.ndarray:
    state, parts = None, []
    for start in range(0, len(piece) - 1, most):
        segment = piece[start : start + most + 1]
        hidden, state = model.hidden(segment[None, :-1], state)
        parts.append(token_losses(hidden[0], model.head.weight, segment[1:]))
    return torch.cat(parts).cpu().numpy()


def _packed(model: TransNormer, pieces: Sequence[Tensor]) -> list[np.ndarray]:
    sizes = [len(piece) - 1 for piece in pieces]
    tokens = torch.cat([piece[:-1] for piece in pieces])
    targets = torch.cat([piece[1:] for piece in pieces])
    hidden, _ = model.hidden(tokens[None], lengths=torch.tensor([0, *sizes], device=tokens.device).cumsum(0))
    found = token_losses(hidden[0], model.head.weight, targets).cpu().numpy()
    return np.split(found, np.cumsum(sizes)[:-1])


@dataclass(slots=True)
class _Lane:
    """A document on its way through batches of fixed shapes."""

    piece: Tensor
    state: ModelState
    parts: list[np.ndarray]
    done: int = 0  # tokens scored

    @property
    def left(self) -> int:
        return len(self.piece) - 1 - self.done


def _in_lanes(judge: Judge, pieces: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Score pieces in order of length side by side, each first in the longest rows that it fills, then in shorter."""
    model, scoring = judge.model, judge.scoring
    together = max(1, scoring.batch_tokens // scoring.lengths[-1])
    parts: list[np.ndarray] = []
    for start in range(0, len(pieces), together):
        lanes = [_Lane(_tensor(piece, model), model.empty_state(1), []) for piece in pieces[start : start + together]]
        for length in scoring.lengths:
            rows = max(1, scoring.batch_tokens // length)
            least = 1 if length == scoring.lengths[-1] else length
            while ready := [lane for lane in lanes if lane.left >= least][:rows]:
                _advance(model, ready, rows, length)
        parts += [np.concatenate(lane.parts) for lane in lanes]
    return parts


def _advance(model: TransNormer, lanes: Sequence[_Lane], rows: int, length: int) -> None:
    """Score the next tokens of each lane in one batch (rows, length), filled up with rows and tokens of no account."""
    sizes = [min(length, lane.left) for lane in lanes]
    tokens = torch.full((rows, length), model.config.eos, device=model.head.weight.device)
    for row, (lane, size) in enumerate(zip(lanes, sizes, strict=True)):
        tokens[row, :size] = lane.piece[lane.done : lane.done + size]
    spare = [model.empty_state(rows - len(lanes))] if rows > len(lanes) else []
    hidden, after = model.hidden(tokens, _joined([*(lane.state for lane in lanes), *spare]))
    known = torch.cat([row[:size] for row, size in zip(hidden, sizes, strict=False)])
    targets = torch.cat([lane.piece[lane.done + 1 :][:size] for lane, size in zip(lanes, sizes, strict=True)])
    found = torch.split(token_losses(known, model.head.weight, targets), sizes)
    for row, (lane, size, part) in enumerate(zip(lanes, sizes, found, strict=True)):
        lane.parts.append(part.cpu().numpy())
        lane.done += size
        if lane.left:  # else the row may have gone on with tokens of no account
            lane.state = ModelState(after.position[row, None], tuple(x[row, None].clone() for x in after.attention))


def _joined(states: Sequence[ModelState]) -> ModelState:
    position = torch.cat([state.position for state in states])
    return ModelState(position, tuple(map(torch.cat, zip(*(state.attention for state in states), strict=True))))


def _tensor(piece: np.ndarray, model: TransNormer) -> Tensor:
    return torch.from_numpy(piece.astype(np.int64)).to(model.head.weight.device)

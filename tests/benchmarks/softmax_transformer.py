"""The opponent of every comparison: a transformer with softmax attention, as equal to a TransNormer as it can be.

Pre-norm layers of RMSNorm with gain, rotary positions, one fused projection, `scaled_dot_product_attention` (the
blockwise kernel of torch, never a mask where none is needed) and SwiGLU: what LLaMA is made of (arXiv:2302.13971,
section 2.2). Width, depth, vocabulary and losses are the TransNormer's, its channel mixer is as much wider as the
gate of the TransNormer's attention costs.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import TransNormerConfig

ROTARY_BASE = 10_000.0  # arXiv:2104.09864, section 3.2.2
HEAD_WIDTH = 64  # about; a common one, and half the exponentials of 32
EPSILON = 1e-6


def matched_hidden(config: TransNormerConfig) -> int:
    """Return the hidden width that makes the parameters equal, to the nearest multiple of 16 (one vector register).

    A TransNormer layer has 5 width^2 in its attention with a gate, this one 4 width^2; both mixers have
    3 width * hidden.
    """
    return round((config.hidden + config.gate * config.width / 3) / 16) * 16


def head_count(width: int) -> int:
    """Return how many heads have about HEAD_WIDTH."""
    heads = max(1, round(width / HEAD_WIDTH))
    if width % (2 * heads):
        raise ValueError(f"width must give {heads} heads of even width, got {width}")
    return heads


def rotate_pairs(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (j, j + D / 2) of x (B, H, N, D) by angles with this cosine and sine (N, D / 2)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class RMSNorm(nn.Module):
    """x / rms(x) times a gain, in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Norm x (..., width) and keep its dtype."""
        return functional.rms_norm(x.float(), x.shape[-1:], self.gain.float(), EPSILON).to(x.dtype)


class Attention(nn.Module):
    """Causal softmax attention of heads with rotary positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = head_count(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, sizes: list[int]) -> Tensor:
        """Mix tokens of x (B, N, width), each of the sequences of these sizes by itself."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        q, k = rotate_pairs(q, cos, sin).to(v.dtype), rotate_pairs(k, cos, sin).to(v.dtype)
        parts = zip(*(torch.split(part, sizes, dim=2) for part in (q, k, v)), strict=True)
        mixed = [functional.scaled_dot_product_attention(q, k, v, is_causal=True) for q, k, v in parts]
        merged = mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=2)
        result: Tensor = self.out(merged.transpose(1, 2).flatten(2))
        return result


class Layer(nn.Module):
    """Attention, then SwiGLU (arXiv:2002.05202), each normed before and added."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(width)
        self.attention = Attention(width)
        self.mixer_norm = RMSNorm(width)
        self.vu = nn.Linear(width, 2 * hidden, bias=False)
        self.mixer_out = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, sizes: list[int]) -> Tensor:
        """Return x (B, N, width) after both steps."""
        x = x + self.attention(self.attention_norm(x), cos, sin, sizes)
        v, u = self.vu(self.mixer_norm(x)).chunk(2, dim=-1)
        mixed: Tensor = self.mixer_out(v * functional.silu(u))
        return x + mixed


class SoftmaxTransformer(nn.Module):
    """A transformer with the width, depth, vocabulary and parameter count of a TransNormer.

    Weights are normal with the standard deviation 0.02, those that end a residual step divided by
    (2 layers)^(1/2), as in GPT-2. Raises ValueError if the width has no heads of even width.
    """

    def __init__(self, config: TransNormerConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList(Layer(config.width, matched_hidden(config)) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight
        self._draw(torch.Generator().manual_seed(seed))

    def _draw(self, generator: torch.Generator) -> None:
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                std = 0.02 / math.sqrt(2 * self.config.layers) if "out." in name else 0.02
                nn.init.normal_(weight, std=std, generator=generator)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the logits (B, N, V) of the tokens after tokens (B, N) int64."""
        logits: Tensor = self.head(self.hidden(tokens, lengths=lengths)[0])
        return logits

    def hidden(self, tokens: Tensor, state: None = None, lengths: Tensor | None = None) -> tuple[Tensor, None]:
        """Return what `head` turns into logits, (B, N, width); there is no state to go on from.

        With `lengths` (sequences + 1,), cumulative, B is 1 and sequences lie one after the other, none seeing
        another: a call of the attention for each, which costs less than a mask over all of them. Rotary
        positions run on, since only distances count.
        """
        count = tokens.shape[1]
        sizes = [count] if lengths is None else [size for size in lengths.diff().tolist() if size]
        cos, sin = self._rotation(count, tokens.device)
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x, cos, sin, sizes)
        return self.norm(x), state

    def _rotation(self, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        head_width = self.config.width // head_count(self.config.width)
        rates = ROTARY_BASE ** (-torch.arange(0, head_width, 2, device=device) / head_width)
        angle = torch.arange(count, device=device)[:, None] * rates  # (N, D / 2)
        return angle.cos(), angle.sin()

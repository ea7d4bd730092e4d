"""TransNormerLLM: linear attention with fixed decay, in one file.

arXiv:2405.17381 (the successor of arXiv:2307.14995), section 4; details that the paper leaves open follow the
released modelling code of the same authors. Sizes: B batch, N tokens, H heads, D width of a head, V
vocabulary.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels.attention import linear_attention
from kernels.norm import EPS, srms_norm
from model.config import TransNormerConfig


@dataclass(frozen=True, slots=True)
class ModelState:
    """What a model remembers of the tokens it has seen: constant in size, whatever their number."""

    position: Tensor  # (sequences,) int64: tokens seen
    attention: tuple[Tensor, ...]  # per layer (sequences, H, D, D) float32; first layer (sequences, H, 2 D, D)


def _widened(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def decay_rates(config: TransNormerConfig, layer: int) -> Tensor:
    """Return the decay per token (H,) of each head of a layer, in nats, by the configured formula."""
    match config.decay:
        case "released":
            return released_decay(config.heads, layer, config.layers)
        case "linear":
            return linear_decay(config.heads, layer, config.layers)
        case "none":
            return torch.zeros(config.heads)


def released_decay(heads: int, layer: int, layers: int) -> Tensor:
    """Return the rates (H,) of the released weights: slope 2^(-8 (h + 1) / H), times a factor of the layer.

    Slopes as ALiBi builds them (arXiv:2108.12409, section 3; for other than powers of two the slopes of the
    next lower one, then every other slope of the next higher one); the factor is 1 - layer / (layers - 1) +
    1e-5: the released modelling code. A single layer takes the factor of a first one.
    """
    lower = 1 << (heads.bit_length() - 1)
    slopes = _geometric(lower) + _geometric(2 * lower)[::2][: heads - lower]
    factor = 1 - layer / max(layers - 1, 1) + 1e-5
    return torch.tensor(slopes) * factor


def linear_decay(heads: int, layer: int, layers: int) -> Tensor:
    """Return the rates (H,) as printed, 8 h / H (1 - layer / layers), h from 0: equation 10 of arXiv:2405.17381.

    Not those of the released weights: with 8 heads, 7 have a half-life below one token in the second layer.
    """
    return torch.arange(heads) * (8 / heads * (1 - layer / layers))


def _geometric(heads: int) -> list[float]:
    return [2 ** (-8 * (head + 1) / heads) for head in range(heads)]


def turns(config: TransNormerConfig, layer: int) -> bool:
    """Tell whether a layer has LRPE: by default the first; decay alone is 15-20 % faster (section 4)."""
    return config.lrpe == "all" or (config.lrpe == "first" and layer == 0)


def initial_theta(heads: int, head_width: int) -> Tensor:
    """Return LRPE's angles per token (H, D): 10000^(-2 j / width) over the whole width, as released."""
    width = heads * head_width
    return (10000 ** (-2 * torch.arange(width) / width)).view(heads, head_width)


def rotate(x: Tensor, theta: Tensor, positions: Tensor) -> Tensor:
    """Return [x cos(theta n), x sin(theta n)] (B, H, N, 2 D) for x (B, H, N, D), positions n (B or 1, N) int64.

    The cosine form of LRPE (equation 9 of arXiv:2405.17381): products then depend on distances. Angles are
    float32 whatever x and theta are, since bfloat16 cannot count beyond 256.
    """
    angle = positions[:, None, :, None] * _widened(theta)[:, None, :]  # (B, H, N, D)
    return torch.cat([x * angle.cos().to(x.dtype), x * angle.sin().to(x.dtype)], dim=-1)


class Norm(nn.Module):
    """The configured norm of x (..., width): SRMSNorm, RMSNorm with a gain, or LayerNorm with gain and bias."""

    def __init__(self, config: TransNormerConfig) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(config.width)) if config.norm != "srms" else None
        self.bias = nn.Parameter(torch.zeros(config.width)) if config.norm == "layer" else None

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Return x normed, times the gate (..., width) where given, in its dtype; computed in float32 or more."""
        if self.gain is None:
            return srms_norm(x, gate)
        wide, gain = _widened(x), _widened(self.gain)
        if self.bias is None:
            normed = functional.rms_norm(wide, x.shape[-1:], gain, EPS)
        else:
            normed = functional.layer_norm(wide, x.shape[-1:], gain, _widened(self.bias), EPS)
        return (normed if gate is None else normed * gate).to(x.dtype)


class Attention(nn.Module):
    """Gated linear attention: norm(attention(silu(q), silu(k), v)) * u, equation 11 of arXiv:2405.17381."""

    decay: Tensor
    theta: Tensor | None

    def __init__(self, config: TransNormerConfig, layer: int) -> None:
        super().__init__()
        self.heads, self.gated = config.heads, config.gate
        self.head_width = config.width // config.heads
        self.qkvu = nn.Linear(config.width, (3 + config.gate) * config.width, bias=False)
        self.norm = Norm(config)
        self.out = nn.Linear(config.width, config.width, bias=False)
        self._add_theta(config, layer)
        self.register_buffer("decay", decay_rates(config, layer), persistent=False)

    def _add_theta(self, config: TransNormerConfig, layer: int) -> None:
        theta = initial_theta(config.heads, config.width // config.heads) if turns(config, layer) else None
        if config.learn_theta and theta is not None:
            self.theta = nn.Parameter(theta)
        else:
            self.register_buffer("theta", theta, persistent=False)

    def forward(
        self, x: Tensor, positions: Tensor, state: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Mix tokens of x (B, N, width) and return the mixture and the state after the last token."""
        q, k, v, *u = self.qkvu(x).chunk(3 + self.gated, dim=-1)
        q, k, v = self._split(functional.silu(q)), self._split(functional.silu(k)), self._split(v)
        if self.theta is not None:
            q, k = rotate(q, self.theta, positions), rotate(k, self.theta, positions)
        mixed, state = linear_attention(q, k, v, self.decay, state=state, lengths=lengths)
        merged = mixed.transpose(1, 2).flatten(2)  # (B, N, width)
        return self.out(self.norm(merged, *u)), state

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, self.head_width).transpose(1, 2)  # (B, H, N, D)


class ChannelMixer(nn.Module):
    """SGLU: (v * u) projected back, without activation; equation 12 of arXiv:2405.17381."""

    def __init__(self, config: TransNormerConfig) -> None:
        super().__init__()
        self.vu = nn.Linear(config.width, 2 * config.hidden, bias=False)
        self.out = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the channels of x (B, N, width)."""
        v, u = self.vu(x).chunk(2, dim=-1)
        mixed: Tensor = self.out(v * u)
        return mixed


class Layer(nn.Module):
    """Two residual steps, each normed before: attention, then the channel mixer."""

    def __init__(self, config: TransNormerConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = Norm(config)
        self.attention = Attention(config, layer)
        self.mixer_norm = Norm(config)
        self.mixer = ChannelMixer(config)

    def forward(
        self, x: Tensor, positions: Tensor, state: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return x (B, N, width) after both steps and the attention's state."""
        mixed, state = self.attention(self.attention_norm(x), positions, state, lengths)
        x = x + mixed
        return x + self.mixer(self.mixer_norm(x)), state


class TransNormer(nn.Module):
    """A TransNormerLLM, its weights normal with `initial_std`, keyed by seed. Lower precision: autocast."""

    def __init__(self, config: TransNormerConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList(Layer(config, number) for number in range(config.layers))
        self.norm = Norm(config)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight
        if not self.embedding.weight.is_meta:
            self._draw(torch.Generator().manual_seed(seed))

    def _draw(self, generator: torch.Generator) -> None:
        for module in self.modules():
            if isinstance(module, nn.Embedding | nn.Linear):
                nn.init.normal_(module.weight, std=self.config.initial_std, generator=generator)

    def empty_state(self, sequences: int) -> ModelState:
        """Return the state before the first token of each sequence, where the weights are."""
        config, weight = self.config, self.embedding.weight
        width = config.width // config.heads
        dtype = torch.promote_types(weight.dtype, torch.float32)
        attention = tuple(
            weight.new_zeros(sequences, config.heads, (1 + turns(config, layer)) * width, width, dtype=dtype)
            for layer in range(config.layers)
        )
        return ModelState(weight.new_zeros(sequences, dtype=torch.int64), attention)

    def forward(
        self, tokens: Tensor, state: ModelState | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, ModelState]:
        """Return the logits (B, N, V) of the tokens after tokens (B, N) int64, and the state to go on from.

        A text read in segments, each given the state of the one before, gives the logits of the whole. With
        `lengths` (sequences + 1,), cumulative, B is 1 and sequences lie one after the other, each with its
        own state.
        """
        hidden, state = self.hidden(tokens, state, lengths)
        return self.head(hidden), state

    def hidden(
        self, tokens: Tensor, state: ModelState | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, ModelState]:
        """Return what `head` turns into logits, (B, N, width), and the state, both as in `forward`."""
        seen, positions = _positions(tokens, state, lengths)
        x = self.embedding(tokens) * (math.sqrt(self.config.width) if self.config.scale_embedding else 1)
        states = []
        for number, layer in enumerate(self.layers):
            x, after = layer(x, positions, None if state is None else state.attention[number], lengths)
            states.append(after)
        return self.norm(x), ModelState(seen, tuple(states))


def _positions(tokens: Tensor, state: ModelState | None, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the tokens seen (sequences,) after these tokens, and the position of each of them (B or 1, N)."""
    batch, count = tokens.shape
    place = torch.arange(count, device=tokens.device)
    sizes = torch.full((batch,), count, device=tokens.device) if lengths is None else lengths.diff()
    before = torch.zeros_like(sizes) if state is None else state.position
    if lengths is None:
        return before + sizes, place[None] if state is None else before[:, None] + place
    shift = (before - lengths[:-1]).repeat_interleave(sizes)
    return before + sizes, (place + shift)[None]

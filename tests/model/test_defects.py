"""What public implementations of this model get wrong, one test each.

The released modelling code casts positions to the activations' dtype, builds a mask of H n n whatever it computes,
keeps LRPE's offset in the module, reads a prompt token by token once there is a cache, takes a state's width for a
length, and knows no packed sequences. Kernels of the same family leak the future where the decay is zero, lose a
final state where it is strong, and let padding into the state.
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from model.config import TransNormerConfig
from model.transnormer import TransNormer, initial_theta, rotate

CONFIG = TransNormerConfig(vocab_size=50, eos=2, width=24, layers=3, heads=3, hidden=32)


def drawn(config: TransNormerConfig = CONFIG, tokens: int = 150) -> tuple[TransNormer, Tensor]:
    """Return a model livelier than a fresh one, and two rows of tokens."""
    model = TransNormer(config).double()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.mul_(1 if "theta" in name else 10)
    return model, torch.randint(config.vocab_size, (2, tokens), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("theta_type", [torch.float32, torch.bfloat16])
def test_positions_are_not_rounded_to_the_type_of_the_activations(theta_type: torch.dtype) -> None:
    """In bf16, where 257 is 256, all of 2,048 positions are turned by their own angle, to bf16's own rounding."""
    positions = torch.arange(2048)[None]
    theta = initial_theta(1, 8).to(theta_type)
    found = rotate(torch.ones(1, 1, 2048, 8, dtype=torch.bfloat16), theta, positions)[0, 0].double()
    angle = positions[0, :, None] * theta.double()
    assert (found - torch.cat([angle.cos(), angle.sin()], dim=-1)).abs().max() < 2**-8


def test_a_model_in_bf16_has_fp32_positions() -> None:
    """Autocast to bf16 at positions above 256, neighbours included, moves logits no more than below."""
    model, tokens = drawn(replace(CONFIG, decay="none", layers=1), 600)
    exact, _ = model(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, _ = model.float()(tokens)
    error = (rounded.double() - exact).square().mean((0, 2)).sqrt() / exact.square().mean((0, 2)).sqrt()
    assert error[400:].mean() < 2 * error[50:250].mean()
    assert error.max() < 0.1


def test_memory_grows_with_the_length_not_with_its_square() -> None:
    """Four times the tokens make the largest allocation, forward and back, four times as large, not sixteen times."""
    model = TransNormer(CONFIG)

    def largest(count: int) -> int:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            torch.autograd.backward(model.hidden(torch.zeros(1, count, dtype=torch.int64))[0].sum())
        return max(event.self_cpu_memory_usage for event in seen.events())

    assert largest(8192) <= 4.1 * largest(2048)
    assert largest(8192) < 8192 * 8192


def test_sequences_read_by_turns_do_not_share_an_offset() -> None:
    """Two texts read in segments by turns have the logits they have alone: no position hides in the module."""
    model, tokens = drawn()
    states, parts = [None, None], [[], []]  # type: ignore[var-annotated]
    for start, stop in ((0, 5), (5, 6), (6, 90), (90, 150)):
        for text in (0, 1):
            logits, states[text] = model(tokens[text, None, start:stop], states[text])
            parts[text].append(logits)
    for text in (0, 1):
        torch.testing.assert_close(torch.cat(parts[text], dim=1), model(tokens[text, None])[0])


def test_more_than_one_new_token_after_a_state_gets_its_own_position() -> None:
    """A segment after a state has the logits of its tokens one by one, and is read in one call a layer."""
    model, tokens = drawn()
    _, state = model(tokens[:, :100])
    calls: list[int] = []
    model.layers[0].register_forward_hook(lambda _, given, __: calls.append(given[0].shape[1]))
    together, end = model(tokens[:, 100:], state)
    assert calls == [50]
    parts = []
    for place in range(100, 150):
        logits, state = model(tokens[:, place, None], state)
        parts.append(logits)
    torch.testing.assert_close(together, torch.cat(parts, dim=1))
    assert end.position.tolist() == [150, 150]  # tokens seen; the states' width is 8


def test_packed_sequences_start_afresh_an_empty_one_among_them() -> None:
    """Documents in one row have the logits they have alone, and the empty one keeps its state."""
    model, tokens = drawn()
    row = tokens[:1]
    _, before = model(tokens[:, :3].repeat(2, 1))
    packed, after = model(row, before, torch.tensor([0, 60, 60, 61, 150]))
    for number, (start, stop) in enumerate(((0, 60), (60, 60), (60, 61), (61, 150))):
        state = replace(
            before,
            position=before.position[number, None],
            attention=tuple(x[number, None] for x in before.attention),
        )
        if start == stop:
            assert torch.equal(after.attention[1][number], before.attention[1][number])
            continue
        torch.testing.assert_close(packed[:, start:stop], model(row[:, start:stop], state)[0])
    assert after.position.tolist() == [63, 3, 4, 92]


def test_padding_after_a_text_changes_nothing_before_it() -> None:
    """Texts of two lengths side by side, the shorter filled up, have the logits they have alone."""
    model, tokens = drawn()
    padded = tokens.clone()
    padded[1, 80:] = CONFIG.eos
    logits, _ = model(padded)
    torch.testing.assert_close(logits[1, :80], model(tokens[1, None, :80])[0][0])
    torch.testing.assert_close(logits[0], model(tokens[0, None])[0][0])


@pytest.mark.parametrize("choice", [{"decay": "none"}, {"decay": "linear"}, {}], ids=str)
def test_no_decay_lets_no_future_through(choice: dict[str, str]) -> None:
    """Where the decay is zero, as of the linear formula's first head, a later token still changes no bit before it."""
    model, tokens = drawn(replace(CONFIG, **choice))  # type: ignore[arg-type]
    changed = tokens.clone()
    changed[:, 70] = (changed[:, 70] + 1) % 50
    before, after = model(tokens)[0], model(changed)[0]
    assert torch.equal(before[:, :70], after[:, :70])
    assert not torch.equal(before[:, 70], after[:, 70])


def test_a_strong_decay_leaves_a_finite_state_behind_a_partial_chunk() -> None:
    """With 8 / H h nats a token and 79 tokens, which end inside a chunk, the next segment goes on as if unsplit."""
    model, tokens = drawn(replace(CONFIG, decay="linear", heads=8))
    _, state = model(tokens[:, :79])
    assert all(x.isfinite().all() for x in state.attention)
    torch.testing.assert_close(model(tokens[:, 79:], state)[0], model(tokens)[0][:, 79:])

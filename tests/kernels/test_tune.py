"""Which entry of a kernel is launched: the first one, or the fastest where that is asked for."""

import pytest
import torch

from kernels import tune
from kernels.launch import Launch
from kernels.layout import dense
from kernels.plan import forward_plan
from kernels.tune import fastest
from tests.kernels.interpreted import inputs


def alternatives(dtype: torch.dtype, tokens: int = 300) -> list[Launch]:
    """Return the launches of `attend`, one an entry, that might be chosen among."""
    q, k, v = inputs(tokens, 32, 32, dtype)
    launches, _ = forward_plan(q, k, v, torch.tensor([0.1, 0.2]), None, dense(1, tokens))
    return launches[2]


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what was chosen before."""
    monkeypatch.setattr(tune, "_chosen", {})


def test_the_first_entry_is_launched_without_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it is asked for, nothing is timed: every run launches the same entry."""
    monkeypatch.delenv("LUSTRATE_AUTOTUNE", raising=False)
    entries = alternatives(torch.bfloat16)
    assert len(entries) > 1
    assert fastest(entries, _never) is entries[0]


def test_the_fastest_entry_is_measured_once_for_each_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """With LUSTRATE_AUTOTUNE=1 the least time wins, whatever the length, and another type is measured anew."""
    monkeypatch.setenv("LUSTRATE_AUTOTUNE", "1")
    entries, longer = alternatives(torch.bfloat16), alternatives(torch.bfloat16, tokens=700)
    times = dict(zip(map(id, entries), (3.0, 1.0, 2.0), strict=True))
    assert fastest(entries, lambda launch: times[id(launch)]) is entries[1]
    assert fastest(longer, _never) is longer[1]
    half = alternatives(torch.float16)
    assert fastest(half, lambda launch: -launch.constants["ROWS"]) is half[2]


def test_a_single_entry_is_never_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no choice nothing is measured, asked for or not."""
    monkeypatch.setenv("LUSTRATE_AUTOTUNE", "1")
    entries = alternatives(torch.float32)
    assert len(entries) == 1
    assert fastest(entries, _never) is entries[0]


def _never(launch: Launch) -> float:
    raise AssertionError(launch.kernel)

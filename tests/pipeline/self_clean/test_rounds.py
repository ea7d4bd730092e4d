"""What a round must not do, and when rounds end."""

from typing import Any

import pytest

from pipeline.config import SelfClean
from pipeline.self_clean.judges import Judges
from pipeline.self_clean.round import Round, guards
from pipeline.self_clean.rounds import _stop, overlap


def test_the_vocabulary_has_a_guard() -> None:
    """A shift beyond the limit trips it, one at the limit does not."""
    settings = SelfClean(max_vocabulary_shift=0.02)
    assert guards({"vocabulary_shift": 0.02, "shifted_most": "fi"}, settings) == []
    tripped = guards({"vocabulary_shift": 0.0251, "shifted_most": "fi"}, settings)
    assert tripped == ["the vocabulary of fi would shift by 0.025 bits, more than 0.02"]


def test_overlap_is_jaccard() -> None:
    """Two empty rejected sets agree."""
    assert overlap({"overlap": {"both": 3, "either": 4}}) == 0.75
    assert overlap({"overlap": {"both": 0, "either": 0}}) == 1.0


def a_round(number: int, both: int = 0, **changed: Any) -> Round:
    """Return a round that rejected ten documents, some of them as the one before."""
    facts = {
        "judged": ["en"],
        "guards": [],
        "rejected": 10,
        "overlap": {"both": both, "either": 20 - both},
        "judges_overlap": 0.5,
        **changed,
    }
    return Round(number, Judges("", (), ()), "", "", "", facts, bool(facts["judged"]) and not facts["guards"])


def test_rounds_go_on_while_they_differ() -> None:
    """A first round never stops for its overlap, a later one does once it reaches that of two judges."""
    assert _stop([a_round(1, both=10)], 3) == ""
    assert _stop([a_round(1), a_round(2, both=6)], 3) == ""  # 6 / 14
    assert "agree as well as two judges" in _stop([a_round(1), a_round(2, both=7)], 3)  # 7 / 13
    assert _stop([a_round(1), a_round(2, both=7, judges_overlap=0.6)], 3) == ""


def test_rounds_end_with_the_last_that_was_asked_for() -> None:
    """And say so, unless there is more to say."""
    assert _stop([a_round(1)], 1) == "one round was run, as asked"
    assert _stop([a_round(1), a_round(2, both=6)], 2) == "all 2 rounds were run"
    assert "agree as well as two judges" in _stop([a_round(1), a_round(2, both=7)], 2)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"judged": []}, "round 2 judged no language, so its verdicts do not count"),
        (
            {"guards": ["language fi would lose"]},
            "round 2 tripped a guard and its verdicts were put aside: language fi",
        ),
        ({"rejected": 0}, "round 2 rejected nothing"),
    ],
)
def test_rounds_end_when_there_is_nothing_to_go_on_from(changed: dict[str, Any], said: str) -> None:
    """A round that judged nobody, tripped a guard or rejected nothing is the last, and says why."""
    assert _stop([a_round(1), a_round(2, **changed)], 3).startswith(said)

"""What a text is compared by, and which method counts as the best baseline."""

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.evaluation.good_text import Good
from pipeline.evaluation.methods import BASELINES, EITHER_SIDE, METHODS, RANDOM, SCORE, far
from pipeline.evaluation.tables import rows_of
from pipeline.evaluation.trials import Trial
from pipeline.self_clean.anchors import CLEAN


def trials(bad: int, languages: Sequence[str] = ("en",), kind: str = "babble") -> list[Trial]:
    """Return for each language 10 good texts that set the cut, 10 that are measured, and so many damaged ones."""

    def one(language: str, number: int, *, measured: bool, kind: str) -> Trial:
        good = Good(f"{language}{number}", f"{language}{number}", "shelf", language, "", measured)
        return Trial(good, kind, -1 if kind == CLEAN else 1, 0, "")

    return [
        trial
        for language in languages
        for trial in (
            *(one(language, n, measured=False, kind=CLEAN) for n in range(10)),
            *(one(language, n, measured=True, kind=CLEAN) for n in range(10, 20)),
            *(one(language, 10 + n, measured=True, kind=kind) for n in range(bad)),
        )
    ]


def test_chance_is_never_the_best_baseline() -> None:
    """Where chance happens to find most, it is shown with its figure, and the best is another."""
    given = trials(8)
    bad = np.array([trial.kind != CLEAN for trial in given], float)
    values = {SCORE: bad, "length": np.zeros(len(given)), RANDOM: bad}
    (row,) = rows_of(given, np.full(len(given), 500), {"babble": values}, seed=1)
    assert row["methods"][RANDOM]["auc"][0] == 1
    assert row["best"] == "length"
    assert row["difference"][0] == 0.5


def test_what_is_one_sided_stands_beside_its_other_form() -> None:
    """Bits per byte are a baseline both ways, and every method but score, surrogate and chance may be the best."""
    for name in ("unigrams", "trigrams", "transnormer"):
        assert {name, name + EITHER_SIDE} <= set(BASELINES)
    assert set(METHODS) - set(BASELINES) == {"score", "surrogate", "random"}


def test_far_on_either_side_is_worse() -> None:
    """Distances are from the median of the language's good texts that set the cut, in their own spread."""
    given = trials(3, ("en", "zh"))
    spread = np.arange(-4.5, 5.5)  # around 0, with a median distance of 2.5
    damaged = np.array([-10.0, 10.0, 0.0])
    one = np.concatenate([spread, np.full(10, 1.0), damaged])
    values = np.concatenate([one, 100 + 7 * one])
    found = far(given, values)
    assert found[:23] == pytest.approx(np.abs(one) / 2.5)
    assert found[23:] == pytest.approx(found[:23])


def test_the_farther_of_two_values_counts() -> None:
    """A text that is like others in one value is as far as its other value says."""
    given = trials(2)
    spread = np.arange(-4.5, 5.5)
    first, second = (np.concatenate([spread, np.zeros(10), [a, b]]) for a, b in ((0, 10), (-5, 1)))
    assert far(given, first, second)[-2:] == pytest.approx([2, 4])

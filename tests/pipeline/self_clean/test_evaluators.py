"""Who trains on what."""

import pytest

from pipeline.config import Evaluator, SelfClean
from pipeline.self_clean.evaluators import SPARE, anchor_rates, sampling_rates


def test_rates_spend_the_budget() -> None:
    """The sampled bytes are what the token budget asks for, with some to spare."""
    sizes = {"en": 10_000_000, "fi": 1_000_000}
    evaluator, settings = Evaluator(train_tokens=100_000), SelfClean()
    rates = sampling_rates(sizes, evaluator, settings, 3.0)
    assert sum(rates[k] * sizes[k] / 2 for k in sizes) == pytest.approx(300_000 * SPARE)


def test_small_languages_get_more_than_their_share() -> None:
    """Tokens grow with the square root of a language's bytes."""
    rates = sampling_rates({"en": 100_000_000, "fi": 1_000_000}, Evaluator(train_tokens=10_000), SelfClean(), 3.0)
    assert rates["fi"] / rates["en"] == pytest.approx(10.0)


def test_what_a_small_language_cannot_fill_goes_to_the_others() -> None:
    """A language smaller than its part is taken whole, and the budget is still spent."""
    sizes = {"en": 100_000_000, "qu": 1_000}
    rates = sampling_rates(sizes, Evaluator(train_tokens=1_000_000), SelfClean(), 3.0)
    assert rates["qu"] == 1.0
    assert sum(rates[k] * sizes[k] / 2 for k in sizes) == pytest.approx(3_000_000 * SPARE)


def test_a_corpus_below_the_budget_is_taken_whole() -> None:
    """There is nothing to sample when everything fits."""
    assert sampling_rates({"en": 1_000}, Evaluator(), SelfClean(), 3.0) == {"en": 1.0}


def test_the_anchor_is_never_most_of_a_language() -> None:
    """A small language keeps nine tenths of its documents for training."""
    assert anchor_rates({"en": 1_000_000, "qu": 20}, SelfClean(anchor_documents=400)) == {"en": 0.0004, "qu": 0.1}

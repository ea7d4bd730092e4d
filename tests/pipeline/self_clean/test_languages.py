"""Which languages judges are trained for, and on how much of each."""

import pytest

from pipeline.config import SelfClean
from pipeline.self_clean.languages import (
    MARGIN,
    MAX_ANCHOR_SHARE,
    SPARE,
    Chosen,
    Size,
    anchor_rates,
    choose,
    sampling_rates,
    too_few_anchors,
    too_little,
    unasked,
)

ANY = SelfClean(min_language_tokens=0)
SIZES = {
    "en": Size(50_000, (45_000_000, 45_000_000), 4.5),
    "zh": Size(40_000, (40_000_000, 20_000_000), 3.0),
    "am": Size(2_000, (3_000_000, 3_000_000), 3.0),
    "fi": Size(800, (750_000, 750_000), 3.0),  # two folds, and anchors, leave a judge less than 300,000 tokens
    "qu": Size(20, (15_000_000, 15_000_000), 3.0),  # long, but few
    "und": Size(60_000, (45_000_000, 45_000_000), 4.0),
}


def test_rates_spend_the_budget() -> None:
    """The sampled tokens are those asked for, with some to spare."""
    available = {"en": 1_000_000.0, "fi": 100_000.0}
    rates = sampling_rates(available, 100_000, ANY)
    assert sum(rates[k] * available[k] for k in available) == pytest.approx(100_000 * SPARE)


def test_small_languages_get_more_than_their_share() -> None:
    """Tokens grow with the square root of what there is of a language."""
    rates = sampling_rates({"en": 100_000_000, "fi": 1_000_000}, 10_000, ANY)
    assert rates["fi"] / rates["en"] == pytest.approx(10.0)


def test_what_a_small_language_cannot_fill_goes_to_the_others() -> None:
    """A language smaller than its part is taken whole, and the budget is still spent."""
    available = {"en": 100_000_000.0, "qu": 1_000.0}
    rates = sampling_rates(available, 1_000_000, ANY)
    assert rates["qu"] == 1.0
    assert rates["en"] * available["en"] == pytest.approx(999_000 * SPARE)


def test_a_judged_language_gets_what_it_takes_to_be_judged() -> None:
    """However large another one is; beyond that, parts are in proportion to the root."""
    available = {"en": 1_000_000_000.0, "zh": 250_000_000.0, "am": 400_000.0}
    rates = sampling_rates(available, 2_000_000, SelfClean())
    tokens = {name: rates[name] * available[name] / SPARE for name in available}
    assert tokens["am"] == pytest.approx(300_000 * MARGIN)
    assert tokens["en"] / tokens["zh"] == pytest.approx(2.0)
    assert sum(tokens.values()) == pytest.approx(2_000_000)


def test_a_corpus_below_the_budget_is_taken_whole() -> None:
    """There is nothing to sample when everything fits."""
    assert sampling_rates({"en": 1_000}, 1_000_000, ANY) == {"en": 1.0}
    assert sampling_rates({}, 1_000_000, ANY) == {}


def test_more_tokens_take_every_document_that_fewer_take() -> None:
    """What is counted holds all that trains: no language's rate falls when the budget grows."""
    available = {"en": 90_000_000.0, "fi": 2_000_000.0, "qu": 30_000.0}
    few, more = (sampling_rates(available, tokens, ANY) for tokens in (200_000, 4_000_000))
    assert all(few[name] <= more[name] for name in available)
    assert few["en"] < more["en"] < 1


def test_the_anchor_is_never_most_of_a_language() -> None:
    """A language has as many anchors as asked, a small one no more than its share."""
    rates = anchor_rates({"en": 1_000_000, "qu": 20}, SelfClean(anchor_documents=400))
    assert rates == {"en": 0.0004, "qu": MAX_ANCHOR_SHARE}
    assert MAX_ANCHOR_SHARE < 0.5


def test_tokens_go_to_languages_that_can_be_judged() -> None:
    """Those with enough text for a judge and enough anchors; of each other one the reason is told."""
    chosen = choose(SIZES, SelfClean(), 2_000_000)
    assert chosen.names == ("am", "en", "zh")
    assert [one["am"] for one in chosen.available] == pytest.approx([700_000] * 2)  # 600 of 2,000 are anchors
    first, second = (one["zh"] for one in chosen.available)
    assert 2 * first == pytest.approx(second), "a judge sees what its own fold does not hold"
    few = "fewer than self_clean.min_"
    assert chosen.reasons["fi"] == f"its judges can see about 175,000 tokens of it, {few}language_tokens = 300,000"
    assert chosen.reasons["qu"] == f"the anchor sample holds 6 documents of it, {few}anchor_documents = 200"
    assert chosen.reasons["und"] == "the language of these documents was a guess"
    assert set(chosen.reasons) == {"fi", "qu", "und"}


def test_a_budget_for_fewer_languages_goes_to_the_largest() -> None:
    """Two languages of at least 300,000 tokens, with some to spare, are what 800,000 give; the third hears why."""
    chosen = choose(SIZES, SelfClean(), 800_000)
    assert chosen.names == ("en", "zh")
    assert chosen.reasons["am"].startswith("[evaluator] train_tokens = 800,000 are enough for 2 languages")
    assert choose(SIZES, SelfClean(), 300_000).names == (), "not one could be judged in the end"
    assert choose(SIZES, SelfClean(), None).names == ("am", "en", "zh"), "given judges are trained"
    assert set(choose(SIZES, SelfClean(min_language_tokens=0), 1_000).names) == {"en", "zh", "am", "fi"}


def test_what_judges_saw_counts_in_the_end() -> None:
    """Tokens and anchors as they were found, not as they were reckoned; each judge needs anchors of its own fold."""
    settings = SelfClean()
    assert too_little("en", 300_000, 200, settings) == ""
    assert "saw 299,999 tokens" in too_little("en", 299_999, 200, settings)
    assert "holds 199 documents" in too_little("en", 300_000, 199, settings)
    assert too_few_anchors({0: 150, 1: 50}, settings) == ""
    assert "holds 49 documents of it in one fold" in too_few_anchors({0: 151, 1: 49}, settings)
    assert too_few_anchors({0: 400}, settings)
    assert too_few_anchors({0: 10, 1: 7}, SelfClean(min_anchor_documents=10)), "scales need some whatever is asked for"


def test_a_language_that_was_judged_is_not_given_up_for_what_was_rejected_of_it() -> None:
    """In a later round it may lack some tokens and anchors; one that was not judged has too little as before."""
    chosen = Chosen(({"en": 1.0, "fi": 1.0}, {"en": 1.0, "fi": 1.0}), {"qu": "too few"})
    seen, anchors = {"en": 299_000, "fi": 310_000}, {"en": {0: 100, 1: 99}, "fi": {0: 100, 1: 99}}
    assert unasked(chosen, seen, anchors, ("en",), SelfClean()) == {
        "en": "",
        "fi": "the anchor sample holds 199 documents of it, fewer than self_clean.min_anchor_documents = 200",
        "qu": "too few",
    }
    first = unasked(chosen, seen, anchors, (), SelfClean())
    assert "saw 299,000 tokens" in first["en"]

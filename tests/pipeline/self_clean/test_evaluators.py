"""Who trains on what."""

from dataclasses import asdict
from pathlib import Path

import orjson
import pytest

from pipeline.config import ConfigError, SelfClean
from pipeline.self_clean.evaluators import (
    KEY,
    MAX_ANCHOR_SHARE,
    SPARE,
    WEIGHTS,
    TrainingKey,
    anchor_rates,
    check_keys,
    checksums,
    sampling_rates,
)


def test_rates_spend_the_budget() -> None:
    """The sampled bytes are what the token budget asks for, with some to spare."""
    sizes = {"en": 10_000_000, "fi": 1_000_000}
    rates = sampling_rates(sizes, 100_000, SelfClean(), 3.0)
    assert sum(rates[k] * sizes[k] / 2 for k in sizes) == pytest.approx(300_000 * SPARE)


def test_small_languages_get_more_than_their_share() -> None:
    """Tokens grow with the square root of a language's bytes."""
    rates = sampling_rates({"en": 100_000_000, "fi": 1_000_000}, 10_000, SelfClean(), 3.0)
    assert rates["fi"] / rates["en"] == pytest.approx(10.0)


def test_what_a_small_language_cannot_fill_goes_to_the_others() -> None:
    """A language smaller than its part is taken whole, and the budget is still spent."""
    sizes = {"en": 100_000_000, "qu": 1_000}
    rates = sampling_rates(sizes, 1_000_000, SelfClean(), 3.0)
    assert rates["qu"] == 1.0
    assert sum(rates[k] * sizes[k] / 2 for k in sizes) == pytest.approx(3_000_000 * SPARE)


def test_a_corpus_below_the_budget_is_taken_whole() -> None:
    """There is nothing to sample when everything fits."""
    assert sampling_rates({"en": 1_000}, 1_000_000, SelfClean(), 3.0) == {"en": 1.0}


def test_more_tokens_take_every_document_that_fewer_take() -> None:
    """What is counted holds all that trains: no language's rate falls when the budget grows."""
    sizes = {"en": 90_000_000, "fi": 2_000_000, "qu": 30_000}
    few, more = (sampling_rates(sizes, tokens, SelfClean(), 3.0) for tokens in (200_000, 4_000_000))
    assert all(few[name] <= more[name] for name in sizes)
    assert few["en"] < more["en"] < 1


def test_the_anchor_is_never_most_of_a_language() -> None:
    """A language has as many anchors as asked, a small one no more than its share."""
    rates = anchor_rates({"en": 1_000_000, "qu": 20}, SelfClean(anchor_documents=400))
    assert rates == {"en": 0.0004, "qu": MAX_ANCHOR_SHARE}
    assert MAX_ANCHOR_SHARE < 0.5


def test_given_weights_must_say_that_they_left_the_fold_out(tmp_path: Path) -> None:
    """Weights without a key, of other folds, or of the other fold are refused with what to do; no weights are none."""
    key = TrainingKey("a" * 16, 2, 1, 400)
    check_keys(["", ""], key)
    with pytest.raises(ConfigError, match="--evaluator-is-external"):
        check_keys([str(tmp_path)], key)
    told = {**asdict(key), "fold_left_out": "fold-0", "shards": []}
    (tmp_path / KEY).write_bytes(orjson.dumps(told))
    check_keys([str(tmp_path)], key)
    with pytest.raises(ConfigError, match="without fold 1"):
        check_keys(["", str(tmp_path)], key)
    with pytest.raises(ConfigError, match="without fold 0"):
        check_keys([str(tmp_path)], TrainingKey("b" * 16, 2, 1, 400))


def test_given_weights_are_all_their_files(tmp_path: Path) -> None:
    """A changed configuration or key is another evaluator, as changed weights are."""
    for name in WEIGHTS:
        (tmp_path / name).write_bytes(b"1")
    found = [checksums(str(tmp_path))]
    for name in (*WEIGHTS, KEY):
        (tmp_path / name).write_bytes(b"2")
        found.append(checksums(str(tmp_path)))
    assert len({tuple(one) for one in found}) == 4

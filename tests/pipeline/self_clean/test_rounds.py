"""What a round must not do, and when rounds end."""

from dataclasses import asdict
from typing import Any

import pytest

from pipeline.config import ConfigError, SelfClean
from pipeline.self_clean.evaluators import KEY, TrainingKey, check_keys
from pipeline.self_clean.judges import EVALUATOR_TOKENIZER, Judges
from pipeline.self_clean.rounds import Round, _stop, given_weights, guards, overlap
from pipeline.storage import join, write_json


def test_the_vocabulary_has_a_guard() -> None:
    """A shift beyond the limit trips it, one at the limit does not; nothing lost at all trips none."""
    settings = SelfClean(max_vocabulary_shift=0.02)
    assert guards({"vocabulary_shift": 0.02}, settings) == []
    tripped = guards({"vocabulary_shift": 0.0251}, settings)
    assert tripped == ["the vocabulary would shift by 0.0251 bits, more than 0.02"]


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
    assert _stop([a_round(1, both=10)]) == ""
    assert _stop([a_round(1), a_round(2, both=6)]) == ""  # 6 / 14
    assert "agree as well as two judges" in _stop([a_round(1), a_round(2, both=7)])  # 7 / 13
    assert _stop([a_round(1), a_round(2, both=7, judges_overlap=0.6)]) == ""


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
    assert _stop([a_round(1), a_round(2, **changed)]).startswith(said)


def weights(folder: str, rounds: int, folds: int = 2) -> None:
    """Write what stands for trained evaluators."""
    write_json(join(folder, EVALUATOR_TOKENIZER), {})
    for number in range(1, rounds + 1):
        for fold in range(folds):
            write_json(join(folder, f"round-{number}", f"fold-{fold}", "model.safetensors"), {})


def test_given_weights_are_found_by_round(tmp_path: Any) -> None:
    """A round beyond those that are there takes the last one's; without a folder every fold is trained."""
    folder = str(tmp_path)
    weights(folder, 2)
    for number, wanted in ((1, 1), (2, 2), (5, 2)):
        assert given_weights(folder, number, 2) == [join(folder, f"round-{wanted}", f"fold-{k}") for k in (0, 1)]
    assert given_weights("", 1, 3) == ["", "", ""]


@pytest.mark.parametrize(
    "missing", [EVALUATOR_TOKENIZER, "round-1/fold-1/model.safetensors", "round-2/fold-0/model.safetensors"]
)
def test_missing_weights_are_named(tmp_path: Any, missing: str) -> None:
    """Weights of some folds only, or without their tokenizer, are refused."""
    weights(str(tmp_path), 2)
    (tmp_path / missing).unlink()
    with pytest.raises(ConfigError, match="holds no"):
        given_weights(str(tmp_path), 2, 2)


def test_weights_that_may_have_seen_the_corpus_are_refused(tmp_path: Any) -> None:
    """Only weights that say they left this fold of these folds out may judge it."""
    key = TrainingKey("abc", 2, 1, 400)
    told = {**asdict(key), "fold_left_out": "fold-0", "more": "is fine"}
    given = [join(str(tmp_path), "fold-0"), ""]
    write_json(join(given[0], KEY), told)
    check_keys(given, key)
    for wrong in ({"folds": "abd"}, {"count": 3}, {"seed": 2}, {"anchor_documents": 500}, {"fold_left_out": "fold-1"}):
        write_json(join(given[0], KEY), {**told, **wrong})
        with pytest.raises(ConfigError, match="--evaluator-is-external"):
            check_keys(given, key)
    (tmp_path / "fold-0" / KEY).unlink()
    with pytest.raises(ConfigError, match="may have seen what it is to judge"):
        check_keys(given, key)

"""Rules, verdicts and configured bounds."""

from dataclasses import replace

import numpy as np
import pytest

from filters.passage import Passage
from filters.rules import Family, Measured, Rule, Signal, bound_for, judge, named_languages, speaks_about, with_bounds

SHORT = Rule(reason="too_short", signal="length", minimum=3)
LONG = Rule(reason="too_long", signal="length", maximum=5)
RARE = Rule(reason="too_rare", signal="share", minimum=0.5, languages=frozenset({"en"}))
WIDE = Rule(reason="too_wide", signal="share", maximum=0.9, exempt=frozenset({"zh"}))


def no_signals(_: Passage) -> Measured:
    """Measure nothing."""
    return Measured({})


FAMILY = Family(
    "family",
    (Signal("length", 0, np.inf, whole=True), Signal("share", 0, 1), Signal("unused", 0, 1)),
    (SHORT, LONG, RARE, WIDE),
    no_signals,
)


@pytest.mark.parametrize(("value", "rule"), [(2, 0), (3, -1), (4, -1), (5, -1), (6, 1)])
def test_a_value_equal_to_the_bound_is_kept(value: int, rule: int) -> None:
    """Only below a minimum, only above a maximum."""
    assert judge((SHORT, LONG), {"length": np.array([value])}, np.array(["en"])).rule.tolist() == [rule]


@pytest.mark.parametrize(("value", "rule"), [(2, 0), (3, 0), (4, -1), (5, 1), (6, 1)])
def test_an_inclusive_bound_is_broken_by_its_own_value(value: int, rule: int) -> None:
    """On both sides, and also after another bound was configured; what was not measured still breaks none."""
    rules = (replace(SHORT, inclusive=True), replace(LONG, inclusive=True))
    family = replace(FAMILY, rules=(replace(rules[0], minimum=0), replace(rules[1], maximum=9)))
    configured = with_bounds(family, {"length": {"min": 3, "max": 5}}).rules
    for same in (rules, configured):
        assert judge(same, {"length": np.array([value])}, np.array(["en"])).rule.tolist() == [rule]
        assert judge(same, {"length": np.array([np.nan])}, np.array(["en"])).rule.tolist() == [-1]


def test_the_first_broken_rule_decides() -> None:
    """Order is the table's; value and threshold are those of the rule that decided."""
    signals = {"length": np.array([1, 9, 4]), "share": np.array([0.1, 0.1, 0.1])}
    verdicts = judge((LONG, RARE, SHORT), signals, np.array(["en"] * 3))
    assert verdicts.rule.tolist() == [1, 0, 1]
    assert verdicts.value.tolist() == [0.1, 9, 0.1]
    assert verdicts.threshold.tolist() == [0.5, 5, 0.5]


def test_kept_documents_have_no_value() -> None:
    """Nothing decided, so both numbers are NaN."""
    verdicts = judge((SHORT,), {"length": np.array([4])}, np.array(["en"]))
    assert verdicts.rule.dtype == np.int32
    assert verdicts.rule.tolist() == [-1]
    assert np.isnan([verdicts.value[0], verdicts.threshold[0]]).all()


def test_what_was_not_measured_breaks_no_rule() -> None:
    """NaN passes a minimum and a maximum."""
    verdicts = judge((RARE, WIDE), {"share": np.array([np.nan])}, np.array(["en"]))
    assert verdicts.rule.tolist() == [-1]


def test_rules_judge_only_the_languages_they_speak_about() -> None:
    """`languages` names the only ones, `exempt` all but some."""
    signals = {"share": np.array([0.1, 0.1, 1, 1])}
    verdicts = judge((RARE, WIDE), signals, np.array(["en", "fr", "zh", "und"], dtype=object))
    assert verdicts.rule.tolist() == [0, -1, -1, 1]
    assert [speaks_about(RARE, "en"), speaks_about(RARE, "de"), speaks_about(WIDE, "zh")] == [
        True,
        False,
        False,
    ]


def test_no_documents_have_no_verdicts() -> None:
    """An empty batch is judged too."""
    assert len(judge((SHORT,), {"length": np.array([], np.int64)}, np.array([], dtype=str)).rule) == 0


@pytest.mark.parametrize("bounds", [{}, {"minimum": 1, "maximum": 2}])
def test_a_rule_has_exactly_one_bound(bounds: dict[str, float]) -> None:
    """None would never reject, two would be two rules."""
    with pytest.raises(ValueError, match="rule r must have"):
        Rule(reason="r", signal="s", **bounds)  # type: ignore[arg-type]


def test_configured_bounds_replace_the_family_s() -> None:
    """Both bounds of a signal change, the rest stays, the family given too."""
    changed = with_bounds(FAMILY, {"length": {"min": 2, "max": 9}, "share": {"min": 0}})
    assert [rule.minimum for rule in changed.rules] == [2, None, 0, None]
    assert [rule.maximum for rule in changed.rules] == [None, 9, None, 0.9]
    assert [rule.reason for rule in changed.rules] == [rule.reason for rule in FAMILY.rules]
    assert FAMILY.rules[0].minimum == 3


def test_false_switches_a_rule_off() -> None:
    """The signal stays, and so does its other rule."""
    changed = with_bounds(FAMILY, {"length": {"min": False}})
    assert [rule.reason for rule in changed.rules] == ["too_long", "too_rare", "too_wide"]
    assert changed.signals == FAMILY.signals


def test_languages_replace_whom_the_rules_speak_about() -> None:
    """All rules of the signal get them, instead of their exemptions too."""
    changed = with_bounds(FAMILY, {"length": {"languages": ["zh"]}})
    assert [speaks_about(rule, "zh") for rule in changed.rules[:2]] == [True, True]
    assert [speaks_about(rule, "en") for rule in changed.rules[:2]] == [False, False]


def test_a_bound_by_language_replaces_the_general_one() -> None:
    """Value, threshold and verdict are that language's; another language keeps the general bound."""
    changed = with_bounds(FAMILY, {"length": {"min": 2, "by_language": {"zh": {"min": 4, "max": 9}, "de": {"max": 6}}}})
    verdicts = judge(changed.rules, {"length": np.array([3, 3, 8, 6, 6]), "share": np.full(5, 0.9)}, LANGUAGES)
    assert verdicts.rule.tolist() == [0, -1, -1, -1, 1]
    assert verdicts.threshold[[0, 4]].tolist() == [4, 5]


LANGUAGES = np.array(["zh", "fr", "zh", "de", "fr"])


def test_false_by_language_silences_the_rule_there() -> None:
    """The others are judged as before; with `false` in general only the named ones are judged."""
    silent = with_bounds(FAMILY, {"length": {"by_language": {"zh": {"min": False}}}}).rules[0]
    assert np.isnan(bound_for(silent, "zh"))
    assert bound_for(silent, "fr") == 3
    only = with_bounds(FAMILY, {"length": {"min": False, "by_language": {"zh": {"min": 7}}}}).rules[0]
    assert bound_for(only, "zh") == 7
    assert np.isnan(bound_for(only, "fr"))


def test_a_bound_by_language_ends_an_exemption() -> None:
    """Who gives a bound for a language wants it judged."""
    changed = with_bounds(FAMILY, {"share": {"by_language": {"en": {"max": 0.5}}}})
    assert bound_for(changed.rules[3], "en") == 0.5
    assert bound_for(changed.rules[3], "fr") == 0.9
    wide = with_bounds(EXEMPTING, {"share": {"by_language": {"zh": {"max": 0.5}}}}).rules[0]
    assert [bound_for(wide, "zh"), bound_for(wide, "fr")] == [0.5, 0.9]


EXEMPTING = Family("family", (Signal("share", 0, 1),), (WIDE,), no_signals)


def test_named_languages_are_all_that_bounds_name() -> None:
    """In lists and in tables."""
    bounds: dict[str, dict[str, object]] = {
        "length": {"languages": ["zh"], "min": 1},
        "share": {"by_language": {"en": {"min": 0}}},
    }
    assert named_languages(bounds) == {"zh", "en"}


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"size": {"min": 1}}, "unknown signal family.size; known here: length, share, unused"),
        ({"length": {"minimum": 1}}, "unknown key family.length.minimum; known here: by_language, languages, max, min"),
        ({"unused": {"min": 0}}, "unknown key family.unused.min; known here: none, no rule reads it"),
        ({"share": {"max": 1.5}}, "family.share.max must be false or a number from 0 to 1, got 1.5"),
        ({"share": {"min": -0.1}}, "family.share.min must be false or a number from 0 to 1, got -0.1"),
        ({"share": {"min": True}}, "family.share.min must be false or a number"),
        ({"share": {"min": "1"}}, "family.share.min must be false or a number"),
        ({"share": {"min": float("nan")}}, "family.share.min must be false or a number"),
        ({"share": {"languages": "en"}}, "family.share.languages must be a list of language codes"),
        (
            {"share": {"languages": ["zh"]}},
            "family.share.languages names zh, which has no list; there are lists for en",
        ),
        ({"length": {"by_language": ["zh"]}}, "family.length.by_language must be a table of language codes"),
        ({"length": {"by_language": {"zh": 3}}}, "family.length.by_language.zh must be a table with max or min, got 3"),
        ({"length": {"by_language": {"zh": {}}}}, "family.length.by_language.zh must be a table with max or min"),
        (
            {"length": {"by_language": {"zh": {"mean": 3}}}},
            "family.length.by_language.zh must be a table with max or min",
        ),
        (
            {"length": {"by_language": {"zh": {"min": -3}}}},
            "family.length.by_language.zh.min must be false or a number",
        ),
        ({"share": {"by_language": {"de": {"min": 0}}}}, "family.share.by_language names de, which has no list"),
    ],
)
def test_impossible_bounds_are_refused(bounds: dict[str, dict[str, object]], message: str) -> None:
    """The message names the key and what is allowed."""
    with pytest.raises(ValueError, match=message):
        with_bounds(FAMILY, bounds)

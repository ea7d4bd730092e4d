"""What holds for all families together."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.families import FAMILIES, find_family
from filters.passage import read_passage
from filters.rules import Family

REASONS = [
    "duplicate_paragraphs",
    "duplicate_paragraph_characters",
    "duplicate_lines",
    "duplicate_line_characters",
    "top_2_gram",
    "top_3_gram",
    "top_4_gram",
    "duplicate_5_grams",
    "duplicate_6_grams",
    "duplicate_7_grams",
    "duplicate_8_grams",
    "duplicate_9_grams",
    "duplicate_10_grams",
    "too_few_words",
    "too_many_words",
    "words_too_short",
    "words_too_long",
    "too_many_hashes",
    "too_many_ellipses",
    "too_many_bullets",
    "too_many_lines_end_in_ellipsis",
    "too_few_alphabetic_words",
    "too_few_stop_words",
    "page_too_long",
    "lorem_ipsum",
    "curly_bracket",
    "too_few_sentences",
    "too_many_flagged_words",
    "too_few_long_lines",
    "low_web_document_score",
    "same_words_in_a_row",
    "no_lines",
    "too_few_ended_lines",
    "too_many_short_lines",
    "too_many_duplicate_characters",
]
REASONS_OF_VARIANTS = {"no_characters", "too_many_line_feeds"}  # that the defaults do not have
VARIANTS = {f"{name}@{variant}": family for name, variants in FAMILIES.items() for variant, family in variants.items()}


def test_reasons_are_these_and_no_two_are_equal() -> None:
    """A reason alone says which rule decided; users' scripts rely on the names."""
    assert [rule.reason for name in FAMILIES for rule in find_family(name).rules] == REASONS
    assert len(set(REASONS)) == len(REASONS)
    assert {rule.reason for family in VARIANTS.values() for rule in family.rules} == {*REASONS, *REASONS_OF_VARIANTS}


def test_families_stand_under_their_own_names() -> None:
    """A signal's column is called family.signal, whatever the variant."""
    assert [family.name for family in VARIANTS.values()] == [name.partition("@")[0] for name in VARIANTS]


def test_the_first_variant_is_the_default() -> None:
    """Each has its name, and without one a family is the paper's, or C4's rules for all languages."""
    assert {name: next(iter(variants)) for name, variants in FAMILIES.items()} == DEFAULTS
    assert all(find_family(name) is find_family(f"{name}@{variant}") for name, variant in DEFAULTS.items())


DEFAULTS = {
    "gopher_repetition": "paper",
    "gopher_quality": "paper",
    "c4": "sentences",
    "refinedweb": "paper",
    "mc4": "tfds",
    "wds": "37a3f34",
    "fineweb": "paper",
    "periodic": "olmo2",
    "symbol_lines": "datatrove",
}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gopher", "unknown family 'gopher'; known: gopher_repetition, gopher_quality"),
        ("fineweb@code", "unknown variant 'fineweb@code'; known: fineweb@paper, fineweb@datatrove"),
        ("fineweb@", "unknown variant 'fineweb@'"),
        ("", "unknown family ''"),
    ],
)
def test_unknown_names_are_refused(name: str, message: str) -> None:
    """The message says what is known."""
    with pytest.raises(ValueError, match=message):
        find_family(name)


@pytest.mark.parametrize("family", VARIANTS.values(), ids=VARIANTS)
def test_rules_fit_their_signals(family: Family) -> None:
    """Every rule reads a declared signal, its bound lies in the range, and a signal has one rule a side."""
    signals = {signal.name: signal for signal in family.signals}
    sides = [(rule.signal, rule.maximum is None) for rule in family.rules]
    assert len(set(sides)) == len(sides)
    for rule in family.rules:
        bound = rule.minimum if rule.maximum is None else rule.maximum
        assert bound is not None
        assert signals[rule.signal].lowest <= bound <= signals[rule.signal].highest


@pytest.mark.parametrize("family", VARIANTS.values(), ids=VARIANTS)
def test_signals_say_what_they_are(family: Family) -> None:
    """The report prints `about` under each histogram."""
    assert all(signal.about for signal in family.signals)


@pytest.mark.parametrize("family", VARIANTS.values(), ids=VARIANTS)
def test_an_empty_batch_is_measured(family: Family) -> None:
    """No documents give empty columns."""
    passage = read_passage(pa.array([], pa.string()), np.array([], dtype=str))
    assert {len(values) for values in family.measure(passage).signals.values()} == {0}


@pytest.mark.parametrize("family", VARIANTS.values(), ids=VARIANTS)
@given(
    texts=st.lists(st.text(max_size=60), min_size=1, max_size=4), language=st.sampled_from(["en", "zh", "th", "und"])
)
@settings(deadline=None)
def test_every_string_is_measured_within_the_declared_ranges(family: Family, texts: list[str], language: str) -> None:
    """Names, order, kinds, ranges; a family that edits has a text for every document."""
    measured = family.measure(read_passage(pa.array(texts, pa.string()), np.array([language] * len(texts))))
    assert list(measured.signals) == [signal.name for signal in family.signals]
    for signal in family.signals:
        values = measured.signals[signal.name]
        assert values.dtype == (np.int64 if signal.whole else np.float64)
        values = values[~np.isnan(values)]
        assert np.all((values >= signal.lowest) & (values <= signal.highest))
    assert (len(texts) if family.edits else None) == (None if measured.texts is None else len(measured.texts))

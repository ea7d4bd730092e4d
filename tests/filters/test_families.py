"""What holds for all families together."""

import numpy as np
import pyarrow as pa
import pytest

from filters.families import FAMILIES
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
    "lorem_ipsum",
    "curly_bracket",
    "too_few_sentences",
]


def test_reasons_are_these_and_no_two_are_equal() -> None:
    """A reason alone says which rule decided; users' scripts rely on the names."""
    assert [rule.reason for family in FAMILIES.values() for rule in family.rules] == REASONS
    assert len(set(REASONS)) == len(REASONS)


def test_families_stand_under_their_own_names() -> None:
    """A signal's column is called family.signal."""
    assert [family.name for family in FAMILIES.values()] == list(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_rules_fit_their_signals(family: Family) -> None:
    """Every rule reads a declared signal, its bound lies in the range, and a signal has one rule a side."""
    signals = {signal.name: signal for signal in family.signals}
    sides = [(rule.signal, rule.maximum is None) for rule in family.rules]
    assert len(set(sides)) == len(sides)
    for rule in family.rules:
        bound = rule.minimum if rule.maximum is None else rule.maximum
        assert bound is not None
        assert signals[rule.signal].lowest <= bound <= signals[rule.signal].highest


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_signals_say_what_they_are(family: Family) -> None:
    """The report prints `about` under each histogram."""
    assert all(signal.about for signal in family.signals)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_an_empty_batch_is_measured(family: Family) -> None:
    """No documents give empty columns."""
    passage = read_passage(pa.array([], pa.string()), np.array([], dtype=str))
    assert {len(values) for values in family.measure(passage).values()} == {0}

"""C4's rule on bad words: TFDS's published cases, and its expression in plain Python."""

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filters import bad_words
from filters.bad_words import find_bad_words, make_finder

LISTS = {"en": ["ass"], "es": ["culo"]}
PAGE = "Some text begins this page.\nAll of it looks fine so far, since these are sentences.\nAnd yet... is it?\n"


def found_in(text: str, language: str, lists: dict[str, list[str]]) -> list[str] | None:
    """Return the entries found in one text."""
    finders = {code: make_finder(code, entries) for code, entries in lists.items()}
    return find_bad_words(pa.array([text]), np.array([language]), finders)[0]


@pytest.mark.parametrize(
    ("last", "language", "found"),
    [
        ("I asked my friend for assistance polishing my cutlass.", "en", []),
        ("He took the saddle and put it on his ass.", "en", ["ass"]),
        ("Ass is what some call a small horse-like animal.", "en-latin", ["ass"]),
        ('Donkey is another word for "ass".', "en", ["ass"]),
        ("Ass is no bad word in Spanish.", "es", []),
        ("Culo is one.", "es", ["culo"]),
        ("Ass and culo are none in German.", "de", None),
    ],
)
def test_tfds_badwords_filter(last: str, language: str, found: list[str] | None) -> None:
    """T9: whole words in whatever case, of the language's own list; a language without a list is not judged."""
    assert found_in(PAGE + last, language, LISTS) == found


PIECES = [
    "ass",
    "Ass",
    "asses",
    "has",
    " ",
    ",",
    "-",
    "_",
    "3",
    "é",
    "ß",
    "İ",
    "Σ",
    "漢",
    "्",
    "\n",
    "strap on",
    "१",
    "½",
]


@given(text=st.lists(st.sampled_from(PIECES), max_size=8).map("".join) | st.text(max_size=20))
@example("strap on ass ass")
@example("assΣ")
@settings(deadline=None, max_examples=300)
def test_what_is_found_is_what_tfds_finds(text: str) -> None:
    """Its expression, with Python's own word characters, finds something in the same texts; a long list, too."""
    entries = ["ass", "a.s", "strap on", "σ", "漢"]
    for language, expression in (("en", r"(?:\W|^)({})(?:\W|$)"), ("zh", "({})")):
        wanted = re.search(expression.format("|".join(map(re.escape, entries))), text.lower())
        found = found_in(text, language, {language: entries})
        assert (found != []) == (wanted is not None)
        assert set(found or ()) <= set(entries)


def test_scripts_without_spaces_are_searched_anywhere() -> None:
    """Japanese, Thai and Chinese; not Korean."""
    for language in ("ja", "th", "zh"):
        assert found_in("前悪語後", language, {language: ["悪語"]}) == ["悪語"]
    assert found_in("앞나쁜뒤", "ko", {"ko": ["나쁜"]}) == []


def test_entries_are_counted_once_each_whatever_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest entry at a place counts; entries beyond one expression are looked for as well."""
    monkeypatch.setattr(bad_words, "TOGETHER", 2)
    entries = ["Bad", "bad word", "worse", "worst", "+++"]
    text = "Bad word, bad WORD; worst of all, and bad. +++"
    assert found_in(text, "en", {"en": entries}) == ["+++", "bad", "bad word", "worst"]


def test_unpaired_surrogates_do_no_harm() -> None:
    """Arrow's texts have none, but lower case must not make any, nor an empty column raise."""
    assert find_bad_words(pa.array([], pa.string()), np.array([], str), {"en": make_finder("en", ["a"])}) == []

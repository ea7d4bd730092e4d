"""The table of bits for every code point."""

import pytest

from filters.characters import (
    CLOSERS,
    COMBINING,
    DECIMAL,
    DIGIT,
    LETTER,
    LINE_BREAK,
    LOWER,
    PUNCTUATION,
    SPACE,
    SPACELESS,
    TERMINAL,
    TERMINALS,
    UNMARKED,
    UPPER,
    character_classes,
)

CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]


@pytest.mark.parametrize(
    ("bit", "holds"),
    [
        (SPACE, str.isspace),
        (LETTER, str.isalpha),
        (LOWER, str.islower),
        (UPPER, str.isupper),
        (DIGIT, str.isdigit),
        (DECIMAL, str.isdecimal),
    ],
    ids=["space", "letter", "lower", "upper", "digit", "decimal"],
)
def test_bits_are_what_python_says(bit: int, holds: object) -> None:
    """What str says of a character is what the table says, for every code point there is."""
    classes = character_classes()
    wrong = [c for c in CHARACTERS if bool(classes[ord(c)] & bit) != holds(c)]  # type: ignore[operator]
    assert wrong == []


def test_line_breaks_are_where_splitlines_splits() -> None:
    """A character breaks lines exactly where str.splitlines says so."""
    classes = character_classes()
    wrong = [c for c in CHARACTERS if bool(classes[ord(c)] & LINE_BREAK) != (len(f"a{c}a".splitlines()) == 2)]
    assert wrong == []


@pytest.mark.parametrize("character", "漢のカㄅไລខမབ々〇ー𠀀")
def test_letters_of_spaceless_scripts_are_known(character: str) -> None:
    """One letter of each script, and the marks used like letters."""
    assert character_classes()[ord(character)] & SPACELESS


@pytest.mark.parametrize("character", "aяא한ሀक。、๑1 ")
def test_other_characters_are_not_spaceless(character: str) -> None:
    """Scripts with spaces, punctuation and digits are no words of their own."""
    assert not character_classes()[ord(character)] & SPACELESS


@pytest.mark.parametrize("character", "िा్ัំ́")
def test_vowel_signs_are_no_punctuation(character: str) -> None:
    """Signs written on a letter belong to the word."""
    classes = character_classes()[ord(character)]
    assert classes & COMBINING
    assert not classes & PUNCTUATION


def test_end_marks_are_punctuation() -> None:
    """What ends a sentence, or closes after it, is punctuation, but for ShanThai's letter-like signs."""
    classes = character_classes()
    assert all(classes[ord(mark)] & PUNCTUATION for mark in TERMINALS + CLOSERS)
    assert all(classes[ord(mark)] & TERMINAL for mark in TERMINALS)


def test_thai_and_lao_have_no_end_mark() -> None:
    """Their letters are marked, Khmer's and Chinese's, which end sentences with a mark, are not."""
    classes = character_classes()
    assert [bool(classes[ord(letter)] & UNMARKED) for letter in "ไລខ漢a"] == [True, True, False, False, False]

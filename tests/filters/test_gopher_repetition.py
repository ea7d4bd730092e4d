"""Gopher's repetition signals against a slow reference, and every rule with a text."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.characters import SPACELESS, character_classes
from filters.gopher_repetition import FAMILY, RULES, measure
from filters.passage import Passage, read_passage
from filters.rules import judge

ALPHABET = "ab \n漢"
TEXT = st.text(st.sampled_from(ALPHABET), max_size=80) | st.text(max_size=40)
FRODO = "I wish it need not have happened in my time, said Frodo. So do I, said Gandalf, and so do all who live."


def passage_of(texts: Sequence[str], language: str = "en") -> Passage:
    """Make a passage in one language."""
    return read_passage(pa.array(texts, pa.string()), np.array([language] * len(texts), dtype=str))


def duplicates(parts: list[str], characters: int) -> tuple[float, float]:
    """Return the fraction of parts that came before, and of characters in them."""
    parts = [part for part in parts if part.strip()]
    repeated = [part for i, part in enumerate(parts) if part in parts[:i]]
    return len(repeated) / max(1, len(parts)), sum(map(len, repeated)) / characters


def top_gram(words: list[str], spaced: list[bool], n: int) -> int:
    """Return occurrences times length of the most frequent n words, 0 where they occur once."""
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    gram, count = Counter(grams).most_common(1)[0] if grams else ((), 0)
    place = grams.index(gram) if count > 1 else 0
    return count * (len("".join(gram)) + sum(spaced[place : place + n - 1])) if count > 1 else 0


def repeating_grams(words: list[str], n: int) -> int:
    """Return the characters in n words that came before, read from left to right without overlap."""
    seen, total, i = set(), 0, 0
    while i + n <= len(words):
        gram = tuple(words[i : i + n])
        if gram in seen:
            total += len("".join(gram))
            i += n
        else:
            seen.add(gram)
            i += 1
    return total


def reference(passage: Passage, document: int, text: str) -> dict[str, float]:
    """Measure one text by the definitions."""
    if not text:
        return dict.fromkeys((signal.name for signal in FAMILY.signals), 0.0)
    words, (a, b) = passage.words, passage.words.first[document : document + 2]
    found = [words.data[words.start[w] : words.end[w]].tobytes().decode() for w in range(a, b)]
    spaced = [bool(words.start[w + 1] > words.end[w]) for w in range(a, b - 1)]
    values = [
        *duplicates(re.split(r"\n{2,}", text.strip()), len(text)),
        *duplicates(re.split(r"\n+", text), len(text)),
    ]
    values += [top_gram(found, spaced, n) / len(text) for n in (2, 3, 4)]
    letters = sum(bool(character_classes()[ord(word[0])] & SPACELESS) for word in found)
    lengths = [np.nan] * 5 + [20] if 2 * letters > len(found) else [5, 6, 7, 8, 9, 10]
    values += [np.nan if np.isnan(n) else repeating_grams(found, int(n)) / len(text) for n in lengths]
    return {signal.name: np.minimum(1, value) for signal, value in zip(FAMILY.signals, values, strict=True)}


def first_reason(text: str, language: str = "en") -> str | None:
    """Return why the family's own rules reject a text."""
    passage = passage_of([text], language)
    rule = judge(RULES, measure(passage).signals, passage.languages).rule[0]
    return None if rule < 0 else RULES[rule].reason


@given(st.lists(TEXT, max_size=4))
@settings(deadline=None)
def test_measurements_equal_the_reference(texts: list[str]) -> None:
    """Every signal of every string; the short alphabet makes n-grams of all lengths repeat."""
    passage = passage_of(texts)
    signals = measure(passage).signals
    for document, text in enumerate(texts):
        measured = {name: values[document] for name, values in signals.items()}
        assert measured == pytest.approx(reference(passage, document, text), nan_ok=True)


def test_letters_that_are_words_repeat_by_twenty() -> None:
    """A clause of twelve letters comes back in any legal text; twenty-four are a copy, of which twenty count."""
    clause, others = "すべて人は自由であり平等", [chr(0x4E00 + i) for i in range(132)]
    for part, share in ((clause, 0.0), (clause + clause[::-1], 20 / (132 + 2 * 24))):
        text = part + "".join(others[:66]) + part + "".join(others[66:])
        found = measure(passage_of([text], "ja")).signals["duplicate_10_grams"][0]
        assert found == pytest.approx(share)


def test_signals_are_those_declared() -> None:
    """Names, order, kinds and ranges."""
    signals = measure(passage_of(["", FRODO, "a " * 50])).signals
    assert list(signals) == [signal.name for signal in FAMILY.signals]
    for signal in FAMILY.signals:
        assert signals[signal.name].dtype == np.float64
        assert np.all((signals[signal.name] >= signal.lowest) & (signals[signal.name] <= signal.highest))


DISTINCT = "The sun rose.\nBirds sang all day.\nNight came again.\n"
WORDS = [f"w{i:03}" for i in range(200)]


def gram_text(n: int, distinct: int) -> str:
    """Return a text that says one n-gram twice, with distinct words around it."""
    gram = [f"repeated{i}" for i in range(n)]
    return " ".join([*gram, *WORDS[: distinct // 2], *gram, *WORDS[distinct // 2 : distinct]])


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("duplicate_paragraphs", "I am your father.\n\n" * 4),
        ("duplicate_paragraph_characters", DISTINCT.replace("\n", "\n\n") + ("x" * 30 + ".\n\n") * 2),
        ("duplicate_lines", "I am your father.\n" * 4),
        ("duplicate_line_characters", DISTINCT + ("x" * 40 + ".\n") * 2),
        ("top_2_gram", "I am Frank, I am Frank, I am Frank"),
        (
            "top_3_gram",
            "I am Frank and you are John, I am Frank and so be it, I am Frank " + " ".join(WORDS[:15]),
        ),
        (
            "top_4_gram",
            "now say that again " + "one two six ten " * 1 + " ".join(WORDS[:20]) + " now say that again",
        ),
        ("top_4_gram", "I am a solo traveller " * 4 + FRODO),
        (
            "duplicate_5_grams",
            " ".join(WORDS[i] for i in [*range(60), *range(5), 60, *range(10, 15), 61, *range(20, 25)]),
        ),
    ],
)
def test_every_reason_has_a_text(reason: str, text: str) -> None:
    """A text built to break one rule is rejected for it."""
    assert first_reason(text) == reason


@pytest.mark.parametrize("n", range(5, 11))
def test_repeated_grams_are_rejected_by_their_own_length(n: int) -> None:
    """Nine characters a word, twice: just enough distinct words keep the text, a few less do not."""
    rule = next(rule for rule in RULES if rule.reason == f"duplicate_{n}_grams")
    texts = [gram_text(n, distinct) for distinct in range(10, 200)]
    passage = passage_of(texts)
    verdicts = judge([rule], measure(passage).signals, passage.languages).rule
    kept = [9 * n / len(text) <= rule.maximum for text in texts]  # type: ignore[operator]
    assert (verdicts == -1).tolist() == kept
    assert {True, False} == set(kept)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_top_grams_are_rejected_by_their_own_length(n: int) -> None:
    """A gram said twice counts twice, spaces included."""
    rule = next(rule for rule in RULES if rule.reason == f"top_{n}_gram")
    texts = [gram_text(n, distinct) for distinct in range(4, 120)]
    passage = passage_of(texts)
    verdicts = judge([rule], measure(passage).signals, passage.languages).rule
    kept = [2 * (10 * n - 1) / len(text) <= rule.maximum for text in texts]  # type: ignore[operator]
    assert (verdicts == -1).tolist() == kept
    assert {True, False} == set(kept)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.reason)
def test_every_rule_turns_at_its_bound(rule: object) -> None:
    """Equal is kept, the next float above is not."""
    bound = rule.maximum  # type: ignore[attr-defined]
    signals = {rule.signal: np.array([np.nextafter(bound, 0), bound, np.nextafter(bound, 1)])}  # type: ignore[attr-defined]
    assert judge([rule], signals, np.array(["en"] * 3)).rule.tolist() == [-1, -1, 0]  # type: ignore[list-item]


def test_a_top_gram_that_occurs_once_is_no_repetition() -> None:
    """Short clean texts are kept; counting single n-grams rejected them."""
    signals = measure(passage_of(["The quick brown fox jumps over the lazy dog.", "This is a test."])).signals
    assert [signals[f"top_{n}_gram"].tolist() for n in (2, 3, 4)] == [[0, 0]] * 3


def test_blank_lines_repeat_nothing() -> None:
    """Lines of white space are no lines: one of two is a duplicate here, and none of four."""
    signals = measure(passage_of(["\n one \n \n \n one \n \n", "a\n \nb\n \nc\n \nd"])).signals
    assert signals["duplicate_lines"].tolist() == [0.5, 0]


@pytest.mark.parametrize("language", ["en", "zh", "th", "und"])
@pytest.mark.parametrize("unit", ["a ", "word ", "哈", "哈哈哈，", "ก", "का "])
def test_one_unit_repeated_is_rejected(unit: str, language: str) -> None:
    """Whatever the script and whatever language it is taken for."""
    assert first_reason(unit * 200, language) is not None


def test_two_megabytes_of_one_word_are_rejected() -> None:
    """The tables hold a million words of one text."""
    assert first_reason("a " * 1_000_000) == "top_2_gram"
    assert first_reason("a" * 2_000_000) is None


def test_slices_measure_like_whole_arrays() -> None:
    """Rows before and after a slice change nothing."""
    texts = pa.array(["before", FRODO * 2, "漢字漢字。", "after"])
    whole = measure(read_passage(texts, np.array(["en"] * 4))).signals
    part = measure(read_passage(texts.slice(1, 2), np.array(["en"] * 2))).signals
    for name, values in part.items():
        np.testing.assert_array_equal(values, whole[name][1:3])

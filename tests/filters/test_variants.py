"""The datatrove variants against slow references of what datatrove's documentation and code define."""

import re
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.characters import DATATROVE_PUNCTUATION, DATATROVE_TERMINAL, character_classes
from filters.families import find_family
from filters.passage import read_passage
from filters.stop_words import STOP_WORDS

ALPHABET = "ab the.…•-#!。\n \r\u2028\u3000漢１é"
TEXTS = st.lists(
    st.text(st.sampled_from("ab \n"), max_size=60)
    | st.text(st.sampled_from(ALPHABET), max_size=60)
    | st.text(max_size=30),
    min_size=1,
    max_size=4,
)


def has(character: str, bit: int) -> bool:
    """Tell whether a character has a bit."""
    return bool(character_classes()[ord(character)] & bit)


def repeated(parts: list[str]) -> tuple[float, int]:
    """Return the fraction of parts that came before, and their characters."""
    again = [part for i, part in enumerate(parts) if part in parts[:i]]
    return len(again) / len(parts), sum(map(len, again))


def top(words: list[str], n: int) -> int:
    """Return length times count of the most frequent n words, joined by spaces; the first of equals."""
    grams = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
    gram, count = Counter(grams).most_common(1)[0] if grams else ("", 0)
    return len(gram) * count


def joined(words: list[str], n: int) -> int:
    """Return the characters of n words, joined by nothing, that came before, without overlap."""
    seen, total, i = set(), 0, 0
    while i + n <= len(words):
        gram = "".join(words[i : i + n])
        total += len(gram) * (gram in seen)
        i += n if gram in seen else 1
        seen.add(gram)
    return total


def repetition(text: str) -> list[float]:
    """Return the fourteen signals of repetition."""
    words, characters = text.split(), max(1, len(text))
    values = []
    for parts in (re.split(r"\n{2,}", text.strip()), re.split(r"\n+", text)):
        fraction, length = repeated(parts)
        values += [fraction, length / characters]
    values += [top(words, n) / characters for n in (2, 3, 4)]
    values += [joined(words, n) / characters for n in range(5, 11)]
    return [len(text), *values]


def quality(text: str) -> list[float]:
    """Return the eight signals of quality."""
    words, lines = text.split(), text.splitlines()
    proper = [word for word in words if not all(has(c, DATATROVE_PUNCTUATION) for c in word)]
    return [
        len(proper),
        sum(map(len, proper)) / len(proper) if proper else np.nan,
        min(1, text.count("#") / max(1, len(words))),
        min(1, (text.count("...") + text.count("…")) / max(1, len(words))),
        sum(line.lstrip().startswith(("•", "-")) for line in lines) / max(1, len(lines)),
        sum(line.rstrip().endswith(("...", "…")) for line in lines) / max(1, len(lines)),
        sum(any(c.isalpha() for c in word) for word in words) / max(1, len(words)),
        len(set(words) & set(STOP_WORDS["en"])),
    ]


def fineweb(text: str) -> list[float]:
    """Return the five signals of FineWeb."""
    lines = [line for line in text.split("\n") if line.strip()]
    again = [line for i, line in enumerate(lines) if line in lines[:i]]
    return [
        len(lines),
        sum(has(line[-1], DATATROVE_TERMINAL) for line in lines) / len(lines) if lines else np.nan,
        sum(len(line) <= 30 for line in lines) / max(1, len(lines)),
        sum(map(len, again)) / max(1, len(text.replace("\n", ""))),
        text.count("\n") / max(1, len(text.split())),
    ]


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("gopher_repetition@datatrove", repetition),
        ("gopher_quality@datatrove", quality),
        ("fineweb@datatrove", fineweb),
    ],
)
@given(texts=TEXTS)
@settings(deadline=None)
def test_variants_measure_what_datatrove_does(name: str, reference: object, texts: list[str]) -> None:
    """Every signal of every string, blank lines, single and joined n-grams included."""
    signals = find_family(name).measure(read_passage(pa.array(texts), np.array(["en"] * len(texts)))).signals
    for document, text in enumerate(texts):
        measured = [values[document] for values in signals.values()]
        assert measured == pytest.approx(reference(text), nan_ok=True)  # type: ignore[operator]


def test_joined_words_repeat_across_their_boundaries() -> None:
    """Ten letters cut in two ways are one n-gram where words are joined, and two where they are not."""
    text = "ab c de f g " + "one two three four " + "a bc d ef g"
    passage = read_passage(pa.array([text]), np.array(["en"]))
    assert find_family("gopher_repetition@datatrove").measure(passage).signals["duplicate_5_grams"][0] > 0
    assert find_family("gopher_repetition").measure(passage).signals["duplicate_5_grams"][0] == 0


def test_datatrove_s_marks_are_as_many() -> None:
    """159 end a line and 281 are punctuation in version 0.10.1."""
    classes = character_classes()
    assert np.count_nonzero(classes & DATATROVE_TERMINAL) == 159
    assert np.count_nonzero(classes & DATATROVE_PUNCTUATION) == 281

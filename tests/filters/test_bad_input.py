"""Whatever the text, every family, model and search has an answer, which no neighbour in the batch changes."""

import time
from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filters import urls
from filters.arrow_text import string_array, text_buffers
from filters.contamination import build_index, find_overlap
from filters.edits import edit
from filters.families import FAMILIES
from filters.fasttext_network import Classifier, predict_label
from filters.language import default_model_path, identify, load
from filters.passage import read_passage
from filters.pii import KINDS, find_spans, mask
from filters.rules import Family, judge
from tests.filters.networks import CLASSIFIERS

VARIANTS = {f"{name}@{variant}": family for name, variants in FAMILIES.items() for variant, family in variants.items()}
PLANES = "".join(chr(plane << 16 | low) for plane in range(17) for low in (0x20, 0x21, 0xABC, 0xFFFD))
MEGABYTES = 16_000_000
UNITS = ["a", "漢", "\n", ".", "a\n"]
HOSTILE = (  # named, so that they are tried whatever is drawn
    ["", " ", "a", "\n", "\x00", "\ufeff"],
    ["\n" * 1000, "\r\n" * 1000, "\u2028" * 1000],
    ["שלום עולם. " * 20, "مرحبا بالعالم! " * 20, "\u202eabc\u202c. " * 20],
    ["e\u0301" * 500, "\u0301" * 500, "ก็" * 500],
    [PLANES, PLANES * 20, " ".join(PLANES)],
    ["\ud800", "a\udfff", "\udc80.\n", "\ud83d\ude00", "http://\udcff/?%ff", "a\ud800@b.org"],
    ["@" + "ก" * 60 + " ", "ก@" + "क" * 60, "a@" + "é" * 60 + "-.b"],
)
TEXTS = st.lists(st.text(st.characters(exclude_categories=[]), max_size=200), min_size=1, max_size=4)
LANGUAGES = st.sampled_from(["en", "ar", "zh", "th", "und"])
LISTS = urls.UrlLists(
    blocked_domains=urls.hash_table(["bad.example"]),
    blocked_urls=urls.hash_table(["mixed.example/bad"]),
    blocked_words=frozenset({"casino"}),
    blocked_parts=("hotgirl",),
)
INDEX = build_index([("set", ["a b c d e f g h", "漢字漢字漢字漢字", ""])], 4, 2)


Reading = Callable[[pa.Array], list[object]]  # what something answers to each text of a column, to be compared
model = cache(load)


def answers_of_urls(texts: pa.Array) -> list[object]:
    """Return the signals and entries of texts taken for addresses."""
    signals, entries = urls.measure(texts.to_pylist(), LISTS)
    rows = zip(*(np.nan_to_num(values, nan=-1).tolist() for values in signals.values()), strict=True)
    return list(zip(rows, entries, strict=True))


def answers_of_pii(texts: pa.Array) -> list[object]:
    """Return the spans, which must be of whole characters, and the masked texts."""
    spans = find_spans(texts, KINDS, ("US", "DE", "CN"))
    for text, some in zip(texts.to_pylist(), spans, strict=True):
        assert all(text.encode()[span.start : span.end].decode() for span in some)
    return list(zip(spans, mask(texts, KINDS, ("US",))[0].to_pylist(), strict=True))


def answers_of(classifier: Classifier, texts: pa.Array) -> list[object]:
    """Return the probability of every label."""
    found = [predict_label(classifier.network, *text_buffers(texts), label) for label in range(3)]
    assert all(np.all((values >= 0) & (values <= 1)) for values in found)
    return list(zip(*(values.tolist() for values in found), strict=True))


def answers_of_language(texts: pa.Array) -> list[object]:
    """Return languages, probabilities, and the share of the likeliest, which lies between 0 and 1 or is none."""
    found = identify(model(default_model_path()), texts)
    shares, languages = np.nan_to_num(found.share, nan=-1), np.nan_to_num(found.languages, nan=-1)
    assert np.all((shares == -1) | ((shares >= 0) & (shares <= 1)))
    assert np.all(np.isnan(found.share) == np.isnan(found.languages))
    columns = (found.language.to_pylist(), found.probability.tolist(), shares.tolist(), languages.tolist())
    return list(zip(*columns, strict=True))


def answers_of_contamination(texts: pa.Array) -> list[object]:
    """Return matches, share and n-gram."""
    found = find_overlap(INDEX, texts)
    assert np.all((found.share >= 0) & (found.share <= 1))
    return list(zip(found.matches.tolist(), found.share.tolist(), found.ngram.to_pylist(), strict=True))


READINGS: dict[str, Reading] = {
    "url": answers_of_urls,
    "pii": answers_of_pii,
    "language": answers_of_language,
    "decontaminate": answers_of_contamination,
    "edits": lambda texts: edit(texts)[0].to_pylist(),
    **{name: partial(answers_of, classifier) for name, classifier in CLASSIFIERS.items()},
}


def verdict(family: Family, texts: list[str], language: str) -> list[int]:
    """Return which rule every text breaks, -1 for none."""
    passage = read_passage(string_array(texts), np.array([language] * len(texts)))
    return judge(family.rules, family.measure(passage).signals, passage.languages).rule.tolist()


@pytest.mark.parametrize("family", VARIANTS.values(), ids=VARIANTS)
@given(texts=TEXTS, language=LANGUAGES)
@settings(deadline=None)
@example(texts=HOSTILE[0], language="en")
@example(texts=HOSTILE[1], language="en")
@example(texts=HOSTILE[2], language="ar")
@example(texts=HOSTILE[3], language="th")
@example(texts=HOSTILE[4], language="und")
@example(texts=HOSTILE[5], language="en")
@example(texts=HOSTILE[6], language="th")
def test_every_text_has_a_verdict(family: Family, texts: list[str], language: str) -> None:
    """Empty, one character, line feeds only, right to left, marks, every plane, surrogates; alone or in a batch."""
    rules = verdict(family, texts, language)
    assert all(-1 <= rule < len(family.rules) for rule in rules)
    assert [rule for text in texts for rule in verdict(family, [text], language)] == rules


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
@given(texts=TEXTS)
@settings(deadline=None)
@example(texts=HOSTILE[0])
@example(texts=HOSTILE[1])
@example(texts=HOSTILE[2])
@example(texts=HOSTILE[3])
@example(texts=HOSTILE[4])
@example(texts=HOSTILE[5])
@example(texts=HOSTILE[6])
def test_every_text_has_an_answer(reading: Reading, texts: list[str]) -> None:
    """The same of addresses, personal data, models, evaluation sets and edits."""
    column = string_array(texts)
    together = reading(column)
    assert [answer for row in range(len(column)) for answer in reading(column.slice(row, 1))] == together


@pytest.mark.parametrize("family", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("unit", UNITS)
def test_sixteen_megabytes_have_a_verdict(family: Family, unit: str) -> None:
    """Without a space, or with line feeds only, in a time that grows with the length."""
    assert_linear_time(lambda text: verdict(family, [text], "en"), unit)


def assert_linear_time(reading: Callable[[str], Sequence[object]], unit: str) -> None:
    """Read a quarter of the megabytes, then all: four times as much takes at most twelve times as long."""
    seconds = []
    for size in (MEGABYTES // 4, MEGABYTES):
        text = unit * (size // len(unit.encode()))
        began = time.process_time()
        assert len(reading(text)) == 1
        seconds.append(time.process_time() - began)
    assert seconds[1] < 12 * max(seconds[0], 0.2)


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
@pytest.mark.parametrize("unit", ["a", "漢", "\n", "1 "])
def test_sixteen_megabytes_have_an_answer(reading: Reading, unit: str) -> None:
    """The same of addresses, personal data, models, evaluation sets and edits."""
    assert_linear_time(lambda text: reading(string_array([text])), unit)


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\udc80.\n"])
def test_unpaired_surrogates_are_replaced(text: str) -> None:
    """A column of texts cannot hold them: Arrow refuses them, and they are read as U+FFFD."""
    with pytest.raises(UnicodeEncodeError):
        pa.array([text], pa.string())
    assert string_array([text, "é\ud83d\ude00", "\ufeff"]).to_pylist()[1:] == ["é😀", "\ufeff"]
    assert string_array([text])[0].as_py() == "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)

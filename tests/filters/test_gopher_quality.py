"""Gopher's quality signals against a slow reference, and every rule around its bound."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.characters import PUNCTUATION, SPACELESS, character_classes
from filters.families import find_family
from filters.gopher_quality import FAMILY, RULES, measure
from filters.passage import Passage, read_passage
from filters.rules import judge
from filters.stop_words import STOP_WORDS

ALPHABET = "ab the.…•-# \n\r\u2028\u3000漢。ไัहिं1é"
TEXT = st.text(st.sampled_from(ALPHABET), max_size=80) | st.text(max_size=40)
FRODO = "The Ring was with Frodo, and he knew that it had to be taken to the fire, the worst of all perils."


def passage_of(texts: Sequence[str], language: str = "en") -> Passage:
    """Make a passage in one language."""
    return read_passage(pa.array(texts, pa.string()), np.array([language] * len(texts), dtype=str))


def words_of(passage: Passage, document: int) -> list[tuple[str, bool]]:
    """Return a document's words, and whether each touches the one before or after it."""
    words, (a, b) = passage.words, passage.words.first[document : document + 2]
    touching = words.start[a + 1 : b] == words.end[a : b - 1] if b > a else np.zeros(0, bool)
    glued = np.r_[False, touching] | np.r_[touching, False]
    texts = [words.data[words.start[w] : words.end[w]].tobytes().decode() for w in range(a, b)]
    return list(zip(texts, glued.tolist(), strict=False))


def has(word: str, bit: int) -> list[bool]:
    """Tell for every character of a word whether it has a bit."""
    return [bool(character_classes()[ord(character)] & bit) for character in word]


def reference(passage: Passage, document: int, text: str) -> dict[str, float]:
    """Measure one text by the definitions, with Python's own string methods."""
    words = [word for word, glued in words_of(passage, document) if not (glued and all(has(word, PUNCTUATION)))]
    proper = [word for word in words if not all(has(word, PUNCTUATION))]
    spaced = [word for word in proper if not has(word, SPACELESS)[0]]
    letters = sum(has(word, SPACELESS)[0] for word, _ in words_of(passage, document))
    lengths = [len(word.replace("\xad", "")) for word in spaced]
    measurable = spaced and 2 * letters <= len(words_of(passage, document))
    lines = text.splitlines()
    listed = STOP_WORDS.get(str(passage.languages[document]))
    return {
        "words": len(proper),
        "mean_word_length": sum(lengths) / len(lengths) if measurable else np.nan,
        "hashes_per_word": min(1, text.count("#") / max(1, len(words))),
        "ellipses_per_word": min(1, (text.count("...") + text.count("…")) / max(1, len(words))),
        "bullet_lines": sum(line.lstrip().startswith(("•", "-")) for line in lines) / max(1, len(lines)),
        "ellipsis_lines": sum(line.rstrip().endswith(("...", "…")) for line in lines) / max(1, len(lines)),
        "alphabetic_words": sum(any(c.isalpha() for c in w) for w in words) / max(1, len(words)),
        "stop_words": len(set(words) & set(listed)) if listed else np.nan,
    }


def test_a_soft_hyphen_has_no_length() -> None:
    """It shows only where a line is broken there; datatrove counts it."""
    plain, hyphenated = "Donau dampf schiff fahrt " * 20, "Do\xadnau dampf schi\xad\xadff fahrt " * 20
    for name, difference in (("gopher_quality", 0), ("gopher_quality@datatrove", 3 / 4)):
        lengths = find_family(name).measure(passage_of([plain, hyphenated], "de")).signals["mean_word_length"]
        assert lengths[1] - lengths[0] == difference


def first_reason(text: str, language: str = "en") -> str | None:
    """Return why the family's own rules reject a text."""
    passage = passage_of([text], language)
    rule = judge(RULES, measure(passage).signals, passage.languages).rule[0]
    return None if rule < 0 else RULES[rule].reason


@given(st.lists(TEXT, max_size=4), st.sampled_from(["en", "zh", "xx"]))
@settings(deadline=None)
def test_measurements_equal_the_reference(texts: list[str], language: str) -> None:
    """Every signal of every string, in a language with spaces, one without, and one without stop words."""
    passage = passage_of(texts, language)
    signals = measure(passage).signals
    for document, text in enumerate(texts):
        measured = {name: values[document] for name, values in signals.items()}
        assert measured == pytest.approx(reference(passage, document, text), nan_ok=True)


def test_signals_are_those_declared() -> None:
    """Names, order, kinds and ranges."""
    signals = measure(passage_of(["", FRODO, "# ... -\n漢字。"])).signals
    assert list(signals) == [signal.name for signal in FAMILY.signals]
    for signal in FAMILY.signals:
        assert signals[signal.name].dtype == (np.int64 if signal.whole else np.float64)
        measured = signals[signal.name][~np.isnan(signals[signal.name])]
        assert np.all((measured >= signal.lowest) & (measured <= signal.highest))


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("too_few_words", "I am too small..."),
        ("too_few_words", ""),
        ("too_many_words", "the and " * 50_001),
        ("words_too_short", "I am " * 30),
        ("words_too_long", "interconnection " * 60),
        ("too_many_hashes", "# comment " * 60),
        ("too_many_ellipses", "... comment " * 60),
        ("too_many_bullets", "- one more good item\n" * 20),
        ("too_many_lines_end_in_ellipsis", "one more good item of the and another one of the sort...\n" * 20),
        ("too_few_alphabetic_words", "word 100 200 " * 30),
        ("too_few_stop_words", "word words wordy " * 30),
    ],
)
def test_every_reason_has_a_text(reason: str, text: str) -> None:
    """A text built to break one rule is rejected for it."""
    assert first_reason(text) == reason


def test_running_text_is_kept() -> None:
    """Three sentences' worth of English break no rule."""
    assert first_reason(FRODO * 3) is None


@pytest.mark.parametrize(
    ("reason", "at", "beyond"),
    [
        ("too_few_words", "the and " * 25, "the and " * 24 + "the"),
        ("too_many_words", "the and " * 50_000, "the and " * 50_000 + "the"),
        ("words_too_short", "and the " * 30, "and the " * 30 + "to"),
        (
            "words_too_long",
            ("the and " + "a" * 17 + " " + "b" * 17 + " ") * 15,
            "the and " + ("a" * 11 + " ") * 200,
        ),
        (
            "too_many_hashes",
            ("the and " + "word " * 8 + "\n") * 10 + "#" * 10,
            ("the and " + "word " * 7) * 10 + "#" * 10,
        ),
        (
            "too_many_bullets",
            "- the and one two six\n" * 9 + "the and one two six\n",
            "- the and one two six\n" * 10,
        ),
    ],
)
def test_the_bound_itself_is_kept(reason: str, at: str, beyond: str) -> None:
    """A text exactly at the bound passes the rule, one just beyond it does not."""
    rules = [rule for rule in RULES if rule.reason == reason]
    passage = passage_of([at, beyond])
    assert judge(rules, measure(passage).signals, passage.languages).rule.tolist() == [-1, 0]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.reason)
def test_every_rule_turns_at_its_bound(rule: object) -> None:
    """The stored number decides: equal is kept, the next float on the wrong side is not."""
    bound = rule.minimum if rule.maximum is None else rule.maximum  # type: ignore[attr-defined]
    wrong = np.nextafter(bound, -np.inf if rule.maximum is None else np.inf)  # type: ignore[attr-defined]
    right = np.nextafter(bound, np.inf if rule.maximum is None else -np.inf)  # type: ignore[attr-defined]
    signals = {rule.signal: np.array([wrong, bound, right])}  # type: ignore[attr-defined]
    assert judge([rule], signals, np.array(["en"] * 3)).rule.tolist() == [0, -1, -1]  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        (
            "zh",
            "我们今天在北京的一家小店里吃了早饭，然后去了公园。那里的人很多，有老人也有孩子，大家都很高兴。下午我们回家了，晚上又看了一场电影。",
        ),
        (
            "ja",
            "今日は天気がとても良いので、友達と一緒に公園へ行きました。そこで昼ご飯を食べて、夕方まで話をしていました。それから家に帰りました。",
        ),
        ("th", "วันนี้อากาศดีมากเราจึงไปเที่ยวสวนสาธารณะกับเพื่อนและกินข้าวกลางวันที่นั่นจนถึงเย็นแล้วกลับบ้าน"),
        ("hi", "आज का मौसम बहुत अच्छा है और हम सब लोग पार्क में घूमने के लिए गए थे। " * 4),
        ("ko", "나는 그 날 집에 있었다. " * 13),
        ("am", "ዛሬ የአየሩ ሁኔታ በጣም ጥሩ ነው። እኛም ወደ መናፈሻ ሄድን። " * 6),
    ],
)
def test_ordinary_text_of_other_languages_is_kept(language: str, text: str) -> None:
    """No rule takes a script's way of writing for bad quality."""
    assert first_reason(text, language) is None


def test_stop_words_are_the_language_s_own() -> None:
    """A list is read with its own language only, and a language without one is not measured."""
    languages = np.array(["de", "en", "xx"])
    passage = read_passage(pa.array(["der die das"] * 3), languages)
    assert measure(passage).signals["stop_words"].tolist()[:2] == [3, 0]
    assert np.isnan(measure(passage).signals["stop_words"][2])


@pytest.mark.parametrize("word", ["a", "word ", "漢", "# ", "... ", "\n"])
def test_two_megabytes_of_one_word_are_measured(word: str) -> None:
    """Long uniform texts neither raise nor are kept."""
    assert first_reason(word * (2_000_000 // len(word.encode())), "zh") is not None


def test_slices_measure_like_whole_arrays() -> None:
    """Rows before and after a slice change nothing."""
    texts = pa.array(["before", FRODO, "漢字。", "after"])
    whole = measure(read_passage(texts, np.array(["en"] * 4))).signals
    part = measure(read_passage(texts.slice(1, 2), np.array(["en"] * 2))).signals
    for name, values in part.items():
        np.testing.assert_array_equal(values, whole[name][1:3])

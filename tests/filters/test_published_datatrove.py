"""The cases that datatrove publishes for its filters, formatters and texts, on what we have for them.

Words are str.split's. Where a case needs prose, the prose is ours and of about the same length.

| datatrove, tests/pipeline | here |
|---|---|
| filters/test_filters.py, gopher_repetition, rejects_empty_doc | test_datatrove_gopher_repetition |
| gopher_quality | test_datatrove_gopher_quality |
| TestC4QualityFilter | test_datatrove_c4_quality, test_datatrove_c4_removes_policy_lines |
| TestC4ParagraphFilter | test_datatrove_c4_paragraph |
| TestFineWebQualityFilter | test_datatrove_fineweb_quality |
| language | tests/pipeline/test_published_datatrove.py |
| TestSamplerFilter, TestBaseFilterRunPipeline | tests/pipeline/test_published_datatrove.py |
| test_symbollines.py | test_datatrove_symbol_lines |
| filters/test_formatters.py, FTFY | test_datatrove_ftfy; for entities tests/pipeline/test_published_datatrove.py |
| text/test_text.py | test_datatrove_punctuation; for the table tests/pipeline/test_published_datatrove.py |
| filters/test_filters.py, lambda, regex, unigram, url | not listed; tests/pipeline/test_own_filters.py, test_urls.py |
| filters/test_formatters.py, BaseFormatter | plumbing of its own that has no counterpart |

The measurements are those of the reference's table of disagreements, taken by running datatrove.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pytest

from filters.characters import DATATROVE_PUNCTUATION, character_classes
from filters.edits import edit
from filters.families import find_family
from filters.ngrams import measure_ngrams
from filters.passage import read_passage
from filters.rules import judge, with_bounds

PROSE = (
    "I wanted to go by sea in the spring, the captain told his crew, but the ice kept us waiting and so we have to "
    "walk. Nobody of us was asked whether he liked it. What we can choose is how we spend the days that are left until "
    "the boats come."
)
DISTINCT = ("I am a tree.", "You are a teacher.", "We are both late.")


def reason_of(text: str, name: str, bounds: Mapping[str, Mapping[str, object]] | None = None) -> str | None:
    """Return why a variant, with some bounds changed, rejects an English text."""
    family = with_bounds(find_family(name), bounds or {})
    passage = read_passage(pa.array([text]), np.array(["en"]))
    rule = judge(family.rules, family.measure(passage).signals, passage.languages).rule[0]
    return None if rule < 0 else family.rules[rule].reason


def signal_of(text: str, name: str, signal: str) -> float:
    """Return one signal of one text."""
    passage = read_passage(pa.array([text]), np.array(["en"]))
    return float(find_family(name).measure(passage).signals[signal][0])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I am your father.\n" * 4, "duplicate_lines"),  # dup_line_frac
        ("I am your father.\n\n" * 4, "duplicate_paragraphs"),  # dup_para_frac
        ("\n\n".join([*DISTINCT, *["x" * 30 + "."] * 2, ""]), "duplicate_paragraph_characters"),  # dup_para_char_frac
        ("\n".join([*DISTINCT, *["x" * 40 + "."] * 2, ""]), "duplicate_line_characters"),  # dup_line_char_frac
        ("I am Frank, I am Frank, I am Frank", "top_2_gram"),
        ("I am Frank, you are Jhon. I am Frank. I am Frank you are Jhon", "top_3_gram"),
        ("I am a solo traveller " * 4 + PROSE, "duplicate_5_grams"),  # duplicated_5_n_grams
        ("", "no_characters"),  # empty
    ],
)
def test_datatrove_gopher_repetition(text: str, reason: str) -> None:
    """One text for every kind of repetition, at the default thresholds."""
    assert reason_of(text, "gopher_repetition@datatrove") == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I am too small...", "too_few_words"),  # gopher_short_doc
        ("I am " * 20, "words_too_short"),  # gopher_below_avg_threshold
        ("interconnection " * 20, "words_too_long"),  # gopher_above_avg_threshold
        ("# comment " * 20, "too_many_hashes"),  # gopher_too_many_hashes
        ("... comment " * 20, "too_many_ellipses"),  # gopher_too_many_ellipsis
        ("the ./!*?<><> pear <?////> plum  ++ interconnection !<>??? have" * 20, "too_few_alphabetic_words"),
        (PROSE, None),
    ],
)
def test_datatrove_gopher_quality(text: str, reason: str | None) -> None:
    """With 10 to 1,000 words, as the case has it."""
    bounds = {"words": {"min": 10, "max": 1000}}
    assert reason_of(text, "gopher_quality@datatrove", bounds) == reason


SENTENCES = [
    "This is a line of prose that says something.",
    "The next one goes on with what the first began.",
    "Another thought is added in the third.",
    "It is not the last one that we need here.",
    "With the fifth the page has enough of them.",
    "And one more does no harm to anybody.",
]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (SENTENCES, None),
        (["This is a sentence with lorem ipsum in it.", *SENTENCES[:4]], "lorem_ipsum"),
        (["This is some code with a { bracket.", *SENTENCES[:4]], "curly_bracket"),
        (["Just one sentence."], "too_few_sentences"),
        (SENTENCES[:4], "too_few_sentences"),
    ],
)
def test_datatrove_c4_quality(lines: list[str], reason: str | None) -> None:
    """Five sentences make a page there; filler and brackets reject it."""
    assert reason_of("\n".join(lines), "c4@datatrove") == reason


def test_datatrove_c4_removes_policy_lines() -> None:
    """The other line stays."""
    texts = pa.array(["This site uses cookies for tracking.\nAnother valid line here today."])
    measured = find_family("c4@datatrove").measure(read_passage(texts, np.array(["en"])))
    assert measured.texts is not None
    assert measured.texts.to_pylist() == ["Another valid line here today."]


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("only three words.", True),
        ("two words.", False),
        ("two words [1].", True),
        ("he said 'three words'", True),
        ("one two three four five。", False),
        ("one two three four five.”", False),
        ("one two three four five...", False),
        ("one, two: three four five. Then six. Then seven. Then eight and", False),
    ],
)
def test_datatrove_c4_lines(line: str, kept: bool) -> None:
    """Three words before citations are cut, five ASCII end marks, whole lines."""
    assert signal_of(line, "c4@datatrove", "kept_lines") == kept


@pytest.mark.parametrize(("line", "reason"), [("x" * 250, None), ("short", "too_few_long_lines")])
def test_datatrove_c4_paragraph(line: str, reason: str | None) -> None:
    """Three lines, long or short."""
    assert reason_of("\n".join([line] * 3), "mc4") == reason


LONG_LINES = "\n".join(f"{sentence} It is long enough not to be short, too." for sentence in SENTENCES)


@pytest.mark.parametrize(
    ("text", "bounds", "reason"),
    [
        ("", {}, "no_lines"),  # empty
        (
            "No punctuation here\nAnother line without any\nStill nothing",
            {"ended_lines": {"min": 0.5}},
            "too_few_ended_lines",
        ),
        (
            "hi.\nbye.\nok.\nno.\nyes.",
            {"ended_lines": {"min": 0}, "short_lines": {"max": 0.5}},
            "too_many_short_lines",
        ),
        (LONG_LINES, {}, None),
        ("\n".join(["a"] * 50), {"line_feeds_per_word": {"max": 0.1}}, "too_few_ended_lines"),
    ],
)
def test_datatrove_fineweb_quality(text: str, bounds: dict[str, dict[str, object]], reason: str | None) -> None:
    """The cases with their own thresholds."""
    assert reason_of(text, "fineweb@datatrove", bounds) == reason


@pytest.mark.parametrize(
    ("text", "signal", "value"),
    [
        ("Hello, World.\nHello, World.\n\nHello", "duplicate_lines", 0.333),
        ("Hello, World.\nHello, World.\n\nHello", "duplicate_line_characters", 0.382),
        ("hello world hello world hello world", "top_4_gram", 1.314),
        ("The quick brown fox jumps over the lazy dog.", "top_2_gram", 0.205),
        ("I am your father.\n" * 4, "duplicate_lines", 0.6),
        ("I am your father.\n" * 4, "top_2_gram", 0.222),
        (
            "hello world hello\n world hello. apple world hello world hello world hello world",
            "duplicate_5_grams",
            0.316,
        ),
    ],
)
def test_datatrove_repetition_measurements(text: str, signal: str, value: float) -> None:
    """Numbers that datatrove gives where other implementations give others, also above 1, with white-space words."""
    assert signal_of(text, "gopher_repetition@datatrove", signal) == pytest.approx(value, abs=6e-4)


def test_datatrove_measures_with_its_own_words() -> None:
    """Its words are spaCy's, to which the full stop is one: 0.933, where str.split's four words are all of the text."""
    words = [(0, 4), (5, 7), (8, 9), (10, 14), (14, 15)]  # of "This is a test."
    start, end = (np.array([word[side] for word in words]) for side in (0, 1))
    characters = np.zeros((1, 9))
    hashes = np.arange(len(words), dtype=np.uint64)
    measure_ngrams(np.array([0, 5]), start, end, hashes, end - start, np.array([10]), characters, single=True)
    assert characters[0, 2] / 15 == pytest.approx(0.933, abs=6e-4)
    assert signal_of("This is a test.", "gopher_repetition@datatrove", "top_4_gram") == 1


@pytest.mark.parametrize(("variant", "reason"), [("paper", None), ("datatrove", "too_many_duplicate_characters")])
def test_fineweb_paper_and_code_disagree(variant: str, reason: str | None) -> None:
    """Thirty-one ordinary lines with one repeat are kept at the paper's tenth, and rejected at the code's hundredth."""
    lines = [f"This is line {number} of the page, and it says something of its own." for number in range(30)]
    assert reason_of("\n".join([*lines, lines[0]]), f"fineweb@{variant}") == reason


@pytest.mark.parametrize(("bullet", "reason"), [("- ", "too_many_bullets"), ("* ", None), ("• ", "too_many_bullets")])
def test_datatrove_bullets(bullet: str, reason: str | None) -> None:
    """A list of asterisks passes, one of hyphens or bullets fails."""
    assert reason_of(f"{bullet}the good item of that list\n" * 20, "gopher_quality@datatrove") == reason


@pytest.mark.parametrize("text", ["THE BE TO OF AND THAT HAVE WITH " * 10, "the " * 60])
def test_datatrove_stop_words(text: str) -> None:
    """Upper case is no stop word, and one that comes often is one."""
    assert reason_of(text, "gopher_quality@datatrove") == "too_few_stop_words"


def test_datatrove_symbol_lines() -> None:
    """Lines of hyphens and bars go, also at the beginning; blank ones stay, and hyphens beside words."""
    kept = [
        ">> A tall man stands here, No. 7 in his town.",
        "",
        "",
        ">> He is the second of three.",
        "",
        "hello ehehe -",
    ]
    kept += ["- oi mate", "", "bye"]
    text = "\n".join(["-", "-", "-", *kept[:5], "|", "|", "|", kept[5], "|", kept[6], "|", *kept[7:]])
    measured = find_family("symbol_lines@datatrove").measure(read_passage(pa.array([text]), np.array(["en"])))
    assert measured.texts is not None
    assert measured.texts.to_pylist() == ["\n".join(kept)]
    assert measured.signals["cut_lines"].tolist() == [8]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("l\u00e2\u0080\u0099intelligence", "l\u2019intelligence"),
        ("hello\x00world", "helloworld"),
        ("A normal sentence, as there are many.", "A normal sentence, as there are many."),
    ],
)
def test_datatrove_ftfy(before: str, after: str) -> None:
    """UTF-8 read as Latin-1 is repaired, U+0000 dropped, and what is right stays: the edits do it."""
    assert edit(pa.array([before]))[0].to_pylist() == [after]


def test_datatrove_punctuation() -> None:
    """Its list normalises to one zero: one of its marks is a digit, the full-width one, in our table of them, too."""
    marks = [chr(code) for code in np.flatnonzero(character_classes() & DATATROVE_PUNCTUATION)]
    assert [mark for mark in marks if mark.isdigit()] == ["\uff11"]
    assert not [mark for mark in marks if mark.isalpha()]

"""The six edits: what each changes, what none touches, and that editing twice is editing once."""

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filters.edit_markup import protect
from filters.edit_needs import find_needs
from filters.edits import STEPS, edit

PIECES = [
    "a",
    "B ",
    " ",
    "\n",
    "<",
    ">",
    "<b>",
    "</p>",
    "<a href=x>",
    "<!--",
    "-->",
    "http://x.org/a",
    "www.x.org",
    "[",
    "](",
    ")",
    "(",
]
PIECES += [
    "`",
    "```",
    "~~~",
    "$",
    "$$",
    "\\(",
    "\\)",
    "\\begin{a}",
    "\\end{a}",
    "!",
    "?",
    ",",
    ".",
    "...",
    "。",
    "…",
    "—",
    "'123",
    "1",
    "'",
]
PIECES += [
    "\x00",
    "\ufffd",
    "\ufdd0",
    "Ã©",
    "â\x80\x99",
    "â€™",
    "Â",
    "\u200b",
    "\u200d",
    "\u200e",
    "\xad",
    "\xa0",
    "\r",
    "\r\n",
    "●",
    "・",
    "１",
    "．",
    "，",
    "锟斤拷",
]
TEXT = st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text(max_size=40)


def edited(text: str) -> str:
    """Return one edited text."""
    return str(edit(pa.array([text]))[0].to_pylist()[0])


def changes(text: str) -> dict[str, int]:
    """Return the counts of one text that are not 0."""
    return {name: int(counts[0]) for name, counts in edit(pa.array([text]))[1].items() if counts[0]}


@given(st.lists(TEXT, max_size=4))
@settings(deadline=None, max_examples=400)
def test_editing_twice_is_editing_once(texts: list[str]) -> None:
    """No string raises, and a second pass finds nothing to do."""
    once, counts = edit(pa.array(texts, pa.string()))
    twice, none = edit(once)
    assert twice.to_pylist() == once.to_pylist()
    assert all((counts[name] >= 0).all() for name in STEPS)
    assert not any(none[name].any() for name in STEPS)


@given(TEXT)
@example("!\ufdd0!")
@settings(deadline=None, max_examples=400)
def test_needs_are_never_too_few(text: str) -> None:
    """An edit that the compiled pass does not ask for would have changed nothing."""
    need = int(find_needs(pa.array([text]))[0])
    bare, _ = protect(text)
    for step, (name, apply) in enumerate(STEPS.items()):
        assert need >> step & 1 or apply(bare) == (bare, 0), name


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        ("tags", "<b>bold</b> and <i>not</i>", "bold and not"),
        ("tags", "one<br/>two", "one\ntwo"),
        ("tags", '<a href="x" title=y>text</a>', "text"),
        ("tags", "a<!-- comment -->b", "ab"),
        ("tags", "x <<b>b>", "x "),
        ("urls", "See https://x.org/a?b=c#d, please.", "See, please."),
        ("urls", "See www.x.org/a_(b)!", "See!"),
        ("urls", "a (http://x.org) b <ftp://x.org> c", "a b c"),
        ("urls", '[text](http://x.org "title") here', "text here"),
        ("urls", "![picture](https://x.org/p.png)", "picture"),
        ("urls", "详见http://x.org/a。", "详见。"),
        ("garbled", "a\x00b\x1b\x9fc", "abc"),
        ("garbled", "a\ufffd\ufffd\ue000b", "ab"),
        ("garbled", "Iâ€™m at the cafÃ©", "I’m at the café"),
        ("garbled", "I\xe2\x80\x99m at the caf\xc3\xa9", "I’m at the café"),
        ("garbled", "锟斤拷锟斤拷好烫烫烫", "好"),
        ("punctuation", "What?? No!!! Yes,, and;;", "What? No! Yes, and;"),
        ("punctuation", "好！！！吗？？。。", "好！吗？。"),
        ("punctuation", "wait......", "wait..."),
        ("punctuation", "等………………", "等……"),
        ("special", "so\xadft\ufeff", "soft"),
        ("special", "a\xa0b\u2009c", "a b c"),
        ("special", "a\u200db\u200bc", "abc"),
        ("special", "a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("special", "● one\n  ▪ two", "• one\n  • two"),
        ("numbers", "１２３４．５ and 𝟏𝟐", "1234.5 and 12"),
        ("numbers", "1'234'567 and 1’234’567", "1,234,567 and 1,234,567"),
        ("numbers", "１，２３４，５６７", "1,234,567"),
    ],
)
def test_every_rule_has_its_texts(rule: str, before: str, after: str) -> None:
    """A text for each pattern, changed and counted under its rule only."""
    assert edited(before) == after
    assert list(changes(before)) == [rule]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# Heading\n\n---\n===\n***\n___\n\n- item\n* item\n\n| a | b |\n|---|---|\n~~old~~ **bold** a::b",
        "```\nx!!!  <b>y</b> http://x.org １\x00\n```",
        "~~~\nx!!!\n~~~",
        "Inline `a!!b <b>` code",
        "Mathematics $x!!$ and $$y!!$$ and \\(z!!\\) and \\[w,,\\] and \\begin{align}a,,b\\end{align}",
        "a < b and c > d, vector<int>, <unknown>, x<y>z",
        "a<b and c>d",
        "wait... or ... …… ——",
        "2024-01-02, 10.0.0.1, v1.2.3, 1.234.567, 1 234 567, 5'11, 12:30, 3/4, 1,234,567, 0x1F, 1,2,3",
        "don't, '90s, rock'n'roll, 5'123 tons",
        "[text](../page.md) [1]: a",
        "می‌خواهم क्‍ष 👩‍👩‍👧 שלום‎ עולם",
        "ภาษา\u200bไทย ខ្មែរ\u200bភាសា",
        "C’est « bien » – n’est-ce pas ? ÃO É",
        "　　全角空格。",
        "\tindented\n\n    code",
    ],
)
def test_what_is_not_meant_stays(text: str) -> None:
    """Markdown, LaTeX, code, comparisons, dates, versions, joiners and typography are untouched."""
    assert edited(text) == text
    assert changes(text) == {}


def test_prices_are_no_mathematics() -> None:
    """Two dollar signs around ordinary words protect nothing."""
    assert edited("from $5!! to $10!!") == "from $5! to $10!"


def test_an_unclosed_fence_protects_nothing() -> None:
    """An opener without its closer is text."""
    assert edited("``` wow!!!") == "``` wow!"


def test_counts_are_per_text_and_rule() -> None:
    """One row a text, one column a rule, the rules in the paper's order."""
    _, counts = edit(pa.array(["a!! b!!", "clean", "<b>x</b> y!!"]))
    assert list(counts) == ["tags", "urls", "garbled", "punctuation", "special", "numbers"]
    assert counts["punctuation"].tolist() == [2, 0, 1]
    assert counts["tags"].tolist() == [0, 0, 2]


def test_a_text_that_does_not_settle_stays() -> None:
    """Tags nested twenty deep would take twenty rounds; such a text is left alone, and so is idempotent."""
    text = "<b" * 20 + ">" * 20 + "!!"
    assert edited(text) == text
    assert changes(text) == {}


def test_sliced_and_empty_columns_are_edited() -> None:
    """Rows before a slice leave no trace, and no rows are no rows."""
    assert edit(pa.array(["a!!", "b!!", "c!!"]).slice(1, 1))[0].to_pylist() == ["b!"]
    assert edit(pa.array([], pa.string()))[0].to_pylist() == []


HOSTILE = [
    "<",
    "<a ",
    "<a x=",
    "(",
    "((http://",
    "1,",
    "1'234",
    "://",
    "http://(",
    "[a](",
    "![[",
    "`",
    "$a",
    "\\begin{",
]
HOSTILE += [
    "```a~~~$$",
    "<!--",
    "</p ",
    "<<b>",
    "[http://a](http://a",
    "mailto:",
    "\r",
    "www.",
    "a",
    "！",
    "１，",
    "Ã",
    "\u200b",
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    """Half a megabyte of an opener finishes, and is settled; a pattern of quadratic cost would take hours."""
    once = edited(unit * (500_000 // len(unit)))
    assert edited(once) == once

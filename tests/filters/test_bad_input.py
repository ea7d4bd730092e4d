"""Whatever the text, every family has a verdict, and whatever no text can be is refused at the boundary."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filters.families import FAMILIES
from filters.passage import read_passage
from filters.rules import Family, judge

VARIANTS = {f"{name}@{variant}": family for name, variants in FAMILIES.items() for variant, family in variants.items()}
PLANES = "".join(chr(plane << 16 | low) for plane in range(17) for low in (0x20, 0x21, 0xABC, 0xFFFD))
MEGABYTES = 16_000_000
TEXTS = st.lists(st.text(max_size=200), min_size=1, max_size=4)


def verdict(family: Family, texts: list[str], language: str) -> list[int]:
    """Return which rule every text breaks, -1 for none."""
    passage = read_passage(pa.array(texts, pa.large_string()), np.array([language] * len(texts)))
    return judge(family.rules, family.measure(passage).signals, passage.languages).rule.tolist()


@pytest.mark.parametrize("family", VARIANTS.values(), ids=VARIANTS)
@given(
    texts=st.lists(st.text(max_size=200), min_size=1, max_size=4),
    language=st.sampled_from(["en", "ar", "zh", "th", "und"]),
)
@settings(deadline=None)
@example(texts=["", " ", "a", "\n", "\x00", "\ufeff"], language="en")
@example(texts=["\n" * 1000, "\r\n" * 1000, "\u2028" * 1000], language="en")
@example(texts=["שלום עולם. " * 20, "مرحبا بالعالم! " * 20, "\u202eabc\u202c. " * 20], language="ar")
@example(texts=["e\u0301" * 500, "\u0301" * 500, "ก็" * 500], language="th")
@example(texts=[PLANES, PLANES * 20, " ".join(PLANES)], language="und")
def test_every_text_has_a_verdict(family: Family, texts: list[str], language: str) -> None:
    """Empty, one character, line feeds only, right to left, combining marks, every plane; alone or in a batch."""
    rules = verdict(family, texts, language)
    assert all(-1 <= rule < len(family.rules) for rule in rules)
    assert [rule for text in texts for rule in verdict(family, [text], language)] == rules


@pytest.mark.parametrize("family", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("unit", ["a", "漢", "\n", ".", "a\n"])
def test_sixteen_megabytes_have_a_verdict(family: Family, unit: str) -> None:
    """Without a space, or with line feeds only; long texts take linear time."""
    assert len(verdict(family, [unit * (MEGABYTES // len(unit.encode()))], "en")) == 1


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\udc80.\n"])
def test_unpaired_surrogates_are_no_text(text: str) -> None:
    """A column of texts cannot hold them: they are refused before any filter sees them."""
    with pytest.raises(UnicodeEncodeError):
        pa.array([text], pa.string())

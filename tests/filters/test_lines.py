"""Lines between line feeds."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.arrow_text import text_buffers
from filters.lines import BLANK, REPEATED, split_lines

TEXTS = st.lists(st.text(st.sampled_from("ab \n\r漢\u2028"), max_size=30) | st.text(max_size=20), max_size=4)


@given(TEXTS)
@settings(deadline=None)
def test_lines_are_those_of_split(texts: list[str]) -> None:
    """Bytes, code points, which are blank and which came before, for every string."""
    offsets, data = text_buffers(pa.array(texts, pa.string()))
    lines = split_lines(offsets, data)
    for document, text in enumerate(texts):
        numbers = range(lines.first[document], lines.first[document + 1])
        expected = text.split("\n")
        assert [data[lines.start[n] : lines.end[n]].tobytes().decode() for n in numbers] == expected
        assert [lines.lengths[n] for n in numbers] == list(map(len, expected))
        assert [bool(lines.kinds[n] & BLANK) for n in numbers] == [not line.strip() for line in expected]
        repeated = [line in expected[:i] for i, line in enumerate(expected)]
        assert [bool(lines.kinds[n] & REPEATED) for n in numbers] == repeated

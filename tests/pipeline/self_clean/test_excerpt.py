"""What of a document is measured."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.self_clean.excerpt import MOST_CHARACTERS, WINDOWS, Excerpts, cut, excerpts, select
from tokenizer.encode import Tokenizer
from tokenizer.train import train

texts = st.builds(lambda text, times: text * times, st.text(max_size=600), st.sampled_from((1, 20, 200)))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Train a small tokenizer."""
    return Tokenizer(train(["the river and the mountain were near the old town " * 20], 300))


@given(st.text(max_size=600))
def test_a_short_text_is_measured_whole(text: str) -> None:
    """What is no longer than an anchor may be is one window."""
    longest = (text or " ") * MOST_CHARACTERS
    for one in (text, longest[:MOST_CHARACTERS]):
        assert cut(one) == [one]


@given(st.integers(1, 40_000))
@example(1)
def test_windows_of_a_long_text_are_evenly_spaced_and_do_not_overlap(more: int) -> None:
    """Together as long as an anchor, one at the begin, one at the end, gaps alike but for a character."""
    text = "".join(chr(0x10000 + number) for number in range(MOST_CHARACTERS + more))
    parts = cut(text)
    starts = [text.index(part) for part in parts]
    gaps = [after - before - len(part) for (before, after), part in zip(pairwise(starts), parts, strict=False)]
    assert (len(parts), {len(part) for part in parts}) == (WINDOWS, {MOST_CHARACTERS // WINDOWS})
    assert (starts[0], starts[-1]) == (0, len(text) - len(parts[-1]))
    assert min(gaps) >= 0
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("word", ["river ", "река ", "河流"])
@pytest.mark.parametrize("longer", [1, 5, 300])
def test_as_much_is_read_of_a_document_as_of_an_anchor(word: str, longer: int) -> None:
    """However long it is: what a document had before, say, returns the oftener the more of it is read."""
    text = word * (MOST_CHARACTERS // len(word) + 1)
    anchor, document = (sum(map(len, cut(one))) for one in (text[:MOST_CHARACTERS], text * longer))
    assert document == anchor == MOST_CHARACTERS


def told(found: Excerpts) -> list[tuple[list[list[int]], int, int]]:
    """Return windows, bytes of the excerpt and of the text of each document."""
    windows: list[list[list[int]]] = [[] for _ in found.size]
    for window, owner in zip(found.windows, found.owner.tolist(), strict=True):
        windows[owner].append(window.tolist())
    return list(zip(windows, found.size.tolist(), found.whole.tolist(), strict=True))


@given(st.lists(texts, max_size=6), st.data())
def test_excerpts_are_the_tokens_of_the_parts(tokenizer: Tokenizer, many: list[str], data: st.DataObject) -> None:
    """Decoded, a document's windows are its parts; sizes are their bytes; a selection leaves each as it was."""
    found = excerpts(many, tokenizer)
    expected = [[tokenizer.encode([part])[0].tolist() for part in cut(text)] for text in many]
    sizes = [sum(len(part.encode()) for part in cut(text)) for text in many]
    assert told(found) == list(zip(expected, sizes, [len(text.encode()) for text in many], strict=True))
    decoded = [[tokenizer.decode(window) for window in windows] for windows, _, _ in told(found)]
    assert decoded == [cut(text) for text in many]
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=len(many), max_size=len(many))), bool)
    assert told(select(found, chosen)) == [one for one, take in zip(told(found), chosen, strict=True) if take]

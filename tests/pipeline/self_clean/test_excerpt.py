"""What of a document is measured."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.self_clean.excerpt import MOST_CHARACTERS, Excerpts, Shape, cut, excerpts, select
from tokenizer.encode import Tokenizer
from tokenizer.train import train

WIDEST = 4  # bytes of a character
texts = st.text(max_size=600)
shapes = st.builds(Shape, st.integers(2, 6), st.integers(1, 50))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Train a small tokenizer."""
    return Tokenizer(train(["the river and the mountain were near the old town " * 20], 300))


@given(texts, shapes)
@example("漢" * 3 + "a" * 500, Shape(3, 10))
@example("a" * 500 + "😀" * 3, Shape(3, 10))
def test_both_ends_are_measured_and_the_cost_is_bounded(text: str, shape: Shape) -> None:
    """Windows are parts of the text, the first at its begin, the last at its end; together no longer than asked."""
    parts = cut(text, shape)
    assert text.startswith(parts[0])
    assert text.endswith(parts[-1])
    assert all(part in text for part in parts)
    assert parts == [text] or len(parts) == shape.windows
    assert sum(len(part) for part in parts) <= max(shape.windows, shape.windows * shape.window_bytes)
    most = max(WIDEST, WIDEST * shape.window_bytes)
    assert all(0 < len(part.encode()) <= most for part in parts) or parts == [text]


@given(texts, shapes)
def test_a_short_text_is_measured_whole(text: str, shape: Shape) -> None:
    """What fits into the windows is one window, and so is an anchor where no number of windows is given."""
    assert cut(text, Shape(0, shape.window_bytes)) == [text]
    longest = (text or " ") * MOST_CHARACTERS
    assert cut(longest[:MOST_CHARACTERS], Shape(0, shape.window_bytes)) == [longest[:MOST_CHARACTERS]]
    if len(text.encode()) <= shape.windows * shape.window_bytes:
        assert cut(text, shape) == [text]


@pytest.mark.parametrize("shape", [Shape(4, 1024), Shape(0, 1024)], ids=["cascade", "full"])
@pytest.mark.parametrize("word", ["river ", "река ", "河流"])
@pytest.mark.parametrize("longer", [1, 5, 300])
def test_as_much_is_read_of_a_document_as_of_an_anchor(shape: Shape, word: str, longer: int) -> None:
    """However long it is: what a document had before, say, returns the oftener the more of it is read."""
    text = word * (MOST_CHARACTERS // len(word) + 1)
    anchor, document = (sum(map(len, cut(one, shape))) for one in (text[:MOST_CHARACTERS], text * longer))
    assert document == pytest.approx(anchor, abs=shape.windows)


@given(st.integers(2, 6), st.integers(1, 50), st.integers(1, 400))
def test_windows_are_evenly_spaced_and_do_not_overlap(windows: int, size: int, more: int) -> None:
    """Every window is as long as asked, and the gaps between them differ by one character at most."""
    text = "".join(
        chr(0x100 + number) for number in range((windows * size + more) // 2 + 1)
    )  # two bytes each, all unlike
    if len(text.encode()) <= windows * size or size < 2:
        return
    parts = cut(text, Shape(windows, size))
    starts = [text.index(part) for part in parts]
    gaps = [after - before - len(part) for (before, after), part in zip(pairwise(starts), parts, strict=False)]
    assert min(gaps) >= 0
    assert max(gaps) - min(gaps) <= 1
    assert {len(part) for part in parts} == {size * len(text) // len(text.encode())}


def told(found: Excerpts) -> list[tuple[list[list[int]], int, int]]:
    """Return windows, bytes of the excerpt and of the text of each document."""
    windows: list[list[list[int]]] = [[] for _ in found.size]
    for window, owner in zip(found.windows, found.owner.tolist(), strict=True):
        windows[owner].append(window.tolist())
    return list(zip(windows, found.size.tolist(), found.whole.tolist(), strict=True))


@given(st.lists(texts, max_size=6), shapes, st.data())
def test_excerpts_are_the_tokens_of_the_parts(
    tokenizer: Tokenizer, many: list[str], shape: Shape, data: st.DataObject
) -> None:
    """Decoded, a document's windows are its parts; sizes are their bytes; a selection leaves each as it was."""
    found = excerpts(many, shape, tokenizer)
    expected = [[tokenizer.encode([part])[0].tolist() for part in cut(text, shape)] for text in many]
    sizes = [sum(len(part.encode()) for part in cut(text, shape)) for text in many]
    assert told(found) == list(zip(expected, sizes, [len(text.encode()) for text in many], strict=True))
    decoded = [[tokenizer.decode(window) for window in windows] for windows, _, _ in told(found)]
    assert decoded == [cut(text, shape) for text in many]
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=len(many), max_size=len(many))), bool)
    assert told(select(found, chosen)) == [one for one, take in zip(told(found), chosen, strict=True) if take]

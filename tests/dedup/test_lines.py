"""Lines and paragraphs agree with their slow definitions, and nothing is lost that is not said to be."""

import re

import numpy as np
import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dedup.lines import first_of_each, units, without
from filters.arrow_text import text_buffers

TEXT = st.lists(
    st.sampled_from(["a", "A ", " a", "b c", "É", "é", "中文", "", "  ", "\t", "\u3000", "x\r", "\0", "İ"]), max_size=9
).map("\n".join)


def slow_lines(text: str) -> list[tuple[str, str]]:
    """Return (span, key) of the lines that are not blank."""
    spans = re.findall(r"[^\n]*\n|[^\n]+", text)
    return [(span, "".join(c.lower()[:1] for c in span.strip())) for span in spans if span.strip()]


def slow_paragraphs(text: str) -> list[tuple[str, list[str]]]:
    """Return (span, keys of its lines) of runs of lines that are not blank, with the blank ones after them."""
    found: list[tuple[str, list[str]]] = []
    is_open = False
    for span in re.findall(r"[^\n]*\n|[^\n]+", text):
        key = "".join(c.lower()[:1] for c in span.strip())
        if found and (is_open or not key):
            found[-1] = (found[-1][0] + span, found[-1][1] + ([key] if key else []))
        elif key:
            found.append((span, [key]))
        is_open = bool(key)
    return found


def cut(texts: list[str], *, paragraphs: bool) -> list[list[tuple[str, int]]]:
    """Return (span, hash) of the units of each text."""
    offsets, data = text_buffers(pa.array(texts, pa.large_string()))
    out: list[list[tuple[str, int]]] = [[] for _ in texts]
    for document, start, end, key in units(offsets, data, paragraphs=paragraphs).tolist():
        out[document].append((texts[document].encode()[start:end].decode(), key))
    return out


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(TEXT, min_size=1, max_size=4))
@example(texts=["\n\na\n\n\nb", "A"])
def test_lines_are_those_of_a_plain_split(texts: list[str]) -> None:
    """Spans are the lines that are not blank; two hashes are equal where the stripped, lower-case lines are."""
    found = [line for text in cut(texts, paragraphs=False) for line in text]
    slow = [line for text in texts for line in slow_lines(text)]
    assert [span for span, _ in found] == [span for span, _ in slow]
    known = {key: number for (_, key), (_, number) in zip(slow, found, strict=True)}
    assert [number for _, number in found] == [known[key] for _, key in slow]
    assert len(set(known.values())) == len(known)


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(TEXT, min_size=1, max_size=4))
def test_paragraphs_are_runs_of_lines(texts: list[str]) -> None:
    """Spans are runs of lines with the blank ones after them; hashes are equal where all their lines are."""
    found = [unit for text in cut(texts, paragraphs=True) for unit in text]
    slow = [unit for text in texts for unit in slow_paragraphs(text)]
    assert [span for span, _ in found] == [span for span, _ in slow]
    known = {tuple(keys): number for (_, keys), (_, number) in zip(slow, found, strict=True)}
    assert [number for _, number in found] == [known[tuple(keys)] for _, keys in slow]
    assert len(set(known.values())) == len(known)


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 9)), max_size=20, unique=True))
def test_the_first_of_each_hash_owns_it(rows: list[tuple[int, int, int]]) -> None:
    """Every hash has one owner: the row of least key, then number."""
    hashes, keys = (np.array([row[i] for row in rows], np.uint64) for i in (0, 1))
    owner = first_of_each(hashes, keys, np.array([row[2] for row in rows], np.int64)).tolist()
    assert [row for row, owns in zip(rows, owner, strict=True) if owns] == [
        row for row in rows if row == min(other for other in rows if other[0] == row[0])
    ]


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(TEXT, min_size=1, max_size=4), seed=st.integers(0, 2**16))
def test_what_is_not_cut_stays(texts: list[str], seed: int) -> None:
    """A text without some of its lines is the others in order; cut at its end it has no line feed there."""
    offsets, data = text_buffers(pa.array(texts, pa.large_string()))
    found = units(offsets, data, paragraphs=False)
    chosen = found[np.random.default_rng(seed).random(len(found)) < 0.5]
    first = np.searchsorted(chosen["document"], np.arange(len(texts) + 1))
    bounds, left = without(offsets, data, first, *_spans(chosen))
    for number, text in enumerate(texts):
        rest = text.encode()
        spans = chosen[chosen["document"] == number]
        for start, end in zip(spans["start"][::-1], spans["end"][::-1], strict=True):
            rest = rest[:start] + rest[end:]
        at_end = len(spans) and spans["end"][-1] == len(text.encode())
        expected = rest.rstrip(b"\n") if at_end else rest
        assert left[bounds[number] : bounds[number + 1]].tobytes() == expected


def _spans(chosen: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.ascontiguousarray(chosen["start"]), np.ascontiguousarray(chosen["end"])

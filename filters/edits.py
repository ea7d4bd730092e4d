"""The cleaning rules of the TransNormerLLM paper as one edit of a text column.

Qin et al. 2023 (arXiv:2307.14995), appendix D, in the paper's order: (a) HTML tags and URLs go, (b)
garbled strings go, (c) runs of a punctuation mark become one, (d) special characters go or become plain,
(e) numbers get one format, (f) Markdown and LaTeX structure stays: code and mathematics are never
touched, nor are the marks that build tables, rules, headings and lists; links keep their text. The paper
gives the rules in words only; the patterns are ours.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.edit_characters import drop_garbled, normalise_special
from filters.edit_marks import collapse_punctuation, unify_numbers
from filters.edit_markup import protect, restore, strip_tags, strip_urls

STEPS: dict[str, Callable[[str], tuple[str, int]]] = {
    "tags": strip_tags,
    "urls": strip_urls,
    "garbled": drop_garbled,
    "punctuation": collapse_punctuation,
    "special": normalise_special,
    "numbers": unify_numbers,
}
ROUNDS = 8  # ours: a page settles after one; more than eight is a text built to never settle


def edit(texts: pa.Array) -> tuple[pa.Array, dict[str, NDArray[np.int64]]]:
    """Return the edited texts (large_string) and how often each rule changed each of them.

    A text is edited until nothing changes, so that editing twice is editing once; one that has not settled
    after eight rounds stays as it came, with counts of 0.
    """
    counts = np.zeros((len(STEPS), len(texts)), np.int64)
    edited = [_edit_text(text, counts[:, row]) for row, text in enumerate(texts.to_pylist())]
    return pa.array(edited, pa.large_string()), dict(zip(STEPS, counts, strict=True))


def _edit_text(text: str, counts: NDArray[np.int64]) -> str:
    """Return the settled text and add to the counts of the rules."""
    before = text
    for _ in range(ROUNDS):
        after, changes = _edit_once(before)
        if after == before:
            return after
        counts += changes
        before = after
    counts[:] = 0
    return text


def _edit_once(text: str) -> tuple[str, list[int]]:
    """Apply every rule once to what is not protected."""
    changes = []
    text, protected = protect(text)
    for step in STEPS.values():
        text, count = step(text)
        changes.append(count)
    return restore(text, protected), changes

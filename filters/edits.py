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
from filters.edit_needs import find_needs

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
    before = texts.to_pylist()
    edited, rows = list(before), list(range(len(texts)))
    for _ in range(ROUNDS):
        needs = find_needs(pa.array([edited[row] for row in rows], pa.large_string()))
        rows = [row for row, need in zip(rows, needs, strict=True) if _edit(edited, row, int(need), counts)]
        if not rows:
            break
    counts[:, rows] = 0
    for row in rows:
        edited[row] = before[row]
    return pa.array(edited, pa.large_string()), dict(zip(STEPS, counts, strict=True))


def _edit(texts: list[str], row: int, need: int, counts: NDArray[np.int64]) -> bool:
    """Apply once what one text needs, add to the counts of the rules, tell whether anything changed."""
    if not need:
        return False
    text, protected = protect(texts[row])
    for step, apply in enumerate(STEPS.values()):
        if need >> step & 1:
            text, count = apply(text)
            counts[step, row] += count
    text = restore(text, protected)
    changed = text != texts[row]
    texts[row] = text
    return changed

"""C4's rule on bad words: lists given by the user, one a language, looked for in the whole text.

TensorFlow Datasets, text/c4_utils.py, get_badwords_filter_fn: in lower case, a listed word or phrase counts where no
letter, digit or underscore stands before or after it, and anywhere in Japanese, Thai and Chinese; a code like en-latin
is of the language before its hyphen, and a language without a list is not judged. Where we differ: entries are put
in lower case too (one with a capital would never be found there).

Arrow's regular expressions (RE2), which take linear time whatever the list, find the few texts that hold an entry;
only those are read again for what it is.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from filters.arrow_text import string_array
from filters.rules import Rule

ANYWHERE = frozenset({"ja", "th", "zh"})  # TFDS c4_utils, get_badwords_filter_fn
TOGETHER = 1_000  # entries in one expression; RE2 refuses expressions of some 100,000
_BORDER = r"[^\p{L}\p{N}_]"  # Python's \W in RE2, whose own knows ASCII only

RULE = Rule(reason="bad_words", signal="words", maximum=0)  # TFDS c4_utils, get_badwords_filter_fn


@dataclass(frozen=True, slots=True)
class Finder:
    """The entries of one language, ready for looking up."""

    expressions: tuple[str, ...]  # RE2: a text with an entry in it
    entry: re.Pattern[str]  # one entry, the longest of those that begin at a place


def make_finder(language: str, entries: Iterable[str]) -> Finder:
    """Return what finds a language's entries (at least one; no blank ones)."""
    words = sorted({entry.lower() for entry in entries}, key=lambda word: (-len(word), word))
    groups = ["|".join(map(re.escape, words[i : i + TOGETHER])) for i in range(0, len(words), TOGETHER)]
    if language in ANYWHERE:
        return Finder(tuple(groups), re.compile("|".join(groups)))
    bordered = tuple(f"(?:{_BORDER}|^)(?:{group})(?:{_BORDER}|$)" for group in groups)
    return Finder(bordered, re.compile(rf"(?<!\w)(?:{'|'.join(groups)})(?!\w)"))


def find_bad_words(
    texts: pa.Array, languages: NDArray[np.str_], finders: Mapping[str, Finder]
) -> list[list[str] | None]:
    """Return the different entries found in each text, sorted; None where its language has no list."""
    found: list[list[str] | None] = [None] * len(texts)
    codes = np.array([str(language).partition("-")[0] for language in languages], np.str_)
    for language, finder in finders.items():
        rows = np.flatnonzero(codes == language)
        lower = string_array([text.lower() for text in texts.take(pa.array(rows)).to_pylist()])
        holds = np.zeros(len(rows), bool)
        for expression in finder.expressions:
            holds |= pc.match_substring_regex(lower, expression).to_numpy(zero_copy_only=False)
        for at, row in enumerate(rows.tolist()):
            found[row] = sorted(set(finder.entry.findall(lower[at].as_py()))) if holds[at] else []
    return found

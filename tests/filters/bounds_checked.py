"""Runs every compiled kernel of the families on texts that end where their buffer ends; test_bounds.py starts it.

Numba checks bounds where NUMBA_BOUNDSCHECK is set before anything is compiled.
"""

import numpy as np
import pyarrow as pa
from numba import njit

from filters.arrow_text import text_array
from filters.contamination import build_index, find_overlap
from filters.families import FAMILIES
from filters.passage import read_passage

ENDINGS = [
    *("", "a", ".", "..", "...", "[", "[1", "[edit", "[citation needed", "h", "htt", "w", "ww", "\r", "\n", "\r\n"),
    *("é", "漢", "😀", "…", "\u2028", "\u0301", "ก็", "#", "-", "•", "”", '"', "'", ")", "{", "3", "3 ", "3k", "3k l"),
    *("3 like", "3 likes", "lorem ipsu", "lorem ipsum", "javascrip", "use cookie", "use cookies", "read mor"),
    *("read more", "sign-i", "sign-in", "items in car", "items in cart", "隐私政", "隐私政策", "سياسة", "A", "É"),
    *(
        "One. Two. Three.",
        "One. Two. Three. [",
        "好。好。好。",
        "جيد.جيد.جيد.",
        "a b c d e a b c d e",
        "\n\n",
        "a\n\na",
    ),
]
BEGINNINGS = ("", " ", "\n", "a", "a ", "漢", "one two three four five six. ", "a b c d e f g h i j\n" * 3)
LANGUAGES = ("en", "zh", "ar", "und")


@njit
def read(values: np.ndarray, at: int) -> int:
    """Read one value."""
    return values[at]


def exact(texts: list[str]) -> pa.Array:
    """Return a column whose buffer has no byte after the last text."""
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)])
    return text_array(offsets.astype(np.int64), np.frombuffer(b"".join(encoded), np.uint8))


def main() -> None:
    """Measure; an index out of bounds raises IndexError."""
    try:
        read(np.zeros(2), 2)
    except IndexError:
        print("checked")
    index = build_index([("set", ["a b c d e f g h", "one two", "漢字漢字", ""])], 4, 2)
    families = [family for variants in FAMILIES.values() for family in variants.values()]
    for beginning in BEGINNINGS:
        for number, ending in enumerate(ENDINGS):
            texts = exact(["", beginning + ending])
            languages = np.array(["en", LANGUAGES[number % len(LANGUAGES)]])
            for column in (texts, texts.slice(1)):
                find_overlap(index, column)
                passage = read_passage(column, languages[: len(column)])
                for family in families:
                    family.measure(passage)
    for size in (15, 16, 17, 4096):
        passage = read_passage(
            exact(["a" * size, "a " * size, "a漢" * size, "漢" * size, "a\n" * size]), np.array(["en"] * 5)
        )
        for family in families:
            family.measure(passage)
    print("done")


if __name__ == "__main__":
    main()

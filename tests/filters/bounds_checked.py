"""Runs every compiled kernel of the filters on texts that end with their buffer; tests/test_bounds.py starts it."""

import numpy as np
import pyarrow as pa

from filters.arrow_text import text_array, text_buffers
from filters.c4_lines import count_each
from filters.characters import character_classes
from filters.contamination import build_index, find_overlap
from filters.edit_needs import find_needs
from filters.families import FAMILIES
from filters.fasttext_network import predict, predict_label
from filters.language import default_model_path, identify, load
from filters.language_segments import predict_with_segments
from filters.passage import read_passage
from filters.pii_candidates import find_candidates
from filters.urls import UrlLists, hash_table, measure
from tests.checked_bounds import run_checked
from tests.filters.networks import CLASSIFIERS

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
    *("a@b.org", "a@b.", "+1 650-253-000", "93.184.216.3", "2a00:1450::", "DE8", "DE89", "DE89 3704 0044"),
    *("http://a.bad.example", "bad.exampl", ".example", "__label__", "__label_", "</s>", "word", "x" * 40, "x" * 33),
]
BEGINNINGS = ("", " ", "\n", "a", "a ", "漢", "one two three four five six. ", "a b c d e f g h i j\n" * 3)
LANGUAGES = ("en", "zh", "ar", "und")


def exact(texts: list[str]) -> pa.Array:
    """Return a column whose buffer has no byte after the last text."""
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)])
    return text_array(offsets.astype(np.int64), np.frombuffer(b"".join(encoded), np.uint8))


FAMILIES_AND_VARIANTS = [family for variants in FAMILIES.values() for family in variants.values()]
INDEX = build_index([("set", ["a b c d e f g h", "one two", "漢字漢字", ""])], 4, 2)
LISTS = [
    UrlLists(blocked_domains=hash_table(entries), blocked_urls=hash_table(entries))
    for entries in (["bad.example", "example.org", "a"], ["one"])
]
LANGUAGE_MODEL = load(default_model_path())


def run_column(texts: pa.Array, languages: np.ndarray) -> None:
    """Measure, search and classify one column."""
    offsets, data = text_buffers(texts)
    find_overlap(INDEX, texts)
    find_needs(texts)
    find_candidates(offsets, data)
    for lists in LISTS:
        measure(texts.to_pylist(), lists)
    identify(LANGUAGE_MODEL, texts)
    for classifier in CLASSIFIERS.values():
        best, probabilities = np.zeros((len(texts), 2), np.int64), np.zeros((len(texts), 2), np.float32)
        predict(classifier.network, offsets, data, best, probabilities)
        predict_with_segments(classifier.network, offsets, data, best, probabilities)
        predict_label(classifier.network, offsets, data, 2)
    count_each(data, offsets[:-1], offsets[1:], character_classes())
    passage = read_passage(texts, languages)
    for family in FAMILIES_AND_VARIANTS:
        family.measure(passage)


def run_all() -> None:
    """Run every beginning with every ending, and texts about as long as what kernels hold at once."""
    for beginning in BEGINNINGS:
        for number, ending in enumerate(ENDINGS):
            texts = exact(["", beginning + ending])
            languages = np.array(["en", LANGUAGES[number % len(LANGUAGES)]])
            for column in (texts, texts.slice(1)):
                run_column(column, languages[: len(column)])
    for size in (15, 16, 17, 199, 200, 201, 256, 257, 258, 259, 400, 512, 513, 514, 515, 1000, 4096):
        units = ("a", "a ", "a漢", "漢", "a\n", "1", "a@", "1 ", "+")
        run_column(exact([unit * size for unit in units]), np.array(["en"] * len(units)))


if __name__ == "__main__":
    run_checked(run_all)

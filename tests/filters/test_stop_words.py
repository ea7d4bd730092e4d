"""The lists of stop words."""

import pyarrow as pa

from filters.stop_words import STOP_WORDS
from filters.words import split_words


def test_every_stop_word_is_one_word() -> None:
    """A list entry that the splitter would cut could never be found."""
    for words in STOP_WORDS.values():
        assert len(split_words(pa.array([" ".join(words)])).start) == len(words)


def test_lists_fit_their_bits_and_repeat_nothing() -> None:
    """Different words seen are bits of one 64-bit number."""
    for words in STOP_WORDS.values():
        assert len(words) == len(set(words)) <= 64


def test_english_is_the_paper_s_list() -> None:
    """Eight words, Rae et al. 2021, appendix A.1.1."""
    assert sorted(STOP_WORDS["en"]) == ["and", "be", "have", "of", "that", "the", "to", "with"]

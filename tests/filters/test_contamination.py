"""An n-gram of an evaluation set is found wherever it stands, and nothing else is."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.contamination import build_index, find_overlap, mark, marked_share
from filters.words import split_words

ITEM = "What is the name of the river that flows through the old capital of the northern province?"


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case without punctuation, in plain Python."""
    words = split_words(pa.array([text], pa.large_string()))
    spelled = [words.data[a:b].tobytes().decode() for a, b in zip(words.start, words.end, strict=True)]
    kept = ("".join(c for c in word if c.isalpha() or c.isnumeric() or c == "\u0301") for word in spelled)
    return [word.lower() for word in kept if word]


def test_a_question_in_a_text_is_found_with_its_words() -> None:
    """The first n-gram and its set are named; matches and share count words."""
    text = f"Before it there is text. {ITEM} And text after it."
    found = find_overlap(build_index([("rivers", [ITEM])]), pa.array([text, "Nothing of it.", ""], pa.large_string()))
    assert found.matches.tolist() == [5, 0, 0]  # 17 words have 5 n-grams of 13
    assert found.share.tolist() == [17 / 26, 0, 0]
    assert found.ngram.to_pylist() == ["What is the name of the river that flows through the old capital", None, None]
    assert found.found_in.to_pylist() == ["rivers", None, None]


@pytest.mark.parametrize(
    "written",
    [
        ITEM.upper(),
        ITEM.replace(" ", "\n\t"),
        ITEM.replace(" ", ", ").replace("?", " !"),
        "“" + ITEM.replace("river", "(river)") + "”",
        ITEM.replace("old", "old —"),
    ],
)
def test_case_space_and_punctuation_do_not_hide_it(written: str) -> None:
    """Words are compared in lower case without punctuation."""
    assert find_overlap(build_index([("a", [ITEM])]), pa.array([written])).matches[0] == 5


def test_one_other_word_in_thirteen_hides_it() -> None:
    """Thirteen words in a row must be equal: one changed word breaks every n-gram it is in."""
    words = ITEM.split()
    words[8] = "runs"
    assert find_overlap(build_index([("a", [ITEM])]), pa.array([" ".join(words)])).matches[0] == 0


def test_short_items_are_looked_for_whole_and_very_short_ones_not() -> None:
    """An item of 8 to 12 words is one n-gram, of fewer none."""
    eight, seven = "one two three four five six seven eight", "a b c d e f g"
    index = build_index([("short", [eight, seven])])
    assert index.items == (1,)
    found = find_overlap(index, pa.array([f"x {eight} y", "one two three four five six seven 8", f"x {seven} y"]))
    assert found.matches.tolist() == [1, 0, 0]


def test_the_first_set_owns_what_several_have() -> None:
    """Of equal n-grams the set that is named first is recorded."""
    index = build_index([("first", [ITEM]), ("second", [ITEM, "other " + ITEM])])
    found = find_overlap(index, pa.array([ITEM, "other " + ITEM]))
    assert found.found_in.to_pylist() == ["first", "second"]


def test_chinese_letters_are_words() -> None:
    """Thirteen letters in a row are an n-gram; punctuation between them is none."""
    item = "下列哪一条河流经过这个省的旧首府城市"
    found = find_overlap(build_index([("zh", [item])]), pa.array(["请问：" + item[:6] + "，" + item[6:] + "。"]))
    assert found.matches[0] == len(item) - 12


@given(
    st.lists(st.text(alphabet=st.sampled_from("aAbB ,.\u0301漢1²\n"), max_size=40), min_size=1, max_size=4),
    st.lists(
        st.text(
            alphabet=st.sampled_from("aAbB ,.\u0301漢1²\n") | st.characters(exclude_categories=["Cs"]), max_size=60
        ),
        max_size=4,
    ),
)
def test_the_table_finds_what_a_search_finds(items: list[str], texts: list[str]) -> None:
    """Any texts give the matches of a plain search over lists of words."""
    wanted = set()
    for words in map(words_of, items):
        length = min(4, len(words))
        if length >= 2:
            wanted |= {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}
    found = find_overlap(build_index([("set", items)], 4, 2), pa.array(texts, pa.large_string()))
    for row, words in enumerate(map(words_of, texts)):
        begins = [i for i in range(len(words)) if any(tuple(words[i : i + n]) in wanted for n in (2, 3, 4))]
        assert found.matches[row] == len(begins)
        assert (found.ngram[row].as_py() is None) == (not begins)
    assert np.all((found.share >= 0) & (found.share <= 1))


@given(
    st.lists(st.text(alphabet=st.sampled_from("aAbB ,.漢1\n"), max_size=40), min_size=1, max_size=4),
    st.lists(st.text(alphabet=st.sampled_from("aAbB ,.漢1\n"), max_size=60), max_size=4),
)
def test_an_items_share_is_what_a_search_finds_of_it(items: list[str], texts: list[str]) -> None:
    """Texts, one after the other, mark what a plain search finds; the share is of all n-grams of the item."""
    index = build_index([("set", items)], 4, 1)
    marked = np.zeros(len(index.keys), bool)
    for text in texts:
        mark(index, pa.array([text], pa.large_string()), marked)
    there = {tuple(words[i : i + n]) for words in map(words_of, texts) for i in range(len(words)) for n in (1, 2, 3, 4)}
    for words, share in zip(map(words_of, items), marked_share(index, marked, items, 4), strict=True):
        length = min(4, len(words))
        ngrams = [tuple(words[i : i + length]) for i in range(len(words) - length + 1)] if words else []
        assert share == (sum(ngram in there for ngram in ngrams) / len(ngrams) if ngrams else 0)

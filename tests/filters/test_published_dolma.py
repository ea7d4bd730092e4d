"""The cases that Dolma publishes for its taggers and its deduper, on what we have for them.

| dolma, tests/python | here |
|---|---|
| test_gopher.py, predict_short, predict_multiline | test_dolma_gopher_top_ngrams, test_dolma_gopher_counts |
| test_gopher.py, word_count_is_whitespace_sep | test_dolma_gopher_words_lie_between_white_space |
| test_gopher.py, required_word_count | test_dolma_gopher_required_words |
| test_c4.py, line_ends_with_no_punctuation, lines_with_too_few_words | test_dolma_c4_lines |
| test_c4.py, curly_braces, javascript, lorem_ipsum | test_dolma_c4_phrases |
| test_c4.py, naughty_words | test_dolma_naughty_words |
| test_repetitions.py | test_dolma_repetitions, test_dolma_text_without_repetitions |
| test_repetitions.py, TokenizerRepetitionsTagger | needs the tokens of GPT-NeoX; its words: test_dolma_repeated_words |
| test_repetitions_utils.py, find_periodic_sequences | test_dolma_periodic_sequences |
| test_repetitions_utils.py, runs of True, consecutive values | parts of that search in NumPy that ours has not |
| test_deduper.py, unicode, skip_empty | test_dolma_repeated_paragraphs, test_dolma_empty_paragraphs |
| test_deduper.py, by_url | test_dolma_dedupe_by_url |
| test_deduper.py, goldens in tests/data/expected | answers of a Bloom filter on a corpus of its own; ours is exact |
| test_deduper.py, stride, splitter, ngrams | settings of its deduper that have no counterpart |

What Dolma marks we cut, so its spans are the places that our texts lack.
"""

import numpy as np
import pyarrow as pa
import pytest

from dedup.lines import first_of_each, units
from filters.arrow_text import text_buffers
from filters.bad_words import find_bad_words, make_finder
from filters.families import find_family
from filters.ngrams import measure_ngrams
from filters.passage import read_passage
from filters.periodic import next_run
from pipeline.sign import normal_url

SHORT = "This is a test."
LINES = "This is a sentence. \n  \n This is another sentence.\n\n  This is a third sentence."


def signals_of(text: str, name: str) -> dict[str, float]:
    """Return the signals of one English text."""
    measured = find_family(name).measure(read_passage(pa.array([text]), np.array(["en"])))
    return {signal: float(values[0]) for signal, values in measured.signals.items()}


def top_ngrams(text: str) -> list[float]:
    """Return the shares of the most frequent 2, 3 and 4 words as Dolma counts: characters of words, of all words."""
    words = text.split()
    lengths = np.array([len(word) for word in words])
    hashes = np.unique(words, return_inverse=True)[1].astype(np.uint64)
    characters = np.zeros((1, 9))
    ends = np.cumsum(lengths)  # no gap between words
    bounds = np.array([0, len(words)])
    measure_ngrams(bounds, ends - lengths, ends, hashes, lengths, np.array([10]), characters, single=True)
    shares: list[float] = (characters[0, :3] / lengths.sum()).tolist()
    return shares


@pytest.mark.parametrize(("text", "shares"), [(SHORT, [0.5, 0.5833, 1.0]), (LINES, [0.3051, 0.2373, 0.2712])])
def test_dolma_gopher_top_ngrams(text: str, shares: list[float]) -> None:
    """An n-gram that occurs once counts; of equally frequent ones the first."""
    assert top_ngrams(text) == pytest.approx(shares, abs=5e-5)


def test_gopher_takes_no_single_ngram_for_repetition() -> None:
    """Ours says nothing of the short text, and of the other what comes three times, spaces and all characters in."""
    assert not any(signals_of(SHORT, "gopher_repetition").values())
    signals = signals_of(LINES, "gopher_repetition")
    assert [signals[f"top_{n}_gram"] for n in (2, 3, 4)] == pytest.approx([21 / 79, 18 / 79, 0])


@pytest.mark.parametrize(("text", "characters", "words"), [(SHORT, 15, 4), (LINES, 79, 13)])
def test_dolma_gopher_counts(text: str, characters: int, words: int) -> None:
    """Characters and words; nothing is a symbol, a bullet, a stop word or comes twice, every word has a letter."""
    quality = signals_of(text, "gopher_quality@datatrove")
    assert signals_of(text, "gopher_repetition@datatrove")["characters"] == characters
    assert (quality["words"], quality["alphabetic_words"], quality["stop_words"]) == (words, 1, 0)
    nothing = ("hashes_per_word", "ellipses_per_word", "bullet_lines", "ellipsis_lines")
    assert [quality[name] for name in nothing] == [0, 0, 0, 0]
    repetition = signals_of(text, "gopher_repetition")
    assert (repetition["duplicate_lines"], repetition["duplicate_line_characters"]) == (0, 0)
    assert [repetition[f"duplicate_{n}_grams"] for n in range(5, 11)] == [0] * 6


def test_dolma_gopher_word_length() -> None:
    """Three characters in the short text, as mean and as median; in the other Dolma's median is 4, our mean more."""
    assert signals_of(SHORT, "gopher_quality@datatrove")["mean_word_length"] == 3
    assert signals_of(LINES, "gopher_quality@datatrove")["mean_word_length"] == pytest.approx(59 / 13)


def test_dolma_gopher_words_lie_between_white_space() -> None:
    """Six; in the rule on their number the one that is punctuation only does not count, as the paper has it."""
    text = "T h i s \n    \n\n\n    isoneword !!!"
    assert len(read_passage(pa.array([text]), np.array(["en"])).spaced.words.start) == 6
    assert signals_of(text, "gopher_quality@datatrove")["words"] == 5


@pytest.mark.parametrize(("text", "words"), [("The.and.that", 0), ("The and that", 2)])
@pytest.mark.parametrize("variant", ["paper", "datatrove"])
def test_dolma_gopher_required_words(text: str, words: int, variant: str) -> None:
    """Whole words in lower case."""
    assert signals_of(text, f"gopher_quality@{variant}")["stop_words"] == words


def c4_text(text: str, variant: str) -> str:
    """Return what a variant of C4 leaves of a text."""
    measured = find_family(f"c4@{variant}").measure(read_passage(pa.array([text]), np.array(["en"])))
    assert measured.texts is not None
    return str(measured.texts.to_pylist()[0])


def without(text: str, spans: list[tuple[int, int]]) -> str:
    """Return a text without spans and without white space around its lines."""
    for start, end in reversed(spans):
        text = text[:start] + text[end:]
    return "\n".join(line.strip() for line in text.split("\n") if line.strip())


@pytest.mark.parametrize(
    ("text", "spans", "cause", "counted"),
    [
        (
            "This is a test.\nIt has more;\nA trailing space! \nShould be good on this one.\nThis one is bad\n",
            [(16, 29), (76, 92), (92, 92)],
            "lines_without_end_mark",
            2,
        ),
        (
            "Short!\nThis short.\nBarely above the limit!\nthis is last frontier.",
            [(0, 7), (7, 19)],
            "short_lines",
            2,
        ),
    ],
)
def test_dolma_c4_lines(text: str, spans: list[tuple[int, int]], cause: str, counted: int) -> None:
    """Three words and an end mark make a line; the spans are what is cut. An empty last line is none for us."""
    assert c4_text(text, "datatrove") == without(text, spans)
    assert signals_of(text, "c4@datatrove")[cause] == counted


@pytest.mark.parametrize(
    ("text", "signal", "found"),
    [
        ("This is a test {", "curly_brackets", 1),
        ("This is a test javascript", "lines_with_javascript", 1),
        ("This is a lorem ipsum test\nmore test.", "lorem_ipsum", 1),
        *((SHORT, signal, 0) for signal in ("curly_brackets", "lines_with_javascript", "lorem_ipsum")),
    ],
)
def test_dolma_c4_phrases(text: str, signal: str, found: int) -> None:
    """Looked for in lines that end in no mark as well, as c4@fineweb does; others read what got so far only."""
    assert signals_of(text, "c4@fineweb")[signal] == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("There is none in this sentence.", []),
        ("What this one mentions is viagra, or rather viagra as a word.", ["viagra"]),
        ("There is ass, with a comma, which hides it from Dolma.", ["ass"]),
        ("If I say strap on in a plane, it is in the list all the same.", ["strap on"]),
    ],
)
def test_dolma_naughty_words(text: str, found: list[str]) -> None:
    """Words and phrases; C4's own rule, which is ours, looks past the comma that Dolma's words end in."""
    finder = make_finder("en", ["viagra", "ass", "strap on"])
    assert find_bad_words(pa.array([text]), np.array(["en"]), {"en": finder}) == [found]


def runs_in(values: list[int], shortest: int, longest: int, fewest: int = 3) -> list[tuple[int, int, int, int]]:
    """Return (start, end, period, times) of all runs, by period."""
    array, found = np.array(values), []
    for period in range(shortest, longest + 1):
        begin, end = next_run(array, 0, len(array), period, fewest)
        while begin < len(array):
            found.append((begin, end, period, (end - begin) // period))
            begin, end = next_run(array, end - period + 1, len(array), period, fewest)
    return found


@pytest.mark.parametrize(
    ("digits", "shortest", "longest", "runs"),
    [
        ("5000007", 1, 1, [(1, 6, 1, 5)]),
        ("501010127", 2, 2, [(1, 7, 2, 3)]),
        ("5301040104010401", 4, 4, [(2, 16, 4, 3)]),
        ("04004004004030", 3, 3, [(0, 12, 3, 4)]),
        ("004646464639955055055046550", 2, 3, [(2, 10, 2, 4), (13, 22, 3, 3)]),
        ("123456789", 1, 10, []),
        ("112233445566778899", 1, 10, []),
    ],
)
def test_dolma_periodic_sequences(
    digits: str, shortest: int, longest: int, runs: list[tuple[int, int, int, int]]
) -> None:
    """Bounds, period and times, where a span comes at least three times in a row."""
    assert runs_in([int(digit) for digit in digits], shortest, longest) == runs


REPEATING = [" repetitions" * 4, "blah blah blah blah blah", "M" * 10, " bass banana" * 4]
REPETITIVE = f"""
A text with{REPEATING[0][:24]}.
Then one with{REPEATING[0]}.

{REPEATING[1]}

There is nothing of it where this line begins but {REPEATING[2]}

Seen twice:{REPEATING[3]}
"""


def test_dolma_repetitions() -> None:
    """What comes four times or more: spans of characters, most times, longest, share; "blah" and a space four times."""
    text = REPETITIVE
    found = {period: runs_in([*map(ord, text)], period, period, 4) for period in (1, 5, 12)}
    (words, bananas), (blahs,), (letters,) = found[12], found[5], found[1]
    assert [text[run[0] : run[1]].strip() for run in (words, blahs, letters, bananas)] == [r.strip() for r in REPEATING]
    assert [run[3] for run in (words, blahs, letters, bananas)] == [4, 4, 10, 4]
    assert max(run[3] for runs in found.values() for run in runs) == 10
    lengths = [run[1] - run[0] for runs in found.values() for run in runs]
    assert max(lengths) == len(REPEATING[0])
    assert sum(lengths) == sum(map(len, REPEATING))


def test_dolma_text_without_repetitions() -> None:
    """Double letters are none."""
    text = "\nThis text goes without repetitions.\n\nThere are double letters here and there, which do not count.\n"
    assert runs_in([*map(ord, text)], 1, 13, 4) == []
    assert signals_of(text, "periodic") == {"times": 0, "share": 0}


def test_dolma_repeated_words() -> None:
    """Word by word "repetitions" comes four times, "blah" five, two words four; ten letters M are one word."""
    counts = [signals_of(f"A text with{' ' + part.strip()} in it.", "periodic")["times"] for part in REPEATING]
    assert counts == [4, 5, 0, 4]
    assert signals_of(REPETITIVE, "periodic")["times"] == 5


def repeated_units(texts: list[str]) -> list[tuple[int, str]]:
    """Return (document, text) of the lines that are not the first of their hash."""
    offsets, data = text_buffers(pa.array(texts, pa.large_string()))
    found = units(offsets, data, paragraphs=False)
    order = np.arange(len(found))
    first = first_of_each(found["hash"], found["document"].astype(np.uint64), order)
    rows = zip(found["document"].tolist(), found["start"].tolist(), found["end"].tolist(), strict=True)
    spans = [(d, texts[d].encode()[a:b].decode()) for d, a, b in rows]
    return [span for span, is_first in zip(spans, first, strict=True) if not is_first]


def test_dolma_repeated_paragraphs() -> None:
    """The second of two equal ones is found, its line feed with it, also behind letters of four bytes."""
    lines = ["This one is alone.", "This one comes twice.", "This one comes twice.", "An emoji 😊 alone"]
    lines += ["An emoji 🀜 that comes twice", "An emoji 🀜 that comes twice", "And another one alone."]
    assert repeated_units(["\n".join(lines)]) == [(0, lines[2] + "\n"), (0, lines[5] + "\n")]


def test_dolma_empty_paragraphs() -> None:
    """A line that an earlier document has is found in the later one; empty lines are never cut (skip_empty)."""
    assert repeated_units(["Short\n\nMore text", "Short #2\n\nMore text"]) == [(1, "More text")]


def test_dolma_dedupe_by_url() -> None:
    """Equal addresses are one key, a different path or query another."""
    urls = ["https://a.org/x", "https://a.org/x", "https://a.org/y", "https://a.org/x?page=2"]
    assert [normal_url(url) == normal_url(urls[0]) for url in urls] == [True, True, False, False]

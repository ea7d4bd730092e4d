"""C4's rules: keep the lines that look like sentences, then the pages with enough of them.

Raffel et al. 2020 (arXiv:1910.10683), section 2.2, in the form of the code that made C4 (TensorFlow
Datasets, text/c4_utils.py, clean_page): its order, its five words a line and three sentences a page. A
line goes when a word in it is longer than 1000 characters, when it does not end in a terminal mark or
ends in "...", has under five words, or names JavaScript or a cookie or privacy policy; citation marks
such as [3] are cut out. A page goes when a line that got so far holds "lorem ipsum" or a curly bracket, or
with fewer than three sentences, and before any of that when it has more than 190,000 characters. White space at the
ends of what is left goes. That is the variant `tfds`, but for how sentences are counted, by a few rules and a short
list of abbreviations (c4_lines.next_sentence) where TFDS runs NLTK's trained punkt, and for the phrases' case, of
which ASCII's is enough here. It reads English: marks, words between spaces, phrases; of languages that write other
marks nothing is left. The variant `sentences`, our default, is made for all languages and for what extractors leave:

- Terminal marks of other scripts count, and a mark may be followed by closing quotes or brackets
  (characters.CLOSERS). A line in a script without such marks (Thai, Lao) needs none, and their sentences are
  not judged.
- A line with three sentences and five words, which alone would make a page, is cut sentence by sentence. Extractors
  lose line breaks, and a page in one line then goes as a whole for ending in "Read more", or for one mention of
  cookies: of 33,274 clean documents that took 1,560, two thirds of the Shona news. What follows the last mark goes, and
  sentences with a word too long, JavaScript or a policy in them; short ones stay.
- The phrases about policies are those of the document's language (policy_phrases.py); a language without a list
  is not judged by them.
- Words are those of filters/words.py: in Chinese five characters make a line long enough.
- A line with lorem ipsum or a curly bracket is cut itself, which shows only where that rule is switched off.

The variant `datatrove` is datatrove 0.10.1's C4QualityFilter, which swaps the two numbers (three words, five
sentences), counts words before citations are cut, splits them at white space, and takes the straight single quote for
a terminal mark but no mark beyond ASCII; only its sentences are counted by our rules. It has no longest page. The
variant `fineweb` is the same with the lines that do not end in a mark left in, as FineWeb used it (Penedo et al. 2024,
arXiv:2406.17557, section 3.5; datatrove examples/fineweb.py, filter_no_terminal_punct=False).
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from filters.arrow_text import text_array
from filters.c4_lines import COLUMNS, DATATROVE, NO_POLICY_ROW, OURS, POLICY_ROWS, TFDS, clean_lines
from filters.characters import character_classes
from filters.passage import Passage
from filters.rules import Family, Measured, Rule, Signal
from filters.words import UNMARKED_LANGUAGES

_ABOUT = {
    "characters": "characters of the page before any line is cut",
    "kept_lines": "lines that passed every line rule",
    "lines_with_long_word": "lines cut for a word of more than 1000 characters",
    "lines_without_end_mark": "lines cut because they do not end in a terminal mark, or end in ...",
    "short_lines": "lines cut for having fewer than five words",
    "lines_with_javascript": "lines cut for naming JavaScript",
    "lines_with_policy": "lines cut for naming terms of use, a privacy policy or cookies",
    "lorem_ipsum": "lines with the filler text, among those that passed the rules above",
    "curly_brackets": "lines with an opening curly bracket, among those that passed the rules above",
    "sentences": "sentences in the kept lines",
}
SIGNALS = tuple(Signal(name, 0, np.inf, whole=True, about=about) for name, about in _ABOUT.items())
RULES = (
    Rule(reason="page_too_long", signal="characters", maximum=190_000),  # TFDS c4_utils, is_valid_length
    Rule(reason="lorem_ipsum", signal="lorem_ipsum", maximum=0),  # TFDS c4_utils, clean_page
    Rule(reason="curly_bracket", signal="curly_brackets", maximum=0),  # TFDS c4_utils, clean_page
    Rule(
        reason="too_few_sentences",
        signal="sentences",
        minimum=3,  # TFDS c4_utils, MIN_NUM_SENTENCES
        exempt=UNMARKED_LANGUAGES,
    ),
)


TFDS_RULES = (*RULES[:3], replace(RULES[3], exempt=frozenset()))
DATATROVE_RULES = (
    *RULES[1:3],
    Rule(reason="too_few_sentences", signal="sentences", minimum=5),  # datatrove C4QualityFilter, min_num_sentences
)
FEWEST_WORDS = 5  # in a line; TFDS c4_utils, MIN_WORDS_PER_LINE
FEWEST_WORDS_IN_DATATROVE = 3  # in a line; datatrove C4QualityFilter, min_words_per_line
FLAT_SENTENCES = 3  # in a line that is a page; TFDS c4_utils, MIN_NUM_SENTENCES


def measure(passage: Passage) -> Measured:
    """Return the ten signals, one array (documents) each, and the texts' kept lines, joined by line feeds."""
    rows = [POLICY_ROWS.get(str(language), NO_POLICY_ROW) for language in passage.languages]
    return _measure(passage, np.array(rows, np.int64), FEWEST_WORDS, flat=FLAT_SENTENCES)


def measure_as_tfds(passage: Passage) -> Measured:
    """Return the same by TFDS's rules for lines, with the English phrases for every language."""
    return _measure(passage, np.full(len(passage.texts), POLICY_ROWS["en"]), FEWEST_WORDS, whose=TFDS)


def measure_as_datatrove(passage: Passage) -> Measured:
    """Return the same by datatrove's rules for lines, with the English phrases for every language."""
    rows = np.full(len(passage.texts), POLICY_ROWS["en"])
    return _measure(passage, rows, FEWEST_WORDS_IN_DATATROVE, whose=DATATROVE)


def measure_as_fineweb(passage: Passage) -> Measured:
    """Return the same with lines that may end in anything."""
    rows = np.full(len(passage.texts), POLICY_ROWS["en"])
    return _measure(passage, rows, FEWEST_WORDS_IN_DATATROVE, whose=DATATROVE, unended=True)


FAMILY = Family("c4", SIGNALS, RULES, measure, edits=True)
AS_TFDS = Family("c4", SIGNALS, TFDS_RULES, measure_as_tfds, edits=True)
AS_DATATROVE = Family("c4", SIGNALS, DATATROVE_RULES, measure_as_datatrove, edits=True)
AS_FINEWEB = Family("c4", SIGNALS, DATATROVE_RULES, measure_as_fineweb, edits=True)


def _measure(
    passage: Passage,
    policies: NDArray[np.int64],
    fewest: int,
    *,
    whose: int = OURS,
    unended: bool = False,
    flat: int = 0,
) -> Measured:
    """Clean a copy of the texts."""
    begin, end = passage.offsets[0], passage.offsets[-1]
    text = passage.data[begin:end].copy()
    counts = np.zeros((len(passage.texts), len(COLUMNS)), np.int64)
    classes = character_classes()
    offsets = clean_lines(text, passage.offsets - begin, classes, policies, fewest, whose, unended, flat, counts)
    signals = {name: counts[:, column].copy() for column, name in enumerate(COLUMNS)}
    return Measured({"characters": passage.characters, **signals}, text_array(offsets, text[: offsets[-1]]))

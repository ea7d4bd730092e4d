"""C4's rules: keep the lines that look like sentences, then the pages with enough of them.

Raffel et al. 2020 (arXiv:1910.10683), section 2.2, in the form of the code that made C4 (TensorFlow
Datasets, text/c4_utils.py, clean_page): its order, its five words a line and three sentences a page. A
line goes when a word in it is longer than 1000 characters, when it does not end in a terminal mark or
ends in "...", has under five words, or names JavaScript or a cookie or privacy policy; citation marks
such as [3] are cut out. A page goes when a line that got so far holds "lorem ipsum" or a curly bracket,
or with fewer than three sentences. Where we differ:

- Terminal marks of other scripts count, and a mark may be followed by closing quotes or brackets
  (characters.CLOSERS). A line in a script without such marks (Thai, Lao) needs none, and their sentences are
  not judged.
- Words are those of filters/words.py: in Chinese five characters make a line long enough.
- Sentences are counted by a few rules (c4_lines.count_sentences), where TFDS runs NLTK's trained punkt.
- A line with lorem ipsum or a curly bracket is cut itself, which shows only where that rule is switched off.
"""

import numpy as np

from filters.arrow_text import text_array
from filters.c4_lines import COLUMNS, clean_lines
from filters.characters import character_classes
from filters.passage import Passage
from filters.rules import Family, Measured, Rule, Signal

_ABOUT = {
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
SIGNALS = tuple(Signal(name, 0, np.inf, whole=True, about=_ABOUT[name]) for name in COLUMNS)
RULES = (
    Rule(reason="lorem_ipsum", signal="lorem_ipsum", maximum=0),  # TFDS c4_utils, clean_page
    Rule(reason="curly_bracket", signal="curly_brackets", maximum=0),  # TFDS c4_utils, clean_page
    Rule(
        reason="too_few_sentences",
        signal="sentences",
        minimum=3,  # TFDS c4_utils, MIN_NUM_SENTENCES
        exempt=frozenset({"th", "lo"}),
    ),
)


def measure(passage: Passage) -> Measured:
    """Return the nine signals, one array (documents) each, and the texts' kept lines, joined by line feeds."""
    begin, end = passage.offsets[0], passage.offsets[-1]
    text = passage.data[begin:end].copy()
    counts = np.zeros((len(passage.texts), len(COLUMNS)), np.int64)
    offsets = clean_lines(text, passage.offsets - begin, character_classes(), counts)
    signals = {name: counts[:, column].copy() for column, name in enumerate(COLUMNS)}
    return Measured(signals, text_array(offsets, text[: offsets[-1]]))


FAMILY = Family("c4", SIGNALS, RULES, measure, edits=True)

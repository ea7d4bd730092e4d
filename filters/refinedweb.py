"""RefinedWeb's line corrections: lines that are buttons, counters and shouting go, and pages that are mostly such.

Penedo et al. 2023, "The RefinedWeb Dataset" (arXiv:2306.01116), appendix G.2: a line goes that is mainly upper case,
only digits, a counter (3 likes) or one word; of a line of at most ten words a pattern is cut at the beginning
(sign-in), at the end (Read more...) or anywhere (items in cart); a page whose flagged lines hold more than 5 % of its
words is rejected. The paper names the patterns by these examples only, and counts upper case without a number; the
number and the words after a counter are those of dclm (baselines/mappers/modifiers.py). Where we differ:

- A line of one word is judged by filters/words.py, so that a line of Chinese is none, and only where the line has no
  terminal mark: "Why?" is a sentence.
- The patterns and the counters are English and read in English documents only.
- Lines are those between line feeds; blank ones stay, so that paragraphs do.
"""

import numpy as np

from filters.arrow_text import text_array
from filters.characters import character_classes
from filters.passage import Passage
from filters.refinedweb_lines import COLUMNS, correct_lines
from filters.rules import Family, Measured, Rule, Signal

_ABOUT = {
    "uppercase_lines": "lines cut for being mainly upper case",
    "numeric_lines": "lines cut for holding digits only",
    "counter_lines": "lines cut for being a counter, such as 3 likes",
    "one_word_lines": "lines cut for being one word",
    "corrected_lines": "lines of which a pattern, such as Read more, was cut",
}
SIGNALS = (
    *(Signal(name, 0, np.inf, whole=True, about=_ABOUT[name]) for name in COLUMNS),
    Signal("flagged_words", 0, 1, about="fraction of words in such lines"),
)
RULES = (
    Rule(
        reason="too_many_flagged_words",
        signal="flagged_words",
        maximum=0.05,  # Penedo et al. 2023, appendix G.2
    ),
)


def measure(passage: Passage) -> Measured:
    """Return the six signals, one array (documents) each, and the corrected texts."""
    begin, end = passage.offsets[0], passage.offsets[-1]
    text = passage.data[begin:end].copy()
    counts = np.zeros((len(passage.texts), len(COLUMNS) + 2), np.int64)
    english = passage.languages == "en"
    offsets = correct_lines(text, passage.offsets - begin, character_classes(), english, counts)
    signals = {name: counts[:, column].copy() for column, name in enumerate(COLUMNS)}
    flagged = counts[:, -2] / np.maximum(counts[:, -1], 1)
    return Measured(signals | {"flagged_words": flagged}, text_array(offsets, text[: offsets[-1]]))


FAMILY = Family("refinedweb", SIGNALS, RULES, measure, edits=True)

"""mC4's rule: a page has three lines of 200 characters.

Xue et al. 2021, "mT5" (arXiv:2010.11934), section 3.1, in the form of TensorFlow Datasets, text/c4_utils.py,
is_paragraph_page (datatrove: C4ParagraphFilter): lines between line feeds, white space at their ends included. The code
judges every language by the same number, and so do we; Chinese and Japanese need about a third of the characters, which
`[mc4.third_longest_line.by_language]` can say.
"""

import numpy as np
from numba import njit

from filters.characters import Array
from filters.passage import Passage
from filters.rules import Family, Measured, Rule, Signal

SIGNALS = (
    Signal(
        "third_longest_line",
        0,
        np.inf,
        whole=True,
        about="characters of the third longest line, 0 with fewer than three",
    ),
)
RULES = (
    Rule(
        reason="too_few_long_lines",
        signal="third_longest_line",
        minimum=200,  # TFDS c4_utils, min_paragraph_len, of min_paragraphs = 3
    ),
)


def measure(passage: Passage) -> Measured:
    """Return the one signal (documents)."""
    return Measured({"third_longest_line": _third_longest(passage.lines.first, passage.lines.lengths)})


FAMILY = Family("mc4", SIGNALS, RULES, measure)


@njit(cache=True, nogil=True)
def _third_longest(first: Array, lengths: Array) -> Array:
    """Return the third longest line of every document."""
    thirds = np.zeros(first.shape[0] - 1, np.int64)
    for document in range(thirds.shape[0]):
        one, two, three = 0, 0, 0
        for line in range(first[document], first[document + 1]):
            length = int(lengths[line])
            if length > one:
                one, two, three = length, one, two
            elif length > two:
                two, three = length, two
            elif length > three:
                three = length
        thirds[document] = three
    return thirds

"""What SentencePiece can be given: it has three reserved characters and a limit on a sentence's length."""

import re
from collections.abc import Iterator

# U+2581 is SentencePiece's own space, U+2585 its mark for the unknown, and a NUL ends its strings; a text that has
# them is encoded around them, byte by byte.
RESERVED = re.compile("[\0\u2581\u2585]")
MAX_SENTENCE_CHARACTERS = 1000  # SentencePiece's limit is 4,192 bytes, and a character takes at most four


def sentences(text: str) -> Iterator[str]:
    """Yield the lines of a text in pieces that the trainer takes as they are; reserved characters are left out."""
    for line in text.split("\n"):
        for part in RESERVED.split(line):
            for start in range(0, len(part), MAX_SENTENCE_CHARACTERS):
                yield part[start : start + MAX_SENTENCE_CHARACTERS]

"""Functions as a user of the pipeline writes them."""

import numpy as np


def commas(text: str) -> float:
    """Return the share of characters that are commas."""
    return text.count(",") / max(1, len(text))


def has_river(text: str) -> bool:
    """Keep texts about rivers."""
    return "river" in text


def about_long(text: str) -> int | None:
    """Return the number of sentences of long texts."""
    return text.count(".") if len(text) > 10 else None


def fails(text: str) -> bool:
    """Raise an error."""
    return text[1000] == "x"


def says_words(text: str) -> object:
    """Return what is no verdict."""
    return text.split()


def length_to_the_power(text: str) -> int:
    """Return a whole number that soon is too large for a float."""
    return 10 ** len(text)


def ratio(text: str) -> float:
    """Return a NumPy number: infinite without spaces, no number without text."""
    with np.errstate(all="ignore"):
        return np.float64(len(text)) / np.float64(text.count(" "))


NUMBER = 5

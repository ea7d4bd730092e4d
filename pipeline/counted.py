"""Counted: a number and what it counts, as people write them."""


def counted(number: int, noun: str) -> str:
    """Return "1 document" or "2,000 documents"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")

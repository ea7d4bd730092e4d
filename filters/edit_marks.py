"""The edits on marks and numbers: repeated punctuation becomes one mark, numbers one format."""

import re

# Marks that build nothing when repeated; brackets, backslashes and - = * # ` | $ _ ~ : / < > do in Markdown.
REPEATED = "!?,;，。！？；：、～•·"  # ours
WIDE = "０-９𝟎-𝟿"  # full-width and mathematical digits
_REPEATED = re.compile(rf"([{REPEATED}])\1+")
_DOTS = re.compile(r"\.{4,}|…{3,}|—{3,}")
_QUICK = ("!!", "??", ",,", ";;")  # all that _REPEATED finds in ASCII

_WIDE = re.compile(f"[{WIDE}][{WIDE}]*(?:[．，][{WIDE}]+)*")
_TO_ASCII = {
    **{ord("０") + i: str(i) for i in range(10)},
    **{0x1D7CE + i: str(i % 10) for i in range(50)},  # five mathematical alphabets of digits
    ord("．"): ".",
    ord("，"): ",",
}
_GROUP = re.compile(r"[0-9]['’][0-9]{3}['’]")
_APOSTROPHES = re.compile(r"(?<![\w.,'’])[0-9]{1,3}(?:(?:'[0-9]{3}){2,9}|(?:’[0-9]{3}){2,9})(?![\w'’])")


def collapse_punctuation(text: str) -> tuple[str, int]:
    """Make a run of one mark a single one; "....", "………" and "———" end up as "...", "……" and "——"."""
    count = 0
    if not text.isascii() or any(pair in text for pair in _QUICK):
        text, count = _REPEATED.subn(r"\1", text)
    if "...." in text or "………" in text or "———" in text:
        text, dots = _DOTS.subn(_shortest, text)
        count += dots
    return text, count


def unify_numbers(text: str) -> tuple[str, int]:
    """Write full-width and mathematical digits in ASCII, and 1'234'567 as 1,234,567.

    Two groups of three are asked for: 1'234 may be feet or minutes, and 1.234 or 1,234 a fraction. Points and
    spaces stay: they also write dates, versions, addresses and telephone numbers.
    """
    wide, groups = 0, 0
    if not text.isascii():
        text, wide = _WIDE.subn(lambda match: match.group().translate(_TO_ASCII), text)
    if _GROUP.search(text):
        text, groups = _APOSTROPHES.subn(lambda match: match.group().replace("'", ",").replace("’", ","), text)
    return text, wide + groups


def _shortest(match: re.Match[str]) -> str:
    """Return the run's shortest form that still is what it was."""
    mark = match.group()[0]
    return "..." if mark == "." else mark * 2

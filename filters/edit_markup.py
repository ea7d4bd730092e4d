"""What the edits must not touch, and the two that remove markup: HTML tags and URLs.

Every pattern is bounded, or possessive, or starts where the one before ended, so that no text takes more
than linear time. No pattern eats a HOLE.
"""

import re
from collections.abc import Callable

HOLE = "\ufdd0"  # a noncharacter; stands for what is protected while the rest is edited

_CLOSERS = {"```": "```", "~~~": "~~~", "$$": "$$", r"\[": r"\]", r"\(": r"\)", r"\begin{": r"\end{"}
_OPENERS = re.compile(r"```|~~~|\$\$|\\\[|\\\(|\\begin\{|`[^`\n]++`|\$(?![\s$])[^$\n]{0,500}+\$(?!\d)")

# Elements of the HTML standard and those it replaced; others in angle brackets may be code or mathematics.
_BLOCKS = (
    "address|article|aside|blockquote|body|br|caption|center|dd|details|dialog|dir|div|dl|dt|fieldset|figcaption|"
    "figure|footer|form|frameset|h[1-6]|head|header|hgroup|hr|html|legend|li|main|menu|nav|noscript|ol|optgroup|"
    "option|p|pre|search|section|select|summary|table|tbody|td|textarea|tfoot|th|thead|title|tr|ul"
)
_INLINES = (
    "a|abbr|acronym|applet|area|audio|b|base|basefont|bdi|bdo|big|button|canvas|cite|code|col|colgroup|data|datalist|"
    "del|dfn|em|embed|font|frame|i|iframe|img|input|ins|kbd|label|link|map|mark|meta|meter|nobr|noframes|object|"
    "output|param|picture|progress|q|rp|rt|ruby|s|samp|script|slot|small|source|span|strike|strong|style|sub|sup|"
    "svg|template|time|track|tt|u|var|video|wbr"
)
_REST = r"(?:\s[^<>=\ufdd0]{1,99}+=[^<>\ufdd0]{0,4000}+|\s{0,9}+/?)>"  # attributes with a value, or nothing
_BLOCK = re.compile(rf"</?(?:{_BLOCKS}){_REST}", re.IGNORECASE)
_INLINE = re.compile(rf"</?(?:{_INLINES}){_REST}|<![^<>\ufdd0]{{0,4000}}+>", re.IGNORECASE)

_IN_ADDRESS = r"[\w.~:/?#@!$&'*+,;=%-]"
_ADDRESS = rf"(?:https?://|ftp://|www\.(?=[\w-]{{1,63}}+\.))(?:{_IN_ADDRESS}++|\({_IN_ADDRESS}*+\))*+"
_LINK = re.compile(
    rf"\[([^\[\]\n]*+)\]\( ?<?(?:{_ADDRESS}|mailto:[^\s()\ufdd0]*+)>?(?: \"[^\"\n\ufdd0]{{0,200}}+\")? ?\)",
    re.ASCII,
)
_URL = re.compile(_ADDRESS, re.ASCII)
_AFTER_ADDRESS = ".,;:!?'*"  # at the end of an address these belong to the sentence
_BRACKETS = {"(": ")", "<": ">"}


def protect(text: str) -> tuple[str, list[str]]:
    """Replace fenced and inline code and mathematics by HOLE, and return them in order.

    An opener without its closer protects nothing.
    """
    text = text.replace(HOLE, "")
    if "`" not in text and "$" not in text and "\\" not in text and "~~~" not in text:
        return text, []
    pieces, protected, done, last_closer = [], [], 0, dict.fromkeys(_CLOSERS.values(), 0)
    for match in _OPENERS.finditer(text):
        if match.start() < done:
            continue
        end = _end_of_protected(text, match, last_closer)
        if end > match.start():
            pieces.append(text[done : match.start()])
            protected.append(text[match.start() : end])
            done = end
    return HOLE.join([*pieces, text[done:]]), protected


def restore(text: str, protected: list[str]) -> str:
    """Put back what `protect` took out."""
    if not protected:
        return text
    pieces = text.split(HOLE)
    return "".join(piece + part for piece, part in zip(pieces, [*protected, ""], strict=True))


def _end_of_protected(text: str, match: re.Match[str], last_closer: dict[str, int]) -> int:
    """Return where the protected part ends, -1 where it has no end; a closer is searched for once only."""
    closer = _CLOSERS.get(match.group())
    if closer is None:
        return match.end()
    if 0 <= last_closer[closer] < match.end():
        last_closer[closer] = text.find(closer, match.end())
    return last_closer[closer] + len(closer) if last_closer[closer] >= 0 else -1


def strip_tags(text: str) -> tuple[str, int]:
    """Remove HTML tags, comments and declarations: block elements leave a line feed, others nothing."""
    if "<" not in text or ">" not in text:
        return text, 0
    text, blocks = _BLOCK.subn("\n", text)
    text, inlines = _INLINE.subn("", text)
    return text, blocks + inlines


def strip_urls(text: str) -> tuple[str, int]:
    """Remove web addresses, with brackets around them; a Markdown link or image leaves its text."""
    if "://" not in text and "www." not in text and "mailto:" not in text:
        return text, 0
    text, links = _cut(text, _LINK, _link_bounds)
    text, urls = _cut(text, _URL, _url_bounds)
    return text, links + urls


def _cut(
    text: str, pattern: re.Pattern[str], bounds: Callable[[re.Match[str]], tuple[int, int, str]]
) -> tuple[str, int]:
    """Replace what `bounds` makes of every match: where to cut from and to, and what to leave there."""
    pieces, done = [], 0
    for match in pattern.finditer(text):
        start, end, left = bounds(match)
        pieces += [text[done : max(done, start)], left]
        done = end
    return ("".join([*pieces, text[done:]]), len(pieces) // 2) if pieces else (text, 0)


def _link_bounds(match: re.Match[str]) -> tuple[int, int, str]:
    """Take the mark of an image too, and leave the text."""
    start = match.start()
    return start - match.string.startswith("!", max(0, start - 1)), match.end(), match.group(1)


def _url_bounds(match: re.Match[str]) -> tuple[int, int, str]:
    """Take brackets around an address and one space before it; leave marks that end its sentence."""
    text, start = match.string, match.start()
    end = start + len(match.group().rstrip(_AFTER_ADDRESS))
    closer = _BRACKETS.get(text[max(0, start - 1) : start])
    if closer and text.startswith(closer, end):
        start, end = start - 1, end + 1
    return start - text.startswith(" ", max(0, start - 1)), end, ""

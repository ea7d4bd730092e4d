"""What the edits must not touch, and the two that remove markup: HTML tags and URLs.

Every pattern is bounded, or possessive, or starts where the one before ended, so that no text takes more than linear time.
No pattern eats a HOLE.
"""

import re

HOLE = "\ufdd0"  # a noncharacter; stands for what is protected while the rest is edited

_CLOSERS = {"```": "```", "~~~": "~~~", "$$": "$$", r"\[": r"\]", r"\(": r"\)", r"\begin{": r"\end{"}
_OPENERS = re.compile(r"```|~~~|\$\$|\\\[|\\\(|\\begin\{|`[^`\n]++`|\$(?![\s$])[^$\n]{0,500}+\$(?!\d)")

# Elements of the HTML standard and those it replaced; anything else in angle brackets may be code or mathematics.
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

_ADDRESS = r"(?:(?:https?|ftp)://|www\.(?=[\w-]{1,63}+\.))(?:[\w.~:/?#@!$&'*+,;=%-]++|\([\w.~:/?#@!$&'*+,;=%-]*+\))*+"
_LINK = re.compile(
    rf"!?\[([^\[\]\n]*+)\]\( ?<?(?:{_ADDRESS}|mailto:[^\s()\ufdd0]*+)>?(?: \"[^\"\n\ufdd0]{{0,200}}+\")? ?\)",
    re.ASCII,
)
_URL = re.compile(rf" ?(?:\({_ADDRESS}\)|<{_ADDRESS}>|{_ADDRESS})", re.ASCII)
_AFTER_ADDRESS = ".,;:!?'*"  # at the end of an address these belong to the sentence


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
    text, links = _LINK.subn(r"\1", text)
    text, urls = _URL.subn(_without_address, text)
    return text, links + urls


def _without_address(match: re.Match[str]) -> str:
    """Return the marks after an address that belong to its sentence."""
    found = match.group()
    return found[len(found.rstrip(_AFTER_ADDRESS)) :]

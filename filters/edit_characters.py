"""The edits on single characters: garbled text, and special characters that a language does not need."""

import re

# Inside of character classes; filters/edit_needs.py looks for the same characters.
GARBLED = (
    "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"  # controls that are no white space
    "\ufffd\ufffe\uffff\ufdd1-\ufdef"  # the replacement character, noncharacters (but edit_markup.HOLE)
    "\ue000-\uf8ff\U000f0000-\U0010ffff"  # private use
)
GARBLED_HAN = "锟烫屯"  # the bytes of U+FFFD, or of memory that was not set, read as GBK
INVISIBLE = "\u00ad\ufeff\u2060\u180e"  # soft hyphen, byte order mark, word joiner, vowel separator
LINE_ENDS = "\r\x0b\x0c\x85\u2028\u2029"
SPECIAL = f"{INVISIBLE}{LINE_ENDS}\xa0\u2000-\u200a\u202f\u205f"  # and spaces of other widths
JOINERS = "\u200b-\u200f"  # zero width space, joiners, direction marks
BULLETS = "●■◆▪▫◦‣⁃∙►▶➢➤✓✔❖○□◇"  # ours
LEADS = (
    "Â",
    "Ã",
    "â€",
    "â\x80",
    "ï»",
    "ï¿",
)  # how Windows-1252 and Latin-1 show the bytes C2, C3, E2 80, EF BB and EF BF

# UTF-8 that was read as Windows-1252, or as Latin-1: a lead byte's character, then what a continuation byte stands for.
_CONTINUED = "\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"  # Windows-1252 table, 0x80 to 0xBF
_MOJIBAKE = re.compile(rf"[ÂÃ][{_CONTINUED}]|â[€\x80][{_CONTINUED}]|ï»¿|ï¿½")
_GARBLED = re.compile(f"[{GARBLED}]")
_GARBLED_HAN = re.compile(f"[{GARBLED_HAN}](?:(?<=锟)斤拷|(?<=烫)烫{{2,}}|(?<=屯)屯{{2,}})")
_SPECIAL = re.compile(f"[{SPECIAL}]")
_JOINERS = re.compile(
    "(?<![\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff])\u200b"  # but where it breaks lines between such letters
    "|(?<![^\x00-\u02ff])[\u200c-\u200f]"  # after Latin, or at the start
)
_ANY_JOINER = re.compile(f"[{JOINERS}]")
_BULLET = re.compile(rf"^([ \t]{{0,20}})[{BULLETS}](?=[ \t])", re.MULTILINE)


def drop_garbled(text: str) -> tuple[str, int]:
    """Repair UTF-8 that was read as Windows-1252 or Latin-1; drop replacement, control and private characters."""
    repaired = 0
    if not text.isascii():
        if any(lead in text for lead in LEADS):
            text, repaired = _MOJIBAKE.subn(_repair, text)
        text, han = _GARBLED_HAN.subn("", text)
        repaired += han
    text, dropped = _GARBLED.subn("", text)
    return text, repaired + dropped


def normalise_special(text: str) -> tuple[str, int]:
    """Drop invisible characters, make spaces, line ends and bullets of all kinds one kind each.

    Joiners and direction marks stay where they matter: inside words of other scripts than Latin.
    """
    windows = text.count("\r\n")
    text, special = _SPECIAL.subn(_plain, text.replace("\r\n", "\n") if windows else text)
    if text.isascii():
        return text, windows + special
    joiners = 0
    if _ANY_JOINER.search(text):
        text, joiners = _JOINERS.subn("", text)
    text, bullets = _BULLET.subn(r"\1•", text)
    return text, windows + special + joiners + bullets


def _repair(match: re.Match[str]) -> str:
    """Decode again what was decoded wrongly; leave it where that gives nothing."""
    encoded = b"".join(_to_byte(character) for character in match.group())
    try:
        return encoded.decode()
    except UnicodeDecodeError:
        return match.group()


def _to_byte(character: str) -> bytes:
    """Encode as Windows-1252, and its five holes as Latin-1."""
    try:
        return character.encode("cp1252")
    except UnicodeEncodeError:
        return character.encode("latin-1")


def _plain(match: re.Match[str]) -> str:
    """Return the plain form of a special character."""
    if match.group() in LINE_ENDS:
        return "\n"
    return "" if match.group() in INVISIBLE else " "

"""What the filters need to know about a code point, as one table of bits, and how to read one from UTF-8.

The general categories come from Python's unicodedata; the lists of scripts and marks below are ours, made
from the Unicode block names and from the Sentence_Terminal property of the scripts in use today.
"""

import functools
import unicodedata
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]  # in compiled code, whose types are those of the call

SPACE = 1  # str.isspace
LINE_BREAK = 2  # where str.splitlines splits
LETTER = 4  # str.isalpha
PUNCTUATION = 8  # categories P (punctuation), S (symbols) and Cc (controls)
SPACELESS = 16  # a letter of a script written without spaces between words
COMBINING = 32  # category M: written on the letter before it
TERMINAL = 64  # ends a sentence
CLOSER = 128  # may stand between the mark that ends a sentence and the end of the line
LOWER = 256  # str.islower
UNMARKED = 512  # a letter of a script that marks the end of a sentence with a space only
WORD_SPACE = 1024  # stands between words where others write a space
UPPER = 2048  # str.isupper
DIGIT = 4096  # str.isdigit
DATATROVE_PUNCTUATION = 8192  # what datatrove calls punctuation
DATATROVE_TERMINAL = 16384  # what datatrove says ends a line
DECIMAL = 32768  # str.isdecimal, what \d stands for in a regular expression

LINE_BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"  # str.splitlines, Python's documentation

# First and last code point of the blocks of scripts written without spaces between words.
SPACELESS_BLOCKS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x1B00, 0x1B7F),  # Balinese
    (0x3005, 0x3007),  # Han: iteration mark, closing mark, zero
    (0x3021, 0x3029),  # Han: Suzhou numerals
    (0x3031, 0x303C),  # Han and kana: repeat marks
    (0x3041, 0x30FF),  # Hiragana, Katakana
    (0x3100, 0x312F),  # Bopomofo
    (0x31A0, 0x31BF),  # Bopomofo extended
    (0x31F0, 0x31FF),  # Katakana extended
    (0x3400, 0x4DBF),  # Han extension A
    (0x4E00, 0x9FFF),  # Han
    (0xA980, 0xA9DF),  # Javanese
    (0xA9E0, 0xA9FF),  # Myanmar extended B
    (0xAA60, 0xAADF),  # Myanmar extended A, Tai Viet
    (0xF900, 0xFAFF),  # Han compatibility
    (0xFF66, 0xFF9F),  # Katakana, half width
    (0x1B000, 0x1B16F),  # kana supplements
    (0x20000, 0x323AF),  # Han extensions B to H
)
UNMARKED_BLOCKS = ((0x0E00, 0x0EFF),)  # Thai, Lao
ASSIGNED = (range(0xD800), range(0xE000, 0x323B0), range(0xE0000, 0xE0200))  # planes 4 to 13 hold nothing

TERMINALS = (
    ".?!"  # C4 (its fourth mark, the straight quote, ends a line and not a sentence)
    "。！？．｡﹒﹖﹗"  # Chinese, Japanese
    "।॥"  # Devanagari and the scripts of India that share it
    "؟۔؞"  # Arabic, Urdu
    "։"  # Armenian
    "።፧፨"  # Ethiopic
    "។៕៚"  # Khmer
    "၊။"  # Myanmar
    "།༎༏༐༑"  # Tibetan
    "᠃᠉"  # Mongolian
    "܀܁܂"  # Syriac
    "߹"  # N'Ko
    "෴"  # Sinhala
    "꧈꧉᭞᭟"  # Javanese, Balinese
    "᱾᱿꯫"  # Ol Chiki, Meetei Mayek
    "‼‽⁇⁈⁉"  # doubled marks
)
WORD_SPACES = "፡"  # Ethiopic; two of them stand for the full stop ።, which typewriters lacked
CLOSERS = "”’»」』）》〉】〕"  # closing quotes and brackets
# First and last code point, in hexadecimal, of datatrove's marks: utils/text.py, TERMINAL_PUNCTUATION, version 0.10.1.
# They are Unicode's Sentence_Terminal without U+1B4E, 1B4F, 1B7F, 2024, 2CF9 to 2CFB, 2E60, 2E61, FE12, FE15, FE16,
# 113D4, 113D5, 16D6E and 16D6F, and with three Khmer signs, U+17D6, 17D9 and 17DA.
DATATROVE_TERMINALS = (
    "21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 104A-104B 1362 1367-1368 166E 1735-1736 17D4-17D6 "
    "17D9-17DA 1803 1809 1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1B7D-1B7E 1C3B-1C3C 1C7E-1C7F 203C-203D 2047-2049 "
    "2E2E 2E3C 2E53-2E54 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB "
    "FE52 FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 10F55-10F59 10F86-10F89 11047-11048 110BE-110C1 11141-11143 "
    "111C5-111C6 111CD 111DE-111DF 11238-11239 1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642 "
    "1173C-1173E 11944 11946 11A42-11A43 11A9B-11A9C 11C41-11C42 11EF7-11EF8 11F43-11F44 16A6E-16A6F 16AF5 "
    "16B37-16B38 16B44 16E98 1BC9F 1DA88"
)
# What else is punctuation to datatrove: utils/text.py, PUNCTUATION, version 0.10.1; a full-width digit one is in it.
DATATROVE_MARKS = (
    "0-8 B-1F 22-2D 2F 3A-3E 40 5B-60 7B-9F AB B4 BB 2013-2014 2019 201C-201E 2026 2236 2501 25BA 3001 3008-300D "
    "3010-3011 FF05 FF08-FF09 FF0C FF11 FF1A-FF1B FF5E"
)


@functools.cache
def character_classes() -> NDArray[np.uint16]:
    """Return the bits above for every code point (1,114,112), built on the first call."""
    classes = np.zeros(0x110000, np.uint16)
    for block in ASSIGNED:
        classes[block.start : block.stop] = _bits(block)
    for blocks, bit in ((SPACELESS_BLOCKS, SPACELESS), (UNMARKED_BLOCKS, UNMARKED)):
        for first, last in blocks:
            letters = [unicodedata.category(chr(code)) in _LETTERS for code in range(first, last + 1)]
            classes[first : last + 1] |= np.where(letters, np.uint16(bit), np.uint16(0))
    for marks, bit in (
        (LINE_BREAKS, LINE_BREAK),
        (TERMINALS, TERMINAL),
        (CLOSERS, CLOSER),
        (WORD_SPACES, WORD_SPACE),
    ):
        classes[[ord(mark) for mark in marks]] |= np.uint16(bit)
    classes[code_points(DATATROVE_TERMINALS)] |= np.uint16(DATATROVE_TERMINAL | DATATROVE_PUNCTUATION)
    classes[code_points(DATATROVE_MARKS)] |= np.uint16(DATATROVE_PUNCTUATION)
    classes.flags.writeable = False
    return classes


def code_points(ranges: str) -> list[int]:
    """Return the code points of hexadecimal ranges, each a number or two with a hyphen, both ends included."""
    ends = [part.split("-") for part in ranges.split()]
    return [code for part in ends for code in range(int(part[0], 16), int(part[-1], 16) + 1)]


_LETTERS = frozenset({"Lo", "Lm", "Ll", "Lu", "Lt", "Nl"})


_METHODS = {
    SPACE: np.strings.isspace,
    LOWER: np.strings.islower,
    UPPER: np.strings.isupper,
    DIGIT: np.strings.isdigit,
    DECIMAL: np.strings.isdecimal,
}
_CATEGORIES = {"L": LETTER, "M": COMBINING, "P": PUNCTUATION, "S": PUNCTUATION, "Cc": PUNCTUATION}


def _bits(block: range) -> NDArray[np.uint16]:
    """Return for each code point the bits that Python's own string methods and the general category decide."""
    found = (unicodedata.category(chr(code)) for code in block)
    bits = np.fromiter((_CATEGORIES.get(c[0]) or _CATEGORIES.get(c, 0) for c in found), np.uint16, len(block))
    letters = np.arange(block.start, block.stop, dtype=np.uint32).view("<U1")
    for bit, holds in _METHODS.items():
        bits |= holds(letters) * np.uint16(bit)
    return bits


@njit(cache=True, nogil=True)
def decode(data: Array, i: int) -> tuple[Any, int]:
    """Return the code point whose UTF-8 begins at byte i, and the byte after it."""
    lead = np.int64(data[i])
    if lead < 0x80:
        return lead, i + 1
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | np.int64(data[i + 1]) & 0x3F, i + 2
    tail = (np.int64(data[i + 1]) & 0x3F) << 6 | np.int64(data[i + 2]) & 0x3F
    if lead < 0xF0:
        return (lead & 0x0F) << 12 | tail, i + 3
    return (lead & 0x07) << 18 | tail << 6 | np.int64(data[i + 3]) & 0x3F, i + 4


@njit(cache=True, nogil=True)
def previous(data: Array, i: int) -> int:
    """Return the first byte of the code point that ends just before byte i."""
    i -= 1
    while data[i] & 0xC0 == 0x80:
        i -= 1
    return i


@njit(cache=True, nogil=True)
def strip(data: Array, start: int, stop: int, classes: Array) -> tuple[int, int]:
    """Return the bounds of data[start:stop] without white space at both ends."""
    while start < stop:
        code, after = decode(data, start)
        if not classes[code] & SPACE:
            break
        start = after
    while stop > start:
        before = previous(data, stop)
        code, _ = decode(data, before)
        if not classes[code] & SPACE:
            break
        stop = before
    return start, stop


@njit(cache=True, nogil=True)
def begins_word_space(data: Array, i: int, stop: int) -> bool:
    """Tell whether an Ethiopic word space begins at byte i of data[:stop]."""
    return i + 3 <= stop and data[i] == 0xE1 and data[i + 1] == 0x8D and data[i + 2] == 0xA1


@njit(cache=True, nogil=True)
def ends_in_word_spaces(data: Array, start: int, stop: int) -> bool:
    """Tell whether data[start:stop] ends in two Ethiopic word spaces, which end a sentence."""
    return stop - start >= 6 and begins_word_space(data, stop - 6, stop) and begins_word_space(data, stop - 3, stop)

"""The tables of HPLT's web document score: what kind a character is, and how much of each kind a language has.

Facts of pablop16n/web-docs-scorer: docscorer.py as of 37a3f34 and language_adaption/medians_language.csv; code points
in hexadecimal, both ends included.
"""

import functools

import numpy as np
from numpy.typing import NDArray

from filters.characters import code_points

LETTERS, SIGNS, OTHERS, NUMBERS = 1, 2, 4, 8  # a character may be a sign and another at once; letters are the rest

_SIGNS = (  # PUNCTUATION_CHARS
    "21-22 27-29 2C-2E 3A-3B 3F 5B 5D 60 A1 B4-B5 B7 BF 589-5C7 600-61F 66A-66D 6D4-6ED 700-70F 1360-1368 1800-180A "
    "1AB0-1AFF 1C78-1C7F 1CC0-1CC7 1FBD-1FC1 1FCD-1FCF 1FDD-1FDF 1FED-1FEF 1FFD-2027 3000-303F 4DC0-4DFF A6F0-A6F7 "
    "FE10-FE6F"
)
_OTHERS = (  # SINGULAR_CHARS
    "23-26 2A-2B 2F 3C-3E 40 5C 7C 7E A2-B3 B8-BE D7 F7 2B0-385 483-489 559-55F 2010-2D00 2DE0-2E52 10000-1FFFF "
    "A670-A67F 3200-33FF"
)
_NUMBERS = (  # NUMBERS
    "30-39 660-669 6F0-6F9 964-96F 9F2-9F9 B66-B77 BE6-BFA C66-C6F C78-C7E CE6-CEF D66-D79 DE6-DEF E50-E5B EC0-ED9 "
    "1040-1049 1090-1099 1369-137C 17E0-17E9 1810-1819 19D0-19DA 1A80-1A99 1B50-1B59 1C40-1C49 1C50-1C59 A830-A839 "
    "A8D0-A8D9 AA50-AA59"
)
_SPACES = "0-20 7F-A0 2B7E"  # SPACES

# Language (as lid.176 names it), then medians per 100 letters of punctuation, other signs and numbers.
_MEDIANS = (  # medians_language.csv: punctuation_score, singular_chars_score, numbers_score
    "af 3.6 0.7 1.8, ar 2.4 0.4 1.8, az 3.0 0.5 2.2, be 3.3 0.7 1.8, bn 1.7 0.4 1.2, bg 3.3 0.4 1.6, "
    "ca 3.4 0.9 1.6, cs 3.1 0.3 1.5, cy 3.1 0.9 1.1, da 2.9 0.3 1.3, de 2.8 0.4 1.2, el 2.7 0.6 1.9, "
    "en 2.9 0.5 1.3, eo 3.7 0.4 1.3, et 2.9 0.3 1.3, eu 2.9 0.3 1.4, fa 2.6 0.3 1.5, tl 3.1 0.3 1.4, "
    "fi 2.7 0.3 1.4, fr 3.4 1.0 1.3, ga 2.5 0.4 1.1, gl 2.4 0.4 1.8, gu 2.5 0.3 1.6, he 3.8 0.4 1.0, "
    "hi 2.0 0.3 2.6, hu 3.2 0.3 1.2, hy 2.8 0.9 2.7, id 2.6 0.3 1.4, is 2.3 0.3 1.5, it 2.9 0.7 1.5, "
    "ja 6.5 0.8 4.2, kn 2.9 0.3 1.4, ka 3.1 0.4 1.8, kk 2.8 0.5 2.2, ky 3.1 0.3 1.5, ko 7.3 1.2 6.6, "
    "la 3.1 0.2 0.6, lv 3.3 0.4 1.5, lt 3.2 0.4 1.2, ml 3.4 0.2 1.0, mr 2.7 0.3 1.5, mk 2.6 0.4 1.6, "
    "mt 6.4 0.3 1.4, mn 3.2 0.4 2.8, ms 3.8 0.7 3.2, my 0.8 0.2 2.3, ne 1.5 0.4 2.6, nl 2.4 0.3 1.1, "
    "nn 2.9 0.3 1.6, no 2.7 0.3 1.3, pa 2.3 0.4 2.0, pl 2.8 0.3 1.5, pt 3.1 0.5 1.8, ps 2.0 0.2 1.5, "
    "ro 3.1 0.4 1.7, ru 3.1 0.4 1.6, si 3.7 0.4 1.7, sk 2.9 0.3 1.5, sl 3.0 0.3 1.4, so 2.4 0.4 1.5, "
    "es 2.4 0.3 1.3, sq 2.9 0.5 1.9, sv 2.3 0.3 1.3, sw 2.8 0.4 2.2, ta 2.9 0.3 1.6, tt 3.9 0.8 2.6, "
    "te 3.7 0.3 1.3, th 1.2 0.3 2.0, tr 2.5 0.4 1.4, uk 3.3 0.5 1.5, ur 2.1 0.3 1.8, uz 4.6 1.9 1.9, "
    "vi 3.0 0.5 2.4, zh 9.9 1.5 9.0"
)
MEDIANS: dict[str, tuple[float, float, float]] = {
    language: (float(signs), float(others), float(numbers))
    for language, signs, others, numbers in map(str.split, _MEDIANS.split(","))
}


@functools.cache
def character_kinds() -> NDArray[np.uint8]:
    """Return the bits above for every code point (1,114,112)."""
    kinds = np.zeros(0x110000, np.uint8)
    for ranges, bit in ((_SIGNS, SIGNS), (_OTHERS, OTHERS), (_NUMBERS, NUMBERS)):
        kinds[code_points(ranges)] |= np.uint8(bit)
    letters = kinds == 0
    letters[code_points(_SPACES)] = False
    kinds[letters] = LETTERS
    kinds.flags.writeable = False
    return kinds

"""Which countries a letter's script says: those where a language written in it is official, or a national one.

A Latin letter says none, and so does a script that is not listed: the table only tells what contradicts a country.
"""

from functools import lru_cache

_ARABIC = "AE AF BH DJ DZ EG EH ER IL IN IQ IR JO KM KW LB LY MA MR OM PK PS QA SA SD SO SY TD TN YE"
_COUNTRIES = (  # first and last code point of the script's letters (Unicode blocks), and ISO 3166-1 codes
    (0x0370, 0x03FF, "GR CY"),  # Greek
    (0x0400, 0x052F, "BA BG BY KG KZ MD ME MK MN RS RU TJ TM UA UZ XK"),  # Cyrillic
    (0x0530, 0x058F, "AM"),  # Armenian
    (0x0590, 0x05FF, "IL"),  # Hebrew
    (0x0600, 0x077F, _ARABIC),
    (0x0900, 0x097F, "IN NP"),  # Devanagari
    (0x0980, 0x09FF, "BD IN"),  # Bengali
    (0x0A00, 0x0B7F, "IN"),  # Gurmukhi, Gujarati, Odia
    (0x0B80, 0x0BFF, "IN LK MY SG"),  # Tamil
    (0x0C00, 0x0D7F, "IN"),  # Telugu, Kannada, Malayalam
    (0x0D80, 0x0DFF, "LK"),  # Sinhala
    (0x0E00, 0x0E7F, "TH"),
    (0x0E80, 0x0EFF, "LA"),
    (0x0F00, 0x0FFF, "BT CN IN NP"),  # Tibetan
    (0x1000, 0x109F, "MM"),
    (0x10A0, 0x10FF, "GE"),
    (0x1100, 0x11FF, "KP KR"),  # Hangul
    (0x1200, 0x139F, "ER ET"),  # Ethiopic
    (0x1780, 0x17FF, "KH"),
    (0x3040, 0x30FF, "JP"),  # kana
    (0x3400, 0x9FFF, "CN HK JP MO MY SG TW"),  # Han
    (0xAC00, 0xD7AF, "KP KR"),  # Hangul
)


@lru_cache(10_000)
def countries_of(letter: str) -> frozenset[str] | None:
    """Return the countries where a letter's script is at home; None where it says nothing."""
    for first, last, countries in _COUNTRIES:
        if first <= ord(letter) <= last:
            return frozenset(countries.split())
    return None

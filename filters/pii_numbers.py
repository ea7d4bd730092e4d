"""Numbers that name a person's telephone, bank account or card: their forms and their checks."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

from filters.script_countries import countries_of

Found = tuple[int, int, str, str]  # first byte, last + 1, kind, the number without its marks

_ON_A_WORD = rb"(?<=[A-Za-z\x80-\xff)][.,])"  # Tel.+49, card no.4111
_PHONE = re.compile(
    rb"(?:(?<![A-Za-z0-9_.,+/#-])|" + _ON_A_WORD + rb")(?:\+ ?)?\(?(?:\+)?[0-9]{1,15}+\)?"
    rb"(?:[ ./-]{0,2}+\(?[0-9]{1,15}+\)?){0,7}+"  # possessive: there is one way to read a run
)
_GROUP = re.compile(rb"[0-9]+")
_YEARS = re.compile(r"\(?[12][0-9]{3} ?[-/] ?[12][0-9]{3}\)?")  # from year to year, or as much of something else
_NAMED = re.compile(rb"(?:ISSN|ISBN|DOI|PMID|arXiv|RFC|CVE)[ :.#-]{0,3}$", re.IGNORECASE)  # numbers of something else
_CARD = re.compile(
    rb"(?:(?<![A-Za-z0-9_.,+-])|"
    + _ON_A_WORD
    + rb")(?:[0-9]{4}([ -]?)[0-9]{4}\1[0-9]{4}\1[0-9]{1,7}|[0-9]{4}([ -]?)[0-9]{6}\2[0-9]{4,5})"
    rb"(?![A-Za-z0-9_-]|[.,][0-9])"
)
# ISO/IEC 7812 prefixes and lengths as the networks publish them: American Express, Diners, Visa, Mastercard,
# Discover, JCB, UnionPay.
_ISSUERS = re.compile(
    r"3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}|4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}"
    r"|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|6(?:011|5\d\d|4[4-9]\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14,17}"
)
# Ours: sixteen digits without marks are mostly something else; one in forty of all numbers passes the checks.
_CARD_WORDS = re.compile(
    rb"card|visa|master|amex|american express|discover|karte|carte|tarjeta|cart\xc3\xa3o|carta|\xe5\x8d\xa1",
    re.IGNORECASE,
)
_NEAR = 60  # bytes in which such a word is looked for, and the letters next to a telephone number
_ACCOUNT = re.compile(rb"(?<![A-Za-z0-9_])[A-Z]{2}[0-9]{2}(?:[ -]?[0-9A-Z]){11,30}+")
FEWEST_DIGITS, MOST_DIGITS = 7, 15  # ITU-T E.164: fifteen at most; shorter ones are services
# SWIFT, IBAN Registry: characters by country.
_COUNTRIES = """
15 NO
16 BE
18 DK FI FK FO GL NL SD
19 MK SI
20 AT BA EE KZ LT LU MN XK
21 CH HR LI LV
22 BG BH CR DE GB GE IE ME RS VA
23 AE GI IL IQ OM SO TL
24 AD CZ ES MD PK RO SA SE SK TN VG
25 LY PT ST
26 IS TR
27 BI DJ FR GR IT MC MR SM
28 AL AZ BY CY DO GT HU LB NI PL SV
29 BR EG PS QA UA
30 JO KW MU YE
31 MT SC
32 LC
33 RU
"""
_LENGTHS = {code: int(line.split()[0]) for line in _COUNTRIES.split("\n") for code in line.split()[1:]}


def find_phones(data: memoryview, start: int, end: int, regions: Sequence[str]) -> Iterator[Found]:
    """Yield telephone numbers: with a leading +, and those of the regions where marks part their groups.

    A region's are looked for where the letters next to a number, before and after, are of scripts that it may have.
    """
    for match in _PHONE.finditer(data, start, end):
        raw = match.group()
        international = b"+" in raw[:3]
        likely = () if international or _is_plain(raw) else _likely_regions(data, match.start(), match.end(), regions)
        if not (international or likely) or _follows_letter(data, match.end()):
            continue
        groups = list(_GROUP.finditer(raw))
        for group in reversed(groups if international else groups[-1:]):
            written = raw[: group.end()].decode()
            number = _read_phone(written, likely)
            if number:
                lead = written.startswith("(") and ")" not in written
                yield match.start() + lead, match.start() + group.end(), "phone", number
                break


def find_cards(data: memoryview, start: int, end: int) -> Iterator[Found]:
    """Yield card numbers: a known issuer's, with the right check digit."""
    for match in _CARD.finditer(data, start, end):
        digits = re.sub(r"[ -]", "", match.group().decode())
        if not _ISSUERS.fullmatch(digits) or not has_luhn_digit(digits) or _follows_letter(data, match.end()):
            continue
        before = bytes(data[max(0, match.start() - _NEAR) : match.start()])
        if match.group() != digits.encode() or _CARD_WORDS.search(before):
            yield match.start(), match.end(), "card", digits


def find_account(data: memoryview, start: int, end: int) -> Iterator[Found]:
    """Yield the IBAN that begins at a place, if one does."""
    match = _ACCOUNT.match(data, start, end)
    if match is None:
        return
    raw = match.group().decode()
    wanted, used = _LENGTHS.get(raw[:2], 0), 0
    for length, character in enumerate(raw, 1):
        used += character.isalnum()
        if used == wanted:
            number = re.sub(r"[ -]", "", raw[:length])
            if has_account_digits(number) and not _follows_letter(data, start + length):
                yield start, start + length, "iban", number
            return


def known_regions() -> frozenset[str]:
    """Return the countries whose telephone numbers are known (ISO 3166-1, two letters)."""
    import phonenumbers

    return frozenset(phonenumbers.SUPPORTED_REGIONS)


def has_luhn_digit(digits: str) -> bool:
    """Tell whether the last digit is the check digit of those before (ISO/IEC 7812-1, annex B)."""
    doubled = [int(digit) * (1 + (place % 2)) for place, digit in enumerate(reversed(digits))]
    return len(set(digits)) > 1 and sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def has_account_digits(number: str) -> bool:
    """Tell whether an IBAN's check digits are right: the number is 1 modulo 97 (ISO 13616-1, ISO/IEC 7064)."""
    return int("".join(str(int(character, 36)) for character in number[4:] + number[:4])) % 97 == 1


def _is_plain(raw: bytes) -> bool:
    """Tell whether nothing but digits stands there: an identifier, rather than a telephone number."""
    return bytes(raw).strip(b"()").isdigit()


def _likely_regions(data: memoryview, start: int, end: int, regions: Sequence[str]) -> tuple[str, ...]:
    """Return the regions that nothing next to a number contradicts; none where it is said to be another number."""
    if not regions:
        return ()
    before = bytes(data[max(0, start - _NEAR) : start])
    if _NAMED.search(before):
        return ()
    after = bytes(data[end : end + _NEAR]).decode(errors="ignore")
    sides = (reversed(before.decode(errors="ignore")), after)
    near = [countries_of(letter) for letter in (next(filter(str.isalpha, side), "") for side in sides) if letter]
    return tuple(region for region in regions if all(there is None or region in there for there in near))


def _follows_letter(data: memoryview, at: int) -> bool:
    """Tell whether a letter, a digit or an underscore stands at a place."""
    if at >= len(data):
        return False
    byte = data[at : at + 1].tobytes()
    return byte.isalnum() or byte == b"_"


@lru_cache(100_000)
def _read_phone(written: str, regions: tuple[str, ...]) -> str:
    """Return a telephone number in the international form, "" for what is none."""
    import phonenumbers

    if not FEWEST_DIGITS <= len(_digits(written)) <= MOST_DIGITS or (regions and _YEARS.fullmatch(written)):
        return ""
    for region in regions or (None,):
        try:
            number = phonenumbers.parse(written, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number) and (region is None or _is_grouped(written, number)):
            return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    return ""


def _is_grouped(written: str, number: Any) -> bool:
    """Tell whether the first group of digits is as in the number's country, and none is cut where it is not there.

    These are libphonenumber's strict groups (Leniency.STRICT_GROUPING), but for digits that are not grouped at all.
    """
    import phonenumbers

    usual = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
    cuts, usual_cuts = _group_ends(written), _group_ends(usual)
    return cuts[0] == usual_cuts[0] and set(cuts) <= set(usual_cuts) and _digits(written) == _digits(usual)


def _digits(written: str) -> str:
    return "".join(re.findall(r"[0-9]+", written))


def _group_ends(written: str) -> list[int]:
    """Return how many digits there are to the end of every group."""
    return list(accumulate(len(group) for group in re.findall(r"[0-9]+", written)))

"""Personal data in texts: e-mail and IP addresses, telephone, account (IBAN) and card numbers.

What is masked gets a placeholder with a number, `<EMAIL_1>`: the same address the same number within a document. A
hash of it would link documents, and a telephone number is guessed back from one. Telephone numbers are Google's
libphonenumber's to judge; the others have a form and a check of their own, whose sources stand beside them.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.arrow_text import text_buffers
from filters.pii_candidates import ACCOUNT, ADDRESS, NUMBER, find_candidates
from filters.pii_numbers import find_account, find_cards, find_phones

KINDS = ("email", "ip", "phone", "iban", "card")
ROUNDS = 8  # ours: a text settles after one or two; more is a text built to never settle

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(
    rf"@((?:{_LABEL}\.){{1,8}}(?:[A-Za-z]{{2,24}}|xn--[A-Za-z0-9-]{{2,59}}))"
    r"(?![A-Za-z0-9_%+@-]|\.[A-Za-z0-9])".encode()
)
# IANA, root zone: the top-level domains in other letters, those of countries and the common ones of the rest. What else
# follows a domain's dot is the next sentence.
_ENDINGS = [
    "рф",
    "бел",
    "укр",
    "срб",
    "мкд",
    "мон",
    "бг",
    "ею",
    "қаз",
    "рус",
    "онлайн",
    "сайт",
    "орг",
    "ком",
    "дети",
    "москва",
    "ελ",
    "ευ",
    "հայ",
    "გე",
    "ישראל",
    "קום",
    "مصر",
    "السعودية",
    "امارات",
    "عمان",
    "المغرب",
    "الجزائر",
    "تونس",
    "سورية",
    "فلسطين",
    "قطر",
    "ایران",
    "پاکستان",
    "بھارت",
    "موقع",
    "شبكة",
    "भारत",
    "संगठन",
    "भारोत",
    "বাংলা",
    "ভারত",
    "ਭਾਰਤ",
    "ભારત",
    "இந்தியா",
    "இலங்கை",
    "சிங்கப்பூர்",
    "భారత్",
    "ಭಾರತ",
    "ഭാരതം",
    "ලංකා",
    "ไทย",
    "ລາວ",
    "中国",
    "中國",
    "公司",
    "网络",
    "网址",
    "网站",
    "在线",
    "中文网",
    "商城",
    "香港",
    "台湾",
    "台灣",
    "澳門",
    "新加坡",
    "コム",
    "みんな",
    "한국",
    "닷컴",
    "닷넷",
]
_LETTER = (
    r"[^\W_]|[\u0300-\u036f\u0900-\u0eff]"  # with the marks that Indic letters carry; they overlap: repeat with `+`
)
_OTHER_DOMAIN = re.compile(
    rf"@((?:(?:{_LETTER})(?:{_LETTER}|-){{0,62}}+\.){{1,8}}"
    rf"(?:[A-Za-z]{{2,24}}|xn--[A-Za-z0-9-]{{2,59}}|{'|'.join(sorted(_ENDINGS, key=len, reverse=True))}))"
    r"(?![A-Za-z0-9_%+@-]|\.[A-Za-z0-9])"
)
MOST_DOMAIN_BYTES = 254  # RFC 5321, 4.5.3.1.2: 255 with its @
MOST_NAME = 64  # letters; RFC 5321, 4.5.3.1.1
_IN_NAME = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+-")
_RESERVED = re.compile(
    r"(?:^|\.)(?:example(?:\.(?:com|net|org))?|test|invalid|localhost"  # RFC 2606
    r"|local|intranet|internal|private|corp|home|lan|home\.arpa)$",  # RFC 6762, 3 and appendix G; RFC 8375
    re.IGNORECASE,
)
_METHODS = re.compile(r"@openssh\.com$|@libssh\.org$|^rijndael-cbc@lysator\.liu\.se$")  # RFC 4251, 6: ciphers' names
_FILES = re.compile(r"\.(?:png|jpe?g|gif|svg|webp|ico|pdf|css|js|html?|php|py|sh|service)$", re.IGNORECASE)  # a@2x.png
_IPV4 = re.compile(
    rb"(?<![A-Za-z0-9._%+@-])(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})(?![A-Za-z0-9_%@-]|\.[A-Za-z0-9])"
)
_IPV6 = re.compile(
    rb"(?<![A-Za-z0-9:.])2[0-9a-fA-F]{3}:[0-9a-fA-F:]{2,34}(?![A-Za-z0-9:]|\.[0-9])"
)  # IANA, IPv6 global unicast assignments: all begin with 2
_VERSION = re.compile(
    rb"(?:versions?|release|build|kernel|firmware|driver|v|ver\.?|rev\.?)[ :=(-]{0,3}$", re.IGNORECASE
)
_EDITION = re.compile(" ?(?:官方|正式|安卓|最新|中文|绿色|免费|破解|版)".encode())  # of a program, after its version
_PLACEHOLDER = re.compile(rf"<({'|'.join(KINDS).upper()})_([0-9]{{1,9}})>")
SMALL_OCTET = 32  # ours: four numbers below it are a version or a section (or a public resolver: 8.8.8.8)


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Personal data in a text, in UTF-8 bytes from its beginning."""

    start: int
    end: int
    kind: str
    key: str = field(compare=False)  # equal for two ways of writing the same thing


def find_spans(texts: pa.Array, kinds: Sequence[str], regions: Sequence[str]) -> list[list[Span]]:
    """Return what is found in every text, in order, without overlaps.

    `regions` are the countries (ISO 3166-1, two letters) whose telephone numbers are known without a leading `+`.
    """
    offsets, data = text_buffers(texts)
    found: list[list[Span]] = [[] for _ in range(len(texts))]
    begins, view = offsets.tolist(), memoryview(cast("Any", data))
    for document, kind, start, end in find_candidates(offsets, data).tolist():
        first = begins[document]
        text = view[first : begins[document + 1]]  # no pattern sees the text before
        found[document] += [s for s in _look(text, kind, (start - first, end - first), regions) if s.kind in kinds]
    return [_without_overlaps(spans) for spans in found]


def mask(
    texts: pa.Array, kinds: Sequence[str], regions: Sequence[str]
) -> tuple[pa.Array, dict[str, NDArray[np.int64]]]:
    """Return the texts (large_string) with placeholders, and how many of each kind there were (documents)."""
    counts = {kind: np.zeros(len(texts), np.int64) for kind in kinds}
    masked = texts.cast(pa.large_string())
    known: dict[int, dict[tuple[str, str], int]] = {}
    changed: dict[int, str] = {}
    rows, rest = list(range(len(texts))), masked
    for _ in range(ROUNDS):
        spans = find_spans(rest, kinds, regions)
        at = [place for place, some in enumerate(spans) if some]
        for place in at:
            text = rest[place].as_py()
            numbers = known.setdefault(rows[place], _first_numbers(text))
            changed[rows[place]] = _replace(text, spans[place], numbers)
            for span in spans[place]:
                counts[span.kind][rows[place]] += 1
        if not at:
            break
        rows = [rows[place] for place in at]
        rest = pa.array([changed[row] for row in rows], pa.large_string())
    if changed:
        masked = pa.array([changed.get(row, masked[row].as_py()) for row in range(len(masked))], pa.large_string())
    return masked, counts


def count(spans: Sequence[Sequence[Span]], kinds: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Return how many spans of each kind every document has."""
    return {kind: np.array([sum(s.kind == kind for s in some) for some in spans], np.int64) for kind in kinds}


def _look(data: memoryview, kind: int, place: tuple[int, int], regions: Sequence[str]) -> Iterator[Span]:
    """Yield what there is at a candidate's place, in bytes of the text."""
    start, end = place
    if kind == ADDRESS:
        yield from _find_addresses(data, start, end)
    elif kind == NUMBER:
        yield from (Span(*found) for found in find_cards(data, start, end))
        yield from (Span(*found) for found in find_phones(data, start, end, regions))
    elif kind == ACCOUNT:
        yield from (Span(*found) for found in find_account(data, start, end))


def _find_addresses(data: memoryview, start: int, end: int) -> Iterator[Span]:
    """Yield the e-mail and IP addresses of a run."""
    for at, stop, domain in _find_domains(data, start, end):
        first = _first_of_name(data, at)
        name = bytes(data[first:at]).decode()
        after_at = bytes(data[max(0, first - 1) : first]) == b"@"
        whole = not (after_at or name.startswith(("+", "%")) or name.endswith((".", "%")))
        if 0 < len(name) <= MOST_NAME and whole and not _is_no_person(name, domain):
            yield Span(first, stop, "email", f"{name}@{domain}".lower())
    for pattern, accept in ((_IPV4, _is_public_v4), (_IPV6, _is_public)):
        for match in pattern.finditer(data, start, end):
            before, after = data[max(0, match.start() - 16) : match.start()], data[match.end() : match.end() + 16]
            if accept(match.group().decode()) and not (_VERSION.search(before) or _EDITION.match(after)):
                yield Span(match.start(), match.end(), "ip", str(ipaddress.ip_address(match.group().decode())))


def _find_domains(data: memoryview, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    """Yield the domains after an @: its place, the byte after the domain, and the domain.

    One in other letters reaches beyond the run, whose last @ it follows.
    """
    for match in _DOMAIN.finditer(data, start, end):
        yield match.start(), match.end(), match.group(1).decode()
    if end < len(data) and data[end] >= 0x80:
        near = max(start, end - MOST_DOMAIN_BYTES)
        at = near + bytes(data[near:end]).rfind(b"@")
        found = (
            _OTHER_DOMAIN.match(bytes(data[at : at + MOST_DOMAIN_BYTES]).decode(errors="ignore"))
            if at >= near
            else None
        )
        if found and not found.group().isascii():
            yield at, at + len(found.group().encode()), found.group(1)


def _first_of_name(data: memoryview, at: int) -> int:
    """Return where the name before an @ begins, letters of Latin, Greek and Cyrillic in it: müller@, josé.pérez@.

    They are written in two bytes. A letter of a script without spaces belongs to the text before the address.
    """
    first = at
    while first and at - first <= 2 * MOST_NAME:
        if first > 1 and 0xC3 <= data[first - 2] <= 0xD4 and 0x80 <= data[first - 1] <= 0xBF:
            first -= 2
        elif data[first - 1] in _IN_NAME:
            first -= 1
        else:
            break
    while first < at and data[first] in b"._-":
        first += 1
    return first


def _is_no_person(name: str, domain: str) -> bool:
    """Tell whether an address is made up or private, the name of a file or a cipher, or a repository's user (git@)."""
    listed = _RESERVED.search(domain) or _FILES.search(domain) or _METHODS.search(f"{name}@{domain}")
    return bool(listed) or name == "git"


@lru_cache(10_000)
def _is_public(address: str) -> bool:
    """Tell whether an address is one of the public internet: not private, loopback, documentation or reserved."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return found.is_global and not found.is_multicast


def _is_public_v4(address: str) -> bool:
    """Tell the same of an IPv4 address; one that ends in 0 is a network or a version."""
    octets = [int(octet) for octet in address.split(".")]
    return octets[3] != 0 and max(octets) >= SMALL_OCTET and _is_public(address)


def _without_overlaps(spans: list[Span]) -> list[Span]:
    """Return spans in order; of those that overlap the first, and the longest of those that begin together."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, -s.end)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept


def _first_numbers(text: str) -> dict[tuple[str, str], int]:
    """Return the highest number of each kind's placeholders that stand in a text already, under an empty key."""
    highest = {(kind, ""): 0 for kind in KINDS}
    for match in _PLACEHOLDER.finditer(text):
        key = (match.group(1).lower(), "")
        highest[key] = max(highest[key], int(match.group(2)))
    return highest


def _replace(text: str, spans: Sequence[Span], numbers: dict[tuple[str, str], int]) -> str:
    """Return the text with placeholders; `numbers` learns what it has not seen."""
    encoded, pieces, done = text.encode(), [], 0
    for span in spans:
        if (span.kind, span.key) not in numbers:
            numbers[span.kind, ""] += 1
            numbers[span.kind, span.key] = numbers[span.kind, ""]
        placeholder = f"<{span.kind.upper()}_{numbers[span.kind, span.key]}>"
        pieces += [encoded[done : span.start], placeholder.encode()]
        done = span.end
    return b"".join([*pieces, encoded[done:]]).decode()

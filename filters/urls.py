"""Rules on addresses: lists of domains, whole addresses, words and parts, given by the user.

RefinedWeb (arXiv:2306.01116, appendix G.1) blocks domains and scores words of three kinds: whole words of which
one rejects, words of which several must come together, and parts that may stand anywhere. datatrove's
filters/url_filter.py has the same three; like it, parts are looked for in the letters and digits alone.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from urllib.parse import quote, unquote

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters.arrow_text import string_array, text_buffers
from filters.characters import Array
from filters.hashing import mix
from filters.rules import Rule

Table = NDArray[np.uint64]  # sorted hashes: 8 bytes an entry, whatever its length

SIGNALS = {  # number of entries found; NaN without an address, on an exempt domain, and without such a list
    "length": "characters of the address",
    "blocked_urls": "1 where the address is listed",
    "blocked_domains": "1 where its domain, or one above it, is listed",
    "allowed_domains": "1 where its domain, or one above it, is listed",
    "blocked_words": "different words of the list in it",
    "doubtful_words": "different words of the list in it",
    "blocked_parts": "different parts of the list in it",
}
LONGEST_HOST = 253  # characters; RFC 1035, 2.3.4
HASHED_TOGETHER = 100_000  # entries; no list need be held as text
_WORD = re.compile(r"[^\W_]+")
# URL Standard (url.spec.whatwg.org, 4.4): tabs and line feeds are taken out, C0 controls and spaces at the ends; after
# a special scheme any number of slashes and backslashes is right, none too.
_REMOVED = str.maketrans("", "", "\t\n\r")
_AT_ENDS = "".join(map(chr, range(0x21)))
_SCHEME = re.compile(r"(?:https?|ftp|wss?):[/\\]*|[a-z][a-z0-9+.-]*://|[/\\]{2,}", re.IGNORECASE)
_END_OF_PLACE = re.compile(r"[/?#\\]")
_PORT = re.compile(r":(?:0*80|0*443)?\Z")  # those of http and https, whose scheme is not compared
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")  # RFC 3986, 2.3
_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}")
_LABELS = re.compile(rf"(?=.{{1,{LONGEST_HOST}}}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{{0,61}}[a-z0-9_])?\.)*[a-z0-9_-]{{1,63}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlLists:
    """The lists, ready for looking up; None or empty where there is none."""

    blocked_domains: Table | None = None
    allowed_domains: Table | None = None
    exempt_domains: Table | None = None
    blocked_urls: Table | None = None
    blocked_words: frozenset[str] = field(default_factory=frozenset)
    doubtful_words: frozenset[str] = field(default_factory=frozenset)
    blocked_parts: tuple[str, ...] = ()


def rules(max_doubtful_words: int, max_length: int) -> tuple[Rule, ...]:
    """Return the rules over SIGNALS, in judging order; a length of 0 is no bound."""
    length = (Rule(reason="url_too_long", signal="length", maximum=max_length),) if max_length else ()
    return (
        Rule(reason="url_blocked", signal="blocked_urls", maximum=0),  # RefinedWeb, appendix G.1
        Rule(reason="domain_blocked", signal="blocked_domains", maximum=0),  # RefinedWeb, appendix G.1
        Rule(reason="domain_not_allowed", signal="allowed_domains", minimum=1),  # ours
        *length,
        Rule(reason="url_has_blocked_word", signal="blocked_words", maximum=0),  # RefinedWeb, appendix G.1: hard
        Rule(reason="url_has_doubtful_words", signal="doubtful_words", maximum=max_doubtful_words),
        Rule(reason="url_has_blocked_part", signal="blocked_parts", maximum=0),  # RefinedWeb, appendix G.1: strict
    )


def parse_domain(entry: str) -> str:
    """Return a domain in lower-case ASCII, without a leading `*.`; raises ValueError for what is none."""
    domain = _ascii(entry.removeprefix("*").removeprefix("."))
    if not _LABELS.fullmatch(domain):
        raise ValueError(f"not a domain: {entry!r}")
    return domain


def parse_url(entry: str) -> str:
    """Return a whole address as it is compared; raises ValueError where it names no host."""
    url = _comparable(entry)
    if not url or any(character.isspace() for character in url):
        raise ValueError(f"not an address: {entry!r}")
    return url


def parse_word(entry: str) -> str:
    """Return one word in lower case; raises ValueError where it is not one, since it would never be found."""
    if not _WORD.fullmatch(entry):
        raise ValueError(f"not one word of letters and digits: {entry!r}")
    return entry.lower()


def parse_part(entry: str) -> str:
    """Return the letters and digits of an entry in lower case; raises ValueError where it has none."""
    part = "".join(_WORD.findall(entry.lower()))
    if not part:
        raise ValueError(f"no letter or digit: {entry!r}")
    return part


def hash_table(entries: Iterable[str]) -> Table:
    """Return the sorted hashes of entries.

    Two of 5 million entries and 10^9 documents' domains share a hash with a probability of about 0.001.
    """
    rest, hashes = iter(entries), [np.zeros(0, np.uint64)]
    while some := list(islice(rest, HASHED_TOGETHER)):
        hashes.append(_hash_backwards(*text_buffers(string_array(some))))
    return np.unique(np.concatenate(hashes))


def measure(urls: Iterable[str], lists: UrlLists) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """Return SIGNALS of every address, and the listed entries found in each, with spaces between; "" where none are."""
    urls = list(urls)
    domains = (lists.exempt_domains, lists.blocked_domains, lists.allowed_domains)
    hosts = [_host(url) for url in urls] if any(table is not None for table in domains) else [""] * len(urls)
    exempt = _find_domains(hosts, lists.exempt_domains)
    found: Mapping[str, list[list[str]]] = {
        "blocked_urls": _find_urls(urls, lists.blocked_urls),
        "blocked_domains": [[d] if d else [] for d in _find_domains(hosts, lists.blocked_domains)],
        "allowed_domains": [[d] if d else [] for d in _find_domains(hosts, lists.allowed_domains)],
        **_find_words(urls, lists),
    }
    given = np.array([bool(url) and not listed for url, listed in zip(urls, exempt, strict=True)], bool)
    signals = {"length": np.where(given, [float(len(url)) for url in urls], np.nan)}
    for name, entries in found.items():
        used = given & (getattr(lists, name) is not None and len(getattr(lists, name)) > 0)
        signals[name] = np.where(used, [float(len(some)) for some in entries], np.nan)
    blocked = [name for name in found if name != "allowed_domains"]
    together = [
        " ".join(entry for name in blocked for entry in found[name][row]) if given[row] else ""
        for row in range(len(urls))
    ]
    return signals, together


def _ascii(host: str) -> str:
    """Return a host in lower-case ASCII without a last dot; what has no such form stays as it is."""
    host = host.strip().lower().removesuffix(".")
    if host.isascii() or len(host) > LONGEST_HOST:
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return host


def _cleaned(url: str) -> str:
    """Return an address as a browser begins to read it: without what it does not see."""
    return url.translate(_REMOVED).strip(_AT_ENDS)


def _parse(url: str) -> tuple[str, str, str]:
    """Return host, port with its colon, and the rest of an address, with or without a scheme; never raises."""
    url = _cleaned(url)
    scheme = _SCHEME.match(url)
    rest = url[scheme.end() if scheme else 0 :]
    place = _END_OF_PLACE.split(rest, maxsplit=1)[0]
    named = place.rpartition("@")[2]
    inside = named.find("]") + 1 if named.startswith("[") else 0  # an IPv6 address has colons of its own
    host, colon, port = named[inside:].partition(":")
    return _as_number(_ascii(unquote(named[:inside] + host))), colon + port, rest[len(place) :]


def _as_number(host: str) -> str:
    """Return an IPv4 address in four decimal parts, however written (URL Standard, 3.5); other hosts as they are."""
    parts = host.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return host
    try:
        numbers = [_number(part) for part in parts]
    except ValueError:
        return host
    last = 256 ** (5 - len(parts))
    if max([0, *numbers[:-1]]) > 255 or numbers[-1] >= last:
        return host
    value = sum(number << 8 * (3 - at) for at, number in enumerate(numbers[:-1])) + numbers[-1]
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


def _number(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") and len(part) > 1 else 10)


def _host(url: str) -> str:
    """Return the host of an address."""
    return _parse(url)[0]


def _comparable(url: str) -> str:
    """Return an address without scheme, user, www., usual port, fragment and last slash, its host in lower case.

    Backslashes are slashes, dots as names of folders are resolved, and what is escaped without need is not.
    """
    host, port, rest = _parse(url)
    path, mark, query = rest.partition("#")[0].partition("?")
    folders: list[str] = []
    for name in _plain(path).replace("\\", "/").split("/")[1:]:
        if name == "..":
            del folders[-1:]
        elif name != ".":
            folders.append(name)
    place = host.removeprefix("www.") + _PORT.sub("", port)
    return "/".join([place, *folders]).rstrip("/") + (mark + _plain(query)).rstrip("/")


def _plain(text: str) -> str:
    """Return a path or query in which all is escaped that must be, in capitals, and nothing else."""
    escaped = quote(text, safe="!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~", errors="replace")

    def kept(match: re.Match[str]) -> str:
        character = chr(int(match.group()[1:], 16))
        return character if character in _UNRESERVED else match.group().upper()

    return _ESCAPED.sub(kept, escaped)


def _find_urls(urls: list[str], table: Table | None) -> list[list[str]]:
    """Return the listed form of every address that is listed."""
    if table is None:
        return [[] for _ in urls]
    plain = [_comparable(url) for url in urls]
    offsets, data = text_buffers(string_array(plain))
    listed = _is_in(table, _hash_backwards(offsets, data))
    return [[url] if there and url else [] for url, there in zip(plain, listed, strict=True)]


def _is_in(table: Table, hashes: Table) -> NDArray[np.bool_]:
    """Tell which hashes are in a sorted table."""
    at = np.minimum(np.searchsorted(table, hashes), max(0, len(table) - 1))
    return table[at] == hashes if len(table) else np.zeros(len(hashes), bool)


def _find_domains(hosts: list[str], table: Table | None) -> list[str]:
    """Return for every host the longest listed domain that it is or lies in, "" where there is none."""
    if table is None:
        return [""] * len(hosts)
    offsets, data = text_buffers(string_array(hosts))
    lengths = _listed_length(offsets, data, table).tolist()
    ends = offsets[1:].tolist()
    return [data[end - length : end].tobytes().decode() for end, length in zip(ends, lengths, strict=True)]


def _find_words(urls: list[str], lists: UrlLists) -> dict[str, list[list[str]]]:
    """Return the listed words and parts of every address, sorted."""
    found: dict[str, list[list[str]]] = {name: [] for name in ("blocked_words", "doubtful_words", "blocked_parts")}
    if not (lists.blocked_words or lists.doubtful_words or lists.blocked_parts):
        return {name: [[] for _ in urls] for name in found}
    for url in urls:
        seen = _cleaned(url)
        words = _WORD.findall((unquote(seen) if "%" in seen else seen).lower())
        together = "".join(words)
        found["blocked_words"].append(sorted(lists.blocked_words.intersection(words)))
        found["doubtful_words"].append(sorted(lists.doubtful_words.intersection(words)))
        found["blocked_parts"].append([part for part in lists.blocked_parts if part in together])
    return found


@njit(cache=True, nogil=True)
def _hash_backwards(offsets: Array, data: Array) -> Array:
    """Return a hash of every row: FNV-1a from its last byte to its first, then a final mix."""
    hashes = np.empty(offsets.shape[0] - 1, np.uint64)
    for row in range(hashes.shape[0]):
        value = np.uint64(0xCBF29CE484222325)  # FNV-1a offset basis and prime, draft-eastlake-fnv
        for i in range(offsets[row + 1] - 1, offsets[row] - 1, -1):
            value = (value ^ np.uint64(data[i])) * np.uint64(0x100000001B3)
        hashes[row] = mix(value)
    return hashes


@njit(cache=True, nogil=True)
def _listed_length(offsets: Array, data: Array, table: Array) -> Array:
    """Return the bytes of the longest listed suffix of every host that begins at a label, 0 where there is none."""
    lengths = np.zeros(offsets.shape[0] - 1, np.int64)
    for row in range(lengths.shape[0]):
        value = np.uint64(0xCBF29CE484222325)  # FNV-1a offset basis and prime, draft-eastlake-fnv
        for i in range(offsets[row + 1] - 1, offsets[row] - 1, -1):
            value = (value ^ np.uint64(data[i])) * np.uint64(0x100000001B3)
            if i == offsets[row] or data[i - 1] == 0x2E:  # a dot
                key = mix(value)
                at = np.searchsorted(table, key)
                if at < table.shape[0] and table[at] == key:
                    lengths[row] = offsets[row + 1] - i
    return lengths

"""Rules on addresses against a slow and clear reference, and at their borders."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filters.rules import judge
from filters.urls import UrlLists, hash_table, measure, parse_domain, parse_part, parse_url, parse_word, rules

LISTS = UrlLists(
    blocked_domains=hash_table(["bad.example", "tracker.net", "192.168.1.1"]),
    exempt_domains=hash_table(["good.bad.example"]),
    blocked_urls=hash_table([parse_url("http://www.mixed.example/bad/")]),
    blocked_words=frozenset({"casino"}),
    doubtful_words=frozenset({"free", "cam", "sex"}),
    blocked_parts=("hotgirl",),
)


def verdict(url: str, lists: UrlLists = LISTS, longest: int = 0) -> tuple[str, float, str]:
    """Return reason, value and the entries that were found."""
    signals, entries = measure([url], lists)
    ordered = rules(1, longest)
    found = judge(ordered, signals, np.array(["en"]))
    broken = found.rule[0]
    return (ordered[broken].reason if broken >= 0 else "", found.value[0], entries[0])


@pytest.mark.parametrize(
    ("url", "reason", "entry"),
    [
        ("http://bad.example/", "domain_blocked", "bad.example"),
        ("https://WWW.Bad.Example:8080/x", "domain_blocked", "bad.example"),
        ("http://a.b.bad.example.", "domain_blocked", "bad.example"),
        ("bad.example/no/scheme", "domain_blocked", "bad.example"),
        ("//bad.example/", "domain_blocked", "bad.example"),
        ("http://user:pass@bad.example?q", "domain_blocked", "bad.example"),
        ("http://notbad.example/", "", ""),
        ("http://bad.example.org/", "", ""),
        ("http://example/bad.example", "", ""),
        ("http://good.bad.example/", "", ""),
        ("http://x.good.bad.example/casino", "", ""),
        ("https://mixed.example/bad#top", "url_blocked", "mixed.example/bad"),
        ("https://mixed.example/bad/page", "", ""),
        ("https://a.example/the-casino-night", "url_has_blocked_word", "casino"),
        ("https://a.example/the%20casino", "url_has_blocked_word", "casino"),
        ("https://a.example/casinos", "", ""),
        ("https://a.example/sex-education", "", "sex"),
        ("https://a.example/sex/sex", "", "sex"),
        ("https://a.example/free_cam", "url_has_doubtful_words", "cam free"),
        ("https://a.example/my-hot-girls", "url_has_blocked_part", "hotgirl"),
        ("https:bad.example", "domain_blocked", "bad.example"),
        ("http:/bad.example/x", "domain_blocked", "bad.example"),
        ("http:\\\\bad.example\\x", "domain_blocked", "bad.example"),
        ("///bad.example", "domain_blocked", "bad.example"),
        ("https://bad%2eexample/", "domain_blocked", "bad.example"),
        ("https://b%61d.example%2E/", "domain_blocked", "bad.example"),
        ("ht\ntps://ba\td.exam\rple/", "domain_blocked", "bad.example"),
        (" \x00http://bad.example", "domain_blocked", "bad.example"),
        ("https://ｂａｄ。example/", "domain_blocked", "bad.example"),
        ("http://good.example@bad.example/", "domain_blocked", "bad.example"),
        ("http://0xC0.0250.257/", "domain_blocked", "192.168.1.1"),
        ("http://3232235777/", "domain_blocked", "192.168.1.1"),
        ("http://3232235778/", "", ""),
        ("https://mixed.example:443/./x/../b%61d", "url_blocked", "mixed.example/bad"),
        ("https://me@mixed.example\\bad/", "url_blocked", "mixed.example/bad"),
        ("https://mixed.example:8443/bad", "", ""),
        ("https://a.example/cas\tino", "url_has_blocked_word", "casino"),
        ("", "", ""),
        ("http://[::1]/x", "", ""),
        ("http://[broken", "", ""),
        ("mailto:someone@a.example", "", ""),
    ],
)
def test_the_first_rule_broken_names_what_it_found(url: str, reason: str, entry: str) -> None:
    """One address a reason, and what is like it but is kept."""
    found, _, entries = verdict(url)
    assert (found, entries) == (reason, entry)


def test_only_allowed_domains_pass() -> None:
    """With a list of allowed domains every other is rejected, for none of 1 entries found; no address passes."""
    lists = UrlLists(allowed_domains=hash_table(["a.example"]))
    assert [verdict(url, lists)[0] for url in ("http://a.example/", "http://b.a.example/x", "")] == [""] * 3
    assert verdict("http://b.example/", lists)[:2] == ("domain_not_allowed", 0)


def test_a_long_address_breaks_its_bound() -> None:
    """At the bound it passes, one character more does not, and 0 is no bound."""
    url = "http://a.example/" + "x" * 83
    assert [verdict(url, longest=longest)[0] for longest in (0, 100, 99)] == ["", "", "url_too_long"]
    assert verdict(url, longest=99)[1] == 100


def test_lists_that_are_not_given_measure_nothing() -> None:
    """NaN says so, and so does a document without an address."""
    signals, _ = measure(["http://a.example/", ""], UrlLists(blocked_words=frozenset({"x"})))
    assert signals["blocked_words"][0] == 0
    assert all(math.isnan(signals[name][1]) for name in signals)
    assert math.isnan(signals["blocked_domains"][0])


@pytest.mark.parametrize("entry", ["*.bad.example", ".bad.example", "BAD.example", "bad.example."])
def test_ways_to_write_a_domain(entry: str) -> None:
    """They mean the same domain."""
    assert parse_domain(entry) == "bad.example"


def test_international_domains_are_compared_in_ascii() -> None:
    """A list in Unicode blocks an address in Punycode, and the other way round."""
    assert parse_domain("bücher.example") == "xn--bcher-kva.example"
    lists = UrlLists(blocked_domains=hash_table([parse_domain("bücher.example")]))
    for host in ("xn--bcher-kva.example", "shop.BÜCHER.example"):
        assert verdict(f"http://{host}/", lists)[0] == "domain_blocked"


@pytest.mark.parametrize("entry", ["http://bad.example", "bad.example/path", "two words", "", "a..b", "x" * 64])
def test_what_is_no_domain_is_refused(entry: str) -> None:
    """A line that could never match is a mistake in the list."""
    with pytest.raises(ValueError, match="not a domain"):
        parse_domain(entry)


def test_words_and_parts_that_could_never_be_found_are_refused() -> None:
    """A word is one run of letters and digits, a part has at least one."""
    assert parse_part("Hot-Girls!") == "hotgirls"
    for parse, entry in ((parse_word, "two words"), (parse_word, "a-b"), (parse_part, "--"), (parse_url, "http://")):
        with pytest.raises(ValueError, match=r"not one word|no letter|not an address"):
            parse(entry)


LABEL = st.sampled_from(["a", "b", "bad", "example", "net", "xn--p1ai"])
DOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join)


@settings(deadline=None)
@given(hosts=st.lists(DOMAIN, max_size=5), listed=st.lists(DOMAIN, min_size=1, max_size=5))
def test_a_domain_blocks_itself_and_what_lies_in_it(hosts: Sequence[str], listed: Sequence[str]) -> None:
    """As with suffixes of labels; the longest entry is named."""
    _, entries = measure([f"http://{host}/" for host in hosts], UrlLists(blocked_domains=hash_table(listed)))
    for host, entry in zip(hosts, entries, strict=True):
        found = [domain for domain in listed if f".{host}".endswith(f".{domain}")]
        assert entry == max(found, key=len, default="")


ESCAPES = st.lists(st.booleans(), min_size=11, max_size=11)
SCHEMES = st.sampled_from(["http://", "HTTPS:", "https:/", "ftp:\\\\", "//", "http:////", "wss://", "\\/", ""])
USERS = st.sampled_from(["", "me@", "good.example:x@", "a@b@"])
AFTER = st.sampled_from(["", "/", "?q=http://x", "#top", ":80", ":8080/x", "\\x", "/@good.example", "./"])


@settings(deadline=None)
@given(SCHEMES, USERS, ESCAPES, AFTER, st.lists(st.tuples(st.integers(0, 40), st.sampled_from("\t\n\r")), max_size=4))
def test_a_listed_domain_is_found_however_it_is_written(
    scheme: str, user: str, escaped: Sequence[bool], after: str, breaks: Sequence[tuple[int, str]]
) -> None:
    """Slashes, users, escapes, and white space that a browser does not see."""
    letters = zip("bad.example", escaped, strict=True)
    url = scheme + user + "".join(f"%{ord(c):02x}" if escape else c for c, escape in letters) + after
    for place, character in breaks:
        url = url[:place] + character + url[place:]
    assert verdict(url)[::2] == ("domain_blocked", "bad.example")


@settings(deadline=None)
@given(st.text(st.sampled_from("aB./\\%2eE:@?#é漢 \t0[]"), max_size=30))
@example("//a/%2e%2e/..//b?x/")
def test_a_compared_address_is_compared_as_itself(url: str) -> None:
    """What a list holds is found again when it is written as it is compared."""
    try:
        listed = parse_url(f"http://a.example/{url}")
    except ValueError:
        return
    assert parse_url(f"https://www.{listed}") == listed


@settings(deadline=None)
@given(st.text())
@example("http://\udcff".encode("utf-8", "replace").decode())
@example("http://" + "a" * 70_000)
@example("http://\u0130.example/%ff%00")
@example("\U0010ffff")
def test_any_string_gives_a_verdict(url: str) -> None:
    """Nothing raises, and entries appear only with a rule's count."""
    _, value, _ = verdict(url, longest=10)
    assert isinstance(float(value), float)

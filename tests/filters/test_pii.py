"""Personal data: what is found and what is left alone, stable placeholders, spans in bytes."""

import time

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filters.pii import KINDS, find_spans, mask
from filters.pii_numbers import has_account_digits, has_luhn_digit


def masked(text: str, regions: tuple[str, ...] = ("US", "DE")) -> str:
    """Return one text with placeholders."""
    return mask(pa.array([text]), KINDS, regions)[0].to_pylist()[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to Bob.Smith+x@mail.corp.co.uk.", "Write to <EMAIL_1>."),
        ("邮箱abc@qq.com联系", "邮箱<EMAIL_1>联系"),
        ("mailto:a@b.org?subject=x", "mailto:<EMAIL_1>?subject=x"),
        ("<a@b.org>,c@d.org", "<<EMAIL_1>>,<EMAIL_2>"),
        ("from 93.184.216.34:80, twice 93.184.216.34", "from <IP_1>:80, twice <IP_1>"),
        ("at 2a00:1450:4001:81b::200e.", "at <IP_1>."),
        ("call +1 650-253-0000 now", "call <PHONE_1> now"),
        ("(+44 20 7946 0958)", "(<PHONE_1>)"),
        ("+49 (0)30 12345678 2014", "<PHONE_1> 2014"),
        ("Fon (650) 253-0000 or 030 12345678", "Fon <PHONE_1> or <PHONE_2>"),
        ("IBAN: DE89 3704 0044 0532 0130 00 BIC", "IBAN: <IBAN_1> BIC"),
        ("GB82WEST12345698765432", "<IBAN_1>"),
        ("IBAN:DE89370400440532013000, x-DE89 3704 0044 0532 0130 00", "IBAN:<IBAN_1>, x-<IBAN_1>"),
        (
            "ref AB12:DE89370400440532013000 and XY99/AB12/DE89370400440532013000",
            "ref AB12:<IBAN_1> and XY99/AB12/<IBAN_1>",
        ),
        ("müller@firma.de oder José.pérez@firma.es", "<EMAIL_1> oder <EMAIL_2>"),
        ("почта:иваnow@firma.ru，邮箱bob@firma.cn", "почта:<EMAIL_1>，邮箱<EMAIL_2>"),
        ("4111 1111 1111 1111, Visa 4111111111111111", "<CARD_1>, Visa <CARD_1>"),
        ("3782-822463-10005", "<CARD_1>"),
        (
            "Tel.+49 30 12345678, Tel.030/12345678 und 電話.+81 3-1234-5678",
            "Tel.<PHONE_1>, Tel.<PHONE_1> und 電話.<PHONE_2>",
        ),
        ("card no.4111111111111111, no.4111 1111 1111 1111", "card no.<CARD_1>, no.<CARD_1>"),
        ("at 2a02:cafe::beef.", "at <IP_1>."),
        ("x:" * 300 + "bob@firma.de", "x:" * 300 + "<EMAIL_1>"),
        ("josé@firma.es иван@firma.ru", "<EMAIL_1> <EMAIL_2>"),
        ("info@bücher.de, info@shop.grün.de", "<EMAIL_1>, <EMAIL_2>"),
        ("иван@почта.рф, bob@भारत.भारत", "<EMAIL_1>, <EMAIL_2>"),
        ("邮箱bob@例子.中国联系", "邮箱<EMAIL_1>联系"),
        ("bob@firma.ru.Пишите -bob@firma.ru, .bob@firma.ru", "<EMAIL_1>.Пишите -<EMAIL_1>, .<EMAIL_1>"),
    ],
)
def test_personal_data_is_masked(text: str, expected: str) -> None:
    """Every kind in the ways it is written; what stands around it stays."""
    assert masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "aes256-gcm@openssh.com,rijndael-cbc@lysator.liu.se, root@web.lan, pi@rasp.local, a@b.internal, c@d.home.arpa",
        "a@mail.Привет, bob@grün.example, 邮箱@qq.com, @小明 hello, @josé.perez, h=+rEWDg@mail.gmail.com, a.@b.org",
        "lo [3ffe:ffff::]/32, 1,234.5678901234, 3.4111111111111111 0,4111 1111 1111 1111",
        f"{'a' * 65}@b.org, regexp=kevin\\+.+@sonney.com",
        "ISSN 0271-2091, ISSN: 0271-2091, (BZ#1692616, BZ#1692815, 1692816), 电话：0551-68588810",
        "user@example.com, a@mail.example, git@github.com:x/y, icon@2x.png, a@b, @handle, a@b@c.org, a@1.2.3",
        "127.0.0.1 10.1.2.3 192.168.1.77 169.254.3.4 224.0.0.251 203.0.113.9 0.0.0.0 256.100.3.4 01.200.3.4",
        "version 93.184.216.34, v93.184.216.34, kernel 4.15.200.77, section 1.2.3.4, 8.8.8.8, 7.0.33.0, 1.2.3.200.5",
        "驱动人生6.5.37.128 官方版",
        "::1 fe80::1 2001:db8::1 std::string a::b 12:30:45 ff02::1 fd00::1234",
        "2014-05-06, 1914-1918, ISBN 0-306-40615-2, ISBN 978-3-16-148410-0, 12.345.678, 3.14159265358979",
        "order 6502530000, id 030123456789, +1 2014 05 06, +123, 555-0100, 1 234 567 890 123",
        "DE88 3704 0044 0532 0130 00, XX89370400440532013000, DE89 3704 0044 0532 0130, ADE89370400440532013000",
        "4111 1111 1111 1112, 2702159776422298, 1234 5678 9012 3456, 0000 0000 0000 0000, 41111111111111111111111",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    """Made-up and private addresses, versions, dates, books, identifiers, wrong check digits."""
    assert masked(text) == text


def test_the_same_address_has_the_same_placeholder() -> None:
    """However it is written; numbers begin anew in every document, and after those that stand there already."""
    texts = ["A@b.org a@B.org c@d.org +49 30 12345678; 030/12345678", "c@d.org", "<EMAIL_7> c@d.org"]
    expected = ["<EMAIL_1> <EMAIL_1> <EMAIL_2> <PHONE_1>; <PHONE_1>", "<EMAIL_1>", "<EMAIL_7> <EMAIL_8>"]
    found, counts = mask(pa.array(texts), KINDS, ("DE",))
    assert found.to_pylist() == expected
    assert {kind: n.tolist() for kind, n in counts.items()} == {
        "email": [3, 1, 1], "ip": [0] * 3, "phone": [2, 0, 0], "iban": [0] * 3, "card": [0] * 3,
    }  # fmt: skip


def test_national_numbers_need_their_region() -> None:
    """Without one, only numbers with a plus are telephone numbers."""
    assert masked("(650) 253-0000", ()) == "(650) 253-0000"
    assert masked("(650) 253-0000", ("DE",)) == "(650) 253-0000"


@pytest.mark.parametrize(
    ("text", "regions", "found"),
    [
        ("联系电话：0551-68588810 QQ", ("DE",), 0),
        ("联系电话：0551-68588810 QQ", ("DE", "CN"), 1),
        ("Tel. 0551-68588810 传真", ("DE",), 0),
        ("Tel. 0341/696290, Fax", ("DE",), 1),
        ("Tel. 02382/590", ("DE",), 1),
        ("Тел. 8 (495) 123-45-67", ("RU",), 1),
        ("Тел. (650) 253-0000", ("US",), 0),
        ("(650) 253-0000", ("US",), 1),
        ("電話 03-1234-5678 まで", ("JP",), 1),
        ("call 650-2530000", ("US",), 1),
        ("(1687-1763), 1600-2400", ("CN", "US"), 0),
        ("call 650253-0000, 65 02530000 or 650-25-30000", ("US",), 0),
        ("電話 +49 30 12345678", (), 1),
    ],
)
def test_a_script_may_contradict_a_country(text: str, regions: tuple[str, ...], found: int) -> None:
    """A national number next to Chinese letters is no German one; a number with a plus says its country itself."""
    assert len(find_spans(pa.array([text]), KINDS, regions)[0]) == found


def test_a_number_is_that_of_the_country_whose_script_is_next_to_it() -> None:
    """Whatever country is named first."""
    assert find_spans(pa.array(["电话：0551-68588810"]), KINDS, ("DE", "CN"))[0][0].key == "+8655168588810"


def test_spans_are_bytes_of_the_text() -> None:
    """They point into the UTF-8 of their own document, in slices too, and never overlap."""
    texts = pa.array(["ends with 1", "漢字 a@b.org und +49 30 12345678é", "x"]).slice(1)
    spans = find_spans(texts, KINDS, ())
    encoded = texts[0].as_py().encode()
    assert [(encoded[s.start : s.end].decode(), s.kind) for s in spans[0]] == [
        ("a@b.org", "email"), ("+49 30 12345678", "phone"),
    ]  # fmt: skip
    assert spans[1] == []


def test_only_the_kinds_that_are_asked_for() -> None:
    """The others are neither masked nor counted."""
    found, counts = mask(pa.array(["a@b.org 93.184.216.34"]), ["ip"], ())
    assert found.to_pylist() == ["a@b.org <IP_1>"]
    assert list(counts) == ["ip"]


@given(st.integers(0, 10**15 - 1))
def test_luhn_digits_find_every_wrong_digit(number: int) -> None:
    """Of ten last digits one is right, or none where all digits would be the same."""
    right = [digit for digit in range(10) if has_luhn_digit(f"{number:015d}{digit}")]
    assert len(right) == (0 if number == 0 else 1)


@pytest.mark.parametrize(
    "iban", ["DE89370400440532013000", "GB82WEST12345698765432", "NO9386011117947", "MT84MALT011000012345MTLCAST001S"]
)
def test_published_ibans_are_right_and_their_changes_wrong(iban: str) -> None:
    """The examples of the SWIFT registry; any other digit at the end is wrong."""
    assert has_account_digits(iban)
    assert not has_account_digits(iban[:-1] + ("1" if iban[-1] != "1" else "2"))


NUMBERS = ["93.184.216.34", "2a00:1450::1", "+1 650-253-0000", "(650) 253-0000", "4111 1111 1111 1111"]
MARKS = [*list(" .,:-+()@1xv0/é漢\n"), "@bücher.de", "иван@", ".рф"]
PIECES = st.sampled_from(["a@b.org", "DE89 3704 0044 0532 0130 00", "<EMAIL_1>", *NUMBERS, *MARKS])


@settings(deadline=None, max_examples=300)
@given(st.lists(PIECES, max_size=12).map("".join) | st.text())
@example("a@b.org93.184.216.34")
@example("\U0010ffff\ue000 a@b.org")
def test_masking_twice_is_masking_once(text: str) -> None:
    """Nothing that a mask uncovers is left, and any string has an answer."""
    once = masked(text)
    assert masked(once) == once


@settings(deadline=None)
@given(st.lists(st.lists(PIECES, max_size=8).map("".join), max_size=4))
def test_a_text_s_spans_do_not_depend_on_its_neighbours(texts: list[str]) -> None:
    """A batch gives what each text gives by itself."""
    together = find_spans(pa.array(texts, pa.string()), KINDS, ("US",))
    assert together == [find_spans(pa.array([text]), KINDS, ("US",))[0] for text in texts]


@pytest.mark.parametrize(
    "unit",
    ["a", "1", "@", "a@", "1.", "+1", "1 ", "(", "AB12", "a@b.", ":", "1-", "a@é", "é", "é@", "2a:", "@กก", "@क"],
)
def test_sixteen_megabytes_take_linear_time(unit: str) -> None:
    """One run of hostile bytes is read once; twice as much takes no more than some times as long."""
    seconds = []
    for size in (4_000_000, 16_000_000):
        began = time.process_time()
        find_spans(pa.array([unit * (size // len(unit))]), KINDS, ())
        seconds.append(time.process_time() - began)
    assert seconds[1] < 12 * max(seconds[0], 0.2)

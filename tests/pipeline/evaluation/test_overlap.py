"""What a run's results hold of good text is found, and nothing else is."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.config import ConfigError
from pipeline.document import DOCUMENT, Writer
from pipeline.evaluation.good_text import Gathered, Good, halve
from pipeline.evaluation.overlap import facts_of, look
from pipeline.evaluation.remarks import about_corpus
from tests.pipeline.evaluation.test_evaluate import story

GOOD = [Good(f"g{n}", f"r{n}", "shelf", "en", story(f"shelf {n}")) for n in range(8)]


def write(folder: Path, texts: list[str], group: int = 3, **place: str) -> None:
    """Write a file of documents of one place, in row groups."""
    rows = [{**dict.fromkeys(DOCUMENT.names, ""), "position": n, "text": text, **place} for n, text in enumerate(texts)]
    writer = Writer(str(folder / "00000.parquet"), DOCUMENT)
    for start in range(0, len(rows), group):
        writer.write(pa.Table.from_pylist(rows[start : start + group], DOCUMENT))
    writer.close()


def others(count: int) -> list[str]:
    """Return texts of which none is good text."""
    return [story(f"corpus {n}") for n in range(count)]


def found(output: Path, goods: list[Good] = GOOD) -> tuple[Any, list[Any]]:
    """Return what is found, and what the display heard."""
    heard: list[Any] = []
    return look(goods, str(output), lambda *told: heard.append(told)), heard


def test_copies_are_found_in_what_was_kept_and_in_what_was_rejected(tmp_path: Path) -> None:
    """Also with other case and marks, inside a longer document, and cut where a rejected text is; in any row group."""
    shouted = GOOD[1].text.upper().replace(".", " !")
    write(tmp_path / "documents", [*others(5), GOOD[0].text, shouted, f"{story('a')} {GOOD[2].text} {story('b')}"])
    write(tmp_path / "rejected", [*others(9), GOOD[5].text[: len(GOOD[5].text) // 2], ""])
    corpus, heard = found(tmp_path)
    assert corpus.held == {"g0", "g1", "g2", "g5"}
    assert corpus.looked == {"documents": 8, "rejected": 10}
    assert [(total, record["documents"]) for total, (record,), _ in heard] == [(2, 8), (2, 10)]


def test_a_record_of_which_a_piece_is_held_is_held(tmp_path: Path) -> None:
    """Who read a chapter of a book knows how the book is written."""
    book = [Good(f"b{n}", "book", "shelf", "en", story(f"book {n}")) for n in range(3)]
    write(tmp_path / "documents", [*others(3), book[1].text])
    corpus, _ = found(tmp_path, [*GOOD, *book])
    assert corpus.held == {"b0", "b1", "b2"}
    assert facts_of(corpus, book, [])["records"] == 1


def test_a_quotation_is_not_a_copy(tmp_path: Path) -> None:
    """Less than a fifth of the shingles leaves a document in; a fifth, scattered over the corpus, does not."""
    words = GOOD[0].text.split()
    parts = [" ".join(words[at : at + 20]) for at in range(0, len(words), 20)]  # 8 shingles each
    write(tmp_path / "documents", [*others(5), parts[0]])
    assert found(tmp_path)[0].held == set()
    write(tmp_path / "documents", [*others(5), *parts])
    assert found(tmp_path)[0].held == {"g0"}


def test_a_text_of_a_few_words_is_looked_for_whole(tmp_path: Path) -> None:
    """It is found where it stands, and not where a part of it does."""
    short = Good("s", "s", "shelf", "en", "a short text of seven words only")
    write(tmp_path / "documents", [*others(2), "a short text of seven words"])
    assert found(tmp_path, [short])[0].held == set()
    write(tmp_path / "documents", ["it was A short text of seven words, only that"])
    assert found(tmp_path, [short])[0].held == {"s"}


def test_hosts_and_sources_of_both_are_named(tmp_path: Path) -> None:
    """Good documents that stay are counted, and the corpus's of the same host or source, each once."""
    goods = [*GOOD, Good("w", "w", "example.org", "en", story("web"))]
    write(tmp_path / "documents", [*others(4), GOOD[0].text], host="example.org", source="shelf")
    write(tmp_path / "rejected", others(2), host="shelf", source="shelf")
    corpus, _ = found(tmp_path, goods)
    facts = facts_of(corpus, goods, [good for good in goods if good.id not in corpus.held])
    assert facts["names"] == {"example.org": [1, 5], "shelf": [7, 7]}
    assert facts["left_out"] == {"en": 1}
    assert facts["records"] == 1
    said = "\n".join(about_corpus(facts))
    assert "1 good documents left out: found in the corpus (en 1), of 1 records" in said
    assert "shelf (7 good documents, 7 of the corpus), example.org (1 good documents, 5 of the corpus)" in said


def test_where_nobody_could_look_is_said(tmp_path: Path) -> None:
    """Without OUT/documents, and with rejects that were stored without their texts, nothing is called clean."""
    write(tmp_path / "rejected", ["", "", ""])
    corpus, _ = found(tmp_path)
    said = about_corpus(facts_of(corpus, GOOD, GOOD))
    assert len(said) == 2
    assert said[0].startswith("OUT/documents is gone")
    assert said[1].startswith("OUT/rejected has no texts")


def test_what_is_held_is_in_neither_half() -> None:
    """Others take its place, no damage is made of it; a language that is left with too little only lends material."""
    own = {name: [Good(f"{name}{n}", f"{name}{n}", "x", name, "") for n in range(60)] for name in ("en", "fr")}
    foreign = [Good(f"zh{n}", "zh", "x", "zh", "") for n in range(3)]
    good = Gathered(own, foreign, 123, {"en": 60, "fr": 60, "zh": 3}, {}, {})
    away = {"zh0", *(f"en{n}" for n in range(12)), *(f"fr{n}" for n in range(50))}
    halves = halve(good, away, 46)
    assert {one.id for one in halves.documents["en"]} == {f"en{n}" for n in range(12, 58)}
    assert {one.id for one in halves.foreign} == {"zh1", "zh2", *(f"fr{n}" for n in range(50, 60))}
    assert halves.too_few == {"fr": "10 documents of 10 records"}
    with pytest.raises(ConfigError, match=r"123 good documents read.*: zh 3; .*; left out, since .* holds them: 120"):
        halve(good, {one.id for name in own for one in own[name]}, 46)

"""Main text of web pages: how good and how fast, against resiliparse's settings and trafilatura.

    make bench-html PEERS=~/peers/bin/python
    LUSTRATE_DATA=../data python -m tests.benchmarks.html_pages --peers ~/peers/bin/python --reference evaldata.json

Two measures, each with the mean over pages or segments and for even and odd pages apart, so that what was tuned on one
half shows on the other:

- `segments`, the definition of trafilatura's own evaluation (tests/eval_common.py there): a page has passages that
  belong to its main text and passages that do not; found ones of the former are true positives, of the latter false
  ones, and F1 is that of their sums. Needs that evaluation's file, tests/evaldata.json of its repository.
- `words`, ours: the article that some pages carry in their own metadata (schema.org's articleBody), as a bag of words;
  F1 of each page's words, averaged.
- `like trafilatura`: the same F1 with trafilatura's text in place of the article, over all pages: no measure of
  quality, but it needs no reference.

Speed is pages per CPU second of this process or, for trafilatura, of its own. It runs in the environment of --peers.
"""

import argparse
import html
import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree
from rich.console import Console
from rich.table import Table

from pipeline.formats.html import decode_page, main_text

DATA = Path(os.environ.get("LUSTRATE_DATA", "../shared/data"))
PEER = Path(__file__).with_name("html_peers.py")
ARCHIVE = "warc/trafilatura-eval-300.warc.gz"
SHORTEST_ARTICLE = 500  # characters of an articleBody; shorter ones are summaries
_METADATA = re.compile(r"<script[^<>]*application/ld\+json[^<>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)
Score = tuple[float, float, float]  # of all pages, the even, the odd


@dataclass(frozen=True, slots=True)
class Passages:
    """What trafilatura's evaluation says of a page."""

    wanted: tuple[str, ...]
    unwanted: tuple[str, ...]


def main() -> None:
    """Extract, compare and print."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--input", default=str(DATA / ARCHIVE), help="a WARC file of pages")
    line.add_argument("--reference", help="evaldata.json of trafilatura's evaluation")
    line.add_argument("--peers", help="interpreter that has trafilatura")
    asked = line.parse_args()
    pages = list(read_pages(asked.input))
    passages = read_passages(asked.reference, [url for url, _ in pages]) if asked.reference else {}
    articles = {number: text for number, (_, page) in enumerate(pages) if (text := article(page))}
    texts, speeds = extract_all([page for _, page in pages], asked.peers)
    console = Console(width=150)
    console.print(
        f"{len(pages)} pages; {len(passages)} with passages, {len(articles)} with an article; "
        f"load {os.getloadavg()[0]:.1f}"
    )
    console.print(show(texts, speeds, passages, articles))


def read_pages(path: str) -> Iterator[tuple[str, str]]:
    """Yield the URL and the page of every response."""
    with Path(path).open("rb") as file:
        for record in ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=True):
            yield record.headers.get("WARC-Target-URI") or "", decode_page(record.reader.read(), None)


def read_passages(path: str, urls: Sequence[str]) -> dict[int, Passages]:
    """Return the passages of the pages that the evaluation knows, by the number of the page."""
    known = {url.strip(): entry for url, entry in orjson.loads(Path(path).read_bytes()).items()}
    found = {number: known[url.strip()] for number, url in enumerate(urls) if url.strip() in known}
    return {number: Passages(tuple(entry["with"]), tuple(entry["without"])) for number, entry in found.items()}


def article(page: str) -> str:
    """Return the longest article in a page's metadata, empty where there is none."""
    bodies = [""]
    for found in _METADATA.finditer(page):
        try:
            bodies += article_bodies(orjson.loads(found[1]))
        except orjson.JSONDecodeError:
            continue
    longest = html.unescape(re.sub(r"<[^<>]+>", " ", max(bodies, key=len)))
    return longest if len(longest) >= SHORTEST_ARTICLE else ""


def article_bodies(value: Any) -> Iterator[str]:
    """Yield every articleBody in a JSON value."""
    if isinstance(value, dict):
        if isinstance(body := value.get("articleBody"), str):
            yield body
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from article_bodies(item)


def extract_all(pages: Sequence[str], peers: str | None) -> tuple[dict[str, list[str]], dict[str, float]]:
    """Return the texts and the pages per CPU second of every way."""
    ways: dict[str, Callable[[str], str]] = {
        "lustrate": main_text,
        "resiliparse, main content": lambda page: plain(page, main_content=True),
        "resiliparse, no comments": lambda page: plain(page, main_content=True, comments=False),
        "resiliparse, no comments or meta": lambda page: plain(
            page, main_content=True, comments=False, post_meta=False
        ),
        "resiliparse, all text": plain,
    }
    main_text(pages[0])  # compiles
    texts, speeds = {}, {}
    for name, way in ways.items():
        began = time.process_time()
        texts[name] = [way(page) for page in pages]
        speeds[name] = len(pages) / (time.process_time() - began)
    for name in ("default", "fast", "precision") if peers else ():
        # -P: a module of this folder has the name of one of the standard library's
        answer = subprocess.run(
            [str(peers), "-P", str(PEER), name], input=orjson.dumps(pages), stdout=subprocess.PIPE, check=True
        )
        found = orjson.loads(answer.stdout)
        texts[f"trafilatura {found['version']}, {name}"] = found["texts"]
        speeds[f"trafilatura {found['version']}, {name}"] = len(pages) / found["seconds"]
    return texts, speeds


def plain(page: str, **settings: Any) -> str:
    """Return what resiliparse extracts."""
    return str(extract_plain_text(HTMLTree.parse(page), alt_texts=False, **settings))


def segment_score(texts: Sequence[str], passages: Mapping[int, Passages]) -> Score:
    """Return F1 of passages."""

    def score(numbers: Iterable[int]) -> float:
        true = false = missed = 0
        for number in numbers:
            text, given = normal(texts[number]), passages[number]
            hits = sum(normal(passage) in text for passage in given.wanted)
            true, missed = true + hits, missed + len(given.wanted) - hits
            false += sum(normal(passage) in text for passage in given.unwanted)
        return 2 * true / max(1, 2 * true + false + missed)

    return halves(score, passages)


def word_score(texts: Sequence[str], references: Mapping[int, str]) -> Score:
    """Return the mean F1 of words."""

    def score(numbers: Iterable[int]) -> float:
        scores = [word_f1(texts[number], references[number]) for number in numbers]
        return sum(scores) / max(1, len(scores))

    return halves(score, references)


def halves(score: Callable[[Iterable[int]], float], pages: Iterable[int]) -> Score:
    """Return the score of all pages, the even and the odd ones."""
    numbers = sorted(pages)
    return score(numbers), score([n for n in numbers if n % 2 == 0]), score([n for n in numbers if n % 2])


def word_f1(text: str, reference: str) -> float:
    """Return F1 of the words of a text, as bags."""
    found, wanted = Counter(re.findall(r"\w+", text)), Counter(re.findall(r"\w+", reference))
    total = found.total() + wanted.total()
    return 2 * (found & wanted).total() / total if total else 1.0


def normal(text: str) -> str:
    """Return a text with its white space drawn together, as the evaluation does."""
    return re.sub(r"\s+", " ", text).strip()


def show(
    texts: Mapping[str, list[str]],
    speeds: Mapping[str, float],
    passages: Mapping[int, Passages],
    articles: Mapping[int, str],
) -> Table:
    """Return the table."""
    table = Table(title="main text of pages: F1 (even, odd pages) and speed", title_justify="left")
    for column in ("", "segments", "words", "like trafilatura", "pages per CPU second"):
        table.add_column(column, justify="left" if not column else "right")
    peer = next((name for name in texts if name.startswith("trafilatura") and name.endswith("default")), None)
    model = {n: text for n, text in enumerate(texts[peer]) if text} if peer else {}
    for name, given in texts.items():
        scores = [
            "{:.3f} ({:.3f}, {:.3f})".format(*score) if known else "–"
            for score, known in (
                (segment_score(given, passages), passages),
                (word_score(given, articles), articles),
                (word_score(given, model), model),
            )
        ]
        table.add_row(name, *scores, f"{speeds[name]:,.0f}")
    return table


if __name__ == "__main__":
    main()

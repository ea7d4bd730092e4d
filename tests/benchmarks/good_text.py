"""Good text of the data set for `python -m pipeline.evaluate`: English, Chinese, French and German, by language.

    python -m tests.benchmarks.good_text FOLDER         LUSTRATE_DATA=…
    python -m pipeline.evaluate --output OUT --good 'FOLDER/*.jsonl' --source source

English is ten books and wikitext-2 by article (clean_text.py), Chinese articles of LCTT, French and German the lines
of web pages that people marked as text. Of the English sources nothing is in demo_corpus; of the Chinese site and the
French collection other documents are.
"""

import gzip
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from tests.benchmarks.clean_text import articles

DATA = Path(os.environ.get("LUSTRATE_DATA", "../shared/data"))
MARKED = {"de": "line-labels-de", "fr": "core-fr"}  # sources by language; demo_corpus has other pages of core-fr


def main() -> None:
    """Write a file for each language."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    chinese = _read("clean/zh_lctt_articles.jsonl.gz", "lctt")
    for name, records in (("en", english()), ("zh", chinese), ("marked", marked())):
        lines = [orjson.dumps({key: record[key] for key in ("id", "source", "text")}) + b"\n" for record in records]
        (folder / f"{name}.jsonl").write_bytes(b"".join(lines))
        print(f"{name}: {len(lines):,} records")


def english() -> Iterator[dict[str, Any]]:
    """Yield books, whole, and articles."""
    yield from _read("clean/en_public_domain_books.jsonl.gz", "books")
    for name in ("valid", "test"):
        text = (DATA / f"clean/wikitext-2.{name}.txt").read_text(encoding="utf-8")
        for number, article in enumerate(articles(text)):
            yield {"id": f"wikitext-{name}-{number}", "source": "wikitext", "text": article}


def marked() -> Iterator[dict[str, Any]]:
    """Yield what people marked as text of each page."""
    for page in _read("quality/line_labels_de_es_fi_fr.jsonl.gz", ""):
        if page["lang"] in MARKED:
            kept = [line.strip() for line, keep in zip(page["lines"], page["keep"], strict=True) if keep]
            yield {"id": page["id"], "source": MARKED[page["lang"]], "text": "\n".join(kept)}


def _read(path: str, source: str) -> Iterator[dict[str, Any]]:
    with gzip.open(DATA / path) as lines:
        yield from ({**orjson.loads(line), "source": source} for line in lines)


if __name__ == "__main__":
    main()

"""Which share of clean documents the default rules keep, language by language, and what rejects the others.

    LUSTRATE_DATA=../data python -m tests.benchmarks.kept_by_language

Clean are the sources of the data folder that people wrote or edited as text: news, articles, books, speeches, reviews,
manuals, help pages, and the web pages of the CORE corpora, which came in one line each. Left out are crawled pages with
their menus, messages and the spam among them. A document's language is what it was identified as, where that is
certain, else what its source declares. The steps are those of the default configuration, or of --config.
"""

import argparse
import gzip
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from pipeline.config import Config, load
from pipeline.document import DOCUMENT
from pipeline.step import Step
from pipeline.steps import apply, check_steps, family_names, make_steps

DATA = Path(os.environ.get("LUSTRATE_DATA", "../shared/data"))
CLEAN = (  # beginnings of the names of sources in demo_corpus
    *("masakhanews-", "core-", "lctt", "digitalgov-", "lo-help-", "installation-guide-", "movie-reviews"),
    *("inaugural", "state_union"),
)
FILES = ("clean/en_public_domain_books.jsonl.gz", "clean/zh_lctt_articles.jsonl.gz", "clean/zh_tang_poems.jsonl.gz")
POEMS = {"zh_tang_poems": "zh, Tang poems"}  # lid.176 takes many of them for Japanese
FEWEST = 20  # documents; fewer of a language are put together
BATCH = 1000
GOOD = 0.9  # of a language's documents


@dataclass(slots=True)
class Tally:
    """What became of a language's documents."""

    documents: int = 0
    kept: int = 0
    long: int = 0  # documents not rejected for having too few words, which is no fault
    reasons: Counter[str] = field(default_factory=Counter)


def main() -> None:
    """Judge and print."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--config", help="TOML file; its steps and bounds are used")
    line.add_argument("--source", default="", help="only sources whose name begins so")
    line.add_argument("--examples", type=int, default=0, help="texts to print per reason")
    asked = line.parse_args()
    config = load(asked.config, family_names()) if asked.config else Config()
    check_steps(config)
    records = [record for record in read_clean(DATA) if record["source"].startswith(asked.source)]
    if not records:
        sys.exit(f"no clean documents in {DATA}; set LUSTRATE_DATA")
    tallies, examples = judge_all(records, make_steps(config))
    Console(width=160).print(show(tallies))
    for reason, texts in sorted(examples.items()) if asked.examples else ():
        print(f"\n{reason}", *(repr(text) for text in texts[: asked.examples]), sep="\n  ")


def read_clean(folder: Path) -> Iterator[dict[str, str]]:
    """Yield text, source and declared language of every clean document."""
    for path in [*sorted((folder / "demo_corpus").glob("*.jsonl.gz")), *(folder / name for name in FILES)]:
        with gzip.open(path) as lines:
            for record in map(orjson.loads, lines):
                source = record.get("source", path.name.partition(".")[0])
                if path.parent.name == "clean" or source.startswith(CLEAN):
                    row = POEMS.get(source, "")
                    yield {"text": record["text"], "source": source, "language": record["lang"] or "und", "row": row}


def judge_all(records: Iterable[dict[str, str]], steps: list[Step]) -> tuple[dict[str, Tally], dict[str, list[str]]]:
    """Return the tallies by language, and texts by reason and language."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    examples: dict[str, list[str]] = defaultdict(list)
    left = iter(records)
    while batch := tuple(islice(left, BATCH)):
        kept, rejected = apply(documents(batch), steps)
        for row in kept.select(["position", "language"]).to_pylist():
            tally = tallies[name(row, batch)]
            tally.documents, tally.kept, tally.long = tally.documents + 1, tally.kept + 1, tally.long + 1
        for row in (row for table in rejected for row in table.to_pylist()):
            tally = tallies[name(row, batch)]
            tally.documents += 1
            tally.long += row["reason"] != "too_few_words"
            tally.reasons[row["reason"]] += 1
            examples[f"{name(row, batch)} {row['reason']} {row['value']}"[:40]].append(row["text"][:300])
    return tallies, examples


def documents(batch: tuple[dict[str, str], ...]) -> pa.Table:
    """Return records as the steps take them."""
    rows = [
        dict.fromkeys(DOCUMENT.names, "") | {"position": at, "text": record["text"]} for at, record in enumerate(batch)
    ]
    return pa.Table.from_pylist(rows, schema=DOCUMENT)


def name(row: dict[str, Any], batch: tuple[dict[str, str], ...]) -> str:
    """Return the row of the table that a document belongs to: its language, but for the poems."""
    record = batch[row["position"]]
    return record["row"] or (record["language"] if row["language"] == "und" else str(row["language"]))


def show(tallies: dict[str, Tally]) -> Table:
    """Return the table, the language with the smallest share first."""
    table = Table(title="clean documents kept", title_justify="left")
    for column in ("language", "documents", "kept", "kept of those with 50 words", "what rejects most of the others"):
        table.add_column(column, justify="right" if "kept" in column or column == "documents" else "left")
    rare = Tally()
    for language in [language for language, tally in tallies.items() if tally.documents < FEWEST]:
        few = tallies.pop(language)
        rare = Tally(
            rare.documents + few.documents, rare.kept + few.kept, rare.long + few.long, rare.reasons + few.reasons
        )
    rows = sorted(tallies.items(), key=lambda item: item[1].kept / item[1].documents)
    for language, tally in [*rows, ("other", rare)]:
        share, of_long = tally.kept / max(1, tally.documents), tally.kept / max(1, tally.long)
        reasons = ", ".join(f"{reason} {count}" for reason, count in tally.reasons.most_common(4))
        table.add_row(
            language,
            f"{tally.documents:,}",
            f"{share:.1%}",
            f"{of_long:.1%}",
            reasons,
            style="" if share >= GOOD else "bold",
        )
    return table


if __name__ == "__main__":
    main()

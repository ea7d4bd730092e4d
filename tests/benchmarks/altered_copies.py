"""Altered copies of a corpus: as large as many, and no near-duplicates for deduplication to take.

Each fifth word of a line is replaced by one drawn from the corpus; where letters are words, each fifth letter. URLs go,
and ids say which copy it is. Drawn by seed, so that a corpus always gives the same copies.
"""

import gzip
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

EVERY = 5  # words
FILES = 4  # of a copy
DRAWN = 3000  # documents that the replacements come from
LONG = 12  # letters of a word that is taken for a sentence
_LETTERS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")  # that are words


@dataclass(frozen=True, slots=True)
class Replacements:
    """What is drawn from."""

    words: list[str]
    letters: list[str]


def write_copies(pattern: str, folder: Path, copies: int) -> str:
    """Write so many copies of JSONL files (plain or .gz) into a folder; return the pattern of theirs."""
    records = [orjson.loads(line) for path in files_of(pattern) for line in _lines(path)]
    drawn = random.Random(0).sample(records, min(DRAWN, len(records)))
    words = [word for record in drawn for word in record["text"].split()[:200]]
    letters = [letter for record in drawn for letter in _LETTERS.findall(record["text"])[:100]]
    for copy in range(copies):
        draw = random.Random(copy + 1)
        for part in range(FILES):
            some = records[part * len(records) // FILES : (part + 1) * len(records) // FILES]
            with gzip.open(folder / f"copy-{copy}-{part}.jsonl.gz", "wb", 1) as file:
                for record in some:
                    file.write(orjson.dumps(_altered(record, copy, Replacements(words, letters), draw)) + b"\n")
    return f"{folder}/copy-*.jsonl.gz"


def files_of(pattern: str) -> list[Path]:
    """Return the files that a pattern of names in one folder matches, sorted."""
    return sorted(Path(pattern).parent.glob(Path(pattern).name))


def _lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        yield from file


def _altered(record: dict[str, Any], copy: int, by: Replacements, draw: random.Random) -> dict[str, Any]:
    lines = [" ".join(_alter(line.split(" "), by, draw)) for line in record["text"].split("\n")]
    kept = {name: value for name, value in record.items() if name != "url"}
    return {**kept, "id": f"{record.get('id', '')}-{copy}", "text": "\n".join(lines)}


def _alter(words: Sequence[str], by: Replacements, draw: random.Random) -> Iterator[str]:
    turn = draw.randrange(EVERY)
    for number, word in enumerate(words):
        if len(word) > LONG and _LETTERS.search(word):
            first = draw.randrange(EVERY)
            yield "".join(draw.choice(by.letters) if i % EVERY == first else c for i, c in enumerate(word))
        else:
            yield draw.choice(by.words) if word and number % EVERY == turn else word

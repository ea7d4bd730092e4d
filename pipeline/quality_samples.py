"""Good and bad texts to train a classifier on: spread over files by their hash, so that no more than a part is held."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import orjson

from pipeline.config import Config, ConfigError, Input
from pipeline.formats.read import read_piece
from pipeline.formats.record import Record, TooLarge, Unreadable
from pipeline.plan import make_plan

PARTS = 256  # by the first byte of a hash
MOST_BYTES = 16_000_000  # of a record, as ingest.max_document_bytes
FEWEST = 2  # texts of each kind, to train on and held out
SAID = 10  # kinds of records that cannot be read, the commonest
KINDS = {"good": True, "bad": False}
_SPACES = str.maketrans(dict.fromkeys("\n\r\v\f\0", " "))


@dataclass(frozen=True, slots=True)
class Source:
    """Where texts of one kind come from."""

    name: str  # good or bad
    paths: tuple[str, ...]
    field: str  # that holds the text


@dataclass(frozen=True, slots=True)
class Sample:
    """A text and what it is an example of."""

    text: str
    good: bool
    held_out: bool


@dataclass(frozen=True, slots=True)
class Samples:
    """Every different text of two sources in files of a folder, counted by (good, held out)."""

    folder: Path
    held_out: float
    counts: Mapping[tuple[bool, bool], int]

    def __iter__(self) -> Iterator[Sample]:
        """Yield them in the order of their hashes."""
        return _read(self.folder, self.held_out)


def collect(good: Source, bad: Source, held_out: float, folder: Path) -> Samples:
    """Read the sources into files of a folder; a text that is both good and bad is left out, and so is white space.

    Raises ConfigError where an input cannot be read or there are too few texts.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(_part(folder, part).open("wb")) for part in range(PARTS)]
        for source in (good, bad):
            for text in read_texts(source):
                if text.strip():
                    digest = blake2b(text.encode(), digest_size=16)
                    row = orjson.dumps((digest.hexdigest(), KINDS[source.name], text))
                    files[digest.digest()[0]].write(row + b"\n")
    counts = Counter((sample.good, sample.held_out) for sample in _read(folder, held_out))
    for name, kind in KINDS.items():
        for held in (True, False):
            if counts[kind, held] < FEWEST:
                where = "held out" if held else "to train on"
                raise ConfigError(
                    f"--{name}: {counts[kind, held]} different texts {where}, at least {FEWEST} are needed"
                )
    return Samples(folder, held_out, counts)


def _part(folder: Path, part: int) -> Path:
    return folder / f"{part:03d}.jsonl"


def _read(folder: Path, held_out: float) -> Iterator[Sample]:
    for part in range(PARTS):
        found: dict[str, tuple[str, bool]] = {}
        both: set[str] = set()
        with _part(folder, part).open("rb") as file:
            for row in file:
                key, good, text = orjson.loads(row)
                if found.setdefault(key, (text, good))[1] != good:
                    both.add(key)
        for key in sorted(found.keys() - both):
            yield Sample(*found[key], held_out=int(key[:12], 16) < held_out * 2**48)


def read_texts(source: Source) -> Iterator[str]:
    """Yield the texts of files, and print which records cannot be read; raises ConfigError where none can."""
    given = Input(paths=source.paths, text=source.field)
    found, lost = False, Counter[tuple[str, str]]()
    for piece in (piece for shard in make_plan(Config(input=(given,))).shards for piece in shard.pieces):
        for event in read_piece(piece, given, MOST_BYTES):
            if isinstance(event, Record):
                found = True
                yield event.text
            elif isinstance(event, Unreadable):
                lost[piece.relative, event.error] += event.records
            elif isinstance(event, TooLarge):
                lost[piece.relative, f"larger than {MOST_BYTES:,} bytes"] += 1
    if not found:
        error = next(iter(lost), ("", "no record holds a text"))[1]
        raise ConfigError(f"no text in {', '.join(source.paths)}: {error}")
    for (path, error), count in lost.most_common(SAID):
        what = "record" if count == 1 else "records"
        print(f"--{source.name}: {count:,} {what} of {path} not read: {error}", file=sys.stderr)


def line_of(sample: Sample) -> str:
    """Return a line to train on: what fastText would take for a label, or for an end of the line, goes."""
    text = sample.text.translate(_SPACES).replace("__label__", " ").replace("</s>", " ")
    return f"__label__{'good' if sample.good else 'bad'} {text}\n"

"""Good text: records of files, long ones in pieces, as the run's rules and edits leave them, in two halves by record.

A record is a source: a book, a site's page, an article. All its pieces fall into the same half, and what is resampled
for an interval is records.
"""

import math
import random
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from pipeline.config import Config, ConfigError, Input
from pipeline.counted import counted
from pipeline.document import DOCUMENT, document_id, host
from pipeline.evaluation.remarks import MOST_NAMED, about_text
from pipeline.formats.read import read_piece
from pipeline.formats.record import Record, TooLarge, Unreadable
from pipeline.plan import make_plan
from pipeline.self_clean.anchors import LEAST_BYTES
from pipeline.self_clean.excerpt import MOST_CHARACTERS
from pipeline.steps import apply, make_steps

SHORTEST = 500  # characters of a piece of a long record; they are of all lengths up to the longest, on a log scale
MOST_BYTES = 64_000_000  # of a record: a book is one
BATCH = 1000
FOREIGN = 200  # texts of languages that are not judged, kept as material
FEWEST = 20  # documents of a language in each half


@dataclass(frozen=True, slots=True)
class Good:
    """A good document."""

    id: str
    record: str  # id of the record that it is, or is a piece of
    source: str  # host of the record, or source; empty where it names neither
    language: str
    text: str
    measured: bool = False  # which half: the cut is set on the other
    fold: int | None = None  # whose judge reads it; None: any, for no judge saw it


@dataclass(frozen=True, slots=True)
class Gathered:
    """Good text that was chosen, and what became of the rest."""

    chosen: dict[str, list[Good]]  # by judged language, those first that are to be taken first
    foreign: list[Good]  # of other languages
    read: int  # documents, pieces counted one by one
    kept: dict[str, int]  # by the run's rules: by language
    rejected: dict[str, dict[str, int]]  # by the run's rules: language -> reason
    unreadable: dict[str, int]  # records by error

    @property
    def documents(self) -> list[Good]:
        """All that were chosen."""
        return [*(good for own in self.chosen.values() for good in own), *self.foreign]


@dataclass(frozen=True, slots=True)
class Halves:
    """Good text to evaluate by."""

    documents: dict[str, list[Good]]  # by judged language
    foreign: list[Good]  # of other languages
    too_few: dict[str, str]  # language -> why it is not evaluated


def gather(given: Input, config: Config, judged: Sequence[str], most: int) -> Gathered:
    """Return documents of each judged language, twice as many as are asked for: some may be in the corpus.

    All good text is held in memory.
    """
    lost: Counter[str] = Counter()
    kept, rejected, read = _filtered(_pieces(given, lost), config)
    long = [good for good in kept if len(good.text.encode()) >= LEAST_BYTES]
    chosen = {name: choose([good for good in long if good.language == name], 2 * most) for name in judged}
    foreign = [good for good in long if good.language not in judged][:FOREIGN]
    return Gathered(chosen, foreign, read, dict(Counter(good.language for good in kept)), rejected, dict(lost))


def halve(good: Gathered, held: Collection[str], most: int) -> Halves:
    """Return up to `most` chosen documents of a language, none of those that the corpus holds, by their ids.

    Raises ConfigError where no language has enough.
    """
    found: dict[str, list[Good]] = {}
    too_few: dict[str, str] = {}
    foreign = list(good.foreign)
    for language, own in good.chosen.items():
        halves = halved([one for one in own if one.id not in held][:most])
        least = min(sum(one.measured for one in halves), sum(not one.measured for one in halves))
        if least >= FEWEST:
            found[language] = halves
        elif own:
            too_few[language] = (
                f"{counted(len(halves), 'document')} of {counted(len({one.record for one in halves}), 'record')}"
            )
            foreign += halves
    if not found:
        raise ConfigError(_none_left(good, held, too_few))
    return Halves(found, [one for one in foreign if one.id not in held][:FOREIGN], too_few)


def _none_left(good: Gathered, held: Collection[str], too_few: Mapping[str, str]) -> str:
    """Say that there is too little to evaluate by, and what became of all that was read."""
    errors = Counter(good.unreadable)
    named = dict(errors.most_common(MOST_NAMED))
    read = {
        "read": good.read,
        "rejected": good.rejected,
        "not_judged": {name: count for name, count in good.kept.items() if name not in good.chosen},
        "too_few": too_few,
        "unreadable": named,
    }
    said = [f"no judged language ({', '.join(good.chosen)}) has {2 * FEWEST} good documents, {FEWEST} for each half"]
    said += about_text(read)
    if len(errors) > len(named):
        said.append(f"{errors.total() - sum(named.values()):,} more for other reasons")
    if short := _too_short(good):
        said.append(f"shorter than {LEAST_BYTES:,} bytes: {short}")
    if held:
        said.append(f"left out, since the corpus holds them: {len(held):,}")
    return "; ".join(said)


def _too_short(good: Gathered) -> str:
    """Name the judged languages of which too few are left for halves, and how many of theirs were too short."""
    counts = {name: good.kept.get(name, 0) - len(own) for name, own in good.chosen.items() if len(own) < 2 * FEWEST}
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()) if count)


def _pieces(given: Input, lost: Counter[str]) -> Iterator[dict[str, Any]]:
    """Yield rows of DOCUMENT, pieces of long records one by one, with the id of their record as `source_id`."""
    empty = {**dict.fromkeys(DOCUMENT.names, ""), "meta": "{}"}
    for piece in (piece for shard in make_plan(Config(input=(given,))).shards for piece in shard.pieces):
        for event in read_piece(piece, given, MOST_BYTES):
            if isinstance(event, Unreadable):
                lost[event.error] += event.records
            elif isinstance(event, TooLarge):
                lost[f"larger than {MOST_BYTES:,} bytes"] += 1
            if not isinstance(event, Record):
                continue
            record = document_id(given.name, piece.relative, event.position)
            place = {"path": piece.path, "position": event.position, "source_id": record, "url": event.url}
            place |= {"host": host(event.url), "source": event.source}
            for number, text in enumerate(cut_pieces(event.text, record)):
                yield {**empty, **place, "id": document_id(record, str(number), event.position), "text": text}


def cut_pieces(text: str, key: str) -> Iterator[str]:
    """Yield a text, or where it is longer than an anchor may be, all of it in pieces that end with a line."""
    draw, at = random.Random(key), 0  # noqa: S311 - must come out the same again
    while len(text) - at > MOST_CHARACTERS:
        length = int(math.exp(draw.uniform(math.log(SHORTEST), math.log(MOST_CHARACTERS))))
        line = text.rfind("\n", at + length // 2, at + length)
        stop = line + 1 if line > 0 else at + length
        yield text[at:stop]
        at = stop
    if at == 0 or len(text) - at >= SHORTEST:
        yield text[at:]


def _filtered(rows: Iterator[dict[str, Any]], config: Config) -> tuple[list[Good], dict[str, dict[str, int]], int]:
    """Return what the run's steps keep, how many they reject by language and reason, and how many there were."""
    steps = make_steps(config)
    kept: list[Good] = []
    rejected: dict[str, dict[str, int]] = {}
    read = 0
    for batch in _batches(rows):
        read += len(batch)
        table, parts = apply(pa.Table.from_pylist(batch, schema=DOCUMENT), steps)
        columns = (table[name].to_pylist() for name in ("id", "source_id", "host", "source", "language", "text"))
        kept += [
            Good(id_, record, at or source, language, text)
            for id_, record, at, source, language, text in zip(*columns, strict=True)
        ]
        for part in parts:
            for language, reason in zip(part["language"].to_pylist(), part["reason"].to_pylist(), strict=True):
                cell = rejected.setdefault(language or "none", {})
                cell[reason] = cell.get(reason, 0) + 1
    return kept, rejected, read


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def hashed(name: str) -> bytes:
    """Return what orders names by chance, the same on every run."""
    return blake2b(name.encode(), digest_size=8).digest()


def choose(documents: Sequence[Good], most: int) -> list[Good]:
    """Return up to `most` documents, of as many records as may be: by turns one of each, in an order by hash."""
    turns: Counter[str] = Counter()
    ranked = []
    for good in sorted(documents, key=lambda good: hashed(good.id)):
        ranked.append((turns[good.record], hashed(good.record + good.id), good))
        turns[good.record] += 1
    return [good for *_, good in sorted(ranked, key=lambda one: one[:2])[:most]]


def halved(documents: Sequence[Good]) -> list[Good]:
    """Return documents, half of them to be measured; no record is in both halves."""
    sizes = Counter(good.record for good in documents)
    held = [0, 0]
    measured: dict[str, bool] = {}
    for record in sorted(sizes, key=hashed):
        lighter = held[1] <= held[0]
        measured[record] = lighter
        held[lighter] += sizes[record]
    return [replace(good, measured=measured[good.record]) for good in documents]

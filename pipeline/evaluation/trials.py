"""Trials: good documents as they are, and those of the measured half with known damage."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from pipeline.evaluation.good_text import Good
from pipeline.self_clean.anchors import CLEAN, LEAST_BYTES, make_pool
from pipeline.self_clean.defects import DEFECTS, inject

SEVERITIES = ("mild", "middle", "severe")
MOST_COPIES = len(DEFECTS) * len(SEVERITIES)
ENOUGH = 5  # texts of a source: babble of one needs more
MOST = 2 / 3  # of a language's texts: babble of a source that holds more is babble of the language


@dataclass(frozen=True, slots=True)
class Trial:
    """A text to judge."""

    good: Good
    kind: str
    severity: int  # -1: as it is
    judge: int  # the same for every text of a record, if it is not the run's own
    text: str


def make_trials(
    documents: Mapping[str, Sequence[Good]], foreign: Sequence[Good], folds: int, copies: int
) -> list[Trial]:
    """Return all documents as they are and `copies` damaged ones of each measured one.

    Kinds and severities take turns. What damage is made of comes from the same half, so that no text of it is known
    where the cut is set.
    """
    trials = []
    for language, own in documents.items():
        trials += [Trial(good, CLEAN, -1, _judge(good, folds), good.text) for good in own]
        half = [good for good in own if good.measured]
        others = [good.text for name, goods in documents.items() if name != language for good in goods if good.measured]
        strange = [*others, *(good.text for good in foreign)]
        rows = _rows(half)
        for number, good in enumerate(half):
            turns = range(number * copies, (number + 1) * copies)
            made = (_damaged(good, rows, strange, turn, folds, number) for turn in turns)
            trials += [trial for trial in made if trial is not None]
    return trials


def _rows(half: Sequence[Good]) -> list[dict[str, Any]]:
    """Return documents as `make_pool` reads them, each at its own source.

    That is its record where that has enough pieces, else what it names; it stands alone where it names nothing, or what
    has too few texts or nearly all.
    """
    pieces = Counter(good.record for good in half)
    places = [good.record if pieces[good.record] > ENOUGH else good.source for good in half]
    known = {place for place, size in Counter(places).items() if place and ENOUGH < size <= MOST * len(half)}
    return [
        {"id": good.id, "host": place if place in known else good.id, "source": "", "text": good.text}
        for good, place in zip(half, places, strict=True)
    ]


def _judge(good: Good, folds: int) -> int:
    if good.fold is not None:
        return good.fold
    return blake2b(good.record.encode(), digest_size=1).digest()[0] % folds


def _damaged(
    good: Good, rows: Sequence[dict[str, Any]], foreign: Sequence[str], turn: int, folds: int, number: int
) -> Trial | None:
    """Return one damaged copy; None where a kind has no material or changed nothing."""
    defect, severity = DEFECTS[turn % len(DEFECTS)], turn // len(DEFECTS) % len(SEVERITIES)
    draw = random.Random(f"{good.id} {defect.name} {severity}")  # noqa: S311 - must come out the same again
    text = inject(good.text, defect, severity, draw, make_pool(rows[number], rows, foreign, draw))
    if len(text.encode()) < LEAST_BYTES or text == good.text:
        return None
    return Trial(good, defect.name, severity, _judge(good, folds), text)

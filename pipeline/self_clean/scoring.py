"""The score: fitted once a round (fitting.py), then asked about every document.

It is a combination of all signals; the surrogate comes as near to it as the cheap ones alone can.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from pipeline import storage
from pipeline.config import ConfigError
from pipeline.self_clean import combine
from pipeline.self_clean.combine import Scale, Weights
from pipeline.self_clean.signals import Floats, Ints

VERSION = 6  # of a score's file
LENGTH_CLASSES = (500, 2000, 8000)  # bytes: the edges between short, medium, long and very long
UNKNOWN = "und"
SCORE = "score.json"
QUANTUM = 1e-3  # of a score; thresholds never see a difference below it


class Usual(NamedTuple):
    """What scores undamaged documents of a stratum have."""

    median: float
    deviation: float  # robust


@dataclass(frozen=True, slots=True)
class Language:
    """What a language is judged with."""

    cheap: tuple[Scale, ...]  # by judge
    every: tuple[Scale, ...]
    usual: tuple[Usual, ...]  # by length class
    deviation: float  # robust, of undamaged documents' scores, whatever their length
    agreement: float  # rank correlation of the judges


@dataclass(frozen=True, slots=True)
class Score:
    """A fitted score."""

    languages: dict[str, Language]
    surrogate: tuple[Weights, ...]  # by judge
    every: Weights


def on_grid(quanta: Floats) -> Floats:
    """Return values that are so many quanta, rounded to whole ones: the floats that their decimals stand for."""
    return np.asarray(np.round(quanta) / round(1 / QUANTUM))


def length_class(sizes: Ints) -> Ints:
    """Return the number of each document's length class (documents)."""
    return np.asarray(np.searchsorted(LENGTH_CLASSES, sizes, side="right"))


def sides(values: Floats, size: Ints, whole: Ints, scale: Scale) -> Floats:
    """Return the features of documents: their signals, the bytes of their excerpts and those of their texts."""
    return combine.features(combine.standardised(values, size, length_class(whole), scale), scale)


def score_path(folder: str) -> str:
    """Return where the score is."""
    return storage.join(folder, SCORE)


def write_score(folder: str, fitted: Score | None) -> None:
    """Write a score, or that there is none."""
    storage.write_json(score_path(folder), _as_table(fitted) if fitted else {})


def _as_table(fitted: Score) -> dict[str, Any]:
    languages = {
        name: {
            "cheap": [combine.as_table(scale) for scale in one.cheap],
            "every": [combine.as_table(scale) for scale in one.every],
            "usual": [list(usual) for usual in one.usual],
            "deviation": one.deviation,
            "agreement": one.agreement,
        }
        for name, one in fitted.languages.items()
    }
    surrogate = [combine.as_table(one) for one in fitted.surrogate]
    return {"version": VERSION, "languages": languages, "surrogate": surrogate, "every": combine.as_table(fitted.every)}


@cache
def load_score(folder: str) -> Score:
    """Load a score once a process; one without languages where none is judged.

    Raises ConfigError for one that was fitted by another version.
    """
    table = storage.read_json(score_path(folder))
    if not table:
        return Score({}, (), Weights(np.zeros(0), 0.0))
    if table.get("version") != VERSION:
        raise ConfigError(f"{score_path(folder)} is of another version: run this version over the same input first")
    languages = {
        name: Language(
            tuple(combine.read_scale(scale) for scale in one["cheap"]),
            tuple(combine.read_scale(scale) for scale in one["every"]),
            tuple(Usual(*pair) for pair in one["usual"]),
            one["deviation"],
            one["agreement"],
        )
        for name, one in table["languages"].items()
    }
    surrogate = tuple(map(combine.read_weights, table["surrogate"]))
    return Score(languages, surrogate, combine.read_weights(table["every"]))

"""Experiments: tables that take an hour to make, kept beside a run and shown in its report until its stages change.

OUT/experiments/NAME.json     title, what is said of it, tables with their header first, what is drawn, the run
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

import orjson

from pipeline import storage
from pipeline.finished_run import read_run

FOLDER = "experiments"


@dataclass(frozen=True, slots=True)
class Shown:
    """A table, and figures of it that are drawn over it."""

    title: str
    rows: list[list[str]]  # the header first
    drawn: Sequence[tuple[str, Sequence[float | None]]] = ()  # name, a figure with its interval
    mark: float | None = None  # where a line crosses the drawing: what a difference must leave out


@dataclass(frozen=True, slots=True)
class Experiment:
    """What was found out."""

    name: str  # of its file
    title: str
    said: str
    tables: Sequence[Shown]


def keep(output: str, experiment: Experiment) -> list[dict[str, Any]]:
    """Keep an experiment beside a finished run; return all that are there. Raises ConfigError without such a run."""
    prints = read_run(output, lambda run: dict(run["fingerprints"]))
    table = {**asdict(experiment), "run": _digest(prints)}
    storage.write_json(storage.join(output, FOLDER, experiment.name + ".json"), table)
    return read_experiments(output, prints)


def read_experiments(output: str, fingerprints: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the experiments beside a run by name, without those of a run that had other stages."""
    folder = storage.join(output, FOLDER)
    names = [name for name in storage.names(folder) if name.endswith(".json")]
    return [one for one in storage.read_all_json(folder, names) if one["run"] == _digest(fingerprints)]


def _digest(fingerprints: Mapping[str, str]) -> str:
    return blake2b(orjson.dumps(fingerprints, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()

"""Experiments: tables that take hours to make, kept beside the run that they are of and shown in its report.

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


def keep(output: str, experiment: Experiment) -> None:
    """Keep an experiment beside a finished run, and write its report anew; raises ConfigError for none."""
    from pipeline.output_folder import write_report  # which reads what is kept here

    facts, prints = read_run(output, dict, "report.json"), read_run(output, lambda run: dict(run["fingerprints"]))
    storage.write_json(
        storage.join(output, FOLDER, experiment.name + ".json"), {**asdict(experiment), "run": _digest(prints)}
    )
    write_report(output, {**facts, "experiments": read_experiments(output, prints)}, lambda: None)


def read_experiments(output: str, fingerprints: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the experiments beside a run by name, without those of a run that had other stages."""
    folder = storage.join(output, FOLDER)
    names = [name for name in storage.names(folder) if name.endswith(".json")]
    return [one for one in storage.read_all_json(folder, names) if one["run"] == _digest(fingerprints)]


def _digest(fingerprints: Mapping[str, str]) -> str:
    return blake2b(orjson.dumps(fingerprints, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()

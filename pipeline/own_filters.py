"""Steps that are the user's own functions, named `package.module:function`: a text in, a verdict out.

The verdict is a bool (True keeps) or a number, which is a signal like any other: `own.FUNCTION` in the documents,
judged by the bounds of `[own.FUNCTION]`, kept without judging where there are none. None says that the function has
nothing to say about a text. Where there are bounds they take the place of a bool's own verdict: False is 0 and True 1.
"""

import importlib
import inspect
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa

from filters.rules import Rule
from pipeline.bounds import bound_rules
from pipeline.config import Between, ConfigError, Own
from pipeline.step import Prepared, Split, split_by_rules, texts_of, with_columns

_PLACE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class OwnFilterError(RuntimeError):
    """A function of the user's raised an error, or returned what is no verdict."""


def name_of(place: str) -> str:
    """Return the function's name, which its column, its bounds and its reasons have."""
    return place.rpartition(":")[2]


def refused_by(name: str) -> str:
    """Return the reason of what a function rejects by False."""
    return f"refused_by_{name}"


def prepare(place: str, settings: Own) -> Prepared:
    """Return the step; raises ConfigError where there is no such function."""
    load(place)
    rules = rules_of(place, settings)
    fields = (pa.field(f"own.{name_of(place)}", pa.float64()),)
    return Prepared(OwnFilter(place, rules), fields, rules, lambda: [place, source_digest(place), asdict(settings)])


def rules_of(place: str, settings: Own) -> tuple[Rule, ...]:
    """Return the configured bounds, to which False is 0 and True 1; without any, only a bool rejects."""
    name, general = name_of(place), Between(min=settings.min, max=settings.max)
    bounds = bound_rules(f"own.{name}", name, general, settings.by_language)
    return bounds or (Rule(reason=refused_by(name), signal=f"own.{name}", minimum=1),)


@cache
def load(place: str) -> Callable[[str], Any]:
    """Import a function, from the working directory or the environment; raises ConfigError, saying what is wrong."""
    if not _PLACE.fullmatch(place):
        raise ConfigError(f"ingest.steps: {place!r} must be package.module:function")
    module_name, _, name = place.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the user's module may do anything when it is imported
        raise ConfigError(f"ingest.steps: cannot import {module_name}: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        what = "has no" if found is None else "has no function"
        raise ConfigError(f"ingest.steps: {module_name} {what} {name}")
    return found


def source_digest(place: str) -> str:
    """Return the sha256 of the source of the function's module, "" where it has none to read.

    What that module imports does not count: --force does the stages again.
    """
    module = inspect.getmodule(load(place)) or importlib.import_module(place.partition(":")[0])
    try:
        return sha256(inspect.getsource(module).encode()).hexdigest()
    except (OSError, TypeError):
        return ""


@dataclass(frozen=True, slots=True)
class OwnFilter:
    """Ask the function about every text, and split by its verdicts."""

    place: str
    rules: tuple[Rule, ...]

    def __call__(self, documents: pa.Table) -> Split:
        """Add the numbers; a function that fails, fails the run."""
        verdicts = [
            self._verdict(i, text.as_py()) for i, text in zip(documents["id"], texts_of(documents), strict=True)
        ]
        numbers = np.array([np.nan if v is None else v for v in verdicts], np.float64)
        column = f"own.{name_of(self.place)}"
        judged = numbers
        if self.rules[0].reason == refused_by(name_of(self.place)):
            judged = np.where([isinstance(v, bool) for v in verdicts], numbers, np.nan)
        shown = pa.array(numbers, from_pandas=True)
        return split_by_rules(with_columns(documents, {column: shown}), self.rules, {column: judged})

    def _verdict(self, identity: str, text: str) -> bool | float | None:
        """Return what the function says about one text."""
        try:
            verdict = load(self.place)(text)
        except Exception as error:
            raise OwnFilterError(
                f"{self.place} failed on document {identity}: {type(error).__name__}: {error}"
            ) from error
        if verdict is None:
            return None
        with suppress(OverflowError):  # a whole number that no float can hold
            if isinstance(verdict, bool | np.bool_):
                return bool(verdict)
            if isinstance(verdict, int | float | np.integer | np.floating):
                return float(verdict)
        raise OwnFilterError(
            f"{self.place} must return a bool, a number or None, got {verdict!r:.100} for document {identity}"
        )

"""Rules over measured signals: which document breaks which bound first, and with what value.

Measuring and judging are apart: a family's `measure` turns texts into numbers, its rules are a table over
those numbers. So another threshold is a question to the stored numbers, not another pass over the texts.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.passage import Passage


@dataclass(frozen=True, slots=True)
class Signal:
    """A number measured for every document; NaN says that it was not measured and breaks no rule."""

    name: str
    lowest: float  # the range of its values, and so of a threshold; both ends included
    highest: float
    whole: bool = False  # an int64 column; otherwise float64
    about: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A bound on one signal: a value below `minimum` or above `maximum` breaks it, an equal one does not."""

    reason: str  # a complaint that is true of the rejected text
    signal: str
    minimum: float | None = None
    maximum: float | None = None
    languages: frozenset[str] | None = None  # lid.176 codes the rule speaks about; None: all
    exempt: frozenset[str] = frozenset()  # lid.176 codes it does not speak about

    def __post_init__(self) -> None:
        """Refuse a rule without a bound, or with two."""
        if (self.minimum is None) == (self.maximum is None):
            raise ValueError(f"rule {self.reason} must have either a minimum or a maximum")


@dataclass(frozen=True, slots=True)
class Family:
    """Signals measured together, the rules over them in judging order, and an edit of what they keep."""

    name: str
    signals: tuple[Signal, ...]
    rules: tuple[Rule, ...]
    measure: Callable[[Passage], dict[str, NDArray[np.number]]]
    edit: Callable[[Passage], pa.Array] | None = None  # new texts, row by row; a rejected document keeps its old one


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What was decided about each document; value and threshold are NaN where it is kept."""

    rule: NDArray[np.int32]  # (documents) index of the first broken rule, -1 where none is
    value: NDArray[np.float64]  # (documents) the number that decided
    threshold: NDArray[np.float64]  # (documents) the bound it broke


def judge(rules: Sequence[Rule], signals: Mapping[str, NDArray[np.number]], languages: NDArray[np.str_]) -> Verdicts:
    """Return the first rule that each document breaks, in the order given."""
    codes, row_code = np.unique(np.asarray(languages, dtype=np.str_), return_inverse=True)
    verdicts = Verdicts(
        np.full(len(languages), -1, np.int32),
        np.full(len(languages), np.nan),
        np.full(len(languages), np.nan),
    )
    for index, rule in enumerate(rules):
        values = np.asarray(signals[rule.signal], np.float64)
        spoken_about = np.array([speaks_about(rule, code) for code in codes], bool)[row_code]
        first = _broken(rule, values) & spoken_about & (verdicts.rule == -1)
        verdicts.rule[first] = index
        verdicts.value[first] = values[first]
        verdicts.threshold[first] = _bound(rule)
    return verdicts


def speaks_about(rule: Rule, language: str) -> bool:
    """Tell whether the rule judges documents of this language."""
    return language not in rule.exempt and (rule.languages is None or language in rule.languages)


def with_bounds(family: Family, bounds: Mapping[str, Mapping[str, object]]) -> Family:
    """Return the family with configured bounds in place of its own.

    `bounds` maps a signal to {"min": number, "max": number, "languages": codes}; `false` for a bound switches
    its rule off, "languages" names the only languages that the signal's rules then speak about. Raises
    ValueError, naming what is allowed, for an unknown signal, a bound that no rule of the family has, and a
    value outside the signal's range.
    """
    for name, changes in bounds.items():
        for key, value in changes.items():
            _check(family, name, key, value)
    changed = (_changed(rule, bounds.get(rule.signal, {})) for rule in family.rules)
    return replace(family, rules=tuple(rule for rule in changed if rule is not None))


def _broken(rule: Rule, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Compare without rounding; NaN compares false."""
    return values > _bound(rule) if rule.minimum is None else values < _bound(rule)


def _bound(rule: Rule) -> float:
    """Return the one bound of a rule."""
    bound = rule.maximum if rule.minimum is None else rule.minimum
    assert bound is not None
    return bound


def _check(family: Family, name: str, key: str, value: object) -> None:
    """Refuse a change that the family has no place for."""
    signals = {signal.name: signal for signal in family.signals}
    if name not in signals:
        raise ValueError(f"unknown signal {family.name}.{name}; known here: {', '.join(signals)}")
    rules = [rule for rule in family.rules if rule.signal == name]
    known = {"min" if rule.maximum is None else "max" for rule in rules} | ({"languages"} if rules else set())
    full = f"{family.name}.{name}.{key}"
    if key not in known:
        raise ValueError(f"unknown key {full}; known here: {', '.join(sorted(known)) or 'none, no rule reads it'}")
    if key == "languages":
        _check_languages(full, value)
    elif value is not False:
        _check_bound(full, signals[name], value)


def _check_languages(full: str, value: object) -> None:
    """Refuse anything but a list of codes."""
    if not isinstance(value, list | tuple) or not all(isinstance(code, str) for code in value):
        raise ValueError(f"{full} must be a list of language codes, got {value!r}")


def _check_bound(full: str, signal: Signal, value: object) -> None:
    """Refuse a bound that no value could break, or that is no number."""
    allowed = f"must be false or a number from {signal.lowest:g} to {signal.highest:g}, got {value!r}"
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise ValueError(f"{full} {allowed}")
    if not signal.lowest <= value <= signal.highest:
        raise ValueError(f"{full} {allowed}")


def _changed(rule: Rule, changes: Mapping[str, object]) -> Rule | None:
    """Return the rule with its changes (checked before), None where they switch it off."""
    value = changes.get("min" if rule.maximum is None else "max", _bound(rule))
    if value is False:
        return None
    assert isinstance(value, int | float)
    rule = replace(rule, minimum=value) if rule.maximum is None else replace(rule, maximum=value)
    codes = changes.get("languages")
    return rule if codes is None else replace(rule, languages=frozenset(cast("list[str]", codes)), exempt=frozenset())

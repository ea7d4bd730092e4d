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
    """A bound on one signal: a value below `minimum` or above `maximum` breaks it, an equal one if `inclusive`."""

    reason: str  # a complaint that is true of the rejected text
    signal: str
    minimum: float | None = None
    maximum: float | None = None
    inclusive: bool = False  # whether the bound itself breaks it
    languages: frozenset[str] | None = None  # lid.176 codes that it has a list of words or marks for; None: needs none
    exempt: frozenset[str] = frozenset()  # lid.176 codes it does not speak about
    own: tuple[tuple[str, float], ...] = ()  # codes with a bound of their own, by configuration

    def __post_init__(self) -> None:
        """Refuse a rule without a bound, or with two."""
        if (self.minimum is None) == (self.maximum is None):
            raise ValueError(f"rule {self.reason} must have either a minimum or a maximum")


@dataclass(frozen=True, slots=True)
class Measured:
    """What one reading of a passage gives: every signal (documents), and of a family that edits the new texts."""

    signals: Mapping[str, NDArray[np.number]]
    texts: pa.Array | None = None  # row by row; a rejected document keeps its old one


@dataclass(frozen=True, slots=True)
class Family:
    """Signals measured together, and the rules over them in judging order."""

    name: str
    signals: tuple[Signal, ...]
    rules: tuple[Rule, ...]
    measure: Callable[[Passage], Measured]
    edits: bool = False  # whether measuring makes new texts


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
        bounds = np.array([bound_for(rule, code) for code in codes], np.float64)[row_code]
        first = _broken(rule, values, bounds) & (verdicts.rule == -1)
        verdicts.rule[first] = index
        verdicts.value[first] = values[first]
        verdicts.threshold[first] = bounds[first]
    return verdicts


def bound_for(rule: Rule, language: str) -> float:
    """Return the bound that the rule holds against documents of this language, NaN where it is silent."""
    return dict(rule.own).get(language, _bound(rule)) if speaks_about(rule, language) else math.nan


def speaks_about(rule: Rule, language: str) -> bool:
    """Tell whether the rule judges documents of this language."""
    return language not in rule.exempt and (rule.languages is None or language in rule.languages)


def with_bounds(family: Family, bounds: Mapping[str, Mapping[str, object]]) -> Family:
    """Return the family with configured bounds in place of its own.

    `bounds` maps a signal to {"min": number, "max": number, "languages": codes, "by_language": {code: {"min":
    number, "max": number}}}. `false` for a bound switches its rule off, everywhere or in that language;
    "languages" names the only languages that the signal's rules then speak about; a bound by language holds in
    that language instead of the general one, and makes the rule speak about it. Raises ValueError, naming what is
    allowed, for an unknown signal, a bound that no rule of the family has, a value outside the signal's range,
    and a language that the rule has no list for.
    """
    for name, changes in bounds.items():
        for key, value in changes.items():
            _check(family, name, key, value)
    changed = (_changed(rule, bounds.get(rule.signal, {})) for rule in family.rules)
    return replace(family, rules=tuple(rule for rule in changed if rule is not None))


def named_languages(bounds: Mapping[str, Mapping[str, object]]) -> set[str]:
    """Return the language codes that configured bounds (checked before) name."""
    codes: set[str] = set()
    for changes in bounds.values():
        codes.update(cast("list[str]", changes.get("languages", ())))
        codes.update(cast("dict[str, object]", changes.get("by_language", {})))
    return codes


def _broken(rule: Rule, values: NDArray[np.float64], bounds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Compare without rounding; NaN compares false."""
    beyond = values > bounds if rule.minimum is None else values < bounds
    return beyond | (values == bounds) if rule.inclusive else beyond


def _bound(rule: Rule) -> float:
    """Return the one bound of a rule."""
    bound = rule.maximum if rule.minimum is None else rule.minimum
    assert bound is not None
    return bound


def _side(rule: Rule) -> str:
    """Return the key that configures the rule's bound."""
    return "min" if rule.maximum is None else "max"


def _check(family: Family, name: str, key: str, value: object) -> None:
    """Refuse a change that the family has no place for."""
    signals = {signal.name: signal for signal in family.signals}
    if name not in signals:
        raise ValueError(f"unknown signal {family.name}.{name}; known here: {', '.join(signals)}")
    rules = [rule for rule in family.rules if rule.signal == name]
    known = {_side(rule) for rule in rules} | ({"languages", "by_language"} if rules else set())
    full = f"{family.name}.{name}.{key}"
    if key not in known:
        raise ValueError(f"unknown key {full}; known here: {', '.join(sorted(known)) or 'none, no rule reads it'}")
    if key == "languages":
        _check_languages(full, rules, value)
    elif key == "by_language":
        _check_by_language(full, rules, signals[name], value)
    else:
        _check_bound(full, signals[name], value)


def _check_languages(full: str, rules: Sequence[Rule], codes: object) -> None:
    """Refuse anything but a list of codes for which the rules have their lists."""
    if not isinstance(codes, list | tuple) or not all(isinstance(code, str) for code in codes):
        raise ValueError(f"{full} must be a list of language codes, got {codes!r}")
    for rule in rules:
        unlisted = [] if rule.languages is None else sorted(set(codes) - rule.languages)
        if unlisted and rule.languages is not None:
            lists = ", ".join(sorted(rule.languages))
            raise ValueError(f"{full} names {', '.join(unlisted)}, which has no list; there are lists for {lists}")


def _check_by_language(full: str, rules: Sequence[Rule], signal: Signal, table: object) -> None:
    """Refuse anything but tables of bounds by code."""
    if not isinstance(table, Mapping):
        raise ValueError(f"{full} must be a table of language codes, got {table!r}")  # noqa: TRY004 -- as for every mistake in a file
    _check_languages(full, rules, list(table))
    known = sorted({_side(rule) for rule in rules})
    for code, bounds in table.items():
        if not isinstance(bounds, Mapping) or not bounds or not set(bounds) <= set(known):
            raise ValueError(f"{full}.{code} must be a table with {' or '.join(known)}, got {bounds!r}")
        for side, value in bounds.items():
            _check_bound(f"{full}.{code}.{side}", signal, value)


def _check_bound(full: str, signal: Signal, value: object) -> None:
    """Refuse a bound that no value could break, or that is no number; `false` is none at all."""
    if value is False:
        return
    allowed = f"must be false or a number from {signal.lowest:g} to {signal.highest:g}, got {value!r}"
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise ValueError(f"{full} {allowed}")
    if not signal.lowest <= value <= signal.highest:
        raise ValueError(f"{full} {allowed}")


def _changed(rule: Rule, changes: Mapping[str, object]) -> Rule | None:
    """Return the rule with its changes (checked before), None where they switch it off."""
    value = changes.get(_side(rule), _bound(rule))
    table = cast("Mapping[str, Mapping[str, object]]", changes.get("by_language", {}))
    own = {code: bounds[_side(rule)] for code, bounds in table.items() if _side(rule) in bounds}
    bounds = tuple(sorted((code, cast("float", bound)) for code, bound in own.items() if bound is not False))
    if value is False and not bounds:
        return None
    if "languages" in changes:
        rule = replace(rule, languages=frozenset(cast("list[str]", changes["languages"])), exempt=frozenset())
    codes = frozenset(code for code, _ in bounds)
    if value is False:
        value, rule = bounds[0][1], replace(rule, languages=codes)
    elif rule.languages is not None:
        rule = replace(rule, languages=rule.languages | codes)
    rule = replace(rule, own=bounds, exempt=(rule.exempt - codes) | (own.keys() - codes))
    assert isinstance(value, int | float)
    return replace(rule, minimum=value) if rule.maximum is None else replace(rule, maximum=value)

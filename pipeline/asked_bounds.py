"""A finished run's configuration as it is, and as it would be with the bounds that are asked about."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from filters.families import FAMILIES
from pipeline.config import Bounds, Config, ConfigError, from_tables
from pipeline.finished_run import read_run, read_self_clean
from pipeline.judging import judging_groups
from pipeline.retune import merged

JUDGING = ("ingest", "language", "url", "own", "classifier", "decontaminate")  # what rules come from, beside families
NOT_ASKED = ("badwords",)  # what it drew is not stored
NAMED = ("own", "classifier")  # tables of tables: own.NAME
ALWAYS = (("url", "max_doubtful_words"), ("decontaminate", "threshold"))  # bounds that cannot be switched off


@dataclass(frozen=True, slots=True)
class Asked:
    """The two configurations, as far as they decide what is kept, and the lines that make the first the second."""

    now: Config
    then: Config
    toml: str
    judged: bool  # whether the run had rounds of self-cleaning


def read_asked(output: str, changes: Mapping[str, Any]) -> Asked:
    """Read what a run was configured with, and put the changes in.

    Raises ConfigError where there is no finished run, and for an unknown name or key and a wrong bound.
    """
    tables, families = read_run(output, _tables)
    now = from_tables(tables, families)
    _check_names(now, changes)
    of_families = {name: table for name, table in changes.items() if name in FAMILIES}
    others = {name: table for name, table in changes.items() if name not in FAMILIES}
    if "language" in others:
        others["language"] = _zero_for_false(others["language"])
    then = from_tables(_without_false(merged(tables, others)), merged(families, of_families))
    toml = as_toml({**_signals(families, of_families), **_settings(then, others)})
    return Asked(now, then, toml, read_self_clean(output).rounds > 0)


def _tables(run: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Bounds]]:
    """Return the tables of run.json that rules come from, and the bounds of families."""
    return {name: run["config"][name] for name in JUDGING}, run["config"]["families"]


def _check_names(config: Config, changes: Mapping[str, Any]) -> None:
    """Refuse bounds of what is no step of the run, or has none to ask about."""
    known = [name for group in judging_groups(config) for name in group.names if name not in NOT_ASKED]
    asked = [f"{name}.{inner}" if name in NAMED else name for name, table in changes.items() for inner in table]
    for name in asked:
        if name not in known:
            raise ConfigError(f"{name} is no step of this run with bounds to ask about; there are {', '.join(known)}")
    for name, bound in ALWAYS:
        if changes.get(name, {}).get(bound, 0) is False:
            raise ConfigError(f"{name}.{bound} must be a number: without {name} in ingest.steps nothing is bounded")


def _zero_for_false(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return probabilities with 0, which none is below, for no bound."""
    return {key: _zero_for_false(v) if isinstance(v, dict) else 0.0 if v is False else v for key, v in table.items()}


def _without_false(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return tables without what is switched off: a bound that is not given bounds nothing."""
    return {key: _without_false(v) if isinstance(v, dict) else v for key, v in table.items() if v is not False}


def _signals(families: Mapping[str, Bounds], changes: Mapping[str, Bounds]) -> dict[str, Any]:
    """Return the bounds of the changed signals, those in force now and those asked for together."""
    return {
        family: {name: merged(families.get(family, {}).get(name, {}), bounds) for name, bounds in table.items()}
        for family, table in changes.items()
    }


def _settings(config: Config, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed tables of other steps, whole, but for what is as it is by default and was not asked for."""
    found: dict[str, Any] = {}
    for name, table in changes.items():
        if name in NAMED:
            found[name] = {inner: _given(getattr(config, name)[inner], table[inner]) for inner in table}
        else:
            found[name] = _given(getattr(config, name), table)
    return found


def _given(settings: Any, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a dataclass that are not as by default, or were asked for."""
    default, values = type(settings)(), {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value != getattr(default, field.name) or asked.get(field.name, False) is not False:
            is_table = isinstance(value, dict)
            values[field.name] = {k: _plain(v) for k, v in value.items()} if is_table else _plain(value)
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return _given(value, {}) if dataclasses.is_dataclass(value) else value


def as_toml(table: Mapping[str, Any], path: tuple[str, ...] = (), *, listed: bool = False) -> str:
    """Return tables as a configuration writes them; those by language on a line each."""
    inline = path[-1:] == ("by_language",)
    plain = {key: value for key, value in table.items() if inline or not (isinstance(value, dict) or _is_tables(value))}
    parts = []
    if plain or (path and not table):
        heading = f"[[{'.'.join(path)}]]" if listed else f"[{'.'.join(path)}]"
        parts.append("\n".join([heading, *(f"{key} = {_value(value)}" for key, value in plain.items())]))
    for key, value in table.items():
        if key not in plain:
            tables = [value] if isinstance(value, dict) else value
            parts += [as_toml(inner, (*path, key), listed=inner is not value) for inner in tables]
    return "\n".join(parts)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        pairs = ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else f"{value!r}"

"""Filter families as a configuration bounds them."""

from collections.abc import Mapping
from dataclasses import replace

from filters.families import find_family
from filters.rules import Family, Rule, with_bounds
from pipeline.config import Bounds, ConfigError


def configured_family(step: str, families: Mapping[str, Bounds]) -> Family:
    """Return the family that a step names, with its configured bounds; raises ConfigError for a mistake in them."""
    try:
        family = find_family(step)
        return with_bounds(family, families.get(family.name, {}))
    except ValueError as error:
        raise ConfigError(f"{error}") from error


def flat_rules(family: Family) -> tuple[Rule, ...]:
    """Return a family's rules over the flat columns `family.signal`."""
    return tuple(replace(rule, signal=f"{family.name}.{rule.signal}") for rule in family.rules)

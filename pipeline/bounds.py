"""Bounds that the configuration holds against one column, as rules."""

from collections.abc import Mapping

from filters.rules import Rule
from pipeline.config import MAX_BOUND, Between


def bound_rules(column: str, name: str, general: Between, by_language: Mapping[str, Between]) -> tuple[Rule, ...]:
    """Return the rules NAME_too_low and NAME_too_high, as far as there are bounds for them.

    Bounds by language hold in that language instead of the general ones.
    """
    every = [general, *by_language.values()]
    low = tuple(sorted((code, bounds.min) for code, bounds in by_language.items()))
    high = tuple(sorted((code, bounds.max) for code, bounds in by_language.items()))
    rules = []
    if any(bounds.min > -MAX_BOUND for bounds in every):
        rules.append(Rule(reason=f"{name}_too_low", signal=column, minimum=general.min, own=low))
    if any(bounds.max < MAX_BOUND for bounds in every):
        rules.append(Rule(reason=f"{name}_too_high", signal=column, maximum=general.max, own=high))
    return tuple(rules)

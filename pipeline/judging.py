"""Which rules judge a document, in which order, and which of them read the same text.

This follows from the configuration alone: no model, list or function is looked for, so that a finished run can be asked
about its bounds on any machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from filters.families import FAMILIES
from filters.rules import Rule
from pipeline import classify, decontaminate, identify, judge_bad_words, judge_urls, own_filters
from pipeline.config import Config, Own, Url
from pipeline.families import configured_family, flat_rules


@dataclass(frozen=True, slots=True)
class Group:
    """Steps that measure a text together, and their rules over flat columns in judging order."""

    names: tuple[str, ...]
    rules: tuple[Rule, ...]
    codes: str = "language"  # the column of languages that the bounds are for


def judging_groups(config: Config) -> list[Group]:
    """Return a group for each step that may judge, one for families that read the same text.

    Raises ConfigError for a wrong bound. What a function refused is told by its reason alone: the rule on it reads a
    column of the reason's name.
    """
    groups: list[Group] = []
    shared = False  # whether the next family reads the text of the last group
    for step in config.ingest.steps:
        name = step.partition("@")[0]
        if name in FAMILIES:
            family = configured_family(step, config.families)
            before = groups.pop() if shared else Group((), ())
            groups.append(Group((*before.names, name), (*before.rules, *flat_rules(family))))
            shared = not family.edits
        else:
            groups += _groups_of(step, config)
            shared = False
    return groups


def _groups_of(step: str, config: Config) -> Sequence[Group]:
    """Return the group of a step that is no family, none where it judges nothing."""
    if step == "language":
        return [Group((step,), identify.rules_of(config.language), "language.first")]
    if step == "url" and config.url != Url():
        return [Group((step,), judge_urls.rules_of(config.url))]
    if step in {"badwords", "decontaminate"}:
        contaminated = decontaminate.rules_of(config.decontaminate)
        return [Group((step,), judge_bad_words.RULES if step == "badwords" else contaminated)]
    if step in classify.step_names(config.classifier):
        settings = config.classifier[step.removeprefix(classify.PREFIX)]
        return [Group((step,), classify.rules_of(step, settings))]
    if ":" in step:
        name = own_filters.name_of(step)
        rules = own_filters.rules_of(step, config.own.get(name, Own()))
        refused = own_filters.refused_by(name)
        read = tuple(replace(rule, signal=refused) if rule.reason == refused else rule for rule in rules)
        return [Group((f"own.{name}",), read)]
    return []

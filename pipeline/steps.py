"""The ordered list of edits and judges that ingest applies to a table of documents.

A step takes the documents that are still kept and returns those it keeps and those it rejects, with the columns it
measured. Successive judges share one pass over the text; a rejected document keeps the text as it was measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters import edits
from filters.families import FAMILIES, find_family
from filters.language import (
    UNKNOWN,
    LanguageModel,
    default_model_path,
    identify,
    load,
    trusted_codes,
)
from filters.passage import read_passage
from filters.rules import Family, judge, named_languages, with_bounds
from pipeline import decontaminate
from pipeline.config import Config, ConfigError, Decontaminate, Language

NO_THRESHOLD = float("nan")


@dataclass(frozen=True, slots=True)
class Split:
    """What a step made of the documents it was given; together they are all of them."""

    kept: pa.Table
    rejected: pa.Table  # with reason, value and threshold


Step = Callable[[pa.Table], Split]

LANGUAGE_SIGNALS = (
    pa.field("language.first", pa.string()),  # the likeliest; `language` is "und" where it is a guess
    pa.field("language.probability", pa.float64()),
    pa.field("language.second", pa.string()),
    pa.field("language.second_probability", pa.float64()),
    pa.field("language.third", pa.string()),
    pa.field("language.third_probability", pa.float64()),
)


def family_names() -> frozenset[str]:
    """Return the tables of a configuration that hold bounds."""
    return frozenset(FAMILIES)


def check_steps(config: Config) -> None:
    """Raise ConfigError for an unknown step, a bound that no rule has, a family that is not a step, no language."""
    known = ["language", *FAMILIES, "edits", "decontaminate"]
    steps = [step.partition("@")[0] for step in config.ingest.steps]  # without their variants
    for name in steps:
        if name not in known:
            raise ConfigError(f"unknown step {name!r} in ingest.steps; known: {', '.join(known)}")
    if len(set(steps)) != len(steps):
        raise ConfigError("ingest.steps names a step twice")
    if "language" not in config.ingest.steps[:1]:
        raise ConfigError("ingest.steps must begin with language: the rules after it need it")
    for name in config.families:
        if name not in steps:
            raise ConfigError(f"there are bounds for {name}, which is not in ingest.steps")
    _families(config)
    decontaminate.check(config.decontaminate, used="decontaminate" in steps)
    try:
        model = _language_model(config.language.model)
    except (OSError, ValueError) as error:
        raise ConfigError(f"no language model: {error}") from error
    for name, bounds in config.families.items():
        for code in sorted(named_languages(bounds) - {*model.labels, UNKNOWN}):
            raise ConfigError(f"{name} names the language {code}, which the language model does not know")


def _families(config: Config) -> list[Family]:
    """Return the configured families, in order."""
    names = [step for step in config.ingest.steps if _is_family(step)]
    try:
        families = [find_family(name) for name in names]
        return [with_bounds(family, config.families.get(family.name, {})) for family in families]
    except ValueError as error:
        raise ConfigError(f"{error}") from error


def _is_family(step: str) -> bool:
    """Tell whether a step names a family, with or without a variant, or something unknown."""
    return step not in {"language", "edits", "decontaminate"}


def signal_fields(config: Config) -> list[pa.Field]:
    """Return the signal columns that the configured steps leave, in order."""
    fields = list(LANGUAGE_SIGNALS)
    for family in _families(config):
        kinds = {True: pa.int64(), False: pa.float64()}
        fields += [pa.field(f"{family.name}.{s.name}", kinds[s.whole]) for s in family.signals]
    if "edits" in config.ingest.steps:
        fields += [pa.field(f"edits.{name}", pa.int64()) for name in edits.STEPS]
    if "decontaminate" in config.ingest.steps:
        fields += decontaminate.SIGNALS
    return fields


def thresholds(config: Config) -> dict[str, list[float]]:
    """Return the bounds in force for each signal column, for the report."""
    bounds: dict[str, list[float]] = {}
    for family in _families(config):
        for rule in family.rules:
            value = rule.maximum if rule.minimum is None else rule.minimum
            bounds.setdefault(f"{family.name}.{rule.signal}", []).append(float(value or 0.0))
    if config.language.minimum:
        bounds["language.probability"] = [config.language.minimum]
    if "decontaminate" in config.ingest.steps and config.decontaminate.action == "reject":
        bounds[f"decontaminate.{config.decontaminate.measure}"] = [config.decontaminate.threshold]
    return bounds


def make_steps(config: Config) -> list[Step]:
    """Compile the configured list; judges that read the same text become one step."""
    families = iter(_families(config))
    steps: list[Step] = []
    together: list[Family] = []
    for name in config.ingest.steps:
        if _is_family(name):
            together.append(next(families))
            if not together[-1].edits:
                continue
        if together:
            steps.append(Judges(tuple(together)))
            together = []
        if name == "language":
            steps.append(Identify(config.language))
        elif name == "edits":
            steps.append(clean)
        elif name == "decontaminate":
            steps.append(Uncontaminated(config.decontaminate))
    return [*steps, *([Judges(tuple(together))] if together else []), refuse_empty]


@dataclass(frozen=True, slots=True)
class Identify:
    """Name each document's language and judge it by the configuration."""

    settings: Language

    def __call__(self, documents: pa.Table) -> Split:
        """Add the language and its probabilities; reject what is not wanted."""
        found = identify(_language_model(self.settings.model), _texts(documents))
        named = pa.array(trusted_codes(found, self.settings.certain), pa.string())
        columns = {
            "language": named,
            "language.first": found.language,
            "language.probability": found.probability,
            "language.second": found.second,
            "language.second_probability": found.second_probability,
            "language.third": found.third,
            "language.third_probability": found.third_probability,
        }
        documents = _with(documents, columns)
        codes = pa.chunked_array([named])
        probability = np.asarray(found.probability, np.float64)
        allowed = _is_in(codes, self.settings.allow) if self.settings.allow else np.ones(len(documents), bool)
        denied = _is_in(codes, self.settings.deny)
        weak = probability < self.settings.minimum
        reasons = np.select(
            [denied, ~allowed, weak],
            ["language_denied", "language_not_allowed", "language_uncertain"],
            default="",
        )
        threshold = np.where(reasons == "language_uncertain", self.settings.minimum, NO_THRESHOLD)
        return _split(documents, reasons != "", reasons, probability, threshold)


def language_model_path(config: Config) -> str:
    """Return the path of the language model in force."""
    return config.language.model or default_model_path()


@cache
def _language_model(path: str) -> LanguageModel:
    return load(path or default_model_path())


@dataclass(frozen=True, slots=True)
class Judges:
    """Families that judge the same text: one pass measures, the first rule broken decides; the last may edit."""

    families: tuple[Family, ...]

    def __call__(self, documents: pa.Table) -> Split:
        """Add the signals of all families, and split by their rules in order."""
        languages = np.asarray(documents["language"].to_pylist(), dtype=np.str_)
        passage = read_passage(_texts(documents), languages)
        signals: dict[str, npt.NDArray[Any]] = {}
        rules = []
        for family in self.families:
            measured = family.measure(passage)
            signals |= {f"{family.name}.{name}": values for name, values in measured.signals.items()}
            rules += [(family.name, rule) for rule in family.rules]
        named = [_renamed(name, rule) for name, rule in rules]
        verdicts = judge(named, signals, languages)
        reasons = np.array([*(rule.reason for rule in named), ""], dtype=object)[verdicts.rule]
        documents = _with(documents, signals)
        split = _split(documents, verdicts.rule >= 0, reasons, verdicts.value, verdicts.threshold)
        if measured.texts is None:
            return split
        edited = measured.texts.filter(pa.array(verdicts.rule < 0))
        return Split(_with(split.kept, {"text": edited}), split.rejected)


def _renamed(family: str, rule: Any) -> Any:
    """Return a rule that reads the flat column `family.signal`."""
    return replace(rule, signal=f"{family}.{rule.signal}")


def clean(documents: pa.Table) -> Split:
    """Apply the TransNormerLLM paper's cleaning rules to the text; nothing is rejected."""
    texts, counts = edits.edit(_texts(documents))
    columns = {f"edits.{name}": values for name, values in counts.items()}
    return Split(_with(documents, {"text": texts, **columns}), _none(documents))


@dataclass(frozen=True, slots=True)
class Uncontaminated:
    """Look for n-grams of evaluation sets; reject what has them, or say where they are."""

    settings: Decontaminate

    def __call__(self, documents: pa.Table) -> Split:
        """Add what was found, and split by the threshold."""
        found = decontaminate.measure(_texts(documents), self.settings)
        reasons = np.where(found.rejected, decontaminate.REASON, "")
        bounds = np.full(len(documents), self.settings.threshold)
        return _split(_with(documents, found.columns), found.rejected, reasons, found.values, bounds)


def refuse_empty(documents: pa.Table) -> Split:
    """Reject documents of which the edits left nothing."""
    lengths = pc.utf8_length(pc.utf8_trim_whitespace(documents["text"])).to_numpy().astype(np.float64)
    empty = lengths == 0
    reasons = np.where(empty, "nothing_left", "")
    return _split(documents, empty, reasons, lengths, np.ones(len(documents)))


def apply(documents: pa.Table, steps: Sequence[Step]) -> tuple[pa.Table, list[pa.Table]]:
    """Return what all steps keep, and what each rejects; every document is in exactly one of them."""
    rejected = []
    for step in steps:
        if not len(documents):
            break
        split = step(documents)
        rejected.append(split.rejected)
        documents = split.kept
    return documents, [table for table in rejected if len(table)]


def _texts(documents: pa.Table) -> pa.Array:
    return documents["text"].combine_chunks()


def _is_in(codes: pa.ChunkedArray, wanted: Sequence[str]) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = pc.is_in(codes, pa.array(wanted, pa.string())).to_numpy()
    return found


def _with(documents: pa.Table, columns: dict[str, Any]) -> pa.Table:
    """Return the table with columns added or replaced."""
    for name, values in columns.items():
        column = values if isinstance(values, pa.Array) else pa.array(values)
        at = documents.schema.get_field_index(name)
        if at < 0:
            documents = documents.append_column(name, column)
        else:
            documents = documents.set_column(at, name, column.cast(documents.schema.field(at).type))
    return documents


def _split(
    documents: pa.Table,
    broken: npt.NDArray[np.bool_],
    reasons: npt.NDArray[Any],
    values: npt.NDArray[np.float64],
    bounds: npt.NDArray[np.float64],
) -> Split:
    """Split documents by a mask; the rejected ones carry reason, value and threshold."""
    rejected = documents.filter(pa.array(broken))
    columns = {
        "reason": pa.array(reasons[broken].tolist(), pa.string()),
        "value": pa.array(values[broken]),
        "threshold": pa.array(bounds[broken], from_pandas=True),  # NaN: no number was asked for
    }
    return Split(documents.filter(pa.array(~broken)), _with(rejected, columns))


def _none(documents: pa.Table) -> pa.Table:
    """Return no document, with the columns of rejects."""
    nothing = np.zeros(len(documents), bool)
    return _split(
        documents, nothing, np.full(len(documents), ""), np.zeros(len(documents)), np.zeros(len(documents))
    ).rejected

"""The ordered list of edits and judges that ingest applies to a table of documents.

A step takes the documents that are still kept and returns those it keeps and those it rejects, with the columns it
measured. Successive families share one pass over the text; a rejected document keeps the text as it was measured.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters import edits
from filters.families import FAMILIES
from filters.language import UNKNOWN
from filters.passage import read_passage
from filters.rules import Family, Rule, named_languages
from pipeline import classify, decontaminate, identify, judge_bad_words, judge_urls, mask_pii, own_filters
from pipeline.config import MAX_BOUND, Bounds, Config, ConfigError, Own
from pipeline.families import configured_family, flat_rules
from pipeline.step import Prepared, Split, Step, keep_all, split, split_by_rules, texts_of, with_columns

PLAIN_STEPS = ("language", "url", "badwords", "pii", "decontaminate", "edits")  # beside the families


def family_names() -> frozenset[str]:
    """Return the tables of a configuration that hold bounds."""
    return frozenset(FAMILIES)


def check_steps(config: Config) -> None:
    """Raise ConfigError for a mistake in the list of steps, or in what is configured for one."""
    steps = [step.partition("@")[0] for step in config.ingest.steps]  # without their variants
    for name in steps:
        if ":" not in name and name not in {*PLAIN_STEPS, *FAMILIES, *classify.step_names(config.classifier)}:
            known = ", ".join([*PLAIN_STEPS, *FAMILIES, *classify.step_names(config.classifier)])
            raise ConfigError(f"unknown step {name!r} in ingest.steps; known: {known}, and package.module:function")
    own = [own_filters.name_of(name) for name in steps if ":" in name]
    if len(set(steps)) != len(steps) or len(set(own)) != len(own):
        raise ConfigError("ingest.steps names a step twice")
    if "language" not in config.ingest.steps[:1]:
        raise ConfigError("ingest.steps must begin with language: the rules after it need it")
    _check_unused(config, steps)
    prepare(config)
    labels = identify.language_model(config.language.model).labels
    named = {name: named_languages(bounds) for name, bounds in config.families.items()}
    named["badwords"] = set(config.badwords.lists)
    named |= {f"classifier.{name}": set(bounds.by_language) for name, bounds in config.classifier.items()}
    named |= {f"own.{name}": set(bounds.by_language) for name, bounds in config.own.items()}
    for name, codes in named.items():
        for code in sorted(codes - {*labels, UNKNOWN}):
            raise ConfigError(f"{name} names the language {code}, which the language model does not know")


def _check_unused(config: Config, steps: Sequence[str]) -> None:
    """Refuse settings of what is not a step: they would do nothing."""
    defaults = Config()
    for name in config.families:
        if name not in steps:
            raise ConfigError(f"there are bounds for {name}, which is not in ingest.steps")
    for name in classify.step_names(config.classifier):
        if name not in steps:
            raise ConfigError(f"there are settings for {name}, which is not in ingest.steps")
    for name in config.own:
        if name not in [own_filters.name_of(step) for step in steps if ":" in step]:
            raise ConfigError(f"there are bounds for own.{name}, but no step is a function of that name")
    for name in ("url", "badwords", "pii", "decontaminate"):
        if name not in steps and getattr(config, name) != getattr(defaults, name):
            raise ConfigError(f"there are settings for {name}, which is not in ingest.steps")


def prepare(config: Config) -> list[Prepared]:
    """Return the configured steps, in order; raises ConfigError for what they cannot work with."""
    steps = [_prepare(name, config) for name in config.ingest.steps]
    edited = [name for name, step in zip(config.ingest.steps, steps, strict=True) if step.edits]
    names = config.ingest.steps
    if "pii" in names and config.pii.mode == "tag" and edited and names.index(edited[-1]) > names.index("pii"):
        raise ConfigError(f'pii.mode = "tag" gives places in the text; {edited[-1]} would change it: put pii after it')
    return steps


def _prepare(name: str, config: Config) -> Prepared:
    """Return one configured step."""
    plain: dict[str, Callable[[], Prepared]] = {
        "language": lambda: identify.prepare(config.language),
        "url": lambda: judge_urls.prepare(config.url),
        "badwords": lambda: judge_bad_words.prepare(config.badwords),
        "pii": lambda: mask_pii.prepare(config.pii),
        "decontaminate": lambda: decontaminate.prepare(config.decontaminate),
        "edits": lambda: Prepared(clean, tuple(pa.field(f"edits.{e}", pa.int64()) for e in edits.STEPS), edits=True),
    }
    if name in plain:
        return plain[name]()
    if name in classify.step_names(config.classifier):
        return classify.prepare(name, config.classifier[name.removeprefix(classify.PREFIX)])
    if ":" in name:
        return own_filters.prepare(name, config.own.get(own_filters.name_of(name), Own()))
    return _prepare_family(name, config.families)


def _prepare_family(name: str, families: dict[str, Bounds]) -> Prepared:
    """Return a family with its configured bounds."""
    family = configured_family(name, families)
    kinds = {True: pa.int64(), False: pa.float64()}
    fields = tuple(pa.field(f"{family.name}.{s.name}", kinds[s.whole]) for s in family.signals)
    bounds = families.get(family.name, {})
    rules = flat_rules(family)
    return Prepared(Judges((family,), rules), fields, rules, lambda: bounds, family.edits)


def signal_fields(config: Config) -> list[pa.Field]:
    """Return the signal columns that the configured steps leave, in order."""
    return [field for step in prepare(config) for field in step.fields]


def thresholds(config: Config) -> dict[str, list[float]]:
    """Return the bounds in force for each signal column, for the report."""
    bounds: dict[str, list[float]] = {}
    for rule in (rule for step in prepare(config) for rule in step.rules):
        value = rule.maximum if rule.minimum is None else rule.minimum
        if abs(value or 0.0) < MAX_BOUND:  # or it bounds some languages only
            bounds.setdefault(rule.signal, []).append(float(value or 0.0))
    return bounds


def make_steps(config: Config) -> list[Step]:
    """Compile the configured list; families that read the same text become one step."""
    return [*_together(one.apply for one in prepare(config)), refuse_empty]


def _together(steps: Iterable[Step]) -> list[Step]:
    """Make one step of families that follow each other, up to one that edits."""
    found: list[Step] = []
    for step in steps:
        before = found[-1] if found else None
        if isinstance(step, Judges) and isinstance(before, Judges) and not before.edits:
            found[-1] = Judges((*before.families, *step.families), (*before.rules, *step.rules))
        else:
            found.append(step)
    return found


@dataclass(frozen=True, slots=True)
class Judges:
    """Families that judge the same text: one pass measures, the first rule broken decides; the last may edit."""

    families: tuple[Family, ...]
    rules: tuple[Rule, ...]  # of all of them, over flat columns

    @property
    def edits(self) -> bool:
        """Whether the text is another afterwards."""
        return self.families[-1].edits

    def __call__(self, documents: pa.Table) -> Split:
        """Add the signals of all families, and split by their rules in order."""
        languages = np.asarray(documents["language"].to_pylist(), dtype=np.str_)
        shares = documents["language.share"].to_numpy() if "language.share" in documents.column_names else None
        passage = read_passage(texts_of(documents), languages, shares)
        signals: dict[str, npt.NDArray[Any]] = {}
        for family in self.families:
            measured = family.measure(passage)
            signals |= {f"{family.name}.{name}": values for name, values in measured.signals.items()}
        return split_by_rules(with_columns(documents, signals), self.rules, signals, measured.texts)


def clean(documents: pa.Table) -> Split:
    """Apply the TransNormerLLM paper's cleaning rules to the text; nothing is rejected."""
    texts, counts = edits.edit(texts_of(documents))
    columns = {f"edits.{name}": values for name, values in counts.items()}
    return keep_all(with_columns(documents, {"text": texts, **columns}))


def refuse_empty(documents: pa.Table) -> Split:
    """Reject documents of which the edits left nothing."""
    lengths = pc.utf8_length(pc.utf8_trim_whitespace(documents["text"])).to_numpy().astype(np.float64)
    empty = lengths == 0
    reasons = np.where(empty, "nothing_left", "")
    return split(documents, empty, reasons, lengths, np.ones(len(documents)))


def apply(documents: pa.Table, steps: Sequence[Step]) -> tuple[pa.Table, list[pa.Table]]:
    """Return what all steps keep, and what each rejects; every document is in exactly one of them."""
    rejected = []
    for step in steps:
        if not len(documents):
            break
        found = step(documents)
        rejected.append(found.rejected)
        documents = found.kept
    return documents, [table for table in rejected if len(table)]

"""Steps classifier.NAME: the probability of one label of a fastText model as a signal, with bounds or without."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
import pyarrow as pa

from filters import fasttext_network
from filters.arrow_text import text_buffers
from filters.fasttext_file import read_classifier
from filters.fasttext_network import predict_label
from filters.rules import Rule
from pipeline.bounds import bound_rules
from pipeline.config import MAX_BOUND, Between, Classifier, ConfigError
from pipeline.step import Prepared, Split, split_by_rules, texts_of, with_columns
from pipeline.storage import checksum, folder_and_name, on_disk

PREFIX = "classifier."


def step_names(names: Iterable[str]) -> list[str]:
    """Return the steps that stand for configured classifiers."""
    return [PREFIX + name for name in names]


def prepare(step: str, settings: Classifier) -> Prepared:
    """Return the step; raises ConfigError for a model that cannot be used, and for a label that it does not have."""
    if not settings.model:
        raise ConfigError(f"{step}.model is needed: the path of a fastText model")
    try:
        labels = load(settings.model).labels
    except (OSError, ValueError) as error:
        raise ConfigError(f"{step}.model: {error}") from error
    if settings.label not in labels:
        raise ConfigError(f"{step}.label must be one of {', '.join(labels[:50])}, got {settings.label!r}")
    rules = rules_of(step, settings)

    def decided_by() -> object:
        return [step, {**asdict(settings), "model": checksum(settings.model)}]

    return Prepared(Classify(step, settings, rules), (pa.field(step, pa.float64()),), rules, decided_by)


def rules_of(step: str, settings: Classifier) -> tuple[Rule, ...]:
    """Return the bounds: NAME_too_low and NAME_too_high; none where the whole range is allowed."""
    low = settings.min if settings.min > 0 else -MAX_BOUND
    high = settings.max if settings.max < 1 else MAX_BOUND
    return bound_rules(step, step.removeprefix(PREFIX), Between(min=low, max=high), settings.by_language)


@cache
def load(path: str) -> fasttext_network.Classifier:
    """Return a model; loaded once a process."""
    folder, name = folder_and_name(path)
    with on_disk(folder, [name]) as here:
        return read_classifier(str(here / name))


@dataclass(frozen=True, slots=True)
class Classify:
    """Measure one label's probability and split by its bounds."""

    step: str
    settings: Classifier
    rules: tuple[Rule, ...]

    def __call__(self, documents: pa.Table) -> Split:
        """Add the probability, 0 to 1, rounded to 6 digits."""
        model = load(self.settings.model)
        offsets, data = text_buffers(texts_of(documents))
        found = predict_label(model.network, offsets, data, model.labels.index(self.settings.label))
        probability = np.round(found.astype(np.float64), 6)
        return split_by_rules(with_columns(documents, {self.step: probability}), self.rules, {self.step: probability})

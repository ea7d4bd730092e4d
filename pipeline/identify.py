"""The step language: name each document's language and judge it by the configuration."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.fasttext_network import Classifier
from filters.language import default_model_path, identify, load, trusted_codes
from filters.rules import Rule
from pipeline.config import ConfigError, Language
from pipeline.step import Prepared, Split, split, texts_of, with_columns
from pipeline.storage import checksum

NO_THRESHOLD = float("nan")
FIELDS = (
    pa.field("language.first", pa.string()),  # the likeliest; `language` is "und" where it is a guess
    pa.field("language.probability", pa.float64()),
    pa.field("language.second", pa.string()),
    pa.field("language.second_probability", pa.float64()),
    pa.field("language.third", pa.string()),
    pa.field("language.third_probability", pa.float64()),
    pa.field("language.share", pa.float64()),  # of the parts whose language is certain, that in the likeliest
    pa.field("language.languages", pa.float64()),  # with a tenth of those parts or more
)


def prepare(settings: Language) -> Prepared:
    """Return the step; raises ConfigError where there is no model."""
    try:
        path = settings.model or default_model_path()
        labels = language_model(settings.model).labels
    except (OSError, ValueError) as error:
        raise ConfigError(f"no language model: {error}") from error
    for code, least in settings.minimum_by_language.items():
        if code not in labels:
            raise ConfigError(f"language.minimum_by_language.{code}: the language model does not know {code}")
        if not 0 <= least <= 1:
            raise ConfigError(f"language.minimum_by_language.{code} must be between 0 and 1, got {least:g}")
    return Prepared(
        Identify(settings),
        FIELDS,
        _rules(settings),
        lambda: {**asdict(settings), "model": checksum(path)},
    )


def _rules(settings: Language) -> tuple[Rule, ...]:
    """Return the bounds that are not 0."""
    rules = (
        Rule(reason="language_uncertain", signal="language.probability", minimum=settings.minimum),
        Rule(reason="languages_mixed", signal="language.share", minimum=settings.minimum_share),
    )
    return tuple(rule for rule in rules if rule.minimum)


@cache
def language_model(path: str) -> Classifier:
    """Return the model at a path, or the one that is installed; loaded once a process."""
    return load(path or default_model_path())


@dataclass(frozen=True, slots=True)
class Identify:
    """Name each document's language and judge it by the configuration."""

    settings: Language

    def __call__(self, documents: pa.Table) -> Split:
        """Add the language and its probabilities; reject what is not wanted."""
        found = identify(language_model(self.settings.model), texts_of(documents))
        named = pa.array(trusted_codes(found, self.settings.certain), pa.string())
        columns = {
            "language": named,
            "language.first": found.language,
            "language.probability": found.probability,
            "language.second": found.second,
            "language.second_probability": found.second_probability,
            "language.third": found.third,
            "language.third_probability": found.third_probability,
            "language.share": pa.array(found.share, from_pandas=True),
            "language.languages": pa.array(found.languages, from_pandas=True),
        }
        documents = with_columns(documents, columns)
        codes = pa.chunked_array([named])
        probability = np.asarray(found.probability, np.float64)
        allowed = _is_in(codes, self.settings.allow) if self.settings.allow else np.ones(len(documents), bool)
        denied = _is_in(codes, self.settings.deny)
        least = self._least(found.language.to_pylist())
        reasons = np.select(
            [denied, ~allowed, probability < least, found.share < self.settings.minimum_share],
            ["language_denied", "language_not_allowed", "language_uncertain", "languages_mixed"],
            default="",
        )
        mixed = reasons == "languages_mixed"
        bounds = np.where(reasons == "language_uncertain", least, NO_THRESHOLD)
        values, bounds = np.where(mixed, found.share, probability), np.where(mixed, self.settings.minimum_share, bounds)
        return split(documents, reasons != "", reasons, values, bounds)

    def _least(self, codes: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return the least probability of every document, by its likeliest language."""
        own = self.settings.minimum_by_language
        return np.array([own.get(code, self.settings.minimum) for code in codes], np.float64)


def _is_in(codes: pa.ChunkedArray, wanted: Sequence[str]) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = pc.is_in(codes, pa.array(wanted, pa.string())).to_numpy()
    return found

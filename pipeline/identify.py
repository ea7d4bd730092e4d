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
)


def prepare(settings: Language) -> Prepared:
    """Return the step; raises ConfigError where there is no model."""
    try:
        path = settings.model or default_model_path()
        language_model(settings.model)
    except (OSError, ValueError) as error:
        raise ConfigError(f"no language model: {error}") from error
    rules = (Rule(reason="language_uncertain", signal="language.probability", minimum=settings.minimum),)
    return Prepared(
        Identify(settings),
        FIELDS,
        rules if settings.minimum else (),
        lambda: {**asdict(settings), "model": checksum(path)},
    )


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
        }
        documents = with_columns(documents, columns)
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
        return split(documents, reasons != "", reasons, probability, threshold)


def _is_in(codes: pa.ChunkedArray, wanted: Sequence[str]) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = pc.is_in(codes, pa.array(wanted, pa.string())).to_numpy()
    return found

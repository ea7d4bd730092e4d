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
from filters.rules import Rule, judge
from pipeline.config import MAX_BOUND, ConfigError, Language
from pipeline.step import Prepared, Split, split, texts_of, with_columns
from pipeline.storage import checksum, folder_and_name, on_disk

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
    for code in settings.minimum_by_language:
        if code not in labels:
            raise ConfigError(f"language.minimum_by_language.{code}: the language model does not know {code}")
    rules = rules_of(settings)
    return Prepared(
        Identify(settings, rules),
        FIELDS,
        rules,
        lambda: {**asdict(settings), "model": checksum(path)},
    )


def rules_of(settings: Language) -> tuple[Rule, ...]:
    """Return the bounds there are; those by language are for the likeliest, language.first, certain or not.

    Raises ConfigError for a bound by language that is no probability.
    """
    for code, bound in settings.minimum_by_language.items():
        if not 0 <= bound <= 1:
            raise ConfigError(f"language.minimum_by_language.{code} must be between 0 and 1, got {bound:g}")
    own = tuple(sorted(settings.minimum_by_language.items()))
    least = settings.minimum or -MAX_BOUND
    uncertain = Rule(reason="language_uncertain", signal="language.probability", minimum=least, own=own)
    mixed = Rule(reason="languages_mixed", signal="language.share", minimum=settings.minimum_share)
    return (*([uncertain] if settings.minimum or own else []), *([mixed] if settings.minimum_share else []))


@cache
def language_model(path: str) -> Classifier:
    """Return the model at a path, or the one that is installed; loaded once a process."""
    folder, name = folder_and_name(path or default_model_path())
    with on_disk(folder, [name]) as here:
        return load(str(here / name))


@dataclass(frozen=True, slots=True)
class Identify:
    """Name each document's language and judge it by the configuration."""

    settings: Language
    rules: tuple[Rule, ...]

    def __call__(self, documents: pa.Table) -> Split:
        """Add the language and its probabilities; reject what is not wanted.

        A denied language is one that is likeliest, certain or not; an allowed one is certain, for a guess is no leave.
        """
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
        denied = _is_in(codes, self.settings.deny) | _is_in(pa.chunked_array([found.language]), self.settings.deny)
        listed = denied | ~allowed
        verdicts = judge(
            self.rules,
            {"language.probability": probability, "language.share": found.share},
            np.array(found.language.to_pylist(), np.str_),
        )
        broken = np.array([*(rule.reason for rule in self.rules), ""], np.str_)[verdicts.rule]
        reasons = np.select([denied, ~allowed], ["language_denied", "language_not_allowed"], default=broken)
        values = np.where(listed, probability, verdicts.value)
        return split(documents, reasons != "", reasons, values, np.where(listed, NO_THRESHOLD, verdicts.threshold))


def _is_in(codes: pa.ChunkedArray, wanted: Sequence[str]) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = pc.is_in(codes, pa.array(wanted, pa.string())).to_numpy()
    return found

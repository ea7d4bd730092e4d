"""The step badwords: documents that hold a word of the user's lists for their language (C4's rule).

A share of them can be kept, as mC4 keeps a thousandth; which, its URL decides, as in TFDS (text/c4_utils.py,
get_hashed_url_filter_fn), so that the same page is kept in every crawl. A document without a URL goes by its id.
"""

from dataclasses import asdict, dataclass, replace
from functools import cache
from hashlib import md5

import numpy as np
import pyarrow as pa

from filters.bad_words import RULE, Finder, find_bad_words, make_finder
from filters.rules import Rule
from pipeline.config import BadWords, ConfigError
from pipeline.entries import read_entries
from pipeline.sign import normal_url
from pipeline.step import Prepared, Split, split_by_rules, texts_of, with_columns
from pipeline.storage import checksum

FIELDS = (
    pa.field("badwords.words", pa.float64()),  # different entries found; null without a list, and where it is spared
    pa.field("badwords.entry", pa.string()),  # the entries, with a comma between
)
RULES: tuple[Rule, ...] = (replace(RULE, signal="badwords.words"),)


def prepare(settings: BadWords) -> Prepared:
    """Return the step; raises ConfigError where there is no list, or one that cannot be used."""
    if not any(settings.lists.values()):
        raise ConfigError('badwords needs a list: [badwords.lists] en = ["words.txt"]')
    for language, paths in settings.lists.items():
        read_finder(language, paths)

    def decided_by() -> object:
        return {**asdict(settings), "lists": {code: [*map(checksum, paths)] for code, paths in settings.lists.items()}}

    return Prepared(JudgeBadWords(settings), FIELDS, RULES, decided_by)


@cache
def read_finder(language: str, paths: tuple[str, ...]) -> Finder:
    """Read a language's lists, once a process; raises ConfigError as read_entries does."""
    return make_finder(language, read_entries(paths, str))


def is_spared(url: str, identity: str, rejected_share: float) -> bool:
    """Tell whether a document with bad words is one of those that are kept all the same."""
    numerator, denominator = rejected_share.as_integer_ratio()
    place = normal_url(url) or identity
    return int.from_bytes(md5(place.encode(), usedforsecurity=False).digest()) % denominator >= numerator


@dataclass(frozen=True, slots=True)
class JudgeBadWords:
    """Look for listed words, and reject what has one and is not spared."""

    settings: BadWords

    def __call__(self, documents: pa.Table) -> Split:
        """Add what was found, and split."""
        finders = {code: read_finder(code, paths) for code, paths in self.settings.lists.items()}
        languages = np.asarray(documents["language"].to_pylist(), dtype=np.str_)
        found = find_bad_words(texts_of(documents), languages, finders)
        words = np.array([np.nan if entries is None else len(entries) for entries in found], np.float64)
        share = self.settings.rejected_share
        for row in np.flatnonzero(words > 0):
            if is_spared(documents["url"][row].as_py() or "", documents["id"][row].as_py(), share):
                words[row] = np.nan
        columns = {
            "badwords.words": pa.array(words, from_pandas=True),
            "badwords.entry": pa.array([", ".join(entries) if entries else None for entries in found], pa.string()),
        }
        return split_by_rules(with_columns(documents, columns), RULES, {"badwords.words": words})

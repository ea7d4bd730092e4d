"""The step url: judge documents by their addresses and the user's lists."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache

import pyarrow as pa

from filters.rules import Rule
from filters.urls import (
    SIGNALS,
    Table,
    UrlLists,
    hash_table,
    measure,
    parse_domain,
    parse_part,
    parse_url,
    parse_word,
)
from filters.urls import (
    rules as unnamed_rules,
)
from pipeline.config import ConfigError, Url
from pipeline.entries import read_entries
from pipeline.step import Prepared, Split, keep_all, split_by_rules, with_columns
from pipeline.storage import checksum

FIELDS = (*(pa.field(f"url.{name}", pa.float64()) for name in SIGNALS), pa.field("url.entry", pa.string()))


def prepare(settings: Url) -> Prepared:
    """Return the step, which does nothing without settings.

    Raises ConfigError for a list that cannot be used, and for settings that give nothing to judge by.
    """
    if settings == Url():
        return Prepared(keep_all, ())
    files = {name: paths for name, paths in asdict(settings).items() if isinstance(paths, tuple)}
    if not any(files.values()) and not settings.max_length:
        raise ConfigError("the step url has nothing to judge by: give url.blocked_domains or another list of [url]")
    read_lists(settings)

    def decided_by() -> object:
        return {**asdict(settings), **{name: [checksum(path) for path in paths] for name, paths in files.items()}}

    rules = rules_of(settings)
    return Prepared(JudgeUrls(settings, rules), FIELDS, rules, decided_by)


@cache
def read_lists(settings: Url) -> UrlLists:
    """Read the files, once a process; raises ConfigError, naming file and line, for what is no list."""
    return UrlLists(
        blocked_domains=_table(settings.blocked_domains, parse_domain),
        allowed_domains=_table(settings.allowed_domains, parse_domain),
        exempt_domains=_table(settings.exempt_domains, parse_domain),
        blocked_urls=_table(settings.blocked_urls, parse_url),
        blocked_words=frozenset(read_entries(settings.blocked_words, parse_word)),
        doubtful_words=frozenset(read_entries(settings.doubtful_words, parse_word)),
        blocked_parts=tuple(sorted(set(read_entries(settings.blocked_parts, parse_part)))),
    )


def _table(paths: Sequence[str], parse: Callable[[str], str]) -> Table | None:
    return hash_table(read_entries(paths, parse)) if paths else None


def rules_of(settings: Url) -> tuple[Rule, ...]:
    """Return the rules over the columns, in judging order."""
    found = unnamed_rules(settings.max_doubtful_words, settings.max_length)
    return tuple(replace(rule, signal=f"url.{rule.signal}") for rule in found)


@dataclass(frozen=True, slots=True)
class JudgeUrls:
    """Measure the addresses and split by the rules; a document without an address is kept."""

    settings: Url
    rules: tuple[Rule, ...]

    def __call__(self, documents: pa.Table) -> Split:
        """Add the signals and the listed entries that were found."""
        signals, entries = measure(documents["url"].to_pylist(), read_lists(self.settings))
        columns = {f"url.{name}": values for name, values in signals.items()}
        listed = pa.array([entry or None for entry in entries], pa.string())
        shown = {name: pa.array(values, from_pandas=True) for name, values in columns.items()}
        return split_by_rules(with_columns(documents, {**shown, "url.entry": listed}), self.rules, columns)

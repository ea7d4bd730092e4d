"""Lists that the user gives as files: an entry a line, blank lines and those that begin with # passed over."""

import io
from collections.abc import Callable, Iterator, Sequence

from pipeline.config import ConfigError
from pipeline.storage import open_input


def read_entries(paths: Sequence[str], parse: Callable[[str], str]) -> Iterator[str]:
    """Yield the entries of files, parsed.

    Raises ConfigError, naming file and line, for a file that cannot be read or has no entry, and for what `parse`
    refuses by ValueError.
    """
    for path in paths:
        found = False
        for number, line in enumerate(_lines(path), 1):
            entry = line.strip()
            if entry and not entry.startswith("#"):
                found = True
                yield _parsed(entry, parse, f"{path}, line {number}")
        if not found:
            raise ConfigError(f"the list {path} has no entry")


def _lines(path: str) -> Iterator[str]:
    try:
        with open_input(path) as file:
            yield from io.TextIOWrapper(file, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the list {path}: {error}") from error


def _parsed(entry: str, parse: Callable[[str], str], where: str) -> str:
    try:
        return parse(entry)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error

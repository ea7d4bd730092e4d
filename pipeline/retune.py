"""Ask what other bounds would do to a finished run, without running it again.

    python -m pipeline.retune --output out/web --set gopher_quality.mean_word_length.min=2.5
    python -m pipeline.retune --output out/web --set c4.sentences.min=2 --set gopher_quality.words.by_language.ko.min=9
    python -m pipeline.retune --output out/web --set language.minimum=0.65 --set classifier.quality.min=0.3

Answers from the signals stored beside the kept and the rejected documents: how many would change each way, language by
language, some of them with the beginning of their text, and the configuration to adopt. What the stored numbers cannot
say is said. Exit codes: 0 answered, 2 a mistake in what was asked.
"""

import argparse
import copy
import re
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from pipeline.config import MAX_BOUND, ConfigError
from pipeline.object_store import StoreFailed

NO_BOUND = "false"
WIDE = 120  # columns where the output is no terminal
FORMS = (
    "FAMILY.SIGNAL.min=NUMBER (or .max, or .by_language.CODE.min; =false for no such rule), the same with own.NAME or "
    "classifier.NAME, or a bound of language, url or decontaminate that --help names"
)
_PATH = re.compile(
    r"language\.(?:minimum|minimum_share|minimum_by_language\.[^.]+)"
    r"|url\.(?:max_doubtful_words|max_length)"
    r"|decontaminate\.threshold"
    r"|(?!language\.)[^.]+\.[^.]+\.(?:[^.]+|by_language\.[^.]+\.[^.]+)"
)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    line = argparse.ArgumentParser(
        prog="python -m pipeline.retune",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    line.add_argument("--output", metavar="OUT", required=True, help="output folder of a finished run")
    line.add_argument("--set", metavar="BOUND", action="append", required=True, dest="bounds",
                      help="FAMILY.SIGNAL.min=NUMBER, .max=NUMBER, or .by_language.CODE.min=NUMBER; own.NAME and "
                           "classifier.NAME likewise; language.minimum, .minimum_by_language.CODE, .minimum_share; "
                           "url.max_doubtful_words, url.max_length; decontaminate.threshold; "
                           "false for no such rule; may be given several times")  # fmt: skip
    line.add_argument("--samples", metavar="N", type=int, default=3, help="documents shown each way (default 3)")
    line.add_argument("--json", action="store_true", help="print the answer as JSON")
    return line


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer from the command line and return the exit code."""
    asked = parser().parse_args(arguments)
    try:
        changes = parse_bounds(asked.bounds)
        from pipeline.retuned import ask, show  # compiled kernels: not for --help

        answer = ask(asked.output.rstrip("/"), changes, max(0, asked.samples))
        if asked.json:
            import orjson

            print(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
        else:
            show(answer, Console(soft_wrap=True, width=None if sys.stdout.isatty() else WIDE))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except StoreFailed as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


def parse_bounds(given: Sequence[str]) -> dict[str, Any]:
    """Return bounds as tables in tables, as a configuration has them; raises ConfigError for what is no bound."""
    found: dict[str, Any] = {}
    for bound in given:
        path, equals, value = bound.partition("=")
        path = path.strip()
        if path.partition(".")[0] == "self_clean":
            raise ConfigError(f"--set {bound}: self-cleaning's cuts are settings of the next run, by its configuration")
        if not equals or not _PATH.fullmatch(path):
            raise ConfigError(f"--set must be {FORMS}, got {bound!r}")
        *outer, key = path.split(".")
        table = found
        for name in outer:
            table = table.setdefault(name, {})
        table[key] = _number(value, bound)
    return found


def _number(value: str, bound: str) -> float | bool:
    """Return a bound's value: a number, whole where it is written so, or False."""
    if value.strip() == NO_BOUND:
        return False
    try:
        number = int(value) if value.strip().lstrip("+-").isdecimal() else float(value)
    except ValueError:
        raise ConfigError(
            f"--set {bound}: the value must be a number or false; another bound is another --set"
        ) from None
    if not abs(number) <= MAX_BOUND:
        raise ConfigError(f"--set {bound}: the value must be between -2^53 and 2^53")
    return number


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return nested tables with those of `new` in place of, or beside, those of `old`."""
    result = copy.deepcopy(old)
    for key, value in new.items():
        inner = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if inner else copy.deepcopy(value)
    return result


if __name__ == "__main__":
    sys.exit(main())

"""A finished run: what its output folder says of itself, for the commands and runs that read one."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

from pipeline import storage
from pipeline.config import ConfigError, SelfClean
from pipeline.object_store import StoreFailed

T = TypeVar("T")


def check_finished(output: str) -> None:
    """Raise ConfigError for what is not the output folder of a finished run."""
    try:
        storage.check_url(output)
    except ValueError as error:
        raise ConfigError(f"{output}: {error}") from error
    if not storage.exists(storage.join(output, "_SUCCESS")):
        raise _not_finished(output)


def read_run(output: str, pick: Callable[[Any], T], name: str = "run.json") -> T:
    """Return what is wanted of run.json, or of another JSON file; raises ConfigError where there is none."""
    check_finished(output)
    try:
        return pick(storage.read_json(storage.join(output, name)))
    except StoreFailed:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise _not_finished(output) from None


def read_self_clean(output: str) -> SelfClean:
    """Return what self-cleaning was told; what only other versions know is left out, or stands at its default."""
    known = {field.name for field in fields(SelfClean)}
    told = read_run(output, lambda run: dict(run["config"]["self_clean"]))
    return SelfClean(**{name: value for name, value in told.items() if name in known})


def _not_finished(output: str) -> ConfigError:
    return ConfigError(f"{output} is not the output folder of a finished run")

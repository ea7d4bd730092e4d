"""Checks: what is refused, or noted, before any work."""

import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile
from posixpath import splitext

import pyarrow as pa

from pipeline import storage
from pipeline.config import KEEP, Config, ConfigError, Input
from pipeline.deduplicate import known_keep
from pipeline.formats.fields import missing, unseen
from pipeline.plan import Piece
from pipeline.self_clean.given import check_given
from pipeline.self_clean.languages import least_tokens
from pipeline.steps import signal_fields
from tokenizer.encode import Tokenizer

FIRST_FILES = 3  # of a kind: one that lies beside the data, as a list of them, has other fields


def check_inputs(files: Sequence[Piece], config: Config, output: str) -> list[str]:
    """Raise ConfigError where a run would read what it is about to replace, or would not find the fields it is told.

    Returns what is not found and may be rare, in a line each.
    """
    notes = []
    inside = next((piece.path for piece in files if storage.lies_in(piece.path, output)), "")
    if inside:
        raise ConfigError(f"--output {output} holds the input {inside}, which publication would replace")
    for number, given in enumerate(config.input):
        kinds: dict[str, list[Piece]] = defaultdict(list)
        for piece in files:
            if piece.input == number and piece.size:
                kinds[splitext(piece.path)[1]].append(piece)
        sizes = {kind: sum(piece.size for piece in own) for kind, own in kinds.items()}
        for kind, own in kinds.items():
            if sizes[kind] > config.ingest.max_unreadable * sum(sizes.values()):
                first = [piece.path for piece in own[:FIRST_FILES]]
                _check_fields(first, given, config.ingest.max_document_bytes)
                notes += _unseen(first, given, config.ingest.max_document_bytes)
    return notes


def _unseen(first: Sequence[str], given: Input, limit: int) -> list[str]:
    """Say which fields that may be rare none of the first records of some files has."""
    keys = set.intersection(*(set(unseen(path, given, limit)) for path in first))
    where = f"input {given.name!r}: no record that {first[0]} begins with has"
    return [f"{where} {getattr(given, key)!r}, which [[input]] names as its {key}" for key in sorted(keys)]


def check_judges(config: Config, evaluator: str) -> list[str]:
    """Say where no language can be judged, whatever the corpus, and where judges want a GPU that is not here."""
    wanted, given = least_tokens(config.self_clean), config.evaluator.train_tokens
    if not config.self_clean.rounds or evaluator:
        return []
    notes = []
    if wanted > given:
        least = "self_clean.min_language_tokens and a fifth"
        notes = [f"[evaluator] train_tokens = {given:,} judge no language: one wants {wanted:,.0f} of them ({least})"]
    if config.evaluator.device == "cuda" and not _has_gpu():
        notes.append(
            "[evaluator] device is 'cuda', and torch finds no GPU here: no judge can be trained on this machine"
        )
    return notes


def _has_gpu() -> bool:
    """Ask in another process: one that has asked CUDA can fork no worker that uses it."""
    asks = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", asks], check=False, capture_output=True).returncode == 0  # noqa: S603 - our own line


def _check_fields(first: Sequence[str], given: Input, limit: int) -> None:
    """Raise ConfigError where every one of some files of a kind lacks a field."""
    lacking = list(takewhile(bool, (missing(path, given, limit) for path in first)))
    if len(lacking) == len(first):
        raise ConfigError(f"input {given.name!r}: {first[0]}: {lacking[0]}: [[input]] says which field is which")


def check_models(config: Config, evaluator: str, *, external: bool) -> None:
    """Raise ConfigError for a given tokenizer or evaluator that cannot be used, before any work."""
    if config.tokenizer.model:
        try:
            with storage.open_input(config.tokenizer.model) as file:
                Tokenizer(file.read())
        except (OSError, ValueError) as error:
            raise ConfigError(f"tokenizer.model {config.tokenizer.model}: {error}") from error
    if evaluator and config.self_clean.rounds:
        check_given(evaluator, config.self_clean, external=external)


def check_keep(config: Config) -> None:
    """Raise ConfigError for a signal that no step leaves."""
    signals = [field.name for field in signal_fields(config) if pa.types.is_primitive(field.type)]
    if not known_keep(config.deduplicate.keep, signals):
        known = ", ".join((*KEEP, *signals))
        raise ConfigError(f"deduplicate.keep must be one of {known}, got {config.deduplicate.keep!r}")

"""Ranks: each process of `--score-only` holds a folder of its own in OUT/stages/ranks, its lock and its log in it."""

import re
from pathlib import Path

RANKS = "stages/ranks"  # of an output folder
_NAME = re.compile(r"(\d+)-of-(\d+)")


def rank_folder(output: str, rank: int, count: int) -> str:
    """Return the folder of one of `count` ranks, from 0."""
    return f"{output}/{RANKS}/{rank}-of-{count}"


def rank_folders(output: str) -> list[str]:
    """Return the folders of all ranks that have read for an output, sorted by their count and number."""
    place = f"{output}/{RANKS}"
    named = filter(None, map(_NAME.fullmatch, _names(place)))
    return [rank_folder(output, number, count) for count, number in sorted((int(m[2]), int(m[1])) for m in named)]


def _names(place: str) -> set[str]:
    if "://" not in place:
        return {path.name for path in Path(place).iterdir()} if Path(place).is_dir() else set()
    from pipeline import storage  # which status of a local folder does not wait for

    return {name.partition("/")[0] for name in storage.walk(place)}

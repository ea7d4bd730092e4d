"""Earlier runs whose signatures a new crawl is deduplicated against (`--against OUT_OLD …`), without their texts.

OUT_OLD needs run.json, `_SUCCESS` and its signature shards: a finished run with `[output] keep_stages` true or
"signatures", made with the same signature settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.parquet as pq

from pipeline import sign, storage
from pipeline.config import Config, ConfigError
from pipeline.finished_run import read_run
from pipeline.shards import DocumentShard


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier run: its output folder, the fingerprint of its ingest, and its signature shards with their rows."""

    output: str
    ingest: str
    shards: tuple[tuple[str, int], ...]


def find_earlier(outputs: Sequence[str], config: Config) -> tuple[Earlier, ...]:
    """Return what is needed of earlier runs.

    Raises ConfigError for a folder that holds no finished run, that kept no signatures, or whose signatures were made
    with other settings.
    """
    if outputs and config.deduplicate.verify == "exact":
        raise ConfigError('--against has signatures and no texts: deduplicate.verify must be "estimate"')
    return tuple(_find(output.rstrip("/"), config) for output in outputs)


def _find(output: str, config: Config) -> Earlier:
    fingerprint = read_run(output, lambda run: str(run["fingerprints"]["ingest"]))
    folder = storage.join(output, "stages", "ingest", fingerprint, "signatures")
    names = [name for name in storage.names(folder) if name.endswith(".parquet")]
    if not names:
        raise ConfigError(f'--against {output} kept no signatures; run it with [output] keep_stages = "signatures"')
    wanted = {**sign.scheme(config.deduplicate), "version": sign.VERSION}
    shards = []
    for name in names:
        path = storage.join(folder, name)
        found = sign.read_scheme(path)
        different = [key for key in sorted(wanted) if found.get(key) != _plain(wanted[key])]
        if different:
            said = ", ".join(f"{key} {found.get(key)!r} there, {_plain(wanted[key])!r} here" for key in different)
            raise ConfigError(f"--against {output} has signatures of other settings: {said}")
        with storage.open_input(path) as file:
            shards.append((name.removesuffix(".parquet"), pq.read_metadata(file).num_rows))
    return Earlier(output, fingerprint, tuple(shards))


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def earlier_shards(runs: Sequence[Earlier], first: int) -> list[DocumentShard]:
    """Return the signature shards of earlier runs, numbered from `first` on; they have no texts."""
    shards = []
    for run in runs:
        folder = storage.join(run.output, "stages", "ingest", run.ingest)
        for name, rows in run.shards:
            shards.append(DocumentShard(name, folder, first, rows, 0))
            first += rows
    return shards

"""A stage on disk: its folder, its fingerprint, the records of its tasks and its manifest.

    OUT/stages/NAME/FINGERPRINT/done/KEY.json   one record a task, written after the task's files
    OUT/stages/NAME/FINGERPRINT/manifest.json   written last; a stage without it is not finished

The fingerprint covers the configuration that the stage reads, its version and the fingerprints of the stages before
it, so that a file in the folder is either what this configuration makes or is not looked at.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from pipeline import storage
from pipeline.summary import Summary, merge

# key, documents, bytes, summary, what cost.py measures and what the stage adds. `bytes` are those a task went through,
# unpacked and each once: the UTF-8 of texts, or, in a stage that reads none, its signatures, edges, scores or tokens.
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a stage keeps its files."""

    name: str
    fingerprint: str
    output: str

    @property
    def folder(self) -> str:
        """The stage's own folder."""
        return storage.join(self.output, "stages", self.name, self.fingerprint)

    def path(self, *names: str) -> str:
        """Return the path of a file of this stage."""
        return storage.join(self.folder, *names)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a finished stage left: the records of its tasks in order, and their sum."""

    stage: Stage
    records: tuple[Record, ...]
    summary: Summary
    seconds: float  # wall time of the start that finished it; what an earlier start did is not in it
    cpu_seconds: float  # of its tasks, whichever start and process did them; without Beam's own work around them


def make_stage(output: str, name: str, version: int, settings: object, upstream: Sequence[Stage | str]) -> Stage:
    """Return the stage that these settings and these stages before it lead to.

    A stage before it is given as such, by its folder (of which the fingerprint is the last part), or as any string.
    """
    before = [s.rpartition("/")[2] if isinstance(s, str) else s.fingerprint for s in upstream]
    parts = [name, version, settings, before]
    digest = blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=8)
    return Stage(name, digest.hexdigest(), output)


def make_room(stage: Stage) -> None:
    """Make the folder of a stage's records: on NFS one that is looked for too early stays away for half a minute."""
    storage.make_folder(stage.path("done"))


def write_record(folder: str, record: Record) -> None:
    """Record a finished task; its files are there already."""
    storage.write_json(storage.join(folder, "done", record["key"] + ".json"), record)


def finished_keys(folder: str) -> set[str]:
    """Return the keys of the tasks that are recorded."""
    return {n.removesuffix(".json") for n in storage.names(storage.join(folder, "done")) if n.endswith(".json")}


def read_records(folder: str, keys: Iterable[str] | None = None) -> Iterator[Record]:
    """Yield the records of finished tasks, all or some, by key."""
    ordered = sorted(finished_keys(folder) if keys is None else keys)
    yield from storage.read_all_json(storage.join(folder, "done"), (key + ".json" for key in ordered))


def write_manifest(stage: Stage, seconds: float) -> Manifest:
    """Close a stage whose tasks are all recorded; `seconds` is the wall time of this start."""
    records: list[Record] = []

    def summaries() -> Iterator[Summary]:
        for record in read_records(stage.folder):
            yield record.pop("summary", {})
            records.append(record)

    summary = merge(summaries())
    spent = sum(record["cpu_seconds"] for record in records)
    cost = {"seconds": round(seconds, 3), "cpu_seconds": round(spent, 3)}
    table = {"stage": stage.name, "records": records, "summary": summary, **cost}
    storage.write_json(stage.path("manifest.json"), table)
    return Manifest(stage, tuple(records), summary, **cost)


def read_manifest(stage: Stage) -> Manifest | None:
    """Return the manifest of a finished stage, None when it is not finished."""
    path = stage.path("manifest.json")
    if not storage.exists(path):
        return None
    table = storage.read_json(path)
    return Manifest(stage, tuple(table["records"]), table["summary"], table["seconds"], table["cpu_seconds"])

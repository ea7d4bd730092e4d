"""The output folder: claimed before any work, filled at publication, tidied last."""

import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline import clean, storage
from pipeline.clean import Corpus
from pipeline.config import ConfigError, as_table
from pipeline.evaluation.finished import read_evaluation
from pipeline.facts import collect, funnel
from pipeline.identity import DECIDING
from pipeline.labelled import applied, measure
from pipeline.line import Asked, Line
from pipeline.object_store import TRIES
from pipeline.publish import fill_output

VERSIONS = ("lustrate", *DECIDING)
MARK = "lustrate\n"  # in .lock, so that a folder is known to be ours


def check_output(output: str) -> None:
    """Raise ConfigError for a place that this run cannot write to, whatever is in it."""
    try:
        storage.check_url(output)
    except ValueError as error:
        raise ConfigError(f"--output {output}: {error}") from error


@contextmanager
def claimed(output: str) -> Iterator[None]:
    """Hold an output folder for this run.

    Raises ConfigError for a folder that is not ours, cannot be written, or that another run is working on.
    """
    if not storage.is_local(output):
        _claim_remote(output)
        yield
        return
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()}
        lock_path = folder / ".lock"
        if names and not (lock_path.is_file() and lock_path.read_text(errors="replace") == MARK):
            raise ConfigError(f"--output {output} holds other files ({min(names)}, …); name a new folder")
        lock_path.write_text(MARK)
        lock = lock_path.open("r+")
    except OSError as error:
        raise ConfigError(f"--output {output} cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"another run is working on {output}") from error
        yield


def _claim_remote(output: str) -> None:
    """Mark a folder of an object store as ours; raise ConfigError where it is not and holds other files.

    A store has no lock: that two runs write to one folder is not noticed there.
    """
    mark = storage.join(output, ".lock")
    try:
        if not storage.exists(mark):
            strangers = storage.walk(output)
            if strangers:
                raise ConfigError(f"--output {output} holds other files ({strangers[0]}, …); name a new folder")
        with storage.create(mark) as file:
            file.write(MARK.encode())
    except OSError as error:
        raise ConfigError(f"--output {output} cannot be written: {error}") from error


def publish(line: Line, corpus: Corpus, asked: Asked) -> dict[str, Any]:
    """Fill the output folder and write run.json, the report, and `_SUCCESS` last; return the facts."""
    files, texts = clean.published_files(corpus)
    fill_output(line.output, files, texts)
    facts = collect(corpus, line.config, line.manifests)
    if asked.labels is not None:
        settings = line.config.self_clean
        chose = applied(asked.labels, settings.thresholds, settings.cut_offset)
        facts["labels"] = measure(asked.labels, line.output, applied=chose)
    if asked.until == "report":
        facts["evaluation"] = read_evaluation(line.output)
        write_report(line.output, facts)
    storage.write_json(storage.join(line.output, "run.json"), run_record(line, corpus, asked))
    with storage.create(storage.join(line.output, "_SUCCESS")):
        pass
    tidy(line)
    return facts


def write_report(output: str, facts: dict[str, Any]) -> None:
    """Write the report, for people and for programs."""
    from pipeline.report import render

    storage.write_json(storage.join(output, "report.json"), facts)
    with storage.create(storage.join(output, "report.html")) as file:
        file.write(render(facts).encode())


def run_record(line: Line, corpus: Corpus, asked: Asked) -> dict[str, Any]:
    """Return run.json: what was asked, versions, fingerprints, counts and seconds."""
    return {
        "config": as_table(line.config),
        "evaluator": asked.evaluator,
        "against": [run.output for run in asked.earlier],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}},
        "fingerprints": {m.stage.name: m.stage.fingerprint for m in line.manifests},
        "counts": {step["name"]: step["count"] for step in funnel(corpus)},
        "seconds": {m.stage.name: round(m.seconds, 2) for m in line.manifests},
        "cpu_count": len(os.sched_getaffinity(0)),
        "asked_again": asked_again(line),
    }


def asked_again(line: Line) -> int:
    """Return how many requests to a store failed and were made again, by all who worked on what is finished."""
    return TRIES.again + sum(record.get("asked_again", 0) for one in line.manifests for record in one.records)


def tidy(line: Line) -> None:
    """Remove from stages/ what the configuration does not keep.

    A stage's manifest and records go first: killed on the way, it is done again and not taken for finished.
    """
    keep = line.config.output.keep_stages
    if keep == "true":
        return
    for manifest in line.manifests:
        some = keep == "signatures" and manifest.stage.name == "ingest"
        for kind in ("manifest.json", "done", "parts", *(("documents", "rejected", "unreadable") if some else ())):
            storage.remove(manifest.stage.path(kind))
        if not some:
            storage.remove(manifest.stage.folder)

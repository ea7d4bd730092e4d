"""The output folder: filled at publication, tidied last."""

import os
import platform
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from pipeline import clean, storage
from pipeline.clean import Corpus
from pipeline.config import as_table
from pipeline.evaluation.experiments import read_experiments
from pipeline.evaluation.finished import read_evaluation
from pipeline.facts import collect, funnel
from pipeline.finished_run import read_run
from pipeline.identity import DECIDING
from pipeline.inputs import SEEN
from pipeline.labelled import applied, measure
from pipeline.line import Asked, Line
from pipeline.object_store import TRIES
from pipeline.publish import fill_output
from pipeline.ranks import RANKS

VERSIONS = ("lustrate", *DECIDING)


def publish(line: Line, corpus: Corpus, asked: Asked, sure: Callable[[], None]) -> dict[str, Any]:
    """Fill the output folder and write run.json, the report, and `_SUCCESS` last; return the facts.

    `sure` raises where the folder is no longer this run's; it is asked before each name that is changed.
    """
    files, texts = clean.published_files(corpus)
    fill_output(line.output, files, texts, sure)
    facts = collect(corpus, line.config, line.manifests)
    if asked.labels is not None:
        chose = applied(asked.labels, line.config.self_clean)
        facts["labels"] = measure(asked.labels, line.output, applied=chose)
    if asked.until == "report":
        facts["evaluation"] = read_evaluation(line.output)
        facts["experiments"] = read_experiments(line.output, fingerprints(line))
        write_report(line.output, facts, sure)
    record = run_record(line, corpus, asked)
    facts["asked_again"] = record["asked_again"]  # what is said of it is what is stored
    sure()
    storage.write_json(storage.join(line.output, "run.json"), record)
    sure()
    with storage.create(storage.join(line.output, "_SUCCESS")):
        pass
    tidy(line, sure)
    return facts


def write_report(output: str, facts: dict[str, Any], sure: Callable[[], None]) -> None:
    """Write the report, for people and for programs."""
    from pipeline.report import render

    page = render(facts).encode()
    sure()
    storage.write_json(storage.join(output, "report.json"), facts)
    sure()
    with storage.create(storage.join(output, "report.html")) as file:
        file.write(page)


def amend_report(output: str, name: str, value: object) -> None:
    """Put into a finished run's report what was found later; the run is nobody's then."""
    facts = read_run(output, dict, "report.json")
    write_report(output, {**facts, name: value}, lambda: None)


def run_record(line: Line, corpus: Corpus, asked: Asked) -> dict[str, Any]:
    """Return run.json: what was asked, versions, fingerprints, counts and seconds."""
    return {
        "config": as_table(line.config),
        "evaluator": asked.evaluator,
        "against": [run.output for run in asked.earlier],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}},
        "fingerprints": fingerprints(line),
        "counts": {step["name"]: step["count"] for step in funnel(corpus)},
        "seconds": {m.stage.name: round(m.seconds, 2) for m in line.manifests},
        "cpu_count": len(os.sched_getaffinity(0)),
        "asked_again": asked_again(line),
    }


def fingerprints(line: Line) -> dict[str, str]:
    """Return the fingerprint of each stage."""
    return {m.stage.name: m.stage.fingerprint for m in line.manifests}


def asked_again(line: Line) -> int:
    """Return how many requests to a store failed and were made again, by all who worked on what is finished."""
    return TRIES.again + sum(record.get("asked_again", 0) for one in line.manifests for record in one.records)


def tidy(line: Line, sure: Callable[[], None]) -> None:
    """Remove from stages/ what the configuration does not keep.

    A stage's manifest and records go first: killed on the way, it is done again and not taken for finished.
    """
    keep = line.config.output.keep_stages
    if keep == "true":
        return
    sure()
    storage.remove(storage.join(line.output, "stages", SEEN))
    with suppress(OSError):  # where a rank begins in it just now, only to be refused
        storage.remove(storage.join(line.output, RANKS))
    for manifest in line.manifests:
        some = keep == "signatures" and manifest.stage.name == "ingest"
        for kind in ("manifest.json", "done", "parts", *(("documents", "rejected", "unreadable") if some else ())):
            sure()
            storage.remove(manifest.stage.path(kind))
        if not some:
            sure()
            storage.remove(manifest.stage.folder)

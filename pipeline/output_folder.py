"""The output folder: claimed before any work, filled at publication, tidied last."""

import os
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline import clean, storage
from pipeline.clean import Corpus
from pipeline.config import ConfigError, as_table
from pipeline.evaluation.finished import read_evaluation
from pipeline.facts import collect, funnel
from pipeline.identity import DECIDING
from pipeline.inputs import SEEN
from pipeline.labelled import applied, measure
from pipeline.lease import (
    MARK,
    Lease,
    LeaseLost,
    NoExclusion,
    Taken,
    lock_content,
    prove_exclusion,
    refuse_living,
    take,
)
from pipeline.line import Asked, Line
from pipeline.lock import NAME, place_of
from pipeline.object_store import TRIES
from pipeline.publish import fill_output
from pipeline.ranks import RANKS, rank_folder, rank_folders

VERSIONS = ("lustrate", *DECIDING)


def check_output(output: str) -> None:
    """Raise ConfigError for a place that this run cannot write to, whatever is in it."""
    try:
        storage.check_url(output)
    except ValueError as error:
        raise ConfigError(f"--output {output}: {error}") from error


@contextmanager
def claimed(output: str, say: Callable[[str], None] = print) -> Iterator[Lease]:
    """Hold an output folder for this run; `say` is told what delays it, and whom it takes over from.

    Raises ConfigError for a folder that is not ours, cannot be written, or that another run or a rank is working on,
    and for a place that keeps no two runs apart.
    """
    with ExitStack() as opened:
        try:
            _refuse_strangers(output)
            lease = take(output, opened.enter_context(place_of(output)), say)
            prove_exclusion(lease)
            _refuse_ranks(lease, say)
        except (Taken, LeaseLost) as error:
            raise ConfigError(str(error)) from None
        except NoExclusion as error:
            raise ConfigError(f"--output {error}") from None
        except OSError as error:
            why = "a file, not a folder" if isinstance(error, FileExistsError) else error.strerror or error
            raise ConfigError(f"--output {output} cannot be written: {why}") from error
        yield lease


@contextmanager
def claimed_by_rank(output: str, rank: int, count: int, say: Callable[[str], None] = print) -> Iterator[Lease]:
    """Hold one rank's folder in an output folder, beside other ranks: a run and a rank refuse each other.

    Raises ConfigError for an output that no run has begun, or that a run, or another rank of this number, works on.
    """
    try:
        begun = lock_content(output).startswith(MARK)
    except OSError as error:
        raise ConfigError(f"--output {output} cannot be read: {error.strerror or error}") from error
    if not begun:
        raise ConfigError(f"--output {output} holds no run yet; run the same command with --train-only first")
    with claimed(rank_folder(output, rank, count), say) as lease:
        try:
            refuse_living(output, say)  # after it shows its own: starting at once, a run and a rank see each other
        except Taken as error:
            lease.renew("stopped")
            raise ConfigError(str(error)) from None
        yield lease


def _refuse_ranks(lease: Lease, say: Callable[[str], None]) -> None:
    """Raise Taken where a rank lives; those of other machines are watched side by side."""
    if not (folders := rank_folders(lease.output)):
        return
    with lease.renewed(), ThreadPoolExecutor(len(folders)) as pool:
        living = [pool.submit(partial(refuse_living, folder, say)) for folder in folders]
    try:
        for one in living:
            one.result()
    except Taken:
        lease.renew("stopped")
        raise


def _refuse_strangers(output: str) -> None:
    """Raise ConfigError for a folder with files that is not known to be ours; make a local one that is not there."""
    if storage.is_local(output):
        Path(output).mkdir(parents=True, exist_ok=True)
    if lock_content(output).startswith(MARK):
        return
    found = [path.name for path in Path(output).iterdir()] if storage.is_local(output) else storage.walk(output)
    if names := sorted(name for name in found if name != NAME):
        raise ConfigError(f"--output {output} holds other files ({names[0]}, …); name a new folder")


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


def tidy(line: Line, sure: Callable[[], None]) -> None:
    """Remove from stages/ what the configuration does not keep.

    A stage's manifest and records go first: killed on the way, it is done again and not taken for finished.
    """
    keep = line.config.output.keep_stages
    if keep == "true":
        return
    sure()
    storage.remove(storage.join(line.output, "stages", SEEN))
    storage.remove(storage.join(line.output, RANKS))
    for manifest in line.manifests:
        some = keep == "signatures" and manifest.stage.name == "ingest"
        for kind in ("manifest.json", "done", "parts", *(("documents", "rejected", "unreadable") if some else ())):
            sure()
            storage.remove(manifest.stage.path(kind))
        if not some:
            sure()
            storage.remove(manifest.stage.folder)

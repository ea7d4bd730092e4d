"""A session: from a checked configuration to a filled output folder, with what its user sees on the way."""

import argparse
import contextlib
import fcntl
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from rich.console import Console
from rich.table import Table

from dedup.lsh import candidate_probability
from pipeline import clean, storage
from pipeline.clean import Corpus
from pipeline.config import KEEP, Config, ConfigError, Deduplicate, as_table
from pipeline.deduplicate import known_keep
from pipeline.demo import DEMO_PATHS, gather
from pipeline.earlier import Earlier, find_earlier
from pipeline.execute import RunFailed, start
from pipeline.facts import collect, funnel, rejects
from pipeline.line import Line
from pipeline.plan import Plan, make_plan
from pipeline.progress import display
from pipeline.publish import fill_output
from pipeline.self_clean.rounds import given_weights
from pipeline.stage import Manifest, Stage, read_manifest
from pipeline.steps import check_steps, signal_fields
from tokenizer.encode import Tokenizer

VERSIONS = (
    "lustrate",
    "apache-beam",
    "pyarrow",
    "numpy",
    "numba",
    "torch",
    "sentencepiece",
    "resiliparse",
    "fastwarc",
)
MARK = "lustrate\n"  # in .lock, so that a folder is known to be ours


def check_beam_options(options: Sequence[str]) -> None:
    """Raise ConfigError for an option that Beam does not know; Beam itself would pass over it."""
    known = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for kind in _all_subclasses(PipelineOptions):
        try:
            kind._add_argparse_args(known)  # noqa: SLF001 - Beam's own way to declare options
        except argparse.ArgumentError:
            continue  # declared by two of Beam's classes
    try:
        _, unknown = known.parse_known_args(list(options))
    except SystemExit:
        raise ConfigError(f"Beam refuses one of {' '.join(options)}") from None
    if unknown:
        raise ConfigError(f"unknown option {unknown[0]}; see --help, and Beam's own options")


def _all_subclasses(kind: type[Any]) -> list[type[Any]]:
    return [found for sub in kind.__subclasses__() for found in [sub, *_all_subclasses(sub)]]


def run(asked: argparse.Namespace, config: Config, output: str, options: Sequence[str], console: Console) -> int:
    """Plan and run; return the exit code."""
    check_steps(config)
    check_models(config, asked.evaluator)
    check_keep(config)
    earlier = find_earlier(asked.against, config)
    if asked.dry_run:
        with planned(config, output, dry=True) as plan:
            show_plan(console, config, output, plan, earlier)
        return 0
    if not _is_demo(config):
        make_plan(config)  # a mistake in the inputs leaves no folder behind
    with claimed(output):
        if asked.force:
            storage.remove(storage.join(output, "stages"))
        try:
            with planned(config, output, dry=False) as plan:
                return _run(asked, config, output, options, console, plan, earlier)
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - its user reads one line, the log has the rest
            return _failed(output, error)


def check_models(config: Config, evaluator: str) -> None:
    """Raise ConfigError for a given tokenizer or evaluator that cannot be used, before any work."""
    if config.tokenizer.model:
        try:
            with storage.open_input(config.tokenizer.model) as file:
                Tokenizer(file.read())
        except (OSError, ValueError) as error:
            raise ConfigError(f"tokenizer.model {config.tokenizer.model}: {error}") from error
    if evaluator and config.self_clean.rounds:
        given_weights(evaluator, 1, config.self_clean.folds)


def check_keep(config: Config) -> None:
    """Raise ConfigError for a signal that no step leaves."""
    signals = [field.name for field in signal_fields(config) if pa.types.is_primitive(field.type)]
    if not known_keep(config.deduplicate.keep, signals):
        known = ", ".join((*KEEP, *signals))
        raise ConfigError(f"deduplicate.keep must be one of {known}, got {config.deduplicate.keep!r}")


def _is_demo(config: Config) -> bool:
    return any(given.paths == DEMO_PATHS for given in config.input)


@contextmanager
def planned(config: Config, output: str, *, dry: bool) -> Iterator[Plan]:
    """Return the plan; the demo's corpus is gathered first, for a dry run into a folder that goes again."""
    if not _is_demo(config):
        yield make_plan(config)
        return
    if not storage.is_local(output):
        raise ConfigError("the demo gathers its corpus on this machine: --output must be a local folder")
    with tempfile.TemporaryDirectory() as folder:
        paths = (gather(Path(folder if dry else f"{output}-corpus")),)
        inputs = tuple(replace(i, paths=paths) if i.paths == DEMO_PATHS else i for i in config.input)
        yield make_plan(replace(config, input=inputs))


def _run(
    asked: argparse.Namespace,
    config: Config,
    output: str,
    options: Sequence[str],
    console: Console,
    plan: Plan,
    earlier: Sequence[Earlier],
) -> int:
    began = time.monotonic()
    with start(options) as engine, display(console) as shown:
        line = Line(config, output, engine, shown)
        shown.say(f"{plan.files:,} files, {plan.size / 1e6:,.1f} MB, {len(plan.shards)} shards → {output}")
        if config.sample < 1:
            shown.say(_sampled(plan))
        corpus = clean.clean(line, plan, asked.until, asked.evaluator, earlier)
        clean.check_conservation(corpus)
        done = corpus.merged is not None
        if done:
            publish(line, corpus, with_report=asked.until == "report")
    console.print(table(corpus, time.monotonic() - began))
    if config.sample < 1:
        console.print(projection(corpus, config, line.manifests))
    if done:
        console.print(f"results: {output}", highlight=False)
    if done and asked.until == "report":
        console.print(f"report: {storage.join(output, 'report.html')}", highlight=False)
    return 0


def _sampled(plan: Plan) -> str:
    return (
        f"a sample: {plan.chosen:,} of {plan.files:,} files, chosen by hash until their stored bytes hold the share, "
        f"and {plan.document_share:.3g} of their documents"
    )


def _failed(output: str, error: Exception) -> int:
    """Say in one line what went wrong and keep the detail."""
    log = storage.join(output, "run.log")
    detail = "".join(traceback.format_exception(error))
    with contextlib.suppress(OSError), storage.create(log) as file:
        file.write(detail.encode())
    line = str(error) if isinstance(error, RunFailed) else f"{type(error).__name__}: {error}"
    print(f"failed: {line.splitlines()[0]} (detail in {log})", file=sys.stderr)
    return 1


@contextmanager
def claimed(output: str) -> Iterator[None]:
    """Hold an output folder for this run.

    Raises ConfigError for a folder that is not ours, cannot be written, or that another run is working on.
    """
    if not storage.is_local(output):
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


def publish(line: Line, corpus: Corpus, *, with_report: bool) -> None:
    """Fill the output folder and write run.json, the report, and `_SUCCESS` last."""
    files, texts = clean.published_files(corpus)
    fill_output(line.output, files, texts)
    facts = collect(corpus, line.config, line.manifests)
    if with_report:
        from pipeline.report import render

        storage.write_json(storage.join(line.output, "report.json"), facts)
        with storage.create(storage.join(line.output, "report.html")) as file:
            file.write(render(facts).encode())
    storage.write_json(storage.join(line.output, "run.json"), run_record(line, corpus))
    with storage.create(storage.join(line.output, "_SUCCESS")):
        pass
    tidy(line)


def run_record(line: Line, corpus: Corpus) -> dict[str, Any]:
    """Return run.json: configuration, versions, fingerprints, counts and seconds."""
    return {
        "config": as_table(line.config),
        "versions": {name: version(name) for name in VERSIONS},
        "fingerprints": {m.stage.name: m.stage.fingerprint for m in line.manifests},
        "counts": {step["name"]: step["count"] for step in funnel(corpus)},
        "seconds": {m.stage.name: round(m.seconds, 2) for m in line.manifests},
        "cpu_count": len(os.sched_getaffinity(0)),
    }


def tidy(line: Line) -> None:
    """Remove from stages/ what the configuration does not keep."""
    keep = line.config.output.keep_stages
    if keep == "true":
        return
    for manifest in line.manifests:
        if keep == "signatures" and manifest.stage.name == "ingest":
            for kind in ("manifest.json", "done", "parts", "documents", "rejected", "unreadable"):
                storage.remove(manifest.stage.path(kind))  # without its records the stage is not taken for finished
        else:
            storage.remove(manifest.stage.folder)


def table(corpus: Corpus, seconds: float) -> Table:
    """Return the table at the end of a run."""
    shown = Table(title="Where the documents went", title_justify="left")
    shown.add_column("")
    shown.add_column("documents", justify="right")
    shown.add_column("share", justify="right")
    summary = corpus.ingested.summary
    rows = summary.get("rows", {})
    documents = max(1, rows.get("documents", 0) + rows.get("rejected", 0))
    for step in funnel(corpus)[:2]:
        shown.add_row(step["name"], f"{step['count']:,}", "")
    shown.add_row("  skipped: no documents", f"{sum(summary.get('skipped', {}).values()):,}", "")
    shown.add_row("  unreadable", f"{rows.get('unreadable', 0):,}", "")
    by_stage = {"ingest": rows.get("rejected", 0)}
    if corpus.deduplicated is not None:
        by_stage["deduplicate"] = sum(r.get("rejected", 0) for r in corpus.deduplicated.records)
    if corpus.encoded is not None:
        by_stage["self_clean"] = sum(r["count"] for r in rejects(corpus) if r["stage"] == "self_clean")
    for stage, count in by_stage.items():
        shown.add_row(f"rejected by {stage}", f"{count:,}", f"{count / documents:.1%}")
    kept = documents - sum(by_stage.values())
    shown.add_row("kept", f"{kept:,}", f"{kept / documents:.1%}", style="bold")
    if corpus.merged is not None:
        tokens = sum(record["shard"]["tokens"] for record in corpus.merged.records)
        shown.add_row("tokens", f"{tokens:,}", "")
    shown.add_row("minutes", f"{seconds / 60:.1f}", "")
    return shown


def projection(corpus: Corpus, config: Config, manifests: Sequence[Manifest]) -> str:
    """Return what the full run would cost and yield, from a sample."""
    cpu = sum(m.cpu_seconds for m in manifests if not _fixed(m))
    fixed = sum(m.cpu_seconds for m in manifests if _fixed(m))
    tokens = sum(r["shard"]["tokens"] for r in corpus.merged.records) if corpus.merged is not None else 0
    documents = corpus.ingested.summary.get("rows", {}).get("documents", 0)
    return (
        f"projected from a share of {config.sample:g} of the stored bytes (rough where compressed and plain files are "
        f"mixed): {cpu / config.sample:,.0f} CPU seconds that grow with the corpus, {fixed:,.0f} for training and "
        "scoring within their budgets, "
        f"{documents / config.sample:,.0f} documents kept by the rules, {tokens / config.sample:,.0f} tokens"
    )


def _fixed(manifest: Manifest) -> bool:
    """Tell whether a stage's cost is set by a budget and does not grow with the corpus."""
    name = manifest.stage.name
    return name == "tokenizer" or name.endswith((".train", ".score"))


def show_plan(console: Console, config: Config, output: str, plan: Plan, earlier: Sequence[Earlier]) -> None:
    """Print what a run would do."""
    console.print(f"{plan.files:,} files, {plan.size / 1e6:,.1f} MB", highlight=False)
    if plan.document_share < 1 or config.sample < 1:
        console.print(_sampled(plan), highlight=False)
    console.print(f"{len(plan.shards)} shards, the largest of {max(s.size for s in plan.shards) / 1e6:,.1f} MB")
    stages = [clean.ingest_stage(output, config, plan)]
    stages.append(clean.deduplicate_stage(output, config, stages[-1], earlier))
    stages += clean.tokenizer_stages(output, config, stages[-1])
    for stage in stages:
        console.print(f"  {stage.name:<20} {_state(stage, plan)}", highlight=False)
    for run in earlier:
        known = sum(rows for _, rows in run.shards)
        console.print(f"  against {run.output}: {known:,} documents, by their signatures", highlight=False)
    show_curve(console, config.deduplicate)
    rounds = config.self_clean.rounds
    console.print(
        f"  {'self_clean':<20} {rounds} rounds of {config.self_clean.folds} folds" if rounds else "  self_clean: no"
    )
    console.print(f"  {'publish':<20} → {output}/documents, rejected, shards, report.html", highlight=False)


def show_curve(console: Console, how: Deduplicate) -> None:
    """Print the shape of the bands and how likely a pair of each similarity shares one."""
    chosen = f", chosen for {how.wanted_recall:g} at {how.wanted_threshold:g}" if how.wanted_threshold else ""
    console.print(f"  {how.bands} bands of {how.rows} rows{chosen}; {how.count} values a signature", highlight=False)
    places = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    found = [f"{s:g}: {candidate_probability(s, how.bands, how.rows):.3f}" for s in places]
    console.print(
        f"  near-duplicates meet in a band with probability (by similarity) {', '.join(found)}", highlight=False
    )


def _state(stage: Stage, plan: Plan) -> str:
    from pipeline.stage import finished_keys

    if read_manifest(stage) is not None:
        return "done"
    finished = len(finished_keys(stage.folder))
    return f"{finished} of {len(plan.shards)} shards done" if finished else "to do"

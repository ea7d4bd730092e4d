"""A session: from a checked configuration to a filled output folder, with what its user sees on the way."""

import argparse
import gc
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline import clean, storage
from pipeline.checks import check_inputs, check_judges, check_keep, check_models
from pipeline.claim import check_output, claimed, claimed_by_rank
from pipeline.clean import Corpus
from pipeline.config import STAGES, Config, ConfigError
from pipeline.demo import DEMO_PATHS, gather
from pipeline.dry_run import show_plan
from pipeline.earlier import find_earlier
from pipeline.execute import Engine, Rank, RunFailed, start
from pipeline.failure import InputChanged, said, with_remedy
from pipeline.ingest import load_kernels
from pipeline.inputs import changes, remember
from pipeline.journal import Journal, open_journal
from pipeline.labelled import show, with_thresholds
from pipeline.labels import read_labels
from pipeline.lease import Lease, LeaseLost
from pipeline.line import Asked, Line, Paused
from pipeline.object_store import StoreFailed
from pipeline.outcome import projection, sampled, table, to_read
from pipeline.output_folder import asked_again, publish
from pipeline.plan import Plan, find_all, make_plan
from pipeline.progress import display
from pipeline.stage import read_manifest
from pipeline.steps import check_steps

DEMO = "demo"  # folder of the demo's corpus, among the stages
LONG_SECONDS = 2.0  # to load kernels that were compiled before takes less on an idle machine
Ended = Callable[[], None]  # shows a result, when log and lock have said that it is there


def settle() -> None:
    """Leave what is imported out of garbage collection, which would copy it into every process that is forked."""
    gc.freeze()
    gc.enable()


@contextmanager
def engine(
    options: Sequence[str], workers: int | None, tell: Callable[..., None] = lambda *_, **__: None
) -> Iterator[Engine]:
    """Open what does the work: Beam where one of its options is given, else processes of this machine."""
    if not options:
        with start(workers) as own:
            yield own
        return
    from pipeline import beam_runner  # Beam takes half a second to import

    with beam_runner.start(options, workers, tell) as beams:
        yield beams


def run(asked: argparse.Namespace, config: Config, output: str, options: Sequence[str], console: Console) -> int:
    """Plan and run; return the exit code."""
    began = time.monotonic()
    check_steps(config)
    check_models(config, asked.evaluator, external=asked.evaluator_is_external)
    check_keep(config)
    check_output(output)
    only = _only(asked, config)
    labels = read_labels(asked.labels, output) if asked.labels else None
    config = with_thresholds(config, labels)
    ask = Asked(
        until=asked.until,
        evaluator=asked.evaluator,
        earlier=find_earlier(asked.against, config),
        external=asked.evaluator_is_external,
        only=only,
        labels=labels,
    )
    say = partial(console.print, highlight=False)
    if not _is_demo(config):  # a mistake in the inputs leaves no folder behind
        for note in [*check_inputs(find_all(config), config, output), *check_judges(config, asked.evaluator)]:
            say(f"note: {note}")
    if asked.dry_run:
        with tempfile.TemporaryDirectory() as elsewhere:
            show_plan(console, config, output, planned(config, output, Path(elsewhere)), ask)
        return 0
    given = {name: value for name, value in vars(asked).items() if value}
    if only == "score":
        return _score(ask, config, output, console, given)
    with claimed(output, say) as lease:
        journal = open_journal(lease, given)

        def work() -> Ended:
            with lease.renewed():
                plan = planned(config, output)
                _prepare(config, output, console, plan, journal, anew=asked.force)
            working = engine(options, asked.direct_num_workers, partial(_tell, console, journal))
            return _run(ask, config, output, working, console, plan, began, journal, force=asked.force)

        code, show_result = _to_its_end(work, output, journal)
    show_result()
    return code


def _only(asked: argparse.Namespace, config: Config) -> str:
    """Return the part of the loop that is asked for, empty for all; raises ConfigError for options that contradict."""
    parts = [name for name in ("sample", "train", "score") if getattr(asked, f"{name}_only")]
    if len(parts) > 1:
        raise ConfigError(f"--{parts[0]}-only and --{parts[1]}-only cannot be given together")
    only = "".join(parts)
    if only == "sample" and asked.evaluator:
        raise ConfigError("--sample-only lays out what trains judges, and --evaluator gives trained ones")
    option = f"--{only}-only" if only else "--evaluator"
    if (only or asked.evaluator) and not config.self_clean.rounds:
        raise ConfigError(f"{option} needs self_clean.rounds of at least 1")
    if only and STAGES.index(asked.until) < STAGES.index("self_clean"):
        raise ConfigError(f"{option} stops within self-cleaning, and --until {asked.until} before it")
    if asked.evaluator_is_external and not asked.evaluator:
        raise ConfigError("--evaluator-is-external says something of --evaluator, which is not given")
    return only


def _is_demo(config: Config) -> bool:
    return any(given.paths == DEMO_PATHS for given in config.input)


def planned(config: Config, output: str, elsewhere: Path | None = None) -> Plan:
    """Return the plan; the demo's corpus is gathered first, by a dry run `elsewhere` where it changed."""
    if not _is_demo(config):
        return make_plan(config)
    if not storage.is_local(output):
        raise ConfigError("the demo gathers its corpus on this machine: --output must be a local folder")
    pattern = gather(Path(output) / "stages" / DEMO, elsewhere)
    inputs = tuple(replace(i, paths=(pattern,)) if i.paths == DEMO_PATHS else i for i in config.input)
    return make_plan(replace(config, input=inputs))


def _prepare(config: Config, output: str, console: Console, plan: Plan, journal: Journal, *, anew: bool) -> None:
    """Take note of the plan, and load what workers are forked with."""
    _note_plan(plan, output, console, journal)
    if anew or read_manifest(clean.ingest_stage(output, config, plan)) is None:
        with announced(partial(console.print, "compiling kernels, which takes a minute the first time …")):
            load_kernels(config)
    settle()


@contextmanager
def announced(say: Callable[[], None]) -> Iterator[None]:
    """Say what is waited for once a block takes long; the thread that does so has ended with it, before a fork."""
    late = threading.Timer(LONG_SECONDS, say)
    late.start()
    try:
        yield
    finally:
        late.cancel()
        late.join()


def _run(
    ask: Asked,
    config: Config,
    output: str,
    engines: AbstractContextManager[Engine],
    console: Console,
    plan: Plan,
    began: float,
    journal: Journal,
    *,
    force: bool,
) -> Ended:
    """Do the work, and say in log and lock how it ended; return what shows its result."""
    try:
        with ExitStack() as renewal, engines as working:
            # By a thread, so begun after workers are forked; and to the end, since to cancel a job may take minutes.
            renewal.enter_context(journal.lease.renewed())
            with _still_ours(journal.lease), display(console, journal) as shown:
                if force:
                    _forget(working, output)
                line = Line(config, output, working, shown, only=ask.only)
                shown.say(f"{to_read(plan)} → {output}")
                if config.sample < 1:
                    shown.say(sampled(plan))
                corpus = clean.clean(line, plan, ask)
                shown.tell_before()  # publication, which has no line of its own, may take minutes
                clean.check_conservation(corpus)
                facts = publish(line, corpus, ask, journal.lease.sure) if corpus.merged is not None else {}
    except Paused as paused:
        journal.end("paused", said(paused))
        return partial(console.print, str(paused))
    journal.end("finished")
    return partial(_show, line, corpus, facts, ask, console, time.monotonic() - began)


def _forget(working: Engine, output: str) -> None:
    """Remove all stages, once no job that an earlier start left writes there; the demo's corpus is none of them."""
    working.clear(output)
    stages = storage.join(output, "stages")
    folders = {name.partition("/")[0] for name in storage.walk(stages) if "/" in name}
    for name in sorted(folders - {DEMO}):
        storage.remove(storage.join(stages, name))


@contextmanager
def _still_ours(lease: Lease) -> Iterator[None]:
    """Raise LeaseLost, where so it is, for what ends a block early: jobs of this output are another run's then."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            lease.sure()
        raise


def _tell(console: Console, journal: Journal, event: str, **what: str) -> None:
    """Log what happens to jobs elsewhere, and say what its user waits for or has to do himself.

    Raises LeaseLost for a job that is about to be submitted to a folder that is another run's.
    """
    if event == "submitted":
        journal.lease.sure()
    journal.event(event, **what)
    if event == "cancelling":
        console.print(f"cancelling the job {what['job']} on {what['place']} …", highlight=False)
    elif event == "not_cancelled":
        console.print(f"a job may still run: {what['error']}", highlight=False)


def _show(line: Line, corpus: Corpus, facts: dict[str, Any], ask: Asked, console: Console, seconds: float) -> None:
    """Print what came of the run, and where it is."""
    console.print(table(corpus, seconds))
    if again := facts.get("asked_again", asked_again(line)):
        console.print(f"requests to the store that failed and were made again: {again:,}")
    if "labels" in facts:
        show(facts["labels"], console)
    if line.config.sample < 1:
        console.print(projection(corpus, line.config, line.manifests))
    if corpus.merged is not None:
        console.print(f"results: {line.output}", highlight=False)
        if ask.until == "report":
            console.print(f"report: {storage.join(line.output, 'report.html')}", highlight=False)


def _note_plan(plan: Plan, output: str, console: Console, journal: Journal) -> None:
    """Say what the plan is, and what of its inputs is not as the last start saw it: ingest then begins anew."""
    different = changes(output, plan)
    if different:
        console.print(f"{different}; ingest begins anew", highlight=False)
        journal.event("inputs_changed", change=different)
    remember(output, plan)
    journal.event("planned", files=plan.files, bytes=plan.size, shards=len(plan.shards))


def _score(ask: Asked, config: Config, output: str, console: Console, given: Mapping[str, Any]) -> int:
    """Let the TransNormers read this rank's shards, on this rank's GPU where it has one; return the exit code."""
    rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    settle()
    with claimed_by_rank(output, rank, count, partial(console.print, highlight=False)) as lease:
        journal = open_journal(lease, given)

        def work() -> Ended:
            with lease.renewed(), display(console, journal) as shown:
                line = Line(config, output, Rank(rank, count, ".score"), shown, only=ask.only)
                try:
                    clean.clean(line, planned(config, output), ask)
                except Paused as paused:
                    journal.end("paused", said(paused))
                    return partial(console.print, f"rank {rank} of {count}: {paused}")
            journal.end("finished")
            return lambda: None

        code, show_result = _to_its_end(work, output, journal)
    show_result()
    return code


def _to_its_end(work: Callable[[], Ended], output: str, journal: Journal) -> tuple[int, Ended]:
    """Work, and let the journal know what ends it early; return the exit code and what shows the result."""
    try:
        return 0, work()
    except ConfigError as error:
        journal.end("failed", str(error))
        raise
    except (KeyboardInterrupt, SystemExit):  # the latter is rich's when nobody reads what it prints any more
        journal.end("stopped")
        raise
    except Exception as error:  # noqa: BLE001 - its user reads one line, the log has the rest
        return _failed(journal, output, error), lambda: None


def _failed(journal: Journal, output: str, error: Exception) -> int:
    """Say in one line what went wrong and keep the detail."""
    line = _line(error, output)
    journal.end("failed", line, error)
    detail = f"detail in {journal.path}" if not journal.trouble else f"{journal.path}: {journal.trouble}"
    print(f"failed: {line} ({detail})", file=sys.stderr)
    return 1


def _line(error: Exception, output: str) -> str:
    """Return the line that a user reads of an error."""
    line = str(error) if isinstance(error, RunFailed | StoreFailed | LeaseLost | InputChanged) else said(error)
    return with_remedy(line.partition(chr(10))[0], output)

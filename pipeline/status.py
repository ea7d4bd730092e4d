"""The state of a run, from any terminal or machine that sees its folder: `python -m pipeline.status OUT`.

Reads OUT/.lock and OUT/run.log, those of the ranks of --score-only, too, and OUT/run.json of a finished run, and
writes nothing. Exit code 0: the state was read; 2: no output folder of a run.
"""

import argparse
import sys
import textwrap
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.counted import counted
from pipeline.journal import FINISHED, LOG, LOG_FOLDER, REUSED
from pipeline.lease import (
    MARK,
    RENEW_SECONDS,
    RUNNING,
    Holder,
    holder_of,
    lives,
    lock_content,
    parse,
    plain_time,
)
from pipeline.ranks import rank_folders

TAIL_BYTES = 1_000_000  # of the log that are read
WATCH_SECONDS = 2.0
WIDTH = 120  # characters of a line of finished stages
PUBLISHES = "publish.merge"  # the last stage of a start that fills the folder
READ, KEPT = "documents", "kept after self-cleaning"  # among the counts of run.json
DEAD, UNKNOWN = "dead", "unknown"  # of a run that said no end; of a folder of a version that kept no account


class NoOutput(Exception):  # noqa: N818 - what is the case
    """What was named is no output folder; the message says so."""


@dataclass(frozen=True, slots=True)
class Status:
    """A run as its folder shows it."""

    output: str
    state: str  # running, dead, finished, paused, stopped, failed, or unknown
    holder: Holder | None
    seen: float | None  # seconds since the lock was renewed, by two clocks
    stage: dict[str, Any] = field(default_factory=dict)  # at work, or at its end
    stages: tuple[dict[str, Any], ...] = ()  # finished, in order
    failure: dict[str, Any] = field(default_factory=dict)  # the last one that no start has got over
    published: bool = False
    counts: dict[str, int] = field(default_factory=dict)  # documents at each step, where this start filled the folder
    ranks: tuple["Status", ...] = ()  # of --score-only, by number


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    line = argparse.ArgumentParser(prog="python -m pipeline.status", description=__doc__, allow_abbrev=False,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    line.add_argument("output", metavar="OUT", help="the output folder, or URL, of a run")
    line.add_argument("--json", action="store_true", help="print it as JSON")
    line.add_argument(
        "--watch", action="store_true", help="show it anew every two seconds until the run, and its ranks, end"
    )
    return line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line and return the exit code."""
    asked = parser().parse_args(arguments)
    console = Console(soft_wrap=True, markup=False, highlight=False)
    try:
        status = read_status(asked.output.rstrip("/"))
        if asked.json:
            sys.stdout.buffer.write(orjson.dumps(asdict(status), option=orjson.OPT_INDENT_2) + b"\n")
        elif asked.watch:
            watch(status, console)
        else:
            console.print(shown(status))
    except NoOutput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def watch(status: Status, console: Console) -> None:
    """Show a run until it ends."""
    with Live(shown(status), console=console, auto_refresh=False) as live:
        while any(one.state == RUNNING for one in (status, *status.ranks)):
            time.sleep(WATCH_SECONDS)
            status = read_status(status.output)
            live.update(shown(status), refresh=True)


def read_status(output: str) -> Status:
    """Read a run's state; raises NoOutput for what is no output folder."""
    try:
        content = lock_content(output)
        if not content.startswith(MARK):
            raise NoOutput(f"{output} is no output folder of pipeline.run: it has no .lock of one")
        holder = parse(content)
        events, files = read_log(output, holder.run if holder else ""), names(output)
        mine = [event for event in events if holder is not None and event["run"] == holder.run]
        stages = tuple(_stage(event) for event in mine if event["event"] in {FINISHED, REUSED})
        filled = holder is not None and holder.state == "finished" and PUBLISHES in {one["stage"] for one in stages}
        counts = _counts(output) if filled else {}
        ranks = _ranks(output)
    except (OSError, ValueError) as error:
        raise NoOutput(f"{output} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    published = "_SUCCESS" in files
    if holder is None:
        return Status(output, UNKNOWN, None, None, published=published, ranks=ranks)
    return Status(
        output,
        _state(output, holder),
        holder,
        _age(holder.at),
        holder.doing,
        stages,
        _failure(events),
        published=published,
        counts=counts,
        ranks=ranks,
    )


def _counts(output: str) -> dict[str, int]:
    """Return how many documents each step of a finished run left; nothing where its run.json does not say."""
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        return dict(orjson.loads(_read(output, "run.json"))["counts"])
    return {}


def _read(output: str, name: str) -> bytes:
    if "://" not in output:
        return (Path(output) / name).read_bytes()
    from pipeline import storage

    with storage.open_input(storage.join(output, name)) as file:
        return bytes(file.read())


def _failure(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the last failure that no start has got over since."""
    last: dict[str, Any] = {}
    for event in events:
        if event["event"] in {"failed", "finished", "paused"}:
            last = event if event["event"] == "failed" else {}
    return last


def _ranks(output: str) -> tuple[Status, ...]:
    """Return the ranks that read, or have read; those of other machines are watched side by side."""

    def found(folder: str) -> Status | None:
        with suppress(NoOutput):  # it begins, or is tidied away, at this moment
            return read_status(folder)
        return None

    with ThreadPoolExecutor() as pool:
        return tuple(filter(None, pool.map(found, rank_folders(output))))


def _stage(event: dict[str, Any]) -> dict[str, Any]:
    return {"stage": event["stage"], "seconds": event["seconds"], "reused": event["event"] == REUSED}


def _age(stamp: str) -> float:
    return round((datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds(), 1)


def _state(output: str, holder: Holder) -> str:
    """Return the state that a lock tells, or `dead`.

    A process of this machine is there or not. Of another machine a fresh beat is taken for life; where the two clocks
    do not agree on one, the lock is watched for a beat.
    """
    if holder.state != RUNNING:
        return holder.state
    alive = lives(holder)
    if alive is None:
        alive = 0 <= _age(holder.at) <= 2 * RENEW_SECONDS
    until = time.monotonic() + 1.5 * RENEW_SECONDS
    while not alive and lives(holder) is None and time.monotonic() < until:
        time.sleep(0.5)
        there = holder_of(output)
        alive = there is not None and there.beat != holder.beat
    return RUNNING if alive else DEAD


def names(output: str) -> list[str]:
    """Return the names of the files directly in an output folder."""
    if "://" not in output:
        return [path.name for path in Path(output).iterdir()]
    from pipeline import storage

    return storage.names(output)


def read_log(output: str, run: str = "") -> list[dict[str, Any]]:
    """Return the last events of a log, those of `run` among them; a line that was cut off is left out."""
    events = []
    for line in _tail(output, run).splitlines():
        try:
            event = orjson.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and {"event", "run", "time"} <= event.keys():
            events.append(event)
    return events


def _tail(output: str, run: str) -> bytes:
    if "://" not in output:
        path = Path(output) / LOG
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return file.read()
    from pipeline import storage

    folder = storage.join(output, LOG_FOLDER)
    found, parts = sorted(storage.names(folder), key=lambda name: (run in name, name)), []
    for name in found[-2:]:  # of the last start, and of one before
        with storage.open_input(storage.join(folder, name)) as file:
            parts.append(file.read())
    return b"".join(parts)


def shown(status: Status) -> Text:
    """Return a status as people read it."""
    lines = [status.output, f"  {_headline(status)}"]  # a live view cuts long lines
    if status.holder is not None:
        lines.append(f"  {status.holder}; last sign of life {_ago(status.seen)}")
    if status.stage and status.state not in {"finished", "paused"}:
        lines.append(f"  {_progress(status.stage)}")
    lines += _in_all(status) if status.state == "finished" else _finished(status.stages)
    if status.failure:
        lines.append(f"  last failure, {plain_time(status.failure['time'])}: {status.failure.get('error', '')}")
    return Text("\n".join([*lines, *map(_rank_line, status.ranks)]))


def _finished(stages: Sequence[dict[str, Any]]) -> list[str]:
    """Return lines of finished stages, each stage within one of them; no line where there are none."""
    if not stages:
        return []
    done = [f"{one['stage']} {one['seconds']:,.1f} s{' (before)' if one['reused'] else ''}" for one in stages]
    words = ", ".join(one.replace(" ", "\N{NO-BREAK SPACE}") for one in done)
    lines = textwrap.wrap(f"  finished stages: {words}", WIDTH, subsequent_indent="    ", break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _in_all(status: Status) -> list[str]:
    """Return the line of what a finished start did and left; none where its log does not say."""
    own = [one["seconds"] for one in status.stages if not one["reused"]]
    before = len(status.stages) - len(own)
    parts = [f"{counted(len(own), 'stage')} in {_span(sum(own))}"] if own else []
    parts += [f"{counted(before, 'stage')} finished before"] if before else []
    if {READ, KEPT} <= status.counts.keys():
        parts.append(f"{status.counts[KEPT]:,} of {counted(status.counts[READ], 'document')} kept")
    return [f"  {' · '.join(parts)}"] if parts else []


def _rank_line(rank: Status) -> str:
    """Return the line of one rank, whose folder is named by it."""
    number, _, count = rank.output.rpartition("/")[2].partition("-of-")
    parts = [f"rank {number} of {count}: {rank.state}"]
    if rank.state in {RUNNING, DEAD}:
        parts += [f"{rank.holder}, last sign of life {_ago(rank.seen)}"]
        parts += [_progress(rank.stage)] if rank.stage else []
    elif rank.state == "failed":
        parts += [rank.failure.get("error", "")]
    return "  " + " · ".join(parts)


def _headline(status: Status) -> str:
    results = "results are there" if status.published else "no results yet"
    said = {
        RUNNING: "running",
        DEAD: "dead: its process ended without a word; the same command goes on from here",
        "stopped": "stopped; the same command goes on from here",
        "failed": "failed; when the cause is gone, the same command goes on from here",
        "finished": "finished",
        "paused": "paused, as asked",
        UNKNOWN: "an earlier version's, which kept no account of its runs",
    }
    return f"{said.get(status.state, status.state)} · {results}"


def _ago(seconds: float | None) -> str:
    if seconds is None or seconds < 0:
        return "at a time that lies ahead of this machine's clock"
    return f"{_span(seconds)} ago"


def _span(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _progress(stage: dict[str, Any]) -> str:
    """Return what is done of a stage, as the run's own display says it."""
    if "done" not in stage:
        return f"{stage['stage']}: begun"
    seconds = max(stage["seconds"], 1e-3)
    parts = [f"{stage['stage']}: {stage['done']:,} of {max(stage['total'], stage['done']):,}"]
    if "documents" in stage:
        parts.append(f"{counted(stage['documents'], 'document')}, {stage['documents'] / seconds:,.0f}/s")
    if "bytes" in stage:
        parts.append(f"{stage['bytes'] / seconds / 1e6:,.1f} MB/s")
    if "note" in stage:
        parts.append(stage["note"])
    if "seconds_left" in stage:
        parts.append(f"about {_span(stage['seconds_left'])} left in this stage")
    return " · ".join(parts)


if __name__ == "__main__":
    sys.exit(main())

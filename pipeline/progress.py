"""What a person sees while it runs: a line a stage, on a terminal a live bar below; and what its journal is told.

Stages in a row that earlier starts finished are one line.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from pipeline.counted import counted
from pipeline.journal import FINISHED, PROGRESS, REUSED, STARTED, Journal
from pipeline.stage import Manifest, Record

PLAIN_SECONDS = 10.0  # between two lines of a stage where the output is no terminal
QUIET_SECONDS = 30.0  # after which a line comes though nothing is done: some tasks take minutes


@dataclass(slots=True)
class Display:
    """One line a stage: tasks done of total, documents and bytes a second, kept and rejected, time left."""

    console: Console
    live: Progress | None = None
    journal: Journal | None = None
    _printed: float = field(default=0.0)
    _before: list[str] = field(default_factory=list)  # stages that earlier starts finished and nobody has read of yet

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Callable[[int, Sequence[Record], str], None]]:
        """Show a stage while the block runs; the block calls what it is given with total, new records and a note."""
        self.tell_before()
        seen = _Seen(name, time.monotonic())
        task = self.live.add_task(name, total=None, note="") if self.live else None

        def watch(total: int, records: Sequence[Record], inside: str) -> None:
            seen.add(total, records, inside)
            self._show(seen, task)
            self._tell(PROGRESS, **seen.counts())

        self._tell(STARTED, stage=name)
        yield watch
        self._show(seen, task, final=True)
        self._tell(FINISHED, **seen.counts())

    def passed(self, manifest: Manifest) -> None:
        """Take note of a stage that an earlier start finished; those in a row are one line."""
        self._before.append(manifest.stage.name)
        self._tell(REUSED, stage=manifest.stage.name, seconds=manifest.seconds)

    def _tell(self, event: str, **counts: Any) -> None:
        if self.journal is not None:
            self.journal.stage(event, **counts)

    def _show(self, seen: "_Seen", task: TaskID | None, *, final: bool = False) -> None:
        if self.live is not None and task is not None and not final:
            note = f"{seen.note()}{seen.left()}"
            self.live.update(task, total=max(seen.total, seen.done) or None, completed=seen.done, note=note)
        elif not seen.complete and (final or self._due(seen)):
            if self.live is not None and task is not None:
                self.live.remove_task(task)
            so_far = "" if seen.changed or final else f" · {time.monotonic() - seen.started:,.0f} s so far"
            self._printed, seen.changed = time.monotonic(), False
            seen.complete = seen.done >= seen.total > 0
            done = f"{seen.name}: {seen.done} of {max(seen.total, seen.done)} · {seen.note()}".rstrip(" ·")
            self.say(f"{done}{seen.left()}{so_far}")

    def _due(self, seen: "_Seen") -> bool:
        """Tell whether a stage has something new to say, or has said nothing for long."""
        quiet = time.monotonic() - max(self._printed, seen.started) > QUIET_SECONDS
        return quiet or (seen.changed and time.monotonic() - self._printed > PLAIN_SECONDS)

    def tell_before(self) -> None:
        """Say which stages in a row earlier starts finished."""
        if self._before:
            first, last, count = self._before[0], self._before[-1], len(self._before)
            self._before = []
            self.say(f"{first}: finished before" if count == 1 else f"{first} … {last}: {count} stages finished before")

    def say(self, line: str) -> None:
        """Print a line of its own."""
        self.tell_before()
        self.console.print(line, highlight=False)


@dataclass(slots=True)
class _Seen:
    """Counts of one stage so far."""

    name: str
    started: float
    total: int = 0
    done: int = 0
    documents: int = 0
    bytes: int = 0
    kept: int = 0
    rejected: int = 0
    text: str = ""
    changed: bool = False  # since it was last shown
    complete: bool = False  # its last line was shown
    first: tuple[float, int] | None = None  # when something was done, and how much: in part by earlier starts

    def add(self, total: int, records: Sequence[Record], inside: str) -> None:
        self.changed |= bool(records) or inside not in {"", self.text}
        self.text = inside or self.text
        self.total = total
        self.done += len(records)
        if self.first is None and self.done:
            self.first = time.monotonic(), self.done
        for record in records:
            self.documents += record.get("documents", 0)
            self.bytes += record.get("bytes", 0)
            self.kept += record.get("kept", 0)
            self.rejected += record.get("rejected", 0)
            self.text = record.get("note", self.text)

    def seconds_left(self) -> float | None:
        """Return how long the rest will take at the speed so far; None before anything can be said."""
        if not 0 < self.done < self.total or self.first is None:
            return None
        since, before = self.first if self.done > self.first[1] else (self.started, 0)
        return (time.monotonic() - since) / (self.done - before) * (self.total - self.done)

    def left(self) -> str:
        """Say how long the rest will take."""
        seconds = self.seconds_left()
        return "" if seconds is None else f" · about {seconds:,.0f} s left"

    def counts(self) -> dict[str, Any]:
        """Return what has been done, for the journal."""
        left = self.seconds_left()
        seconds = round(time.monotonic() - self.started, 3)
        named = {"stage": self.name, "done": self.done, "total": self.total, "seconds": seconds}
        more = {name: getattr(self, name) for name in ("documents", "bytes", "kept", "rejected") if getattr(self, name)}
        inside = {"note": self.text[:200]} if self.text else {}
        timed = {"seconds_left": round(left)} if left is not None else {}
        return {**named, **more, **timed, **inside}

    def note(self) -> str:
        """Say what has been done, and how fast."""
        seconds = max(time.monotonic() - self.started, 1e-3)
        parts = []
        if self.documents:
            parts.append(f"{counted(self.documents, 'document')}, {self.documents / seconds:,.0f}/s")
        if self.bytes:
            parts.append(f"{self.bytes / seconds / 1e6:.1f} MB/s")
        if self.kept or self.rejected:
            parts.append(f"{self.kept:,} kept, {self.rejected:,} rejected")
        return " · ".join([*parts, self.text] if self.text else parts)


@contextlib.contextmanager
def display(console: Console, journal: Journal | None = None) -> Iterator[Display]:
    """Open the display that fits the console."""
    with _live(console) as live:
        shown = Display(console, live, journal)
        try:
            yield shown
        finally:
            shown.tell_before()


def _live(console: Console) -> contextlib.AbstractContextManager[Progress | None]:
    """Return the live part of a display, which only a terminal has."""
    if not console.is_terminal:
        return contextlib.nullcontext()
    rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=12),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[note]}", markup=False, style="dim", table_column=rest),
    )
    return Progress(*columns, console=console, expand=True, transient=True)

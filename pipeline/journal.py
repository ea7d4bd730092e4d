"""Journal: what a run says of itself while it works, for those who watch it and for those who come later.

    OUT/run.log        one JSON object a line and event, of all starts: time (UTC), event, run, host, pid, and more
    OUT/.lock          what is being done now (lease.py), written over every ten seconds

Events: started, taken_over, inputs_changed, planned, stage_started, submitted (a job elsewhere, by its name there),
cancelling and not_cancelled (such a job), stage_progress, stage_finished, stage_reused, and at the end finished,
paused, stopped or failed (with `error`, the one line, and `traceback`). Progress has a line every PROGRESS_SECONDS at
most, and later every twentieth of the time that the stage has taken, so that a stage has some two hundred lines however
long it runs. A log of LOG_BYTES goes to run.log.1 at the next start.

Nothing can be appended to in an object store: there each start has an object of its own, OUT/log/TIME-RUN.jsonl, put
anew every PUT_SECONDS at most and at the end; what a killed run said in its last seconds is lost with it.
"""

import contextlib
import errno
import os
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pipeline.lease import Lease, LeaseLost, now

LOG, LOG_FOLDER = "run.log", "log"
LOG_BYTES = 10_000_000
PROGRESS_SECONDS, PROGRESS_SHARE = 30.0, 0.05
PUT_SECONDS = 30.0
STARTED, PROGRESS, FINISHED, REUSED = "stage_started", "stage_progress", "stage_finished", "stage_reused"
ENDS = ("finished", "paused", "stopped", "failed")


@dataclass(slots=True)
class Journal:
    """The log of one start, and its lease, which shows what is being done."""

    lease: Lease
    path: str
    trouble: str = ""  # why the last line could not be written
    _lines: list[bytes] = field(default_factory=list)  # of this start, in a store
    _put: float = 0.0
    _stage: float = 0.0  # when the stage began
    _progress: float = 0.0  # when its last line was written

    def event(self, name: str, **what: Any) -> None:
        """Write a line; that the log cannot be written is no reason to fail."""
        holder = self.lease.holder
        head = {"time": now(), "event": name, "run": holder.run, "host": holder.host, "pid": holder.pid}
        line = orjson.dumps(head | what, default=str, option=orjson.OPT_NON_STR_KEYS) + b"\n"
        try:
            self._append(line, last=name in ENDS)
            self.trouble = ""
        except OSError as error:
            self.trouble = error.strerror or str(error)

    def _append(self, line: bytes, *, last: bool) -> None:
        if "://" not in self.path:
            _append(self.path, line)
            return
        from pipeline import storage

        self._lines.append(line)
        if last or len(self._lines) == 1 or time.monotonic() - self._put > PUT_SECONDS:
            self._put = time.monotonic()
            with storage.create(self.path) as file:
                file.write(b"".join(self._lines))

    def stage(self, event: str, **counts: Any) -> None:
        """Take note of a stage; raises LeaseLost where the folder is no longer this run's."""
        self.lease.check()
        self.lease.doing(**counts)
        elapsed = time.monotonic()
        if event == STARTED:
            self._stage = self._progress = elapsed
            with contextlib.suppress(OSError):
                self.lease.renew()
        wait = max(PROGRESS_SECONDS, PROGRESS_SHARE * (elapsed - self._stage))
        if event != PROGRESS or elapsed - self._progress > wait:
            self._progress = elapsed
            self.event(event, **counts)

    def end(self, state: str, line: str = "", error: BaseException | None = None) -> None:
        """Say how the run ended, in the log and in the lock."""
        said = {"error": line} if line else {}
        detail = {"traceback": "".join(traceback.format_exception(error))} if error else {}
        self.event(state, **said, **detail)
        if self.trouble and detail:  # on a full disk there may be room for the line at least
            trouble = self.trouble
            self.event(state, **said)
            self.trouble = trouble
        with contextlib.suppress(LeaseLost, OSError):
            self.lease.renew(state)


def _append(path: str, line: bytes) -> None:
    """Append a line, whole or not at all."""
    with Path(path).open("ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        if file.write(line) < len(line):
            file.truncate(end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def open_journal(lease: Lease, asked: Mapping[str, Any]) -> Journal:
    """Begin the log of a start."""
    name = f"{LOG_FOLDER}/{lease.holder.since[:19].replace(':', '')}-{lease.holder.run}.jsonl"
    journal = Journal(lease, f"{lease.output}/{name if '://' in lease.output else LOG}")
    if "://" not in journal.path:
        with contextlib.suppress(OSError):
            if Path(journal.path).stat().st_size > LOG_BYTES:
                Path(journal.path).replace(journal.path + ".1")
    journal.event("started", asked=asked, folder=str(Path.cwd()))
    if lease.before is not None:
        journal.event("taken_over", last=lease.before.run, holder=str(lease.before), beat=lease.before.at)
    return journal

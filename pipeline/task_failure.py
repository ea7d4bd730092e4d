"""Task failure: a worker elsewhere leaves what ends the run in a file, and the launcher finds it.

Raised, an error would be the runner's to try again, unseen by anyone: Flink restarts the whole job, so that all its
tasks begin anew, and Dataflow tries four times, for a full disk and a changed input as for a machine that died. The
file bears its job's name, beside whose file it lies: no job can fail that of another start.
"""

import contextlib
import os
import socket
import time
import traceback
import uuid
from pathlib import Path

import orjson

from pipeline import storage
from pipeline.execute import RunFailed
from pipeline.failure import said, with_remedy

ROOM = 1 << 16  # bytes kept for a failure, which on a full disk is that the disk is full
MOST_LINE = 2000  # characters of its error
PATIENCE_SECONDS = 2.0


def keep_room(job: str) -> None:
    """Take up on a disk what a job's failure will need; random, so that no disk compresses it."""
    if storage.is_local(job):
        with storage.create(_room_of(job)) as file:
            file.write(os.urandom(ROOM))


def _room_of(job: str) -> str:
    return job.partition(".pickle")[0] + ".room"


def failure_of(job: str) -> str:
    """Return the path of what ends a job, by the path of its file."""
    return job.partition(".pickle")[0] + ".failed.json"


def leave(error: Exception, job: str, output: str) -> None:
    """Write down what ends a job, with this host; raises it in one line where the job's own file is gone, or no room.

    The error itself goes nowhere: its class need not be picklable, or known to the launcher. What another task leaves
    is enough: on a full disk all fail at once, and there is room for one.
    """
    line = with_remedy(f"on {socket.gethostname()}: {said(error)[:MOST_LINE]}", output)
    with contextlib.suppress(OSError):
        if storage.exists(job):
            _write(_fitting(line, "".join(traceback.format_exception(error))), job)
            return
    if not _left_by_another(job):
        raise RunFailed(line) from None


def _fitting(line: str, trace: str) -> bytes:
    """Return a failure as JSON that fits into the room: of a long traceback the end."""
    while len(left := orjson.dumps({"line": line, "traceback": trace})) > ROOM and trace:
        trace = trace[len(trace) // 2 + 1 :]
    return left


def _write(left: bytes, job: str) -> None:
    """Write a failure over the room that was kept, which no other task can take then; else to a new file.

    A file system that writes elsewhere than in place has no room for it on a full disk before the old goes.
    """
    mine = Path(f"{_room_of(job)}.{uuid.uuid4().hex}.tmp")
    if storage.is_local(job) and storage.exists(_room_of(job)):
        Path(_room_of(job)).replace(mine)  # one task can
        with contextlib.suppress(OSError):
            with mine.open("r+b") as file:
                file.write(left)
                file.truncate()
            mine.replace(failure_of(job))
            return
        mine.unlink(missing_ok=True)
    with storage.create(failure_of(job)) as file:
        file.write(left)


def _left_by_another(job: str) -> bool:
    """Tell whether another task of this machine's disk has left a failure, or is about to."""
    until = time.monotonic() + PATIENCE_SECONDS
    with contextlib.suppress(OSError):
        while storage.is_local(job) and storage.exists(job) and time.monotonic() < until:
            if storage.exists(failure_of(job)):
                return True
            time.sleep(PATIENCE_SECONDS / 10)
    return False


def check(job: str) -> None:
    """Raise RunFailed, in the worker's line, for a job that failed."""
    if storage.exists(failure_of(job)):
        left = storage.read_json(failure_of(job))
        raise RunFailed(left["line"]) from RuntimeError(left["traceback"])

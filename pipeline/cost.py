"""Cost: what a task takes of the process that does it."""

import contextlib
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.object_store import TRIES

PROC = Path("/proc/self")
RESET_PEAK = "5"  # proc(5), clear_refs


@dataclass(frozen=True, slots=True)
class Mark:
    """How things stood when a task began."""

    wall: float
    cpu: float
    written: int
    again: int


def begin() -> Mark:
    """Begin to measure; the process's largest size is forgotten, where the system allows it."""
    with contextlib.suppress(OSError):  # it stays the largest since the process began
        (PROC / "clear_refs").write_text(RESET_PEAK)
    return Mark(time.monotonic(), time.process_time(), _written(), TRIES.again)


def since(mark: Mark) -> dict[str, Any]:
    """Return what was taken since then.

    `peak_bytes` is the largest resident size of the process, `written_bytes` what it handed to write calls,
    `asked_again` the requests to a store that had to be made once more.
    """
    return {
        "seconds": round(time.monotonic() - mark.wall, 3),
        "cpu_seconds": round(time.process_time() - mark.cpu, 3),
        "peak_bytes": _peak(),
        "written_bytes": _written() - mark.written,
        "asked_again": TRIES.again - mark.again,
    }


def _written() -> int:
    """Return the bytes that this process has handed to write calls, 0 where the system does not say."""
    return _number("io", "wchar:")


def _peak() -> int:
    """Return the largest resident size in bytes."""
    return _number("status", "VmHWM:") * 1024 or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _number(name: str, field: str) -> int:
    try:
        lines = (PROC / name).read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(field)), 0)

"""Failure: what a person reads of an error, in one line."""

import errno
import re
import tempfile
from shutil import disk_usage

HOPELESS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOENT, errno.EACCES, errno.EPERM}
)  # not tried again
_STEP = re.compile(r" \[while running '[^']*'\]$")  # Beam's addition
_WRAPPED = re.compile(r"^RuntimeError: (?=[\w.]+: )")  # an error that Beam could not make again, named in its text
_OURS = re.compile(r"^(pipeline\.\w+\.)?(InputChanged|RunFailed|StoreFailed): ")  # say all in their sentences
_GOES_ON = re.compile(r"^(.*:)\s*\n\s*")  # a first line that says nothing yet: Dataflow's "…, Error:"
_FULL = re.compile(r"No space left on device|Disk quota exceeded")
_REMEDY = "make room, and the same command goes on from here"


class InputChanged(Exception):  # noqa: N818 - what happened to the input, not an error of the run
    """An input is not what it was when the run was planned; the message is the one line that its user reads."""


def said(error: BaseException) -> str:
    """Return the name of an error and its first line; of a worker elsewhere, what its traceback ends with."""
    text = str(error).strip()
    _, remote, trace = text.rpartition("Traceback (most recent call last):\n")
    if remote:
        line = next((line for line in trace.splitlines() if line and not line.startswith(" ")), "no reason given")
    else:
        first = _GOES_ON.sub(r"\1 ", text).partition("\n")[0]  # a MemoryError, say, has no text
        line = ": ".join([type(error).__name__, *([first] if first else [])])
    return _OURS.sub("", _WRAPPED.sub("", _STEP.sub("", line)))


def with_remedy(line: str, output: str) -> str:
    """Add to the line of a full disk how much is free where, and what to do; a worker's has it, of its own disks."""
    if not _FULL.search(line) or _REMEDY in line:
        return line
    named = {} if "://" in output else {output: output}
    try:
        named[tempfile.gettempdir()] = f"{tempfile.gettempdir()} (TMPDIR)"  # there a file is written before it is put
    except OSError:  # none of the places that Python knows takes a file
        return f"{line}; no temporary folder takes a file; {_REMEDY}"
    free = ", ".join(f"{disk_usage(place).free / 1e6:,.1f} MB in {name}" for place, name in named.items())
    return f"{line}; free now: {free}; {_REMEDY}"

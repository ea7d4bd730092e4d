"""What a command costs: a small process of its own starts it and looks.

A process that starts another hands on its own largest size: Linux counts what was resident before exec. A test process
that holds gigabytes would measure itself.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """What a command and all processes under it took."""

    returncode: int
    stderr: str
    wall: float  # seconds
    cpu: float  # seconds, of all processes
    peak_mb: float  # MiB resident, of the largest process


def measured(command: list[str], timeout: float | None = None) -> Cost:
    """Run a command without its output and return what it took.

    Raises subprocess.TimeoutExpired after so many seconds, when the command and all under it have been killed.
    """
    pipe = subprocess.PIPE
    line = [sys.executable, __file__, *command]
    with subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            facts, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return Cost(stderr=stderr, **json.loads(facts))


def main() -> None:
    """Run the command that the arguments are, and print the numbers."""
    began = time.monotonic()
    done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=False)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    facts = {
        "returncode": done.returncode,
        "wall": time.monotonic() - began,
        "cpu": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()

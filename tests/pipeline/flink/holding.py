"""Stops a worker in the middle of a task: a process that imports this stops itself where a test asked for it.

The tests' pool of workers preloads it. An audit hook sees every file that is given its name, so a worker stops when it
has written the first of its task's files and before that is one: nothing of the task is recorded, and it cannot end.
"""

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path

ASKED = Path(os.environ["LUSTRATE_HOLD"])  # the file that asks: how many tasks are recorded first, and a stage's folder


def hold(event: str, arguments: tuple[object, ...]) -> None:
    """Stop where a file of that stage is to be named; the first process that comes takes the request, by its id."""
    if event != "os.rename" or not str(arguments[0]).endswith(".tmp"):
        return
    with contextlib.suppress(FileNotFoundError):  # nothing is asked for, or another process was faster
        least, folder = ASKED.read_text().split(maxsplit=1)
        if not str(arguments[0]).startswith(f"{folder}/") or len(list(Path(folder).glob("done/*.json"))) < int(least):
            return
        ASKED.rename(f"{ASKED}-{os.getpid()}")
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # another thread might be slow to take it


sys.addaudithook(hold)

"""Lease: an output folder is a run's for as long as the run shows life.

    OUT/.lock    lustrate
                 {"run": …, "host": …, "pid": …, "since": …, "beat": 17, "state": "running", "doing": {…}, …}

A run writes its lock anew every RENEW_SECONDS. Who meets the lock of a run that has not ended watches it: when it does
not change within LIFETIME_SECONDS, it is taken over. No two clocks are compared, so one that was set back, and a lock
from the future, change nothing. On one machine nobody waits: there flock ends with the process that holds it, and a
process is there or not.

Nobody writes over a lock that he has not read (pipeline/lock.py). A run stops as soon as it knows that another has its
folder. Before each name of its results that it changes it must be sure of its lock: where that was last written
RENEW_SECONDS ago, as when the run was frozen, it is written again first.
"""

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from pipeline.lock import NAME, SIZE, Changed, Place, place_of

MARK = b"lustrate\n"  # so that a folder is known to be ours
RUNNING = "running"
RENEW_SECONDS = 10.0
LIFETIME_SECONDS = 60.0
LOOK_SECONDS = 1.0  # between two looks at another's lock
ORPHANS_SECONDS = 20.0  # that workers may live on whose run was killed


class Taken(Exception):  # noqa: N818 - what is the case, not an error of its code
    """Another run holds the folder; the message says which."""


class NoExclusion(Exception):  # noqa: N818 - what the place is like
    """A place keeps no two runs apart; the message says what it did."""


class LeaseLost(Exception):  # noqa: N818 - what happened to the run
    """Another run has taken the folder over; the message is the one line that this run's user reads."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a folder, and how he is."""

    run: str
    host: str
    pid: int
    began: str  # when the process began, in ticks of its boot: a process id comes again
    boot: str  # of the machine: where the id of another process means anything
    space: str  # of process ids: a container has its own
    since: str
    beat: int = 0
    at: str = ""  # of the last beat, for people: a clock may be wrong
    state: str = RUNNING  # or finished, paused, stopped, failed
    doing: dict[str, Any] = field(default_factory=dict)  # the stage, and what is done of it

    def __str__(self) -> str:
        """Name the process."""
        return f"process {self.pid} on {self.host} since {plain_time(self.since)}"


def now() -> str:
    """Return the time, UTC with its offset."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def plain_time(stamp: str) -> str:
    """Return a stored time as people read it."""
    return f"{stamp[:10]} {stamp[11:19]} UTC"


def myself() -> Holder:
    """Return the holder that this process would be."""
    space = ""
    with contextlib.suppress(OSError):
        space = str(Path("/proc/self/ns/pid").readlink())
    pid = os.getpid()
    return Holder(uuid.uuid4().hex[:12], socket.gethostname(), pid, _began(pid), _boot(), space, now())


def _elapsed() -> float:
    """Return the seconds since this machine was started, those in which it slept too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""  # unknown: then a silent lock is watched, also of this machine


def _began(pid: int) -> str:
    """Return when a process began (field 22 of /proc/PID/stat), empty where there is none."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    return ""


def lives(holder: Holder) -> bool | None:
    """Tell whether the holder's process is there; None where it cannot be seen from here."""
    here = myself()
    if not here.boot or (here.boot, here.space) != (holder.boot, holder.space):
        return None
    return _began(holder.pid) == holder.began


def pack(holder: Holder) -> bytes:
    """Return a lock's content, SIZE bytes: without what is being done where that does not fit."""
    content = MARK + orjson.dumps(asdict(holder))
    if len(content) >= SIZE:
        content = MARK + orjson.dumps(asdict(replace(holder, doing={})))
    return content.ljust(SIZE - 1) + b"\n"


def parse(content: bytes) -> Holder | None:
    """Return who a lock names: nobody where it is empty, or an earlier version's, which was its first line only."""
    known = {f.name for f in fields(Holder)}
    try:
        table = orjson.loads(content.removeprefix(MARK))
        return Holder(**{name: value for name, value in table.items() if name in known})
    except (ValueError, TypeError, AttributeError):
        return None


@dataclass(slots=True)
class Lease:
    """A folder that is held: renewed in the background, and asked before anything is published."""

    output: str
    place: Place
    holder: Holder
    version: str
    before: Holder | None = None  # from whom it was taken over
    lost: str = ""  # why it is no longer held
    _doing: dict[str, Any] = field(default_factory=dict)
    _sure: float = field(default_factory=_elapsed)  # when the lock was known to be this run's
    _turn: Any = field(default_factory=threading.Lock)

    def check(self) -> None:
        """Raise LeaseLost where another run is known to hold the folder."""
        if self.lost:
            raise LeaseLost(self.lost)

    def renew(self, state: str = "") -> None:
        """Show life, or how the run ended, which stays; raises LeaseLost, and what the place raises."""
        with self._turn:
            self._renew(state)

    def sure(self) -> None:
        """Raise LeaseLost where another run may hold the folder: asked anew where RENEW_SECONDS have passed."""
        with self._turn:
            self.check()
            if _elapsed() - self._sure > RENEW_SECONDS:
                self._renew()

    def _renew(self, state: str = "") -> None:
        self.check()
        began, beat = _elapsed(), self.holder.beat + 1
        self.holder = replace(self.holder, beat=beat, at=now(), state=state or self.holder.state, doing=self._doing)
        try:
            self.version = self.written()
        except Changed:
            who = parse(self.place.read()[0])
            by = f"by {who}" if who and who.run != self.holder.run else "or its lock was removed"
            self.lost = f"{self.output} was taken over {by}; this run stops and publishes nothing"
            self.check()
        self._sure = began

    def written(self) -> str:
        """Write the lock; a write that had arrived when its answer was lost is no other run's."""
        try:
            return self.place.write(pack(self.holder), self.version)
        except Changed:
            content, version = self.place.read()
            there = parse(content)
            if there is None or there.run != self.holder.run or version == self.version:
                raise
            return self.place.write(pack(self.holder), version)

    def doing(self, **what: Any) -> None:
        """Say what is being done; the next renewal shows it."""
        self._doing = what

    @contextlib.contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew while the block runs; begun after workers are forked, since it is a thread."""
        over = threading.Event()

        def keep() -> None:
            while not over.wait(RENEW_SECONDS) and not self.lost:
                with contextlib.suppress(LeaseLost, OSError):  # the latter is tried again: what matters asks itself
                    self.renew()

        thread = threading.Thread(target=keep, daemon=True)
        self.renew()
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def take(output: str, place: Place, say: Callable[[str], None]) -> Lease:
    """Take a folder; raises Taken where another run lives in it."""
    _await_flock(output, place)
    content, version = place.read()
    found = parse(content)
    if found is not None and found.state == RUNNING and not _is_over(place, found):
        found, version = _watched(output, place, found, say)
    before = found if found is not None and found.state == RUNNING else None
    if before is not None:
        say(f"taking over {output} from {before}, which ended without a word")
    lease = Lease(output, place, replace(myself(), at=now()), version, before)
    try:
        lease.version = lease.written()
    except Changed:
        raise Taken(_refusal(output, parse(place.read()[0]))) from None
    return lease


def refuse_living(output: str, say: Callable[[str], None]) -> None:
    """Raise Taken where another run lives in a folder; nothing is taken, and one of another machine is watched."""
    holder = holder_of(output)
    if holder is not None and holder.state == RUNNING and lives(holder) is not False:
        with place_of(output) as place:
            _watched(output, place, holder, say)


def prove_exclusion(lease: Lease) -> None:
    """Raise NoExclusion where the lock can be put over nothing, or over what it was, though it is there.

    Some stores accept conditions and ignore them. What they then put says that this run has failed, so that nobody
    waits for it.
    """
    before = lease.version
    lease.renew()
    ended = pack(replace(lease.holder, state="failed"))
    for version in ("", before):
        with contextlib.suppress(Changed):
            lease.place.write(ended, version)
            raise NoExclusion(
                f"{lease.output}: its store put a lock over one that is there, though told not to: it ignores "
                "conditions (If-None-Match, If-Match; ifGenerationMatch), so two runs could work there at once; "
                "name another place"
            )


def _is_over(place: Place, holder: Holder) -> bool:
    """Tell whether a run of this machine has ended, so that nobody need wait."""
    return lives(holder) is False or (place.flock() is True and holder.boot == _boot())


def _refusal(output: str, holder: Holder | None) -> str:
    return f"another run is working on {output}" + (f": {holder}" if holder else "")


def _await_flock(output: str, place: Place) -> None:
    """Wait for the flock where a killed run's workers still end; raises Taken where the run lives.

    One of another machine is not waited for: a file server may keep the flock of a machine that failed, so that run's
    lock must tell, as it does where there is no flock.
    """
    until = time.monotonic() + ORPHANS_SECONDS
    while place.flock() is False:
        holder = parse(place.read()[0])
        if holder is None or lives(holder):
            raise Taken(_refusal(output, holder))
        if lives(holder) is None:
            return
        if time.monotonic() > until:
            raise Taken(f"{_refusal(output, holder)}; it has ended, but a worker of it still runs")
        time.sleep(LOOK_SECONDS)


def _watched(output: str, place: Place, holder: Holder, say: Callable[[str], None]) -> tuple[Holder | None, str]:
    """Return a lock and its version that ended, or showed no life for its lifetime; raises Taken where it did."""
    if lives(holder):
        raise Taken(_refusal(output, holder))
    say(f"{output} is held by {holder}; watching for up to {LIFETIME_SECONDS:.0f} s whether it lives …")
    version, until = place.read()[1], time.monotonic() + LIFETIME_SECONDS
    while time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
        content, seen = place.read()
        there = parse(content)
        if there is None or there.state != RUNNING:
            return there, seen
        if seen != version:
            raise Taken(_refusal(output, there))
    return holder, version


def holder_of(output: str) -> Holder | None:
    """Return who holds or last held a folder, without touching it."""
    return parse(lock_content(output))


def lock_content(output: str) -> bytes:
    """Return what stands in the lock of a folder; empty where there is none."""
    if "://" not in output:
        path = Path(output) / NAME
        return path.read_bytes() if path.is_file() else b""
    with place_of(output) as place:
        return place.read()[0]

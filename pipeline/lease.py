"""Lease: an output folder is a run's for as long as the run shows life.

    OUT/.lock    lustrate
                 {"run": …, "host": …, "pid": …, "since": …, "beat": 17, "state": "running", "doing": {…}, …}

A run writes its lock anew every RENEW_SECONDS. Who meets the lock of a run that has not ended watches it: when it does
not change within LIFETIME_SECONDS, it is taken over. No two clocks are compared, so one that was set back, and a lock
from the future, change nothing. On one machine nobody waits: there flock ends with the process that holds it, and a
process is there or not.

Nobody writes over a lock that he has not read: in s3:// by conditional puts (If-None-Match, If-Match), which are
atomic; in a folder under its flock; elsewhere (a file system without flock, gs://) by reading again just before, so
that two runs that start in the same instant may both begin, and the one that finds the other's lock at its next renewal
stops. A run stops as soon as it knows. Before each name of its results that it changes it must be sure of its lock:
where that was last written RENEW_SECONDS ago, as when the run was frozen, it is written again first.
"""

import contextlib
import errno
import fcntl
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import orjson

T = TypeVar("T")

NAME = ".lock"
MARK = b"lustrate\n"  # so that a folder is known to be ours
RUNNING = "running"
RENEW_SECONDS = 10.0
LIFETIME_SECONDS = 60.0
LOOK_SECONDS = 1.0  # between two looks at another's lock
ORPHANS_SECONDS = 20.0  # that workers may live on whose run was killed
# Before a conditional put that met another one, and was not done, is sent again (S3 ConditionalRequestConflict).
CONFLICT_WAITS = (0.1, 0.5, 2.0)
SIZE = 2048  # of a lock on a disk: written in one piece over what was there, so that it needs no new space


class Taken(Exception):  # noqa: N818 - what is the case, not an error of its code
    """Another run holds the folder; the message says which."""


class LeaseLost(Exception):  # noqa: N818 - what happened to the run
    """Another run has taken the folder over; the message is the one line that this run's user reads."""


class Changed(Exception):  # noqa: N818 - what a place answers
    """The lock is not what it was when it was read."""


class Conflict(OSError):  # noqa: N818 - what a store answers
    """A put met another one and was not done: it says nothing of whose the lock is."""


ANSWERS = {"PreconditionFailed": Changed, "ConditionalRequestConflict": Conflict, "NoSuchKey": FileNotFoundError}


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
    """Return a lock's content."""
    return (MARK + orjson.dumps(asdict(holder))).ljust(SIZE - 1) + b"\n"


def parse(content: bytes) -> Holder | None:
    """Return who a lock names: nobody where it is empty, or an earlier version's, which was its first line only."""
    known = {f.name for f in fields(Holder)}
    try:
        table = orjson.loads(content.removeprefix(MARK))
        return Holder(**{name: value for name, value in table.items() if name in known})
    except (ValueError, TypeError, AttributeError):
        return None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a lock lies.

    `read` returns its content (empty: none) and version; `write` puts another one over that version and returns the
    new one, or raises Changed. `flock` tells whether this process has it: True, False (another has), None (nobody can).
    """

    read: Callable[[], tuple[bytes, str]]
    write: Callable[[bytes, str], str]
    flock: Callable[[], bool | None]


@contextlib.contextmanager
def place_of(output: str) -> Iterator[Place]:
    """Open the lock of an output folder."""
    if output.startswith("s3://"):
        yield _in_s3(f"{output}/{NAME}")
    elif "://" in output:
        yield _in_store(f"{output}/{NAME}")
    else:
        path = Path(output) / NAME
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            yield _on_disk(path, file)
        finally:
            os.close(file)


def _version(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest() if content else ""


def _on_disk(path: Path, file: int) -> Place:
    """Return the place of a file that is open: a name that was removed or replaced is no longer this run's lock."""

    def read() -> tuple[bytes, str]:
        content = os.pread(file, 2 * SIZE, 0)
        return content, _version(content)

    def write(content: bytes, version: str) -> str:
        if read()[1] != version or not _is_same(path, file):
            raise Changed
        if os.pwrite(file, content, 0) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return _version(content)

    def flock() -> bool | None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # not every file system has it
            return None
        return True

    return Place(read, write, flock)


def _is_same(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _in_store(path: str) -> Place:
    """Return the place of an object in a store whose conditional writes we do not know."""
    from pipeline import storage

    def read() -> tuple[bytes, str]:
        if not storage.exists(path):
            return b"", ""
        with storage.open_input(path) as file:
            content = file.read()
        return content, _version(content)

    def write(content: bytes, version: str) -> str:
        if read()[1] != version:
            raise Changed
        with storage.create(path) as file:
            file.write(content)
        return _version(content)

    return Place(read, write, lambda: None)


def _in_s3(path: str) -> Place:
    """Return the place of an object in S3, or in a store that speaks its language (AWS_ENDPOINT_URL, as all of AWS)."""
    client = _client(path)
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = path.removeprefix("s3://").partition("/")

    def asked(action: Callable[[], T]) -> T:
        """Ask the store; raises what ANSWERS has for what it says, OSError for all else."""
        try:
            return action()
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise ANSWERS.get(code, OSError)(f"{path}: {error}") from error
        except BotoCoreError as error:
            raise OSError(f"{path}: {error}") from error

    def read() -> tuple[bytes, str]:
        try:
            return asked(lambda: _whole(client.get_object(Bucket=bucket, Key=key)))
        except FileNotFoundError:
            return b"", ""

    def write(content: bytes, version: str) -> str:
        condition = {"IfMatch": version} if version else {"IfNoneMatch": "*"}

        def put() -> str:
            return asked(lambda: client.put_object(Bucket=bucket, Key=key, Body=content, **condition))["ETag"]

        try:
            for wait in CONFLICT_WAITS:
                with contextlib.suppress(Conflict):
                    return put()
                time.sleep(wait)
            return put()
        except FileNotFoundError as error:
            raise Changed from error

    return Place(read, write, lambda: None)


def _client(path: str) -> Any:
    """Return what asks S3; raises ValueError where its library is not there."""
    try:
        from botocore.config import Config
        from botocore.session import get_session
    except ImportError:
        from pipeline import storage

        storage.check_url(path)  # raises, and says what to install
        raise
    soon = Config(connect_timeout=5, read_timeout=RENEW_SECONDS, retries={"mode": "standard", "total_max_attempts": 7})
    return get_session().create_client("s3", config=soon)


def _whole(answer: dict[str, Any]) -> tuple[bytes, str]:
    return answer["Body"].read(), answer["ETag"]


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
            self.version = self._written()
        except Changed:
            who = parse(self.place.read()[0])
            by = f"by {who}" if who and who.run != self.holder.run else "or its lock was removed"
            self.lost = f"{self.output} was taken over {by}; this run stops and publishes nothing"
            self.check()
        self._sure = began

    def _written(self) -> str:
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
    mine = replace(myself(), at=now())
    try:
        return Lease(output, place, mine, place.write(pack(mine), version), before)
    except Changed:
        raise Taken(_refusal(output, parse(place.read()[0]))) from None


def _is_over(place: Place, holder: Holder) -> bool:
    """Tell whether a run of this machine has ended, so that nobody need wait."""
    return lives(holder) is False or (place.flock() is True and holder.boot == _boot())


def _refusal(output: str, holder: Holder | None) -> str:
    return f"another run is working on {output}" + (f": {holder}" if holder else "")


def _await_flock(output: str, place: Place) -> None:
    """Wait for the flock where a killed run's workers still end; raises Taken where the run lives."""
    until = time.monotonic() + ORPHANS_SECONDS
    while place.flock() is False:
        holder = parse(place.read()[0])
        if holder is None or lives(holder) is not False:
            raise Taken(_refusal(output, holder))
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

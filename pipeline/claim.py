"""Claims: an output folder is one run's, or its ranks', before any work is done in it.

A run holds OUT, a rank of --score-only a folder of its own below it (ranks.py). Each writes its lock first and then
looks for the other's, so that of a run and a rank that start at once at least one is refused.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pipeline import storage
from pipeline.config import ConfigError
from pipeline.lease import (
    MARK,
    RUNNING,
    Lease,
    LeaseLost,
    NoExclusion,
    Taken,
    holder_of,
    lock_content,
    prove_exclusion,
    refuse_living,
    take,
)
from pipeline.lock import NAME, Changed, place_of
from pipeline.ranks import rank_folder, rank_folders

Say = Callable[[str], None]


def check_output(output: str) -> None:
    """Raise ConfigError for a place that this run cannot write to, whatever is in it."""
    try:
        storage.check_url(output)
    except ValueError as error:
        raise ConfigError(f"--output {output}: {error}") from error


@contextmanager
def claimed(output: str, say: Say = print) -> Iterator[Lease]:
    """Hold an output folder for this run; `say` is told what delays it, and whom it takes over from.

    Raises ConfigError for a folder that is not ours, cannot be written, or that another run or a rank is working on,
    and for a place that keeps no two runs apart. Where a rank works the lock is put back as it was.
    """
    with ExitStack() as opened:
        with _mistakes(output):
            _refuse_strangers(output)
            before = lock_content(output)
            lease = _taken(output, opened, say)
            try:
                _end_ranks(lease, say)
            except Taken:
                with suppress(Changed, OSError):
                    lease.place.write(before, lease.version)
                raise
        yield lease


@contextmanager
def claimed_by_rank(output: str, rank: int, count: int, say: Say = print) -> Iterator[Lease]:
    """Hold one rank's folder in an output folder, beside other ranks.

    Raises ConfigError for an output that no run has begun, or that a run, or another rank of this number, works on.
    """
    folder = rank_folder(output, rank, count)
    with ExitStack() as opened:
        with _mistakes(output):
            if not lock_content(output).startswith(MARK):
                raise ConfigError(f"--output {output} holds no run yet; run the same command with --train-only first")
            _refuse_strangers(folder)
            lease = _taken(folder, opened, say)
            try:
                refuse_living(output, say)
            except Taken:
                with suppress(LeaseLost, OSError):
                    lease.renew("stopped")
                raise
        yield lease


@contextmanager
def _mistakes(output: str) -> Iterator[None]:
    """Raise ConfigError for what keeps a folder from being claimed."""
    try:
        yield
    except (Taken, LeaseLost) as error:
        raise ConfigError(str(error)) from None
    except NoExclusion as error:
        raise ConfigError(f"--output {error}") from None
    except OSError as error:
        why = "a file, not a folder" if isinstance(error, FileExistsError) else error.strerror or error
        raise ConfigError(f"--output {output} cannot be written: {why}") from error


def _taken(folder: str, opened: ExitStack, say: Say) -> Lease:
    lease = take(folder, opened.enter_context(place_of(folder)), say)
    prove_exclusion(lease)
    return lease


def _end_ranks(lease: Lease, say: Say) -> None:
    """Raise Taken where a rank lives; one that ended without a word is taken over, so that its lock says so.

    Those of other machines are watched side by side.
    """
    folders = [folder for folder in rank_folders(lease.output) if _is_running(folder)]
    if not folders:
        return
    with lease.renewed(), ThreadPoolExecutor(len(folders)) as pool:
        ended = [pool.submit(_end_rank, folder, say) for folder in folders]
    for one in ended:
        one.result()


def _is_running(folder: str) -> bool:
    holder = holder_of(folder)
    return holder is not None and holder.state == RUNNING


def _end_rank(folder: str, say: Say) -> None:
    with place_of(folder) as place:
        take(folder, place, say).renew("stopped")


def _refuse_strangers(output: str) -> None:
    """Raise ConfigError for a folder with files that is not known to be ours; make a local one that is not there."""
    if storage.is_local(output):
        Path(output).mkdir(parents=True, exist_ok=True)
    if lock_content(output).startswith(MARK):
        return
    found = [path.name for path in Path(output).iterdir()] if storage.is_local(output) else storage.walk(output)
    if names := sorted(name for name in found if name != NAME):
        raise ConfigError(f"--output {output} holds other files ({names[0]}, …); name a new folder")

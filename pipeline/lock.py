"""Lock: where an output folder's lock lies, and how it is written over what was read of it, and nothing else.

In s3:// and gs:// by conditional puts (If-None-Match and If-Match; ifGenerationMatch), which are atomic; in a folder
under its flock; elsewhere (a file system without flock, another store) by reading again just before, so that two runs
that start in the same instant may both begin, and the one that finds the other's lock at its next renewal stops.
"""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

NAME = ".lock"
SIZE = 2048  # of a lock on a disk: written in one piece over what was there, so that it needs no new space
CONNECT_SECONDS, ANSWER_SECONDS = 5, 10  # until a store is taken not to be there, or not to answer
GIVE_UP_SECONDS = 30  # in which Google's is asked again
# Before a conditional put that met another one, and was not done, is sent again (S3 ConditionalRequestConflict).
CONFLICT_WAITS = (0.1, 0.5, 2.0)


class Changed(Exception):  # noqa: N818 - what a place answers
    """The lock is not what it was when it was read."""


class Conflict(OSError):  # noqa: N818 - what a store answers
    """A put met another one and was not done: it says nothing of whose the lock is."""


ANSWERS = {"PreconditionFailed": Changed, "ConditionalRequestConflict": Conflict, "NoSuchKey": FileNotFoundError}


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
    elif output.startswith("gs://"):
        yield _in_gs(f"{output}/{NAME}")
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
    """Return what asks S3; raises ValueError where its library is not there, OSError for settings that it refuses."""
    try:
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
        from botocore.session import get_session
    except ImportError:
        from pipeline import storage

        storage.check_url(path)  # raises, and says what to install
        raise
    again = {"mode": "standard", "total_max_attempts": 7}
    soon = Config(connect_timeout=CONNECT_SECONDS, read_timeout=ANSWER_SECONDS, retries=again)
    try:
        return get_session().create_client("s3", config=soon)
    except (ValueError, BotoCoreError) as error:  # an address without its scheme, a profile that is not there
        raise OSError(str(error)) from error


def _whole(answer: dict[str, Any]) -> tuple[bytes, str]:
    return answer["Body"].read(), answer["ETag"]


def _in_gs(path: str) -> Place:
    """Return the place of an object in Google's storage, whose version is its generation."""
    bucket, key, soon = _bucket(path)
    from google.api_core.exceptions import NotFound, PreconditionFailed

    def asked(action: Callable[[], T]) -> T:
        """Ask the store; raises Changed, FileNotFoundError, and OSError for all else."""
        try:
            return action()
        except PreconditionFailed as error:
            raise Changed from error
        except NotFound as error:
            raise FileNotFoundError(f"{path}: {_first_line(error)}") from error
        except Exception as error:  # whatever google.auth, google.api_core, requests or urllib3 raise
            raise OSError(f"{path}: {_first_line(error)}") from error

    def read() -> tuple[bytes, str]:
        blob = bucket.blob(key)
        try:
            content = asked(lambda: blob.download_as_bytes(**soon))
        except FileNotFoundError:
            return b"", ""
        return content, str(blob.generation)

    def write(content: bytes, version: str) -> str:
        blob, over = bucket.blob(key), int(version or 0)  # 0: there is none
        asked(lambda: blob.upload_from_string(content, if_generation_match=over, **soon))
        return str(blob.generation)

    return Place(read, write, lambda: None)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _bucket(path: str) -> tuple[Any, str, dict[str, Any]]:
    """Return the bucket and the name of an object, and how long it is asked for; where and as whom gcsfs would ask."""
    from pipeline import object_store

    store = object_store.files(path)
    os.environ.setdefault(
        "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true"
    )  # asked for by a thread: workers fork
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.storage import Client
    from google.cloud.storage.retry import DEFAULT_RETRY

    who = store.credentials.credentials or AnonymousCredentials()
    where = {"api_endpoint": store.base.removesuffix("/storage/v1/")}
    client = Client(project=store.project or None, credentials=who, client_options=where)
    name, _, key = path.removeprefix("gs://").partition("/")
    again = DEFAULT_RETRY.with_delay(initial=0.5, maximum=8).with_timeout(GIVE_UP_SECONDS)
    return client.bucket(name), key, {"timeout": (CONNECT_SECONDS, ANSWER_SECONDS), "retry": again}

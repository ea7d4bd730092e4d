"""One run at a time has a folder in gs://: the tests of tests/pipeline/test_lease.py against a server of that store."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import fsspec
import pytest

from pipeline.claim import claimed
from pipeline.config import ConfigError
from pipeline.lease import holder_of
from pipeline.lock import Changed, place_of
from tests.pipeline.store.conftest import Store
from tests.pipeline.test_lease import (
    quick,
    taken,
    test_a_killed_run_of_this_machine_is_followed_at_once,
    test_a_lock_of_another_machine_that_changes_is_respected,
    test_a_run_whose_folder_was_taken_over_knows_it,
    test_a_silent_lock_of_another_machine_is_taken_over,
    test_an_answer_that_was_lost_loses_no_lease,
    test_an_answer_that_was_lost_refuses_no_run,
    test_an_end_stays,
    test_of_many_that_start_together_one_begins,
    test_renewal_goes_on_in_the_background,
    test_who_is_sure_asks_where_time_has_passed,
)

__all__ = [
    "quick",
    "test_a_killed_run_of_this_machine_is_followed_at_once",
    "test_a_lock_of_another_machine_that_changes_is_respected",
    "test_a_run_whose_folder_was_taken_over_knows_it",
    "test_a_silent_lock_of_another_machine_is_taken_over",
    "test_an_answer_that_was_lost_loses_no_lease",
    "test_an_answer_that_was_lost_refuses_no_run",
    "test_an_end_stays",
    "test_of_many_that_start_together_one_begins",
    "test_renewal_goes_on_in_the_background",
    "test_who_is_sure_asks_where_time_has_passed",
]


@pytest.fixture
def store(server: Store) -> str:
    """Return the bucket."""
    server.faults()
    return server.url()


@pytest.fixture
def output(store: str, tmp_path: Path) -> str:
    """Return a folder in it."""
    return f"{store}/{tmp_path.name}"


def test_the_server_refuses_what_another_has_changed(output: str) -> None:
    """A lock goes over none, or over the one that was read; the content of the other stays."""
    with place_of(output) as place:
        assert place.read() == (b"", "")
        first = place.write(b"one", "")
        second = place.write(b"two", first)
        for version in ("", first, "1"):
            with pytest.raises(Changed):
                place.write(b"three", version)
        assert place.read() == (b"two", second)


def test_a_server_that_fails_at_times_loses_no_lease(output: str, server: Store) -> None:
    """It is asked again, also after an answer that was cut off: what had arrived is refused the second time."""
    with taken(output) as held:
        for fault in ("fail", "reset"):
            server.faults(**{fault: 0.5}, seed=1, method="POST")
            held.renew()
            assert server.faults()[fault] == 1
            found = holder_of(output)
            assert found is not None
            assert found.beat == held.holder.beat


def test_a_server_that_ignores_conditions_is_refused(output: str, server: Store) -> None:
    """In one line; the lock that was put over the other says that its run has ended."""
    server.faults(deaf=["ifGenerationMatch"])
    with pytest.raises(ConfigError, match=f"^--output {output}: its store put a lock over"), claimed(output):
        pass
    holder = holder_of(output)
    assert holder is not None
    assert holder.state == "failed"


@pytest.mark.usefixtures("store")
def test_a_bucket_that_is_not_there_is_said() -> None:
    """Nothing lies there, and nothing can."""
    with place_of("gs://no-bucket/out") as place:
        assert place.read() == (b"", "")
        with pytest.raises(FileNotFoundError, match=r"^gs://no-bucket/out/\.lock: 404 POST [^\n]*$"):
            place.write(b"one", "")


def test_the_lock_is_asked_for_as_files_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the address, and with the credentials, that gcsfs was given."""
    from google.oauth2.credentials import Credentials

    asked = []

    class Empty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path.partition("?")[0], self.headers["Authorization"]))
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Empty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = {"endpoint_url": f"http://127.0.0.1:{server.server_port}", "token": Credentials("a-token")}
        monkeypatch.setitem(fsspec.config.conf, "gs", place)
        with place_of("gs://b/o") as lock:
            assert lock.read() == (b"", "")
        server.shutdown()
    assert asked == [("/download/storage/v1/b/b/o/o%2F.lock", "Bearer a-token")]

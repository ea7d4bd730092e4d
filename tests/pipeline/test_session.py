"""A session ends as its log and its lock say."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import orjson
import pytest
from rich.console import Console

from pipeline import lease, session
from pipeline.execute import Engine
from pipeline.journal import open_journal
from pipeline.lease import LeaseLost, holder_of, myself, pack, take
from pipeline.lock import place_of
from pipeline.run import main
from pipeline.stage import finished_keys, make_stage
from tests.pipeline.test_execute import Number, burn


def test_a_result_that_cannot_be_printed_is_there(
    tmp_path: Path, story: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run has finished, also where nobody reads its table (`| head`)."""

    def unread(*_: object) -> None:
        raise SystemExit(1)  # what rich makes of a broken pipe

    monkeypatch.setattr(session, "table", unread)
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(orjson.dumps({"text": story(seed)}) for seed in range(20)))
    line = ["--input", f"{tmp_path}/in.jsonl", "--output", f"{tmp_path}/out", "--until", "ingest"]
    with pytest.raises(SystemExit):
        main([*line, "--direct_num_workers=1"])
    assert holder_of(f"{tmp_path}/out").state == "finished"  # type: ignore[union-attr]


def test_a_run_shows_life_until_its_engine_is_closed(
    tmp_path: Path, story: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To cancel a job may take minutes, in which nobody may take the folder over."""
    whole, beats = session.engine, []

    @contextmanager
    def slow(options: Sequence[str], workers: int | None, tell: Callable[..., None]) -> Iterator[Engine]:
        with whole(options, workers, tell) as working:
            yield working
        for _ in range(2):
            beats.append(holder_of(f"{tmp_path}/out").beat)  # type: ignore[union-attr]
            time.sleep(0.5)

    monkeypatch.setattr(session, "engine", slow)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    (tmp_path / "in.jsonl").write_bytes(orjson.dumps({"text": story(1)}))
    line = ["--input", f"{tmp_path}/in.jsonl", "--output", f"{tmp_path}/out", "--until", "deduplicate"]
    main([*line, "--direct_num_workers=1"])
    assert beats[0] < beats[1]


def test_stages_go_when_no_job_writes_there_any_more(
    tmp_path: Path, story: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --force: first what an earlier start left at work elsewhere is ended, then its stages are removed."""
    whole, there = session.engine, list[bool]()

    @contextmanager
    def watched(options: Sequence[str], workers: int | None, tell: Callable[..., None]) -> Iterator[Engine]:
        with whole(options, workers, tell) as working:
            yield replace(working, clear=lambda _: there.append(any(tmp_path.glob("out/stages/ingest/*/*.json"))))

    (tmp_path / "in.jsonl").write_bytes(orjson.dumps({"text": story(1)}))
    line = ["--input", f"{tmp_path}/in.jsonl", "--output", f"{tmp_path}/out", "--until", "ingest"]
    assert main([*line, "--direct_num_workers=1"]) == 0
    monkeypatch.setattr(session, "engine", watched)
    assert main([*line, "--direct_num_workers=1", "--force"]) == 0
    assert there == [True, False]  # before all, and before the one stage


def test_only_what_takes_long_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that must be compiled, not those that are only loaded; and no thread is left where workers are forked."""
    said, threads = list[str](), threading.active_count()
    with session.announced(lambda: said.append("at once")):
        pass
    monkeypatch.setattr(session, "LONG_SECONDS", 0.01)
    with session.announced(lambda: said.append("late")):
        until = time.monotonic() + 10
        while not said and time.monotonic() < until:
            time.sleep(0.01)
    assert said == ["late"]
    assert threading.active_count() == threads


@pytest.mark.parametrize("end", [KeyboardInterrupt(), ValueError()], ids=repr)
def test_what_ends_a_run_that_was_taken_over_is_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: BaseException
) -> None:
    """Frozen for a minute, say, it must not cancel the other's job as if it were its own."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.0)
    with place_of(str(tmp_path)) as place:
        held = take(str(tmp_path), place, print)
        other = replace(myself(), host="node-7", boot="another", pid=4711)
        place.write(pack(other), place.read()[1])
        with pytest.raises(LeaseLost, match="taken over by process 4711 on node-7"), session._still_ours(held):
            raise end


def test_no_job_is_submitted_to_a_folder_that_was_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a run was frozen after its stage began: two jobs would work on one stage."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.0)
    stage = make_stage(str(tmp_path), "stage", 1, [], [])
    with place_of(str(tmp_path)) as place:
        tell = partial(session._tell, Console(), open_journal(take(str(tmp_path), place, print), {}))
        place.write(pack(replace(myself(), host="node-7", boot="another", pid=4711)), place.read()[1])
        with session.engine(("--direct_running_mode=multi_processing",), 1, tell) as working, pytest.raises(LeaseLost):
            working.run(stage, burn, [Number("a")], lambda *_: None)
    assert not finished_keys(stage.folder)

"""A session ends as its log and its lock say."""

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from pipeline import session
from pipeline.lease import holder_of
from pipeline.run import main


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

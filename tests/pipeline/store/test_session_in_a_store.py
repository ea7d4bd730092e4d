"""A session in a store shows life from its first second."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline import lease, plan, session
from pipeline.lease import Taken, holder_of, take
from pipeline.lock import place_of
from pipeline.run import main
from tests.pipeline.store.conftest import Store


def test_a_run_that_plans_and_compiles_is_not_taken_over(
    store: Store, story: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that takes: who comes from another machine sees its lock change."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.5)
    monkeypatch.setattr(lease, "LIFETIME_SECONDS", 3.0)
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.1)
    output, met = store.url("planned"), list[str]()
    store.fill("planned-in", {"a.jsonl": b"\n".join(orjson.dumps({"text": story(seed)}) for seed in range(20))})

    def met_by_another(action: Callable[..., Any]) -> Callable[..., Any]:
        def meanwhile(*given: Any) -> Any:
            if holder_of(output) is not None:
                with pytest.MonkeyPatch.context() as elsewhere, place_of(output) as place:
                    elsewhere.setattr(lease, "_boot", lambda: "another")
                    with pytest.raises(Taken, match="another run is working on"):
                        take(output, place, met.append)
            return action(*given)

        return meanwhile

    for name in ("make_plan", "load_kernels"):
        monkeypatch.setattr(session, name, met_by_another(getattr(session, name)))
    line = ["--input", store.url("planned-in/*"), "--output", output, "--until", "ingest", "--direct_num_workers=1"]
    assert main(line) == 0
    assert len(met) == 2


def test_a_large_file_is_opened_once_and_beside_others(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first look at the inputs lists them and opens the first; a store slow to open one opens eight in that."""
    store.fill("large", {f"{number}.jsonl": b'{"text": "one"}\n' * 40_000 for number in range(8)})
    spent = []
    for at_once in (1, 8):
        monkeypatch.setattr(plan, "OPENED_AT_ONCE", at_once)
        store.faults(slow=1, seconds=0.5, only="large/", method="GET")
        began = time.monotonic()
        assert main(["--input", store.url("large/*"), "--output", store.url("out"), "--dry-run"]) == 0
        spent.append(time.monotonic() - began)
        assert store.faults()["slow"] == 1 + 8
    assert spent[0] - spent[1] > 1.5  # of 7 waits of half a second; the rest of a run takes what the machine has left


@pytest.mark.parametrize("deaf", ["If-None-Match", "If-Match"])
def test_a_store_that_ignores_conditions_is_refused(
    store: Store, deaf: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, at the start; nothing but a lock that says that its run has ended lies there then."""
    (tmp_path / "a.txt").write_text("one")
    output = store.url(f"deaf-{deaf}")
    line = ["--input", str(tmp_path / "a.txt"), "--output", output, "--until", "ingest"]
    store.faults(deaf=[deaf])
    assert main(line) == 2
    assert f"error: --output {output}: its store put a lock over one that is there" in capsys.readouterr().err
    holder = holder_of(output)
    assert holder is not None
    assert holder.state == "failed"
    assert list(store.contents(f"deaf-{deaf}")) == [".lock"]

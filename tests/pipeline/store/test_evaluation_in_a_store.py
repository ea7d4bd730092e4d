"""An evaluation of a run that lies in a store."""

from pathlib import Path

import pytest

from pipeline.evaluate import main
from pipeline.evaluation.finished import read_evaluation
from tests.pipeline.evaluation.test_evaluate import drawn, good, output, quick
from tests.pipeline.store.conftest import Store

__all__ = ["drawn", "good", "output", "quick"]


@pytest.mark.usefixtures("drawn", "quick")
def test_a_run_in_a_store_is_evaluated_as_in_a_folder(store: Store, output: Path, good: str) -> None:
    """All that it reads of the run comes from the store, and what it finds is put there."""
    files = [path for path in output.rglob("*") if path.is_file()]
    store.fill("evaluated", {path.relative_to(output).as_posix(): path.read_bytes() for path in files})
    found = []
    for where in (str(output), store.url("evaluated")):
        assert main(["--output", where, "--good", good, "--text", "body"]) == 0
        found.append({name: part for name, part in read_evaluation(where).items() if name != "cost"})
    assert found[0] == found[1]
    assert len(found[0]["rows"]) == 24

"""What a stratum, a language and a source keep."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import SelfClean
from pipeline.document import read_table
from pipeline.self_clean.cuts import JudgeShard
from pipeline.self_clean.floors import BIN, KINDS, MOST, NEVER, CountLosses, Held, hold_back
from pipeline.shards import DocumentShard
from pipeline.summary import Summary, merge
from pipeline.verdicts import sidecar_path
from tests.pipeline.self_clean.test_cuts import judge, scored_shard

CUT = 100
OPEN: dict[str, Any] = dict.fromkeys(KINDS.values(), 1.0)


def told(folder: Path, shard: DocumentShard, cuts: dict[str, int]) -> Summary:
    """Return what cuts would take of a shard."""
    return merge([CountLosses(str(folder / "score"), cuts)(shard)["summary"]])


def verdicts(folder: Path, shard: DocumentShard, cuts: dict[str, int], held: Held) -> Summary:
    """Judge a shard with cuts that are held back; return who lost what."""
    place = str(folder / "held")
    work = JudgeShard(place, str(folder / "score"), cuts, held, 1, "", str(folder / "sample"), 2)
    return dict(work(shard)["summary"])


def share(cell: dict[str, int]) -> float:
    """Return the share of bytes that is lost."""
    return cell["rejected_bytes"] / cell["bytes"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_a_floor_holds_back_the_cuts_of_whoever_would_lose_more(tmp_path: Path, kind: str, seed: int) -> None:
    """Nobody loses more bytes than allowed, and within a bin as much; those who would not have keep their cuts."""
    shard, _, stratum = scored_shard(tmp_path, seed)
    cuts = dict.fromkeys(set(stratum), CUT)
    before = told(tmp_path, shard, cuts)
    shares = sorted(share(cell) for cell in before[kind].values())
    floor = (shares[-2] + shares[-1]) / 2
    settings = replace(SelfClean(guard_documents=20), **{**OPEN, KINDS[kind]: floor})
    held, said = hold_back(before, settings)
    worst = max(before[kind], key=lambda name: share(before[kind][name]))
    assert list(held) == [kind]
    assert list(held[kind]) == [worst]
    assert said == [f"{kind} {worst} would lose {shares[-1]:.1%} of its bytes and is held to {floor:.1%}"]
    after = verdicts(tmp_path, shard, cuts, held)
    assert 0 < share(after[kind][worst]) <= floor
    less = {kind: {worst: held[kind][worst] - BIN}}
    assert share(verdicts(tmp_path, shard, cuts, less)[kind][worst]) > floor
    others = [name for name in before[kind] if name != worst]
    assert [after[kind][name] for name in others] == [
        {what: value for what, value in before[kind][name].items() if what != "above"} for name in others
    ]


def test_the_highest_of_several_floors_counts(tmp_path: Path) -> None:
    """A document's cut lies as high as the floor asks that asks for most, and that is its threshold."""
    shard, scores, stratum = scored_shard(tmp_path, 1)
    cuts = dict.fromkeys(set(stratum), CUT)
    held = {"source": {"web": 2 * BIN}, "language": {"fi": 5 * BIN}}
    verdicts(tmp_path, shard, cuts, held)
    names = read_table(shard.path("documents"), ["language", "source"]).to_pylist()
    table = read_table(sidecar_path(str(tmp_path / "held"), shard)).to_pylist()
    for name, verdict, score in zip(names, table, scores.to_pylist(), strict=True):
        if verdict["cut_score"] is not None:
            margin = 5 * BIN if name["language"] == "fi" else 2 * BIN if name["source"] == "web" else 0
            assert verdict["cut_score"] == round((CUT + margin) / 1000 + score["shift"], 3)
            assert verdict["rejected"] == (score["scored"] and score["score"] >= verdict["cut_score"])


def test_losses_are_those_of_the_verdicts(tmp_path: Path) -> None:
    """What is counted before is what is taken where no floor holds, and its bytes above the cuts add up to it."""
    shard, _, stratum = scored_shard(tmp_path, 2)
    cuts = dict.fromkeys(sorted(set(stratum))[:4], CUT)
    before, after = told(tmp_path, shard, cuts), judge(tmp_path, shard, cuts)["summary"]
    for kind in KINDS:
        assert sum(cell["rejected"] for cell in before[kind].values()) > 0
        for name, cell in before[kind].items():
            assert sum(cell.pop("above", {}).values()) == cell["rejected_bytes"]
            assert cell == after[kind][name]


def test_small_ones_and_the_rest_have_no_floor() -> None:
    """Below guard_documents a share says nothing, nor does what names were folded into; at the floor none is held."""
    cell = {"documents": 100, "bytes": 1000, "rejected": 10, "rejected_bytes": 200, "above": {"0": 150, "3": 50}}
    few = {**cell, "documents": 99}
    settings = SelfClean(guard_documents=100, max_language_loss=0.1, max_source_loss=0.19, max_stratum_loss=0.2)
    assert hold_back({"language": {"qu": few}, "source": {"others": cell}, "stratum": {"fi 2": cell}}, settings) == (
        {},
        [],
    )
    held, said = hold_back({"language": {"qu": cell}, "source": {"blog": cell}}, settings)
    assert held == {"language": {"qu": BIN}, "source": {"blog": BIN}}
    assert said[1] == "source blog would lose 20.0% of its bytes and is held to 19.0%"


def test_what_alone_is_too_much_stays() -> None:
    """One document of more bytes than may go is kept, however high it lies; where nothing goes nothing is held."""
    cell = {"documents": 500, "bytes": 1000, "rejected": 1, "rejected_bytes": 400, "above": {"7": 400}}
    held, _ = hold_back({"source": {"blog": cell}}, SelfClean())
    assert held == {"source": {"blog": 8 * BIN}}
    none = {"documents": 500, "bytes": 1000, "rejected": 0, "rejected_bytes": 0}
    assert hold_back({"source": {"blog": none}}, SelfClean()) == ({}, [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_floor_holds_however_far_above_the_cuts_all_lies(tmp_path: Path, kind: str) -> None:
    """Beyond the last bin nothing tells the worst: where too much lies there nothing goes, and nothing is cut."""
    shard, _, stratum = scored_shard(tmp_path, 1)
    cuts = dict.fromkeys(set(stratum), -2 * MOST * BIN)
    before = told(tmp_path, shard, cuts)
    held, _ = hold_back(before, replace(SelfClean(guard_documents=1), **{**OPEN, KINDS[kind]: 0.01}))
    assert held == {kind: dict.fromkeys(before[kind], NEVER)}
    after = verdicts(tmp_path, shard, cuts, held)
    assert sum(cell["rejected_bytes"] for cell in before[kind].values()) > 0
    assert sum(cell["rejected_bytes"] for cell in after[kind].values()) == 0
    assert set(read_table(sidecar_path(str(tmp_path / "held"), shard))["cut_score"].to_pylist()) == {None}
    for limit in (MOST - 1, MOST):
        cell = {"documents": 500, "bytes": 1000, "rejected": 2, "rejected_bytes": 400, "above": {str(limit): 400}}
        held, _ = hold_back({kind: {"fi": cell}}, SelfClean())
        assert held == {kind: {"fi": BIN * MOST if limit < MOST else NEVER}}


def test_numbers_above_are_whole_bins(tmp_path: Path) -> None:
    """Bins count from the cut upwards, so that a margin of whole bins takes exactly what they hold."""
    shard, _, stratum = scored_shard(tmp_path, 3)
    cuts = dict.fromkeys(set(stratum), CUT)
    cells = told(tmp_path, shard, cuts)["source"]
    for margin in (BIN, 4 * BIN):
        after = verdicts(tmp_path, shard, cuts, {"source": dict.fromkeys(cells, margin)})["source"]
        for name, cell in cells.items():
            kept = sum(size for key, size in cell["above"].items() if int(key) * BIN < margin)
            assert after[name]["rejected_bytes"] == cell["rejected_bytes"] - kept

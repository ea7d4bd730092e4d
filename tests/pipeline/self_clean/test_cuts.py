"""From scores to verdicts."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import SelfClean
from pipeline.document import conform, read_table, write_table
from pipeline.self_clean.cuts import REASON, JudgeShard, choose_cuts
from pipeline.self_clean.measure import strata
from pipeline.self_clean.scores import BIN, SCORES, _summary, choose_shifts, score_path
from pipeline.self_clean.scoring import QUANTUM, Language, Usual, on_grid
from pipeline.shards import DocumentShard
from pipeline.token_shards import token_schema, write_arrow
from pipeline.verdicts import sidecar_path


def language(limit: float, deviation: float = 1.0) -> Language:
    """Return a language that is judged, of which nothing below the limit is cut, whatever its length."""
    return Language((), (), (Usual(limit, 0.0),) * 4, deviation, 1.0)


def limit(judged: Language) -> float:
    """Return the limit of such a language."""
    return judged.usual[0].median


bins = st.dictionaries(st.integers(-60, 60).map(str), st.integers(1, 30))
corpora = st.dictionaries(st.sampled_from(["en 0", "en 1", "fi 2", "xx 0"]), st.tuples(bins, st.integers(0, 400)))
limits = st.floats(-0.7, 0.7)


def cells(corpus: dict[str, tuple[dict[str, int], int]]) -> dict[str, dict[str, Any]]:
    """Return strata of which more documents are judged than were read."""
    return {name: {"judged": sum(read.values()) + more, "bins": read} for name, (read, more) in corpus.items()}


@given(corpora, st.floats(0, 0.5), limits, limits, st.integers(2, 100))
def test_cuts_stay_within_budget_and_limit(
    corpus: dict[str, tuple[dict[str, int], int]], drop: float, english: float, finnish: float, fewest: int
) -> None:
    """A cut takes no more than its share of a stratum's judged documents, nothing below the limit, and all it may."""
    settings = SelfClean(drop=drop, min_stratum_documents=fewest)
    languages = {"en": language(english), "fi": language(finnish)}
    found = cells(corpus)
    cuts = choose_cuts(found, languages, settings)
    for name, cell in found.items():
        judged = languages.get(name.split()[0])
        if judged is None or cell["judged"] < fewest or not cell["bins"]:
            assert name not in cuts
            continue
        above = {edge: sum(n for key, n in cell["bins"].items() if int(key) >= edge) for edge in range(-80, 80)}
        allowed = [
            n
            for edge, n in above.items()
            if n <= cell["judged"] * drop and edge * BIN * QUANTUM >= limit(judged) - 1e-9
        ]
        assert cuts[name] % BIN == 0
        assert cuts[name] * QUANTUM >= limit(judged) - 1e-9
        assert above[cuts[name] // BIN] == max(allowed) <= cell["judged"] * drop


def test_small_strata_and_unjudged_languages_are_not_cut() -> None:
    """A stratum of too few documents has no cut, nor one whose language nobody judges."""
    settings = SelfClean(min_stratum_documents=10, drop=0.5)
    found = {"en 0": {"judged": 9, "bins": {"5": 1}}, "en 1": {"judged": 10, "bins": {"5": 1}}}
    found["xx 0"] = {"judged": 900, "bins": {"5": 1}}
    assert choose_cuts(found, {"en": language(-1.0)}, settings) == {"en 1": 5 * BIN}


def test_a_clean_stratum_gives_up_nothing() -> None:
    """The cut is never below the language's limit, however large the budget: nothing lies above it here."""
    found = {"en 0": {"judged": 100, "bins": {"5": 10, "-7": 90}}}
    settings = SelfClean(drop=0.5)
    assert choose_cuts(found, {"en": language(5 * BIN * QUANTUM)}, settings) == {"en 0": 5 * BIN}
    assert choose_cuts(found, {"en": language(5 * BIN * QUANTUM + QUANTUM)}, settings) == {"en 0": 6 * BIN}


def test_each_length_class_is_cut_by_what_is_usual_in_it() -> None:
    """Short documents scatter more: what is far from the median of long ones may be usual for them."""
    found = {f"en {number}": {"judged": 100, "bins": {"300": 1, "-50": 1, "-700": 98}} for number in range(4)}
    usual = (Usual(0.0, 1.0), Usual(0.0, 0.2), Usual(-1.0, 0.1875), Usual(9.0, 0.2))
    judged = {"en": Language((), (), usual, 0.5, 1.0)}
    cuts = choose_cuts(found, judged, SelfClean(drop=0.5, outlier=4))
    assert cuts == {"en 0": 400 * BIN, "en 1": 80 * BIN, "en 2": -25 * BIN, "en 3": 980 * BIN}


def test_an_offset_moves_every_cut_whatever_the_budget_says() -> None:
    """What labels ask for is added to the cuts: above 0 less goes, below 0 more than the budget."""
    found = {"en 0": {"judged": 100, "bins": {"5": 5, "-7": 95}}, "en 1": {"judged": 100, "bins": {"9": 60, "3": 40}}}
    judged = {"en": language(-1.0)}
    assert choose_cuts(found, judged, SelfClean(drop=0.05)) == {"en 0": 5 * BIN, "en 1": 10 * BIN}
    for quanta in (-12 * BIN, 3):
        settings = SelfClean(drop=0.05, cut_offset=quanta * QUANTUM)
        assert choose_cuts(found, judged, settings) == {"en 0": 5 * BIN + quanta, "en 1": 10 * BIN + quanta}


def source(documents: int, median: int) -> dict[str, Any]:
    """Return a source's surrogates in bins around a median."""
    third = documents // 3
    return {
        "documents": documents,
        "bins": {str(median - 9): third, str(median): documents - 2 * third, str(median + 9): third},
    }


@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(3, 900), st.integers(-300, 300)), min_size=1),
       st.floats(0.01, 0.5), st.floats(0.01, 3))  # fmt: skip
def test_a_source_moves_its_cut_by_no_more_than_its_share_of_a_deviation(
    sources: dict[str, tuple[int, int]], most: float, deviation: float
) -> None:
    """Towards its own median, a large source only, and never by more; a language that is not judged moves none."""
    found = {f"en {name}": source(*one) for name, one in sources.items()}
    others = {f"xx {name}": source(*one) for name, one in sources.items()}
    summary = {"sources": {**found, **others, "others": {"documents": 5_000, "bins": {"99": 5_000}}}}
    assert choose_shifts(summary, {"en": language(0, deviation)}, 0, 100) == {}
    shifts = choose_shifts(summary, {"en": language(0, deviation)}, most, 100)
    assert set(shifts) == {f"en {name}" for name, (documents, _) in sources.items() if documents >= 100}
    assert all(abs(shift) <= most * deviation + QUANTUM / 2 for shift in shifts.values())
    order = sorted(shifts, key=lambda name: sources[name[3:]][1])
    assert [shifts[name] for name in order] == sorted(shifts.values())
    if len(sources) == 1:
        assert set(shifts.values()) <= {0.0}


def test_a_source_moves_towards_its_own_median() -> None:
    """One that lies higher than the language is cut higher, up to the bound, one that lies lower is cut lower."""
    summary = {"sources": {"en a": source(900, 0), "en b": source(300, 400), "en c": source(300, -400)}}
    shifts = choose_shifts(summary, {"en": language(0, 2.0)}, 0.5, 100)
    assert shifts == {"en a": 0, "en b": 1, "en c": -1}


LANGUAGES = {"en": language(0.5), "fi": language(-0.25)}


def scored_shard(folder: Path, seed: int, name: str = "a") -> tuple[DocumentShard, pa.Table, list[str]]:
    """Write a shard's names and scores as the stages before do; return it, its scores and its strata."""
    draw = np.random.default_rng(seed)
    rows = 600
    present = draw.random(rows) < 0.95
    judged = present & (draw.random(rows) < 0.9)
    scored = judged & (draw.random(rows) < 0.5)
    score = on_grid(draw.normal(0, 0.7, rows) / QUANTUM)
    languages = [str(one) for one in draw.choice(["en", "fi"], rows)]
    sources = draw.choice(["web", "books"], rows).tolist()
    sizes = draw.choice([100, 1_000, 9_000], rows)
    shift = np.where(np.array(sources) == "web", 0.137, -0.25)
    table = pa.table(
        {
            "present": present,
            "judged": judged,
            "scored": scored,
            "bytes": pa.array(sizes, mask=~present),
            "score": pa.array(score, mask=~judged),
            "shift": shift,
            "mainly": pa.array(["slope above"] * rows, mask=~scored),
        }
    )
    scores = conform(table, SCORES)
    shard = DocumentShard(name, str(folder / "ingest"), 0, rows, 0)
    ids = [f"{seed:016x}{row:016x}" for row in range(rows)]
    write_table(shard.path("documents"), pa.table({"id": ids, "language": languages, "source": sources}))
    write_table(score_path(str(folder / "score"), shard), scores)
    for fold in ("fold-0", "more-0", "fold-1", "more-1"):
        path = str(folder / "sample" / fold / (name + ".arrow"))
        write_arrow(path, [token_schema(np.uint16).empty_table()], token_schema(np.uint16))
    return shard, scores, strata(languages, np.where(present, sizes, 0))


def judge(
    folder: Path, shard: DocumentShard, cuts: dict[str, int], number: int = 1, before: str = ""
) -> dict[str, Any]:
    """Judge a shard; return the record."""
    place = str(folder / f"round-{number}")
    return JudgeShard(place, str(folder / "score"), cuts, {}, number, before, str(folder / "sample"), 2)(shard)


@pytest.mark.parametrize("seed", range(5))
def test_a_document_goes_exactly_when_its_score_reaches_its_cut(tmp_path: Path, seed: int) -> None:
    """Bins, cuts and verdicts agree to the quantum: what the cuts were counted to take is what is taken.

    A rejected document was read, and its score is at or above the threshold beside it, a kept one's below.
    """
    settings = SelfClean(drop=0.2, min_stratum_documents=20)
    shard, scores, stratum = scored_shard(tmp_path, seed)
    found = _summary(scores, [name.split()[0] for name in stratum])["strata"]
    cuts = choose_cuts(found, LANGUAGES, settings)
    assert len(cuts) >= 4
    record = judge(tmp_path, shard, cuts)
    table = read_table(sidecar_path(str(tmp_path / "round-1"), shard))
    rows = zip(scores.to_pylist(), table.to_pylist(), stratum, strict=True)
    taken: dict[str, int] = {}
    for score, verdict, name in rows:
        if verdict["rejected"]:
            assert score["scored"]
            assert verdict["value"] == score["score"] >= verdict["threshold"] == verdict["cut_score"]
            assert verdict["threshold"] == round(cuts[name] * QUANTUM + score["shift"], 3)
            assert (verdict["reason"], verdict["round"]) == (REASON, 1)
            assert verdict["value"] - score["shift"] >= limit(LANGUAGES[name.split()[0]]) - 1e-9
            taken[name] = taken.get(name, 0) + 1
            continue
        assert verdict["value"] is verdict["threshold"] is verdict["reason"] is verdict["round"] is None
        assert (verdict["cut_score"] is not None) == (score["judged"] and name in cuts)
        if score["scored"] and name in cuts:
            assert score["score"] < verdict["cut_score"]
    assert sum(taken.values()) > 20
    for name, cut in cuts.items():
        counted = sum(n for key, n in found[name]["bins"].items() if int(key) * BIN >= cut)
        assert taken[name] == counted <= settings.drop * found[name]["judged"]
    assert record["rejected"] == sum(taken.values()) == record["documents"] - record["kept"]


def test_a_record_says_who_lost_what(tmp_path: Path) -> None:
    """Documents and bytes by language, source and stratum add up to those that entered and those that go."""
    shard, scores, stratum = scored_shard(tmp_path, 1)
    record = judge(tmp_path, shard, dict.fromkeys(set(stratum), 0))
    entered = scores.filter(scores["present"])
    out = read_table(sidecar_path(str(tmp_path / "round-1"), shard))["rejected"]
    expected = {
        "documents": len(entered),
        "bytes": sum(entered["bytes"].to_pylist()),
        "rejected": record["rejected"],
        "rejected_bytes": sum(scores.filter(out)["bytes"].to_pylist()),
    }
    for kind in ("language", "source", "stratum"):
        cells = record["summary"][kind]
        assert len(cells) >= 2
        assert {name: sum(cell[name] for cell in cells.values()) for name in expected} == expected
    assert record["summary"]["mainly"] == {"slope above": record["rejected"]}


def test_a_round_tells_what_left_and_what_came_back(tmp_path: Path) -> None:
    """Every round judges all documents anew: beside the round before, a document stays out, left or came back."""
    shard, _, stratum = scored_shard(tmp_path, 2)
    names = sorted(set(stratum))
    first = judge(tmp_path, shard, dict.fromkeys(names[:4], 100))
    assert first["summary"]["overlap"] == {
        "both": 0,
        "either": first["rejected"],
        "left": first["rejected"],
        "came_back": 0,
    }
    second = judge(tmp_path, shard, dict.fromkeys(names[2:], 300), 2, str(tmp_path / "round-1"))
    a, b = (
        set(np.flatnonzero(read_table(sidecar_path(str(tmp_path / f"round-{n}"), shard))["rejected"])) for n in (1, 2)
    )
    assert second["summary"]["overlap"] == {
        "both": len(a & b),
        "either": len(a | b),
        "left": len(b - a),
        "came_back": len(a - b),
    }
    assert min(second["summary"]["overlap"].values()) > 0

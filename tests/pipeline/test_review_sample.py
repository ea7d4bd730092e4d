"""The sample: probabilities are those of the draw, ids and seed alone decide, and zones are what they say."""

from collections import Counter
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import ConfigError
from pipeline.review import main
from pipeline.review_sample import (
    KEPT,
    NEAR_KEPT,
    NEAR_REJECTED,
    REJECTED,
    ZONES,
    Design,
    allocate,
    draw,
)
from tests.pipeline.judged_run import CUT, written

COUNTS = {"en": 1500, "zh": 700, "ar": 200}


def test_every_judged_document_has_its_chance(tmp_path: Path) -> None:
    """Strata are all that was judged, once each, and a document's probability is drawn / documents of its stratum."""
    known = written(tmp_path, COUNTS)
    sample = draw(str(tmp_path), Design(size=120))
    assert sum(stratum.documents for stratum in sample.strata) == len(known)
    assert len(sample.documents) == 120
    assert len({one.id for one in sample.documents}) == 120
    drawn = Counter(one.stratum for one in sample.documents)
    assert [drawn[number] for number in range(len(sample.strata))] == [stratum.drawn for stratum in sample.strata]
    assert all(stratum.drawn for stratum in sample.strata)
    for one, fact in zip(sample.documents, sample.facts()["documents"], strict=True):
        stratum = sample.strata[one.stratum]
        assert fact["probability"] == stratum.drawn / stratum.documents
        assert stratum.language == one.language
        assert one.rejected == known[one.id]["rejected"] == (stratum.zone in {REJECTED, NEAR_REJECTED})
        assert (one.score, one.cut, one.text) == (known[one.id]["score"], CUT, known[one.id]["text"])


def test_the_borderline_is_the_nearest_share_of_both_sides(tmp_path: Path) -> None:
    """Who is borderline lies nearer to the cut than all others of its side, and they are no more than the share."""
    known = written(tmp_path, COUNTS)
    sample = draw(str(tmp_path), Design(size=2400, near=0.04))
    assert len(sample.documents) == len(known), "a sample as large as the corpus is the corpus"
    for language, count in COUNTS.items():
        zone = {
            name: [abs(d.score - d.cut) for d in sample.documents if d.language == language
                   and sample.strata[d.stratum].zone == name]
            for name in ZONES
        }  # fmt: skip
        assert max(zone[NEAR_KEPT]) < min(zone[KEPT])
        assert max(zone[NEAR_REJECTED], default=0) < min(zone[REJECTED])
        for name in (NEAR_KEPT, NEAR_REJECTED):
            assert len(zone[name]) <= 0.02 * count
        assert len(zone[NEAR_KEPT]) > 0.01 * count


def test_a_sample_depends_on_ids_and_seed_only(tmp_path: Path) -> None:
    """Other row groups and files make the same sample, another seed another one."""
    written(tmp_path / "a", COUNTS, groups=2)
    written(tmp_path / "b", COUNTS, groups=31)
    one, other = (draw(str(tmp_path / name), Design(size=90)) for name in "ab")
    assert one == other
    assert one.digest == other.digest
    third = draw(str(tmp_path / "a"), Design(size=90, seed=2))
    assert third.digest != one.digest
    assert len({d.id for d in one.documents} & {d.id for d in third.documents}) < 60


def test_a_larger_sample_holds_the_smaller(tmp_path: Path) -> None:
    """More labels can be asked for later: of each stratum the lowest are drawn."""
    written(tmp_path, COUNTS)
    small, large = (draw(str(tmp_path), Design(size=size)) for size in (60, 240))
    assert {one.id for one in small.documents} <= {one.id for one in large.documents}


def test_what_has_no_cut_is_not_reviewed(tmp_path: Path) -> None:
    """Documents of a stratum too small for a cut are judged by nobody, so a sample does not stand for them."""
    known = written(tmp_path, COUNTS)
    sample = draw(str(tmp_path), Design(size=90))
    assert sum(stratum.documents for stratum in sample.strata) == len(known)
    path = tmp_path / "documents/00000.parquet"
    table = pq.read_table(path)
    cut = pa.array([None if one == "zh" else CUT for one in table["language"].to_pylist()], pa.float64())
    pq.write_table(table.set_column(table.schema.get_field_index("cut_score"), "cut_score", cut), path)
    again = draw(str(tmp_path), Design(size=90))
    kept = sum(one["language"] == "zh" and not one["rejected"] for one in known.values())
    assert sum(stratum.documents for stratum in again.strata) == len(known) - kept


def test_only_the_languages_asked_for(tmp_path: Path) -> None:
    """A language that nobody reads is left out of the sample and of what it stands for."""
    written(tmp_path, COUNTS)
    sample = draw(str(tmp_path), Design(size=50, languages=("zh",)))
    assert {one.language for one in sample.documents} == {"zh"}
    assert sum(stratum.documents for stratum in sample.strata) == COUNTS["zh"]
    with pytest.raises(ConfigError, match="judged no document in fi"):
        draw(str(tmp_path), Design(languages=("fi",)))


def test_probabilities_are_those_of_many_seeds(tmp_path: Path) -> None:
    """Over many seeds the sample's weighted mean of the score is the corpus's."""
    known = written(tmp_path, {"en": 800})
    found = []
    for seed in range(60):
        facts = draw(str(tmp_path), Design(size=60, seed=seed)).facts()["documents"]
        weight = np.array([1 / one["probability"] for one in facts])
        found.append((weight * [one["score"] for one in facts]).sum() / weight.sum())
    truth = np.mean([row["score"] for row in known.values()])
    assert abs(np.mean(found) - truth) < 4 * np.std(found) / np.sqrt(len(found))


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0.001, 10)), min_size=1, max_size=12), st.integers(0, 400))
def test_no_stratum_gives_more_than_it_has(strata: list[tuple[int, float]], total: int) -> None:
    """All of a sample is given out while there are documents, and every stratum gives one before one gives two."""
    sizes = {(str(n), "kept"): size for n, (size, _) in enumerate(strata)}
    wanted = {(str(n), "kept"): want for n, (_, want) in enumerate(strata)}
    taken = allocate(sizes, wanted, total)
    assert sum(taken.values()) == min(total, sum(sizes.values()))
    assert all(0 <= taken[cell] <= sizes[cell] for cell in sizes)
    if total >= len(sizes):
        assert min(taken.values()) >= 1


def test_the_command_writes_the_same_bytes_again(tmp_path: Path) -> None:
    """One run and one seed make one page; the probabilities lie beside it under the sample's name."""
    written(tmp_path, COUNTS)
    pages = []
    for _ in range(2):
        assert main(["--output", str(tmp_path), "--size", "40"]) == 0
        pages.append((tmp_path / "review/review.html").read_bytes())
    assert pages[0] == pages[1]
    beside = list((tmp_path / "review").glob("sample-*.json"))
    assert len(beside) == 1
    facts = orjson.loads(beside[0].read_bytes())
    assert beside[0].name == f"sample-{facts['digest']}.json"
    assert len(facts["documents"]) == 40


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--output", "nowhere"], "not the output folder of a finished run"),
        (["--output", "nowhere://a"], "nowhere://a: Protocol not known: nowhere"),
        (["--shares", "1,2"], "--shares must be three numbers"),
        (["--shares", "1,inf,1"], "--shares must be three numbers"),
        (["--shares", "0,0,0"], "--shares must be three numbers"),
        (["--size", "0"], "--size must be"),
        (["--near", "2"], "--near"),
        (["--seed", str(2**63)], "--seed from 0 to 2^63 - 1"),
        (["--language", "xx"], "judged no document in xx"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    """What cannot be drawn is said in a line, with exit code 2."""
    written(tmp_path, {"en": 100})
    assert main(["--output", str(tmp_path), *arguments]) == 2
    assert said in capsys.readouterr().err


def no_labels(output: Path) -> str:
    """Draw a sample and write a file of somebody who labelled nothing of it."""
    assert main(["--output", str(output), "--size", "20"]) == 0
    (path,) = (output / "review").glob("sample-*.json")
    digest = path.stem.removeprefix("sample-")
    labels = {"kind": "lustrate labels", "sample": digest, "labeller": "Ana", "labels": []}
    (output / "ana.json").write_bytes(orjson.dumps(labels))
    return str(output / "ana.json")


@pytest.mark.parametrize("folder", ["documents", "rejected"])
def test_a_run_without_its_documents_is_not_reviewed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    """Half of what was judged is no corpus to draw from, nor to count labels of."""
    written(tmp_path, {"en": 300})
    labels = no_labels(tmp_path)
    (tmp_path / folder / "00000.parquet").unlink()
    capsys.readouterr()
    for more in (["--size", "20"], ["--labels", labels]):
        assert main(["--output", str(tmp_path), *more]) == 2
        assert capsys.readouterr().err.startswith(f"error: {tmp_path}/{folder} is gone; ")


@pytest.mark.parametrize("name", ["run.json", "report.json"])
def test_a_broken_run_is_no_finished_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """What a run says of itself must be what a run writes."""
    written(tmp_path, {"en": 300})
    labels = no_labels(tmp_path)
    (tmp_path / name).write_bytes(b"[]")
    capsys.readouterr()
    assert main(["--output", str(tmp_path), "--labels", labels]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path} is not the output folder of a finished run\n"


def test_rejected_texts_that_were_not_stored_are_asked_for(tmp_path: Path) -> None:
    """A run that stores no rejected texts cannot be reviewed, and says which setting it was."""
    written(tmp_path, {"en": 300})
    path = tmp_path / "rejected/00000.parquet"
    table = pq.read_table(path)
    at = table.schema.get_field_index("text")
    pq.write_table(table.set_column(at, "text", pa.array([""] * len(table), pa.large_string())), path)
    with pytest.raises(ConfigError, match="rejected_text"):
        draw(str(tmp_path), Design())

"""Evaluation sets come from files, and what has them is rejected or annotated."""

import gzip
from dataclasses import replace
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.clean import ingest_stage
from pipeline.config import Config, ConfigError, Decontaminate, EvaluationSet, Ingest, load
from pipeline.decontaminate import read_items
from pipeline.plan import Plan
from pipeline.steps import apply, check_steps, make_steps, signal_fields, thresholds
from tests.pipeline.tables import with_texts
from tests.pipeline.test_steps import STORY

QUESTION = "Which of the seven captains of the northern fleet"
ANSWER = "came back with two boats and a tired crew?"
STEPS = ("language", "decontaminate")


def jsonl(path: Path, *records: object) -> str:
    """Write JSON lines and return the path."""
    path.write_bytes(b"\n".join(map(orjson.dumps, records)))
    return str(path)


def configured(path: str, fields: tuple[str, ...] = ("question", "answer"), **settings: object) -> Config:
    """Return a configuration with one evaluation set."""
    given = EvaluationSet(name="fleet", paths=(path,), fields=fields)
    decontaminate = replace(Decontaminate(sets=(given,)), **settings)  # type: ignore[arg-type]
    return Config(ingest=Ingest(steps=STEPS), decontaminate=decontaminate)


def test_a_contaminated_document_is_rejected_with_the_ngram_and_its_set(tmp_path: Path) -> None:
    """The n-gram reaches from the question into the answer; the value is the number of matches."""
    config = configured(jsonl(tmp_path / "a.jsonl", {"question": QUESTION, "answer": ANSWER}))
    check_steps(config)
    text = f"{STORY} {QUESTION.lower()} {ANSWER}"
    kept, rejected = apply(with_texts([STORY, text]), make_steps(config))
    assert kept["text"].to_pylist() == [STORY]
    assert kept["decontaminate.ngram"].to_pylist() == [None]
    row = rejected[0].to_pylist()[0]
    assert (row["reason"], row["value"], row["threshold"]) == ("contaminated", 6.0, 1.0)
    assert row["decontaminate.set"] == "fleet"
    assert row["decontaminate.ngram"] == "which of the seven captains of the northern fleet came back with two"
    assert {field.name for field in signal_fields(config)} <= set(rejected[0].column_names)
    assert thresholds(config)["decontaminate.matches"] == [1.0]


def test_annotation_rejects_nothing(tmp_path: Path) -> None:
    """With action = "annotate" the columns say what was found and the document stays."""
    path = jsonl(tmp_path / "a.jsonl", {"question": QUESTION, "answer": ANSWER})
    kept, rejected = apply(with_texts([f"{QUESTION} {ANSWER}"]), make_steps(configured(path, action="annotate")))
    assert not rejected
    assert kept["decontaminate.matches"].to_pylist() == [6]
    assert "decontaminate.matches" not in thresholds(configured(path, action="annotate"))


def test_a_share_can_be_the_threshold(tmp_path: Path) -> None:
    """A long text with one question in it stays where the share of its words decides."""
    path = jsonl(tmp_path / "a.jsonl", {"question": QUESTION, "answer": ANSWER})
    texts = [f"{QUESTION} {ANSWER}", f"{STORY} {QUESTION} {ANSWER}"]
    kept, rejected = apply(with_texts(texts), make_steps(configured(path, measure="share", threshold=0.5)))
    assert kept["text"].to_pylist() == texts[1:]
    assert rejected[0]["value"].to_pylist() == [1.0]


def test_sets_are_read_from_every_format(tmp_path: Path) -> None:
    """JSON lines (also compressed), Parquet and text hold the same items; lists and inner fields count."""
    record = {"q": {"text": QUESTION}, "choices": [ANSWER, "none", 3, None]}
    jsonl(tmp_path / "a.jsonl", record)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(orjson.dumps(record) + b"\n\n"))
    pq.write_table(
        pa.Table.from_pylist([{"q": {"text": QUESTION}, "choices": [ANSWER, "none"]}]), tmp_path / "c.parquet"
    )
    for name in ("a.jsonl", "b.jsonl.gz", "c.parquet", "*"):
        given = EvaluationSet(name="s", paths=(str(tmp_path / name),), fields=("q.text", "choices"))
        assert set(read_items(given)) == {f"{QUESTION} {ANSWER} none"}
    (tmp_path / "d.txt").write_text(f"{QUESTION}\n\n{ANSWER}\n")
    assert len(list(read_items(EvaluationSet(name="s", paths=(str(tmp_path / "d.txt"),))))) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "nothing matches"),
        (b"", "neither JSON lines"),
        (b'{"question": "x"', "cannot read"),
        (b'{"other": "field"}', "holds no text in question, answer"),
        (b'{"question": "too short", "answer": "yes"}', "has no item of 8 words or more"),
        (b'{"question": "a field is misspelt", "answr": "yes"}', "no record has a text in answer"),
        (b"\x1f\x8b\x08broken", "cannot read"),
    ],
)
def test_a_set_with_nothing_to_look_for_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    """A file that is missing, empty, broken or without the fields stops the run before it begins."""
    path = tmp_path / "set.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        check_steps(configured(str(path)))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('[ingest]\nsteps = ["language", "decontaminate"]', "needs"),
        ('[[decontaminate.sets]]\nname = "a"\npaths = ["x"]', "not in ingest.steps"),
        ('[ingest]\nsteps = ["language", "decontaminate"]\n[[decontaminate.sets]]\npaths = ["x"]', "different names"),
        ('[[decontaminate.sets]]\nfile = "a"', "unknown key decontaminate.sets"),
        ("[decontaminate]\nwords = 1", "between 2 and 100"),
    ],
)
def test_mistakes_in_the_configuration_are_named(tmp_path: Path, lines: str, message: str) -> None:
    """Sets without the step, the step without sets, and unknown keys are refused."""
    (tmp_path / "c.toml").write_text(lines)
    with pytest.raises(ConfigError, match=message):
        check_steps(load(str(tmp_path / "c.toml"), frozenset()))


def test_another_content_of_a_set_is_another_stage(tmp_path: Path) -> None:
    """The files' bytes count in the fingerprint, wherever they lie."""
    plan = Plan((), 0, 0, 0, 1.0)
    path = tmp_path / "a.jsonl"
    config = configured(jsonl(path, {"question": QUESTION, "answer": ANSWER}))
    before = ingest_stage("out", config, plan).fingerprint
    assert ingest_stage("out", config, plan).fingerprint == before
    jsonl(path, {"question": QUESTION, "answer": "another answer"})
    assert ingest_stage("out", config, plan).fingerprint != before

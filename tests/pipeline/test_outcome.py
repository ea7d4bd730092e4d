"""What is said at the end: every document counted, a sample projected."""

from dataclasses import replace
from typing import Any

import pytest

from pipeline.clean import Corpus, check_conservation, check_deduplicated, check_ingested
from pipeline.config import Config, Evaluator, SelfClean
from pipeline.execute import RunFailed
from pipeline.outcome import projection, table
from pipeline.plan import Plan
from pipeline.shards import DocumentShard
from pipeline.stage import Manifest, Record, Stage

PLAN = Plan((), 1, 1, 10, 1.0)


def finished(name: str, *records: Record, summary: dict[str, Any] | None = None) -> Manifest:
    """Return the manifest of a stage with these records."""
    return Manifest(Stage(name, "0", "out"), records, summary or {}, 1.0, sum(r.get("cpu_seconds", 0) for r in records))


def read(**changed: int) -> dict[str, Any]:
    """Return the summary of an ingest of 100 records that adds up, but for what is changed."""
    counts = {"records": 100, "documents": 50, "rejected": 30, "unreadable": 3, "skipped": 17, **changed}
    rows = {name: counts[name] for name in ("documents", "rejected", "unreadable")}
    return {"records": counts["records"], "rows": rows, "skipped": {"request": counts["skipped"]}}


CORPUS = Corpus(
    PLAN,
    finished("ingest", summary=read()),
    shards=(DocumentShard("00000-000", "folder", 0, 50, 1000),),
    deduplicated=finished("deduplicate", {"documents": 50, "kept": 40, "rejected": 10}),
    encoded=finished("publish.encode", {"documents": 50, "kept": 38, "rejected": 12}),
    merged=finished("publish.merge", {"documents": 30}, {"documents": 8}),
)


@pytest.mark.parametrize("name", ["records", "documents", "rejected", "unreadable", "skipped"])
def test_a_record_that_is_nowhere_fails_ingest(name: str) -> None:
    """One too many or too few of any kind is a loss; what adds up passes."""
    check_ingested(read(), 0.05, "there")
    for wrong in (-1, 1):
        changed = {"records": 100, "documents": 50, "rejected": 30, "unreadable": 3, "skipped": 17}[name] + wrong
        with pytest.raises(RunFailed, match="records were read, but"):
            check_ingested(read(**{name: changed}), 0.05, "there")


def test_too_many_unreadable_records_are_said_with_what_to_do() -> None:
    """Which error is commonest, where all of them are, and for a text of another name who knows its name."""
    summary = {**read(unreadable=30, skipped=0, rejected=20), "inputs": {"web": {"documents": 70, "unreadable": 30}}}
    for error, remedy in (
        ("no column 'text'; the file has body", ": [[input]] says which field is which"),
        ("cut", ""),
    ):
        of = {"web": {error: 29, "else": 1}, "another input": {"else": 99}}
        with pytest.raises(RunFailed) as raised:
            check_ingested({**summary, "unreadable": {"else": 100, error: 29}, "unreadable_of": of}, 0.05, "OUT/there")
        assert str(raised.value).endswith(f"most often: {error} (29 times){remedy}; file by file in OUT/there")


@pytest.mark.parametrize(
    ("stage", "records", "message"),
    [
        ("deduplicated", [{"documents": 50, "kept": 40, "rejected": 9}], "deduplicate: 50 documents went in"),
        ("deduplicated", [{"documents": 49, "kept": 40, "rejected": 9}], "deduplicate: 50 documents went in"),
        ("encoded", [{"documents": 50, "kept": 39, "rejected": 12}], "publish.encode: 50 documents went in"),
        ("merged", [{"documents": 37}], "publish: 38 documents are kept, the token shards hold 37"),
    ],
)
def test_a_lost_document_fails_the_run(stage: str, records: list[Record], message: str) -> None:
    """A stage whose kept and rejected are not what went in, and shards that are not what was kept; else it passes."""
    check_conservation(CORPUS)
    lossy = replace(getattr(CORPUS, stage), records=tuple(records))
    with pytest.raises(RunFailed, match=message):
        check_conservation(replace(CORPUS, **{stage: lossy}))


def test_a_projection_counts_work_and_budgets() -> None:
    """Work of the tasks grows with the corpus; start-up does not, and training costs what its budget allows."""
    config = Config(
        sample=0.1, evaluator=Evaluator(train_tokens=1000), self_clean=SelfClean(rounds=2, folds=2, score_tokens=5000)
    )
    stages = [
        finished("ingest", {"cpu_seconds": 12.0}, {"cpu_seconds": 8.0}),
        finished("tokenizer", {"cpu_seconds": 50.0}),
        finished("self_clean.round-1.train", {"cpu_seconds": 3.0, "tokens": 100}, {"cpu_seconds": 3.0, "tokens": 100}),
        finished("self_clean.round-1.score", {"cpu_seconds": 2.0, "tokens": 1000}),
    ]
    merged = finished("publish.merge", {"shard": {"tokens": 7}}, {"shard": {"tokens": 5}})
    said = projection(replace(CORPUS, merged=merged), config, stages)
    assert "200 CPU seconds that grow" in said  # (12 + 8) / 0.1
    assert "at most 140 for training and scoring" in said  # 2 rounds of 2 x 1,000 tokens at 0.03, and 5,000 at 0.002
    assert "500 documents kept by the rules, 120 tokens" in said
    small = projection(replace(CORPUS, merged=merged), config, [finished("ingest", {"cpu_seconds": 9.0})])
    assert "a cost that this sample does not tell" in small
    assert "tokens" not in projection(replace(CORPUS, merged=None), config, [])


@pytest.mark.parametrize(("left", "row"), [(1_500_000, ["1.5 MB", "75.0%"]), (2_000_000, [])])
def test_what_edits_left_is_a_row_where_they_changed_something(left: int, row: list[str]) -> None:
    """In megabytes, and as a share of what was read of the documents that the rules kept."""
    ingested = finished("ingest", summary={**read(), "bytes": {"read": 2_000_000, "kept": left}})
    shown = table(replace(CORPUS, ingested=ingested, encoded=None, merged=None), 1.0)
    cells = zip(*(list(column.cells) for column in shown.columns), strict=True)
    assert [list(rest) for name, *rest in cells if "edits" in str(name)] == ([row] if row else [])


def test_the_commonest_reasons_of_a_stage_are_shown() -> None:
    """Three at most and the sum of the others, below their stage; a stage that has one reason alone is that reason."""
    reasons = {
        "words": {"en": 4},
        "blocked_url": {"en": 9, "de": 3},
        "language": {"fr": 8},
        "stop_words": {"en": 6},
        "urls": {"en": 2},
    }
    later = {"rejects": {"rejected": {"near_duplicate": {"en": 10}}}}
    ingested = finished("ingest", summary={**read(), "rejected": reasons})
    encoded = finished("publish.encode", {"documents": 50, "kept": 38, "rejected": 12}, summary=later)
    shown = table(replace(CORPUS, ingested=ingested, encoded=encoded, merged=None), 1.0)
    rows = list(zip(*(list(column.cells) for column in shown.columns), strict=True))
    first = rows.index(("rejected by ingest", "30", "37.5%"))
    assert [(str(name).strip(), count) for name, count, _ in rows[first + 1 : first + 6]] == [
        ("blocked_url", "12"),
        ("language", "8"),
        ("stop_words", "6"),
        ("2 other reasons", "6"),
        ("rejected by deduplicate", "10"),
    ]
    assert "near_duplicate" not in str(rows)


def test_a_corpus_of_duplicates_ends_the_run() -> None:
    """As where an earlier run has all of it: said before the tokenizer would fail for want of text."""
    check_deduplicated({"kept": {"documents": {"en": 1}}, "reasons": {"exact_duplicate": 9}})
    with pytest.raises(RunFailed, match=r"none of 11 documents is kept; most often: exact_duplicate \(9 times\)"):
        check_deduplicated({"kept": {"documents": {}}, "reasons": {"near_duplicate": 2, "exact_duplicate": 9}})

"""The tables of a run's growth, made of results that are known."""

import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.config import Publish, SelfClean
from tests.benchmarks.scale import fastest, missing, span
from tests.benchmarks.scale_tables import BESIDE, DRIVER, speedup, tables

STAGES = {
    "ingest": 100.0,
    "deduplicate": 0.0,
    "deduplicate.clusters": 1.0,
    "publish.encode": 20.0,
    "tokenizer": 0.0,
}  # CPU seconds a GB
VERSION = {"Python": "3.11.2", "lustrate": "0.1.0 (abc)"}


def run(gigabytes: float, **changed: Any) -> dict[str, Any]:
    """Return what a run of some size cost: stages in proportion, the tokenizer 7 s, the driver 2 s and 3 a GB."""
    cpu = {name: each * gigabytes + (7 if name == "tokenizer" else 0) for name, each in STAGES.items()}
    stages = [
        {"name": name, "cpu_seconds": seconds, "peak_bytes": 10**8, "bytes": 10**6, "tasks": 64 * gigabytes}
        for name, seconds in cpu.items()
    ]
    return {
        "identity": VERSION,
        "crawl": {"bytes": int(gigabytes * 1e9), "stored": 1},
        "workers": 1,
        "machine": "a machine",
        "load": [0.0, 0.0],
        "wall": 1.0,
        "cpu": sum(cpu.values()) + 2 + 3 * gigabytes,
        "peak_mb": {"driver": 370.0, "worker": 500.0},
        "published": 10**6,
        "funnel": [{"count": 10}, {"count": 9}, {"count": 8}],
        "tokens": {"train": 10**6},
        "stages": stages,
        "alike": {"surplus": 1, "left": 0, "rejected": 1, "rejected_alone": 0},
    } | changed


def cells(text: str, name: str) -> list[str]:
    """Return the cells of the row of a name."""
    (row,) = (line for line in text.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in row.split("|")[2:-1]]


def test_the_driver_grows_and_is_extrapolated() -> None:
    """What a run takes beside its tasks counts among what grows, and comes to hours of one process."""
    text = tables({"sizes": {"1": run(1), "2": run(2)}})
    assert cells(text, DRIVER)[:4] == ["5.00", "8.00", "2.00", "3.00"]
    assert cells(text, "**all that grow**")[3] == "124"  # 100 + 1 + 20 + 3 seconds a GB
    assert cells(text, f"hours of {DRIVER}, one process")[:2] == ["5.00", "583"]  # 3 s by 6,000 and 700,000 GB
    assert cells(text, "hours on 1,000 cores")[0] == "0.20"  # 120 s by 6,000 GB


def test_hours_hold_jobs_and_publication() -> None:
    """A stage is a job, and starts; a document shard of 256 MB is four files, which one process copies."""
    text = tables({"sizes": {"1": run(1), "2": run(2)}})
    assert cells(text, "hours of publication in a store, one process")[:2] == ["0.40", "46.7"]  # 96,000 files
    assert cells(text, "hours of starting jobs, Flink")[:2] == ["0.01", "0.01"]  # 5 stages, 5 s each
    assert cells(text, "hours of starting jobs, Dataflow, assumed")[0] == "0.28"
    parts = [0.2, 1 / 3600 * 6000, 5.0, 0.4, 5 * 200 / 3600]
    found = float(cells(text, "**hours in all but S3's answers**, Dataflow, assumed")[0])
    assert found == pytest.approx(sum(parts), abs=0.01)


def test_two_processes_are_set_beside_one() -> None:
    """From first task to last record; beside it what two runs that share but the machine come to, and CPU seconds."""
    common = {"name": "ingest", "tasks": 9, "documents": 1000}
    runs = [
        run(
            1,
            stages=[{**common, "seconds": wall + 0.5, "span": wall, "work": work, "cpu_seconds": cpu}],
            workers=workers,
        )
        for wall, work, cpu, workers in ((12.0, 12.0, 12.0, 1), (7.0, 13.3, 14.0, 2), (13.5, 13.5, 13.5, 1))
    ]
    lines = speedup(*runs)
    assert cells("\n".join(lines), "ingest") == [
        *("9", "12.00", "7.00", "1.71", "1.78", "95%", "12.0", "14.0", "83", "143", "100.0%")
    ]
    assert tables({"speedup": dict(zip(("1", "2", BESIDE), runs, strict=True))}) == "\n".join(lines)
    assert cells(tables({"speedup": {"1": runs[0], "2": runs[1]}}), "ingest")[3:6] == ["1.71", "", "95%"]


def test_a_stage_is_timed_from_its_first_task_to_its_last_record(tmp_path: Path) -> None:
    """Whichever task was recorded first; beside it stand the seconds that its tasks took."""
    (tmp_path / "done").mkdir()
    for key, end, seconds in (("a", 1005.0, 2.0), ("b", 1004.0, 3.5), ("c", 1006.5, 1.0)):
        path = tmp_path / "done" / f"{key}.json"
        path.write_bytes(orjson.dumps({"seconds": seconds}))
        os.utime(path, (end, end))
    assert span(tmp_path) == pytest.approx({"span": 6.0, "work": 6.5})


def test_of_several_turns_each_stage_counts_where_it_was_fastest() -> None:
    """Whatever else a machine does only adds; what is wanted twice and was measured once is measured again."""
    stages = [
        [{"name": name, "span": taken, "seconds": 9.0, "cpu_seconds": 1.0} for name, taken in (("a", a), ("b", b))]
        for a, b in ((1.0, 5.0), (2.0, 3.0), (0.5, 9.0))
    ]
    before = run(1, stages=stages[0])
    for turn, (found, spans) in enumerate(((stages[1], [1.0, 3.0]), (stages[2], [0.5, 3.0])), 2):
        before = fastest(before, run(1, stages=found))
        assert ([stage["span"] for stage in before["stages"]], before["turns"]) == (spans, turn)
    common = {"tasks": 2, "documents": 1, "work": 1.0}
    often = {**before, "stages": [{**stage, **common} for stage in before["stages"]]}
    assert "each stage the least of 3, 1 turns" in speedup(often, {**often, "turns": 1})[0]
    assert "turns" not in speedup({**often, "turns": 1}, {**often, "turns": 1})[0]
    once, twice = ("speedup", "2", 1), ("speedup", "1", 1)
    assert missing([once, twice] * 4, {"speedup": {"1": before, "2": run(1)}}) == [once, once, once, twice]


@pytest.mark.parametrize(
    ("kind", "other", "message"),
    [
        ("sizes", {**VERSION, "lustrate": "0.1.0 (def)"}, "several versions of lustrate:"),
        ("scoring", {**VERSION, "torch": "2.15.0"}, "several versions of torch:"),
        ("sizes", {}, "do not say what they were measured with"),
    ],
)
def test_results_of_several_versions_make_no_table(kind: str, other: dict[str, str], message: str) -> None:
    """A cost per GB between runs of different code would be of neither."""
    results = {"sizes": {"1": run(1)}}
    results.setdefault(kind, {})["2"] = run(2, identity=other)
    with pytest.raises(SystemExit, match=message):
        tables(results)


def test_every_size_says_its_version() -> None:
    """A reader of the page can tell which sources were measured."""
    assert "lustrate 0.1.0 (abc), 1 process on" in tables({"sizes": {"1": run(1)}})


def judged() -> dict[str, Any]:
    """Return what the default run cost on 2 GB: 30 s in stages that grow, and 8 s for a tenth of what was judged."""
    stages = {"anchors": (6.0, 10**9), "folds": (4.0, 0), "round-1.train": (500.0, 0), "round-1.measure": (20.0, 10**9)}
    stages["round-1.score"] = (8.0, 10**8)
    rows = [
        {"name": f"self_clean.{name}", "cpu_seconds": seconds, "peak_bytes": 10**8, "bytes": size}
        for name, (seconds, size) in stages.items()
    ]
    return run(2, stages=rows)


def test_a_round_costs_what_grows_and_a_share_of_reading_all() -> None:
    """What was read of a small corpus is no share of it; at any size a round reads its share of all that is judged."""
    text = tables({"sizes": {"1": run(1), "2": run(2)}, "scoring": {"2": judged()}})
    every, added = (cells(text, f"CPU-days {name}") for name in ("to read all", "that a round adds, cascade"))
    share = SelfClean().score_share
    assert every[0] == "2.78"  # 80 s for 2 GB, by 6,000 GB
    assert float(added[0]) == pytest.approx((15 + share * 40) * 6000 / 86_400, abs=0.005)
    assert added[2] == f"15.0 CPU s/GB on 2 GB, the other stages that grow, and {share:g} of the next line"
    assert cells(text, "self_clean.round-1.score")[-1] == "yes"
    assert float(cells(text, "**CPU-days, with a round**")[0]) == pytest.approx(
        (124 + 15 + share * 40) * 6000 / 86_400, abs=0.05
    )
    assert cells(text, "hours of self_clean.folds, one process")[0] == "3.33"  # 2 s a GB, by 6,000
    hours = cells(text, "hours that a round adds, Dataflow, assumed")
    assert float(hours[0]) == pytest.approx((13 + share * 40) * 6 / 3600 + 12000 / 3600 + 5 * 200 / 3600, abs=0.005)


def test_a_store_answers_for_each_slice() -> None:
    """Two requests a slice, three where a file has more readers than its end names; all pairs of files and readers."""
    large = run(2, tokens={"train": 2 * 10**9})  # a billion tokens a GB
    large["stages"][[s["name"] for s in large["stages"]].index("publish.encode")]["bytes"] = 2 * 10**9
    text = tables({"sizes": {"1": run(1), "2": large}})
    settings = Publish()
    runs, shards = (6000 * 10**9 / each for each in (settings.group_bytes, settings.shard_tokens))
    assert shards > 8190
    assert float(cells(text, "million slices of publish.merge, default")[0].replace(",", "")) == pytest.approx(
        runs * shards / 1e6, rel=0.01
    )
    answers = cells(text, "hours of S3's answers to publish.merge, default")
    assert float(answers[0].replace(",", "")) == pytest.approx(3 * runs * shards / 5500 / 3600, rel=0.01)
    assert answers[2] == "3 GETs a slice, 5,500 a second"


def grown(name: str, **changed: float) -> dict[str, Any]:
    """Return a run of 4 GB in which a stage cost something else."""
    found = run(4)
    for stage in found["stages"]:
        stage.update(changed if stage["name"] == name else {})
    return found


@pytest.mark.parametrize(
    ("last", "slope", "peak"),
    [
        (run(4), "of 5: holds for all.", "of 6: holds for all."),
        (grown("publish.encode", cpu_seconds=100.0), "holds but for publish.encode (20 to 30 s/GB).", "for all."),
        (grown("publish.encode", peak_bytes=2 * 10**8), "for all.", "holds but for publish.encode (100 to 200 MB)."),
        (grown("tokenizer", peak_bytes=2 * 10**8), "of 5: holds for all.", "holds but for tokenizer (100 to 200 MB)."),
        (
            run(4, peak_mb={"driver": 500.0, "worker": 500.0}),
            "for all.",
            f"holds but for {DRIVER} (370 to 500 MB), all that grow (370 to 500 MB).",
        ),
    ],
)
def test_a_rule_holds_or_does_not_stage_by_stage(last: dict[str, Any], slope: str, peak: str) -> None:
    """A GB may cost a quarter more than the one before, and a process may be a quarter larger, of each stage."""
    lines = tables({"sizes": {"1": run(1), "2": run(2), "4": last}}).splitlines()
    (slopes,) = (line for line in lines if line.startswith("CPU seconds a GB, 2→4 GB at most 25% above 1→2 GB"))
    (peaks,) = (line for line in lines if line.startswith("Peak memory, 2→4 GB, at most 25% more"))
    assert slopes.endswith(slope)
    assert peaks.endswith(peak)
    assert "CPU seconds a GB" not in tables({"sizes": {"1": run(1), "2": run(2)}})


def test_a_round_grows_as_its_stages_do() -> None:
    """Theirs alone count; what is bounded has no verdict of its slope, and what rises or swells is named."""
    runs = {}
    for size, swollen in ((1, 1), (2, 1), (4, 2)):
        rows = [
            {"name": f"self_clean.{name}", "cpu_seconds": cpu, "peak_bytes": 10**8 * swollen, "bytes": 1}
            for name, cpu in (("round-1.train", 50.0 * size**2), ("round-1.measure", 10.0 * size), ("folds", size**2))
        ]
        runs[str(size)] = run(size, stages=[*run(size)["stages"], *rows])
    text = tables({"judged": runs})
    assert cells(text, "**all that grow**")[:7] == ["11.0", "24.0", "56.0", "-2.00", "13.0", "16.0", "1.23"]
    assert "| ingest |" not in text
    assert "4 GB at most 25% above 1→2 GB, of 3: holds but for self_clean.folds (3.00 to 6.00 s/GB)." in text
    assert "self_clean.round-1.train (100 to 200 MB)" in text


def test_kinds_that_meet_in_no_table_may_be_of_two_versions() -> None:
    """The pair of one process and two need not be measured again where growth is."""
    other = {name: run(int(name), identity={**VERSION, "lustrate": "0.1.0 (def)"}) for name in "12"}
    text = tables({"sizes": {"1": run(1)}, "judged": other})
    assert "lustrate 0.1.0 (abc), 1 process" in text
    assert "A round whose trainings are short, lustrate 0.1.0 (def)" in text

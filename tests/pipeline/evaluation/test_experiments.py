"""The contaminated corpus and the equal-token variants are what their benchmarks say they are."""

import re
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pytest

from pipeline.config import ConfigError
from pipeline.document import write_table
from pipeline.evaluation import experiments
from pipeline.evaluation.finished import read_finished
from pipeline.evaluation.resampling import RESAMPLES
from pipeline.output_folder import amend_report
from pipeline.self_clean.scoring import length_class
from pipeline.self_clean.signals import SIGNALS
from tests.benchmarks import ablate, ablate_tables, budget, cascade, combinations, contaminate, signals_worth, variants
from tests.pipeline.evaluation.test_evaluate import make_run, story
from tests.pipeline.self_clean.measurements import KINDS, measured
from tests.pipeline.test_report import known_facts


def documents(count: int) -> variants.Documents:
    """Return documents of three sources, two languages and many lengths; the round took most of one source."""
    ids = sorted(f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}{number:016x}" for number in range(count))
    sources = [("news", "books", "spam")[number % 3] for number in range(count)]
    before = np.ones(count, bool)
    after = np.array([source != "spam" or number % 4 == 0 for number, source in enumerate(sources)])
    texts = ["a" * size for size in np.random.default_rng(2).integers(100, 20_000, count).tolist()]
    held = {"deduplicated": before, "round 1": after}
    return variants.Documents(ids, ["en", "zh"] * (count // 2), sources, texts, held, {}, [])


WANTED = 20_000  # tokens


@pytest.fixture
def lengths() -> np.ndarray:
    """Return the tokens of 600 documents, a third of which are wanted."""
    return np.random.default_rng(1).integers(20, 180, 600)


def test_matched_variants_have_equal_shares(lengths: np.ndarray) -> None:
    """Each language and source gets the same tokens from every variant, up to one document, and nothing comes twice."""
    found = documents(600)
    taken = {}
    for variant, holds in variants.with_random_drop(found, 3).variants.items():
        rows = variants.choose(found, variant, "matched", lengths, 3, WANTED)
        assert len(set(rows)) == len(rows)
        assert holds[rows].all()
        cells: Counter[tuple[str, str]] = Counter()
        for row in rows:
            cells[found.languages[row], found.sources[row]] += int(lengths[row])
        taken[variant] = cells
    assert all(abs(taken["deduplicated"][cell] - taken["round 1"][cell]) < 180 for cell in taken["round 1"])
    assert sum(taken["deduplicated"].values()) <= WANTED


def test_unmatched_variants_come_as_they_are(lengths: np.ndarray) -> None:
    """Without matching, the source that a variant lost is rarer there; both have the tokens that are wanted."""
    found = documents(600)
    rows = {name: variants.choose(found, name, "unmatched", lengths, 3, WANTED) for name in found.variants}
    spam = {name: np.mean([found.sources[row] == "spam" for row in own]) for name, own in rows.items()}
    assert spam["round 1"] < spam["deduplicated"] / 2
    assert all(19_800 < lengths[own].sum() <= WANTED for own in rows.values())


def test_seeds_order_all_variants_alike(lengths: np.ndarray) -> None:
    """What two variants share comes in the same order with the same seed, and in another with another."""
    found = documents(600)
    first, second = (variants.choose(found, name, "matched", lengths, 3, WANTED) for name in found.variants)
    common = set(first) & set(second)
    assert [row for row in first if row in common] == [row for row in second if row in common]
    assert first != variants.choose(found, "deduplicated", "matched", lengths, 4, WANTED)


def test_the_random_drop_is_of_equal_size() -> None:
    """It drops as many of every language and length class as the round did, not the same ones."""
    found = documents(600)
    after = np.random.default_rng(3).random(600) > 0.2
    dropped = variants.random_drop(found, np.ones(600, bool), after, 1)
    classes = length_class(np.array([len(text) for text in found.texts])).tolist()
    counts = [
        Counter((found.languages[row], classes[row]) for row in np.flatnonzero(kept).tolist())
        for kept in (after, dropped)
    ]
    assert counts[0] == counts[1]
    assert (after != dropped).any()


def test_the_random_drop_stands_for_the_first_round() -> None:
    """A later round that rejects more changes nothing about it."""
    found = documents(600)
    none = np.zeros(600, bool)
    more = replace(found, variants={**found.variants, "round 2": none})
    drop, again = (variants.with_random_drop(one, 1).variants[variants.RANDOM] for one in (found, more))
    assert drop.sum() == found.variants["round 1"].sum()
    assert (drop == again).all()


def test_a_round_that_was_put_aside_is_no_variant(tmp_path: Path) -> None:
    """Nobody would train on what a tripped guard did not let through; accepted rounds have what they rejected."""
    ids, rejected = ["a", "b", "c"], {1: [True, False, False], 2: [True, True, False]}
    write_table(str(tmp_path / "stages/ingest/f/documents/0.parquet"), pa.table({"id": ids}))
    for number, gone in rejected.items():
        place = tmp_path / f"stages/self_clean.round-{number}.verdicts/f/verdicts/0.parquet"
        write_table(str(place), pa.table({"rejected": gone}))
    prints = dict.fromkeys(("ingest", *(f"self_clean.round-{number}.verdicts" for number in rejected)), "f")
    (tmp_path / "run.json").write_bytes(orjson.dumps({"fingerprints": prints}))
    rounds = [{"number": 1, "accepted": True}, {"number": 2, "accepted": False}]
    (tmp_path / "report.json").write_bytes(orjson.dumps({"rounds": rounds}))
    assert variants._rejected_by_round(tmp_path) == {1: {"a"}}


def test_each_seed_draws_its_own_random_drop(lengths: np.ndarray) -> None:
    """What is compared with it over seeds holds its chance: whole variants of two seeds are not the same documents."""
    found = documents(600)
    taken = [set(variants.choose(found, variants.RANDOM, "unmatched", lengths, seed, 10**9)) for seed in (3, 4, 3)]
    assert taken[0] == taken[2] != taken[1]
    assert {len(rows) for rows in taken} == {int(found.variants["round 1"].sum())}


FILES = ("run.json", ablate.BOOKS, *ablate.WIKI, ablate.ARTICLES)
SETTINGS = {
    "SIZES": {"width": 64},
    "INITIAL_STD": 0.02,
    "RATE": 1e-3,
    "TOKENS": 9,
    "HELD_OUT": 0.2,
    "NEWS": re.compile("press"),
    "FEWEST_NEWS": 9,
    "CLEAN_BYTES": 9,
    "LONGEST": 9,
    "PROBED": 9,
    "FEWEST_PROBED": 9,
    "STRENGTH": 0.1,
    "VERSION": 1,
}


def test_results_of_other_files_and_settings_are_not_mixed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of an ablation is done for its files and settings only: with another of any it is made anew."""
    for name in FILES:
        (tmp_path / name).write_bytes(b"{}")
    setup = ablate.Setup(tmp_path, tmp_path, tmp_path)
    digests = {setup.digest}
    for name in FILES:
        (tmp_path / name).write_bytes(b"{ }")
        digests.add(setup.digest)
    for name, value in SETTINGS.items():
        monkeypatch.setattr(ablate, name, value)
        digests.add(setup.digest)
    assert len(digests) == 1 + len(FILES) + len(SETTINGS)
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"".join(orjson.dumps({"setup": name}) + b"\n" for name in sorted(digests)))
    assert ablate.read_log(log, setup) == [{"setup": setup.digest}]


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_dirt_is_the_share_that_is_asked_for(monkeypatch: pytest.MonkeyPatch, level: float) -> None:
    """Half of the dirt is templated; copies of a template differ by more than deduplication would forgive."""
    monkeypatch.setattr(contaminate, "LANGUAGES", {"en": 200})
    rows = [{"id": f"d{n}", "source": "shelf", "host": "", "text": story(f"dirt {n}")} for n in range(300)]
    records = contaminate.contaminated({"en": rows, "zh": rows[:5]}, level).records
    dirt = [record for record in records if record["id"].startswith(contaminate.DIRT)]
    copies = [record["text"] for record in dirt if "/template/" in record["id"]]
    assert len(dirt) / len(records) == pytest.approx(level, abs=0.005)
    assert abs(len(dirt) - 2 * len(copies)) <= 1
    assert {record["source"] for record in dirt} == {"shelf"}
    assert max(similarity(copies[0], other) for other in copies[1:6]) < 0.7


def test_dirt_is_never_a_document_as_it_was() -> None:
    """Texts of one paragraph, which repeating does not change, are passed over by that damage."""
    rows = [{"id": f"d{n}", "source": "shelf", "host": "", "text": story(f"{n}").replace("\n", " ")} for n in range(9)]
    made = {text for text, _ in islice(contaminate.damaged(rows, ["Ein Satz. " * 40], "en"), 16)}
    assert not {row["text"] for row in rows} & made


def test_rounds_are_compared_on_what_all_of_them_judged() -> None:
    """A language that one round did not judge is left out, and the others' values stay with their documents."""
    names = [f"en{n}" for n in range(40)] + [f"dirt/en/single/{n}" for n in range(40)]
    high = np.array([float("dirt" in name) for name in names])
    first = contaminate.Seen(
        [*(f"zh{n}" for n in range(30)), *names], np.append(np.ones(30), high), *np.zeros((2, 110))
    )
    second = contaminate.Seen(names[::-1], *([high[::-1]] * 3))
    rows = contaminate.figures([first, second])
    assert [row["figures"]["AUC"][0] for row in rows] == [1, 1]
    assert [row["figures"]["recall"][0] for row in rows] == [0, 1]
    assert [row["figures"]["recall" + contaminate.FAR][0] for row in rows] == [0, 1]
    assert rows[1]["figures"]["loss"][0] == rows[1]["figures"]["loss" + contaminate.FAR][0] == 0


@pytest.mark.parametrize(
    ("rejected", "drawn", "there", "missed"),
    [
        ([470, 4, 0], [1000, 300, 300], [1000, 1000, 12_000], 120.0),  # 3 of 300
        ([470, 0, 0], [1000, 300, 2000], [1000, 1000, 12_000], 28.0),  # 10 and 18
        ([470, 4, 1], [1000, 300, 300], [1000, 1000, 12_000], 0.0),
        ([470, 4, 0], [1000, 300, 500], [1000, 1000, 500], 0.0),  # all of them were read
        ([470, 4, 0], [1000, 300, 0], [1000, 1000, 7], 7.0),  # nobody looked
        ([0, 4, 0], [0, 300, 0], [0, 1000, 0], 0.0),
    ],
)
def test_nothing_seen_is_not_nothing_there(
    rejected: list[int], drawn: list[int], there: list[int], missed: float
) -> None:
    """A part of which no drawn document is rejected may hold 3/n of its documents that are; one that was read, none."""
    assert cascade.unseen(rejected, drawn, there) == pytest.approx(missed)


def test_what_may_be_missed_is_in_the_low_end() -> None:
    """An interval of hits alone has no width here; with what may be missed its low end is lower, and nothing else."""
    found, weights = np.ones(90, bool), np.ones((501, 90))
    assert cascade.recall(found, weights, 0.0) == [1, 1, 1]
    assert cascade.recall(found, weights, 10.0) == [1, 0.9, 1]
    assert cascade.recall(found[:0], weights[:, :0], 10.0) == [None, None, None]


def test_a_rows_low_end_has_the_parts_that_showed_nothing() -> None:
    """Of 100 documents that stand for 10,000, none rejected, 300 may be: what a row says of 100 that were found."""
    group = np.repeat([cascade.READ, cascade.OTHERS], 100)
    full = group == cascade.READ
    weights = np.where(full, 1.0, 100.0) * np.ones((501, 1))
    row = cascade.row(np.ones(200, bool), full, full, group, weights, [100, 0, 10_000])
    assert row[2:] == ["100 = 100 + 0 + 0", "100", "300", "1.000 (.250 to 1.000)", "1.000 (1.000 to 1.000)"]


def test_documents_are_read_again_by_the_runs_own_score(tmp_path: Path) -> None:
    """Damage in the middle of a long text raises its score, and its company changes nothing."""
    make_run(tmp_path)
    finished = read_finished(str(tmp_path))
    text = "\n".join(story(f"long {number}") for number in range(9))[:7000]
    hurt = text[:1100] + "zx qv " * 130 + text[1880:]
    table = pa.table({"text": [text, hurt], "language": ["en", "en"], "judge": [0, 0]})
    good, bad = cascade.read_here(table, finished).tolist()
    assert bad > good + 1
    assert cascade.read_here(table.slice(1), finished).tolist() == pytest.approx([bad])


def test_reading_costs_by_what_is_read() -> None:
    """A million tokens of 4 bytes in 100 s: 25 s a MB that is read, and three quarters are."""
    spent = dict.fromkeys((*budget.RULES, *budget.READING), 1.0)
    found = budget.Found(10.0, 9.0, 8.0, 4.0, 0.1, excerpts=6.0, tokens_per_second=1e4, seconds=spent, fixed=0)
    said = budget.told(found)[-1]
    assert said.endswith("full scoring would take 18.8 CPU seconds a judged MB")


def test_six_terabytes_cost_by_their_excerpts() -> None:
    """Of 1.5e12 tokens full scoring reads three quarters, and a cascade a tenth of these."""
    found = budget.Found(10.0, 9.0, 8.0, 4.0, 0.1, excerpts=6.0, tokens_per_second=1e4, seconds={}, fixed=0)
    full, part = (float(cell) for cell in budget.row("1M", found, 1e4)[-2:])
    assert full == float(f"{1.125e12 / 1e4 / budget.YEAR:.3g}")
    assert part == float(f"{1.125e11 / 1e4 / budget.YEAR:.3g}")


def similarity(a: str, b: str) -> float:
    """Return the Jaccard similarity of two texts' shingles of five words."""
    first, second = ({tuple(words[i : i + 5]) for i in range(len(words) - 4)} for words in (a.split(), b.split()))
    return len(first & second) / len(first | second)


def test_differences_are_told_by_language() -> None:
    """What is better in one language and not in another is claimed of that one alone, in pairs of seeds."""
    noise = {0: 0.0, 1: 0.01, 2: -0.01}
    done = [
        {"variant": variant, "table": "matched", "seed": seed, "bits": bits}
        for seed, more in noise.items()
        for variant, bits in {
            "round 1": {"en": {"a": 2.0 + more, "b": 1.9 + more}, "zh": {"c": 3.0 + 5 * more}},
            variants.RANDOM: {"en": {"a": 2.1 + more, "b": 1.95 + more}, "zh": {"c": 3.0}},
        }.items()
    ]
    header, cleaned, drop = ablate_tables.differences(done, "matched", ["round 1", variants.RANDOM])
    assert [name.partition(":")[0] for name in header] == ["variant", "en", "", "zh", ""]
    assert cleaned == ["round 1", "-0.0750 to -0.0750", "better", "-0.1242 to +0.1242", "not resolved"]
    assert drop == [variants.RANDOM, "", "", "", ""]


def test_what_is_drawn_of_an_ablation_is_what_all_seeds_say() -> None:
    """A variant's mean lies in its interval; one with a seed missing is not drawn, nor is the random drop."""
    bits = {"round 1": [2.0, 2.1, 2.2], "rules": [2.4, 2.5], variants.RANDOM: [2.1, 2.1, 2.1]}
    done = [
        {"variant": name, "table": "unmatched", "seed": seed, "macro": value}
        for name, values in bits.items()
        for seed, value in enumerate(values)
    ]
    ((name, (mean, low, high)),) = ablate_tables.above_random(done, "unmatched", list(bits), 3)
    assert name == "round 1"
    assert mean == pytest.approx(0.0)
    assert -0.3 < low < -0.1 < 0.1 < high < 0.3
    assert ablate_tables.above_random(done, "unmatched", list(bits), 5) == []


TOLD = experiments.Experiment(
    "ablation", "Of models", "Less is better.", [experiments.Shown("bits", [["variant", "bits"], ["rules", "7.7751"]])]
)


def test_an_experiment_is_in_the_report_of_the_run_that_it_is_of(tmp_path: Path) -> None:
    """It is kept beside the run, shown as it is, and no longer once other stages made what is there."""
    (tmp_path / "report.json").write_bytes(orjson.dumps(known_facts() | {"experiments": []}))
    (tmp_path / "run.json").write_bytes(orjson.dumps({"fingerprints": {"ingest": "f"}}))
    with pytest.raises(ConfigError, match="is not the output folder of a finished run"):
        experiments.keep(str(tmp_path), TOLD)
    (tmp_path / "_SUCCESS").touch()
    for one in (TOLD, replace(TOLD, name="contamination", title="Of dirt")):
        amend_report(str(tmp_path), "experiments", experiments.keep(str(tmp_path), one))
    page = (tmp_path / "report.html").read_text()
    assert [page.count(text) for text in ("Of models", "Of dirt", "Less is better.", "7.7751")] == [1, 1, 2, 2]
    kept = experiments.read_experiments(str(tmp_path), {"ingest": "f"})
    assert [one["name"] for one in kept] == ["ablation", "contamination"]
    assert orjson.loads((tmp_path / "report.json").read_bytes())["experiments"] == kept
    assert experiments.read_experiments(str(tmp_path), {"ingest": "g"}) == []


def test_what_is_contaminated_is_told_round_by_round() -> None:
    """The report's table is the one that is printed: a row a round, the first without what lies above it."""
    seen = contaminate.Seen(["a", "dirt/en/single/0", "b"], *np.array([[0.0, 2, 1], [0, 1, 0], [0, 1, 0]]))
    rows = contaminate.figures([seen, seen])
    head, first, second = contaminate.cells(rows)
    assert [len(first), len(second)] == [len(head), len(head)]
    assert [first[0], first[-1], second[0]] == ["1", "", "2"]
    assert second[-1].startswith("+")
    assert contaminate.shown(0.05, rows).row_count == 2


def test_ways_to_combine_signals_are_judged_by_kinds_that_they_never_saw() -> None:
    """Every way finds made-up damage; the same columns by the score's own way give what signals are worth."""
    given = signals_worth.split({"en": measured(1, count=480), "fi": measured(2, count=480)})
    by_way = {name: combinations.found(given, way) for name, way in combinations.WAYS.items()}
    for cells in by_way.values():
        assert cells.keys() == {(kind, name) for kind in KINDS for name in ("en", "fi")}
        draws, recall = combinations.overall(cells)
        assert draws.shape == recall.shape == (1 + RESAMPLES,)
        assert 0.6 < draws[0] <= 1
    own, _ = combinations.overall(by_way["all kinds and languages, one weight"])
    assert signals_worth.found(given, range(len(SIGNALS)))[signals_worth.ALL][0] == pytest.approx(own[0], abs=0.01)
    without = signals_worth.found(given, [n for n in range(len(SIGNALS)) if n != KINDS["loud"]])
    assert without["loud"][0] < own[0] - 0.1
    value, language = combinations.agreement(given, combinations.shared)
    assert 0.3 < value < 1
    assert language in {"en", "fi"}

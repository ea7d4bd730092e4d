"""Labels: files of people, what they say of a run whose truth is known, agreement, thresholds, the report."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from pipeline.config import Config, ConfigError, SelfClean
from pipeline.labelled import ENOUGH, applied, decide, measure, remarks, threshold, with_thresholds
from pipeline.labels import Labels, read_labels
from pipeline.report import render
from pipeline.review import main
from pipeline.run import main as run_main
from tests.pipeline.judged_run import CUT, identity, written
from tests.pipeline.test_report import known_facts, read

COUNTS = {"en": 1500, "zh": 700, "ar": 200}


def sampled(folder: Path, *more: str) -> dict[str, Any]:
    """Draw a sample of a run by the command and return what is written beside the page."""
    before = set((folder / "review").glob("sample-*.json"))
    assert main(["--output", str(folder), *more]) == 0
    (path,) = set((folder / "review").glob("sample-*.json")) - before
    facts: dict[str, Any] = orjson.loads(path.read_bytes())
    return facts


def saved(path: Path, sample: dict[str, Any], labels: Any, labeller: str = "Ana") -> str:
    """Write a file of labels as the page does."""
    rows = [{"id": name, "label": label} for name, label in (labels.items() if isinstance(labels, dict) else labels)]
    file = {"kind": "lustrate labels", "version": 1, "sample": sample["digest"], "labeller": labeller, "labels": rows}
    path.write_bytes(orjson.dumps(file))
    return str(path)


def truth(sample: dict[str, Any], known: dict[str, Any]) -> dict[str, str]:
    """Return what somebody who is always right says of a sample."""
    return {one["id"]: "bad" if known[one["id"]]["bad"] else "good" for one in sample["documents"]}


def test_intervals_hold_the_truth_of_a_run(tmp_path: Path) -> None:
    """Of 20 samples of a run whose truth is known at most 3 have an interval that does not hold it, by language too."""
    known = written(tmp_path, COUNTS)
    missed: Counter[tuple[str, str]] = Counter()
    for seed in range(20):
        sample = sampled(tmp_path, "--size", "400", "--seed", str(seed))
        path = saved(tmp_path / "ana.json", sample, truth(sample, known))
        facts = measure(read_labels([path], str(tmp_path)), str(tmp_path))
        assert (facts["counted"], facts["covered"], facts["gone"]) == (400, 1.0, 0)
        for row in [{**facts, "name": ""}, *facts["languages"]]:
            of = [one for one in known.values() if row["name"] in {"", one["language"]}]
            bad = sum(one["bad"] for one in of)
            rejected = sum(one["rejected"] for one in of)
            both = sum(one["bad"] and one["rejected"] for one in of)
            true = {"precision": both / rejected, "recall": both / bad, "loss": (rejected - both) / (len(of) - bad)}
            for name, value in true.items():
                missed[row["name"], name] += not row[name][1] - 1e-9 <= value <= row[name][2] + 1e-9
    assert len(missed) == 3 * (1 + len(COUNTS))
    assert max(missed.values()) <= 3, missed


def test_labelling_everything_leaves_no_doubt(tmp_path: Path) -> None:
    """With every document labelled the figures are the truth and the intervals are points."""
    known = written(tmp_path, {"en": 300})
    sample = sampled(tmp_path, "--size", "5000")
    path = saved(tmp_path / "ana.json", sample, truth(sample, known))
    facts = measure(read_labels([path], str(tmp_path)), str(tmp_path))
    bad = [one for one in known.values() if one["bad"]]
    recall = sum(one["rejected"] for one in bad) / len(bad)
    assert facts["recall"] == pytest.approx((recall,) * 3)


def test_unsure_and_unlabelled_documents_stand_for_nothing(tmp_path: Path) -> None:
    """A part of the sample, and one with unsure labels, still add up to the corpus."""
    known = written(tmp_path, COUNTS)
    sample = sampled(tmp_path, "--size", "200")
    said = dict(list(truth(sample, known).items())[:120])
    said |= dict.fromkeys(list(said)[:20], "unsure")
    labels = read_labels([saved(tmp_path / "ana.json", sample, said)], str(tmp_path))
    decided = decide(labels)
    assert len(decided) == 100
    labelled = np.bincount(decided.stratum, minlength=len(decided.sizes)) > 0
    weight = decided.sampled(np.ones(100, bool), decided.rejected).weight
    assert weight.sum() == pytest.approx(decided.sizes[labelled].sum())


def test_two_people_and_their_agreement(tmp_path: Path) -> None:
    """Agreement is counted over what both labelled; who is unsure leaves it to the other, a tie to nobody."""
    known = written(tmp_path, COUNTS)
    sample = sampled(tmp_path, "--size", "100")
    ana = truth(sample, known)
    names = list(ana)
    ben = {
        name: ("good" if ana[name] == "bad" else "bad") if n < 10 else ana[name] for n, name in enumerate(names[:80])
    }
    ben |= dict.fromkeys(names[70:80], "unsure")
    paths = [saved(tmp_path / "ana.json", sample, ana), saved(tmp_path / "ben.json", sample, ben, "Ben")]
    labels = read_labels(paths, str(tmp_path))
    facts = measure(labels, str(tmp_path))
    (pair,) = facts["agreement"]
    assert (pair["labellers"], pair["both"]) == (["Ana", "Ben"], 80)
    assert pair["raw"][0] == pytest.approx(60 / 80)
    assert pair["kappa"][1] < pair["kappa"][0] < pair["kappa"][2] < 1
    assert (facts["disputed"], facts["unsure"], facts["decided"]) == (10, 10, 90)
    assert labels.agreed()[0][names[75]] == ana[names[75]]


def test_what_is_said_twice_is_counted(tmp_path: Path) -> None:
    """The same label twice is one, and two different ones of one person are none."""
    known = written(tmp_path, {"en": 300})
    sample = sampled(tmp_path, "--size", "30")
    said = list(truth(sample, known).items())
    other = {"good": "bad", "bad": "good"}
    twice = [said[0], (said[1][0], other[said[1][1]])]
    paths = [saved(tmp_path / "a.json", sample, said), saved(tmp_path / "b.json", sample, twice)]
    labels = read_labels(paths, str(tmp_path))
    assert (labels.repeated, labels.contradicted) == (2, 1)
    assert labels.given["Ana"][said[0][0]] == said[0][1]
    assert labels.given["Ana"][said[1][0]] == "unsure"
    assert len(decide(labels)) == 29


WRONG = {
    "not JSON": (b"{", "is no file of labels"),
    "another file": (b'{"kind": "x", "sample": "a", "labeller": "b", "labels": []}', "its kind is 'x'"),
    "a list": (b"[1]", "is no file of labels"),
    "no id": (b'{"kind": "lustrate labels", "sample": "a", "labeller": "b", "labels": [{}]}', "is no file of labels"),
    "a number": (b'{"kind": "lustrate labels", "sample": 1, "labeller": "b", "labels": []}', "must be strings"),
    "an unknown label": (
        b'{"kind": "lustrate labels", "sample": "a", "labeller": "b", "labels": [{"id": "1", "label": "great"}]}',
        "must be one of good, bad, unsure, got 'great'",
    ),
    "nobody's": (
        b'{"kind": "lustrate labels", "sample": "a", "labeller": " ", "labels": []}',
        "does not say whose labels they are: its labeller is ' '",
    ),
    "another run": (
        b'{"kind": "lustrate labels", "sample": "0123", "labeller": "b", "labels": []}',
        "of the sample 0123, whose probabilities",
    ),
    "a path": (b'{"kind": "lustrate labels", "sample": "../../x", "labeller": "b", "labels": []}', "whose probab"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """A mistake in a file is said in a line that names the file, with exit code 2."""
    written(tmp_path, {"en": 100})
    content, said = WRONG[name]
    (tmp_path / "ana.json").write_bytes(content)
    assert main(["--output", str(tmp_path), "--labels", str(tmp_path / "ana.json")]) == 2
    assert said in capsys.readouterr().err
    assert main(["--output", str(tmp_path), "--labels", str(tmp_path / "none.json")]) == 2


def without(table: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return a table without some of its values."""
    return {name: value for name, value in table.items() if name not in names}


BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "is not what pipeline.review wrote of the sample": lambda _: [],
    "it has no documents": lambda sample: without(sample, "documents"),
    "it has no strata": lambda sample: without(sample, "strata"),
    "it has no offset": lambda sample: without(sample, "offset"),
    "it holds no documents": lambda sample: {**sample, "documents": []},
    "it holds 99 as documents": lambda sample: {**sample, "documents": 99},
    "its version is 99, and this lustrate knows those up to 2": lambda sample: {**sample, "version": 99},
    "it says that it is the list of wishes": lambda sample: {**sample, "kind": "list of wishes"},
    "documents[0] has no score": lambda sample: with_first(sample, lambda one: without(one, "score")),
    "documents[0] has no read": lambda sample: with_first(sample, lambda one: without(one, "read")),
    "documents[0] holds None as cut": lambda sample: with_first(sample, lambda one: {**one, "cut": None}),
    "documents[0] is no JSON object": lambda sample: with_first(sample, lambda _: 1),
    "of stratum 4, and there are 1": lambda sample: (
        with_first(sample, lambda one: {**one, "stratum": 4}) | {"strata": sample["strata"][:1]}
    ),
    "strata[0] has 1 of 0 documents drawn": lambda sample: {
        **sample, "strata": [{**sample["strata"][0], "documents": 0, "drawn": 1}, *sample["strata"][1:]]
    },
}  # fmt: skip


def with_first(sample: dict[str, Any], change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Return a sample whose first document is another."""
    return {**sample, "documents": [change(sample["documents"][0]), *sample["documents"][1:]]}


@pytest.mark.parametrize("said", BROKEN)
def test_a_broken_sample_is_said_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str], said: str) -> None:
    """Both commands say in a line what is wrong with the probabilities; a run leaves no folder."""
    known = written(tmp_path / "out", {"en": 100})
    sample = sampled(tmp_path / "out", "--size", "20")
    path = tmp_path / "out/review" / f"sample-{sample['digest']}.json"
    labels = saved(path.parent / "ana.json", sample, truth(sample, known))
    path.write_bytes(orjson.dumps(BROKEN[said](sample)))
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}')
    lines = (
        (main, ["--output", f"{tmp_path}/out"]),
        (run_main, ["--input", f"{tmp_path}/a.jsonl", "--output", f"{tmp_path}/new"]),
    )
    capsys.readouterr()
    for command, line in lines:
        assert command([*line, "--labels", labels]) == 2
        printed = capsys.readouterr()
        assert printed.err.startswith(f"error: {path} is not what pipeline.review wrote of the sample")
        assert said in printed.err
        assert printed.err.count("\n") == 1
        assert not printed.out
    assert not (tmp_path / "new").exists()


def test_samples_of_the_first_version_are_read(tmp_path: Path) -> None:
    """They did not say what was read, and all of it counts as read."""
    known = written(tmp_path, {"en": 100})
    sample = sampled(tmp_path, "--size", "20")
    old = {**sample, "version": 1, "documents": [without(one, "read") for one in sample["documents"]]}
    (tmp_path / "review" / f"sample-{sample['digest']}.json").write_bytes(orjson.dumps(old))
    labels = read_labels([saved(tmp_path / "ana.json", sample, truth(sample, known))], str(tmp_path))
    assert np.isfinite(decide(labels).margin).all()


def test_strangers_and_mixed_samples_are_refused(tmp_path: Path) -> None:
    """A document that was not drawn, and files of two samples, are mistakes."""
    known = written(tmp_path, {"en": 300})
    one, other = sampled(tmp_path, "--size", "30"), sampled(tmp_path, "--size", "30", "--seed", "2")
    stranger = saved(tmp_path / "s.json", one, {identity("nobody"): "good"})
    with pytest.raises(ConfigError, match="is not in the sample"):
        read_labels([stranger], str(tmp_path))
    paths = [saved(tmp_path / f"{n}.json", s, truth(s, known)) for n, s in enumerate((one, other))]
    with pytest.raises(ConfigError, match="of 2 samples"):
        read_labels(paths, str(tmp_path))


def test_probabilities_may_lie_beside_the_labels(tmp_path: Path) -> None:
    """Labels of an earlier run are measured against another output when their sample's file came along."""
    known = written(tmp_path / "old", COUNTS)
    sample = sampled(tmp_path / "old", "--size", "60")
    written(tmp_path / "new", {"en": 1500})
    beside = tmp_path / "old/review"
    path = saved(beside / "ana.json", sample, truth(sample, known))
    facts = measure(read_labels([path], str(tmp_path / "new")), str(tmp_path / "new"))
    assert facts["gone"] == sum(one["language"] != "en" for one in sample["documents"])
    assert facts["counted"] == 60 - facts["gone"]
    assert [row["name"] for row in facts["languages"]] == ["en"]


def with_known_offset(folder: Path, size: int, offset: float, drawn_at: float = 0.0) -> Labels:
    """Return labels of a run by somebody to whom all is bad from an offset of the cut on, which was moved before."""
    written(folder, COUNTS)
    (folder / "run.json").write_bytes(orjson.dumps({"config": {"self_clean": {"cut_offset": drawn_at}}}))
    sample = sampled(folder, "--size", str(size), "--near", "0.2")
    said = {one["id"]: "bad" if one["score"] >= CUT + offset else "good" for one in sample["documents"]}
    return read_labels([saved(folder / "ana.json", sample, said)], str(folder))


@pytest.mark.parametrize("offset", [-0.25, 0.0, 0.2])
def test_thresholds_from_labels_are_those_that_people_mean(tmp_path: Path, offset: float) -> None:
    """The offset is found on one half of the labels, and on the other it is better than what was."""
    found = threshold(with_known_offset(tmp_path, 600, offset))
    assert found is not None
    assert found["enough"]
    assert found["step"] == pytest.approx(offset, abs=0.06)
    assert found["chosen_on"] + found["reported_on"] == found["labels"]
    assert 200 < found["chosen_on"] < 400
    error = [1 - found[when]["precision"][0] + 1 - found[when]["recall"][0] for when in ("now", "then")]
    assert error[1] <= error[0] + 0.02
    assert offset == 0 or error[1] < error[0]


def test_few_labels_set_no_thresholds(tmp_path: Path) -> None:
    """Under the number that is needed the offset is reported and the configuration stays as it is."""
    few, many = (
        with_known_offset(tmp_path / name, size, 0.2) for name, size in (("few", ENOUGH - 1), ("many", ENOUGH))
    )
    config = Config(self_clean=SelfClean(thresholds="labels"))
    assert with_thresholds(config, few) == config
    changed = with_thresholds(config, many)
    assert changed.self_clean.cut_offset == pytest.approx(0.2, abs=0.15)
    assert with_thresholds(Config(), many) == Config()
    with pytest.raises(ConfigError, match="needs --labels"):
        with_thresholds(config, None)
    with pytest.raises(ConfigError, match="give one of them"):
        with_thresholds(Config(self_clean=SelfClean(thresholds="labels", cut_offset=0.1)), many)


def test_what_no_cut_rejects_sets_none(tmp_path: Path) -> None:
    """Of bad documents that no TransNormer read, however many, labels ask for no lower cut and promise no recall."""
    known = written(tmp_path, COUNTS)
    sample = sampled(tmp_path, "--size", "600", "--near", "0.2")
    said = {}
    for one in sample["documents"]:
        assert one["read"] == (known[one["id"]]["bits_per_byte"] is not None)
        said[one["id"]] = "bad" if one["score"] >= CUT or not one["read"] else "good"
    labels = read_labels([saved(tmp_path / "ana.json", sample, said)], str(tmp_path))
    found = threshold(labels)
    assert found is not None
    assert found["step"] == pytest.approx(0, abs=0.06)
    assert found["then"]["recall"][0] == pytest.approx(found["now"]["recall"][0], abs=0.05)
    never = read_labels([saved(tmp_path / "ben.json", sample, {n: said[n] for n in unread(sample)})], str(tmp_path))
    assert threshold(never) is None


def unread(sample: dict[str, Any]) -> list[str]:
    """Return the ids of what no TransNormer read."""
    return [one["id"] for one in sample["documents"] if not one["read"]]


@pytest.mark.parametrize("size", [ENOUGH - 1, 400])
def test_cuts_copied_from_the_print_were_chosen_by_the_labels(tmp_path: Path, size: int) -> None:
    """Whoever asked for the offset, the run or a person who read it, and however few labels it is from."""
    labels = with_known_offset(tmp_path, size, 0.2)
    facts = measure(labels, str(tmp_path))
    (copied,) = (float(part) for line in remarks(facts) for part in re.findall(r"cut_offset = ([-.\w]+)", line))
    assert applied(labels, SelfClean(cut_offset=copied))
    assert applied(labels, SelfClean(cut_offset=facts["thresholds"]["offset"]))
    assert not applied(labels, SelfClean())
    assert not applied(labels, SelfClean(rounds=0, cut_offset=copied)), "a run without rounds has no cuts"


@pytest.mark.parametrize("drawn_at", [0.0, 0.2])
def test_cuts_that_stay_were_chosen_only_where_labels_were_asked(tmp_path: Path, drawn_at: float) -> None:
    """Labels that ask for no move chose no cut of a run that did not ask them, or asked when they were too few."""
    few, enough = (
        with_known_offset(tmp_path / str(size), size, 0.0, drawn_at=drawn_at) for size in (ENOUGH - 1, ENOUGH)
    )
    for labels in (few, enough):
        found = threshold(labels)
        assert found is not None
        assert (found["step"], found["offset"]) == (0.0, drawn_at)
        assert not applied(labels, SelfClean(cut_offset=drawn_at))
        asked = SelfClean(thresholds="labels", cut_offset=drawn_at)
        assert applied(labels, asked) == (labels is enough)


def test_labels_of_a_default_run_all_speak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command, none is left out for having chosen cuts that nobody moved."""
    written(tmp_path, COUNTS)
    sample = sampled(tmp_path, "--size", "60")
    said = {one["id"]: "bad" if one["score"] >= CUT else "good" for one in sample["documents"]}
    (tmp_path / "report.json").write_bytes(orjson.dumps(known_facts()))
    assert main(["--output", str(tmp_path), "--labels", saved(tmp_path / "ana.json", sample, said)]) == 0
    printed = capsys.readouterr().out
    assert "What people say of self-cleaning: 60 labels" in printed
    assert "all cuts to move by +0 (cut_offset = 0)" in printed
    assert "60 labels are too few" in printed
    assert "chosen by the other half" not in printed


def test_labels_that_chose_the_cuts_do_not_praise_them(tmp_path: Path) -> None:
    """Where labels were applied, precision and recall come from the half that did not choose."""
    labels = with_known_offset(tmp_path, 400, 0.2)
    facts = measure(labels, str(tmp_path), applied=True)
    assert facts["counted"] == facts["thresholds"]["reported_on"]
    assert facts["precision"] == facts["thresholds"]["now"]["precision"]


def test_the_command_prints_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counting labels prints the table and writes it into the report of a finished run, as text."""
    known = written(tmp_path, COUNTS)
    sample = sampled(tmp_path, "--size", "90")
    evil = "<script>window.hacked = 1</script>"
    path = saved(tmp_path / "ana.json", sample, truth(sample, known), evil)
    (tmp_path / "report.json").write_bytes(orjson.dumps(known_facts()))
    assert main(["--output", str(tmp_path), "--labels", path]) == 0
    assert "What people say of self-cleaning: 90 labels" in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    said = orjson.loads((tmp_path / "report.json").read_bytes())["labels"]
    assert said["counted"] == 90
    assert evil not in page
    assert evil in read(page).text
    assert 'href="#people"' in page
    assert f"{said['precision'][0]:.1%}" in read(page).text
    assert "What people say" not in render(known_facts())


def test_from_a_run_to_labels_and_back(tmp_path: Path, run: Callable[..., Any], settings: Path) -> None:
    """A run, its page, labels that ask for other cuts, and the same run again with these cuts."""
    output, once, changed = (tmp_path / name for name in ("out", "once.toml", "labels.toml"))
    once.write_text(settings.read_text().replace("rounds = 2", "rounds = 1"))
    changed.write_text(once.read_text().replace("[self_clean]", '[self_clean]\nthresholds = "labels"'))
    run(output, config=once)
    report = (output / "report.html").read_text()
    assert render(orjson.loads((output / "report.json").read_bytes())) == report, "a report can be made of its facts"
    line = [sys.executable, "-m", "pipeline.review", "--output", str(output)]
    subprocess.run(line, check=True, capture_output=True)
    (path,) = (output / "review").glob("sample-*.json")
    sample = orjson.loads(path.read_bytes())
    said = {one["id"]: "bad" if one["score"] >= one["cut"] - 0.5 else "good" for one in sample["documents"]}
    labels = saved(tmp_path / "ana.json", sample, said)
    before = pq.read_table(output / "rejected", columns=["id", "stage"]).to_pylist()
    printed = run(output, "--labels", labels, config=changed).stdout
    assert "What people say of self-cleaning" in printed
    offset = orjson.loads((output / "run.json").read_bytes())["config"]["self_clean"]["cut_offset"]
    facts = orjson.loads((output / "report.json").read_bytes())
    assert offset == facts["labels"]["thresholds"]["offset"] < 0
    assert facts["labels"]["applied"]
    assert "What people say of self-cleaning" in (output / "report.html").read_text()
    after = pq.read_table(output / "rejected", columns=["id", "stage"]).to_pylist()
    gone = [{row["id"] for row in rows if row["stage"] == "self_clean"} for rows in (before, after)]
    assert len(gone[1]) > len(gone[0])
    assert path.exists(), "a later run leaves the sample where it is"

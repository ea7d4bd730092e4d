"""The command on a small run whose judges were made in place: counted, not trained, on sentences of one pattern."""

import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from model import ngram
from model.checkpoint import save_model
from model.config import TransNormerConfig
from model.transnormer import TransNormer
from pipeline import storage
from pipeline.config import Config, Ingest, Input, SelfClean, as_table
from pipeline.document import write_table
from pipeline.evaluate import main
from pipeline.evaluation import trials
from pipeline.evaluation.finished import read_evaluation, read_finished
from pipeline.evaluation.methods import observe, weights_without
from pipeline.self_clean import scoring
from pipeline.self_clean.anchors import AnchorTask, MeasureAnchors, anchor_path, read_measured
from pipeline.self_clean.cuts import least_cut
from pipeline.self_clean.fitting import fit
from pipeline.self_clean.judges import published, write_counts
from tests.pipeline.conftest import sentence
from tests.pipeline.test_report import empty_facts
from tokenizer.encode import Tokenizer
from tokenizer.train import train

DAMAGE = "self_clean.round-1.damage"
CONFIG = Config(
    input=(Input(paths=("x.jsonl",)),),
    ingest=Ingest(steps=("language", "gopher_quality")),
    self_clean=SelfClean(min_agreement=-1),
)


def story(seed: str) -> str:
    """Return an English text of a few lines."""
    draw = random.Random(seed)
    return "\n".join(" ".join(sentence(draw) for _ in range(4)) for _ in range(draw.randint(3, 9)))


def rows(kind: str, count: int) -> list[dict[str, Any]]:
    """Return documents of a kind as their stages store them."""
    place = {"language": "en", "source": kind, "host": ""}
    return [{"id": f"{number:032x}", **place, "text": story(f"{kind} {number}")} for number in range(count)]


def make_judges(folder: Path) -> None:
    """Count n-grams of texts that no other part of the test uses, and save TransNormers as they begin."""
    texts = [row["text"] for row in rows("counted", 150)]
    model = train(texts, 400)
    (folder / "tokenizer.model").write_bytes(model)
    tokenizer = Tokenizer(model)
    sizes = TransNormerConfig(
        vocab_size=tokenizer.vocab_size, eos=tokenizer.end_of_document, width=16, layers=1, heads=2, hidden=16
    )
    for fold in range(2):
        tables = ngram.empty(1, tokenizer.vocab_size, bits=14)
        for ids in tokenizer.encode(texts[fold::2]):
            ngram.add(tables, ids, 0)
        place = folder / f"round-1/fold-{fold}"
        place.mkdir(parents=True)
        write_counts(str(place / "ngrams.arrow"), ngram.finish(tables), ["en"])
        save_model(place, TransNormer(sizes, seed=fold))


def make_run(output: Path) -> None:
    """Write what a run publishes and an evaluation reads."""
    evaluator, anchors = output / "evaluator", output / "stages" / DAMAGE / "f"
    make_judges(evaluator_made(evaluator))
    anchored = [{**row, "fold": number % 2} for number, row in enumerate(rows("anchor", 120))]
    write_table(anchor_path(str(anchors), "a"), pa.Table.from_pylist(anchored))
    task = AnchorTask("en", (anchor_path(str(anchors), "a"),), 1)
    MeasureAnchors(str(anchors), published(str(evaluator), 1, 2))(task)
    fitted, _ = fit({"en": read_measured(str(anchors), "en")}, CONFIG.self_clean)
    assert fitted is not None
    storage.write_json(scoring.score_path(str(evaluator / "round-1")), scoring._as_table(fitted))
    write_table(str(output / "documents/a.parquet"), pa.Table.from_pylist(rows("anchor", 120)))
    run = {"config": as_table(CONFIG), "fingerprints": {DAMAGE: "f"}}
    (output / "run.json").write_bytes(orjson.dumps(run))
    cuts = {f"en {n}": least_cut(fitted.languages["en"], n, CONFIG.self_clean.outlier) for n in range(4)}
    judged = {"number": 1, "accepted": True, "cuts": cuts}
    (output / "report.json").write_bytes(orjson.dumps({**empty_facts(), "rounds": [judged]}))
    (output / "_SUCCESS").touch()


def evaluator_made(folder: Path) -> Path:
    """Return a folder that is there."""
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a run once."""
    folder = tmp_path_factory.mktemp("evaluated") / "out"
    make_run(folder)
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write good stories, one German and one that the rules reject."""
    texts = [story(f"good {number}") for number in range(80)]
    texts += ["Der Fluss und der Berg waren im Winter nicht zu sehen, und niemand sprach davon. " * 12, "Too short."]
    path = tmp_path_factory.mktemp("good") / "good.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps({"body": text}) for text in texts) + b'\n{"body": "cut off')
    return str(path)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render no report: the facts of this run are few."""
    monkeypatch.setattr("pipeline.output_folder.amend_report", lambda *_: None)


@pytest.mark.usefixtures("drawn")
def test_damage_is_found_and_what_is_left_out_is_said(
    output: Path, good: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shuffled words are found by trigrams, chance finds nothing, and every good document is accounted for."""
    assert main(["--output", str(output), "--good", good, "--text", "body"]) == 0
    found = read_evaluation(str(output))
    cells = {(row["kind"], row["severity"]): row for row in found["rows"]}
    assert len(cells) == 24
    assert "babble_source" not in {kind for kind, _ in cells}  # records that name no source: a file is none
    shuffled = cells["shuffled_words", "severe"]["methods"]
    assert shuffled["score"]["auc"][0] > 0.95
    assert shuffled["trigrams"]["auc"][0] > 0.9
    assert abs(shuffled["random"]["auc"][0] - 0.5) < 0.3
    repeated = cells["repeated_paragraphs", "severe"]["methods"]
    assert repeated["trigrams"]["auc"][0] < 0.6 < repeated["trigrams, either side"]["auc"][0]
    assert 0 <= found["languages"]["en"]["loss"][0] < 0.2
    assert found["left_out"]
    printed = capsys.readouterr().out
    assert "babble mixed" in printed
    assert "babble source" not in printed
    for said in ("82 good documents read", "too_few_words 1", "did not judge: de 1", "1 record not read", "cost: "):
        assert said in printed


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train no fastText: that the same lines give the same model is tested with `train_quality`."""
    monkeypatch.setattr("pipeline.evaluation.methods._fasttext", lambda _, texts: np.zeros(len(texts)))


@pytest.mark.usefixtures("drawn", "quick")
def test_the_same_evaluation_comes_out_again(output: Path, good: str) -> None:
    """Draws depend on ids and seeds alone."""
    line = ["--output", str(output), "--good", good, "--text", "body", "--copies", "2"]
    found = []
    for _ in range(2):
        assert main(line) == 0
        found.append({name: part for name, part in read_evaluation(str(output)).items() if name != "cost"})
    assert found[0] == found[1]


@pytest.mark.usefixtures("drawn", "quick")
def test_good_text_of_the_corpus_is_left_out(
    output: Path, good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that kept and rejected some of it is evaluated on the rest; with all of it in the corpus there is none."""
    run = tmp_path / "out"
    shutil.copytree(output, run)
    texts = [orjson.loads(line)["body"] for line in Path(good).read_bytes().split(b"\n")[:80]]
    place = {"id": "x", "language": "en", "source": "a", "host": ""}
    for folder, own in (("documents", texts[:9]), ("rejected", texts[9:12])):
        write_table(str(run / folder / "b.parquet"), pa.Table.from_pylist([{**place, "text": text} for text in own]))
    line = ["--output", str(run), "--good", good, "--text", "body", "--copies", "1"]
    assert main(line) == 0
    found = read_evaluation(str(run))
    assert found["corpus"] == {"looked": {"documents": 129, "rejected": 3}, "left_out": {"en": 12}, "records": 12,
                               "names": {}}  # fmt: skip
    assert found["languages"]["en"]["documents"] == 68
    printed = capsys.readouterr().out
    assert "evaluate.corpus: 3 of 3 · 132 documents" in printed
    assert "12 good documents left out: found in the corpus (en 12), of 12 records" in printed
    write_table(str(run / "rejected/c.parquet"), pa.Table.from_pylist([{**place, "text": text} for text in texts]))
    assert main(line) == 2
    assert "left out, since the corpus holds them: 80" in capsys.readouterr().err


@pytest.mark.usefixtures("drawn", "quick")
def test_without_good_text_the_runs_own_is_presumed_good(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What self-cleaning kept or rejected, read by the judge of its fold; not the anchors, nor what rules rejected."""
    run = tmp_path / "out"
    shutil.copytree(output, run)
    own = [
        {**row, "id": f"{number:032x}", "host": f"{number // 3}.example", "fold": number // 3 % 2}
        for number, row in enumerate(rows("own", 90), 1000)
    ]
    anchors = [{**row, "fold": number % 2} for number, row in enumerate(rows("anchor", 120))]
    write_table(str(run / "documents/a.parquet"), pa.Table.from_pylist([*anchors, *own[:70]]))
    stages = ["ingest", "deduplicate"] * 5 + ["self_clean"] * 10
    rejected = [
        {**row, "stage": stage, "fold": row["fold"] if stage == "self_clean" else None}
        for row, stage in zip(own[70:], stages, strict=True)
    ]
    write_table(str(run / "rejected/a.parquet"), pa.Table.from_pylist(rejected))
    read = []

    def observed(given: list[trials.Trial], *more: Any) -> Any:
        read.extend(given)
        return observe(given, *more)

    monkeypatch.setattr("pipeline.evaluation.methods.observe", observed)
    assert main(["--output", str(run), "--copies", "9"]) == 0
    there = [*own[:70], *own[80:]]
    asked = {row["id"]: row["fold"] for row in there}
    assert {trial.good.id: trial.judge for trial in read} == asked
    found = read_evaluation(str(run))
    assert found["corpus"] == {"own": {"documents": 190, "rejected": 10}}
    assert (found["languages"]["en"]["documents"], found["languages"]["en"]["records"]) == (
        80,
        len({row["host"] for row in there}),
    )
    cells = {(row["kind"], row["severity"]): row["methods"] for row in found["rows"]}
    assert cells["shuffled_words", "severe"]["score"]["auc"][0] > 0.9
    printed = " ".join(capsys.readouterr().out.split())
    assert "presumed good: 190 documents that self-cleaning kept, 10 that it rejected" in printed
    write_table(str(run / "documents/a.parquet"), pa.Table.from_pylist(anchors))
    assert main(["--output", str(run)]) == 2
    assert "no judged language (en) has 40 good documents" in capsys.readouterr().err


@pytest.mark.usefixtures("drawn", "quick")
def test_a_source_that_the_corpus_has_too_is_named(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Good text of another document of a source that judges know is good text in domain: `--source` tells."""
    lines = [{"text": story(f"good {n}"), "from": ("anchor", "elsewhere")[n % 2]} for n in range(80)]
    path = tmp_path / "good.jsonl"
    path.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    line = ["--output", str(output), "--good", str(path), "--copies", "1"]
    assert main([*line, "--source", "from"]) == 0
    assert read_evaluation(str(output))["corpus"]["names"] == {"anchor": [40, 120]}
    assert "anchor (40 good documents, 120 of the corpus)" in capsys.readouterr().out
    assert main(line) == 0
    assert read_evaluation(str(output))["corpus"]["names"] == {}
    assert main([*line, "--source", "form"]) == 2
    assert "error: --source form: no record of the good text has that field" in capsys.readouterr().err


@pytest.mark.usefixtures("drawn")
def test_without_the_runs_documents_the_rest_is_evaluated(
    output: Path, good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where OUT/documents is gone nothing is looked for, fastText has nothing to learn from, and both are said."""
    run = tmp_path / "out"
    shutil.copytree(output, run)
    shutil.rmtree(run / "documents")
    assert main(["--output", str(run), "--good", good, "--text", "body", "--copies", "1"]) == 0
    assert "fasttext" not in read_evaluation(str(run))["methods"]
    printed = capsys.readouterr().out
    assert "OUT/documents is gone: nobody looked" in printed
    assert "fastText had nothing to learn from" in printed
    assert "no good document was found" not in printed


@pytest.mark.usefixtures("drawn", "quick")
def test_an_evaluation_of_another_score_is_not_shown(output: Path, good: str, tmp_path: Path) -> None:
    """After a run that changed the score, the old figures are no longer its."""
    assert main(["--output", str(output), "--good", good, "--text", "body", "--copies", "1"]) == 0
    for name in ("evaluate.json", "evaluator/round-1/score.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((output / name).read_bytes())
    assert read_evaluation(str(tmp_path))
    (tmp_path / "evaluator/round-1/score.json").write_bytes(b"{}")
    assert read_evaluation(str(tmp_path)) == {}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--good", "none.jsonl"], "none.jsonl"),
        (["--copies", "28"], "--copies must be from 1 to 27, got 28"),
        (["--documents", "0"], "--documents must be from 40 to 1,000,000, got 0"),
        (["--output", "nowhere"], "nowhere is not the output folder of a finished run"),
        (["--output", "nowhere://a"], "nowhere://a: Protocol not known: nowhere"),
    ],
)
def test_mistakes_are_named(
    output: Path, good: str, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake in what was asked is one line that says where it is."""
    names = dict(zip(more[::2], more[1::2], strict=True))
    asked = {"--output": str(output), "--good": good, "--text": "body", **names}
    assert main([part for pair in asked.items() for part in pair]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("run.json", b"{}", "{} is not the output folder of a finished run"),
        ("report.json", b"[]", "{} is not the output folder of a finished run"),
        ("evaluator/round-1/score.json", b"{", "{}/evaluator/round-1/score.json is not a score that a run wrote"),
        ("evaluator/round-1/score.json", b"[1]", "{}/evaluator/round-1/score.json is not a score that a run wrote"),
    ],
)
def test_a_broken_run_is_not_evaluated(
    output: Path, good: str, tmp_path: Path, name: str, content: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a run says of itself, and its score, must be what a run writes."""
    shutil.copytree(output, tmp_path / "out")
    (tmp_path / "out" / name).write_bytes(content)
    assert main(["--output", f"{tmp_path}/out", "--good", good, "--text", "body"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {said.format(tmp_path / 'out')}")


NO_HALVES = "no judged language (en) has 40 good documents, 20 for each half; "
ALL_READ = " good documents read, pieces of long records counted one by one"
GERMAN = "Der Fluss und der Berg waren im Winter nicht zu sehen, und niemand sprach davon. " * 12
STORIES = [*["Too short."] * 3, GERMAN, story("one")]
LITTLE = {
    "a.parquet": (
        b"PAR1 and then none",
        (
            f"0{ALL_READ}; 1 record not read: not readable as Parquet: Parquet magic bytes not found in footer. "
            "Either the file is corrupted or this is not a parquet file."
        ),
    ),
    "a.bin": (
        b"\0\1\2\xff",
        f"0{ALL_READ}; 1 record not read: not JSONL, Parquet, WARC, WET, ARC or UTF-8 text",
    ),
    "empty.jsonl": (b"", f"0{ALL_READ}"),
    "empty.jsonl.gz": (b"", f"0{ALL_READ}; 1 record not read: the file is empty"),
    "blank.jsonl": (b"\n\n", f"0{ALL_READ}"),
    "field.jsonl": (
        b'{"body": "b"}\n{"body": "c"}\n{"text": 3}',
        (
            f"0{ALL_READ}; 2 records not read: no field 'text'; the record has body; "
            "1 record not read: the field 'text' holds int, not a string"
        ),
    ),
    "few.jsonl": (
        b"\n".join(orjson.dumps({"text": text}) for text in STORIES),
        (
            f"5{ALL_READ}; the run's rules reject 3 of them: too_few_words 3; in languages that the run did not judge: "
            "de 1; en is left out, too few for two halves: 1 document of 1 record"
        ),
    ),
}


@pytest.mark.parametrize("name", LITTLE)
def test_too_little_good_text_is_accounted_for(
    output: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was not read is not blamed on the rules: one line says how much was read, and what became of it."""
    content, said = LITTLE[name]
    (tmp_path / name).write_bytes(content)
    assert main(["--output", str(output), "--good", str(tmp_path / name)]) == 2
    assert capsys.readouterr().err == f"error: {NO_HALVES}{said}\n"


def test_there_are_as_many_copies_as_kinds_and_severities(
    output: Path, good: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The most that may be asked for is what there is to make."""
    monkeypatch.setattr(trials, "MOST_COPIES", 12)
    assert main(["--output", str(output), "--good", good, "--text", "body", "--copies", "13"]) == 2
    assert "--copies must be from 1 to 12, got 13" in capsys.readouterr().err


def test_without_anchors_the_weights_are_the_runs(output: Path) -> None:
    """Where OUT/stages is gone, every kind is judged by weights that saw it, and the evaluation says so."""
    run = read_finished(str(output))
    bare = replace(run, measured={})
    published = (run.score.every, run.score.surrogate)
    assert weights_without(bare, ["ocr"]) == {"": published, "ocr": published}
    every, surrogates = weights_without(run, ["ocr"])["ocr"]
    for found, own in zip((every, *surrogates), (run.score.every, *run.score.surrogate), strict=True):
        assert (found.each != own.each).any()


def test_weights_without_a_kind_are_the_runs_where_there_was_none_of_it(output: Path) -> None:
    """From the anchors of the stages come the weights that the run published, of score and surrogate."""
    run = read_finished(str(output))
    every, surrogates = weights_without(run, ["none"])["none"]
    for found, own in zip((every, *surrogates), (run.score.every, *run.score.surrogate), strict=True):
        assert found.each == pytest.approx(own.each, abs=1e-6)


def test_the_most_that_cuts_lose_is_by_those_of_a_source_that_lowers_them(output: Path) -> None:
    """A source may move its cuts down by so many deviations of its language; where none may, they are the run's."""
    run = read_finished(str(output))
    assert run.lowest_cuts == run.cuts
    shifting = replace(run, config=replace(run.config, self_clean=SelfClean(source_shift=0.5)))
    (language,) = run.score.languages.values()
    assert language.deviation > 0
    assert shifting.lowest_cuts == {name: cut - 0.5 * language.deviation for name, cut in run.cuts.items()}

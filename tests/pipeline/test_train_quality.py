"""Training a classifier from the command line, using it as a step, and its numbers against plain counting."""

import gzip
import itertools
import random
import re
from collections import Counter
from hashlib import blake2b
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Between, Classifier, Config, ConfigError, Ingest
from pipeline.quality_samples import Sample, Source, collect, line_of
from pipeline.steps import apply, check_steps, make_steps, prepare
from pipeline.train_quality import area_under_curve, main, precision_and_recall
from tests.pipeline.formats.archives import http, members, page, warc_record
from tests.pipeline.tables import with_texts

GOOD = "river mountain letter harbour winter village teacher bridge captain market".split()
BAD = "casino bonus click free viagra cheap winner prize deal offer".split()


def write(path: Path, words: list[str], count: int) -> str:
    """Write JSONL texts of these words."""
    draw = random.Random(path.name)
    texts = [" ".join(draw.choices(words, k=20)) + "." for _ in range(count)]
    path.write_bytes(b"\n".join(orjson.dumps({"text": text}) for text in texts))
    return str(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Train once, small."""
    folder = tmp_path_factory.mktemp("quality")
    line = ["--good", write(folder / "good.jsonl", GOOD, 300), "--bad", write(folder / "bad.jsonl", BAD, 300)]
    assert main([*line, "--output", str(folder / "m.bin"), "--buckets", "2000", "--epochs", "20"]) == 0
    return str(folder / "m.bin")


def test_numbers_and_settings_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Texts that differ in every word are told apart without a mistake; the same command gives the same model."""
    good, bad = write(tmp_path / "good.jsonl", GOOD, 200), write(tmp_path / "bad.jsonl", BAD, 200)
    for name in ("a.bin", "b.bin"):
        line = ["--good", good, "--bad", bad, "--output", str(tmp_path / name), "--buckets", "2000", "--epochs", "20"]
        assert main(line) == 0
    printed = capsys.readouterr().out
    assert "1.000 │  1.000 │ 1.000" in printed
    assert 'steps = ["language", "classifier.quality"]' in printed
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()


def write_as(kind: str, path: Path, words: list[str], count: int) -> str:
    """Write the texts of `write` in another format: row groups of a Parquet file, pages of a web archive, or lines."""
    texts = [orjson.loads(line)["text"] for line in Path(write(path, words, count)).read_bytes().split(b"\n")]
    if kind == "parquet":
        table = pa.table({"number": range(count), "text": pa.array(texts).dictionary_encode()})
        pq.write_table(table, path, row_group_size=70)
    elif kind == "warc":
        pages = [http(page(text).encode(), "content-type: text/html; charset=utf-8") for text in texts]
        path.write_bytes(b"".join(members([warc_record("response", response) for response in pages])))
    elif kind == "wet":
        path.write_bytes(b"".join(warc_record("conversion", text.encode()) for text in texts))
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress(path.read_bytes()))
    return str(path)


@pytest.mark.parametrize(
    ("good", "bad"), [("parquet", "warc"), ("warc", "parquet"), ("wet", "jsonl.gz"), ("parquet", "parquet")]
)
def test_the_two_inputs_may_be_of_any_format(
    tmp_path: Path, good: str, bad: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever holds the texts, all of them are read and told apart."""
    line = ["--good", write_as(good, tmp_path / f"good.{good}", GOOD, 200)]
    line += ["--bad", write_as(bad, tmp_path / f"bad.{bad}", BAD, 200), "--output", str(tmp_path / "m.bin")]
    assert main([*line, "--buckets", "2000", "--epochs", "20"]) == 0
    printed = capsys.readouterr().out
    trained, held = re.findall(r"trained on ([\d,]+) texts, measured on ([\d,]+)", printed)[0]
    assert int(trained) + int(held) == 400
    assert "1.000 │  1.000 │ 1.000" in printed


def test_what_cannot_be_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file among others without the field, or a record that is broken, is counted with its reason."""
    good, bad = write(tmp_path / "good.jsonl", GOOD, 200), write(tmp_path / "bad.jsonl", BAD, 200)
    pq.write_table(pa.table({"body": ["x"] * 3}), tmp_path / "more.parquet")
    (tmp_path / "more.warc").write_bytes(warc_record("conversion", b"\xff"))
    more = [str(tmp_path / "more.parquet"), str(tmp_path / "more.warc")]
    line = ["--good", good, *more, "--bad", bad, "--output", str(tmp_path / "m.bin"), "--buckets", "2000"]
    assert main(line) == 0
    said = capsys.readouterr().err
    assert "--good: 3 records of more.parquet not read: no column 'text'; the file has body" in said
    assert "--good: 1 record of more.warc not read: invalid UTF-8" in said


def test_the_field_of_the_bad_texts_may_be_another(tmp_path: Path) -> None:
    """As two inputs seldom agree on it."""
    good = write(tmp_path / "good.jsonl", GOOD, 100)
    pq.write_table(pa.table({"body": [f"{' '.join(BAD)} {n}" for n in range(100)]}), tmp_path / "bad.parquet")
    line = ["--good", good, "--bad", str(tmp_path / "bad.parquet"), "--bad-text", "body", "--buckets", "2000"]
    assert main([*line, "--output", str(tmp_path / "m.bin")]) == 0


def test_a_trained_model_judges_documents(model: str) -> None:
    """Reason, value and threshold; another label is annotated without bounds; a language has its own bound."""
    texts = [" ".join(GOOD * 2), " ".join(BAD * 2)]
    config = Config(
        ingest=Ingest(steps=("language", "classifier.quality", "classifier.spam")),
        classifier={
            "quality": Classifier(model=model, label="good", min=0.5),
            "spam": Classifier(model=model, label="bad"),
        },
    )
    check_steps(config)
    kept, (rejected,) = apply(with_texts(texts), make_steps(config))
    assert kept["text"].to_pylist() == texts[:1]
    assert kept["classifier.quality"][0].as_py() + kept["classifier.spam"][0].as_py() == pytest.approx(1, abs=1e-4)
    row = rejected.to_pylist()[0]
    assert (row["reason"], row["threshold"], row["value"]) == ("quality_too_low", 0.5, row["classifier.quality"])
    lenient = Classifier(model=model, label="good", min=0.5, by_language={c: Between() for c in ("en", "und")})
    steps = make_steps(Config(ingest=Ingest(steps=("language", "classifier.q")), classifier={"q": lenient}))
    assert not apply(with_texts(texts), steps)[1]


def test_a_model_s_content_counts(model: str, tmp_path: Path) -> None:
    """The same bytes elsewhere are the same step."""
    copy = tmp_path / "copy.bin"
    copy.write_bytes(Path(model).read_bytes())
    found = []
    for path in (model, str(copy)):
        settings = {"q": Classifier(model=path, label="good")}
        step = prepare(Config(ingest=Ingest(steps=("classifier.q",)), classifier=settings))[0]
        found.append(step.decided_by())
    assert found[0] == found[1]


def test_mistakes_in_classifiers_are_named(model: str, tmp_path: Path) -> None:
    """Before any work."""
    (tmp_path / "no.bin").write_bytes(b"no model")
    for settings, message in (
        (Classifier(), "classifier.q.model is needed"),
        (Classifier(model="nowhere.bin", label="x"), r"classifier.q.model: .*nowhere.bin"),
        (Classifier(model=str(tmp_path / "no.bin"), label="x"), "is not a fastText classifier"),
        (Classifier(model=model, label="best"), "label must be one of (good, bad|bad, good), got 'best'"),
        (Classifier(model=model, label="bad", by_language={"xx": Between()}), "classifier.q names the language xx"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_steps(Config(ingest=Ingest(steps=("language", "classifier.q")), classifier={"q": settings}))
    with pytest.raises(ConfigError, match=r"settings for classifier\.q, which is not in"):
        check_steps(Config(ingest=Ingest(steps=("language",)), classifier={"q": Classifier()}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--held-out", "0"], "--held-out must be from 0.001 to 0.9, got 0"),
        (["--bad", "nowhere/*.jsonl"], "nothing matches nowhere"),
        (["--text", "body"], "no field 'text'|no field 'body'"),
        (["--output", "nowhere/model.bin"], "there is no folder"),
    ],
)
def test_mistakes_in_the_command_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """With exit code 2."""
    good, bad = write(tmp_path / "g.jsonl", GOOD, 30), write(tmp_path / "b.jsonl", BAD, 30)
    assert main(["--good", good, "--bad", bad, "--output", str(tmp_path / "m.bin"), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert any(part in error for part in message.split("|"))


def test_a_text_that_is_both_is_left_out_and_equal_ones_count_once(tmp_path: Path) -> None:
    """Too few are left, and the message says of what."""
    same = write(tmp_path / "same.jsonl", GOOD, 50)
    with pytest.raises(ConfigError, match="--good: 0 different texts held out"):
        collect(Source("good", (same,), "text"), Source("bad", (same,), "text"), 0.5, tmp_path)
    texts = [orjson.dumps({"text": f"text {n % 40}"}) for n in range(400)]
    (tmp_path / "g.jsonl").write_bytes(b"\n".join(texts))
    good, bad = str(tmp_path / "g.jsonl"), write(tmp_path / "b.jsonl", BAD, 50)
    samples = collect(Source("good", (good,), "text"), Source("bad", (bad,), "text"), 0.5, tmp_path)
    found = [(sample.good, sample.held_out) for sample in samples]
    assert samples.counts == Counter(found)
    assert sum(good for good, _ in found) == 40
    assert [sample.text for sample in samples] == sorted((s.text for s in samples), key=blake2b_of)


def blake2b_of(text: str) -> bytes:
    """Return what the texts are ordered by."""
    return blake2b(text.encode(), digest_size=16).digest()


@given(st.text())
def test_a_text_is_one_line_without_labels(text: str) -> None:
    """Whatever it holds."""
    for middle in ("", "__label__bad", "</s>", "__lab__label__el__"):
        line = line_of(Sample(text + middle + text, good=True, held_out=False))
        assert line.count("\n") == 1
        assert not set(line[:-1]) & set("\r\v\f\0")
        assert line.startswith("__label__good ")


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.4, 0.5, 0.6, 0.9])), min_size=2, max_size=12))
def test_numbers_are_those_of_counting(pairs: list[tuple[bool, float]]) -> None:
    """AUC by all pairs, precision and recall by hand."""
    good, values = np.array([g for g, _ in pairs]), np.array([v for _, v in pairs])
    if good.all() or not good.any():
        return
    won = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(values[good], values[~good])]
    assert area_under_curve(good, values) == pytest.approx(np.mean(won))
    precision, recall = precision_and_recall(good, values)
    assert recall == np.mean(values[good] >= 0.5)
    if (values >= 0.5).any():
        assert precision == np.mean(good[values >= 0.5])

"""What stored signals say of other bounds is what a run with them would do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from filters.language import default_model_path
from pipeline.asked_bounds import as_toml, read_asked
from pipeline.config import (
    Classifier,
    Config,
    Decontaminate,
    EvaluationSet,
    Ingest,
    Language,
    Own,
    SelfClean,
    Url,
    as_table,
    load,
)
from pipeline.document import Writer, schema
from pipeline.retune import main, merged, parse_bounds
from pipeline.retuned import ask
from pipeline.steps import apply, make_steps, signal_fields
from tests.pipeline.tables import with_texts
from tests.pipeline.test_steps import STORY

STEPS = ("language", "gopher_quality", "gopher_repetition", "c4", "fineweb", "edits")
OWN = "tests.pipeline.own_functions"
ALL = Config(
    ingest=Ingest(steps=("language", "gopher_quality", "classifier.english", f"{OWN}:commas", f"{OWN}:has_river")),
    language=Language(minimum=0.3, minimum_by_language={"de": 0.1}),
    classifier={"english": Classifier(model=default_model_path(), label="en", min=0.2)},
    own={"commas": Own(max=0.5)},
    families={"gopher_quality": {"words": {"min": 5}}},
)
SENTENCE = "The captain of the ship told us that the harbour was closed and that we had to be back with the others."
TEXTS = [
    *(f"{STORY}\nNumber {n} of the stories that were told to the people of the village." for n in range(4)),
    *("\n".join([SENTENCE] * n) for n in (1, 2, 3, 4)),
    *(f"{SENTENCE} # # # # # # # # # # # # {n}" for n in range(2)),
    "word " * 70,
    "Zu kurz.",
    "That of the end.",
    "Der Fluss, der Berg, das Dorf und die Brücke, von denen alle sprachen, waren im Winter nicht zu sehen.",
    SENTENCE.replace("harbour", "river, mountain, and the harbour"),
    *(f"Lorem ipsum is here, and so {SENTENCE} {STORY} {n}" for n in range(2)),
]


def documents(addresses: Sequence[str] = ()) -> pa.Table:
    """Return the documents, with addresses where they are given."""
    table = with_texts(TEXTS)
    if not addresses:
        return table
    return table.set_column(table.column_names.index("url"), "url", [list(addresses)])


def written(folder: Path, config: Config, duplicates: int = 0, addresses: Sequence[str] = ()) -> str:
    """Write what a run with this configuration publishes; some kept documents are duplicates of the first."""
    kept, rejected = apply(documents(addresses), make_steps(config))
    signals = signal_fields(config)
    published = Writer(str(folder / "documents/a.parquet"), schema(signals, rejected=False))
    published.write(kept.slice(0, len(kept) - duplicates))
    published.close()
    rejects = Writer(str(folder / "rejected/a.parquet"), schema(signals, rejected=True))
    for part in rejected:
        rejects.write(part.append_column("stage", [["ingest"] * len(part)]))
    later = kept.slice(len(kept) - duplicates)
    for name, value in (
        ("stage", "deduplicate"),
        ("reason", "near_duplicate"),
        ("duplicate_of", kept["id"][0].as_py()),
    ):
        later = later.append_column(name, [[value] * len(later)])
    rejects.write(later)
    rejects.close()
    (folder / "run.json").write_bytes(orjson.dumps({"config": as_table(config)}))
    (folder / "_SUCCESS").touch()
    return str(folder)


def kept_ids(config: Config, addresses: Sequence[str] = ()) -> set[str]:
    """Return what a run keeps."""
    kept, _ = apply(documents(addresses), make_steps(config))
    return set(kept["id"].to_pylist())


@pytest.mark.parametrize(
    "bounds",
    [
        ["gopher_quality.words.min=30"],
        ["gopher_quality.words.min=false", "gopher_repetition.top_2_gram.max=false"],
        ["gopher_quality.words.min=110"],
        ["gopher_quality.words.by_language.en.min=200"],
        ["gopher_quality.hashes_per_word.max=0.01", "gopher_quality.words.min=20"],
        ["c4.sentences.min=7"],
        ["gopher_quality.mean_word_length.min=4.4"],
    ],
)
def test_the_answer_is_what_a_run_would_do(tmp_path: Path, bounds: list[str]) -> None:
    """Lost documents are those that a new run rejects; what it keeps anew is among the won and the unknown."""
    config = Config(ingest=Ingest(steps=STEPS))
    answer = ask(written(tmp_path, config), parse_bounds(bounds), 100)
    other = Config(ingest=config.ingest, families=parse_bounds(bounds))
    before, after = kept_ids(config), kept_ids(other)
    sampled = {name: {sample["id"] for sample in found} for name, found in answer["samples"].items()}
    assert sampled["lost"] == before - after
    assert sampled["won"] <= after - before <= sampled["won"] | sampled["unknown"]
    assert answer["changes"] == {**answer["changes"], **{name: len(ids) for name, ids in sampled.items()}}
    assert answer["disagreeing"] == 0
    assert answer["documents"] == len(TEXTS)


@pytest.mark.parametrize(
    "bounds",
    [
        ["language.minimum=0.9"],
        ["language.minimum=false", "language.minimum_by_language.de=false"],
        ["language.minimum_by_language.en=1", "gopher_quality.words.min=30"],
        ["language.minimum_share=1"],
        ["classifier.english.min=0.95"],
        ["classifier.english.min=false", "classifier.english.max=0.5"],
        ["classifier.english.by_language.en.min=1"],
        ["own.commas.max=0.01"],
        ["own.commas.max=false", "own.commas.min=0.001"],
        ["own.commas.by_language.en.max=0.001", "own.commas.by_language.de.max=false"],
        ["own.has_river.min=false", "own.has_river.max=0"],
    ],
)
def test_the_answer_is_what_a_run_would_do_in_every_step(tmp_path: Path, bounds: list[str]) -> None:
    """Languages, classifiers and functions are answered as families are, and the lines printed are those bounds."""
    answer = ask(written(tmp_path, ALL), parse_bounds(bounds), 100)
    other = read_asked(str(tmp_path), parse_bounds(bounds)).then
    before, after = kept_ids(ALL), kept_ids(other)
    sampled = {name: {sample["id"] for sample in found} for name, found in answer["samples"].items()}
    assert sampled["lost"] == before - after
    assert sampled["won"] <= after - before <= sampled["won"] | sampled["unknown"]
    assert answer["disagreeing"] == 0
    (tmp_path / "new.toml").write_text(answer["toml"])
    loaded = load(str(tmp_path / "new.toml"), frozenset({"gopher_quality"}))
    for name, asked in parse_bounds(bounds).items():
        if name in {"own", "classifier"}:
            assert getattr(loaded, name) == {inner: getattr(other, name)[inner] for inner in asked}
        elif name == "language":
            assert loaded.language == other.language


def test_addresses_and_evaluation_sets_are_asked_about_too(tmp_path: Path) -> None:
    """The numbers of [url] and the threshold of [decontaminate] are answered from what was measured, lists as given."""
    (tmp_path / "soft.txt").write_text("harbour\nship\nriver\n")
    items = [SENTENCE, "Number 1 of the stories that were told to the people of the village."]
    (tmp_path / "items.txt").write_text("\n".join(items))
    config = Config(
        ingest=Ingest(steps=("url", "decontaminate")),
        url=Url(doubtful_words=(str(tmp_path / "soft.txt"),)),
        decontaminate=Decontaminate(sets=(EvaluationSet(name="q", paths=(str(tmp_path / "items.txt"),)),), threshold=9),
    )
    addresses = ["https://a.example/" + "-".join(["harbour", "ship", "river"][: n % 4]) for n in range(len(TEXTS))]
    output = written(tmp_path / "out", config, addresses=addresses)
    for bounds in (["url.max_doubtful_words=0"], ["url.max_doubtful_words=2", "url.max_length=30"],
                   ["decontaminate.threshold=1"], ["decontaminate.threshold=40"]):  # fmt: skip
        asked = parse_bounds(bounds)
        answer = ask(output, asked, 100)
        then = read_asked(output, asked).then
        before, after = kept_ids(config, addresses), kept_ids(then, addresses)
        sampled = {name: {sample["id"] for sample in found} for name, found in answer["samples"].items()}
        assert before != after
        assert sampled["lost"] == before - after
        assert sampled["won"] <= after - before <= sampled["won"] | sampled["unknown"]
        assert answer["disagreeing"] == 0
        (tmp_path / "new.toml").write_text(answer["toml"])
        loaded = load(str(tmp_path / "new.toml"), frozenset())
        assert all(getattr(loaded, name) == getattr(then, name) for name in asked)


def test_what_a_function_refused_is_told_by_its_reason(tmp_path: Path) -> None:
    """A number without bounds may be as low as a refusal; a bound takes the refusal's place."""
    config = Config(ingest=Ingest(steps=("language", f"{OWN}:has_river", f"{OWN}:commas")))
    answer = ask(written(tmp_path, config), parse_bounds(["own.has_river.min=0"]), 0)
    assert answer["disagreeing"] == 0
    assert answer["changes"]["won"] + answer["changes"]["unknown"] == len(TEXTS) - len(kept_ids(config)) > 0
    assert answer["toml"] == "[own.has_river]\nmin = 0.0"


def test_a_step_that_comes_later_is_named(tmp_path: Path) -> None:
    """What a classifier or a function never saw is unknown."""
    answer = ask(written(tmp_path, ALL), parse_bounds(["gopher_quality.words.min=1"]), 0)
    unknown = answer["changes"]["unknown"]
    assert unknown > 0
    assert answer["unmeasured"] == dict.fromkeys(("classifier.english", "own.commas", "own.has_river"), unknown)


def test_tables_by_language_are_printed_as_they_are_configured() -> None:
    """A language a line, empty where nothing bounds it."""
    own = {"max": 0.5, "by_language": {"ja": {"max": 1}, "zh": {}}}
    assert as_toml({"own": {"commas": own}, "language": {"deny": ("x",)}}).split("\n") == [
        "[own.commas]", "max = 0.5", "[own.commas.by_language]", "ja = { max = 1 }", "zh = {}", "[language]",
        'deny = ["x"]',
    ]  # fmt: skip


def test_what_a_later_family_never_saw_is_not_promised(tmp_path: Path) -> None:
    """A document rejected before FineWeb measured it is unknown, and the answer says by whom it was not measured."""
    bounds = parse_bounds(["gopher_quality.words.min=5", "c4.sentences.min=1"])
    answer = ask(written(tmp_path, Config(ingest=Ingest(steps=STEPS))), bounds, 1)
    assert answer["changes"]["won"] == 0
    assert answer["changes"]["unknown"] >= 1
    assert answer["unmeasured"] == {"fineweb": answer["changes"]["unknown"]}
    assert any("fineweb" in said for said in answer["unknown"])
    assert len(answer["samples"]["unknown"]) == 1
    assert answer["samples"]["unknown"][0]["text"]


@pytest.mark.parametrize("rounds", [0, 1])
def test_judges_are_spoken_of_where_a_run_had_some(tmp_path: Path, rounds: int) -> None:
    """Without rounds of self-cleaning nothing would be trained on the other corpus."""
    config = Config(ingest=Ingest(steps=STEPS), self_clean=SelfClean(rounds=rounds))
    answer = ask(written(tmp_path, config), parse_bounds(["gopher_quality.words.min=1000"]), 0)
    assert answer["changes"]["lost"] > 0
    assert any("would train its judges" in said for said in answer["unknown"]) == (rounds > 0)


def test_without_a_later_family_a_document_is_won(tmp_path: Path) -> None:
    """Families that judge the same text measured it together."""
    steps = ("language", "gopher_quality", "gopher_repetition")
    answer = ask(written(tmp_path, Config(ingest=Ingest(steps=steps))), parse_bounds(["gopher_quality.words.min=5"]), 0)
    assert answer["changes"]["won"] > 0
    assert answer["changes"]["unknown"] == 0
    assert answer["samples"] == {"lost": [], "won": [], "unknown": []}


def test_keepers_that_go_and_later_rejects_are_counted(tmp_path: Path) -> None:
    """A duplicate that the rules would reject too, and a keeper that they would take from its duplicates."""
    output = written(tmp_path, Config(ingest=Ingest(steps=STEPS)), duplicates=2)
    answer = ask(output, parse_bounds(["gopher_quality.words.min=5000"]), 1)
    assert answer["changes"]["lost_later"] == 2
    assert (answer["lost_keepers"], answer["their_duplicates"]) == (1, 2)


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        ("gopher_quality.mean_word_lenght.min=2", "unknown signal gopher_quality.mean_word_lenght"),
        ("gopher_quality.bullet_lines.max=1.5", "must be false or a number from 0 to 1"),
        ("gopher_quality.words.by_language.en.max=x", "must be a number or false"),
        ("gopher_quality.words.min=9,c4.sentences.min=2", "another bound is another --set"),
        ("self_clean.drop=0.1", "self-cleaning's cuts are settings of the next run"),
        ("gopher_quality.stop_words.by_language.ko.min=1", "has no list"),
        ("mc4.third_longest_line.min=2", "mc4 is no step of this run with bounds to ask about; there are language, go"),
        ("language.probability.min=0.5", "a bound of language, url or decontaminate that --help names"),
        ("language.minimum=2", "language.minimum must be between 0 and 1"),
        ("language.minimum_by_language.en=2", "language.minimum_by_language.en must be between 0 and 1"),
        ("url.max_length=9", "url is no step of this run"),
        ("url.blocked_words=9", "must be FAMILY.SIGNAL.min=NUMBER"),
        ("own.commas.max=1", "own.commas is no step of this run"),
        ("classifier.quality.min=0.5", "classifier.quality is no step of this run"),
        ("gopher_quality.words=3", "must be FAMILY.SIGNAL.min=NUMBER"),
        ("gopher_quality", "must be FAMILY.SIGNAL.min=NUMBER"),
    ],
)
def test_what_a_configuration_refuses_is_refused(
    tmp_path: Path, bound: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unknown signals, bounds out of range and languages without a list end with exit code 2 and a line."""
    output = written(tmp_path, Config(ingest=Ingest(steps=STEPS)))
    assert main(["--output", output, "--set", bound]) == 2
    assert message in capsys.readouterr().err


def test_spaces_around_the_equals_sign_are_none_of_the_name() -> None:
    """As a configuration writes it."""
    assert parse_bounds(["gopher_quality.words.min = 30"]) == {"gopher_quality": {"words": {"min": 30}}}


def test_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only a finished run is asked."""
    assert main(["--output", str(tmp_path), "--set", "gopher_quality.words.min=3"]) == 2
    assert "not the output folder of a finished run" in capsys.readouterr().err


def test_the_printed_configuration_is_the_one_asked_about(tmp_path: Path) -> None:
    """The TOML holds the bounds in force and the new ones, and loads as a configuration."""
    old: dict[str, Any] = {"gopher_quality": {"words": {"max": 500, "by_language": {"zh": {"min": 60}}}}}
    config = Config(ingest=Ingest(steps=STEPS), families=old)
    asked = ["gopher_quality.words.min=30", "gopher_quality.words.by_language.ko.min=false"]
    answer = ask(written(tmp_path, config), parse_bounds(asked), 0)
    (tmp_path / "new.toml").write_text(answer["toml"])
    loaded = load(str(tmp_path / "new.toml"), frozenset({"gopher_quality"}))
    assert loaded.families == merged(old, parse_bounds(asked))
    assert as_toml({"c4": {"policy": {"languages": ["en", "de"]}}}) == '[c4.policy]\nlanguages = ["en", "de"]'


def test_the_command_prints_a_table_or_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Text for people, JSON for programs."""
    output = written(tmp_path, Config(ingest=Ingest(steps=STEPS)))
    bound = "gopher_quality.words.min=1000"
    assert main(["--output", output, "--set", bound, "--json"]) == 0
    assert orjson.loads(capsys.readouterr().out)["asked"] == {"gopher_quality": {"words": {"min": 1000}}}
    assert main(["--output", output, "--set", bound]) == 0
    shown = capsys.readouterr().out
    assert "[gopher_quality.words]" in shown
    assert "kept now, would be rejected, for example" in shown

"""The step badwords: lists by language, what is spared, refusals, and what counts in the fingerprint."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.config import BadWords, Config, ConfigError, Ingest, load
from pipeline.judge_bad_words import is_spared
from pipeline.steps import apply, check_steps, family_names, make_steps, prepare
from tests.pipeline.tables import SENTENCE, with_texts

GERMAN = "Der Fluss und das Tal sind hier zu sehen."
STEPS = Ingest(steps=("language", "badwords"))


def configured(folder: Path, entries: str, rejected_share: float = 1.0) -> Config:
    """Return a configuration with one English list."""
    (folder / "en").write_text(entries, encoding="utf-8")
    return Config(ingest=STEPS, badwords=BadWords(lists={"en": (str(folder / "en"),)}, rejected_share=rejected_share))


def test_rejects_have_their_entries(tmp_path: Path) -> None:
    """Number found, bound and entries; a language without a list has nothing measured."""
    config = configured(tmp_path, "# ours\nRiver\nearly morning\n")
    check_steps(config)
    texts = [
        SENTENCE,
        SENTENCE.replace("river", "lake").replace("early ", ""),
        "Der Fluss und das Tal sind hier zu sehen.",
    ]
    kept, (rejected,) = apply(with_texts(texts), make_steps(config))
    (row,) = rejected.to_pylist()
    assert (row["reason"], row["value"], row["threshold"]) == ("bad_words", 2.0, 0.0)
    assert row["badwords.entry"] == "early morning, river"
    assert kept["badwords.words"].to_pylist() == [0.0, None]
    assert kept["badwords.entry"].to_pylist() == [None, None]


def test_tfds_soft_badwords_filter() -> None:
    """TFDS's own two addresses: half of the pages are rejected, and which, the normalised URL decides."""
    assert not is_spared("filtered.url.com", "id", 0.5)
    assert is_spared("unfiltered.url.com", "id", 0.5)
    assert is_spared("https://www.unfiltered.url.com/", "id", 0.5)


@pytest.mark.parametrize(("share", "spared"), [(1.0, 0), (0.5, 100), (0.0, 200)])
def test_a_share_is_spared_by_url_or_id(share: float, spared: int) -> None:
    """About half of many, the same ones every time; a document without an address goes by its id."""
    for places in ([(f"http://a.example/{i}", "") for i in range(200)], [("", f"{i:032x}") for i in range(200)]):
        drawn = [is_spared(url, identity, share) for url, identity in places]
        assert abs(sum(drawn) - spared) <= 30 * (share == 0.5)
        assert drawn == [is_spared(url, identity, share) for url, identity in places]


def test_what_is_spared_keeps_its_entry_and_breaks_no_rule(tmp_path: Path) -> None:
    """So the stored signals lead to the same verdicts when they are judged again."""
    kept, rejected = apply(with_texts([SENTENCE]), make_steps(configured(tmp_path, "river", 0.0)))
    assert rejected == []
    assert (kept["badwords.words"].to_pylist(), kept["badwords.entry"].to_pylist()) == ([None], ["river"])


def test_lists_are_asked_for_and_read_at_the_start(tmp_path: Path) -> None:
    """No list, an empty one, an unknown language, and lists without the step."""
    for settings, message in (
        (BadWords(), "badwords needs a list"),
        (BadWords(lists={"en": (str(tmp_path / "none"),)}), "cannot read the list"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_steps(Config(ingest=STEPS, badwords=settings))
    (tmp_path / "words").write_text("bad\n")
    lists: dict[str, tuple[str, ...]] = {"english": (str(tmp_path / "words"),)}
    with pytest.raises(ConfigError, match="badwords names the language english"):
        check_steps(Config(ingest=STEPS, badwords=BadWords(lists=lists)))
    with pytest.raises(ConfigError, match="settings for badwords, which is not in"):
        check_steps(Config(ingest=Ingest(steps=("language",)), badwords=BadWords(lists=lists)))


def test_lists_are_written_as_a_table(tmp_path: Path) -> None:
    """As in the README."""
    (tmp_path / "run.toml").write_text(
        '[[input]]\npaths = ["x"]\n[badwords]\nrejected_share = 0.999\n[badwords.lists]\nen = ["a", "b"]\nja = ["c"]\n'
    )
    found = load(str(tmp_path / "run.toml"), family_names()).badwords
    assert found == BadWords(lists={"en": ("a", "b"), "ja": ("c",)}, rejected_share=0.999)


def test_what_stands_in_a_list_counts(tmp_path: Path) -> None:
    """Other entries in the same file lead to another stage."""
    before = [step.decided_by() for step in prepare(configured(tmp_path, "casino\n"))]
    assert before != [step.decided_by() for step in prepare(configured(tmp_path, "poker\n"))]
    assert {field.type for step in prepare(configured(tmp_path, "casino\n")) for field in step.fields[-1:]} == {
        pa.float64(),
        pa.string(),
    }

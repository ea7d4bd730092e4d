"""A user's function as a step: its verdicts, its mistakes, and what counts in the fingerprint."""

import importlib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filters.arrow_text import string_array
from pipeline import own_filters
from pipeline.config import Between, Config, ConfigError, Ingest, Own
from pipeline.own_filters import OwnFilterError
from pipeline.steps import apply, check_steps, make_steps, prepare, signal_fields, thresholds
from tests.pipeline.tables import SENTENCE, with_texts

HERE = "tests.pipeline.own_functions"
LIST = "a, b, c, d, e, f, g"


def configured(name: str, **own: Own) -> Config:
    """Return a configuration with one function as a step."""
    return Config(ingest=Ingest(steps=("language", f"{HERE}:{name}")), own=own)


def rejects(config: Config, texts: list[str]) -> list[tuple[str, float, float]]:
    """Return reason, value and threshold of what is rejected."""
    check_steps(config)
    _, rejected = apply(with_texts(texts), make_steps(config))
    return [(row["reason"], row["value"], row["threshold"]) for part in rejected for row in part.to_pylist()]


def test_a_number_is_judged_by_its_bounds() -> None:
    """At the bound it is kept; reason, value and threshold are recorded."""
    at = LIST.count(",") / len(LIST)
    texts = [LIST, SENTENCE, ""]
    assert rejects(configured("commas", commas=Own(max=at)), texts[:2]) == []
    assert rejects(configured("commas", commas=Own(max=0.1)), texts[:2]) == [("commas_too_high", at, 0.1)]
    assert rejects(configured("commas", commas=Own(min=0.1)), texts[:2]) == [("commas_too_low", 0.0, 0.1)]
    assert thresholds(configured("commas", commas=Own(min=0.1))) == {"own.commas": [0.1]}


def test_a_number_without_bounds_is_a_signal_only() -> None:
    """It stands in the documents, and None is no value."""
    config = configured("about_long")
    assert rejects(config, [SENTENCE]) == []
    kept, _ = apply(with_texts([SENTENCE, "words"]), make_steps(config))
    assert kept["own.about_long"].to_pylist() == [1.0, None]
    assert signal_fields(config)[-1].name == "own.about_long"


def test_a_bool_keeps_or_rejects() -> None:
    """True keeps, False is 0 of 1."""
    assert rejects(configured("has_river"), [SENTENCE, LIST]) == [("refused_by_has_river", 0.0, 1.0)]


@pytest.mark.parametrize(
    ("bounds", "reasons"),
    [
        (Own(min=1), [("has_river_too_low", 0.0, 1.0)]),
        (Own(max=0), [("has_river_too_high", 1.0, 0.0)]),
        (Own(min=0), []),
    ],
)
def test_bounds_take_the_place_of_a_bool_s_verdict(bounds: Own, reasons: list[tuple[str, float, float]]) -> None:
    """They see False as 0 and True as 1: the same, the contrary, and nothing but a record."""
    assert rejects(configured("has_river", has_river=bounds), [SENTENCE, LIST]) == reasons


def test_bounds_by_language_hold_instead() -> None:
    """English has its own bound, whatever the general one."""
    bounds = Own(min=0.5, by_language={"en": Between(max=1)})
    assert rejects(configured("commas", commas=bounds), [SENTENCE]) == []


def test_an_error_names_function_and_document() -> None:
    """The run fails: a mistake in a filter must not look like a verdict."""
    config = configured("fails")
    with pytest.raises(OwnFilterError, match=r"own_functions:fails failed on document 0{31}1: IndexError: string"):
        apply(with_texts(["x" * 1001, SENTENCE]), make_steps(config))
    with pytest.raises(OwnFilterError, match=r"must return a bool, a number or None, got \['The', 'river'"):
        apply(with_texts([SENTENCE]), make_steps(configured("says_words")))
    with pytest.raises(OwnFilterError, match="must return a bool, a number or None, got 1000000"):
        apply(with_texts(["x" * 400]), make_steps(configured("length_to_the_power")))


@settings(deadline=None, max_examples=50)
@given(texts=st.lists(st.text(st.characters(exclude_categories=[]), max_size=60), min_size=1, max_size=4))
@example(["", " ", "\n" * 50, "\ud800", "\U0010ffff", "e\u0301", "\u202eabc", "a" * 300])
def test_every_text_has_a_verdict(texts: list[str]) -> None:
    """Whatever the texts, and whatever NumPy makes of them: infinity is too high, and no number says nothing."""
    readable = string_array(texts).to_pylist()
    config = configured("ratio", ratio=Own(max=10))
    kept, rejected = apply(with_texts(readable), make_steps(config))
    reasons = [reason for part in rejected for reason in part["reason"].to_pylist()]
    assert len(kept) + len(reasons) == len(texts)
    assert set(reasons) <= {"ratio_too_high", "nothing_left"}
    assert all(own is None or own <= 10 for own in kept["own.ratio"].to_pylist())


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("nowhere.module:function", "cannot import nowhere.module: ModuleNotFoundError"),
        (f"{HERE}:missing", "own_functions has no missing"),
        (f"{HERE}:NUMBER", "own_functions has no function NUMBER"),
        (f"{HERE}:a:b", "must be package.module:function"),
        ("../evil:x", "must be package.module:function"),
    ],
)
def test_a_wrong_import_path_is_refused_at_the_start(step: str, message: str) -> None:
    """The message says what is missing."""
    with pytest.raises(ConfigError, match=message):
        check_steps(Config(ingest=Ingest(steps=("language", step))))


def test_mistakes_in_bounds_are_named() -> None:
    """Bounds without their function, codes without a language, a function twice."""
    for config, message in (
        (configured("commas", comma=Own(min=1)), "bounds for own.comma, but no step"),
        (configured("commas", commas=Own(by_language={"english": Between(min=1)})), "own.commas names the language"),
        (Config(ingest=Ingest(steps=("language", f"{HERE}:commas", f"other.{HERE}:commas"))), "names a step twice"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_steps(config)


def test_the_source_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another function body leads to another stage; a module is found in a folder on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    digests = []
    for number, body in enumerate(("return True", "return False")):
        (tmp_path / f"mine{number}.py").write_text(f"def keep(text):\n    {body}\n")
        importlib.invalidate_caches()
        step = prepare(Config(ingest=Ingest(steps=(f"mine{number}:keep",))))[0]
        digests.append(step.decided_by()[1])  # type: ignore[index]
    assert len(set(digests)) == 2
    assert own_filters.source_digest("math:sqrt") == ""

"""The list of steps: order, refusals, and what a step leaves of every document."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import Config, ConfigError, Ingest, Language
from pipeline.document import DOCUMENT
from pipeline.ingest import PLAIN
from pipeline.steps import apply, check_steps, make_steps, signal_fields
from tests.pipeline.tables import with_texts

ENGLISH = "The river and the mountain that we found were to be seen in the early morning of the long winter.\n" * 1
STORY = """The harbour was quiet when the captain came back with two boats and a tired crew.
Nobody in the village had expected them before the end of the week, so the market was closed.
A teacher from the school on the hill saw the sails first and ran down to ring the bell.
Within an hour every family that had bread to spare was standing on the stones of the old pier.
They asked about the storm, about the price of salt, and about a letter that never arrived.
The captain answered what he could and kept the rest for the long evenings of the winter."""


def kept_and_reasons(texts: Sequence[str], config: Config) -> tuple[list[str], dict[str, str]]:
    """Return the kept texts, and each rejected text's reason."""
    kept, rejected = apply(with_texts(texts), make_steps(config))
    reasons = {row["text"]: row["reason"] for part in rejected for row in part.to_pylist()}
    return kept["text"].to_pylist(), reasons


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(st.text(max_size=300), min_size=1, max_size=8))
def test_every_document_is_kept_or_rejected_once(texts: list[str]) -> None:
    """Whatever the texts, the ids that go in are the ids that come out."""
    kept, rejected = apply(with_texts(texts), make_steps(Config()))
    ids = kept["id"].to_pylist() + [i for part in rejected for i in part["id"].to_pylist()]
    assert sorted(ids) == [f"{i:032x}" for i in range(len(texts))]


def test_a_rejected_document_keeps_the_text_that_was_measured() -> None:
    """C4 edits what it keeps; what it rejects is shown as it came."""
    page = "Lorem ipsum dolor is what the designers of the page that we have were to be writing here.\n" + STORY
    kept, reasons = kept_and_reasons([page, STORY + "\nno end mark here"], Config())
    assert reasons == {page: "lorem_ipsum"}
    assert kept == [STORY]


def test_the_first_rule_broken_is_the_reason() -> None:
    """A text that breaks several rules is rejected for the first in the list of steps."""
    _, quality_first = kept_and_reasons(["the the the"], Config())
    assert quality_first == {"the the the": "too_few_words"}
    steps = ("language", "gopher_repetition", "gopher_quality")
    _, repetition_first = kept_and_reasons(["word " * 60], Config(ingest=Ingest(steps=steps)))
    assert next(iter(repetition_first.values())).startswith(("top_", "duplicate_"))


def test_what_the_edits_empty_is_rejected() -> None:
    """A text of which the edits leave nothing is no document."""
    config = Config(ingest=Ingest(steps=("language", "edits")))
    kept, reasons = kept_and_reasons(["\u200b\u200b", "words"], config)
    assert kept == ["words"]
    assert list(reasons.values()) == ["nothing_left"]


def test_languages_can_be_allowed_denied_and_doubted() -> None:
    """Each way out has its reason."""
    french = "Le chat est dans la maison et il dort toute la journée parce que la nuit il ne dort pas."
    texts = [STORY, french]
    base = Ingest(steps=("language",))
    for wanted, reason in (
        (Language(allow=("en",)), "language_not_allowed"),
        (Language(deny=("fr",)), "language_denied"),
        (Language(deny=("fr",), certain=1), "language_denied"),  # a guess is enough
    ):
        kept, reasons = kept_and_reasons(texts, Config(ingest=base, language=wanted))
        assert kept == [STORY]
        assert reasons == {french: reason}
    unsure = Config(ingest=base, language=Language(allow=("fr", "en"), certain=1))
    assert list(kept_and_reasons(texts, unsure)[1].values()) == ["language_not_allowed"] * 2  # a guess is no leave
    _, reasons = kept_and_reasons(["zx qj kw"], Config(ingest=base, language=Language(minimum=0.99)))
    assert list(reasons.values()) == ["language_uncertain"]


def test_a_language_may_have_a_bound_of_its_own_and_a_text_be_mixed() -> None:
    """The bound by language holds instead of the general one; a share is rejected with its number and threshold."""
    french = "Le chat est dans la maison et il dort toute la journée parce que la nuit il ne dort pas.\n"
    base = Ingest(steps=("language",))
    strict = Config(ingest=base, language=Language(minimum_by_language={"fr": 1.0}))
    check_steps(strict)
    assert kept_and_reasons([STORY, french], strict)[1] == {french: "language_uncertain"}
    mixed = Config(ingest=base, language=Language(minimum_share=0.9))
    _, (rejected,) = apply(with_texts([STORY, STORY + "\n" + french * 4]), make_steps(mixed))
    row = rejected.to_pylist()[0]
    assert (row["reason"], row["threshold"], row["language.languages"]) == ("languages_mixed", 0.9, 2)
    assert row["value"] == row["language.share"] < 0.9


def test_the_document_score_knows_the_share_of_the_language() -> None:
    """A text in two languages has less than ten points for its language, one in one language all."""
    french = "Le chat est dans la maison et il dort toute la journée parce que la nuit il ne dort pas.\n"
    bounds = {"wds": {"score": {"min": 0}}}
    steps = make_steps(Config(ingest=Ingest(steps=("language", "wds")), families=bounds))
    kept, _ = apply(with_texts([STORY, STORY + "\n" + french * 4]), steps)
    whole, mixed = kept.select(["language.share", "wds.language"]).to_pylist()
    assert (whole["language.share"], whole["wds.language"]) == (1, 10)
    assert mixed["wds.language"] == round(10 * mixed["language.share"], 1) < 10


def test_a_guess_is_no_language() -> None:
    """Below `certain` a document is und, and the likeliest language is kept beside it."""
    kept, _ = apply(
        with_texts([STORY]), make_steps(Config(ingest=Ingest(steps=("language",)), language=Language(certain=1.0)))
    )
    assert kept["language"].to_pylist() == ["und"]
    assert kept["language.first"].to_pylist() == ["en"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config(ingest=Ingest(steps=("language", "gopher"))), "unknown step 'gopher'"),
        (Config(ingest=Ingest(steps=("c4", "language"))), "must begin with language"),
        (Config(ingest=Ingest(steps=("language", "c4", "c4"))), "names a step twice"),
        (Config(families={"gopher_quality": {"word": {"min": 1}}}), "unknown signal gopher_quality.word"),
        (Config(families={"gopher_quality": {"stop_words": {"max": 1}}}), "unknown key gopher_quality.stop_words.max"),
        (Config(families={"gopher_quality": {"words": {"min": -1}}}), "gopher_quality.words.min must be"),
        (Config(ingest=Ingest(steps=("language",)), families={"c4": {}}), "bounds for c4, which is not in"),
        (
            Config(ingest=Ingest(steps=("language", "c4@paper"))),
            "unknown variant 'c4@paper'; known: c4@sentences, c4@tfds,",
        ),
        (Config(ingest=Ingest(steps=("language", "c4", "c4@datatrove"))), "names a step twice"),
        (Config(ingest=Ingest(steps=("language", "edits@paper"))), "unknown family 'edits'"),
        (Config(ingest=Ingest(steps=("language@x", "edits"))), "must begin with language"),
        (
            Config(families={"gopher_quality": {"words": {"by_language": {"eng": {"min": 1}}}}}),
            "gopher_quality names the language eng, which the language model does not know",
        ),
        (
            Config(families={"gopher_quality": {"stop_words": {"by_language": {"sw": {"min": 1}}}}}),
            "gopher_quality.stop_words.by_language names sw, which has no list",
        ),
        (Config(language=Language(model="/nowhere/lid.bin")), "no language model"),
        (Config(language=Language(minimum_by_language={"english": 0.5})), "the language model does not know english"),
        (Config(language=Language(minimum_by_language={"en": 2})), "minimum_by_language.en must be between 0 and 1"),
    ],
)
def test_mistakes_in_steps_are_named(config: Config, message: str) -> None:
    """What cannot be meant is refused before any work."""
    with pytest.raises(ConfigError, match=message):
        check_steps(config)


def test_signal_columns_are_what_the_steps_leave() -> None:
    """The schema of the documents has a column for every signal, in order, and no other."""
    kept, _ = apply(with_texts([STORY]), make_steps(Config()))
    assert kept.column_names[len(DOCUMENT) :] == [field.name for field in signal_fields(Config())]


def test_a_step_may_name_a_variant() -> None:
    """Its rules decide, its columns are those of the family, and bounds stand under the family's name."""
    steps = ("language", "gopher_repetition@datatrove", "fineweb@datatrove", "c4@datatrove")
    config = Config(ingest=Ingest(steps=steps), families={"fineweb": {"short_lines": {"max": 1}}})
    check_steps(config)
    assert "gopher_repetition.characters" in [field.name for field in signal_fields(config)]
    twice = STORY + "\n" + STORY.split("\n", maxsplit=1)[0]
    assert kept_and_reasons([STORY, twice], config) == ([STORY], {twice: "too_many_duplicate_characters"})


def test_a_bound_by_language_judges_that_language() -> None:
    """An English text is judged by its own bound, whatever the general one."""
    words = {"min": 1, "by_language": {"en": {"min": 1000}}}
    config = Config(ingest=Ingest(steps=("language", "gopher_quality")), families={"gopher_quality": {"words": words}})
    check_steps(config)
    _, rejected = apply(with_texts([STORY]), make_steps(config))
    assert rejected[0].select(["reason", "threshold"]).to_pylist() == [{"reason": "too_few_words", "threshold": 1000}]


def test_a_switched_off_rule_rejects_nothing() -> None:
    """`min = false` takes the rule out."""
    config = Config(
        ingest=Ingest(steps=("language", "gopher_quality")), families={"gopher_quality": {"words": {"min": False}}}
    )
    kept, _ = kept_and_reasons([ENGLISH], config)
    assert kept == [ENGLISH]


def test_the_text_that_loads_the_kernels_reaches_them_all() -> None:
    """The default steps keep it, so that signatures are compiled too."""
    kept, rejected = apply(with_texts([PLAIN]), make_steps(Config()))
    assert not rejected
    assert len(kept) == 1

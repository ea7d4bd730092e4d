"""The step pii: masks and tags, refusals, and the steps that may follow it."""

import pytest

from pipeline.config import Config, ConfigError, Ingest, Pii
from pipeline.steps import apply, check_steps, make_steps, signal_fields
from tests.pipeline.tables import SENTENCE, with_texts

TEXT = f"{SENTENCE} Writé to a@b.org or c@d.org."


def test_masked_texts_go_on_with_their_counts() -> None:
    """The columns are those that the schema says."""
    config = Config(ingest=Ingest(steps=("language", "pii", "edits")))
    check_steps(config)
    kept, rejected = apply(with_texts([TEXT, SENTENCE]), make_steps(config))
    assert not rejected
    assert kept["text"].to_pylist() == [f"{SENTENCE} Writé to <EMAIL_1> or <EMAIL_2>.", SENTENCE]
    assert kept["pii.email"].to_pylist() == [2, 0]
    assert [name for name in kept.column_names if "." in name] == [field.name for field in signal_fields(config)]


def test_tagged_texts_stay_and_have_spans() -> None:
    """In bytes of the text; the column has the type that the schema says."""
    config = Config(ingest=Ingest(steps=("language", "pii")), pii=Pii(mode="tag", kinds=("email",)))
    check_steps(config)
    kept, _ = apply(with_texts([TEXT, SENTENCE]), make_steps(config))
    spans = kept["pii.spans"].to_pylist()
    assert kept["text"].to_pylist() == [TEXT, SENTENCE]
    assert [TEXT.encode()[s["start"] : s["end"]].decode() for s in spans[0]] == ["a@b.org", "c@d.org"]
    assert spans[1] == []
    assert kept.schema.field("pii.spans").type == signal_fields(config)[-1].type


@pytest.mark.parametrize(
    ("pii", "steps", "message"),
    [
        (Pii(kinds=("email", "name")), ("language", "pii"), "pii.kinds must be a list of email, ip, phone"),
        (Pii(kinds=()), ("language", "pii"), "pii.kinds must be a list of"),
        (Pii(phone_regions=("US", "UK")), ("language", "pii"), "phone_regions must be countries as US or DE, got UK"),
        (Pii(mode="tag"), ("language", "pii", "edits"), "edits would change it: put pii after it"),
        (Pii(mode="tag"), ("language", "pii", "c4"), "c4 would change it"),
        (Pii(mode="tag"), ("language",), "settings for pii, which is not in"),
    ],
)
def test_mistakes_are_named(pii: Pii, steps: tuple[str, ...], message: str) -> None:
    """What cannot be meant is refused before any work."""
    with pytest.raises(ConfigError, match=message):
        check_steps(Config(ingest=Ingest(steps=steps), pii=pii))

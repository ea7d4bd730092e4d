"""The cases that datatrove publishes (tests/pipeline) for what the pipeline does around the filters.

tests/filters/test_published_datatrove.py has the table of all cases.
"""

import numpy as np
import pytest

from filters.rules import Rule
from pipeline.config import Config, Deduplicate, Ingest, Language
from pipeline.document import document_id
from pipeline.formats.html import main_text
from pipeline.ingest import is_sampled
from pipeline.sign import sign
from pipeline.step import split_by_rules
from pipeline.steps import apply, make_steps
from tests.pipeline.tables import with_texts


def test_datatrove_sampler() -> None:
    """TestSamplerFilter: of 1,000 documents a half are 400 to 600, and the same ones every time."""
    ids = [document_id("input", "a.jsonl", position) for position in range(1000)]
    drawn = [is_sampled(identity, 0.5) for identity in ids]
    assert 400 < sum(drawn) < 600
    assert drawn == [is_sampled(identity, 0.5) for identity in ids]
    assert all(is_sampled(identity, 1.0) for identity in ids)
    assert not any(is_sampled(identity, 0.0) for identity in ids)


@pytest.mark.parametrize(("bound", "kept", "rejected"), [(0, 3, 0), (2, 0, 3)])
def test_datatrove_base_filter_statistics(bound: float, kept: int, rejected: int) -> None:
    """TestBaseFilterRunPipeline: of three documents three are forwarded, or three dropped."""
    documents = with_texts([f"text {i}" for i in range(3)])
    rule = Rule(reason="too_low", signal="signal", minimum=bound)
    found = split_by_rules(documents, [rule], {"signal": np.ones(3)})
    assert (len(found.kept), len(found.rejected)) == (kept, rejected)


def test_datatrove_ftfy_unescapes_entities() -> None:
    """TestFTFYFormatter, unescape_html: entities are decoded where HTML is read, and left alone in other texts."""
    assert main_text("<p>The price &gt; 10 is what they asked for in the end.</p>").startswith("The price > 10 is")


def test_datatrove_language() -> None:
    """LanguageFilter: English and Italian are kept; French and Portuguese go, with the language on record."""
    english, french, portuguese, italian = (
        "The captain came too late, and nobody was left in the harbour to wait for him.",
        "Le capitaine est arrivé trop tard, et il n'y avait plus personne au port pour l'attendre.",
        "O capitão chegou tarde demais e já não havia ninguém no porto à sua espera.",
        "Il capitano è arrivato troppo tardi e al porto non c'era più nessuno ad aspettarlo.",
    )
    config = Config(ingest=Ingest(steps=("language",)), language=Language(allow=("en", "it"), minimum=0.65))
    kept, (rejected,) = apply(with_texts([english, french, portuguese, italian]), make_steps(config))
    assert kept["text"].to_pylist() == [english, italian]
    assert kept["language"].to_pylist() == ["en", "it"]
    assert rejected["language"].to_pylist() == ["fr", "pt"]
    assert rejected["reason"].to_pylist() == ["language_not_allowed"] * 2


def test_datatrove_text_table_norm() -> None:
    """TestTextTransformation: its table is "0 0 0 0" there; our key drops marks in a word and keeps digits."""
    table = "|$17.56||1|\n|$15.37||2599|"
    texts = [table, "17561  (15,372,599)", "0 0 0 0", "|$17.56||1|\n|$15.37||2600|"]
    settings = Deduplicate(exact=("normalised",), values=1, bands=1, rows=1)
    keys = [row[4:] for row in sign(with_texts(texts), settings)["signature"].to_pylist()]
    assert [key == keys[0] for key in keys] == [True, True, False, False]

"""An evaluation on the report's page and in the printed tables."""

import copy
from typing import Any

from rich.console import Console

from pipeline.evaluate import WIDE
from pipeline.evaluation.methods import METHODS
from pipeline.evaluation.shown import show
from pipeline.report import render
from tests.pipeline.test_report import empty_facts, read

FIGURES = {
    "auc": [0.912, 0.871, 0.953],
    "auc_by_length": 0.904,
    "recall": [0.611, 0.507, 0.702],
    "loss": [0.0213, 0.004, 0.035],
}
BASELINE = {**FIGURES, "auc": [0.833, 0.8, 0.86]}
FOUND: dict[str, Any] = {
    "digest": "d",
    "round": 1,
    "left_out": True,
    "loss": 0.02,
    "methods": {"score": "the final score", "trigrams": "trigram bits"},
    "read": {"read": 321, "rejected": {"en": {"no_stop_words": 17}}, "not_judged": {"de": 5},
             "too_few": {"fr": "31 documents"}, "unreadable": {"bad bytes": 2}},
    "corpus": {"looked": {"documents": 4000, "rejected": 500}, "left_out": {"en": 12}, "records": 3,
               "names": {"<i>.org": [7, 1300]}},
    "languages": {"en": {"documents": 299, "records": 23, "effective_records": 4.6, "loss": [0.0123, 0.0046, 0.0234],
                         "without_cut": 7}},
    "rows": [
        {"language": "en", "kind": "shuffled_words", "severity": level, "documents": 61, "best": "trigrams",
         "methods": {"score": FIGURES, "trigrams": BASELINE}, "difference": [0.079, 0.031, 0.122]}
        for level in ("mild", "middle", "severe")
    ],
    "cost": {"texts": 4321, "seconds": 99.0},
}  # fmt: skip


def test_the_page_has_every_figure() -> None:
    """The section holds what was found, its intervals and the baseline beside it, and a link leads to it."""
    page = render({**empty_facts(), "evaluation": FOUND})
    text = read(page).text
    for said in ("shuffled words", "0.912", "0.871 – 0.953", "0.833", "0.079", "0.031 – 0.122", "0.611", "0.904", "61"):
        assert said in text
    assert "lose at most 1.2 % (0.5 – 2.3 %) of 299 good documents" in text
    assert "12 good documents left out: found in the corpus (en 12), of 3 records" in text
    assert "<i>.org (7 good documents, 1,300 of the corpus)" in text
    assert 'href="#evaluation"' in page


def test_without_an_evaluation_there_is_no_section() -> None:
    """A run that was not evaluated says nothing about it."""
    assert "evaluation" not in render({**empty_facts(), "evaluation": {}})
    assert "evaluation" not in render(empty_facts())


def test_a_kind_that_a_language_lacks_has_no_row_of_it() -> None:
    """Where only one of two languages has a kind of damage, or a language none at all, the others' rows stand."""
    found = copy.deepcopy(FOUND)
    found["languages"] |= dict.fromkeys(("zh", "fr"), found["languages"]["en"])
    found["rows"] += [{**row, "language": "zh", "kind": "ocr"} for row in FOUND["rows"]]
    page = read(render({**empty_facts(), "evaluation": found})).text
    console = Console(width=WIDE)
    with console.capture() as printed:
        show(found, console)
    for text in (page, printed.get()):
        en, zh, fr = (text.index(f"{before}{name}{after}") for name in ("en", "zh", "fr") for before, after in
                      [("Damage found in ", ", by every") if text is page else ("", ": damage found")])  # fmt: skip
        assert text.count("shuffled words", en, zh) >= 3
        assert "ocr" not in text[en:zh]
        assert text.count("ocr", zh, fr) >= 3
        assert "shuffled words" not in text[zh:fr]
        assert "None" not in text


def test_names_of_languages_are_text() -> None:
    """A language's name that holds markup stays text."""
    found = copy.deepcopy(FOUND)
    found["languages"] = {"<b>x": found["languages"]["en"]}
    found["rows"] = [{**row, "language": "<b>x"} for row in found["rows"]]
    assert "<b>x" not in render({**empty_facts(), "evaluation": found})


def test_figures_that_cannot_be_told_are_dashes() -> None:
    """An interval or a figure that is null shows as a dash, on the page and on the screen."""
    found = copy.deepcopy(FOUND)
    for row in found["rows"]:
        row["methods"]["score"]["auc"] = [None, None, None]
        row["difference"] = [None, None, None]
    assert "–" in render({**empty_facts(), "evaluation": found})
    show(found, Console(quiet=True))


def test_both_forms_of_a_baseline_are_printed_in_one_column() -> None:
    """Tables with the longest names fit the width; on the page each form has a column."""
    found = copy.deepcopy(FOUND)
    found["methods"] = METHODS
    for row in found["rows"]:
        row |= {"kind": "repeated_paragraphs", "best": "transnormer, either side"}
        row["methods"] = dict.fromkeys(METHODS, BASELINE)
        row["methods"]["trigrams, either side"] = {**BASELINE, "auc": [0.777, 0.7, 0.8]}
    console = Console(width=WIDE)
    with console.capture() as printed:
        show(found, console)
    assert ".833 / .777" in printed.get()
    assert "…" not in printed.get()
    assert "trigrams, either side" in render({**empty_facts(), "evaluation": found})


def test_what_was_left_out_is_printed() -> None:
    """Rejects, other languages, thin languages and unreadable records are each a line, and so is the cost."""
    console = Console(record=True, width=150, quiet=True)
    console.quiet = False
    show(FOUND, console)
    printed = console.export_text()
    for said in (
        "no_stop_words 17",
        "de 5",
        "fr is left out",
        "12 good documents left out",
        "2 records not read: bad bytes",
        "4,321 texts",
        "7 lie in",
    ):
        assert said in printed

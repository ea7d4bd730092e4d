"""Tests of the report page: hostile texts in a real browser, known facts, empty facts, many languages."""

import copy
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from playwright.sync_api import Browser, Page

from pipeline import charts
from pipeline.axis import counts, make_axis, make_even_axis, percent, spread
from pipeline.report import ENOUGH, OPEN_ROWS, render
from pipeline.summary import bin_edge, histogram
from pipeline.tally import SAMPLED_CHARACTERS

HOSTILE = (
    "<script>window.hacked = 1</script>",
    "\"><script>window.hacked = 2</script><img src=x onerror='window.hacked = 3'>",
    "' onmouseover='window.hacked = 4' autofocus onfocus='window.hacked = 5' x='",
    '" onmouseover="window.hacked = 6" autofocus tabindex=1 onfocus="window.hacked = 7" x="',
    "</style></title></svg></textarea></template></noscript>--><script>window.hacked = 8</script>",
    "<svg onload=window.hacked=9><iframe src='javascript:parent.hacked=10'></iframe><base href=//evil.test/>",
    "<link rel=stylesheet href=//evil.test/a.css><style>@import '//evil.test/b.css'; * {color: red}</style>",
    "javascript:window.hacked=11",
    "{{ 7 * 191 }}{% raw %}{{ facts }}<meta http-equiv=refresh content='0;url=//evil.test/'>",
    "\u202e\u2067]]><![CDATA[<script>window.hacked = 12</script>\x00\x1b",
)


def known_facts() -> dict[str, Any]:
    """Return the facts of a small run in two languages, with one round."""
    sample = {
        "id": "0a1b2c3d4e5f",
        "language": "zh",
        "reason": "too_few_words",
        "source": "news",
        "text": "你好，世界。\nSecond line.",
        "threshold": 50.0,
        "url": "https://example.org/a?b=c&d",
        "value": 17.0,
    }
    cell = {"documents": 64, "bytes": 1000, "rejected": 6, "rejected_bytes": 150}
    return {
        "funnel": [
            {"name": "records read", "count": 1234},
            {"name": "documents", "count": 1201},
            {"name": "kept by the rules", "count": 1101},
            {"name": "kept after deduplication", "count": 1094},
            {"name": "kept after self-cleaning", "count": 1088},
        ],
        "edited": {"read": 5_000_000, "kept": 4_760_000},
        "skipped": {"revisit": 22},
        "unreadable": {"no_such_encoding": 11},
        "rejected": [
            {"stage": "deduplicate", "reason": "near_duplicate", "count": 7, "languages": {"fr": 7}},
            {"stage": "ingest", "reason": "too_few_words", "count": 97, "languages": {"zh": 94, "fr": 3}},
            {"stage": "ingest", "reason": "curly_bracket", "count": 3, "languages": {"fr": 3}},
            {"stage": "self_clean", "reason": "unlike_the_corpus", "count": 6, "languages": {"fr": 6}},
        ],
        "languages": [
            {
                "name": "fr",
                "documents": 1101,
                "kept": 1082,
                "rejected": {"ingest": 6, "deduplicate": 7, "self_clean": 6},
            },
            {
                "name": "zh",
                "documents": 100,
                "kept": 6,
                "rejected": {"ingest": 94, "deduplicate": 0, "self_clean": 0},
            },
        ],
        "sources": [{"name": "news", "documents": 1201, "kept": 1088, "rejected": {"ingest": 100, "later": 13}}],
        "signals": [
            {
                "name": "gopher_quality.words",
                "kept": [[56.0, 901], [60.0, 200]],
                "rejected": [[0.0, 5], [17.0, 95]],
                "thresholds": [50.0, 100000.0],
            }
        ],
        "samples": {"too_few_words": [sample]},
        "duplicates": {
            "sizes": [[2, 3], [5, 1]],
            "largest": [{**{k: sample[k] for k in ("id", "language", "source", "url", "text")}, "size": 5}],
            "similarity": [[0.75, 4], [1.0, 3]],
            "precision": {"edges": 1116, "true": 1115, "threshold": 0.7},
            "cut": {"lines": 1234, "bytes": 56_789},
        },
        "rounds": [
            {
                "number": 1,
                "accepted": False,
                "documents": 1094,
                "rejected": 6,
                "mainly": {"trigram_gain below": 5, "repetition above": 1},
                "jaccard": None,
                "overlap": {"both": 0, "either": 6, "left": 6, "came_back": 0},
                "judged": ["fr"],
                "not_judged": {"zh": "the judges saw 31 tokens of it, fewer than 20,000"},
                "agreement": {"fr": 0.8625},
                "held_out": {"fr": 1.9375},
                "judges_overlap": 0.4375,
                "found": [
                    {"kind": "shuffled_words", "severity": 0, "documents": 41, "auc": 0.812},
                    {"kind": "shuffled_words", "severity": 2, "documents": 43, "auc": 0.988},
                    {"kind": "ocr", "severity": 1, "documents": 47, "auc": 0.731},
                ],
                "weights": {"cache_gain": [0.0, 0.703, 0.065, 0.784], "slope": [0.2, 0.0, 0.0, 0.31]},
                "cuts": {"fr 0": 3.125, "fr 1": 2.5},
                "depth": 0.1875,
                "external": False,
                "documents_judged": 1063,
                "scored": 217,
                "score": [[-1.75, 300], [0.5, 669], [3.0, 94]],
                "bits_per_byte": [[1.75, 100], [2.0, 117]],
                "language": {"fr": cell, "zh": {**cell, "rejected": 0, "rejected_bytes": 0}},
                "source": {"news": cell},
                "losses": {"fold-0": 6.4217, "fold-1": 6.5571},
                "held": ["source news would lose 42.0% of its bytes and is held to 30.0%"],
                "guards": ["the vocabulary of fr would shift by 0.0023 bits, more than 0.0005"],
                "tokens_trained": 149504,
                "tokens_counted": 1234567,
                "tokens_scored": 164956,
                "unread": {"fr 0": 1100, "fr 1": 77},
                "max_vocabulary_shift": 0.0005,
                "diversity": {
                    "tokens_kept": 0.9825,
                    "phrases_kept": 0.9736,
                    "vocabulary_shift": 0.00234,
                    "shifted_most": "fr",
                    "source_entropy_before": 1.536,
                    "source_entropy_after": 1.475,
                },
            }
        ],
        "decision": "round 1 tripped a guard",
        "tokens": {"train": 135940, "validation": 2981},
        "stages": [
            {
                "name": "ingest",
                "seconds": 20.49,
                "cpu_seconds": 5.52,
                "tasks": 21,
                "documents": 1201,
                "bytes": 8999990,
            }
        ],
        "sample": 0.25,
        "experiments": [
            {
                "name": "ablation",
                "title": "What a model learns",
                "said": "An interval above 0 is worse.",
                "tables": [
                    {
                        "title": "equal tokens",
                        "rows": [["variant", "bits per byte"], ["rules", "3.0867"]],
                        "drawn": [["rules", [0.118, 0.007, 0.229]]],
                        "mark": 0.0,
                    }
                ],
                "run": "0123",
            }
        ],
    }


def empty_facts() -> dict[str, Any]:
    """Return the facts of a run that found nothing and asked for no rounds."""
    nothing: dict[str, Any] = {name: [] for name in ("rejected", "languages", "sources", "signals", "rounds", "stages")}
    tables: dict[str, Any] = {name: {} for name in ("skipped", "unreadable", "samples", "duplicates", "tokens")}
    funnel = [{"name": name, "count": 0} for name in ("records read", "documents", "kept by the rules")]
    return {**nothing, **tables, "funnel": funnel, "decision": "", "sample": 1.0}


def poisoned(value: Any, poison: str) -> Any:
    """Return facts with every string, and every key that is a name from the corpus, made hostile."""
    if isinstance(value, dict):
        return {_poisoned_key(key, poison): poisoned(item, poison) for key, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item, poison) for item in value]
    return value + poison if isinstance(value, str) else value


NAMES = {
    "fr",
    "zh",
    "news",
    "too_few_words",
    "revisit",
    "no_such_encoding",
    "fr 0",
    "fr 1",
    "fold-0",
    "train",
}


def _poisoned_key(key: str, poison: str) -> str:
    language, space, size = key.partition(" ")
    return language + poison + space + size if key in NAMES else key


class Elements(HTMLParser):
    """The tags of a page and the text between them, as Python's parser reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag, and its titles as text that can be read."""
        self.tags.append(tag)
        self.text += " ".join(["", *(value or "" for name, value in attrs if name == "title"), ""])

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


def read(page: str) -> Elements:
    """Return the elements of a page."""
    elements = Elements()
    elements.feed(page)
    elements.text = " ".join(elements.text.split())
    return elements


def open_page(tab: Page, html: str) -> tuple[list[str], list[str]]:
    """Show a page as if served; return the requests it made and what the console said."""
    requests: list[str] = []
    said: list[str] = []
    tab.on("request", lambda request: requests.append(request.url))
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("dialog", lambda dialog: dialog.dismiss())
    tab.route("**/*", lambda route: route.fulfill(body=html, content_type="text/html; charset=utf-8"))
    tab.goto("http://report.test/report.html")
    for element in tab.query_selector_all("details:not([open])"):
        element.evaluate("element => element.open = true")
    tab.mouse.move(300, 400)
    tab.wait_for_timeout(100)
    return [url for url in requests if url != "http://report.test/report.html"], said


def without_policy(html: str) -> str:
    """Return a page whose own policy is taken away, so that escaping stands alone."""
    found = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html, count=1)
    assert found != html
    return found


COUNT = """() => {
  const found = {};
  for (const one of document.querySelectorAll("*")) found[one.tagName] = (found[one.tagName] || 0) + 1;
  return found;
}"""
HANDLERS = """() => [...document.querySelectorAll("*")].flatMap(one => [...one.attributes]).filter(
  a => a.name.startsWith("on") || a.name != "title" && /^\\s*javascript:/i.test(a.value)
).length"""


@pytest.mark.parametrize("poison", HOSTILE)
def test_nothing_from_the_corpus_runs_or_becomes_an_element(tab: Page, poison: str) -> None:
    """Hostile facts make as many elements as harmless ones, run nothing and ask for nothing."""
    facts = known_facts()
    open_page(tab, render(poisoned(facts, " harmless")))
    expected = tab.evaluate(COUNT)
    requests, said = open_page(tab, without_policy(render(poisoned(facts, poison))))
    found = tab.evaluate(COUNT)
    expected["META"] -= 1  # the policy
    assert found == expected
    assert tab.evaluate("window.hacked") is None
    assert tab.evaluate(HANDLERS) == 0
    assert (requests, said) == ([], [])


def test_documents_that_hold_scripts_run_none(tab: Page, tmp_path: Path, story: Callable[[int], str]) -> None:
    """From the bytes of a crawl to the page: in texts, addresses, sources and the names of fields."""
    evil = HOSTILE[0]
    rows = [{"text": f"{evil}\n{story(i)}\n{evil}", "url": f"http://a.example/{evil}", "from": evil} for i in range(30)]
    junk = [{"text": evil * 3, "url": evil, "from": evil}, {evil: "no text"}, *rows[:2]]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(orjson.dumps(row) for row in [*rows, *junk]))
    (tmp_path / "c.toml").write_text(
        f'[self_clean]\nrounds = 0\n[tokenizer]\nvocab_size = 300\n[[input]]\npaths = ["{tmp_path}/a.jsonl"]\n'
        'source = "from"\n[ingest]\nmax_unreadable = 0.1\nsteps = ["language", "gopher_quality"]\n'
    )
    line = [sys.executable, "-m", "pipeline.run", "--config", f"{tmp_path}/c.toml", "--output", f"{tmp_path}/out"]
    subprocess.run(line, check=True, capture_output=True, timeout=300)
    html = (tmp_path / "out/report.html").read_text()
    assert "window.hacked = 1" in html, "the page shows no document that holds a script"
    for page in (html, without_policy(html)):
        assert open_page(tab, page) == ([], [])
        assert tab.evaluate("window.hacked") is None


def test_the_policy_stops_a_script_that_escaping_missed(tab: Page) -> None:
    """A script put into the page behind our back does not run, and an image is not fetched."""
    hole = "<script>window.hacked = 1</script><img src='//evil.test/a.png' onerror='window.hacked = 2'>"
    html = render(known_facts()).replace("</main>", hole + "</main>")
    _, said = open_page(tab, html)
    assert tab.evaluate("window.hacked") is None
    assert any("Content Security Policy" in line for line in said)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_shows_without_complaint(browser: Browser, scheme: Any) -> None:
    """A browser asks for nothing, says nothing, and no section is wider than the window."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": 700, "height": 900})
    tab = context.new_page()
    requests, said = open_page(tab, render(known_facts()))
    assert (requests, said) == ([], [])
    assert tab.evaluate("document.documentElement.scrollWidth") <= 700
    context.close()


def test_links_lead_into_the_page_only() -> None:
    """An address from the corpus is text: every link is to a section that exists."""
    page = render(known_facts())
    links = re.findall(r'href="([^"]*)"', page)
    assert {link for link in links if not link.startswith("#")} == {"data:,"}
    assert {link[1:] for link in links if link.startswith("#")} == set(re.findall(r'<section id="(\w+)"', page))
    assert "https://example.org/a?b=c&d" in read(page).text


SHOWN = {
    "head": ["1,201 documents came in, 1,088 were kept (90.6 %)", "138,921", "135,940", "2,981", "25.0 %"],
    "funnel": ["1,234", "1,101", "1,094", "1,088", "5 MB", "4.76 MB", "95.2 %", "revisit 22", "no_such_encoding 11"],
    "reasons": ["near_duplicate 7", "too_few_words 97", "curly_bracket 3", "unlike_the_corpus 6", "94 of 100"],
    "languages": ["fr 1,101", "98.3 %", "zh 100", "6.0 %", "7 rejected by deduplication"],
    "sources": ["news 1,201", "13 rejected by later stages"],
    "signals": ["gopher quality", "words", "50", "100,000 →", "60 – 63: 200 kept", "1,101 100"],
    "rounds": [
        "149,504",
        "164,956",
        "6.422 · 6.557",
        "put aside",
        "1: 2.50",
        "0: 3.12",
        "15.0 %",
        "1,063",
        "217",
        "the worst 18.8 % of each stratum",
        "above their cut 1,177",
        "1,234,567",
        "0.44",
        "0.86",
        "1.938",
        "97.36 %",
        "98.25 %",
        "0.00234 bits of 0.0005 allowed",
        "1.536 → 1.475 bits",
        "trigram gain below 5",
        "repetition above 1",
        "47 documents 0.731",
        "shuffled words 41 documents 0.812 43 documents 0.988",
    ],
    "held": ["source news would lose 42.0% of its bytes and is held to 30.0%"],
    "guards": ["the vocabulary of fr would shift by 0.0023 bits, more than 0.0005"],
    "not judged": ["the judges saw 31 tokens of it, fewer than 20,000"],
    "samples": [
        "1 of 97",
        "17 < 50",
        "0a1b2c3d4e5f",
        "https://example.org/a?b=c&d",
        "你好，世界。 Second line.",
    ],
    "duplicates": [
        "11 documents form 4 clusters",
        "4 – 7 1",
        "5 documents",
        "0.9375 – 1: 3 rejected",
        "1,116",
        "precision 0.999",
        "1,234 lines",
        "56.8 kB",
    ],
    "experiments": ["What a model learns", "above 0 is worse", "rules: 0.118", "0.229", "rules 3.0867", "Ablation"],
    "cost": ["ingest 20.49 s", "5.52 s", "21", "8,999,990 bytes 9 MB"],
}


def test_an_experiment_is_drawn_where_it_has_figures() -> None:
    """Its numbers stand as numbers, a line crosses where a difference must lie beyond; without figures no drawing."""
    facts = known_facts()
    page = render(facts)
    assert '<th class="n">bits per byte</th>' in page
    assert page.count('<svg class="found"') == 1
    (table,) = facts["experiments"][0]["tables"]
    table["drawn"] = [["AUC", [None, None, None]]]
    assert '<svg class="found"' not in render(facts)
    assert charts.intervals([("rules", [0.118, -0.007, 0.229])], 0.0).count("<text") == 4


@pytest.mark.parametrize("section", SHOWN)
def test_every_fact_is_on_the_page(section: str) -> None:
    """The reasons, languages and numbers of a known run can be read, each as a word of its own."""
    text = read(render(known_facts())).text
    missing = [x for x in SHOWN[section] if not re.search(rf"(?<![\d,.]){re.escape(x)}(?!\d)", text)]
    assert not missing


def test_a_rule_that_empties_a_language_is_pointed_out() -> None:
    """A rule that takes most of a language is framed and named in a sentence, unless documents are few."""
    page = render(known_facts())
    assert page.count('class="cell most"') == 1
    assert "too_few_words takes 94.0 % of zh" in read(page).text
    few = known_facts()
    few["languages"][1] |= {"documents": ENOUGH - 1, "kept": 0, "rejected": {"ingest": ENOUGH - 1}}
    few["rejected"][1]["languages"] = {"zh": ENOUGH - 1}
    assert 'class="cell most"' not in render(few)


def test_documents_that_do_not_add_up_are_told() -> None:
    """A run whose kept and rejected are not its documents says so in place of the sum."""
    facts = known_facts()
    assert "Every document is accounted for" in render(facts)
    facts["rejected"].pop()
    assert "Every document is accounted for" not in render(facts)


def test_stages_stand_in_the_order_of_the_line() -> None:
    """Reasons are grouped by stage as documents meet them, not by the alphabet."""
    text = read(render(known_facts())).text
    start = text.index("Why documents were rejected")
    places = [text.index(name, start) for name in ("curly_bracket", "near_duplicate", "unlike_the_corpus")]
    assert places == sorted(places)


def test_empty_facts_render(tab: Page) -> None:
    """A run that found nothing is a page with all sections, and no NaN in a drawing."""
    page = render(empty_facts())
    requests, said = open_page(tab, page)
    assert (requests, said) == ([], [])
    assert tab.locator("section").count() == 9
    assert not re.search(r"\b(nan|inf|None|Undefined)\b", page)


@pytest.mark.parametrize("name", sorted(empty_facts()))
def test_each_section_survives_without_its_facts(name: str) -> None:
    """A page renders when any one fact is empty and the others are not."""
    page = render({**known_facts(), name: empty_facts()[name]})
    assert page.count("<section") == 9 + len(known_facts()["experiments"])


def test_a_round_that_judged_nothing_renders() -> None:
    """A round without scores, cuts or languages is shown."""
    facts = known_facts()
    bare: dict[str, Any] = {name: {} for name in ("cuts", "losses", "not_judged", "agreement", "held_out")}
    bare |= {name: [] for name in ("bits_per_byte", "score", "held", "guards", "judged", "found")}
    bare |= {"documents_judged": 0, "scored": 0, "depth": 0.0, "judges_overlap": 1.0}
    gone = ("language", "source", "mainly")  # a summary of nothing has no such keys
    facts["rounds"] = [{**{k: v for k, v in facts["rounds"][0].items() if k not in gone}, **bare}]
    assert "0 documents judged" in read(render(facts)).text


def test_values_without_a_number_are_dashes() -> None:
    """A value or threshold that is missing, or not a number, is a dash or left out."""
    facts = known_facts()
    facts["samples"]["too_few_words"] = [
        {
            **facts["samples"]["too_few_words"][0],
            "value": float("nan"),
            "threshold": None,
            "text": "",
            "url": None,
        }
    ]
    assert not re.search(r"\b(nan|None)\b", render(facts))


def test_many_languages_are_folded() -> None:
    """Hundreds of languages are all on the page, most folded, and the table of reasons stays narrow."""
    facts = known_facts()
    facts["languages"] = [
        {"name": f"l{n:03}", "documents": 1000 - n, "kept": 10, "rejected": {"ingest": 990 - n}} for n in range(300)
    ]
    facts["rejected"][1]["languages"] = {f"l{n:03}": 990 - n for n in range(300)}
    page = render(facts)
    assert all(f"l{n:03}" in page for n in range(300))
    assert f"{300 - OPEN_ROWS} smaller languages" in page
    assert page.count('class="cell"') + page.count('class="cell most"') < 100


def test_facts_are_not_changed() -> None:
    """Rendering leaves the facts as they were, since they are also written as JSON."""
    facts = known_facts()
    before = copy.deepcopy(facts)
    render(facts)
    assert facts == before


@pytest.mark.parametrize("values", [[0], [7], [0, 1, 1, 3], [0.0, 0.001, 0.2, 1.0], [5.5, 6.0, 44.1], [48, 52, 7168]])
def test_every_document_of_a_histogram_is_in_one_slot(values: list[float]) -> None:
    """The slots of a chart hold each value once, and a value lies between the ends of its slot."""
    bins = [[bin_edge(key), count] for key, count in histogram(_array(values)).items()]
    axis = make_axis(bins, [], 300.0)
    assert sum(counts(axis, bins)) == len(values)
    for edge, _ in bins:
        slot = axis.slot(edge)
        assert axis.lows[slot] <= edge <= axis.highs[slot]
        assert axis.left(slot) <= axis.at(edge) <= axis.right(slot) + 1e-9


def _array(values: list[float]) -> Any:
    return np.array(values)


@pytest.mark.parametrize("values", [[0, 1, 2, 3, 900], [0.3, 0.4, 0.45, 0.9], [0.001, 0.5, 0.51, 17.3]])
def test_areas_are_shares(values: list[float]) -> None:
    """The areas of a group's slots add up to one, and slots neither overlap nor leave the plot."""
    bins = [[bin_edge(key), count] for key, count in histogram(_array(values)).items()]
    axis = make_axis(bins, [], 300.0)
    slots = range(len(axis.lows))
    widths = [axis.right(slot) - axis.left(slot) for slot in slots]
    assert sum(w * d for w, d in zip(widths, axis.density(counts(axis, bins)), strict=True)) == pytest.approx(1)
    assert all(axis.right(slot) <= axis.left(slot + 1) + 1e-9 for slot in slots[:-1])
    assert min(widths) > 0
    assert axis.right(slots[-1]) <= 300.001


def test_text_reads_in_its_own_direction(tab: Page) -> None:
    """An Arabic text runs from right to left, and what stands around it does not."""
    facts = known_facts()
    facts["samples"]["too_few_words"][0]["text"] = "مرحبا بالعالم، هذا نص."
    open_page(tab, render(facts))
    assert tab.locator("#samples .text").evaluate("one => getComputedStyle(one).direction") == "rtl"
    assert tab.locator("#samples .about").evaluate("one => getComputedStyle(one).direction") == "ltr"
    assert tab.locator("#duplicates .text").evaluate("one => getComputedStyle(one).direction") == "ltr"


def test_a_cut_text_ends_with_an_ellipsis() -> None:
    """And a whole one does not."""
    facts = known_facts()
    sample = facts["samples"]["too_few_words"][0]
    facts["samples"]["too_few_words"] = [
        {**sample, "text": "cut" * (SAMPLED_CHARACTERS // 3)},
        {**sample, "text": "whole"},
    ]
    text = read(render(facts)).text
    assert "cutcut… " in text
    assert "whole " in text


def test_a_printed_page_shows_what_is_folded(tab: Page) -> None:
    """Folded samples are printed, since paper cannot be unfolded, and the page fits its width."""
    facts = known_facts()
    facts["samples"]["curly_bracket"] = [{**facts["samples"]["too_few_words"][0], "text": "folded text"}]
    tab.set_viewport_size({"width": 720, "height": 900})
    tab.set_content(render(facts))
    folded = tab.get_by_text("folded text")
    assert not folded.is_visible()
    tab.emulate_media(media="print")
    assert folded.is_visible()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 720


def test_a_long_tail_is_folded_into_the_last_slot() -> None:
    """One document far out does not stretch the axis, but it is still counted."""
    bins = [[float(n), 1000] for n in range(1, 9)] + [[float(2**40), 1]]
    axis = make_axis(bins, [], 300.0)
    assert axis.highs[-1] < 20
    assert sum(counts(axis, bins)) == 8001


def test_an_axis_of_shares_ends_at_one() -> None:
    """A bin reaches from 1 to 1.125, but no share does: what is 1 stands in the last slot before it."""
    axis = make_axis([[0.0, 5], [0.25, 9], [0.9375, 4], [1.0, 40]], [1.0], 300.0)
    assert axis.highs[-1] == 1
    assert counts(axis, [[0.0, 5], [0.25, 9], [0.9375, 4], [1.0, 40]])[-1] == 44
    assert axis.holds(1.0)
    assert make_axis([[0.5, 5], [1.5, 9]], [], 300.0).highs[-1] > 1.5


def test_a_threshold_lies_between_what_it_parts() -> None:
    """The place of a threshold is right of the values below it and left of those above, zero among them."""
    axis = make_axis([[0.0, 5], [0.09375, 9], [0.1015625, 4]], [0.1], 300.0)
    assert axis.at(0.0) < axis.at(0.09375) < axis.at(0.1) < axis.at(0.1015625)
    whole = make_axis([[0.0, 5], [2.0, 9], [3.0, 4], [4.0, 1]], [3.0], 300.0)
    assert whole.at(2.0) < whole.at(3.0) < whole.at(4.0)
    assert axis.holds(0.1)


@pytest.mark.parametrize(
    ("part", "total", "shown"),
    [
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (1, 5000, "< 0.1 %"),
        (4999, 5000, "> 99.9 %"),
        (1, 3, "33.3 %"),
        (0, 0, "–"),
    ],
)
def test_a_share_says_all_or_nothing_only_where_it_is(part: int, total: int, shown: str) -> None:
    """A share that is not exactly 0 or 1 never reads as 0 % or 100 %."""
    assert percent(part, total) == shown


def test_scores_below_zero_are_told_apart() -> None:
    """They are log-odds: most of a corpus lies below 0, on both sides of which they are drawn."""
    drawn = str(charts.scores([[-3.0, 40], [-1.0, 30], [0.5, 20], [2.0, 10]], [("en", "1", 1.0)]))
    assert all(f": {count} documents" in drawn for count in (40, 30, 20, 10))
    assert "kept below 1.00" in drawn


def test_scores_are_drawn_in_equal_slots_without_gaps() -> None:
    """Bins are narrow near zero and wide far from it; a slot has the documents whose scores lie in it, or about so."""
    values = np.random.default_rng(1).normal(-1, 2.5, 20_000)
    bins = [[bin_edge(key), count] for key, count in histogram(values).items()]
    axis = make_even_axis(bins, [3.5], 480.0)
    assert np.diff([*axis.lows, axis.highs[-1]]) == pytest.approx(axis.highs[0] - axis.lows[0])
    ends = [-np.inf, *axis.lows[1:], np.inf]
    found = spread(axis, bins)
    assert sum(found) == pytest.approx(len(values))
    assert found == pytest.approx(np.histogram(values, ends)[0], rel=0.25)
    assert min(found) > 20
    assert axis.lows[0] > -10
    assert axis.holds(3.5)


def test_scores_of_any_kind_have_an_axis() -> None:
    """None, one, all zero, and very far ones; a cut out of sight does not stretch it."""
    for bins in ([], [[0.0, 7]], [[0.5, 1]], [[-3.0, 9], [512.0, 1]], [[-512.0, 1], [512.0, 1]]):
        axis = make_even_axis(bins, [10_000.0], 480.0)
        assert sum(spread(axis, bins)) == pytest.approx(sum(count for _, count in bins))
        assert 1 <= len(axis.lows) <= 45
        assert axis.right(len(axis.lows) - 1) <= 480.001


def test_what_a_round_changed_is_told_of_later_rounds_only() -> None:
    """A first round alone has no lines about one before it; with a second they stand, with dashes for the first."""
    facts = known_facts()
    assert "since the round before" not in read(render(facts)).text
    facts["rounds"].append({**facts["rounds"][0], "number": 2, "jaccard": 0.625})
    text = read(render(facts)).text
    for said in ("left since the round before – 6", "came back – 0", "overlap with the round before – 0.62"):
        assert said in text


def test_no_line_about_rounds_is_cut_off(tab: Page) -> None:
    """What stands before the numbers can be read to its end."""
    open_page(tab, render(known_facts()))
    lines = tab.locator("#rounds table").first.locator("th")
    assert lines.count() > 15
    assert lines.evaluate_all("lines => lines.every(line => line.scrollWidth <= line.clientWidth)")


def test_what_signals_weigh_is_shown() -> None:
    """Each signal has its four weights; a finished run of before, which tells none, has no table of them."""
    facts = known_facts()
    text = read(render(facts)).text
    assert "signal above below residual above residual below cache gain 0.00 0.70 0.07 0.78 slope 0.20" in text
    del facts["rounds"][0]["weights"]
    assert "residual above" not in read(render(facts)).text


def test_a_tiny_shift_reads_as_tiny_and_beside_its_limit() -> None:
    """Less than is shown is not nothing; a finished run of before knows neither its limit nor what was left unread."""
    facts = known_facts()
    (one,) = facts["rounds"]
    one["diversity"]["vocabulary_shift"] = 4.8e-6
    assert "shift of the vocabulary < 0.00001 bits of 0.0005 allowed, most in fr" in read(render(facts)).text
    one["diversity"]["vocabulary_shift"] = 0.0
    del one["diversity"]["shifted_most"]
    assert "shift of the vocabulary 0 bits of 0.0005 allowed entropy" in read(render(facts)).text
    del one["max_vocabulary_shift"], one["unread"]
    text = read(render(facts)).text
    assert "shift of the vocabulary 0 bits entropy" in text
    assert "above their cut –" in text

"""The review page in a browser: labelled by keys and by clicks, kept over a reload, saved, loaded, blind and inert."""

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from playwright.sync_api import Browser, Page

from pipeline.review_page import render
from pipeline.review_sample import Design, Drawn, Sample, Stratum, draw
from tests.pipeline.judged_run import identity, written

ADDRESS = "http://review.test/review.html"
LANGUAGES = {"en": 300, "zh": 200, "ar": 150, "he": 100}
STORED_MS = 400  # until another process of the browser sees what a page stored
KEYS = {"g": "good", "b": "bad", "u": "unsure"}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Return a sample of 24 documents in four scripts, with scripts in the English ones."""
    folder = tmp_path_factory.mktemp("review")
    written(folder, LANGUAGES)
    return draw(str(folder), Design(size=24))


def of_texts(texts: list[tuple[str, str]], characters: int | None = None) -> Sample:
    """Return a sample of these (language, text)."""
    documents = tuple(
        Drawn(identity(str(n)), language, 0, False, True, 1.0, 2.0, text, characters or len(text))
        for n, (language, text) in enumerate(texts)
    )
    return Sample(Design(), 0.0, (Stratum("en", "kept", 99, len(texts)),), documents)


def visit(tab: Page, html: str) -> list[str]:
    """Show a page as if served; return a list that fills with the requests it makes and what the console says."""
    heard: list[str] = []
    tab.on("request", lambda request: heard.append(request.url) if request.url != ADDRESS else None)
    tab.on("console", lambda message: heard.append(message.text))
    tab.on("pageerror", lambda error: heard.append(str(error)))
    tab.route("**/*", lambda route: route.fulfill(body=html, content_type="text/html; charset=utf-8"))
    tab.goto(ADDRESS)
    return heard


def saved(tab: Page, press: Callable[[], None]) -> dict[str, Any]:
    """Return the file that a page downloads."""
    with tab.expect_download() as download:
        press()
    found: dict[str, Any] = orjson.loads(Path(download.value.path()).read_bytes())
    return {**found, "name": download.value.suggested_filename}


def shown(tab: Page) -> str:
    """Return the text of the document on the page."""
    return tab.locator("#text").inner_text()


def test_a_whole_sample_by_keys_and_clicks(tab: Page, sample: Sample) -> None:
    """Every document is shown once, labelled by key or by click, and the file holds what was said, in order."""
    heard = visit(tab, render(sample, ""))
    tab.fill("#labeller", "Ana B.")
    tab.locator("#document").focus()
    said = {}
    for number, one in enumerate(sample.documents):
        assert tab.locator("#place").inner_text() == f"Document {number + 1} of 24"
        assert shown(tab) == one.text
        key = "gbu"[number % 3]
        said[one.id] = KEYS[key]
        if number % 2:
            tab.keyboard.press(key)
        else:
            tab.click(f"#{KEYS[key]}")
    assert tab.locator("#end-title").inner_text() == "All of them are labelled"
    assert tab.locator("#counts").inner_text() == "24 of 24 labelled · 8 good · 8 bad · 8 unsure"
    file = saved(tab, lambda: tab.click("#end-save"))
    assert {row["id"]: row["label"] for row in file["labels"]} == said
    assert [row["id"] for row in file["labels"]] == [one.id for one in sample.documents]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", row["at"]) for row in file["labels"])
    assert (file["sample"], file["labeller"]) == (sample.digest, "Ana B.")
    assert file["name"] == f"labels-{sample.digest}-ana-b-.json"
    assert heard == []


def test_a_reload_keeps_labels_and_place(tab: Page, sample: Sample) -> None:
    """What was said, skipped and typed is there after a reload, and the page goes on where it was."""
    html = render(sample, "")
    visit(tab, html)
    tab.fill("#labeller", "Ben")
    tab.locator("#document").focus()
    for key in "gbsu":
        tab.keyboard.press(key)
    tab.wait_for_timeout(STORED_MS)
    tab.reload()
    assert tab.locator("#counts").inner_text() == "3 of 24 labelled · 1 good · 1 bad · 1 unsure · 1 skipped"
    assert tab.locator("#place").inner_text() == "Document 5 of 24"
    assert tab.locator("#labeller").input_value() == "Ben"
    file = saved(tab, lambda: tab.keyboard.press("d"))
    assert [row["label"] for row in file["labels"]] == ["good", "bad", "unsure"]


def test_undo_back_and_skip(tab: Page, sample: Sample) -> None:
    """Undo takes the last label away, back shows what was said, a key replaces it, and skipped ones come again."""
    visit(tab, render(sample, ""))
    for key in ("g", "b", "z"):
        tab.keyboard.press(key)
    assert tab.locator("#place").inner_text() == "Document 2 of 24"
    assert tab.locator("#bad").get_attribute("aria-pressed") == "false"
    tab.keyboard.press("ArrowLeft")
    assert tab.locator("#good").get_attribute("aria-pressed") == "true"
    tab.keyboard.press("b")
    assert tab.locator("#counts").inner_text().startswith("1 of 24 labelled · 0 good · 1 bad")
    for _ in range(23):
        tab.keyboard.press("s")
    assert tab.locator("#end-title").inner_text() == "1 of 24 are labelled"
    tab.click("#again")
    assert tab.locator("#place").inner_text() == "Document 2 of 24"
    tab.keyboard.press("z")
    assert tab.locator("#good").get_attribute("aria-pressed") == "true", "undo brings back what a label replaced"


def test_keys_do_nothing_while_typing_or_held(tab: Page, sample: Sample) -> None:
    """A name may have a g in it, a key held down labels one document, and the browser's own shortcuts stay its own."""
    visit(tab, render(sample, ""))
    tab.locator("#labeller").press_sequentially("gabi bus")
    assert tab.locator("#counts").inner_text().startswith("0 of 24")
    tab.locator("#document").focus()
    tab.keyboard.press("Control+b")
    tab.keyboard.down("g")
    tab.keyboard.down("g")
    tab.keyboard.down("g")
    tab.keyboard.up("g")
    assert tab.locator("#counts").inner_text().startswith("1 of 24 labelled · 1 good")


def test_a_file_of_labels_can_be_gone_on_with(browser: Browser, sample: Sample) -> None:
    """In another browser the file brings labels and name back, and saving gives the same file."""
    html = render(sample, "")
    first, second = browser.new_context().new_page(), browser.new_context().new_page()
    visit(first, html)
    first.fill("#labeller", "Ana")
    first.locator("#document").focus()
    for key in "gbug":
        first.keyboard.press(key)
    file = saved(first, lambda: first.click("#save"))
    visit(second, html)
    load(second, file)
    assert second.locator("#status").inner_text() == "4 labels of Ana loaded."
    assert second.locator("#place").inner_text() == "Document 5 of 24"
    assert saved(second, lambda: second.click("#save")) == file
    for page in (first, second):
        page.context.close()


def load(tab: Page, file: dict[str, Any]) -> None:
    """Choose a file of labels."""
    content = orjson.dumps({name: value for name, value in file.items() if name != "name"})
    tab.set_input_files("#file", {"name": "labels.json", "mimeType": "application/json", "buffer": content})
    tab.wait_for_function("document.getElementById('status').textContent !== ''")


BAD_FILES: dict[str, tuple[dict[str, Any], str]] = {
    "another sample": ({"sample": "0" * 16}, "its labels are of another sample"),
    "no labels": ({"kind": "something"}, "it holds no labels of this page"),
    "a stranger": ({"labels": [{"id": "x", "label": "good"}]}, "does not know"),
    "an unknown label": ({"labels": [{"id": identity("0"), "label": "great"}]}, "does not know"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_files_of_something_else_are_refused(tab: Page, name: str) -> None:
    """A wrong file changes nothing, and the page says what is wrong with it."""
    made = of_texts([("en", "One."), ("en", "Two.")])
    visit(tab, render(made, ""))
    change, said = BAD_FILES[name]
    good = {"kind": "lustrate labels", "version": 1, "sample": made.digest, "labeller": "Ana", "labels": []}
    load(tab, {**good, **change})
    assert said in tab.locator("#status").inner_text()
    assert tab.locator("#counts").inner_text().startswith("0 of 2")
    assert tab.locator("#labeller").input_value() == ""


def test_two_people_are_not_mixed_up(tab: Page) -> None:
    """Labels of one person are not loaded over those of another."""
    made = of_texts([("en", "One."), ("en", "Two.")])
    visit(tab, render(made, "Ben"))
    tab.keyboard.press("g")
    label = {"id": identity("1"), "label": "bad"}
    load(tab, {"kind": "lustrate labels", "version": 1, "sample": made.digest, "labeller": "Ana", "labels": [label]})
    tab.wait_for_function("document.getElementById('status').textContent.includes('not loaded')")
    assert "those of Ana, not of Ben" in tab.locator("#status").inner_text()
    assert tab.locator("#counts").inner_text().startswith("1 of 2")


def test_labels_without_a_name_are_not_saved(tab: Page) -> None:
    """The page asks for the name and puts the cursor there."""
    visit(tab, render(of_texts([("en", "One.")]), ""))
    tab.keyboard.press("g")
    tab.click("#end-save")
    assert "your name" in tab.locator("#status").inner_text()
    assert tab.evaluate("document.activeElement.id") == "labeller"


def test_starting_over_asks_twice(tab: Page) -> None:
    """One click forgets nothing."""
    visit(tab, render(of_texts([("en", "One."), ("en", "Two.")]), ""))
    tab.keyboard.press("g")
    tab.click("#forget")
    assert tab.locator("#counts").inner_text().startswith("1 of 2")
    assert tab.locator("#forget").inner_text() == "Really forget 1 labels?"
    tab.click("#forget")
    assert tab.locator("#counts").inner_text().startswith("0 of 2")


def test_a_browser_that_keeps_nothing_says_so(tab: Page) -> None:
    """Where the store fails, labelling goes on, a warning stands there, and labels can still be saved."""
    tab.add_init_script("Storage.prototype.setItem = () => { throw new Error('no'); };")
    tab.add_init_script("Storage.prototype.getItem = () => { throw new Error('no'); };")
    visit(tab, render(of_texts([("en", "One."), ("en", "Two.")]), "Ana"))
    assert tab.locator("#volatile").is_visible()
    tab.keyboard.press("b")
    assert [row["label"] for row in saved(tab, lambda: tab.click("#save"))["labels"]] == ["bad"]


def test_a_page_from_a_file_works(tab: Page, tmp_path: Path) -> None:
    """Opened from the disk it keeps labels over a reload and saves them."""
    path = tmp_path / "review.html"
    path.write_text(render(of_texts([("en", "One."), ("zh", "二。")]), "Ana"))
    tab.goto(path.as_uri())
    tab.keyboard.press("u")
    tab.wait_for_timeout(STORED_MS)
    tab.reload()
    assert tab.locator("#counts").inner_text().startswith("1 of 2 labelled · 0 good · 0 bad · 1 unsure")
    assert [row["label"] for row in saved(tab, lambda: tab.click("#save"))["labels"]] == ["unsure"]


SCRIPTS = {
    "zh": ("我们今天学习中国历史。", "ltr", "Serif"),
    "ar": ("مرحبا بالعالم، هذا نص.", "rtl", "Naskh"),
    "he": ("שלום עולם", "rtl", "Hebrew"),
    "en": ("A plain text.", "ltr", "Serif"),
}


@pytest.mark.parametrize("language", SCRIPTS)
def test_text_reads_in_its_own_direction_and_type(tab: Page, language: str) -> None:
    """A text is marked with its language, runs in its own direction, and has a type and lines that suit its script."""
    text, direction, font = SCRIPTS[language]
    tab.set_viewport_size({"width": 1400, "height": 900})
    visit(tab, render(of_texts([(language, "\n".join([text * 20, "Latin in between: 2016.", text]))]), ""))
    lines = tab.locator("#text p")
    computed = [lines.nth(n).evaluate("one => getComputedStyle(one).direction") for n in range(3)]
    assert computed == [direction, "ltr", direction]
    assert tab.locator("#text").get_attribute("lang") == language
    assert font in tab.locator("#text").evaluate("one => getComputedStyle(one).fontFamily")
    assert tab.locator("#place").evaluate("one => getComputedStyle(one).direction") == "ltr"
    width = tab.locator("#text").evaluate(
        "one => one.getBoundingClientRect().width / parseFloat(getComputedStyle(one).fontSize)"
    )
    assert width <= 40, "lines are too long to read"


HOSTILE = (
    "<script>window.hacked = 1</script></script><img src=x onerror='window.hacked = 2'><!--",
    "\u202e\u2067 --><!--<script> ]]> &lt;b&gt; \\u003c {{ 7 * 191 }} ${7 * 191} \u2028 \x00 \U0001f600",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_inert(tab: Page, text: str) -> None:
    """Markup and scripts in a text, its language and a reviewer's name are letters on the page and nothing else."""
    harmless = of_texts([("en", "Harmless.")])
    visit(tab, render(harmless, ""))
    expected = tab.evaluate("document.querySelectorAll('*').length")
    html = render(of_texts([(f'en"><script>window.hacked = 3</script>{text}', text)]), text)
    heard = visit(tab, re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html))
    blocks = len([line for line in re.split("[\n\u2028]", text) if line.strip()])
    assert tab.evaluate("document.querySelectorAll('*').length") == expected - 1 + blocks - 1  # without the policy
    assert tab.evaluate("[...document.querySelectorAll('#text p')].map(p => p.textContent).join('')") == (
        text.replace("\u2028", "")
    )
    assert tab.evaluate("window.hacked") is None
    assert [line for line in heard if line != ADDRESS] == []


def test_the_policy_stops_what_is_not_the_page(tab: Page) -> None:
    """A script or style that got in by another way does not run, and nothing is fetched."""
    hole = "<script>window.hacked = 1</script><img src='//evil.test/a.png' onerror='window.hacked = 2'>"
    html = render(of_texts([("en", "One.")]), "").replace("</main>", hole + "</main>")
    heard = visit(tab, html)
    assert tab.evaluate("window.hacked") is None
    assert any("Content Security Policy" in line for line in heard)
    assert tab.locator("#place").inner_text() == "Document 1 of 1", "the page's own script runs"


def test_a_long_document_is_shown_in_parts_and_in_full(tab: Page) -> None:
    """Beginning, middle and end are shown, what is left out is counted, and a key shows all of it and back."""
    text = "\n\n".join(f"Paragraph {n} of a long document, with some words in it. \U0001f600" for n in range(400))
    visit(tab, render(of_texts([("en", text), ("en", "Short.")]), ""))
    excerpt = shown(tab)
    assert "Paragraph 0 " in excerpt
    assert "Paragraph 399 " in excerpt
    assert "Paragraph 200 " in excerpt
    assert len(excerpt) < 4500
    gaps = tab.locator(".left-out")
    left_out = sum(int(re.sub(r"\D", "", gaps.nth(n).inner_text())) for n in range(2))
    assert left_out + 3600 == pytest.approx(len(text.encode("utf-16-le")) / 2, abs=4)
    tab.keyboard.press("a")
    assert tab.locator("#text p").count() == 400
    tab.keyboard.press("a")
    assert tab.locator("#text p").count() < 100
    tab.keyboard.press("a")
    tab.keyboard.press("g")
    assert not tab.locator("#more").is_visible(), "a short one has no more to show"


def test_a_document_longer_than_the_page_carries_says_so(tab: Page) -> None:
    """What the page does not have is not passed off as the end."""
    visit(tab, render(of_texts([("en", "\U0001f600 " * 4000)], characters=1_000_000), ""))
    for _ in range(2):
        assert "992,000 more, which this page does not carry" in shown(tab)
        tab.keyboard.press("a")
    assert "1,000,000 characters" in tab.locator("#length").inner_text()


def test_the_page_is_blind(sample: Sample) -> None:
    """Neither strata, verdicts, scores, cuts nor probabilities are in the page, and the order tells nothing."""
    html = render(sample, "")
    block = re.search(r'<script type="application/json" id="sample">(.*?)</script>', html, re.DOTALL)
    assert block
    data = orjson.loads(block[1])
    assert set(data) == {"digest", "reviewer", "documents"}
    assert all(set(one) == {"id", "language", "text", "characters"} for one in data["documents"])
    for word in ("borderline", "probability", "rejected", "stratum", "threshold"):
        assert word not in html, word
    zones = [sample.strata[one.stratum].zone for one in sample.documents]
    assert sum(a != b for a, b in pairwise(zones)) > 8


def test_the_digest_names_sample_texts_and_probabilities(sample: Sample) -> None:
    """Another text or another probability is another sample, so that labels never meet the wrong weights."""
    one = of_texts([("en", "One.")])
    other = of_texts([("en", "One!")])
    assert len({one.digest, other.digest, sample.digest}) == 3
    thinner = Sample(one.design, one.offset, (Stratum("en", "kept", 100, 1),), one.documents)
    assert thinner.digest != one.digest


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_can_be_used_by_all(browser: Browser, sample: Sample, scheme: Any) -> None:
    """Every control has a name, focus goes with the document, and a narrow window does not scroll sideways."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": 380, "height": 700})
    tab = context.new_page()
    visit(tab, render(sample, ""))
    for name in ("Good", "Bad", "Unsure", "Skip", "Back", "Undo", "Save labels", "Load labels", "Start over"):
        assert tab.get_by_role("button", name=name).count() == 1, name
    assert tab.get_by_label("Your name").count() == 1
    tab.keyboard.press("g")
    assert tab.evaluate("document.activeElement.id") == "document"
    assert tab.get_by_role("status").inner_text() == "Good. Z takes it back."
    assert tab.get_by_role("progressbar").evaluate("one => one.value") == 1
    assert tab.evaluate("document.documentElement.scrollWidth") <= 380
    context.close()

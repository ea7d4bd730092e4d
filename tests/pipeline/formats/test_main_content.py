"""The text of a page is found among its menus, and no markup leads the search astray."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.formats.class_words import ASIDE, automaton
from pipeline.formats.html import main_text
from pipeline.formats.main_content import main_content
from pipeline.formats.markup import CLOSED, CODE, OPENED, TEXT, read_markup
from pipeline.formats.nesting import nesting

PROSE = "This is a paragraph of the text, and it says something about the subject of the page."
MENU = "<ul>" + "<li><a href=x>Another page of this site</a></li>" * 8 + "</ul>"


def article(*paragraphs: str, around: str = "", name: str = "article") -> str:
    """Return a page with an article and something before it."""
    text = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    return f"<html><body>{around}<div><{name}>{text}</{name}></div></body></html>"


def test_paragraphs_are_kept_in_order_with_an_empty_line_between() -> None:
    """Every paragraph of prose stays, as a paragraph."""
    first, second = f"First. {PROSE}", f"Second. {PROSE}"
    assert main_text(article(first, second)) == f"{first}\n\n{second}"


@pytest.mark.parametrize(
    "beside",
    [
        f"<nav>{PROSE}</nav>",
        f"<footer><p>{PROSE}</p></footer>",
        f"<div class='Site-Sidebar'><p>{PROSE}</p></div>",
        f"<div id=cookie-notice><p>{PROSE}</p></div>",
        f"<section class=comments><p>{PROSE}</p></section>",
        f"<div style='color: red; display: none'><p>{PROSE}</p></div>",
        f"<p hidden>{PROSE}</p>",
        f"<script>document.write('{PROSE}')</script>",
        f"<div role=navigation>{PROSE}</div>",
        MENU,
    ],
)
def test_what_stands_beside_the_text_goes(beside: str) -> None:
    """Menus, footers, notices, comments, hidden and scripted text are no part of the text."""
    page = (
        f"<html><body>{beside}<div>{'<p>The text. ' + PROSE + '</p>'}<p>{PROSE}</p><p>{PROSE}</p></div></body></html>"
    )
    assert main_text(page) == "\n\n".join([f"The text. {PROSE}", PROSE, PROSE])


def test_a_name_that_takes_most_of_the_page_is_not_believed() -> None:
    """Themes call whole pages after a sidebar or a widget; the text in them stays."""
    page = f"<html><body class=has-sidebar><div class='widget related'><p>{PROSE}</p></div></body></html>"
    assert main_text(page) == PROSE


def test_several_parts_of_one_name_are_one_text() -> None:
    """An article in several elements of one kind is kept whole."""
    parts = "".join(f"<div class=richtext><p>Part {n}. {PROSE}</p></div>" for n in range(5))
    text = main_text(f"<html><body><div class=page>{parts}</div>{MENU}</body></html>")
    assert [n for n in range(5) if f"Part {n}." in text] == list(range(5))
    assert "Another page" not in text


def test_tables_lists_and_code_keep_their_shape() -> None:
    """Cells stand between tabs, items after a bullet, code on its own lines with its spaces."""
    inside = (
        f"<p>{PROSE}</p><table><tr><th>one</th><th>two</th></tr><tr><td>1</td><td>2</td></tr></table>"
        f"<ul><li>an item</li><li>and another</li></ul><pre>if x:\n    y = &lt;z&gt; &amp;amp; 1</pre><p>{PROSE}</p>"
    )
    text = main_text(f"<html><body><article>{inside}</article></body></html>")
    assert "one\ttwo\n1\t2" in text
    assert "• an item\n• and another" in text
    assert "if x:\n    y = <z> &amp; 1" in text


def test_line_breaks_part_and_inline_elements_do_not() -> None:
    """<br> begins a line; <b> and links run on; white space is drawn together."""
    text = main_text(article(f"{PROSE}<br>Next <b>li</b>ne,  with\n a <a href=x>link</a>.&nbsp; {PROSE}"))
    assert text == f"{PROSE}\nNext line, with a link. {PROSE}"


def test_a_heading_with_nothing_after_it_goes() -> None:
    """The headings of lists of links that were dropped say nothing."""
    page = f"<html><body><article><h1>Title</h1><p>{PROSE * 3}</p><h2>More</h2>{MENU}</article></body></html>"
    assert main_text(page) == f"Title\n\n{PROSE * 3}"


@pytest.mark.parametrize(
    "script", ["<noscript><div><p>{}</p></div></noscript>", "<script type='text/template'><p>{}</p></script>"]
)
def test_a_page_that_scripts_would_fill_is_read_from_what_they_hold(script: str) -> None:
    """Text in <noscript> or in a template counts where there is no other."""
    assert main_text(f"<html><body>{MENU}{script.format(PROSE)}</body></html>") == PROSE


def test_a_page_without_prose_keeps_what_is_no_menu() -> None:
    """A page of short lines is not lost."""
    page = f"<html><body>{MENU}<table><tr><td>Width</td><td>10 cm</td></tr></table></body></html>"
    assert main_text(page) == "Width\t10 cm"


def test_chinese_prose_is_prose() -> None:
    """A sentence of 30 characters without spaces is a block of prose, a line of a menu is not."""
    prose = "这是一个关于网页主要内容的段落，它有足够多的字，也有标点符号，所以应当被当作正文保留下来。"
    assert main_text(article(prose, prose, around=MENU)) == f"{prose}\n\n{prose}"


def test_words_are_found_wherever_they_stand() -> None:
    """The table of states finds what a search for every word finds, whole names only where a space says so."""
    steps, endings = automaton({"abc": 1, "bc": 2, " ad ": 4, "c": 8})
    for value, wanted in {"xABCx": 11, "bc": 10, "ad": 4, "x ad-y": 0, "a\tad\nb": 4, "": 0}.items():
        state, bits = steps[0, ord(" ")], 0
        for byte in f"{value} ".encode():
            state = steps[state, byte]
            bits |= int(endings[state])
        assert bits == wanted, value


def test_markup_is_read_as_it_is_written() -> None:
    """Elements, their parents and the order of what happens are those of the page."""
    markup = read_markup("<div class='x'>a<br>b<script><p></script></div>".replace("'", '"'))
    assert markup.tags.tolist() == [0, CODE["div"], CODE["br"], CODE["script"]]
    assert markup.parents.tolist() == [0, 0, 1, 1]
    assert markup.kinds.tolist() == [OPENED, TEXT, OPENED, CLOSED, TEXT, OPENED, CLOSED, CLOSED]
    assert not markup.marks.any()
    assert read_markup('<div id="share-bar">').marks[1] == ASIDE


MARKUP = st.lists(
    st.sampled_from(
        [
            *(
                "<",
                ">",
                "</",
                "<div",
                "<p>",
                "</p>",
                "</div>",
                "<a href=x>",
                "</a>",
                "<script>",
                "</script>",
                "<!--",
                "-->",
            ),
            *(
                'class="',
                '"',
                "=",
                " hidden",
                " style=",
                "display:none",
                "&nbsp;",
                "&amp",
                "<li>",
                "<pre>",
                "<td>",
                "<tr>",
            ),
            *("<body", "<?", "<!", PROSE, "一", "\ud800", "\0", " "),
        ]
    )
    | st.text(max_size=5),
    max_size=40,
).map("".join)


@given(MARKUP)
def test_any_markup_gives_a_text(html: str) -> None:
    """No string that a parser might hand on stops the search or makes a text that cannot be written."""
    text = main_content(read_markup(html))
    assert text.encode().decode() == text


@given(MARKUP)
def test_any_page_gives_a_text(page: str) -> None:
    """No page that was decoded stops the reader."""
    text = main_text(page.replace("\ud800", ""))
    assert text.encode().decode() == text


@pytest.mark.parametrize(
    ("page", "deep"),
    [
        ("", 0),
        ("<div><div></div>", 2),
        ("<DIV><p><p><br></DIV></div><a", 1),
        ("<div></span><i>", 2),
        ("< div><1><", 0),
        ("<x-y></x-y>", 1),
    ],
)
def test_nesting_counts_tags_without_their_ends(page: str, deep: int) -> None:
    """End tags close their like only, and tags that do not nest do not count."""
    assert nesting(page).depth == deep


def test_what_a_parser_would_open_again_is_counted() -> None:
    """Formatting left open before blocks is as many elements more as there are blocks after it."""
    assert nesting("<b><p>x<p>x</b><p>x").reopened == 2
    assert nesting("<i>" + "<font id=1><p>" * 3).reopened == 2 + 3 + 4
    assert nesting("<b><i></b></i><p><div>").reopened == 0

"""Runs the kernels that read markup on pages that end anywhere; tests/test_bounds.py starts it."""

from pipeline.formats.main_content import main_content
from pipeline.formats.markup import read_markup
from pipeline.formats.nesting import nesting
from tests.checked_bounds import run_checked

PROSE = "A sentence of some length, which is followed by another one. " * 4
PAGE = (
    '<body class="x"><!-- c --><?p?><nav role="navigation">m</nav><ARTICLE id="content" hidden style="display:none">'
    f"&nbsp;<p>{PROSE}</article><div class='a\"b'><h1>T</h1><pre> a\n b</pre><ul><li>{PROSE}<li>"
    "<a href=x>漢字，</a></ul><table><tr><td>1<td>2&nbsp;</table><script>x</scrip</script><x-y/></z></div></body>"
    f"{PROSE}<"
)


def run_all() -> None:
    """Read the page up to every place, and from there."""
    for end in range(len(PAGE) + 1):
        nesting(PAGE[:end])
        main_content(read_markup(PAGE[:end]))
        main_content(read_markup(PAGE[end:]))


if __name__ == "__main__":
    run_checked(run_all)

"""Runs the kernels that read markup on pages that end anywhere; test_bounds.py starts it.

Numba checks bounds where NUMBA_BOUNDSCHECK is set before anything is compiled.
"""

import numpy as np
from numba import njit

from filters.characters import Array
from pipeline.formats.main_content import main_content
from pipeline.formats.markup import read_markup
from pipeline.formats.nesting import nesting

PROSE = "A sentence of some length, which is followed by another one. " * 4
PAGE = (
    '<body class="x"><!-- c --><?p?><nav role="navigation">m</nav><ARTICLE id="content" hidden style="display:none">'
    f"&nbsp;<p>{PROSE}</article><div class='a\"b'><h1>T</h1><pre> a\n b</pre><ul><li>{PROSE}<li>"
    "<a href=x>漢字，</a></ul><table><tr><td>1<td>2&nbsp;</table><script>x</scrip</script><x-y/></z></div></body>"
    f"{PROSE}<"
)


@njit(nogil=True)
def read(values: Array, at: int) -> int:
    """Read one value."""
    return values[at]


def main() -> None:
    """Read; an index out of bounds raises IndexError."""
    try:
        read(np.zeros(2), 2)
    except IndexError:
        print("checked")
    for end in range(len(PAGE) + 1):
        nesting(PAGE[:end])
        main_content(read_markup(PAGE[:end]))
        main_content(read_markup(PAGE[end:]))
    print("done")


if __name__ == "__main__":
    main()

"""What a run prints on a terminal, and where its output is none."""

import re
from collections.abc import Sequence
from io import StringIO

import pytest
from rich.console import Console

from pipeline import progress
from pipeline.progress import Display, display
from pipeline.stage import Manifest, Stage


def lines(*watched: tuple[Sequence[dict[str, int]], str]) -> list[str]:
    """Return what a stage of two tasks prints that is watched with these records and notes."""
    written = StringIO()
    with Display(Console(file=written, width=200)).stage("damage") as watch:
        for records, inside in watched:
            watch(2, records, inside)
    return written.getvalue().splitlines()


def test_a_stage_that_is_quiet_says_that_it_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its tasks take, a line comes from time to time; not after the last one."""
    nothing: tuple[Sequence[dict[str, int]], str] = ((), "")
    assert lines(nothing, nothing) == ["damage: 0 of 2"], "at its end"
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    said = lines(nothing, nothing, ([{}, {}], ""), nothing)
    assert said == ["damage: 0 of 2 · 0 s so far", "damage: 0 of 2 · 0 s so far", "damage: 2 of 2"]


def test_one_is_not_many() -> None:
    """A number of one has its noun in the singular."""
    assert lines(([{"documents": 1}], ""))[0].startswith("damage: 1 of 2 · 1 document, ")
    assert lines(([{"documents": 2000}], ""))[0].startswith("damage: 1 of 2 · 2,000 documents, ")


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_terminal_has_a_bar_and_then_the_same_line(width: int) -> None:
    """Before a total is known, with notes that look like markup, and whatever does not fit; a line a finished stage."""
    written = StringIO()
    console = Console(file=written, width=width, force_terminal=True, soft_wrap=True, markup=False)
    with display(console) as shown, shown.stage("damage") as watch:
        assert shown.live is not None
        assert "0/?" in written.getvalue()
        watch(2, [{"documents": 1}], "[/] of zh")
        shown.live.refresh()
        assert "1/2" in written.getvalue()
        watch(2, [{"documents": 1}], "[/] of zh")
    (line,) = [line for line in written.getvalue().splitlines() if "damage: 2 of 2 · 2 documents, " in line]
    assert line.endswith(" · [/] of zh")


def finished(name: str) -> Manifest:
    """Return the manifest of a stage."""
    return Manifest(Stage(name, "0", "out"), (), {}, 1.0, 1.0)


@pytest.mark.parametrize("terminal", [False, True])
def test_stages_in_a_row_that_were_finished_before_are_a_line(terminal: bool) -> None:
    """However many: above what is said next and the next stage's, at the latest where the display ends."""
    written = StringIO()
    console = Console(file=written, width=200, force_terminal=terminal, color_system=None)
    with display(console) as shown:
        for name in ("ingest", "deduplicate.hashes", "deduplicate"):
            shown.passed(finished(name))
        shown.say("deduplicate: precise")
        shown.passed(finished("deduplicate.precision"))
        with shown.stage("tokenizer") as watch:
            assert "deduplicate.precision: finished before" in written.getvalue(), "it came before the bar"
            watch(1, [{}], "")
        shown.passed(finished("publish.merge"))
    plain = re.sub(r"\x1b\[[\d?;]*[A-Za-z]", "", written.getvalue())
    assert [line for line in re.split(r"[\r\n]+", plain) if ": " in line] == [
        "ingest … deduplicate: 3 stages finished before",
        "deduplicate: precise",
        "deduplicate.precision: finished before",
        "tokenizer: 1 of 1",
        "publish.merge: finished before",
    ]


def test_a_run_that_fails_has_said_what_was_finished_before() -> None:
    """It is a line as well where what comes next is an error."""
    written = StringIO()

    def fail() -> None:
        with display(Console(file=written, width=200)) as shown:
            shown.passed(finished("ingest"))
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert written.getvalue() == "ingest: finished before\n"

"""Good text in pieces and halves, and the damage done to it."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import ConfigError
from pipeline.evaluation.good_text import SHORTEST, Gathered, Good, choose, cut_pieces, halve, halved
from pipeline.evaluation.trials import MOST_COPIES, make_trials
from pipeline.self_clean.anchors import CLEAN
from pipeline.self_clean.excerpt import MOST_CHARACTERS
from tests.pipeline.conftest import sentence


def goods(records: int, pieces: int, language: str = "en") -> list[Good]:
    """Return documents of this many records, each text different, in paragraphs with a mark to misread in each."""
    draw = random.Random(language)
    return [
        Good(f"{language}{r}-{p}", f"{language}{r}", "shelf", language,
             "\n".join(f"It's {sentence(draw)}" for _ in range(12)))
        for r in range(records)
        for p in range(pieces)
    ]  # fmt: skip


@given(st.text(alphabet="ab \n", max_size=200), st.integers(1, 300), st.text(max_size=3))
def test_pieces_are_the_text(line: str, times: int, key: str) -> None:
    """Pieces follow each other without a gap; only an end too short to judge is left out, and none is too long."""
    text = (line + "end\n") * times
    pieces = list(cut_pieces(text, key))
    assert text.startswith("".join(pieces))
    assert len(text) - sum(map(len, pieces)) < SHORTEST
    assert max(map(len, pieces)) <= MOST_CHARACTERS
    assert pieces == list(cut_pieces(text, key))


def test_pieces_end_with_lines() -> None:
    """Where lines are short, no piece ends inside one."""
    pieces = list(cut_pieces("some words and a few more\n" * 2000, "book"))
    assert len(pieces) > 5
    assert all(piece.endswith("more\n") for piece in pieces)


def test_records_take_turns() -> None:
    """A long book does not crowd out the others, and the order of documents decides nothing."""
    documents = [*goods(1, 100), *goods(9, 2, "fr")]
    chosen = choose(documents, 20)
    assert Counter(good.record for good in chosen).most_common(1)[0][1] == 2
    assert chosen == choose(documents[::-1], 20)


def test_no_record_is_in_both_halves() -> None:
    """Halves are of about one size and share no record."""
    found = halved(choose(goods(11, 7), 1000))
    sides = [{good.record for good in found if good.measured is half} for half in (True, False)]
    assert not sides[0] & sides[1]
    assert abs(sum(good.measured for good in found) - len(found) / 2) <= 7


@pytest.mark.parametrize(
    ("good", "said"),
    [
        (Gathered({"en": goods(9, 1)}, [], 12, {"en": 12}, {}, {}), "; shorter than 200 bytes: en 3"),
        (Gathered({"en": []}, [], 0, {}, {}, {f"error {n}": 9 - n for n in range(7)}), "; 7 more for other reasons"),
    ],
)
def test_what_is_too_short_and_rare_is_counted(good: Gathered, said: str) -> None:
    """Texts that no damage shows in are no halves, and of many errors the commonest are named."""
    with pytest.raises(ConfigError, match=f"{said}$"):
        halve(good, (), 40)


def test_all_kinds_and_severities_come_up() -> None:
    """With all copies a document is damaged in every way; with a few, documents take turns."""
    documents = {"en": halved(goods(12, 6)), "fr": halved(goods(12, 6, "fr"))}
    every = make_trials(documents, (), folds=2, copies=MOST_COPIES)
    cells = Counter((t.good.language, t.kind, t.severity) for t in every if t.kind != CLEAN)
    assert len(cells) == 2 * MOST_COPIES
    assert set(cells.values()) == {36}
    few = Counter((t.kind, t.severity) for t in make_trials(documents, (), folds=2, copies=3) if t.kind != CLEAN)
    assert len(few) == MOST_COPIES
    assert max(few.values()) - min(few.values()) <= 2


def test_damage_that_changes_nothing_is_left_out() -> None:
    """A text of one paragraph cannot repeat another: it would stand as damaged what is good."""
    flat = [replace(good, text=good.text.replace("\n", " ")) for good in halved(goods(12, 6))]
    damaged = [trial for trial in make_trials({"en": flat}, (), folds=2, copies=27) if trial.kind != CLEAN]
    assert all(trial.text != trial.good.text for trial in damaged)
    assert "repeated_paragraphs" not in {trial.kind for trial in damaged}


def test_only_the_measured_half_is_damaged() -> None:
    """What sets the cut stays as it is, and no word of it is in the damage of the other half."""
    marked = [
        Good(good.id, good.record, good.source, "en", good.text if good.measured else "zebra " * 60, good.measured)
        for good in halved(goods(12, 6))
    ]
    trials = make_trials({"en": marked}, (), folds=2, copies=9)
    assert {trial.good.measured for trial in trials if trial.kind != CLEAN} == {True}
    assert not any("zebra" in trial.text for trial in trials if trial.good.measured)


def test_one_judge_reads_all_of_a_record() -> None:
    """Undamaged and damaged texts of a record are compared by the same judge, and judges take turns."""
    trials = make_trials({"en": halved(goods(20, 3))}, (), folds=2, copies=9)
    judges: dict[str, set[int]] = {}
    for trial in trials:
        judges.setdefault(trial.good.record, set()).add(trial.judge)
    assert all(len(found) == 1 for found in judges.values())
    assert {judge for found in judges.values() for judge in found} == {0, 1}


@pytest.mark.parametrize("kind", ["mixed_languages"])
def test_a_kind_without_material_is_left_out(kind: str) -> None:
    """With one language there is no other to mix in."""
    assert kind not in {trial.kind for trial in make_trials({"en": halved(goods(12, 6))}, (), 2, 9)}


def placed(sources: Sequence[str]) -> list[Good]:
    """Return measured documents of one piece, of these sources; each word holds the name of its source."""
    texts = {source: "\n".join(f"{source}{word} so {source}{word}." for word in range(60)) for source in sources}
    return [Good(f"g{n}", f"g{n}", source, "en", texts[source], measured=True) for n, source in enumerate(sources)]


@pytest.mark.parametrize(
    ("sources", "babbled"),
    [
        (["inn"] * 9 + ["mill"] * 9, {"inn", "mill"}),
        (["inn"] * 18, set()),  # what the language has
        (["inn"] * 9 + [""] * 9, {"inn"}),  # the others name none
        (["inn"] * 13 + ["mill"] * 5, set()),  # nearly all, and too few
        ([""] * 18, set()),
    ],
)
def test_babble_of_one_source_is_of_a_source_that_is_named_and_not_all(sources: list[str], babbled: set[str]) -> None:
    """A document without a source of its own gets none of this damage; what it is made of is the source alone."""
    found = [t for t in make_trials({"en": placed(sources)}, (), folds=2, copies=27) if t.kind == "babble_source"]
    assert {trial.good.source for trial in found} == babbled
    for trial in found:
        other = ({"inn", "mill"} - {trial.good.source}).pop()
        assert trial.good.source in trial.text
        assert other not in trial.text

"""The ablation's plan, its statistics, and the text it is trained on."""

from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.ablate_model import (
    ABLATIONS,
    BASE,
    RATES,
    SOFTMAX,
    Arm,
    Setup,
    ablations_table,
    answer,
    arms_table,
    interval,
    read_log,
    verdict,
    wanted,
)
from tests.benchmarks.clean_text import Corpus, articles, detokenised


def run(arm: Arm, bits: float) -> dict[str, Any]:
    """Return a line of the log."""
    return {"arm": arm.name, "rate": arm.rate, "seed": arm.seed, "validation": bits, "test": bits, "parameters": 1}


def test_the_plan_is_every_run_once() -> None:
    """Learning rates come first; the best of them carries on to five seeds of both arms and three of the others."""
    first = list(wanted([]))
    assert {(arm.name, arm.rate) for arm in first} == {(name, rate) for name in RATES for rate in RATES[name]}
    bits = {arm: 2.0 - 0.1 * (arm.rate == RATES[arm.name][0]) for arm in first}
    plan = set(wanted([run(arm, bits[arm]) for arm in first]))
    assert len(plan) == sum(map(len, RATES.values())) + 4 + 4 + 3 * len(ABLATIONS)
    assert {arm.rate for arm in plan - set(first) if arm.name == SOFTMAX} == {RATES[SOFTMAX][0]}
    assert {arm.rate for arm in plan - set(first) if arm.name != SOFTMAX} == {RATES[BASE][0]}


def test_a_diverged_rate_is_not_chosen() -> None:
    """A run without bits per byte loses against every other."""
    done = [run(arm, 2.0) for arm in wanted([])]
    for line in done:
        line["validation"] = None if line["rate"] == RATES[line["arm"]][0] else line["validation"]
    rates = {arm.rate for arm in wanted(done) if arm.seed == 1 and arm.name == BASE}
    assert rates == {RATES[BASE][1]}


def finished(base: float, softmax: float, change: float) -> list[dict[str, Any]]:
    """Return the log of a plan in which seeds add thousandths, to every arm alike but for a little of their own."""
    done: list[dict[str, Any]] = []
    levels = {BASE: base, SOFTMAX: softmax}
    for _ in range(2):
        known = {(line["arm"], line["rate"], line["seed"]) for line in done}
        missing = [arm for arm in dict.fromkeys(wanted(done)) if astuple(arm) not in known]
        for arm in missing:
            level = levels.get(arm.name, change) + (arm.rate != RATES.get(arm.name, [arm.rate])[0])
            own = 1e-4 * (arm.seed % 2) * (arm.name == BASE)
            done.append(run(arm, level + 1e-2 * arm.seed + own))
    return done


def test_pairs_resolve_what_is_smaller_than_the_spread_of_seeds() -> None:
    """Seeds differ by ten times the difference, and the paired interval finds it; one inside it is not resolved."""
    done = finished(2.0, 2.02, 2.00005)
    assert "5 seeds); target, upper end at most +2 %: met." in answer(done)
    assert answer(done).startswith("TransNormer against softmax: -0.9")
    assert arms_table(done)[1][3] == "5"
    assert {line[5] for line in ablations_table(done)[1:]} == {"not resolved"}
    assert {line[5] for line in ablations_table(finished(2.0, 2.02, 2.1))[1:]} == {"worse"}
    assert answer(finished(2.2, 2.0, 2.0)).endswith("missed.")


def test_what_is_not_finished_has_no_verdict() -> None:
    """With some of the seeds there is no interval, so nothing is claimed."""
    done = [line for line in finished(2.0, 2.02, 2.1) if line["seed"] < 2]
    assert answer(done) == "2 of 5 pairs of seeds are done."
    assert {line[5] for line in ablations_table(done)[1:]} == {"not finished"}


def test_the_interval_is_students() -> None:
    """The mean of 1, 2, 3 has a standard error of 0.577, and t is 4.303 with two degrees of freedom."""
    assert interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5))
    assert [verdict(0.1, 0.2), verdict(-0.2, -0.1), verdict(-0.1, 0.1)] == ["worse", "better", "not resolved"]


def test_a_log_is_read_to_its_last_whole_line(tmp_path: Path) -> None:
    """A line that a kill cut off, or one of another setup, counts as not there."""
    (tmp_path / "index.json").write_text("{}")
    setup = Setup(Corpus(tmp_path, 9, 2, {}, {}))
    lines = [f'{{"setup": "{digest}", "seed": {seed}}}' for seed, digest in enumerate([setup.digest, "other"])]
    (tmp_path / "log.jsonl").write_text("\n".join([*lines, lines[0][:-4]]))
    assert [line["seed"] for line in read_log(tmp_path / "log.jsonl", setup)] == [0]


def test_wikitext_gets_its_spelling_back() -> None:
    """Marks join their words, `@-@` its halves, quotation marks what they quote; a sentence with <unk> goes."""
    line = " The \" first \" M @-@ 82 ( a road ) cost 1 @,@ 200 , or $ 3 @.@ 5 . A <unk> one . It 's the state 's . "
    assert detokenised(line) == "The \"first\" M-82 (a road) cost 1,200, or $3.5. It's the state's."
    text = " \n = One = \n \n a b . \n = = Part = = \n c d . \n = Two = \n e . \n"
    assert [article for article in articles(text) if article] == ["= One =\na b.\n= = Part = =\nc d.", "= Two =\ne."]

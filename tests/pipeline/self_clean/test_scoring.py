"""The score of a round: fitted on anchors, asked about documents."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config import SelfClean
from pipeline.document import write_table
from pipeline.self_clean import combine
from pipeline.self_clean.anchors import MEASURED, Measured, measured_path, read_measured
from pipeline.self_clean.scores import judge_all
from pipeline.self_clean.scoring import (
    LENGTH_CLASSES,
    NORMAL_IQR,
    QUANTUM,
    FitScore,
    FitTask,
    Score,
    fit,
    judges_overlap,
    length_class,
    load_score,
    on_grid,
    sides,
)
from pipeline.self_clean.signals import CHEAP, SIGNALS, Floats
from tests.pipeline.self_clean.measurements import KINDS, measured

SETTINGS = SelfClean(min_agreement=0.5)


def scored(one: Measured, name: str, score: Score) -> Floats:
    """Return the score of each row of measured anchors, as documents get it."""
    return judge_all(one.signals, one.size, one.bytes, one.judge, [name] * len(one.id), score)[0]


def fitted(found: dict[str, Measured], settings: SelfClean = SETTINGS) -> tuple[Score, dict[str, Any]]:
    """Return the score, which there must be, and the facts."""
    score, facts = fit(found, settings)
    assert score is not None
    return score, facts


def test_damage_is_told_from_what_is_not_damaged() -> None:
    """The score ranks unseen damaged anchors above undamaged ones in each language, and the surrogate ranks alike."""
    score, facts = fitted({"en": measured(1), "fi": measured(2)})
    for name, seed in (("en", 3), ("fi", 4)):
        unseen = measured(seed)
        total = scored(unseen, name, score)
        assert combine.auc(total[~unseen.damaged], total[unseen.damaged]) > 0.9
        cheap = np.zeros(len(total))
        for judge, scale in enumerate(score.languages[name].cheap):
            mine = unseen.judge == judge
            told = sides(unseen.signals[mine, : len(CHEAP)], unseen.size[mine], unseen.bytes[mine], scale)
            cheap[mine] = combine.score(told, score.surrogate)
        assert combine.spearman(cheap, total) > 0.6
    assert facts["surrogate"] > 0.5


def without(one: Measured, kind: str) -> Measured:
    """Return measured anchors without a kind of damage."""
    use = one.kind != kind
    columns = {name: getattr(one, name)[use] for name in Measured.__slots__ if name != "id"}
    return Measured(id=[id_ for id_, kept in zip(one.id, use.tolist(), strict=True) if kept], **columns)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_judged_by_weights_that_never_saw_it(kind: str) -> None:
    """How well a kind is found is what a fit without any of it tells, at each severity, over all languages."""
    found = {"en": measured(5), "fi": measured(6)}
    _, facts = fitted(found)
    score, _ = fitted({name: without(one, kind) for name, one in found.items()})
    total = {name: scored(one, name, score) for name, one in found.items()}
    clean = np.concatenate([total[name][~one.damaged] for name, one in found.items()])
    rows = {row["severity"]: row for row in facts["found"] if row["kind"] == kind}
    assert set(rows) == {0, 1, 2}
    for severity, row in rows.items():
        hit = {name: (one.kind == kind) & (one.severity == severity) for name, one in found.items()}
        bad = np.concatenate([total[name][hit[name]] for name in found])
        assert row["documents"] == len(bad)
        assert row["auc"] == pytest.approx(combine.auc(clean, bad), abs=1e-3)


def test_judges_that_lie_apart_reject_alike() -> None:
    """A judge that says more of everything scores undamaged documents as the other does."""
    one = measured(7, harsher=3.0)
    total = scored(one, "en", fitted({"en": one})[0])
    mild, harsh = (np.median(total[(one.judge == judge) & ~one.damaged]) for judge in (0, 1))
    spread = np.std(total[~one.damaged])
    assert abs(mild - harsh) < 0.2 * spread


def test_the_limit_lies_robust_deviations_above_the_median() -> None:
    """From the quartiles of undamaged anchors, by `outlier`."""
    one = measured(8)
    score, _ = fitted({"en": one}, replace(SETTINGS, outlier=1.5))
    clean = scored(one, "en", score)[~one.damaged]
    low, middle, high = np.quantile(clean, [0.25, 0.5, 0.75])
    language = score.languages["en"]
    assert language.deviation == pytest.approx((high - low) / NORMAL_IQR)
    assert language.limit == pytest.approx(middle + 1.5 * language.deviation)


def test_a_language_whose_judges_disagree_is_not_judged() -> None:
    """It is left out of the score, its agreement is told, and another language is judged all the same."""
    score, facts = fitted({"en": measured(9), "xx": measured(10, agree=0.0)})
    assert set(score.languages) == {"en"}
    assert facts["agreement"]["xx"] < SETTINGS.min_agreement < facts["agreement"]["en"]
    assert fit({"xx": measured(10, agree=0.0)}, SETTINGS)[0] is None
    assert fit({}, SETTINGS)[0] is None


def test_agreement_is_the_rank_correlation_of_the_judges(tmp_path: Path) -> None:
    """Of two judges' scores of the same undamaged anchors; their overlap is that of the worst they would drop."""
    one = measured(11)
    write_measured(str(tmp_path), "en", one)
    score, facts = fitted({"en": one})
    total = scored(one, "en", score)
    first, second = (total[(one.judge == judge) & ~one.damaged] for judge in (0, 1))
    assert facts["agreement"]["en"] == pytest.approx(combine.spearman(first, second), abs=1e-3)
    worst = [set(np.argsort(-values)[: len(values) // 4].tolist()) for values in (first, second)]
    expected = len(worst[0] & worst[1]) / len(worst[0] | worst[1])
    assert 0 < expected < 1
    assert judges_overlap(str(tmp_path), score, 0.25) == pytest.approx(expected, abs=1e-3)
    assert judges_overlap(str(tmp_path), score, 1.0) == judges_overlap(str(tmp_path), score, 0.0) == 1
    bits = one.signals[~one.damaged, SIGNALS.index("bits_per_byte")]
    assert facts["held_out"]["en"] == pytest.approx(bits.mean(), abs=1e-3)


def write_measured(folder: str, name: str, one: Measured) -> None:
    """Write measured anchors as the stage before does."""
    columns = {field: getattr(one, field) for field in ("id", "kind", "severity", "judge", "size", "bytes")}
    table = pa.table({**{k: list(v) for k, v in columns.items()}, "signals": list(one.signals)}).cast(MEASURED)
    write_table(measured_path(folder, name), table)


def test_a_score_survives_its_file(tmp_path: Path) -> None:
    """Anchors and a score read from their files give the scores of those that were written."""
    one = measured(12)
    one.signals[::50, 3] = np.nan
    write_measured(str(tmp_path / "anchors"), "en", one)
    again = read_measured(str(tmp_path / "anchors"), "en")
    assert np.array_equal(again.signals, one.signals, equal_nan=True)
    assert again.kind.tolist() == one.kind.tolist()
    record = FitScore(str(tmp_path / "fit"), str(tmp_path / "anchors"), SETTINGS)(FitTask("score", ("en",)))
    score, facts = fitted({"en": one})
    assert scored(one, "en", load_score(str(tmp_path / "fit"))).tolist() == scored(one, "en", score).tolist()
    assert record == {**facts, "documents": len(one.id)}


def test_without_languages_there_is_an_empty_score(tmp_path: Path) -> None:
    """Where no language can be judged the file says so, and no document is asked about."""
    FitScore(str(tmp_path), str(tmp_path), SETTINGS)(FitTask("score", ()))
    assert load_score(str(tmp_path)).languages == {}


def test_a_document_is_scored_alone_as_in_company() -> None:
    """Whatever languages and judges share a batch, each row has the score, z and name it has by itself."""
    one, other = measured(13, count=60), measured(14, count=60)
    score, _ = fitted({"en": one, "fi": other})
    signals, size = np.concatenate([one.signals, other.signals]), np.concatenate([one.size, other.size])
    judge = np.concatenate([one.judge, other.judge])
    names = ["en"] * len(one.id) + ["fi"] * len(other.id)
    order = np.random.default_rng(0).permutation(len(names))
    total, z, mainly = judge_all(
        signals[order], size[order], size[order], judge[order], [names[row] for row in order], score
    )
    for place in range(0, len(order), 7):
        row = order[place]
        alone = judge_all(signals[[row]], size[[row]], size[[row]], judge[[row]], [names[row]], score)
        assert total[place] == pytest.approx(alone[0][0])
        assert z[place] == pytest.approx(alone[1][0])
        assert mainly[place] == alone[2][0]
    assert z.shape == (len(names), len(SIGNALS))


def test_damage_is_named() -> None:
    """What a damaged document is mainly blamed for is the signal that the damage raised."""
    one = measured(15, damage=12.0)
    score, _ = fitted({"en": one})
    *_, mainly = judge_all(one.signals, one.size, one.bytes, one.judge, ["en"] * len(one.id), score)
    told = [mainly[row] == f"{SIGNALS[KINDS[str(one.kind[row])]]} above" for row in np.flatnonzero(one.damaged)]
    assert np.mean(told) > 0.8


def test_values_are_the_decimals_of_the_grid() -> None:
    """A rounded score is the float of its decimals, so that it compares with a threshold as it is printed."""
    places = len(str(round(1 / QUANTUM))) - 1
    for value in np.random.default_rng(0).normal(0, 5, 1_000).tolist():
        assert on_grid(np.array(value / QUANTUM)) == round(value, places)
    assert np.isnan(on_grid(np.array([np.nan]))).all()


def test_length_classes_begin_at_their_edge() -> None:
    """A document of exactly the edge belongs to the longer class."""
    for number, edge in enumerate(LENGTH_CLASSES):
        assert length_class(np.array([edge - 1, edge])).tolist() == [number, number + 1]
    assert length_class(np.array([0])).tolist() == [0]

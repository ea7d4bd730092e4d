"""The score of a round: fitted on anchors, asked about documents."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config import ConfigError, SelfClean
from pipeline.document import write_table
from pipeline.self_clean import combine
from pipeline.self_clean.anchors import MEASURED, Measured, measured_path, read_measured
from pipeline.self_clean.cuts import least_cut
from pipeline.self_clean.fitting import (
    LEAST_SHARE,
    NORMAL_IQR,
    PARTS,
    USUAL_PULL,
    FitScore,
    FitTask,
    _parts,
    features,
    fit,
    fit_surrogates,
    fit_weights,
    judges_overlap,
    make_taught,
)
from pipeline.self_clean.scores import judge_all
from pipeline.self_clean.scoring import (
    LENGTH_CLASSES,
    QUANTUM,
    Score,
    length_class,
    load_score,
    on_grid,
    score_path,
    sides,
)
from pipeline.self_clean.signals import CHEAP, SIGNALS, Floats
from pipeline.storage import write_json
from tests.pipeline.self_clean.measurements import KINDS, measured

SETTINGS = SelfClean(min_agreement=0.3)


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
    score, _ = fitted({"en": measured(1), "fi": measured(2)})
    for name, seed in (("en", 3), ("fi", 4)):
        unseen = measured(seed)
        total = scored(unseen, name, score)
        assert combine.auc(total[~unseen.damaged], total[unseen.damaged]) > 0.9
        cheap = np.zeros(len(total))
        for judge, scale in enumerate(score.languages[name].cheap):
            mine = unseen.judge == judge
            told = sides(unseen.signals[mine, : len(CHEAP)], unseen.size[mine], unseen.bytes[mine], scale)
            cheap[mine] = combine.score(told, score.surrogate[judge])
        assert combine.spearman(cheap, total) > 0.6


def test_a_judges_surrogate_knows_nothing_of_its_fold() -> None:
    """What the anchors of a fold are like moves the surrogates of the other judges, and not its own."""
    taught = make_taught({"en": measured(7), "fi": measured(8)})
    weights = fit_weights(taught)
    cheap = {name: rows + (taught.own[name].fold == 0)[:, None] for name, rows in taught.cheap.items()}
    before, after = (fit_surrogates(one, weights, 2) for one in (taught, replace(taught, cheap=cheap)))
    assert (before[0].each == after[0].each).all()
    assert (before[1].each != after[1].each).any()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_found_by_weights_that_never_saw_it(kind: str) -> None:
    """What is printed of a kind is as good as what weights, scales and trust from others find of it elsewhere."""
    found, unseen = {"en": measured(5, count=960)}, measured(6, count=960)
    score, facts = fitted(found)
    told = [row["auc"] for row in facts["found"] if row["kind"] == kind]
    assert len(told) == 3
    weights = fit_weights(make_taught(found), kind)
    total = scored(unseen, "en", Score(score.languages, score.surrogate, weights))
    seen = scored(unseen, "en", score)
    good, bad = ~unseen.damaged & unseen.own, unseen.kind == kind
    elsewhere = combine.auc(total[good], total[bad])
    assert np.mean(told) == pytest.approx(elsewhere, abs=0.06)
    assert elsewhere < combine.auc(seen[good], seen[bad])


def test_features_come_from_scales_of_others() -> None:
    """An anchor far from all others moves the features of those in other parts, and not its own."""
    one = measured(33)
    row = int(np.flatnonzero(~one.damaged & one.own)[0])
    changed = one.signals.copy()
    changed[row, 4] += 3.0
    moved = features(one, len(SIGNALS)) != features(replace(one, signals=changed), len(SIGNALS))
    part = _parts(one.id)
    rows = moved.any(axis=1)
    assert rows[row]
    assert set(part[rows & (np.arange(len(rows)) != row)]) == set(range(PARTS)) - {part[row]}


def test_three_folds_have_three_judges() -> None:
    """Each language has a scale for each judge, and judges agree by the least of all pairs."""
    both, third = measured(34, count=360), measured(34, count=360, agree=0.2)
    rows = third.take((third.judge == 1) & ~third.damaged)
    more = replace(rows, judge=np.full(len(rows.id), 2))
    fold = {name: n % 3 for n, name in enumerate(sorted(set(both.id)))}
    columns = {
        field.name: np.concatenate([getattr(both, field.name), getattr(more, field.name)])
        for field in fields(Measured)
        if field.name != "id"
    }
    one = Measured(id=both.id + more.id, **columns)
    folds = np.array([fold[name] for name in one.id])
    every = replace(one, fold=folds, judge=np.where(one.damaged, folds, one.judge))
    score, facts = fit({"en": every}, replace(SETTINGS, folds=3, min_agreement=-1))
    assert score is not None
    assert len(score.languages["en"].every) == len(score.languages["en"].cheap) == 3
    assert facts["agreement"]["en"] < fitted({"en": both})[1]["agreement"]["en"]


def test_a_part_holds_a_document_with_its_damage() -> None:
    """About as many anchors each, and the damaged copy of one is where it is."""
    one = measured(5)
    part = _parts(one.id)
    assert (np.bincount(part, minlength=PARTS) > len(part) / PARTS / 2).all()
    places: dict[str, set[int]] = {}
    for name, number in zip(one.id, part.tolist(), strict=True):
        places.setdefault(name, set()).add(number)
    assert all(len(some) == 1 for some in places.values())


@pytest.mark.parametrize("familiar", [0.0, 3.0])
def test_a_score_is_fitted_on_what_judges_find_in_their_own_fold(familiar: float) -> None:
    """What a judge that saw look-alikes of an anchor finds in it changes no limit, and agreement no more than a bit."""
    plain, other = measured(21), measured(21, familiar=familiar)
    (score, facts), (again, also) = fitted({"en": plain}), fitted({"en": other})
    own = plain.own
    assert np.array_equal(plain.signals[own], other.signals[own])
    assert (plain.signals[~own] > other.signals[~own]).all() == (familiar > 0)
    assert np.allclose(again.languages["en"].usual, score.languages["en"].usual, atol=0.02)
    assert also["agreement"]["en"] == pytest.approx(facts["agreement"]["en"], abs=0.02)
    assert also["held_out"] == facts["held_out"]


def test_dirt_of_one_fold_buys_it_no_leniency() -> None:
    """Where a fold holds the dirty hosts, the same text is as unusual to its judge as to that of the clean fold."""
    one, unseen = measured(41, count=480), measured(42, count=480, agree=1.0)
    dirty = ~one.damaged & (one.fold == 1) & np.array([int(name[-4:]) % 6 == 1 for name in one.id])
    one.signals[dirty, :4] += 8.0
    score, _ = fitted({"en": one})
    asked = replace(unseen, signals=unseen.signals + 3.0 * (np.arange(len(SIGNALS)) < 4))
    total = scored(asked, "en", score)
    by = [total[~unseen.damaged & (unseen.judge == judge)] for judge in (0, 1)]
    assert abs(np.median(by[0] - by[1])) < 0.25 * score.languages["en"].deviation


def test_kinds_of_one_family_are_left_out_together() -> None:
    """Weights without babble of mixed sources saw none of one source either, and all else."""
    one = measured(43)
    kinds = np.array(["babble_mixed", "babble_source", "ocr"])[
        [list(KINDS).index(k) if k in KINDS else 2 for k in one.kind]
    ]
    named = replace(one, kind=np.where(one.damaged, kinds, one.kind))
    taught = make_taught({"en": named})
    kept = make_taught({"en": named.take(~np.isin(named.kind, ["babble_mixed", "babble_source"]))})
    assert fit_weights(taught, "babble_mixed").each == pytest.approx(fit_weights(kept).each)
    assert fit_weights(taught, "ocr").each != pytest.approx(fit_weights(kept).each)


def test_judges_that_lie_apart_reject_alike() -> None:
    """A judge that says more of everything scores undamaged documents as the other does."""
    one = measured(7, harsher=3.0)
    total = scored(one, "en", fitted({"en": one})[0])
    mild, harsh = (np.median(total[(one.judge == judge) & ~one.damaged]) for judge in (0, 1))
    spread = np.std(total[~one.damaged])
    assert abs(mild - harsh) < 0.2 * spread


def quartiles(values: Floats) -> tuple[float, float]:
    """Return median and robust deviation."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return middle, (high - low) / NORMAL_IQR


def test_what_is_usual_is_said_of_each_length_class() -> None:
    """By the quartiles of undamaged anchors, by scales that they did not teach; a class of few is drawn to them all."""
    one = measured(8, count=2_000)
    score, _ = fitted({"en": one})
    undamaged = ~one.damaged & one.own
    clean, classes = (
        combine.score(features(one, len(SIGNALS)), score.every)[undamaged],
        length_class(one.bytes[undamaged]),
    )
    language = score.languages["en"]
    assert language.deviation == pytest.approx(quartiles(clean)[1])
    for number, usual in enumerate(language.usual):
        own, part = quartiles(clean[classes == number]), (classes == number).sum()
        drawn = part / (part + USUAL_PULL)
        assert usual == pytest.approx([drawn * a + (1 - drawn) * b for a, b in zip(own, quartiles(clean), strict=True)])
    assert len({usual.median for usual in language.usual}) == len(LENGTH_CLASSES) + 1


def test_a_length_class_without_anchors_has_what_is_usual_in_its_language() -> None:
    """Documents of a length that no anchor has are cut as the others are."""
    one = measured(8)
    short = replace(one, bytes=np.minimum(one.bytes, 400), size=np.minimum(one.size, 400))
    language = fitted({"en": short})[0].languages["en"]
    assert language.usual[1] == language.usual[3]
    assert language.usual[1].deviation == language.deviation


@pytest.mark.parametrize("count", [60, 200, 800])
def test_documents_exceed_the_limit_as_rarely_as_anchors_do(count: int) -> None:
    """However few the anchors, few good documents lie beyond it; by scales of their own .08 to .58."""
    one, others = measured(31, count=count), measured(32, count=4_000)
    score, _ = fitted({"en": one}, replace(SETTINGS, min_agreement=-1))
    good = ~others.damaged & others.own
    cuts = np.array([least_cut(score.languages["en"], number, 2.0) for number in range(4)])
    unseen = scored(others, "en", score)[good]
    assert (unseen >= cuts[length_class(others.bytes[good])]).mean() < 0.07


def test_a_language_whose_judges_disagree_is_not_judged() -> None:
    """It is left out of the score, its agreement is told, and another language is judged all the same."""
    score, facts = fitted({"en": measured(9), "xx": measured(10, agree=0.0)})
    assert set(score.languages) == {"en"}
    assert facts["agreement"]["xx"] < SETTINGS.min_agreement < facts["agreement"]["en"]
    assert fit({"xx": measured(10, agree=0.0)}, SETTINGS)[0] is None
    assert fit({}, SETTINGS)[0] is None


def test_agreement_is_the_rank_correlation_of_the_judges() -> None:
    """Of two judges' scores of the same undamaged anchors, by scales and trust of others."""
    one = measured(11)
    score, facts = fitted({"en": one})
    total = scored(one, "en", score)
    first, second = (total[(one.judge == judge) & ~one.damaged] for judge in (0, 1))
    assert facts["agreement"]["en"] == pytest.approx(combine.spearman(first, second), abs=0.1)
    assert facts["agreement"]["en"] != pytest.approx(combine.spearman(first, second), abs=1e-4)
    bits = one.signals[~one.damaged & one.own, SIGNALS.index("bits_per_byte")]
    assert facts["held_out"]["en"] == pytest.approx(bits.mean(), abs=1e-3)


def test_what_nobody_judges_does_not_make_judges_agree() -> None:
    """Signals that are the same whoever judges count for agreement, but not for that of the judges."""
    one = measured(22, agree=0.0)
    for name in ("repetition", "tokens_per_byte", "returning", "cache_gain"):
        column, clean = SIGNALS.index(name), ~one.damaged
        one.signals[clean & (one.judge == 1), column] = one.signals[clean & (one.judge == 0), column]
    _, facts = fit({"en": one}, SETTINGS)
    assert facts["agreement_of_judges"]["en"] < 0.3
    assert facts["agreement"]["en"] > 0.3


def test_judges_overlap_in_what_each_would_take(tmp_path: Path) -> None:
    """Of undamaged anchors, the worst by either judge: the share that the round rejected, or what says something."""
    one = measured(23)
    write_measured(str(tmp_path), "en", one)
    score, _ = fitted({"en": one})
    clean = one.take(~one.damaged)
    total = combine.score(features(clean, len(SIGNALS)), score.every)
    for share, counted in ((0.25, 0.25), (0.0, LEAST_SHARE)):
        worst = []
        for judge in (0, 1):
            values = total[clean.judge == judge]
            worst.append(set(np.argsort(-values)[: round(len(values) * counted)].tolist()))
        expected = len(worst[0] & worst[1]) / len(worst[0] | worst[1])
        assert judges_overlap(str(tmp_path), score, {"en": share}) == pytest.approx(expected, abs=1e-4)
    assert judges_overlap(str(tmp_path), score, {"en": 1.0}) == 1


def write_measured(folder: str, name: str, one: Measured) -> None:
    """Write measured anchors as the stage before does."""
    columns = {field: getattr(one, field) for field in ("id", "kind", "severity", "fold", "judge", "size", "bytes")}
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


def test_a_score_of_another_version_is_refused(tmp_path: Path) -> None:
    """Its numbers may mean something else."""
    FitScore(str(tmp_path / "fit"), str(tmp_path), SETTINGS)(FitTask("score", ()))
    write_json(score_path(str(tmp_path)), {"languages": {}, "surrogate": {}, "every": {}})
    with pytest.raises(ConfigError, match="of another version"):
        load_score(str(tmp_path))


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
    mine = (judge[order] == 1) & (np.array(names)[order] == "fi")
    scale = score.languages["fi"].every[1]
    plain = combine.standardised(signals[order][mine], size[order][mine], length_class(size[order][mine]), scale)
    assert z[mine] == pytest.approx(plain)  # not by how far judges agree: that is of the score


def test_damage_is_named() -> None:
    """What a damaged document is mainly blamed for is the signal that the damage raised."""
    one = measured(15, damage=12.0)
    score, _ = fitted({"en": one})
    *_, mainly = judge_all(one.signals, one.size, one.bytes, one.judge, ["en"] * len(one.id), score)
    told = [mainly[row] == f"{SIGNALS[KINDS[str(one.kind[row])]]} above" for row in np.flatnonzero(one.damaged)]
    assert np.mean(told) > 0.8


def test_weights_are_told_by_signal_and_side() -> None:
    """Those of a signal that damage raises are larger above what is usual than below, its residual's likewise."""
    score, facts = fitted({"en": measured(16)})
    for name in (SIGNALS[column] for column in KINDS.values()):
        above, below, residual_above, residual_below = facts["weights"][name]
        assert above > below
        assert residual_above > residual_below
    told = np.array([facts["weights"][name] for name in SIGNALS]).sum()
    assert told == pytest.approx(score.every.each.sum(), abs=0.05)


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

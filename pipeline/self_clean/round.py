"""One round: trained judges damage anchors, learn from them what damage looks like, measure, read, cut and guard.

All documents are measured by n-grams, and the TransNormers read the worst of them. Floors hold cuts back where they
would take too much of somebody.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline.config import SelfClean
from pipeline.line import Paused
from pipeline.self_clean import anchors, cuts, diversity, fitting, floors, languages, measure, scores, scoring
from pipeline.self_clean.anchors import AnchorTask, GatherAnchors, MeasureAnchors
from pipeline.self_clean.cuts import JudgeShard, choose_cuts
from pipeline.self_clean.fitting import FitScore, FitTask
from pipeline.self_clean.floors import CountLosses, Cuts, Held, hold_back
from pipeline.self_clean.judges import Judges
from pipeline.self_clean.measure import Depth, MeasureShard, choose_depth, judged_tokens, token_budget, unread
from pipeline.self_clean.scores import ScoreShard, choose_shifts
from pipeline.self_clean.scoring import load_score
from pipeline.self_clean.training import Begun, Trained
from pipeline.stage import Manifest, Stage, read_manifest


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did; the report shows it."""

    number: int
    judges: Judges
    score: str  # folder of the fitted score
    scores: str  # folder
    verdicts: str  # folder
    facts: dict[str, Any]
    accepted: bool  # it judged a language and no guard tripped


def judge(begun: Begun, trained: Trained, first: Manifest) -> Round:
    """Run one round with its trained judges to its verdicts; `first` is the first round's sample."""
    line, settings = begun.line, begun.line.config.self_clean
    gathered = _gather(begun)
    reasons = _reasons(begun, trained, gathered)
    asked = tuple(name for name, reason in sorted(reasons.items()) if not reason)
    damaged = _damage(begun, trained, gathered, asked)
    fitted = _fit(begun, damaged, asked)
    reasons |= _disagreements(fitted.records[0]["agreement"], settings)
    score = load_score(fitted.stage.folder)
    measured = _measure(begun, trained.judges, fitted)
    scored, depth = _score(begun, trained.judges, fitted, measured)
    cut = choose_cuts(scored.summary.get("strata", {}), score.languages, settings)
    left = unread(measured.summary, depth, cut)
    if left:
        line.display.say(f"self_clean: {_left_unread(left)}")
    held, floors_said = hold_back(_losses(begun, scored, cut).summary, settings)
    for said in floors_said:
        line.display.say(f"self_clean: {said}")
    verdicts = _verdicts(begun, scored, cut, held, first)
    diverse = diversity.describe(
        verdicts.summary.get("diversity", {}), verdicts.summary.get("source", {}), settings.guard_documents
    )
    tripped = guards(diverse, settings)
    facts = {
        **_counted(verdicts, fitted, scored, trained, measured),
        "judged": sorted(score.languages),
        "not_judged": {name: reason for name, reason in sorted(reasons.items()) if reason},
        "judges_overlap": fitting.judges_overlap(damaged.stage.folder, score, _shares(verdicts)),
        "cuts": {stratum: value / round(1 / scoring.QUANTUM) for stratum, value in cut.items()},
        "depth": depth.share,
        "unread": left,
        "external": begun.entrance.external,
        "held": floors_said,
        "diversity": diverse,
        "guards": tripped,
    }
    accepted = bool(score.languages) and not tripped
    folders = (fitted.stage.folder, scored.stage.folder, verdicts.stage.folder)
    return Round(begun.number, trained.judges, *folders, facts, accepted)


def _left_unread(left: Mapping[str, int]) -> str:
    """Say what the budget was too small for."""
    most = max(left, key=lambda name: left[name])
    return (
        f"{sum(left.values()):,} documents that the surrogate puts above their cut were not read, and so are kept "
        f"({most}: {left[most]:,}); a larger score_share reads them"
    )


def _gather(begun: Begun) -> Manifest:
    """Gather the anchors that the round before left: what it rejected does not show what is usual."""
    line, settings = begun.line, begun.line.config.self_clean
    keys = [settings.anchor_documents, settings.seed, languages.VERSION]
    before = (begun.before,) if begun.before else ()
    stage = line.stage(begun.name("anchors"), anchors.VERSION, keys, [begun.corpus.folds, *before])
    corpus = replace(begun.corpus, verdicts=(*begun.corpus.verdicts, *before))
    return line.each(stage, GatherAnchors(stage.folder, corpus), begun.entrance.shards)


def _numbers(begun: Begun, gathered: Manifest) -> dict[str, dict[int, int]]:
    """Return how many anchors a language has, by fold."""
    folds = range(begun.line.config.self_clean.folds)
    return {
        name: {k: sum(record["anchors"].get(f"{name} {k}", 0) for record in gathered.records) for k in folds}
        for name in begun.languages.names
    }


def _reasons(begun: Begun, trained: Trained, gathered: Manifest) -> dict[str, str]:
    """Return by language why its judges cannot be asked; empty where they can."""
    numbers, settings = _numbers(begun, gathered), begun.line.config.self_clean
    return languages.unasked(begun.languages, trained.seen, numbers, begun.settled, settings)


def _damage(begun: Begun, trained: Trained, gathered: Manifest, asked: tuple[str, ...]) -> Manifest:
    """Damage and measure the anchors of languages."""
    line = begun.line
    upstream = [gathered.stage, trained.counted.stage, trained.trained.stage]
    stage = line.stage(begun.name("damage"), anchors.VERSION, [asked], upstream)
    paths = tuple(
        anchors.anchor_path(gathered.stage.folder, record["key"]) for record in gathered.records if record["documents"]
    )
    numbers, work = _numbers(begun, gathered), MeasureAnchors(stage.folder, trained.judges)
    return line.each(stage, work, [AnchorTask(name, paths, sum(numbers[name].values())) for name in asked])


def _fit(begun: Begun, measured: Manifest, asked: tuple[str, ...]) -> Manifest:
    """Fit the score."""
    line, settings = begun.line, begun.line.config.self_clean
    stage = line.stage(begun.name("fit"), fitting.VERSION, [settings.min_agreement], [measured.stage])
    return line.each(stage, FitScore(stage.folder, measured.stage.folder, settings), [FitTask("score", asked)])


def _disagreements(agreement: Mapping[str, float], settings: SelfClean) -> dict[str, str]:
    """Return why languages whose judges agree too little are not judged."""
    least = settings.min_agreement
    return {
        name: f"its judges agree by {value:.2f} on the anchor, less than {least:g}"
        for name, value in agreement.items()
        if value < least
    }


def _measure(begun: Begun, judges: Judges, fitted: Manifest) -> Manifest:
    line = begun.line
    stage = line.stage(begun.name("measure"), measure.VERSION, [], [fitted.stage])
    work = MeasureShard(stage.folder, begun.corpus, judges, fitted.stage.folder)
    return line.each(stage, work, begun.entrance.shards)


def _score(begun: Begun, judges: Judges, fitted: Manifest, measured: Manifest) -> tuple[Manifest, Depth]:
    """Let the TransNormers read; return also how deep they do. Raises Paused as asked."""
    line, settings, number = begun.line, begun.line.config.self_clean, begun.number
    score = load_score(fitted.stage.folder)
    budget = token_budget(judged_tokens(measured.summary), settings)
    depth = choose_depth(measured.summary, budget, full=settings.scoring == "full")
    shifts = choose_shifts(measured.summary, score.languages, settings.source_shift, settings.guard_documents)
    keys = [settings.scoring, budget, settings.source_shift, settings.guard_documents, settings.context_gain]
    stage = line.stage(begun.name("score"), scores.VERSION, keys, [measured.stage])
    folders = (fitted.stage.folder, measured.stage.folder)
    reader = ScoreShard(stage.folder, begun.corpus, judges, *folders, depth, shifts, settings.context_gain)
    if line.only in {"sample", "train"} and read_manifest(stage) is None:
        raise Paused(f"round {number} is trained; --score-only lets its TransNormers read the documents")
    return line.each(stage, reader, begun.entrance.shards), depth


def _losses(begun: Begun, scored: Manifest, cut: Cuts) -> Manifest:
    """Count what the cuts would take of whom. Raises Paused where a round is read and no more was asked for."""
    stage = begun.line.stage(begun.name("losses"), floors.VERSION, cut, [scored.stage])
    if begun.line.only == "score" and read_manifest(stage) is None:
        raise Paused(f"its part of round {begun.number} is read; without --score-only the run goes on")
    return begun.line.each(stage, CountLosses(scored.stage.folder, cut), begun.entrance.shards)


def _verdicts(begun: Begun, scored: Manifest, cut: Cuts, held: Held, first: Manifest) -> Manifest:
    settings = begun.line.config.self_clean
    keys = [settings.drop, settings.min_stratum_documents, cut, held]
    upstream: list[Stage | str] = [scored.stage, first.stage, *([begun.before] if begun.before else [])]
    stage = begun.line.stage(begun.name("verdicts"), cuts.VERSION, keys, upstream)
    work = JudgeShard(
        folder=stage.folder,
        scores=scored.stage.folder,
        cuts=cut,
        held=held,
        round=begun.number,
        before=begun.before,
        sample=first.stage.folder,
        folds=settings.folds,
    )
    return begun.line.each(stage, work, begun.entrance.shards)


def _shares(verdicts: Manifest) -> dict[str, float]:
    """Return the share of each language's documents that a round rejected."""
    cells = verdicts.summary.get("language", {})
    return {name: cell["rejected"] / max(1, cell["documents"]) for name, cell in cells.items()}


def _counted(
    verdicts: Manifest, fitted: Manifest, scored: Manifest, trained: Trained, measured: Manifest
) -> dict[str, Any]:
    """Return what the stages of a round recorded."""
    fit = fitted.records[0]
    return {
        **{name: value for name, value in verdicts.summary.items() if name not in {"diversity", "stratum"}},
        **{name: fit[name] for name in ("agreement", "agreement_of_judges", "held_out", "found", "weights")},
        "bits_per_byte": scored.summary.get("bits_per_byte", {}),
        "score": scored.summary.get("score", {}),
        "losses": {record["key"]: record["loss"] for record in trained.trained.records},
        "seen": trained.seen,
        "documents": sum(record["documents"] for record in verdicts.records),
        "documents_judged": sum(record["judged"] for record in measured.records),
        "scored": sum(record["scored"] for record in scored.records),
        "rejected": sum(record["rejected"] for record in verdicts.records),
        "tokens_trained": sum(record["tokens"] for record in trained.trained.records),
        "tokens_counted": sum(record["tokens"] for record in trained.counted.records),
        "tokens_scored": sum(record["tokens"] for record in scored.records),
    }


def guards(diverse: Mapping[str, Any], settings: SelfClean) -> list[str]:
    """Return what a round would do to a language that it must not: how much, and what is allowed."""
    shifted, most = diverse["vocabulary_shift"], settings.max_vocabulary_shift
    said = f"the vocabulary of {diverse['shifted_most']} would shift by {shifted:.2g} bits, more than {most:g}"
    return [said] if shifted > most else []

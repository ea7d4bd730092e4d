"""The loop: folds once, then rounds of train, measure, read, cut, guard, until it stops paying.

A round draws a sample, trains a TransNormer and counts n-grams of it for each fold, damages anchors and learns from
them what damage looks like, measures all documents by n-grams, lets the TransNormers read the worst of them, and cuts.
Every round judges all documents that entered this stage, so a verdict replaces the one before it and a poor first
judge does no lasting harm. The drop budget is total. Floors hold cuts back where they would take too much of somebody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.config import SelfClean
from pipeline.line import Line, Paused
from pipeline.self_clean import (
    anchors,
    cuts,
    diversity,
    entrance,
    fitting,
    floors,
    languages,
    measure,
    scores,
    scoring,
    training,
)
from pipeline.self_clean.anchors import AnchorTask, GatherAnchors, MeasureAnchors
from pipeline.self_clean.cuts import JudgeShard, choose_cuts
from pipeline.self_clean.entrance import Entrance
from pipeline.self_clean.fitting import FitScore, FitTask
from pipeline.self_clean.floors import CountLosses, Cuts, Held, hold_back
from pipeline.self_clean.judges import Judges
from pipeline.self_clean.languages import too_few_anchors, too_little
from pipeline.self_clean.measure import Depth, MeasureShard, choose_depth, judged_tokens, token_budget, unread
from pipeline.self_clean.scores import ScoreShard, choose_shifts
from pipeline.self_clean.scoring import load_score
from pipeline.self_clean.training import Begun, Trained
from pipeline.stage import Manifest, Stage, read_manifest

TOLD = 2  # languages of which it is said why they cannot be judged


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


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What stage 4 leaves: the rounds, of which the last accepted one decides."""

    rounds: tuple[Round, ...]
    decision: str
    stages: tuple[Stage, ...]
    tokenizer: str  # path of the evaluators'
    not_judged: dict[str, str] = field(default_factory=dict)  # language -> why no judge was trained for it

    @property
    def last(self) -> Round | None:
        """The round whose verdicts count."""
        accepted = [r for r in self.rounds if r.accepted]
        return accepted[-1] if accepted else None


def self_clean(line: Line, entered: Entrance) -> Cleaned:
    """Run the rounds."""
    settings = line.config.self_clean
    folded = entrance.fold(line, entered)
    corpus, chosen = entrance.corpus(line, entered, folded), entrance.languages(line, entered, folded)
    rounds: list[Round] = []
    samples: list[Manifest] = []
    decision = f"all {settings.rounds} rounds were run" if settings.rounds > 1 else "one round was run, as asked"
    if not chosen.names:
        decision = f"no language can be judged; {_largest(entered, chosen.reasons)}"
        if line.only:
            raise Paused(decision)
    for number in range(1, (settings.rounds if chosen.names else 0) + 1):
        begun = Begun(line, entered, corpus, chosen, number, rounds[-1].verdicts if rounds else "")
        samples.append(training.sample(begun))
        empty = training.empty_fold(samples[-1], settings.folds)
        if empty:
            decision = f"round {number} judged nothing: {empty} has no documents to train on"
            break
        rounds.append(_round(begun, training.train(begun, samples[-1]), samples[0]))
        stop = _stop(rounds)
        if stop:
            decision = stop
            break
    line.display.say(f"self_clean: {decision}")
    stages = tuple(m.stage for m in line.manifests if m.stage.name.startswith("self_clean"))
    return Cleaned(tuple(rounds), decision, stages, corpus.tokenizer, chosen.reasons)


def _largest(entered: Entrance, reasons: Mapping[str, str]) -> str:
    """Say of the largest languages why they cannot be judged."""
    sizes = {name: size for name, size in entered.kept["bytes"].items() if name != scoring.UNKNOWN}
    ranked = sorted(sizes, key=lambda name: (-sizes[name], name)) or [scoring.UNKNOWN]
    said = [f"{name}: {reasons.get(name, 'there are no documents')}" for name in ranked[:TOLD]]
    return "; ".join([*said, *([f"{len(ranked) - TOLD} more in the report"] if len(ranked) > TOLD else [])])


def _round(begun: Begun, trained: Trained, first: Manifest) -> Round:
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
    verdicts = _judge(begun, scored, cut, held, first)
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


def _reasons(begun: Begun, trained: Trained, gathered: Manifest) -> dict[str, str]:
    """Return by language why its judges cannot be asked; empty where they can."""
    settings = begun.line.config.self_clean
    reasons = dict(begun.languages.reasons)
    for name in begun.languages.names:
        numbers = {
            fold: sum(r["anchors"].get(f"{name} {fold}", 0) for r in gathered.records) for fold in range(settings.folds)
        }
        said = too_little(name, trained.seen.get(name, 0), sum(numbers.values()), settings)
        reasons[name] = said or too_few_anchors(numbers, settings)
    return reasons


def _damage(begun: Begun, trained: Trained, gathered: Manifest, asked: tuple[str, ...]) -> Manifest:
    """Damage and measure the anchors of languages."""
    line = begun.line
    upstream = [gathered.stage, trained.counted.stage, trained.trained.stage]
    stage = line.stage(begun.name("damage"), anchors.VERSION, [asked], upstream)
    paths = tuple(
        anchors.anchor_path(gathered.stage.folder, record["key"]) for record in gathered.records if record["documents"]
    )
    work = MeasureAnchors(stage.folder, trained.judges)
    return line.each(stage, work, [AnchorTask(name, paths) for name in asked])


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
    keys = [settings.scoring, budget, settings.source_shift, settings.guard_documents]
    stage = line.stage(begun.name("score"), scores.VERSION, keys, [measured.stage])
    folders = (fitted.stage.folder, measured.stage.folder)
    reader = ScoreShard(stage.folder, begun.corpus, judges, *folders, depth, shifts)
    if line.only == "train" and read_manifest(stage) is None:
        raise Paused(f"round {number} is trained; --score-only lets its TransNormers read the documents")
    scored = line.each(stage, reader, begun.entrance.shards)
    if line.only == "score":
        raise Paused(f"its part of round {number} is read; without --score-only the run goes on")
    return scored, depth


def _losses(begun: Begun, scored: Manifest, cut: Cuts) -> Manifest:
    """Count what the cuts would take of whom."""
    stage = begun.line.stage(begun.name("losses"), floors.VERSION, cut, [scored.stage])
    return begun.line.each(stage, CountLosses(scored.stage.folder, cut), begun.entrance.shards)


def _judge(begun: Begun, scored: Manifest, cut: Cuts, held: Held, first: Manifest) -> Manifest:
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


def overlap(facts: Mapping[str, Any]) -> float:
    """Return the Jaccard overlap of a round's rejected set with the one before; 1 when both are empty."""
    both, either = facts["overlap"]["both"], facts["overlap"]["either"]
    return both / either if either else 1.0


def _stop(rounds: Sequence[Round]) -> str:
    """Say why the rounds end here; empty when they go on."""
    last = rounds[-1]
    if not last.facts["judged"]:
        return f"round {last.number} judged no language, so its verdicts do not count"
    if not last.accepted:
        return f"round {last.number} tripped a guard and its verdicts were put aside: {last.facts['guards'][0]}"
    if not last.facts["rejected"]:
        return f"round {last.number} rejected nothing"
    if last.number > 1 and overlap(last.facts) >= last.facts["judges_overlap"]:
        return (
            f"rounds {last.number - 1} and {last.number} agree as well as two judges of one round: their rejected sets "
            f"overlap by {overlap(last.facts):.2f}, those of the judges by {last.facts['judges_overlap']:.2f}"
        )
    return ""

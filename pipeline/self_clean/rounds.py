"""The loop: folds once, then rounds of train, measure, read, cut, guard, until it stops paying.

A round draws a sample, trains a TransNormer and counts n-grams of it for each fold, damages anchors and learns from
them what damage looks like, measures all documents by n-grams, lets the TransNormers read the worst of them, and cuts.
Every round judges all documents that entered this stage, so a verdict replaces the one before it and a poor first
judge does no lasting harm. The drop budget is total. Floors hold cuts back where they would take too much of somebody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from pipeline import links
from pipeline.config import ConfigError, SelfClean
from pipeline.line import Line, Paused
from pipeline.linking import named_files
from pipeline.self_clean import (
    anchors,
    counting,
    cuts,
    diversity,
    evaluators,
    floors,
    folds,
    measure,
    rejects,
    scores,
    scoring,
)
from pipeline.self_clean.anchors import AnchorTask, GatherAnchors, MeasureAnchors
from pipeline.self_clean.counting import CountNgrams, CountTask
from pipeline.self_clean.cuts import JudgeShard, choose_cuts
from pipeline.self_clean.evaluators import Corpus, SampleShard, TrainEvaluator, TrainingKey, TrainTask, check_keys
from pipeline.self_clean.excerpt import Shape
from pipeline.self_clean.floors import CountLosses, Cuts, Held, hold_back
from pipeline.self_clean.folds import AssignFolds
from pipeline.self_clean.judges import COUNTS, EVALUATOR_TOKENIZER, Judges
from pipeline.self_clean.measure import MeasureShard, choose_depth
from pipeline.self_clean.rejects import SampleRejects
from pipeline.self_clean.scores import ScoreShard, choose_shifts
from pipeline.self_clean.scoring import UNKNOWN, FitScore, FitTask, load_score
from pipeline.shards import DocumentShard
from pipeline.stage import Manifest, Stage, read_manifest
from pipeline.storage import exists, join
from pipeline.summary import Summary


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

    @property
    def last(self) -> Round | None:
        """The round whose verdicts count."""
        accepted = [r for r in self.rounds if r.accepted]
        return accepted[-1] if accepted else None


@dataclass(frozen=True, slots=True)
class Entrance:
    """What stage 4 starts from."""

    shards: tuple[DocumentShard, ...]
    deduplicated: Manifest
    tokenizer: Manifest  # of the evaluators
    kept: Summary  # documents, bytes and sizes that entered
    given: str  # --evaluator
    external: bool  # --evaluator-is-external


def self_clean(line: Line, entrance: Entrance) -> Cleaned:
    """Run the rounds."""
    settings = line.config.self_clean
    folded = _fold(line, entrance)
    corpus = _corpus(line, entrance, folded)
    rounds: list[Round] = []
    decision = f"all {settings.rounds} rounds were run" if settings.rounds > 1 else "one round was run, as asked"
    for number in range(1, settings.rounds + 1):
        before = rounds[-1] if rounds else None
        sampled = _sample(line, entrance, corpus, number, before)
        trained = _train(line, entrance, corpus, number, sampled)
        untrained = [r["key"] for r in trained.records if not r["tokens"] and not r["given"]]
        if untrained:
            decision = f"round {number} judged nothing: {untrained[0]} has no documents to train on"
            break
        rounds.append(_round(line, entrance, corpus, number, sampled, trained, before))
        stop = _stop(rounds)
        if stop:
            decision = stop
            break
    line.display.say(f"self_clean: {decision}")
    return Cleaned(
        tuple(rounds),
        decision,
        tuple(m.stage for m in line.manifests if m.stage.name.startswith("self_clean")),
        corpus.tokenizer,
    )


def _fold(line: Line, entrance: Entrance) -> Manifest:
    settings, deduplicate = line.config.self_clean, line.config.deduplicate
    verdicts = (entrance.deduplicated.stage.folder,)
    how = folds.make_linking(settings, deduplicate, entrance.shards, verdicts)
    keys = {"bands": settings.loose_bands, "rows": settings.loose_rows}
    linked = links.link(line, "self_clean.links", how, keys, [entrance.deduplicated.stage])
    stage = line.stage("self_clean.folds", folds.VERSION, [settings.folds, settings.seed], [m.stage for m in linked])
    work = AssignFolds(stage.folder, entrance.shards, verdicts, settings.folds, settings.seed)
    return line.each(stage, work, [folds.FoldTask("folds", named_files(linked, "edges"))])


def _corpus(line: Line, entrance: Entrance, folded: Manifest) -> Corpus:
    settings = line.config.self_clean
    return Corpus(
        verdicts=(entrance.deduplicated.stage.folder,),
        folds=folded.stage.folder,
        tokenizer=entrance.tokenizer.stage.path("evaluator.model"),
        anchor_rate=evaluators.anchor_rates(entrance.kept["documents"], settings),
        seed=settings.seed,
    )


def _bytes_per_token(entrance: Entrance) -> float:
    return float(next(r for r in entrance.tokenizer.records if r["key"] == "evaluator")["bytes_per_token"])


def _name(number: int, what: str) -> str:
    return f"self_clean.round-{number}.{what}"


def _sample(line: Line, entrance: Entrance, corpus: Corpus, number: int, before: Round | None) -> Manifest:
    """Draw what the judges of a round are trained on from what the round before left."""
    evaluator, settings = line.config.evaluator, line.config.self_clean
    per_token = _bytes_per_token(entrance)
    sizes = {name: size for name, size in entrance.kept["bytes"].items() if name != UNKNOWN}
    trained, counted = (
        evaluators.sampling_rates(sizes, tokens, settings, per_token)
        for tokens in (evaluator.train_tokens, max(settings.count_tokens, evaluator.train_tokens))
    )
    rejected = (before.verdicts,) if before else ()
    keys = {"evaluator": asdict(evaluator), "self_clean": _training_keys(settings)}
    stage = line.stage(
        _name(number, "sample"), evaluators.VERSION, keys, [entrance.tokenizer.stage, corpus.folds, *rejected]
    )
    longest = max(1, round(evaluator.train_tokens * evaluators.LONGEST_SHARE * per_token))
    work = SampleShard(stage.folder, corpus, rejected, trained, counted, settings.folds, longest, number)
    return line.each(stage, work, entrance.shards)


def _training_keys(settings: SelfClean) -> dict[str, Any]:
    names = ("folds", "anchor_documents", "language_power", "count_tokens", "seed")
    return {name: value for name, value in asdict(settings).items() if name in names}


def _train(line: Line, entrance: Entrance, corpus: Corpus, number: int, sampled: Manifest) -> Manifest:
    """Train the evaluators, or take those that were given."""
    config, settings, count = line.config, line.config.self_clean, line.config.self_clean.folds
    given = given_weights(entrance.given, number, count)
    key = TrainingKey(corpus.folds.rpartition("/")[2], count, settings.seed, settings.anchor_documents)
    if not entrance.external:
        check_keys(given, key)
    checks = [evaluators.checksums(folder) for folder in given if folder]
    stage = line.stage(_name(number, "train"), evaluators.VERSION, checks, [sampled.stage])
    tasks = [
        TrainTask(f"fold-{k}", tuple(_json(record["shards"][k]) for record in sampled.records), given[k])
        for k in range(count)
    ]
    seed = settings.seed + number
    trainer = TrainEvaluator(stage.folder, sampled.stage.folder, corpus.tokenizer, config.evaluator, seed, key)
    return line.each(stage, trainer, tasks, inside=lambda: evaluators.training_note(stage.folder))


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _sample_rejects(line: Line, entrance: Entrance, corpus: Corpus) -> Manifest:
    """Draw as much of what the rules rejected as a judge's n-grams are counted on, an equal part of each shard."""
    settings, per_token = line.config.self_clean, _bytes_per_token(entrance)
    size = round(settings.count_tokens * per_token / max(1, len(entrance.shards)))
    longest = max(1, round(settings.count_tokens * evaluators.LONGEST_SHARE * per_token))
    ingest = [shard.folder for shard in entrance.shards[:1]]
    stage = line.stage(
        "self_clean.rejects", rejects.VERSION, [size, longest, settings.seed], [entrance.tokenizer.stage, *ingest]
    )
    return line.each(
        stage, SampleRejects(stage.folder, corpus.tokenizer, size, longest, settings.seed), entrance.shards
    )


def _count(
    line: Line, entrance: Entrance, corpus: Corpus, number: int, sampled: Manifest
) -> tuple[Manifest, dict[str, int]]:
    """Count n-grams; return the tokens of each language that the judge who saw least of it saw, too."""
    folds_, folder = line.config.self_clean.folds, sampled.stage.folder
    rejected = _sample_rejects(line, entrance, corpus)
    enough = rejects.enough(rejected.records, line.config.self_clean.min_language_tokens)
    by_fold = [
        [r for record in sampled.records for r in (record["shards"][k], record["more"][k])] for k in range(folds_)
    ]
    languages = sorted({name for parts in by_fold for part in parts for name in part["languages"]})
    stage = line.stage(_name(number, "count"), counting.VERSION, [sorted(enough)], [sampled.stage, rejected.stage])
    tasks = []
    for k in range(folds_):
        paths = [
            join(folder, kind, part["path"])
            for record in sampled.records
            for kind, part in ((f"fold-{k}", record["shards"][k]), (f"more-{k}", record["more"][k]))
            if part["tokens"]
        ]
        tokens = sum(part["tokens"] for part in by_fold[k])
        tasks.append(CountTask(f"fold-{k}", tuple(paths), tuple(languages), tokens))
    if enough:
        paths = [rejects.rejects_path(rejected.stage.folder, record["key"]) for record in rejected.records]
        tasks.append(CountTask(rejects.REJECTS, tuple(paths), tuple(enough), sum(enough.values())))
    counted = line.each(stage, CountNgrams(stage.folder, corpus.tokenizer), tasks)
    seen = {name: min(sum(part["languages"].get(name, 0) for part in parts) for parts in by_fold) for name in languages}
    return counted, seen


def _fit(
    line: Line,
    entrance: Entrance,
    corpus: Corpus,
    number: int,
    judges: Judges,
    seen: Mapping[str, int],
    upstream: Sequence[Stage],
) -> tuple[Manifest, str, dict[str, str]]:
    """Gather, damage and measure the anchors and fit the score.

    Return the fit, the folder of the measured anchors, and why languages are not judged.
    """
    settings = line.config.self_clean
    gathered_stage = line.stage(
        "self_clean.anchors", anchors.VERSION, [settings.anchor_documents, settings.seed], [corpus.folds]
    )
    gathered = line.each(gathered_stage, GatherAnchors(gathered_stage.folder, corpus), entrance.shards)
    numbers: dict[str, int] = {}
    for record in gathered.records:
        for name, count in record["languages"].items():
            numbers[name] = numbers.get(name, 0) + count
    reasons = {
        name: _too_little(name, seen.get(name, 0), numbers.get(name, 0), settings)
        for name in entrance.kept["documents"]
    }
    judged = tuple(sorted(name for name, reason in reasons.items() if not reason))
    stage = line.stage(
        _name(number, "damage"),
        anchors.VERSION,
        [settings.windows, settings.window_bytes, settings.scoring, judged],
        [gathered_stage, *upstream],
    )
    paths = tuple(
        anchors.anchor_path(gathered_stage.folder, record["key"]) for record in gathered.records if record["documents"]
    )
    measured = line.each(
        stage, MeasureAnchors(stage.folder, judges, _shape(settings)), [AnchorTask(name, paths) for name in judged]
    )
    keys = [settings.min_agreement, settings.outlier]
    fit_stage = line.stage(_name(number, "fit"), scoring.VERSION, keys, [measured.stage])
    fitted = line.each(
        fit_stage, FitScore(fit_stage.folder, measured.stage.folder, settings), [FitTask("score", judged)]
    )
    for name, agreement in fitted.records[0]["agreement"].items():
        if agreement < settings.min_agreement:
            reasons[name] = f"its judges agree by {agreement:.2f} on the anchor, less than {settings.min_agreement:g}"
    return fitted, measured.stage.folder, {name: reason for name, reason in sorted(reasons.items()) if reason}


def _shape(settings: SelfClean) -> Shape:
    return Shape(0 if settings.scoring == "full" else settings.windows, settings.window_bytes)


def _too_little(name: str, tokens: int, anchored: int, settings: SelfClean) -> str:
    """Say why no judge may judge a language; empty when they may, if they agree."""
    if name == UNKNOWN:
        return "the language of these documents was a guess"
    if tokens < settings.min_language_tokens:
        return f"its judges saw {tokens:,} tokens of it, fewer than {settings.min_language_tokens:,}"
    if anchored < settings.min_anchor_documents:
        return f"the anchor sample holds {anchored} documents of it, fewer than {settings.min_anchor_documents}"
    return ""


def _round(
    line: Line,
    entrance: Entrance,
    corpus: Corpus,
    number: int,
    sampled: Manifest,
    trained: Manifest,
    before: Round | None,
) -> Round:
    """Run one round with its trained judges to its verdicts."""
    settings = line.config.self_clean
    counted, seen = _count(line, entrance, corpus, number, sampled)
    weights = tuple(trained.stage.path(record["key"]) for record in trained.records)
    paths = {record["key"]: counted.stage.path(record["key"], COUNTS) for record in counted.records}
    rejected = paths.pop(rejects.REJECTS, "")
    judges = Judges(corpus.tokenizer, tuple(paths.values()), weights, rejected)
    fitted, damaged, reasons = _fit(line, entrance, corpus, number, judges, seen, [counted.stage, trained.stage])
    score = load_score(fitted.stage.folder)
    measured = _measure(line, entrance, corpus, number, judges, fitted)
    depth = choose_depth(measured.summary, settings.score_tokens, full=settings.scoring == "full")
    shifts = choose_shifts(measured.summary, score.languages, settings.source_shift, settings.guard_documents)
    keys = [settings.scoring, settings.score_tokens, settings.source_shift, settings.guard_documents]
    stage = line.stage(_name(number, "score"), scores.VERSION, keys, [measured.stage])
    reader = ScoreShard(
        stage.folder, corpus, judges, fitted.stage.folder, measured.stage.folder, _shape(settings), depth, shifts
    )
    if line.only == "train" and read_manifest(stage) is None:
        raise Paused(f"round {number} is trained; --score-only lets its TransNormers read the documents")
    scored = line.each(stage, reader, entrance.shards)
    if line.only == "score":
        raise Paused(f"its part of round {number} is read; without --score-only the run goes on")
    cut = choose_cuts(scored.summary.get("strata", {}), score.languages, settings)
    held, floors_said = hold_back(_losses(line, entrance, number, scored, cut).summary, settings)
    for said in floors_said:
        line.display.say(f"self_clean: {said}")
    judged = _judge(line, entrance, number, scored, cut, held, sampled, before)
    diverse = diversity.describe(judged.summary.get("diversity", {}), judged.summary.get("source", {}))
    tripped = guards(diverse, settings)
    facts = {
        **_counted(judged, fitted, scored, trained, counted, measured),
        "judged": sorted(score.languages),
        "not_judged": reasons,
        "judges_overlap": scoring.judges_overlap(damaged, score, settings.drop),
        "cuts": {stratum: value / round(1 / scoring.QUANTUM) for stratum, value in cut.items()},
        "depth": depth.share,
        "external": entrance.external,
        "held": floors_said,
        "diversity": diverse,
        "guards": tripped,
    }
    accepted = bool(score.languages) and not tripped
    return Round(number, judges, fitted.stage.folder, scored.stage.folder, judged.stage.folder, facts, accepted)


def _counted(
    judged: Manifest, fitted: Manifest, scored: Manifest, trained: Manifest, counted: Manifest, measured: Manifest
) -> dict[str, Any]:
    """Return what the stages of a round recorded."""
    return {
        **{name: value for name, value in judged.summary.items() if name not in {"diversity", "stratum"}},
        "agreement": fitted.records[0]["agreement"],
        "held_out": fitted.records[0]["held_out"],
        "found": fitted.records[0]["found"],
        "weights": fitted.records[0].get("weights", {}),
        "surrogate_agreement": fitted.records[0].get("surrogate", 0.0),
        "bits_per_byte": scored.summary.get("bits_per_byte", {}),
        "score": scored.summary.get("score", {}),
        "losses": {record["key"]: record["loss"] for record in trained.records},
        "documents": sum(record["documents"] for record in judged.records),
        "documents_judged": sum(record["judged"] for record in measured.records),
        "scored": sum(record["scored"] for record in scored.records),
        "rejected": sum(record["rejected"] for record in judged.records),
        "tokens_trained": sum(record["tokens"] for record in trained.records),
        "tokens_counted": sum(record["tokens"] for record in counted.records),
        "tokens_scored": sum(record["tokens"] for record in scored.records),
    }


def _measure(line: Line, entrance: Entrance, corpus: Corpus, number: int, judges: Judges, fitted: Manifest) -> Manifest:
    stage = line.stage(_name(number, "measure"), measure.VERSION, [], [fitted.stage])
    work = MeasureShard(stage.folder, corpus, judges, fitted.stage.folder, _shape(line.config.self_clean))
    return line.each(stage, work, entrance.shards)


def _losses(line: Line, entrance: Entrance, number: int, scored: Manifest, cut: Cuts) -> Manifest:
    """Count what the cuts would take of whom."""
    stage = line.stage(_name(number, "losses"), floors.VERSION, cut, [scored.stage])
    return line.each(stage, CountLosses(scored.stage.folder, cut), entrance.shards)


def _judge(
    line: Line,
    entrance: Entrance,
    number: int,
    scored: Manifest,
    cut: Cuts,
    held: Held,
    sampled: Manifest,
    before: Round | None,
) -> Manifest:
    settings = line.config.self_clean
    keys = [settings.drop, settings.min_stratum_documents, cut, held]
    upstream: list[Stage | str] = [scored.stage, *([before.verdicts] if before else [])]
    stage = line.stage(_name(number, "verdicts"), cuts.VERSION, keys, upstream)
    work = JudgeShard(
        folder=stage.folder,
        scores=scored.stage.folder,
        cuts=cut,
        held=held,
        round=number,
        before=before.verdicts if before else "",
        sample=sampled.stage.folder,
        folds=settings.folds,
    )
    return line.each(stage, work, entrance.shards)


def given_weights(folder: str, number: int, count: int) -> list[str]:
    """Return the folder of each fold's weights for a round under --evaluator, or empty strings to train.

    A round beyond those that are there takes the last one's. Raises ConfigError when weights or their tokenizer are
    missing.
    """
    if not folder:
        return [""] * count
    if not exists(join(folder, EVALUATOR_TOKENIZER)):
        raise ConfigError(f"--evaluator {folder} holds no {EVALUATOR_TOKENIZER}")
    found = [join(folder, "round-1", f"fold-{k}") for k in range(count)]
    for one in range(1, number + 1):
        paths = [join(folder, f"round-{one}", f"fold-{k}") for k in range(count)]
        there = [exists(join(path, "model.safetensors")) for path in paths]
        if one > 1 and not any(there):
            break
        if not all(there):
            raise ConfigError(f"--evaluator {folder} holds no weights at {paths[there.index(False)]}")
        found = paths
    return found


def guards(shift: Mapping[str, float], settings: SelfClean) -> list[str]:
    """Return what a round would do to the whole corpus that it must not: how much, and what is allowed."""
    shifted, most = shift["vocabulary_shift"], settings.max_vocabulary_shift
    return [f"the vocabulary would shift by {shifted:.4f} bits, more than {most:g}"] if shifted > most else []


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

"""The loop: folds once, then rounds of train, score, calibrate, cut, guard, until it stops paying.

Every round judges all documents that entered this stage, so a verdict replaces the one before it and a poor first
judge does no lasting harm. The drop budget is total.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from pipeline import links
from pipeline.config import ConfigError, SelfClean
from pipeline.line import Line
from pipeline.linking import named_files
from pipeline.self_clean import cuts, evaluators, folds, scores
from pipeline.self_clean.cuts import Calibration, CountStrata, JudgeShard, calibrate, choose_cuts
from pipeline.self_clean.evaluators import Corpus, SampleShard, TrainEvaluator, TrainTask
from pipeline.self_clean.folds import AssignFolds
from pipeline.self_clean.scores import Budget, ScoreShard, make_budget
from pipeline.shards import DocumentShard
from pipeline.stage import Manifest, Stage
from pipeline.storage import checksum, exists, join
from pipeline.summary import OTHERS, Summary

EVALUATOR_TOKENIZER = "tokenizer.model"  # in OUT/evaluator, beside the rounds


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did; the report shows it."""

    number: int
    evaluators: tuple[str, ...]  # folders, by fold
    scores: str  # folder
    verdicts: str  # folder
    facts: dict[str, Any]
    accepted: bool  # no guard tripped


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


def self_clean(line: Line, entrance: Entrance) -> Cleaned:
    """Run the rounds."""
    settings = line.config.self_clean
    folded = _fold(line, entrance)
    corpus = _corpus(line, entrance, folded)
    rounds: list[Round] = []
    decision = f"all {settings.rounds} rounds were run"
    for number in range(1, settings.rounds + 1):
        before = rounds[-1] if rounds else None
        trained = _train(line, entrance, corpus, f"self_clean.round-{number}", before)
        untrained = [r["key"] for r in trained.records if not r["tokens"] and not r["given"]]
        if untrained:
            decision = f"round {number} judged nothing: {untrained[0]} has no documents to train on"
            break
        rounds.append(_round(line, entrance, corpus, number, trained, before))
        stop = _stop(rounds, settings)
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


def _round(
    line: Line, entrance: Entrance, corpus: Corpus, number: int, trained: Manifest, before: Round | None
) -> Round:
    """Run one round with its trained judges to its verdicts."""
    name = f"self_clean.round-{number}"
    folders = tuple(trained.stage.path(record["key"]) for record in trained.records)
    scored = _score(line, entrance, corpus, name, trained, folders)
    seen = _least_seen(trained)
    calibration = calibrate(scored.summary, seen, line.config.self_clean)
    judged, cut = _judge(line, entrance, name, scored, calibration, number, before)
    facts = {
        **judged.summary,
        "judged": list(calibration.judged),
        "not_judged": calibration.reasons,
        "cuts": {stratum: list(values) for stratum, values in cut.items()},
        "bits_per_byte": scored.summary.get("bits_per_byte", {}),
        "losses": {record["key"]: record["loss"] for record in trained.records},
        "documents": sum(record["documents"] for record in judged.records),
        "rejected": sum(record["rejected"] for record in judged.records),
        "tokens_trained": sum(record["tokens"] for record in trained.records),
        "tokens_scored": sum(record["tokens"] for record in scored.records),
    }
    tripped = guards(judged.summary, line.config.self_clean)
    facts["guards"] = tripped
    return Round(number, folders, scored.stage.folder, judged.stage.folder, facts, not tripped)


def _train(line: Line, entrance: Entrance, corpus: Corpus, name: str, before: Round | None) -> Manifest:
    """Sample and train, or take the evaluators that were given."""
    config = line.config
    keys = {"evaluator": asdict(config.evaluator), "self_clean": _training_keys(config.self_clean)}
    rejected = (before.verdicts,) if before else ()
    upstream: list[Stage | str] = [entrance.tokenizer.stage, corpus.folds, *rejected]
    sample = line.stage(f"{name}.sample", evaluators.VERSION, keys, upstream)
    rates = evaluators.sampling_rates(
        entrance.kept["bytes"], config.evaluator, config.self_clean, _bytes_per_token(entrance)
    )
    number = int(name.rpartition("-")[2])
    longest = max(1, round(config.evaluator.train_tokens * evaluators.LONGEST_SHARE * _bytes_per_token(entrance)))
    work = SampleShard(sample.folder, corpus, rejected, rates, config.self_clean.folds, longest, number)
    sampled = line.each(sample, work, entrance.shards)
    given = given_weights(entrance.given, number, config.self_clean.folds)
    checks = [checksum(join(folder, "model.safetensors")) for folder in given if folder]
    stage = line.stage(f"{name}.train", evaluators.VERSION, checks, [sample])
    tasks = [
        TrainTask(f"fold-{k}", tuple(_json(record["shards"][k]) for record in sampled.records), given[k])
        for k in range(config.self_clean.folds)
    ]
    trainer = TrainEvaluator(
        stage.folder, sample.folder, corpus.tokenizer, config.evaluator, config.self_clean.seed + number
    )
    return line.each(stage, trainer, tasks, inside=lambda: evaluators.training_note(stage.folder))


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _training_keys(settings: SelfClean) -> dict[str, Any]:
    names = ("folds", "anchor_documents", "language_power", "seed")
    return {name: value for name, value in asdict(settings).items() if name in names}


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


def _score(
    line: Line, entrance: Entrance, corpus: Corpus, name: str, trained: Manifest, folders: Sequence[str]
) -> Manifest:
    settings = line.config.self_clean
    budget = Budget(0, 0, 1.0)
    if settings.windows == "budget":
        budget = make_budget(
            entrance.kept["size"], settings.score_tokens, settings.window_tokens, _bytes_per_token(entrance)
        )
    keys = [settings.windows, settings.score_tokens, settings.window_tokens]
    stage = line.stage(f"{name}.score", scores.VERSION, keys, [trained.stage])
    return line.each(stage, ScoreShard(stage.folder, corpus, tuple(folders), budget), entrance.shards)


def _least_seen(trained: Manifest) -> dict[str, int]:
    """Return for each language the tokens of the evaluator that saw least of it; a given one saw enough."""
    languages = {name for record in trained.records for name in record["languages"]}
    enough = 1 << 62
    return {
        name: min(enough if record["given"] else record["languages"].get(name, 0) for record in trained.records)
        for name in languages
    }


def _judge(
    line: Line,
    entrance: Entrance,
    name: str,
    scored: Manifest,
    calibration: Calibration,
    number: int,
    before: Round | None,
) -> tuple[Manifest, dict[str, cuts.Cut]]:
    settings = line.config.self_clean
    keys = [settings.min_language_tokens, settings.min_agreement, settings.min_anchor_documents, settings.folds]
    counted_stage = line.stage(f"{name}.calibrate", cuts.VERSION, keys, [scored.stage])
    counted = line.each(
        counted_stage, CountStrata(counted_stage.folder, scored.stage.folder, calibration), entrance.shards
    )
    chosen = cuts.moved(choose_cuts(counted.summary.get("strata", {}), settings), settings.cut_offset)
    budget = [settings.drop, settings.low_share, settings.min_stratum_documents, settings.cut_offset]
    upstream: list[Stage | str] = [counted_stage, *([before.verdicts] if before else [])]
    stage = line.stage(f"{name}.verdicts", cuts.VERSION, budget, upstream)
    work = JudgeShard(stage.folder, scored.stage.folder, calibration, chosen, number, before.verdicts if before else "")
    return line.each(stage, work, entrance.shards), chosen


def guards(summary: Summary, settings: SelfClean) -> list[str]:
    """Return what a round would do that it must not; each line says who loses how much and what is allowed."""
    tripped = []
    for kind, limit in (("language", settings.max_language_loss), ("source", settings.max_source_loss)):
        for name, cell in sorted(summary.get(kind, {}).items()):
            share = cell["rejected_bytes"] / max(1, cell["bytes"])
            if name != OTHERS and cell["documents"] >= settings.guard_documents and share > limit:
                tripped.append(f"{kind} {name} would lose {share:.1%} of its bytes, more than {limit:.1%}")
    return tripped


def overlap(facts: Mapping[str, Any]) -> float:
    """Return the Jaccard overlap of a round's rejected set with the one before; 1 when both are empty."""
    both, either = facts["overlap"]["both"], facts["overlap"]["either"]
    return both / either if either else 1.0


def _stop(rounds: Sequence[Round], settings: SelfClean) -> str:
    """Say why the rounds end here; empty when they go on."""
    last = rounds[-1]
    if not last.accepted:
        return f"round {last.number} tripped a guard and its verdicts were put aside: {last.facts['guards'][0]}"
    if not last.facts["rejected"]:
        return f"round {last.number} rejected nothing"
    if last.number > 1 and overlap(last.facts) >= settings.stop_overlap:
        return (
            f"rounds {last.number - 1} and {last.number} agree: their rejected sets overlap by "
            f"{overlap(last.facts):.2f}, at least {settings.stop_overlap:g}"
        )
    return ""

"""Training: from the documents that entered, or that the round before left, to the judges of a round."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from pipeline.config import SelfClean
from pipeline.line import Line, Paused
from pipeline.self_clean import counting, evaluators, languages, rejects
from pipeline.self_clean.counting import CountNgrams, CountTask
from pipeline.self_clean.elsewhere import JUDGES, lay_out
from pipeline.self_clean.entrance import Entrance, longest_document
from pipeline.self_clean.evaluators import Corpus, SampleShard, TrainEvaluator, TrainingKey, TrainTask
from pipeline.self_clean.given import check_keys, given_weights
from pipeline.self_clean.judges import COUNTS, Judges
from pipeline.self_clean.languages import Chosen, sampling_rates
from pipeline.self_clean.rejects import SampleRejects
from pipeline.stage import Manifest, read_manifest
from pipeline.storage import join


@dataclass(frozen=True, slots=True)
class Begun:
    """A round as it begins."""

    line: Line
    entrance: Entrance
    corpus: Corpus
    languages: Chosen
    rejected: Manifest  # the sample of what the rules rejected
    number: int
    before: str = ""  # folder of the verdicts of the round before; empty in the first
    settled: tuple[str, ...] = ()  # languages that the round before judged: there is enough of them

    def name(self, what: str) -> str:
        """Return the name of one of the round's stages."""
        return f"self_clean.round-{self.number}.{what}"


@dataclass(frozen=True, slots=True)
class Trained:
    """The judges of a round and what they were trained on."""

    judges: Judges
    seen: dict[str, int]  # tokens of each language that the judge who saw least of it saw
    trained: Manifest
    counted: Manifest


def sample(begun: Begun) -> Manifest:
    """Draw what the judges of a round are trained on from what the round before left."""
    line, entrance = begun.line, begun.entrance
    evaluator, settings = line.config.evaluator, line.config.self_clean
    rates, counted = (
        tuple(sampling_rates(available, tokens, settings) for available in begun.languages.available)
        for tokens in (evaluator.train_tokens, max(settings.count_tokens, evaluator.train_tokens))
    )
    rejected = (begun.before,) if begun.before else ()
    keys = {"evaluator": asdict(evaluator), "self_clean": _keys(settings), "languages": languages.VERSION}
    upstream = [entrance.tokenizer.stage, begun.corpus.folds, *rejected]
    stage = line.stage(begun.name("sample"), evaluators.VERSION, keys, upstream)
    longest = longest_document(evaluator, entrance)
    work = SampleShard(stage.folder, begun.corpus, rejected, rates, counted, longest, begun.number)
    return line.each(stage, work, entrance.shards)


def empty_fold(sampled: Manifest, count: int) -> str:
    """Return the name of a fold whose judge has nothing to train on; empty when there is none."""
    tokens = [sum(record["shards"][k]["tokens"] for record in sampled.records) for k in range(count)]
    return next((f"fold-{k}" for k, n in enumerate(tokens) if not n), "")


def _keys(settings: SelfClean) -> dict[str, Any]:
    names = ("folds", "anchor_documents", "language_power", "count_tokens", "seed")
    least = ("min_language_tokens", "min_anchor_documents")
    return {name: value for name, value in asdict(settings).items() if name in {*names, *least}}


def train(begun: Begun, sampled: Manifest) -> Trained:
    """Train the evaluators, or take those that were given, and count n-grams."""
    trained = _train(begun, sampled)
    counted, seen = _count(begun, sampled)
    for record in trained.records:
        if record["languages"] is not None:  # of external weights nobody knows
            seen = {name: min(count, record["languages"].get(name, 0)) for name, count in seen.items()}
    folds = [f"fold-{k}" for k in range(begun.line.config.self_clean.folds)]  # records come as fold-1, fold-10, fold-2
    weights = tuple(trained.stage.path(fold) for fold in folds)
    counts = tuple(counted.stage.path(fold, COUNTS) for fold in folds)
    rejected = any(record["key"] == rejects.REJECTS for record in counted.records)
    judges = Judges(
        begun.corpus.tokenizer, counts, weights, counted.stage.path(rejects.REJECTS, COUNTS) if rejected else ""
    )
    return Trained(judges, seen, trained, counted)


def _train(begun: Begun, sampled: Manifest) -> Manifest:
    line, entrance = begun.line, begun.entrance
    settings, count = line.config.self_clean, line.config.self_clean.folds
    given = given_weights(entrance.given, begun.number, count)
    key = TrainingKey(begun.corpus.folds.rpartition("/")[2], count, settings.seed, settings.anchor_documents)
    if not entrance.external:
        check_keys(given, asdict(key))
    checks = [evaluators.checksums(folder) for folder in given if folder]
    stage = line.stage(begun.name("train"), evaluators.VERSION, checks, [sampled.stage])
    tasks = [
        TrainTask(f"fold-{k}", tuple(_json(record["shards"][k]) for record in sampled.records), given[k])
        for k in range(count)
    ]
    seed = settings.seed + begun.number
    trainer = TrainEvaluator(
        stage.folder, sampled.stage.folder, begun.corpus.tokenizer, line.config.evaluator, seed, key
    )
    if line.only == "sample" and read_manifest(stage) is None:
        commands = lay_out(trainer, tasks, line.output, begun.number)
        where = join(line.output, JUDGES)
        told = f"round {begun.number} is sampled; --evaluator {where} takes the judges that these train:"
        raise Paused("\n".join([told, *commands]))
    return line.each(stage, trainer, tasks, inside=lambda: evaluators.training_note(stage.folder))


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def sample_rejects(line: Line, entrance: Entrance, tokenizer: str) -> Manifest:
    """Draw as much of what the rules rejected as a judge's n-grams are counted on, an equal part of each shard."""
    settings, per_token = line.config.self_clean, entrance.bytes_per_token
    size = round(settings.count_tokens * per_token / max(1, len(entrance.shards)))
    longest = max(1, round(settings.count_tokens * evaluators.LONGEST_SHARE * per_token))
    ingest = [shard.folder for shard in entrance.shards[:1]]
    stage = line.stage(
        "self_clean.rejects", rejects.VERSION, [size, longest, settings.seed], [entrance.tokenizer.stage, *ingest]
    )
    work = SampleRejects(stage.folder, tokenizer, size, longest, settings.seed)
    return line.each(stage, work, entrance.shards)


def _count(begun: Begun, sampled: Manifest) -> tuple[Manifest, dict[str, int]]:
    """Count n-grams; return the tokens of each language that the judge who saw least of it saw, too."""
    line, folder, rejected = begun.line, sampled.stage.folder, begun.rejected
    enough = rejects.enough(rejected.records, line.config.self_clean.min_language_tokens)
    by_fold = [
        [(f"{kind}-{k}", record[column][k]) for record in sampled.records for kind, column in _KINDS]
        for k in range(line.config.self_clean.folds)
    ]
    languages = sorted({name for parts in by_fold for _, part in parts for name in part["languages"]})
    stage = line.stage(begun.name("count"), counting.VERSION, [sorted(enough)], [sampled.stage, rejected.stage])
    tasks = []
    for k, parts in enumerate(by_fold):
        paths = tuple(join(folder, kind, part["path"]) for kind, part in parts if part["tokens"])
        tasks.append(CountTask(f"fold-{k}", paths, tuple(languages), sum(part["tokens"] for _, part in parts)))
    if enough:
        paths = tuple(rejects.rejects_path(rejected.stage.folder, record["key"]) for record in rejected.records)
        tasks.append(CountTask(rejects.REJECTS, paths, tuple(enough), sum(enough.values())))
    counted = line.each(stage, CountNgrams(stage.folder, begun.corpus.tokenizer), tasks)
    return counted, {name: min(_tokens(parts, name) for parts in by_fold) for name in languages}


_KINDS = (("fold", "shards"), ("more", "more"))  # folders of a sample's token shards, and the records' names of them


def _tokens(parts: Sequence[tuple[str, Mapping[str, Any]]], language: str) -> int:
    return sum(part["languages"].get(language, 0) for _, part in parts)

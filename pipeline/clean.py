"""The line of stages, from a plan to a filled output folder: reads as the recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

from pipeline import deduplicate as dedup
from pipeline import ingest, links, publish, repeated_lines, sign, storage, train_tokenizer
from pipeline.config import STAGES, Config
from pipeline.counted import counted
from pipeline.earlier import Earlier, earlier_shards
from pipeline.execute import RunFailed
from pipeline.ingest import IngestShard, Settings
from pipeline.line import Asked, Line
from pipeline.plan import Plan
from pipeline.self_clean.entrance import Entrance
from pipeline.self_clean.judges import COUNTS, EVALUATOR_TOKENIZER
from pipeline.self_clean.rejects import REJECTS
from pipeline.self_clean.rounds import Cleaned, self_clean
from pipeline.self_clean.scoring import SCORE
from pipeline.shards import DocumentShard, document_shards
from pipeline.stage import Manifest, Stage, make_stage
from pipeline.steps import prepare, signal_fields
from pipeline.storage import checksum
from pipeline.summary import Summary
from pipeline.token_shards import index_table
from pipeline.train_tokenizer import SampleTexts, TokenizerTask, TrainOne
from tokenizer.encode import Tokenizer

NO_FIELD = ("no column ", "no field ")  # how the error of a record begins whose text has another name
# Packages that decide what text comes out of an input.
DECIDING = ("fastwarc", "orjson", "resiliparse", "warcio")


@dataclass(frozen=True, slots=True)
class Corpus:
    """What the stages left, as far as the run went."""

    plan: Plan
    ingested: Manifest
    shards: tuple[DocumentShard, ...] = ()
    clustered: Manifest | None = None
    deduplicated: Manifest | None = None
    tokenized: Manifest | None = None
    cleaned: Cleaned | None = None
    encoded: Manifest | None = None
    merged: Manifest | None = None


def clean(line: Line, plan: Plan, ask: Asked) -> Corpus:
    """Run the line as far as asked; raises RunFailed where going on would hide a mistake, Paused where asked to."""
    last = STAGES.index(ask.until)
    ingested = read(line, plan)
    shards = tuple(document_shards(ingested))
    corpus = Corpus(plan, ingested, shards)
    if last < STAGES.index("deduplicate"):
        return corpus
    clustered, deduplicated = deduplicate(line, ingested, shards, ask.earlier)
    check_deduplicated(deduplicated.summary)
    corpus = replace(corpus, clustered=clustered, deduplicated=deduplicated)
    if last < STAGES.index("tokenizer"):
        return corpus
    tokenized = tokenize(line, deduplicated, shards)
    corpus = replace(corpus, tokenized=tokenized)
    if last < STAGES.index("self_clean"):
        return corpus
    cleaned = judge(line, deduplicated, shards, ask)
    corpus = replace(corpus, cleaned=cleaned)
    if last < STAGES.index("publish"):
        return corpus
    encoded, merged = encode(line, shards, deduplicated, tokenized, cleaned)
    return replace(corpus, encoded=encoded, merged=merged)


def ingest_stage(output: str, config: Config, plan: Plan) -> Stage:
    """Return the stage that reads this plan."""
    settings = {
        "input": [{k: v for k, v in asdict(given).items() if k != "paths"} for given in config.input],
        "ingest": {k: v for k, v in asdict(config.ingest).items() if k != "max_unreadable"},
        "versions": {name: version(name) for name in DECIDING},
        "steps": [step.decided_by() for step in prepare(config)],
        "signature": [sign.VERSION, sign.scheme(config.deduplicate)],
        "rejected_text": config.output.rejected_text,
        "shards": [asdict(shard) for shard in plan.shards],
        "share": plan.document_share,
    }
    return make_stage(output, "ingest", ingest.VERSION, settings, [])


def read(line: Line, plan: Plan) -> Manifest:
    """Ingest, and refuse to go on with what is plainly not what its user meant."""
    stage = ingest_stage(line.output, line.config, plan)
    work = IngestShard(Settings(line.config, plan.document_share, stage.folder))
    manifest = line.each(stage, work, plan.shards)
    check_ingested(manifest.summary, line.config.ingest.max_unreadable, stage.path("unreadable"))
    return manifest


def check_ingested(summary: Summary, max_unreadable: float, unreadable_at: str) -> None:
    """Raise RunFailed when records are lost, when too many are unreadable, or when nothing is kept.

    What is unreadable is not published then: the error names the folder of the stage that lists it.
    """
    rows, skipped = summary.get("rows", {}), sum(summary.get("skipped", {}).values())
    documents, unreadable = rows.get("documents", 0) + rows.get("rejected", 0), rows.get("unreadable", 0)
    if summary.get("records", 0) != documents + unreadable + skipped:
        raise RunFailed(
            f"ingest: {summary.get('records', 0)} records were read, but {documents} documents, {unreadable} "
            f"unreadable and {skipped} skipped are recorded"
        )
    for name, seen in sorted(summary.get("inputs", {}).items()):
        commonest = _commonest(summary.get("unreadable_of", {}).get(name, {}))
        _check_input(name, seen, max_unreadable, f"{commonest}; file by file in {unreadable_at}")
    if not documents:
        raise RunFailed(f"ingest: the input holds no document; skipped: {_commonest(summary.get('skipped', {}))}")
    if not rows.get("documents", 0):
        by_reason = {reason: sum(langs.values()) for reason, langs in summary.get("rejected", {}).items()}
        raise RunFailed(
            f"ingest: none of {counted(documents, 'document')} is kept; most often: {_commonest(by_reason)}"
        )


def _check_input(name: str, seen: Mapping[str, int], most: float, commonest: str) -> None:
    """Raise RunFailed when too much of one input is unreadable: beside a large one, all of a small one would pass."""
    documents, unreadable = seen["documents"], seen["unreadable"]
    if unreadable > most * (documents + unreadable):
        raise RunFailed(
            f"ingest: {unreadable:,} of {documents + unreadable:,} records of input {name!r} are unreadable, more than "
            f"ingest.max_unreadable = {most:g} allows; most often: {commonest}"
        )


def _commonest(by_name: Mapping[str, int]) -> str:
    if not by_name:
        return "nothing"
    name = max(by_name, key=lambda key: (by_name[key], key))
    said = f"{name} ({counted(by_name[name], 'time')})"
    return f"{said}: [[input]] says which field is which" if name.startswith(NO_FIELD) else said


def deduplicate_stage(output: str, config: Config, ingested: Stage, earlier: Sequence[Earlier]) -> Stage:
    """Return the stage whose sidecars say what duplicates what; how much memory it had does not count."""
    settings = {name: value for name, value in asdict(config.deduplicate).items() if name != "memory_bytes"}
    keys = [settings, links.VERSION, repeated_lines.VERSION, [asdict(run) for run in earlier]]
    return make_stage(output, "deduplicate", dedup.VERSION, keys, [ingested])


def deduplicate(
    line: Line, ingested: Manifest, shards: Sequence[DocumentShard], earlier: Sequence[Earlier]
) -> tuple[Manifest, Manifest]:
    """Link alike documents and judge all but one of each cluster; return the stages of clusters and of verdicts."""
    settings = line.config.deduplicate
    old = earlier_shards(earlier, sum(shard.rows for shard in shards))
    how = dedup.make_linking(settings, shards, old)
    keys = [dedup.link_settings(settings), [asdict(run) for run in earlier]]
    linked = links.link(line, "deduplicate", how, keys, [ingested.stage])
    stage = deduplicate_stage(line.output, line.config, ingested.stage, earlier)
    if settings.lines == "none":
        return dedup.judge(line, linked, how, shards, stage)
    last = line.stage("deduplicate.documents", dedup.VERSION, [settings.threshold], [m.stage for m in linked])
    clustered, judged = dedup.judge(line, linked, how, shards, last)
    return clustered, repeated_lines.cut_lines(line, judged, shards, stage)


def check_deduplicated(summary: Summary) -> None:
    """Raise RunFailed when nothing is left, as where an earlier run has it all."""
    if not sum(summary["kept"]["documents"].values()):
        lost = summary.get("reasons", {})
        raise RunFailed(
            f"deduplicate: none of {counted(sum(lost.values()), 'document')} is kept; most often: {_commonest(lost)}"
        )


def _entered(deduplicated: Manifest) -> Summary:
    """Return documents, bytes and sizes of what duplicates leave."""
    kept = deduplicated.summary.get("kept", {})
    return {name: kept.get(name, {}) for name in ("documents", "bytes", "size")}


def tokenizer_stages(output: str, config: Config, deduplicated: Stage) -> tuple[Stage, Stage]:
    """Return the stages that sample texts and train tokenizers."""
    sample_keys = [sample_bytes(config), config.tokenizer.seed]
    sample = make_stage(output, "tokenizer.sample", train_tokenizer.VERSION, sample_keys, [deduplicated])
    given = [checksum(config.tokenizer.model)] if config.tokenizer.model else []
    keys = [config.tokenizer.vocab_size, given]
    return sample, make_stage(output, "tokenizer", train_tokenizer.VERSION, keys, [sample])


def sample_bytes(config: Config) -> int:
    """Return how much text is sampled: where no tokenizer learns from it, what tells how many bytes a token has."""
    learns = not config.tokenizer.model or config.self_clean.rounds
    return config.tokenizer.sample_bytes if learns else train_tokenizer.MEASURED_BYTES


def tokenize(line: Line, deduplicated: Manifest, shards: Sequence[DocumentShard]) -> Manifest:
    """Train the published tokenizer and the evaluators' on one sample, or take the one that is given."""
    config = line.config
    sample, stage = tokenizer_stages(line.output, config, deduplicated.stage)
    size = max(1, sum(_entered(deduplicated)["bytes"].values()))
    rate = min(1.0, sample_bytes(config) / size)
    work = SampleTexts(sample.folder, (deduplicated.stage.folder,), rate, config.tokenizer.seed)
    line.each(sample, work, shards)
    task = TokenizerTask("tokenizer", config.tokenizer.model, config.tokenizer.vocab_size, rate)
    return line.each(stage, TrainOne(stage.folder, sample_paths(sample, shards), config.tokenizer.sample_bytes), [task])


def small_tokenizer(line: Line, deduplicated: Manifest, shards: Sequence[DocumentShard], evaluator: str) -> Manifest:
    """Train the evaluators' tokenizer on a part of the same sample, or take the one that came with given weights."""
    config = line.config
    sample, _ = tokenizer_stages(line.output, config, deduplicated.stage)
    given = storage.join(evaluator, EVALUATOR_TOKENIZER) if evaluator else ""
    keys = [config.evaluator.vocab_size, config.evaluator.tokenizer_sample_bytes, checksum(given) if given else ""]
    stage = line.stage("self_clean.tokenizer", train_tokenizer.VERSION, keys, [sample])
    rate = config.evaluator.tokenizer_sample_bytes / max(1, sum(_entered(deduplicated)["bytes"].values()))
    task = TokenizerTask("evaluator", given, config.evaluator.vocab_size, min(1.0, rate))
    work = TrainOne(stage.folder, sample_paths(sample, shards), config.evaluator.tokenizer_sample_bytes)
    return line.each(stage, work, [task])


def sample_paths(sample: Stage, shards: Sequence[DocumentShard]) -> tuple[str, ...]:
    """Return the files of a sample."""
    return tuple(storage.join(sample.folder, "sample", shard.name + ".parquet") for shard in shards)


def judge(line: Line, deduplicated: Manifest, shards: tuple[DocumentShard, ...], ask: Asked) -> Cleaned:
    """Let the corpus judge itself, unless no rounds are asked for."""
    if not line.config.self_clean.rounds:
        return Cleaned((), "no rounds were asked for", (), "")
    small = small_tokenizer(line, deduplicated, shards, ask.evaluator)
    entrance = Entrance(shards, deduplicated, small, _entered(deduplicated), ask.evaluator, external=ask.external)
    return self_clean(line, entrance)


def encode(
    line: Line, shards: Sequence[DocumentShard], deduplicated: Manifest, tokenized: Manifest, cleaned: Cleaned
) -> tuple[Manifest, Manifest]:
    """Read each kept text once more: tokens, documents and the later rejects; then merge the token shards."""
    config = line.config
    record = next(r for r in tokenized.records if r["key"] == "tokenizer")
    last = cleaned.last
    sources = publish.Sources(
        deduplicated=deduplicated.stage.folder,
        cleaned=last.verdicts if last else "",
        scores=last.scores if last else "",
        folds=next((s.folder for s in cleaned.stages if s.name == "self_clean.folds"), ""),
        tokenizer=tokenized.stage.path("tokenizer.model"),
    )
    kept_bytes = sum(_entered(deduplicated)["bytes"].values())
    layout = publish.make_layout(config.publish, kept_bytes, record["bytes_per_token"])
    upstream: list[Stage | str] = [tokenized.stage, *([last.verdicts] if last else [])]
    keys = [asdict(config.publish), config.output.rejected_text]
    stage = line.stage("publish.encode", publish.VERSION, keys, upstream)
    groups = publish.make_groups(shards, config.publish.group_bytes)
    signals, largest = tuple(signal_fields(config)), max((group.size for group in groups), default=0)
    work = publish.EncodeGroup(stage.folder, sources, layout, signals, config.output.rejected_text, largest)
    encoded = line.each(stage, work, groups)
    merging = line.stage("publish.merge", publish.VERSION, [], [stage])
    runs = tuple(stage.path("runs", group.key + ".rows") for group in groups)
    tasks = [publish.MergeTask(name, number) for number, name in enumerate(layout.names)]
    size = layout.shard_bytes(kept_bytes / record["bytes_per_token"], record["vocab_size"])
    return encoded, line.each(merging, publish.MergeShard(merging.folder, runs, sources.tokenizer, size), tasks)


def published_files(corpus: Corpus) -> tuple[dict[str, str], dict[str, Any]]:
    """Return what the output folder is filled with: finished files by name, and JSON values by name."""
    assert corpus.encoded is not None
    assert corpus.merged is not None
    assert corpus.tokenized is not None
    files = {"tokenizer/tokenizer.model": corpus.tokenized.stage.path("tokenizer.model")}
    for shard in corpus.shards:
        files[f"documents/{shard.name}.parquet"] = corpus.encoded.stage.path("documents", shard.name + ".parquet")
        files[f"rejected/{shard.name}-ingest.parquet"] = shard.path("rejected")
        files[f"rejected/{shard.name}-later.parquet"] = corpus.encoded.stage.path("rejected", shard.name + ".parquet")
        files[f"unreadable/{shard.name}.parquet"] = shard.path("unreadable")
    for record in corpus.merged.records:
        files[f"shards/{record['shard']['path']}"] = corpus.merged.stage.path(record["shard"]["path"])
    rounds = corpus.cleaned.rounds if corpus.cleaned else ()
    if corpus.cleaned is not None and rounds:
        files[f"evaluator/{EVALUATOR_TOKENIZER}"] = corpus.cleaned.tokenizer
    for one in rounds:
        place = f"evaluator/round-{one.number}"
        files[f"{place}/{SCORE}"] = storage.join(one.score, SCORE)
        if one.judges.rejects:
            files[f"{place}/{REJECTS}/{COUNTS}"] = one.judges.rejects
        for fold, (folder, counts) in enumerate(zip(one.judges.weights, one.judges.counts, strict=True)):
            files[f"{place}/fold-{fold}/{COUNTS}"] = counts
            left = storage.unfinished(folder)  # by an attempt that was killed
            for name in storage.names(folder):
                if not name.startswith("checkpoint") and name not in left:
                    files[f"{place}/fold-{fold}/{name}"] = storage.join(folder, name)
    return files, {"shards/index.json": _index(corpus, files["tokenizer/tokenizer.model"])}


def _index(corpus: Corpus, tokenizer_path: str) -> dict[str, Any]:
    assert corpus.merged is not None
    with storage.open_input(tokenizer_path) as file:
        tokenizer = Tokenizer(file.read())
    shards = [record["shard"] for record in corpus.merged.records]
    return index_table(tokenizer, checksum(tokenizer_path), shards)


def check_conservation(corpus: Corpus) -> None:
    """Raise RunFailed unless every document that was read is kept or rejected, once."""
    for manifest in (corpus.deduplicated, corpus.encoded):
        if manifest is None:
            continue
        sums = {name: sum(r.get(name, 0) for r in manifest.records) for name in ("documents", "kept", "rejected")}
        entered = sum(shard.rows for shard in corpus.shards)
        if sums["documents"] != entered or sums["kept"] + sums["rejected"] != entered:
            raise RunFailed(f"{manifest.stage.name}: {entered:,} documents went in, recorded are {sums}")
    if corpus.merged is not None and corpus.encoded is not None:
        shards = sum(record["documents"] for record in corpus.merged.records)
        kept = sum(record["kept"] for record in corpus.encoded.records)
        if shards != kept:
            raise RunFailed(f"publish: {kept:,} documents are kept, the token shards hold {shards:,}")

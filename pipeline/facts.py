"""Facts: what the report shows, as one JSON value made from the stages' summaries alone.

Nothing here reads documents, but for the beginnings of the few texts that stand for the largest duplicate clusters.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.clean import Corpus
from pipeline.config import Config
from pipeline.document import read_batches
from pipeline.self_clean.round import Round
from pipeline.self_clean.rounds import overlap
from pipeline.shards import DocumentShard
from pipeline.stage import Manifest
from pipeline.steps import thresholds
from pipeline.summary import bin_edge
from pipeline.tally import SAMPLED_CHARACTERS

Table = dict[str, Any]


def collect(corpus: Corpus, config: Config, manifests: Sequence[Manifest]) -> Table:
    """Return every fact of a finished run."""
    rejected = rejects(corpus)
    return {
        "funnel": funnel(corpus),
        "edited": edited(corpus),
        "skipped": corpus.ingested.summary.get("skipped", {}),
        "unreadable": corpus.ingested.summary.get("unreadable", {}),
        "rejected": rejected,
        "languages": _by_name(corpus, "languages"),
        "sources": _by_name(corpus, "sources"),
        "signals": signals(corpus, config),
        "samples": samples(corpus),
        "duplicates": {**duplicates(corpus), **dedup_quality(corpus, config, manifests)},
        "rounds": [round_facts(one, config) for one in (corpus.cleaned.rounds if corpus.cleaned else ())],
        "decision": corpus.cleaned.decision if corpus.cleaned else "",
        "not_judged": corpus.cleaned.not_judged if corpus.cleaned else {},
        "tokens": tokens(corpus),
        "stages": [stage_cost(manifest) for manifest in manifests],
        "sample": config.sample,
    }


def funnel(corpus: Corpus) -> list[Table]:
    """Return the way from records to tokens, a step a row."""
    rows = corpus.ingested.summary.get("rows", {})
    documents = rows.get("documents", 0) + rows.get("rejected", 0)
    steps = [
        {"name": "records read", "count": corpus.ingested.summary.get("records", 0)},
        {"name": "documents", "count": documents},
        {"name": "kept by the rules", "count": rows.get("documents", 0)},
    ]
    if corpus.deduplicated is not None:
        steps.append({"name": "kept after deduplication", "count": _sum(corpus.deduplicated, "kept")})
    if corpus.encoded is not None:
        steps.append({"name": "kept after self-cleaning", "count": _sum(corpus.encoded, "kept")})
    return steps


def edited(corpus: Corpus) -> Table:
    """Return the bytes of the texts that the rules kept: as they were `read`, and `kept`, after all edits."""
    return {"read": 0, "kept": 0, **corpus.ingested.summary.get("bytes", {})}


def _sum(manifest: Manifest, name: str) -> int:
    return int(sum(record.get(name, 0) for record in manifest.records))


def rejects(corpus: Corpus) -> list[Table]:
    """Return counts by stage, reason and language."""
    found = []
    for stage, by_reason in _reasons(corpus):
        for reason, languages in by_reason.items():
            found.append({"stage": stage, "reason": reason, "count": sum(languages.values()), "languages": languages})
    return sorted(found, key=lambda row: (row["stage"], -row["count"], row["reason"]))


def _later(corpus: Corpus) -> Table:
    return corpus.encoded.summary.get("rejects", {}) if corpus.encoded is not None else {}


LATER_STAGE = {
    "exact_duplicate": "deduplicate",
    "near_duplicate": "deduplicate",
    "same_words": "deduplicate",
    "same_url": "deduplicate",
    "lines_of_others": "deduplicate",
    "too_few_sentences_left": "deduplicate",
    "unlike_the_corpus": "self_clean",
}


def _reasons(corpus: Corpus) -> list[tuple[str, Mapping[str, Any]]]:
    """Return (stage, reason -> language -> count)."""
    stages: list[tuple[str, Mapping[str, Any]]] = [("ingest", corpus.ingested.summary.get("rejected", {}))]
    later = _later(corpus).get("rejected", {})
    return stages + [
        (stage, {reason: by for reason, by in later.items() if LATER_STAGE[reason] == stage})
        for stage in ("deduplicate", "self_clean")
    ]


def _by_name(corpus: Corpus, kind: str) -> list[Table]:
    """Return documents in, kept and rejected by stage, for each language or source."""
    if corpus.encoded is None:
        return []
    kept = corpus.encoded.summary.get(kind, {})
    lost: dict[str, dict[str, int]] = {}
    if kind == "languages":
        for stage, by_reason in _reasons(corpus):
            for counted in by_reason.values():
                _add(lost, stage, counted)
    else:
        _add(lost, "ingest", corpus.ingested.summary.get("sources", {}).get("rejected", {}))
        _add(lost, "later", _later(corpus).get("sources", {}).get("rejected", {}))
    names = sorted({*kept, *(name for counted in lost.values() for name in counted)})
    rows = []
    for name in names:
        row = {stage: counted.get(name, 0) for stage, counted in lost.items()}
        total = kept.get(name, 0) + sum(row.values())
        rows.append({"name": name, "documents": total, "kept": kept.get(name, 0), "rejected": row})
    return sorted(rows, key=lambda row: (-row["documents"], row["name"]))


def _add(total: dict[str, dict[str, int]], stage: str, counted: Mapping[str, int]) -> None:
    cell = total.setdefault(stage, {})
    for name, count in counted.items():
        cell[name] = cell.get(name, 0) + count


def signals(corpus: Corpus, config: Config) -> list[Table]:
    """Return the histogram of each signal, kept and rejected by ingest, as [lower edge, count], and its thresholds."""
    found = corpus.ingested.summary.get("signals", {})
    bounds = thresholds(config)
    names = sorted({*found.get("kept", {}), *found.get("rejected", {})})
    return [
        {
            "name": name,
            "kept": bins(found.get("kept", {}).get(name, {})),
            "rejected": bins(found.get("rejected", {}).get(name, {})),
            "thresholds": bounds.get(name, []),
        }
        for name in names
    ]


def bins(histogram: Mapping[str, int]) -> list[list[float]]:
    """Return a histogram as [edge nearer to zero, count], in order."""
    return [[edge, histogram[key]] for edge, key in sorted((bin_edge(key), key) for key in histogram)]


def samples(corpus: Corpus) -> Table:
    """Return a few rejects for each reason."""
    every = {**corpus.ingested.summary.get("samples", {}), **_later(corpus).get("samples", {})}
    return {reason: [value for _, value in found["lowest"]] for reason, found in sorted(every.items())}


def duplicates(corpus: Corpus) -> Table:
    """Return cluster sizes, and the largest clusters with the beginning of their keeper."""
    if corpus.deduplicated is None:
        return {}
    found = corpus.clustered.summary.get("clusters", {}) if corpus.clustered is not None else {}
    clusters = {"sizes": {}, "largest": {"lowest": []}, **found}
    largest = [{"size": -size, **_keeper(corpus.shards, number)} for size, number in clusters["largest"]["lowest"]]
    sizes = sorted(([int(size), count] for size, count in clusters["sizes"].items()))
    similarity = bins(corpus.deduplicated.summary.get("similarity", {}))
    return {"sizes": sizes, "largest": largest, "similarity": similarity}


def dedup_quality(corpus: Corpus, config: Config, manifests: Sequence[Manifest]) -> Table:
    """Return how many sampled links are true (none where all were compared), what was left, what lines were cut."""
    facts: Table = {}
    for manifest in manifests:
        if manifest.stage.name == "deduplicate.precision":
            facts["precision"] = {**manifest.summary["precision"], "threshold": config.deduplicate.threshold}
        if manifest.stage.name == "deduplicate.left":
            facts["left"] = {**manifest.summary["left"], "rounds": config.deduplicate.star_rounds}
    if corpus.deduplicated is not None and "cut" in corpus.deduplicated.summary:
        facts["cut"] = corpus.deduplicated.summary["cut"]
    return facts


def _keeper(shards: Sequence[DocumentShard], number: int) -> Table:
    """Return what the report shows of one document."""
    shard = next(s for s in shards if s.first <= number < s.first + s.rows)
    start = shard.first
    for batch in read_batches(shard.path("documents"), ["id", "url", "source", "language", "text"]):
        if number < start + len(batch):
            row = batch.slice(number - start, 1).to_pylist()[0]
            return {**row, "text": row["text"][:SAMPLED_CHARACTERS]}
        start += len(batch)
    return {}


def round_facts(one: Round, config: Config) -> Table:
    """Return what the report shows of a round."""
    facts = {**one.facts, "number": one.number, "accepted": one.accepted}
    facts["bits_per_byte"] = bins(one.facts["bits_per_byte"])
    facts["score"] = bins(one.facts["score"])
    facts["jaccard"] = overlap(one.facts) if one.number > 1 else None
    facts["max_vocabulary_shift"] = config.self_clean.max_vocabulary_shift
    return facts


def tokens(corpus: Corpus) -> Table:
    """Return the tokens of each split."""
    return dict(corpus.merged.summary.get("tokens", {})) if corpus.merged is not None else {}


def stage_cost(manifest: Manifest) -> Table:
    """Return what a stage cost."""
    return {
        "name": manifest.stage.name,
        "seconds": round(manifest.seconds, 2),
        "cpu_seconds": round(manifest.cpu_seconds, 2),
        "peak_bytes": max((record.get("peak_bytes", 0) for record in manifest.records), default=0),
        "written_bytes": _sum(manifest, "written_bytes"),
        "tasks": len(manifest.records),
        "documents": _sum(manifest, "documents"),
        "bytes": _sum(manifest, "bytes"),
    }

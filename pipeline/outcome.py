"""What its user reads at the end of a run: where the documents went, and what a sample says of the whole."""

from collections.abc import Sequence

from rich.table import Table

from pipeline.clean import Corpus
from pipeline.config import Config
from pipeline.counted import counted
from pipeline.facts import edited, funnel, rejects
from pipeline.ingest import NOT_SAMPLED
from pipeline.plan import Plan
from pipeline.self_clean.measure import judged_tokens, token_budget
from pipeline.stage import Manifest

COMMONEST = 3  # reasons of a stage that are shown
ENOUGH_SECONDS = 10.0  # of work in a sample; below, loading kernels and models is most of what is seen


def table(corpus: Corpus, seconds: float) -> Table:
    """Return the table at the end of a run."""
    shown = Table(title="Where the documents went", title_justify="left")
    shown.add_column("")
    shown.add_column("documents", justify="right")
    shown.add_column("share", justify="right")
    summary = corpus.ingested.summary
    rows = summary.get("rows", {})
    documents = max(1, rows.get("documents", 0) + rows.get("rejected", 0))
    for step in funnel(corpus)[:2]:
        shown.add_row(step["name"], f"{step['count']:,}", "")
    skipped = dict(summary.get("skipped", {}))
    left_out = skipped.pop(NOT_SAMPLED, 0)
    if left_out:
        shown.add_row("  left out by --sample", f"{left_out:,}", "")
    shown.add_row("  skipped: no documents", f"{sum(skipped.values()):,}", "")
    shown.add_row("  unreadable", f"{rows.get('unreadable', 0):,}", "")
    by_stage = {"ingest": rows.get("rejected", 0)}
    if corpus.deduplicated is not None:
        by_stage["deduplicate"] = sum(r.get("rejected", 0) for r in corpus.deduplicated.records)
    reasons = rejects(corpus)
    if corpus.encoded is not None:
        by_stage["self_clean"] = sum(r["count"] for r in reasons if r["stage"] == "self_clean")
    for stage, count in by_stage.items():
        shown.add_row(f"rejected by {stage}", f"{count:,}", f"{count / documents:.1%}")
        for name, number in _commonest([(one["reason"], one["count"]) for one in reasons if one["stage"] == stage]):
            shown.add_row(f"  {name}", f"{number:,}", f"{number / documents:.1%}", style="dim")
    kept = funnel(corpus)[-1]["count"]
    shown.add_row("kept", f"{kept:,}", f"{kept / documents:.1%}", style="bold")
    size = edited(corpus)
    if size["read"] != size["kept"]:
        left = f"{size['kept'] / 1e6:,.1f} MB"
        shown.add_row("text left by edits in ingest", left, f"{size['kept'] / size['read']:.1%}")
    if corpus.merged is not None:
        tokens = sum(record["shard"]["tokens"] for record in corpus.merged.records)
        shown.add_row("tokens", f"{tokens:,}", "")
    shown.add_row("minutes of this start", f"{seconds / 60:.1f}", "")
    return shown


def _commonest(reasons: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return the first reasons of a stage and the sum of the others; nothing of one alone, which is the stage's row."""
    first, others = list(reasons[:COMMONEST]), reasons[COMMONEST:]
    if others:
        first.append((counted(len(others), "other reason"), sum(count for _, count in others)))
    return first if len(reasons) > 1 else []


def to_read(plan: Plan) -> str:
    """Return what is read, and in how many shards."""
    return f"{counted(plan.files, 'file')}, {plan.size / 1e6:,.1f} MB, {counted(len(plan.shards), 'shard')}"


def sampled(plan: Plan) -> str:
    """Return what a sample is made of."""
    return (
        f"a sample: {plan.chosen:,} of {plan.files:,} files, chosen by hash until their stored bytes hold the share, "
        f"and {plan.document_share:.3g} of their documents"
    )


def projection(corpus: Corpus, config: Config, manifests: Sequence[Manifest]) -> str:
    """Return what the full run would cost and yield, from a sample.

    Counted are the tasks' own CPU seconds: what a stage takes to start does not grow with the corpus.
    """
    grows = sum(_cpu(m) for m in manifests if not _fixed(m))
    documents = corpus.ingested.summary.get("rows", {}).get("documents", 0)
    cost = (
        f"{grows / config.sample:,.0f} CPU seconds that grow with the corpus"
        if grows >= ENOUGH_SECONDS
        else f"a cost that this sample does not tell (its tasks took {grows:.1f} CPU seconds, most of it start-up)"
    )
    return (
        f"projected from a share of {config.sample:g} of the stored bytes (rough where compressed and plain files are "
        f"mixed): {cost}, {_within_budgets(config, manifests)}"
        f"{documents / config.sample:,.0f} documents kept by the rules{_tokens(corpus, config)}"
    )


def _tokens(corpus: Corpus, config: Config) -> str:
    """Return how many tokens the full run would leave, nothing where none were made."""
    if corpus.merged is None:
        return ""
    tokens = sum(record["shard"]["tokens"] for record in corpus.merged.records) / config.sample
    return f", {tokens:,.0f} tokens at most: most duplicates of a sample's documents are outside of it"


def _within_budgets(config: Config, manifests: Sequence[Manifest]) -> str:
    """Return what training and scoring would cost if they used up their budgets in every round."""
    rounds, folds = config.self_clean.rounds, config.self_clean.folds
    judged = sum(judged_tokens(m.summary) for m in manifests if m.stage.name.endswith("round-1.measure"))
    read = token_budget(round(judged / config.sample), config.self_clean)
    budgets = {".train": folds * config.evaluator.train_tokens, ".score": read}
    seconds = 0.0
    for ending, budget in budgets.items():
        done = [m for m in manifests if m.stage.name.endswith(ending)]
        tokens = sum(record["tokens"] for m in done for record in m.records)
        if tokens:
            seconds += sum(_cpu(m) for m in done) / tokens * budget * rounds
    return f"at most {seconds:,.0f} for training and scoring within their budgets, " if seconds else ""


def _cpu(manifest: Manifest) -> float:
    """Return the CPU seconds of a stage's tasks."""
    return sum(record["cpu_seconds"] for record in manifest.records)


def _fixed(manifest: Manifest) -> bool:
    """Tell whether a stage's cost is set by a budget and does not grow with the corpus."""
    name = manifest.stage.name
    return name in {"tokenizer", "self_clean.tokenizer", "deduplicate.precision"} or name.endswith((".train", ".score"))

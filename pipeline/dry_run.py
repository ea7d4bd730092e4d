"""What a run would do: inputs, stages, and what is done already."""

from collections.abc import Sequence

import orjson
from rich.console import Console

from dedup.lsh import candidate_probability
from pipeline import clean
from pipeline.config import STAGES, Config, Deduplicate, as_table
from pipeline.counted import counted
from pipeline.line import Asked
from pipeline.outcome import sampled, to_read
from pipeline.plan import Plan
from pipeline.stage import Stage, finished_keys, read_manifest
from pipeline.storage import exists, join, read_json


def show_plan(console: Console, config: Config, output: str, plan: Plan, asked: Asked) -> None:
    """Print what a run would do."""
    console.print(f"{to_read(plan)}, the largest of {max(s.size for s in plan.shards) / 1e6:,.1f} MB", highlight=False)
    if config.sample < 1:
        console.print(sampled(plan), highlight=False)
    stages = [clean.ingest_stage(output, config, plan)]
    stages.append(clean.deduplicate_stage(output, config, stages[-1], asked.earlier))
    stages += clean.tokenizer_stages(output, config, stages[-1])
    last = STAGES.index(asked.until)
    for stage in stages[: {"ingest": 1, "deduplicate": 2}.get(asked.until)]:
        console.print(f"  {stage.name:<20} {_state(stage, plan)}", highlight=False)
        if stage.name == "deduplicate":
            show_curve(console, config.deduplicate)
            for run in asked.earlier:
                known = sum(rows for _, rows in run.shards)
                console.print(
                    f"    against {run.output}: {counted(known, 'document')}, by their signatures", highlight=False
                )
    published = _published(output, config, asked, stages)
    if last >= STAGES.index("self_clean"):
        rounds, folds = config.self_clean.rounds, config.self_clean.folds
        what = f"{folds} folds, {counted(rounds, 'round')} at most" if rounds else "no rounds"
        console.print(f"  {'self_clean':<20} {published or 'to do'}: {what}", highlight=False)
    if last >= STAGES.index("publish"):
        where = f"{output}/documents, rejected, shards" + (", report.html" if asked.until == "report" else "")
        console.print(f"  {'publish':<20} {published or 'to do'} → {where}", highlight=False)


def _published(output: str, config: Config, asked: Asked, stages: Sequence[Stage]) -> str:
    """Return "done" where the output folder holds just what this run would put there."""
    path = join(output, "run.json")
    if not (exists(path) and exists(join(output, "_SUCCESS"))):
        return ""
    record = read_json(path)
    same = record["config"] == orjson.loads(orjson.dumps(as_table(config))) and record["evaluator"] == asked.evaluator
    return "done" if same and all(record["fingerprints"][s.name] == s.fingerprint for s in stages) else ""


def show_curve(console: Console, how: Deduplicate) -> None:
    """Print the shape of the bands and how likely a pair of each similarity shares one."""
    chosen = f", chosen for {how.wanted_recall:g} at {how.wanted_threshold:g}" if how.wanted_threshold else ""
    console.print(f"    {how.bands} bands of {how.rows} rows{chosen}; {how.count} values a signature", highlight=False)
    places = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    found = [f"{s:g}: {candidate_probability(s, how.bands, how.rows):.3f}" for s in places]
    console.print(
        f"    near-duplicates meet in a band with probability (by similarity) {', '.join(found)}", highlight=False
    )


def _state(stage: Stage, plan: Plan) -> str:
    if read_manifest(stage) is not None:
        return "done"
    finished = len(finished_keys(stage.folder))
    return f"{finished} of {len(plan.shards)} shards done" if finished else "to do"

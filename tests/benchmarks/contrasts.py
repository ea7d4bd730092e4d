"""What pairs of TransNormers that differ in one way would add to the score, out of sample.

    python -m tests.benchmarks.contrasts --run OUT --good 'books/*.jsonl'        a finished run with its stages

A contrast is what a document takes under another model less what it takes under its judge, in bits per byte: under a
smaller one (half as wide, two layers); before less after a tenth more of training, on text that is known to be good;
under one trained on what the rules rejected; and, without its sign, under one of another seed. Each is tried as one
more signal beside all of the run's, as `signals_worth.py` tries groups. Trainings take minutes each, and so does it to
measure the anchors by each.
"""

import argparse
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from model.checkpoint import load_model, save_model
from model.config import TrainingConfig
from model.data import PackedTokens
from model.determinism import deterministic
from model.parallel import Grid
from model.step import learner_of, take_step
from pipeline.config import Evaluator, Input
from pipeline.evaluation.finished import Finished, read_finished
from pipeline.evaluation.good_text import gather
from pipeline.evaluation.resampling import difference
from pipeline.evaluation.shown import interval, three
from pipeline.self_clean.anchors import AnchorTask, MeasureAnchors, read_measured
from pipeline.self_clean.evaluators import TrainEvaluator, TrainingKey, TrainTask
from pipeline.self_clean.judges import Judges
from pipeline.self_clean.rejects import rejects_path
from pipeline.self_clean.signals import SIGNALS
from pipeline.stage import Manifest, Stage, read_manifest
from pipeline.storage import checksum
from pipeline.token_shards import index_table, token_column, token_schema, write_arrow
from tests.benchmarks.signals_worth import ALL, Rows, found, split

MORE = 0.1  # of a judge's training, on good text
GOOD_DOCUMENTS = 1000  # of a language
BITS = SIGNALS.index("bits_per_byte")
OTHER_SEED = 1000
KEY = TrainingKey("contrast", 2, 0, 0)  # asked of by nobody


@dataclass(frozen=True, slots=True)
class At:
    """A finished run, and where its stages and the other models are."""

    run: Finished
    stages: dict[str, Manifest]
    folder: str

    def of_round(self, name: str) -> Manifest:
        """Return a stage of the round whose verdicts count."""
        return self.stages[f"self_clean.round-{self.run.round}.{name}"]


def read_at(output: Path, folder: str) -> At:
    """Read a finished run; raises SystemExit where it kept no stages."""
    run = read_finished(str(output))
    prints = orjson.loads((output / "run.json").read_bytes())["fingerprints"]
    manifests = {name: read_manifest(Stage(name, print_, str(output))) for name, print_ in prints.items()}
    if not run.measured:
        raise SystemExit(f"{output} holds no measured anchors: run with [output] keep_stages = true")
    return At(run, {name: one for name, one in manifests.items() if one is not None}, folder)


def trained(at: At, name: str, evaluator: Evaluator, seed: int) -> Judges:
    """Train every fold's judge with other sizes, or another seed, on what the run's own were trained on."""
    sampled = at.of_round("sample")
    work = TrainEvaluator(f"{at.folder}/{name}", sampled.stage.folder, at.run.judges.tokenizer, evaluator, seed, KEY)
    for k in range(len(at.run.judges.weights)):
        work(TrainTask(f"fold-{k}", tuple(orjson.dumps(r["shards"][k]).decode() for r in sampled.records), ""))
    return replace(at.run.judges, weights=_folds(at, name))


def _folds(at: At, name: str) -> tuple[str, ...]:
    return tuple(f"{at.folder}/{name}/fold-{k}" for k in range(len(at.run.judges.weights)))


def of_rejects(at: At, name: str, evaluator: Evaluator, seed: int) -> Judges:
    """Train one model on what the rules rejected, for all folds."""
    sampled = at.stages["self_clean.rejects"]
    shards = [
        {
            **{field: record[field] for field in ("documents", "tokens", "languages")},
            "path": record["key"] + ".arrow",
            "split": "train",
            "sha256": checksum(rejects_path(sampled.stage.folder, record["key"])),
        }
        for record in sampled.records
    ]
    work = TrainEvaluator(f"{at.folder}/{name}", sampled.stage.folder, at.run.judges.tokenizer, evaluator, seed, KEY)
    work(TrainTask("tokens", tuple(orjson.dumps(one).decode() for one in shards), ""))
    return replace(at.run.judges, weights=tuple(f"{at.folder}/{name}/tokens" for _ in at.run.judges.weights))


def taught_more(at: At, name: str, evaluator: Evaluator, seed: int, good: str) -> Judges:
    """Train every judge MORE of its tokens longer, on good text."""
    batch = max(1, evaluator.batch_tokens // evaluator.context_length)
    tokens = round(MORE * evaluator.train_tokens)
    training = TrainingConfig(
        tokens=tokens, context_length=evaluator.context_length, batch=batch, learning_rate=evaluator.learning_rate / 10,
        seed=seed, threads=1,
    )  # fmt: skip
    write_good(at, good, f"{at.folder}/{name}/good")
    for k, weights in enumerate(at.run.judges.weights):
        with deterministic(training.threads):
            net = load_model(weights)
            learner = learner_of(net, training, Grid())
            rows = PackedTokens(f"{at.folder}/{name}/good", context_length=training.context_length, seed=seed)
            every = iter(rows)
            for step in range(training.steps):
                take_step(learner, list(islice(every, batch)), step)
            save_model(f"{at.folder}/{name}/fold-{k}", net)
    return replace(at.run.judges, weights=_folds(at, name))


def write_good(at: At, pattern: str, folder: str) -> None:
    """Write good text of the judged languages as a token shard."""
    given = Input(name="good", paths=(pattern,), source="source")
    chosen = gather(given, at.run.config, [*at.run.score.languages], GOOD_DOCUMENTS).documents
    tokenizer = at.run.judges.load_tokenizer()
    ids = tokenizer.encode([good.text for good in chosen])
    column, lengths = token_column(ids, tokenizer)
    schema = token_schema(tokenizer.dtype)
    names = {name: [getattr(good, name) for good in chosen] for name in ("id", "source", "language")}
    table = pa.table({**names, "tokens": column}).select(schema.names).cast(schema)
    digest = write_arrow(f"{folder}/good.arrow", [table], schema)
    sizes = {"documents": len(chosen), "tokens": int(lengths.sum()), "languages": {}}
    shard = {"path": "good.arrow", "split": "train", "sha256": digest, **sizes}
    index = index_table(tokenizer, checksum(at.run.judges.tokenizer), [shard])
    Path(folder, "index.json").write_bytes(orjson.dumps(index))


def bits(at: At, judges: Judges, name: str) -> dict[str, Any]:
    """Return the bits per byte of a language's anchors, undamaged and damaged, by language, in the run's order."""
    anchors = Path(at.of_round("anchors").stage.path("anchors"))
    paths = tuple(str(path) for path in sorted(anchors.glob("*.parquet")))
    folder = f"{at.folder}/{name}-measured"
    for language in at.run.measured:
        MeasureAnchors(folder, judges)(AnchorTask(language, paths, 0))
    measured = {language: read_measured(folder, language) for language in at.run.measured}
    for language, one in measured.items():
        assert one.id == at.run.measured[language].id
    return {language: one.signals[:, BITS] for language, one in measured.items()}


Contrast = tuple[str, Callable[[At, str], Judges], Callable[[Any, Any], Any]]


def contrasts(at: At, good: str) -> list[Contrast]:
    """Return what is tried: what it is called, how its model is made, and the signal from its bits and the judge's."""
    own, seed = at.run.config.evaluator, at.run.config.self_clean.seed
    small = replace(own, width=own.width // 2, hidden=own.hidden // 2, heads=max(1, own.heads // 2), layers=2)
    return [
        ("small minus large", partial(trained, evaluator=small, seed=seed), np.subtract),
        ("before minus after more good text", partial(taught_more, evaluator=own, seed=seed, good=good), _less),
        ("rejects minus kept", partial(of_rejects, evaluator=own, seed=seed), np.subtract),
        ("disagreement of two seeds", partial(trained, evaluator=own, seed=seed + OTHER_SEED), _apart),
    ]


def _less(other: Any, judge: Any) -> Any:
    return judge - other


def _apart(other: Any, judge: Any) -> Any:
    return np.abs(other - judge)


def measured_by(at: At, contrast: Contrast) -> Rows:
    """Return the run's measured anchors with one more signal."""
    name, make, signal = contrast
    at = replace(at, folder=f"{at.folder}/{name.replace(' ', '-')}")
    other = bits(at, make(at, "model"), "model")
    return {
        language: replace(one, signals=np.column_stack([one.signals, signal(other[language], one.signals[:, BITS])]))
        for language, one in at.run.measured.items()
    }


def main() -> None:
    """Train, measure, compare and print."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--run", type=Path, required=True, help="output folder of a finished run with its stages")
    line.add_argument("--good", required=True, help="files of good text, as `python -m pipeline.evaluate` takes them")
    line.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    asked = line.parse_args()
    with TemporaryDirectory() as folder, ProcessPoolExecutor(asked.workers) as pool:
        at = read_at(asked.run, folder)
        tried = contrasts(at, asked.good)
        rows = list(pool.map(partial(measured_by, at), tried))
    anchors = sum(len(set(one.id)) for one in at.run.measured.values())
    base = found(split(at.run.measured), range(len(SIGNALS)))
    for (name, *_), more in zip(tried, rows, strict=True):
        with_it = found(split(more), range(len(SIGNALS) + 1))
        table = Table(title=f"{name}, beside all signals", title_justify="left")
        for head in ("damage", "AUC without", "AUC with", "difference"):
            table.add_column(head, justify="left" if head == "damage" else "right", no_wrap=True)
        for kind in sorted(base, key=lambda one: one == ALL):
            gain = difference(with_it[kind] - base[kind], anchors).as_list()
            table.add_row(kind.replace("_", " "), three(base[kind][0]), three(with_it[kind][0]), interval(gain, "+"))
        Console(width=120).print(table)


if __name__ == "__main__":
    main()

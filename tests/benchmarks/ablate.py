"""What each stage does for a model: equal tokens of every variant of a corpus, judged on clean text.

    make ablate CORPUS=out/web
    python -m tests.benchmarks.ablate --corpus out/web --output out/ablate --jobs 2

CORPUS is a finished run that kept its stages; its variants are those of variants.py. A model of about 2 million
parameters is trained on a million tokens of each, from the same initialisation and in the order of the same key.
`matched`, five times: every variant has the same share of tokens from each language and source, that of the scarcest;
`unmatched`, three times: as they come. No document is seen twice. Judged by bits per byte on clean text, the mean over
its sets for a language and over languages, and by how well a linear probe tells the source of held-out documents from
the mean of their hidden states.

Differences are taken in pairs of seeds; "better" and "worse" only where the 95 % interval leaves out 0. A finished run
is a line of OUTPUT/log.jsonl: started again, the command does what is missing and prints the tables, here, as
OUTPUT/tables.md and in CORPUS/report.html. One process and one thread a run.
"""

import argparse
import gzip
import hashlib
import json
import math
import os
import re
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import torch
from pyarrow import ipc
from rich.console import Console

from model.adamw import zero_moments
from model.config import TrainingConfig, TransNormerConfig
from model.data import PackedTokens
from model.determinism import deterministic
from model.parallel import Grid
from model.score import prepare, score_texts
from model.step import Learner, Objective, take_step
from model.transnormer import TransNormer
from pipeline.evaluation.experiments import Experiment, Shown, keep
from pipeline.finished_run import check_finished
from pipeline.output_folder import amend_report
from tests.benchmarks.ablate_model import markdown, shown
from tests.benchmarks.ablate_tables import above_random, by_language, differences, table_of
from tests.benchmarks.clean_text import articles
from tests.benchmarks.variants import (
    FEWEST_NEWS,
    FEWEST_PROBED,
    HELD_OUT,
    NEWS,
    PROBED,
    RANDOM,
    TOKENS,
    Documents,
    choose,
    read_documents,
)
from tokenizer.encode import Tokenizer

DATA = Path(os.environ.get("LUSTRATE_DATA", "../shared/data"))
SIZES: dict[str, Any] = {"width": 128, "layers": 4, "heads": 4, "hidden": 320, "tie_embeddings": True}
INITIAL_STD = 0.057  # 0.02 (1024 / 128)^(1/2), as in ablate_model
RATE = 8e-3  # the best of three in ablate_model
SEEDS = {"matched": range(5), "unmatched": range(3)}  # by table
WIDE = 200  # columns of a table that goes to a file
CLEAN_BYTES = 100_000  # of each clean set that are judged
LONGEST = 8192  # characters of a judged document
STRENGTH = 1e-2  # of the probe's pull to zero
VERSION = 2  # of what a seed draws: results of another are not mixed in
BOOKS, ARTICLES = "en_public_domain_books.jsonl.gz", "zh_lctt_articles.jsonl.gz"
SAID = (
    "Models of about 2 million parameters, each trained on the same number of tokens of a variant of this corpus, from "
    "the same start and in the same order, and judged by bits per byte on clean text: the mean of its sets, then of "
    "languages. The random drop lacks as many documents of each language and length class as the first round rejected. "
    "Differences from it, drawn here, are paired by seed, with 95 % intervals: an interval above 0 is worse, one below "
    "it better, and one that holds 0 says nothing."
)
WIKI = ("wikitext-2.valid.txt", "wikitext-2.test.txt")


def clean_sets(data: Path, news: Mapping[str, Sequence[str]]) -> dict[str, dict[str, list[str]]]:
    """Return clean texts by language and set: books and articles of Wikipedia, LCTT's articles, held-out news."""
    books = [part for text in _texts(data / BOOKS) for part in re.split(r"\n(?=## )", text)]
    wiki = [article for name in WIKI for article in articles((data / name).read_text("utf-8"))]
    sets: dict[str, dict[str, list[str]]] = {
        "en": {"books": books, "wikitext": wiki},
        "zh": {"LCTT": list(_texts(data / ARTICLES))},
    }
    for language, found in sorted(news.items()):
        sets.setdefault(language, {})["news"] = list(found)
    return {language: {name: _some(texts) for name, texts in own.items()} for language, own in sets.items()}


def _texts(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)["text"]


def _some(texts: Sequence[str]) -> list[str]:
    """Return some texts by their hashes, cut where they are very long."""
    found, size = [], 0
    for text in sorted((text[:LONGEST] for text in texts if len(text) > 200), key=_digest):
        found.append(text)
        size += len(text.encode())
        if size >= CLEAN_BYTES:
            break
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Run:
    """A run to make."""

    variant: str
    table: str
    seed: int


@dataclass(frozen=True, slots=True)
class Setup:
    """What all runs share."""

    corpus: Path
    data: Path
    output: Path

    @property
    def digest(self) -> str:
        """Return a name for corpus, clean text and settings: results of other ones are not mixed in."""
        paths = [self.corpus / "run.json", *(self.data / name for name in (BOOKS, *WIKI, ARTICLES))]
        files = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
        model = [SIZES, INITIAL_STD, RATE, TOKENS, VERSION]
        judging = [HELD_OUT, NEWS.pattern, FEWEST_NEWS, CLEAN_BYTES, LONGEST, PROBED, FEWEST_PROBED, STRENGTH]
        return hashlib.sha256(orjson.dumps([files, model, judging])).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Material:
    """What runs are made of and judged by."""

    documents: Documents
    tokens: list[npt.NDArray[np.unsignedinteger]]  # of each document, with an end
    tokenizer: Tokenizer
    clean: dict[str, dict[str, list[str]]]  # language -> set -> texts


@cache
def material(setup: Setup) -> Material:
    """Read what runs share, once a process."""
    documents = read_documents(setup.corpus)
    tokenizer = Tokenizer((setup.corpus / "evaluator/tokenizer.model").read_bytes())
    tokens = [np.append(ids, tokenizer.end_of_document) for ids in tokenizer.encode(documents.texts)]
    return Material(documents, tokens, tokenizer, clean_sets(setup.data, documents.held_out))


def trained(run: Run, setup: Setup) -> dict[str, Any]:
    """Train a model and return its line of the log."""
    given = material(setup)
    documents, tokenizer = given.documents, given.tokenizer
    began = time.monotonic()
    lengths = np.array([len(ids) for ids in given.tokens])
    rows = choose(documents, run.variant, run.table, lengths, run.seed)
    folder = setup.output / "shards" / f"{run.variant}-{run.table}-{run.seed}".replace(" ", "-")
    total = write_shard(folder, [given.tokens[row] for row in rows], tokenizer)
    config = TransNormerConfig(
        vocab_size=tokenizer.vocab_size, eos=tokenizer.end_of_document, **SIZES, initial_std=INITIAL_STD
    )
    with deterministic(threads=1):
        net = TransNormer(config, run.seed)
        learn(net, folder, total, run.seed)
        learnt = time.monotonic()
        bits = judged(net, given.clean, tokenizer)
        accuracy = probe(net, documents.probed, tokenizer)
    macro = statistics.mean(statistics.mean(own.values()) for own in bits.values())
    facts = {"variant": run.variant, "table": run.table, "seed": run.seed, "setup": setup.digest}
    sizes = {"parameters": sum(p.numel() for p in net.parameters()), "tokens": total, "documents": len(rows)}
    found = {"bits": bits, "macro": macro, "probe": accuracy}
    taken = {"learning": round(learnt - began, 1), "seconds": round(time.monotonic() - began, 1)}
    return {**facts, **sizes, **found, **taken}


def write_shard(folder: Path, documents: Sequence[npt.NDArray[np.unsignedinteger]], tokenizer: Tokenizer) -> int:
    """Write token documents as one training shard; return the tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    total = sum(map(len, documents))
    column = pa.array([ids.tolist() for ids in documents], pa.list_(pa.uint16()))
    with ipc.new_file(folder / "train.arrow", pa.schema({"tokens": column.type})) as writer:
        writer.write_table(pa.table({"tokens": column}))
    digest = hashlib.sha256((folder / "train.arrow").read_bytes()).hexdigest()
    entry = {"path": "train.arrow", "split": "train", "documents": len(documents), "tokens": total, "sha256": digest}
    facts = {"vocab_size": tokenizer.vocab_size, "eos": tokenizer.end_of_document}
    (folder / "index.json").write_bytes(orjson.dumps({"dtype": "uint16", "shards": [entry], **facts}))
    return total


def learn(net: TransNormer, folder: Path, tokens: int, seed: int) -> None:
    """Train on one pass over a shard; the last row that is not full, and the last batch, are left out."""
    probe_ = TrainingConfig(tokens=tokens, learning_rate=RATE, seed=seed, threads=1)
    step = probe_.batch * probe_.context_length
    config = TrainingConfig(tokens=max(1, tokens // step) * step, learning_rate=RATE, seed=seed, threads=1)
    weights = dict(net.named_parameters())
    learner = Learner(Objective(net, config.precision), weights, zero_moments(weights), config, Grid())
    rows = iter(PackedTokens(folder, context_length=config.context_length, seed=seed))
    for number in range(config.steps):
        take_step(learner, list(islice(rows, config.batch)), number)


def judged(net: TransNormer, sets: Mapping[str, Mapping[str, list[str]]], tokenizer: Tokenizer) -> dict[str, Any]:
    """Return bits per byte by language and set."""
    judge = prepare(net)
    found: dict[str, dict[str, float]] = {}
    for language, own in sets.items():
        for name, texts in own.items():
            scores = score_texts(judge, texts, tokenizer.encode)
            found.setdefault(language, {})[name] = float(scores.nats.sum() / math.log(2) / scores.bytes.sum())
    return found


def probe(net: TransNormer, pairs: Sequence[tuple[str, str]], tokenizer: Tokenizer) -> float:
    """Return how often a linear probe on the mean hidden state names a document's source; NaN without two sources.

    It learns from every other document of each source, with standardised states, and is measured on the rest.
    """
    names = sorted({source for _, source in pairs})
    if len(names) < 2:
        return math.nan
    states = torch.stack([_mean_state(net, ids) for ids in tokenizer.encode([text[:LONGEST] for text, _ in pairs])])
    labels = torch.tensor([names.index(source) for _, source in pairs])
    learns = torch.arange(len(pairs)) % 2 == 0
    states = (states - states[learns].mean(0)) / states[learns].std(0).clamp_min(1e-6)
    weight = torch.zeros(states.shape[1], len(names), requires_grad=True)
    bias = torch.zeros(len(names), requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def objective() -> torch.Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(states[learns] @ weight + bias, labels[learns])
        loss = loss + STRENGTH * (weight**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(objective)  # type: ignore[no-untyped-call]
    told = (states[~learns] @ weight + bias).argmax(1)
    return float((told == labels[~learns]).double().mean())


def _mean_state(net: TransNormer, ids: npt.NDArray[np.unsignedinteger]) -> torch.Tensor:
    with torch.no_grad():
        tokens = torch.from_numpy(np.concatenate([[net.config.eos], ids[:512]]).astype(np.int64))
        return net.hidden(tokens[None])[0][0].mean(0)


def wanted(variants: Sequence[str]) -> list[Run]:
    """Return the runs of the whole plan: the matched table first."""
    return [Run(variant, table, seed) for table, seeds in SEEDS.items() for seed in seeds for variant in variants]


def run_all(setup: Setup, variants: Sequence[str], jobs: int, console: Console) -> list[dict[str, Any]]:
    """Make every run that the log lacks, `jobs` at a time, and return the log's runs of this setup."""
    log = setup.output / "log.jsonl"
    done = read_log(log, setup)
    made = {(run["variant"], run["table"], run["seed"]) for run in done}
    missing = [run for run in wanted(variants) if (run.variant, run.table, run.seed) not in made]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool, log.open("ab") as file:
        for future in as_completed([pool.submit(trained, run, setup) for run in missing]):
            done.append(future.result())
            file.write(orjson.dumps(done[-1]) + b"\n")
            file.flush()
            console.print(_told(done, len(wanted(variants)), jobs), highlight=False)
    return done


def read_log(log: Path, setup: Setup) -> list[dict[str, Any]]:
    """Return the whole lines of a log that are of this setup."""
    lines = log.read_bytes().split(b"\n")[:-1] if log.is_file() else []
    return [run for run in map(orjson.loads, lines) if run["setup"] == setup.digest]


def _told(done: Sequence[Mapping[str, Any]], planned: int, jobs: int) -> str:
    run, left = done[-1], planned - len(done)
    minutes = math.ceil(left / jobs) * statistics.mean(one["seconds"] for one in done) / 60
    found = f"{run['macro']:.4f} bits per byte, probe {run['probe']:.3f}"
    cost = f"{run['tokens']:,} tokens, {run['seconds']:.0f} s"
    name = f"{run['variant']}, {run['table']}, seed {run['seed']}"
    return f"{len(done)} of {planned}: {name}: {found}, {cost} · about {minutes:.0f} min left"


def tables_of(done: Sequence[dict[str, Any]], table: str, variants: Sequence[str]) -> list[Shown]:
    """Return what there is to say of the runs of a table."""
    return [
        Shown(
            f"{table}: equal tokens",
            table_of(done, table, variants),
            above_random(done, table, variants, len(SEEDS[table])),
            0.0,
        ),
        Shown(f"{table}: each language", differences(done, table, variants)),
        Shown(f"{table}: each clean set", by_language(done, table, variants)),
    ]


def main() -> None:
    """Run what is missing and print the tables."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--corpus", type=Path, required=True, help="output folder of a finished run that kept its stages")
    line.add_argument("--data", type=Path, default=DATA / "clean", help="folder of clean text")
    line.add_argument("--output", type=Path, default=Path("out/ablate"))
    line.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="runs at a time, one thread each")
    line.add_argument("--tables", action="store_true", help="print the tables of what is done, and train nothing")
    asked = line.parse_args()
    check_finished(str(asked.corpus))
    asked.output.mkdir(parents=True, exist_ok=True)
    setup = Setup(asked.corpus.absolute(), asked.data, asked.output)
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    variants = [*read_documents(setup.corpus).variants, RANDOM]
    log = asked.output / "log.jsonl"
    done = read_log(log, setup) if asked.tables else run_all(setup, variants, asked.jobs, console)
    begun = [table for table in SEEDS if any(run["table"] == table for run in done)]
    tables = [one for table in begun for one in tables_of(done, table, variants)]
    for one in tables:
        console.print(shown(one.title, one.rows))
    parts = [part for one in tables for part in (f"**{one.title}**", markdown(one.rows))]
    (asked.output / "tables.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    found = Experiment("ablation", "What a model learns from each variant", SAID, tables)
    amend_report(str(setup.corpus), "experiments", keep(str(setup.corpus), found))


if __name__ == "__main__":
    main()

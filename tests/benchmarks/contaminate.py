"""What self-cleaning finds when the judges are trained on dirt, round by round.

    make contaminate
    python -m tests.benchmarks.contaminate --levels 0.05 --output out/contaminate

A sample of demo_corpus, English and Chinese, gets dirt that is 0, 5 and 20 % of its documents: half of it documents
with one of the kinds of damage of middle severity, each another; half templated, one such document in 20 to 200 copies
of which each has 8 % of its words changed, so that deduplication keeps them. The whole line runs with up to three
rounds. For each round: how well the score tells dirt from the rest (AUC; of documents that the TransNormers did not
read the surrogate's), how much of it is rejected (recall) and how much of the rest is (loss; the rest is a crawl's
sample, not all good), by this run's `outlier` of 2.5 and by the default one. Intervals are 95 %, from a bootstrap in
which a template with all its copies is one draw. A finished level is not run again.
"""

import argparse
import gzip
import os
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from pipeline.config import SelfClean
from pipeline.evaluation.experiments import Experiment, Shown, keep
from pipeline.evaluation.resampling import (
    Floats,
    auc,
    difference,
    draw_weights,
    effective_records,
    share,
    share_above,
)
from pipeline.evaluation.shown import interval
from pipeline.finished_run import check_finished
from pipeline.output_folder import amend_report
from pipeline.self_clean.anchors import make_pool
from pipeline.self_clean.cuts import least_cut
from pipeline.self_clean.defects import DEFECTS, inject, units
from pipeline.self_clean.scoring import length_class, load_score
from tests.measured import measured

DATA = Path(os.environ.get("LUSTRATE_DATA", "../shared/data"))
LANGUAGES = {"en": 3200, "zh": 3200}  # documents of the sample
SIZES = (600, 8000)  # characters of a document
LEVELS = (0.0, 0.05, 0.2)
DIRT = "dirt/"  # what the ids of dirt begin with; its source is that of the document it was made of
COPIES = (20, 36, 63, 112, 200)  # of templates, in turn
CHANGED = 0.08  # of a copy's words: 5-word shingles of two copies then agree by about 0.28
MIDDLE = 1
FAR = ", by default"  # figures at the default `outlier`
SAID = (
    "Not this corpus: runs of their own over a sample of English and Chinese, with dirt that is a share of its "
    "documents, half of it single documents with one kind of damage, half templates of 20 to 200 altered copies. "
    "Recall is the share of the dirt that a round rejects, loss that of the rest, which is not all good; by default, "
    "what the cuts of default settings would reject. Intervals are 95 %, a template with its copies drawn at once."
)
SEED = 1
WORKERS = 2
WIDE = 240  # columns of a table that goes to a file
SETTINGS = """
[[input]]
paths = ["{corpus}"]
source = "source"

[tokenizer]
vocab_size = 8000
sample_bytes = 5_000_000

[evaluator]
tokenizer_sample_bytes = 5_000_000
train_tokens = 600_000

[self_clean]
rounds = 3
score_tokens = 1_000_000
anchor_documents = 250
min_anchor_documents = 100
min_language_tokens = 100_000
min_agreement = 0.5
drop = 0.2
outlier = 2.5
max_stratum_loss = 1.0
max_language_loss = 1.0
max_source_loss = 1.0
max_vocabulary_shift = 1.0
"""


@dataclass(frozen=True, slots=True)
class Dirt:
    """Documents of one level: the corpus's own and what was put among them."""

    records: list[dict[str, str]]

    def write(self, path: Path) -> None:
        """Write JSON lines in an order by hash."""
        records = sorted(self.records, key=lambda record: _hash(record["id"]))
        path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))


def _hash(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=8).digest()


def read_documents(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return documents of the languages, of a fitting length, in an order by hash."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in LANGUAGES}
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path) as lines:
            for record in map(orjson.loads, lines):
                language = (record["lang"] or "").partition("-")[0]
                if language in found and SIZES[0] <= len(record["text"]) <= SIZES[1]:
                    kept = {name: record[name] for name in ("id", "source", "text")}
                    found[language].append({**kept, "host": ""})
    return {name: sorted(rows, key=lambda row: _hash(row["id"])) for name, rows in found.items()}


def contaminated(documents: dict[str, list[dict[str, Any]]], level: float) -> Dirt:
    """Return a sample with dirt that is a share of its documents; dirt is made of documents beyond the sample."""
    records = []
    for language, count in LANGUAGES.items():
        rows = documents[language]
        own, material = rows[:count], rows[count:] or rows
        foreign = [row["text"] for name, others in documents.items() if name != language for row in others[:200]]
        records += [{"id": row["id"], "source": row["source"], "text": row["text"]} for row in own]
        wanted = round(len(own) * level / (1 - level))
        made = damaged(material, foreign, language)
        records += [_record(language, f"single/{n}", *next(made)) for n in range(wanted // 2)]
        records += templated(made, wanted - wanted // 2, language)
    return Dirt(records)


def damaged(rows: Sequence[dict[str, Any]], foreign: Sequence[str], language: str) -> Iterator[tuple[str, str]]:
    """Yield texts with damage of middle severity, kinds in turn, and their sources; where nothing changed, none."""
    number = 0
    while True:
        row, defect = rows[number % len(rows)], DEFECTS[number % len(DEFECTS)]
        draw = random.Random(f"{SEED} {language} {number}")
        text = inject(row["text"], defect, MIDDLE, draw, make_pool(row, rows, foreign, draw))
        if text != row["text"]:
            yield text, row["source"]
        number += 1


def templated(made: Iterator[tuple[str, str]], wanted: int, language: str) -> list[dict[str, str]]:
    """Return as many altered copies of templates as are wanted."""
    draw = random.Random(f"{SEED} {language}")
    records: list[dict[str, str]] = []
    copies = cycle(COPIES)
    while len(records) < wanted:
        text, source = next(made)
        template, place = units(text), len(records)
        words = [word for word in template if word.strip()]
        for copy in range(min(next(copies), wanted - len(records))):
            text = "".join(draw.choice(words) if draw.random() < CHANGED else word for word in template)
            records.append(_record(language, f"template/{place}/{copy}", text, source))
    return records


def _record(language: str, name: str, text: str, source: str) -> dict[str, str]:
    return {"id": f"{DIRT}{language}/{name}", "source": source, "text": text}


def run_line(folder: Path, documents: dict[str, list[dict[str, Any]]], level: float) -> None:
    """Run the line on a contaminated sample unless it was done before."""
    if (folder / "out/_SUCCESS").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    contaminated(documents, level).write(folder / "corpus.jsonl")
    (folder / "line.toml").write_text(SETTINGS.format(corpus=folder / "corpus.jsonl"))
    line = [sys.executable, "-m", "pipeline.run", "--config", str(folder / "line.toml")]
    cost = measured([*line, "--output", str(folder / "out"), f"--direct_num_workers={WORKERS}"])
    if cost.returncode:
        raise SystemExit(f"the run in {folder} failed: {cost.stderr.strip()}")


@dataclass(frozen=True, slots=True)
class Seen:
    """What one round made of the documents that it judged."""

    ids: list[str]  # the records' own
    score: Floats  # the surrogate's of those that the TransNormers did not read
    rejected: Floats  # 1 or 0
    far: Floats  # 1 where the default `outlier` would reject it, else 0


def read_rounds(out: Path) -> list[Seen]:
    """Return what each round of a run found, of the documents that it judged."""
    prints = orjson.loads((out / "run.json").read_bytes())["fingerprints"]
    rounds: list[Seen] = []
    while (name := f"self_clean.round-{len(rounds) + 1}.score") in prints:
        verdicts = name.replace(".score", ".verdicts")
        fit = name.replace(".score", ".fit")
        folders = [out / "stages" / stage / prints[stage] for stage in ("ingest", name, verdicts, fit)]
        rounds.append(_read_round(*folders))
    return rounds


def _read_round(ingest: Path, scores: Path, verdicts: Path, fit: Path) -> Seen:
    ids: list[str] = []
    score, rejected, far = [], [], []
    for path in sorted((scores / "scores").glob("*.parquet")):
        table = pq.read_table(path, columns=["judged", "scored", "score", "bytes"])
        judged = np.asarray(table["judged"].to_numpy(), bool)
        own = pq.read_table(ingest / "documents" / path.name, columns=["source_id", "language"])
        names = own["source_id"].to_pylist()
        far.append(_far(table.filter(pa.array(judged)), own["language"].filter(pa.array(judged)).to_pylist(), fit))
        sidecar = next(verdicts.rglob(path.name))
        out = np.asarray(pq.read_table(sidecar, columns=["rejected"])["rejected"].to_numpy(), bool)
        ids += [name for name, one in zip(names, judged.tolist(), strict=True) if one]
        score.append(table["score"].to_numpy().astype(np.float64)[judged])
        rejected.append(out[judged].astype(np.float64))
    return Seen(ids, *(np.concatenate(parts) for parts in (score, rejected, far)))


def _far(table: pa.Table, languages: list[str], fit: Path) -> Floats:
    """Tell which of the documents that were read lie so far out that a run of default settings cuts there."""
    known, most = load_score(str(fit)).languages, SelfClean().outlier
    classes = length_class(table["bytes"].to_numpy())
    cut = [least_cut(known[name], length, most) for name, length in zip(languages, classes.tolist(), strict=True)]
    return (table["scored"].to_numpy() & (table["score"].to_numpy() >= np.array(cut))).astype(np.float64)


def figures(rounds: Sequence[Seen]) -> list[dict[str, Any]]:
    """Return each round's AUC, recall and loss, and how far they lie above those of the first round."""
    rounds = common(rounds)
    ids = rounds[0].ids
    drawn = np.array([_draw_of(name) for name in ids])
    weights = draw_weights(drawn.tolist(), SEED)
    of = _parts(ids)
    many = {name: effective_records(drawn[rows].tolist()) for name, rows in of.items()}
    rows: list[dict[str, Any]] = []
    first: dict[str, Floats] = {}
    for seen in rounds:
        good, bad = (seen.score[own] for own in (of["loss"], of["AUC"]))
        draws = {"AUC": auc(good, bad, weights[:, of["loss"]], weights[:, of["AUC"]])}
        shares = {name: own for name, own in of.items() if name != "AUC"}
        draws |= {name: share_above(seen.rejected[own], 1.0, weights[:, own]) for name, own in shares.items()}
        draws |= {name + FAR: share_above(seen.far[of[name]], 1.0, weights[:, of[name]]) for name in ("recall", "loss")}
        first = first or draws
        better = {name: difference(draws[name] - first[name], many[_plain(name)]).as_list() for name in draws}
        figures_ = {name: share(one, many[_plain(name)]).as_list() for name, one in draws.items()}
        rows.append({"figures": figures_, "against_first": better})
    return rows


def _plain(name: str) -> str:
    return name.removesuffix(FAR)


def _parts(ids: Sequence[str]) -> dict[str, Any]:
    """Return which documents each figure is a share of; that of the AUC are the dirty ones."""
    dirty = np.array([name.startswith(DIRT) for name in ids])
    kinds = {kind: np.array([f"/{kind}/" in name for name in ids]) & dirty for kind in ("single", "template")}
    return {"AUC": dirty, "recall": dirty, "loss": ~dirty, **{f"recall, {kind}": own for kind, own in kinds.items()}}


def common(rounds: Sequence[Seen]) -> list[Seen]:
    """Return the rounds' documents that every round judged, in one order: a language may be judged in some only."""
    ids = sorted(set.intersection(*(set(seen.ids) for seen in rounds)))
    places = [{name: row for row, name in enumerate(seen.ids)} for seen in rounds]
    rows = [np.array([place[name] for name in ids], np.int64) for place in places]
    pairs = zip(rounds, rows, strict=True)
    return [Seen(ids, seen.score[own], seen.rejected[own], seen.far[own]) for seen, own in pairs]


def _draw_of(name: str) -> str:
    """Return what is drawn at once: a template with its copies, any other document by itself."""
    return name.rpartition("/")[0] if "/template/" in name else name


def shown(level: float, rows: Sequence[dict[str, Any]]) -> Table:
    """Return a level's figures as a table."""
    head, *body = cells(rows)
    table = Table(title=f"{level:.0%} dirt", title_justify="left")
    for name in head:
        table.add_column(name, no_wrap=True)
    for row in body:
        table.add_row(*row)
    return table


def cells(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return a level's figures, the header first."""
    found = [["round", *rows[0]["figures"], "recall above round 1", "AUC above round 1"]]
    for number, row in enumerate(rows, 1):
        beyond = [interval(row["against_first"][name], "+") if number > 1 else "" for name in ("recall", "AUC")]
        found.append([str(number), *(interval(values) for values in row["figures"].values()), *beyond])
    return found


def main() -> None:
    """Contaminate, run and print."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--data", type=Path, default=DATA / "demo_corpus", help="folder of .jsonl.gz files")
    line.add_argument("--output", type=Path, default=Path("out/contaminate"))
    line.add_argument(
        "--report", metavar="OUT", help="output folder of a finished run whose report is to show the tables"
    )
    line.add_argument("--levels", type=float, nargs="+", default=LEVELS, help="shares of dirt (default: 0 0.05 0.2)")
    asked = line.parse_args()
    if asked.report:
        check_finished(asked.report)
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    documents, kept = read_documents(asked.data), []
    for level in asked.levels:
        folder = (asked.output / f"{level:g}").absolute()
        run_line(folder, documents, level)
        rows = figures(read_rounds(folder / "out"))
        (folder / "figures.json").write_bytes(orjson.dumps(rows))
        report = orjson.loads((folder / "out/report.json").read_bytes())
        console.print(shown(level, rows), f"{report['decision']}; judged: {', '.join(report['rounds'][-1]['judged'])}")
        drawn = [(f"AUC, round {number}", row["figures"]["AUC"]) for number, row in enumerate(rows, 1)]
        kept.append(Shown(f"{level:.0%} dirt", cells(rows), drawn))
    if asked.report:
        found = Experiment("contamination", "Judges trained on dirt", SAID, kept)
        amend_report(asked.report, "experiments", keep(asked.report, found))


if __name__ == "__main__":
    main()

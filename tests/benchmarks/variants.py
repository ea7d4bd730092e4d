"""The variants of a finished run, what each stage leaves of it, and which documents of them a model is trained on.

All documents (raw), those the rules keep, those that deduplication leaves, those each accepted round of self-cleaning
leaves, and in place of the first round, the one of a default run, a random drop of as many documents of every language
and length class, drawn anew for each seed; of a corpus that contaminate.py made also what is left without its dirt: the
most that self-cleaning could have done. Some documents of each source of news, and half as many of the others, are in
no variant: they are for judging.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.draw import uniform
from pipeline.self_clean.scoring import UNKNOWN, length_class
from tests.benchmarks.contaminate import DIRT

RANDOM, CLEANED, CLEAN = "random drop", "round", "without the dirt"
HELD_OUT = 0.1  # of the documents of a source of news, in no variant
NEWS = re.compile(r"news")
FEWEST_NEWS = 15  # held-out documents of a language
PROBED = 40  # documents of a source in the probe, half to learn from
FEWEST_PROBED = 30
TOKENS = 1_012_000  # a million are trained on: a share leaves less than a document over, and the last batch is not full


@dataclass(frozen=True, slots=True)
class Documents:
    """All documents of a run that some variant may hold, in the order of their ids."""

    ids: list[str]
    languages: list[str]
    sources: list[str]
    texts: list[str]
    variants: dict[str, npt.NDArray[np.bool_]]  # variant -> which documents it holds; the random drop is a seed's
    held_out: dict[str, list[str]]  # language -> texts of news
    probed: list[tuple[str, str]]  # text and source


def read_documents(corpus: Path) -> Documents:
    """Read a finished run; raises SystemExit where it kept too little."""
    table = _published(corpus)
    ids, stages = table["id"].to_pylist(), table["stage"].to_pylist()
    rules = np.array([stage != "ingest" for stage in stages])
    deduplicated = rules & np.array([stage != "deduplicate" for stage in stages])
    variants = {"raw": np.ones(len(ids), bool), "rules": rules, "deduplicated": deduplicated}
    rounds = _rejected_by_round(corpus)
    if not rounds:
        raise SystemExit(f"{corpus} holds no verdicts of self-cleaning: it needs a round that counts, and its stages")
    for number, gone in rounds.items():
        variants[f"{CLEANED} {number}"] = deduplicated & np.array([id_ not in gone for id_ in ids])
    languages, sources, texts = (table[name].to_pylist() for name in ("language", "source", "text"))
    dirty = np.array([(name or "").startswith(DIRT) for name in table["source_id"].to_pylist()])
    if dirty.any():
        variants[CLEAN] = deduplicated & ~dirty
    news = np.array([bool(NEWS.search(source)) for source in sources])
    chosen = deduplicated & ~dirty & (uniform(ids, 1, "held out") < np.where(news, HELD_OUT, HELD_OUT / 2))
    away = chosen | _copies(table, {ids[row] for row in np.flatnonzero(chosen).tolist()})
    held: dict[str, list[str]] = defaultdict(list)
    for row in np.flatnonzero(chosen & news & (np.array(languages) != UNKNOWN)).tolist():
        held[languages[row]].append(texts[row])
    return Documents(
        ids=ids,
        languages=languages,
        sources=sources,
        texts=texts,
        variants={name: holds & ~away for name, holds in variants.items()},
        held_out={name: found for name, found in held.items() if len(found) >= FEWEST_NEWS},
        probed=_probed([(texts[row], sources[row]) for row in np.flatnonzero(chosen).tolist()]),
    )


def _published(corpus: Path) -> pa.Table:
    """Return the documents that were kept, and those that were rejected with their text, by id."""
    columns = ["id", "source_id", "language", "source", "text"]
    parts = []
    for path in sorted((corpus / "documents").glob("*.parquet")):
        table = pq.read_table(path, columns=columns)
        for name in ("stage", "duplicate_of"):
            table = table.append_column(name, pa.nulls(len(table), pa.string()))
        parts.append(table)
    parts += [
        pq.read_table(path, columns=[*columns, "stage", "duplicate_of"])
        for path in sorted((corpus / "rejected").glob("*.parquet"))
    ]
    table = pa.concat_tables(parts)
    there = [bool(text and text.strip()) for text in table["text"].to_pylist()]
    return table.filter(pa.array(there)).sort_by("id")


def _rejected_by_round(corpus: Path) -> dict[int, set[str]]:
    """Return the ids that each round of self-cleaning rejected, without rounds whose verdicts were put aside."""
    prints = orjson.loads((corpus / "run.json").read_bytes())["fingerprints"]
    rounds = orjson.loads((corpus / "report.json").read_bytes())["rounds"]
    found: dict[int, set[str]] = {}
    for number in (one["number"] for one in rounds if one["accepted"]):
        name = f"self_clean.round-{number}.verdicts"
        gone = found.setdefault(number, set())
        for path in sorted((corpus / "stages" / name / prints[name] / "verdicts").glob("*.parquet")):
            ids = pq.read_table(corpus / "stages/ingest" / prints["ingest"] / "documents" / path.name, columns=["id"])
            gone |= set(ids.filter(pq.read_table(path, columns=["rejected"])["rejected"])["id"].to_pylist())
    return found


def _copies(table: pa.Table, ids: set[str]) -> npt.NDArray[np.bool_]:
    """Tell which documents duplicate one of these."""
    return np.array([name in ids for name in table["duplicate_of"].to_pylist()])


def with_random_drop(documents: Documents, seed: int) -> Documents:
    """Return documents with the seed's random drop among their variants: of as many as the first round rejected."""
    first = next(name for name in documents.variants if name.startswith(CLEANED))
    drop = random_drop(documents, documents.variants["deduplicated"], documents.variants[first], seed)
    return replace(documents, variants={**documents.variants, RANDOM: drop})


def random_drop(
    documents: Documents, before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_], seed: int
) -> npt.NDArray[np.bool_]:
    """Return `before` without as many documents of each language and length class as `after` lacks, drawn by id."""
    kept = before.copy()
    strata: dict[tuple[str, int], list[int]] = defaultdict(list)
    classes = length_class(np.array([len(text.encode()) for text in documents.texts])).tolist()
    for row in np.flatnonzero(before).tolist():
        strata[documents.languages[row], classes[row]].append(row)
    draws = uniform(documents.ids, seed, "random drop")
    for rows in strata.values():
        lost = int((~after[rows]).sum())
        kept[sorted(rows, key=lambda row: draws[row])[:lost]] = False
    return kept


def _probed(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return texts of sources that have enough, the same number of each at most."""
    by_source: dict[str, list[str]] = defaultdict(list)
    for text, source in pairs:
        by_source[source].append(text)
    return [
        (t, name) for name, found in sorted(by_source.items()) if len(found) >= FEWEST_PROBED for t in found[:PROBED]
    ]


def choose(
    documents: Documents, variant: str, table: str, lengths: npt.NDArray[np.int64], seed: int, tokens: int = TOKENS
) -> list[int]:
    """Return rows of a variant worth so many tokens, in the order of the seed's key; fewer where there are no more.

    The random drop is the seed's own, so that differences from it hold its chance, too.
    """
    documents = with_random_drop(documents, seed)
    order = np.argsort(uniform(documents.ids, seed, "ablate"), kind="stable")
    holds = documents.variants[variant]
    rows = [row for row in order.tolist() if holds[row]]
    if table == "unmatched":
        return _first(rows, lengths, tokens)
    budget = matched_budget(documents, lengths, tokens)
    cells: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in rows:
        cells[documents.languages[row], documents.sources[row]].append(row)
    chosen = {row for cell, share in budget.items() for row in _first(cells[cell], lengths, share)}
    return [row for row in rows if row in chosen]


def matched_budget(
    documents: Documents, lengths: npt.NDArray[np.int64], tokens: int = TOKENS
) -> dict[tuple[str, str], int]:
    """Return the tokens of each language and source, so many in all at most, in proportion to the scarcest variant."""
    least: dict[tuple[str, str], int] = {}
    for number, holds in enumerate(documents.variants.values()):
        held: dict[tuple[str, str], int] = defaultdict(int)
        for row in np.flatnonzero(holds).tolist():
            held[documents.languages[row], documents.sources[row]] += int(lengths[row])
        least = held if not number else {cell: min(n, held.get(cell, 0)) for cell, n in least.items()}
    share = min(1.0, tokens / max(1, sum(least.values())))
    return {cell: int(share * held) for cell, held in least.items()}


def _first(rows: Sequence[int], lengths: npt.NDArray[np.int64], tokens: int) -> list[int]:
    """Return the first rows that fit a number of tokens; one that does not fit is passed over."""
    chosen, taken = [], 0
    for row in rows:
        if taken + lengths[row] <= tokens:
            chosen.append(row)
            taken += int(lengths[row])
    return chosen

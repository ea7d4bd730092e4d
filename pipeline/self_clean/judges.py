"""Judges: an n-gram model and a TransNormer for each fold, trained on the same documents of the other folds."""

import itertools
import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from model import ngram
from model.ngram import Bits, Ngrams
from pipeline import storage
from pipeline.self_clean.evaluators import WEIGHTS, load_tokenizer
from pipeline.self_clean.excerpt import Excerpts
from pipeline.self_clean.rejects import REJECTS
from pipeline.self_clean.signals import (
    CHEAP,
    Floats,
    Ints,
    cheap_signals,
    learnt_signals,
    trigram_bits,
)
from tokenizer.encode import Tokenizer

EVALUATOR_TOKENIZER = "tokenizer.model"  # in OUT/evaluator, beside the rounds
COUNTS = "ngrams.arrow"  # in a fold's folder, beside the weights
TABLES = ("unigrams", "ones", "twos", "threes")  # its columns
MOST_BITS = 24  # of the cells of a table of n-grams; 2^24 of them are 270 MB
STRETCH = 64  # tokens of a document that know only of each other, in a reading for context_gain
JUDGING_BYTES = 650_000_000  # of memory: torch, TransNormers of the default size and their batch
CONTRASTS = np.array([CHEAP.index(name) for name in ("reject_unigrams", "reject_trigrams")])


@dataclass(frozen=True, slots=True)
class Judges:
    """Where the trained judges are, by fold."""

    tokenizer: str  # path
    counts: tuple[str, ...]  # paths of n-gram counts
    weights: tuple[str, ...]  # folders of TransNormers
    rejects: str = ""  # path of n-gram counts of what the rules rejected; empty where that was too little

    @property
    def memory(self) -> int:
        """Bytes of a process that holds all of them, as one does whose n-grams come from a store."""
        return JUDGING_BYTES + (len(self.counts) + 1) * (16 << MOST_BITS)

    def load_tokenizer(self) -> Tokenizer:
        """Return the tokenizer of all."""
        return load_tokenizer(self.tokenizer)


def published(evaluator: str, number: int, folds: int) -> Judges:
    """Return the judges of a round in a finished run's OUT/evaluator."""
    folders = tuple(storage.join(evaluator, f"round-{number}", f"fold-{fold}") for fold in range(folds))
    tokenizer = storage.join(evaluator, EVALUATOR_TOKENIZER)
    rejects = storage.join(evaluator, f"round-{number}", REJECTS, COUNTS)
    counts = tuple(storage.join(folder, COUNTS) for folder in folders)
    return Judges(tokenizer, counts, folders, rejects if storage.exists(rejects) else "")


def write_counts(path: str, model: Ngrams, languages: list[str]) -> int:
    """Write n-gram counts and the languages by number, an Arrow IPC file of one row; return the bytes.

    Its columns are lists of the tables' cells, row by row, so that a process can use the file as it lies on the disk.
    """
    columns = {name: _one_list(pa.array(getattr(model, name).ravel())) for name in TABLES}
    columns["languages"] = _one_list(pa.array(languages, pa.string()))
    row = pa.record_batch(columns)
    with storage.create(path) as file:
        with pa.ipc.new_file(file, row.schema) as writer:
            writer.write_batch(row)
        return int(file.tell())


def _one_list(values: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array([0, len(values)], pa.int64()), values)


@cache
def load_counts(path: str) -> tuple[Ngrams, dict[str, int]]:
    """Load n-gram counts and the number of each language once a process.

    On a disk the file is mapped: the processes of a machine share one copy, of which they read what they ask for.
    """
    row = pa.ipc.open_file(_mapped(path)).get_batch(0)
    languages = row["languages"].values.to_pylist()
    unigrams, ones, twos, threes = (row[name].values.to_numpy() for name in TABLES)
    by_language = (len(languages), len(unigrams) // max(1, len(languages)))
    model = Ngrams(unigrams.reshape(by_language), ones.reshape(*by_language, 3), twos.reshape(-1, 3), threes)
    return model, {name: number for number, name in enumerate(languages)}


def _mapped(path: str) -> pa.NativeFile:
    """Open a file in memory: one on a disk where it lies, one in a store as a copy.

    It is read once through before: what a disk or a file server cannot read is an error there, and would be a signal
    that ends the process where the file is mapped.
    """
    with storage.open_input(path) as file:
        if not storage.is_local(path):
            return pa.BufferReader(file.read())
        while file.read(1 << 20):
            pass
    return pa.memory_map(path)


@cache
def load_judge(folder: str) -> Any:
    """Load a TransNormer once a process, onto its own GPU where torchrun started it beside one."""
    from model.checkpoint import load_model  # torch takes seconds to import
    from model.score import Scoring, own_device, prepare

    with storage.on_disk(folder, WEIGHTS) as here:
        model = load_model(here)
    device = own_device()
    return prepare(model, Scoring() if device == "cpu" else Scoring(device=device, batch_tokens=1 << 16))


def by_ngrams(judges: Judges, judge: int, found: Excerpts, languages: list[str]) -> Floats:
    """Return the signals CHEAP (documents, signals) by one judge; NaN where it never saw the language."""
    bits, known = _bits(judges.counts[judge], found, languages)
    rejects, rejected = _bits(judges.rejects, found, languages) if judges.rejects else (bits, known)
    signals = cheap_signals(bits, rejects, found.size)
    signals[np.ix_(~rejected, CONTRASTS)] = 0
    signals[~known] = np.nan
    return signals


def _bits(path: str, found: Excerpts, languages: list[str]) -> tuple[Bits, npt.NDArray[np.bool_]]:
    """Return what documents take by the counts of a file, and which of them are of a language that it has."""
    model, numbers = load_counts(path)
    number = np.array([numbers.get(name, -1) for name in languages], np.int64)
    return ngram.measure(model, found.windows, found.owner, np.maximum(number, 0)), number >= 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a TransNormer found in documents."""

    signals: Floats  # (documents, LEARNT)
    nats: Floats  # (documents)
    tokens: Ints  # (documents): of the excerpts


def by_transnormer(judges: Judges, judge: int, found: Excerpts, cheap: Floats) -> Reading:
    """Return the signals LEARNT of documents by one judge; `cheap` holds their signals CHEAP by the same."""
    from model.score import losses  # torch takes seconds to import

    model = load_judge(judges.weights[judge])
    begin = np.array([model.model.config.eos])
    parts = losses(model, [np.concatenate([begin, window]) for window in found.windows])
    by_document = _joined(parts, found.owner, len(found.size))
    signals = learnt_signals(by_document, trigram_bits(cheap), found.size)
    tokens = np.array([len(one) for one in by_document], np.int64)
    nats = np.array([one.sum() for one in by_document], np.float64)
    return Reading(signals, nats, tokens)


def context_gains(judges: Judges, judge: int, found: Excerpts, reading: Reading) -> Floats:
    """Return what the past tells a judge: bits per byte (documents) without it, less those of a reading with it.

    Without it the state is emptied every STRETCH tokens, and the token before is all that a stretch is begun with.
    """
    from model.score import losses  # torch takes seconds to import

    model = load_judge(judges.weights[judge])
    begin = np.array([model.model.config.eos])
    pieces, owner = [], []
    for window, document in zip(found.windows, found.owner.tolist(), strict=True):
        whole = np.concatenate([begin, window])
        stretches = [whole[start : start + STRETCH + 1] for start in range(0, len(window), STRETCH)]
        pieces += stretches
        owner += [document] * len(stretches)
    each = np.array([part.sum(dtype=np.float64) for part in losses(model, pieces)], np.float64)
    nats = np.bincount(np.array(owner, np.int64), weights=each, minlength=len(found.size))
    return np.where(reading.tokens > 0, (nats - reading.nats) / math.log(2) / np.maximum(found.size, 1), np.nan)


def _joined(parts: list[npt.NDArray[Any]], owner: Ints, count: int) -> list[Floats]:
    """Return the losses of each document from those of its windows."""
    edges = np.searchsorted(owner, np.arange(count + 1))
    empty = np.zeros(0)
    return [np.concatenate([empty, *parts[start:stop]]) for start, stop in itertools.pairwise(edges.tolist())]

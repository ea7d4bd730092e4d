"""Evaluators: small TransNormers, one a fold, each trained on documents of the other folds only."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from model.config import TrainingConfig, TransNormerConfig
from model.train import train
from pipeline import storage
from pipeline.config import Evaluator
from pipeline.draw import uniform
from pipeline.needs import Needs
from pipeline.self_clean.folds import read_folds
from pipeline.self_clean.scratch import at_work
from pipeline.shards import DocumentShard
from pipeline.tally import text_bytes
from pipeline.token_shards import index_table, token_column, token_schema, write_arrow
from pipeline.verdicts import read_kept
from tokenizer.encode import Tokenizer

VERSION = 2
TRAINING_BYTES = 1_500_000_000  # of memory: the largest process of a run with the default sizes, torch and all
LONGEST_SHARE = 0.01  # of the training tokens that one document may be


@cache
def load_tokenizer(path: str) -> Tokenizer:
    """Load a tokenizer once a process."""
    with storage.open_input(path) as file:
        return Tokenizer(file.read())


@dataclass(frozen=True, slots=True)
class Corpus:
    """What stage 4 reads, the same in every round."""

    verdicts: tuple[str, ...]  # folders of the stages before
    folds: str  # folder
    tokenizer: str  # path of the evaluators'
    anchor_rate: dict[str, float]  # by language
    seed: int

    def anchor(self, documents: pa.Table) -> npt.NDArray[np.bool_]:
        """Tell which documents belong to the anchor sample."""
        draws = uniform(documents["id"].to_pylist(), self.seed, "anchor")
        rates = [self.anchor_rate.get(name, 0.0) for name in documents["language"].to_pylist()]
        return draws < np.asarray(rates)


@dataclass(frozen=True, slots=True)
class SampleShard:
    """Work on one document shard: what trains each evaluator, as tokens, and what is counted beside it."""

    folder: str
    corpus: Corpus
    rejected_before: tuple[str, ...]  # verdicts of the round before
    rates: tuple[dict[str, float], ...]  # by judge: of a language's documents that train the TransNormer
    counted: tuple[dict[str, float], ...]  # of those that the n-gram model counts, them and more
    longest: int  # characters of a document that are trained on
    round: int  # each draws anew, so that rounds that agree say something

    def __call__(self, shard: DocumentShard) -> dict[str, Any]:
        """Write two token shards a fold; return the record, with the tokens by fold and language."""
        tokenizer = load_tokenizer(self.corpus.tokenizer)
        fold = read_folds(self.corpus.folds, shard)
        schema = token_schema(tokenizer.dtype)
        trained: list[list[pa.Table]] = [[] for _ in self.rates]
        more: list[list[pa.Table]] = [[] for _ in self.rates]
        columns = ("id", "source", "language", "text")
        size = 0
        for rows, documents in read_kept(shard, (*self.corpus.verdicts, *self.rejected_before), columns):
            draws = self._draws(documents)
            others = fold[rows] != np.arange(len(self.rates))[:, None]
            counts = others & (draws < self._rates(documents, self.counted))
            trains = counts & (draws < self._rates(documents, self.rates))
            chosen = counts.any(axis=0)
            size += text_bytes(documents)
            taken = documents.filter(pa.array(chosen))
            tokens, _ = token_column(self._encode(taken, tokenizer), tokenizer)
            encoded = taken.drop_columns(["text"]).append_column("tokens", tokens).cast(schema)
            for number in range(len(self.rates)):
                trained[number].append(encoded.filter(pa.array(trains[number, chosen])))
                more[number].append(encoded.filter(pa.array((counts & ~trains)[number, chosen])))
        shards = [self._write(f"fold-{number}", shard, parts, schema) for number, parts in enumerate(trained)]
        others = [self._write(f"more-{number}", shard, parts, schema) for number, parts in enumerate(more)]
        documents = sum(s["documents"] for s in (*shards, *others))
        return {"shards": shards, "more": others, "documents": documents, "bytes": size}

    def _encode(self, taken: pa.Table, tokenizer: Tokenizer) -> list[npt.NDArray[np.unsignedinteger]]:
        """Return the tokens of documents; of one that would be most of the training, a stretch chosen by its id."""
        texts, ids = taken["text"].to_pylist(), taken["id"].to_pylist()
        places = uniform(ids, self.corpus.seed, "stretch")
        starts = [int(place * max(0, len(text) - self.longest)) for place, text in zip(places, texts, strict=True)]
        return tokenizer.encode([text[at : at + self.longest] for at, text in zip(starts, texts, strict=True)])

    def _draws(self, documents: pa.Table) -> npt.NDArray[np.float64]:
        """Return a draw for each document (documents), 1 for the anchor sample, which trains no judge."""
        draws = uniform(documents["id"].to_pylist(), self.corpus.seed, f"train {self.round}")
        return np.where(self.corpus.anchor(documents), 1.0, draws)

    def _rates(self, documents: pa.Table, rates: Sequence[Mapping[str, float]]) -> npt.NDArray[np.float64]:
        """Return the rate of each document for each judge (judges, documents)."""
        names = documents["language"].to_pylist()
        return np.array([[by_language.get(name, 0.0) for name in names] for by_language in rates])

    def _write(self, name: str, shard: DocumentShard, parts: list[pa.Table], schema: pa.Schema) -> dict[str, Any]:
        """Write what trains one judge from this shard to a folder."""
        table = pa.concat_tables([schema.empty_table(), *parts])
        path = storage.join(self.folder, name, shard.name + ".arrow")
        digest = write_arrow(path, [table], schema)
        lengths = np.diff(table["tokens"].combine_chunks().offsets.to_numpy()) if len(table) else np.zeros(0, np.int64)
        languages: dict[str, int] = {}
        for language, length in zip(table["language"].to_pylist(), lengths.tolist(), strict=True):
            languages[language] = languages.get(language, 0) + length
        sizes = {"documents": len(table), "tokens": int(lengths.sum()), "languages": languages}
        return {"path": shard.name + ".arrow", "split": "train", "sha256": digest, **sizes}


@dataclass(frozen=True, slots=True)
class TrainTask:
    """One evaluator to train, or to take from a folder."""

    key: str  # fold-K
    shards: tuple[str, ...]  # JSON of the token shards, by the sample's records
    given: str  # folder with weights; empty: train

    def read(self) -> list[dict[str, Any]]:
        """Return the token shards."""
        return [orjson.loads(shard) for shard in self.shards]

    @property
    def tokens(self) -> int:
        """The tokens of the shards."""
        return sum(int(shard["tokens"]) for shard in self.read())


@dataclass(frozen=True, slots=True)
class TrainingKey:
    """What says which documents an evaluator did not see: those of one fold, of these folds, and the anchors."""

    folds: str  # fingerprint of their assignment to documents
    count: int
    seed: int
    anchor_documents: int  # more of them are some that it was trained on


KEY = "trained_on.json"  # beside the weights
BESIDE = ".json"  # by which a key's name goes on from that of the folder of weights that are trained elsewhere


@dataclass(frozen=True, slots=True)
class TrainEvaluator:
    """Work that trains one evaluator; killed, it goes on from its last checkpoint."""

    folder: str
    sample: str  # folder of the sample stage
    tokenizer: str
    evaluator: Evaluator
    seed: int
    key: TrainingKey

    @property
    def needs(self) -> Needs:
        """Memory for torch, weights, moments and a step's activations."""
        return Needs(memory=TRAINING_BYTES)

    def __call__(self, task: TrainTask) -> dict[str, Any]:
        """Write weights, configuration and log to the task's folder; return its record."""
        target = storage.join(self.folder, task.key)
        if task.given:
            return {**copy_weights(task.given, target), "given": task.given}
        data, files = storage.join(self.sample, task.key), ["index.json", *(shard["path"] for shard in task.read())]
        self.index(task)
        with storage.on_disk(data, files) as here, at_work(target) as (place, follow):
            result = train(here, place, self.model(), self.training(task), say=follow)
        told = self.told(task, result["tokens"])
        storage.write_json(storage.join(target, KEY), told)
        note = f"{task.key}: loss {result['loss']:.3f} nats per token after {result['tokens']:,} tokens"
        return {
            "tokens": result["tokens"],
            "loss": result["loss"],
            "languages": told["tokens_by_language"],
            "note": note,
            "given": "",
        }

    def index(self, task: TrainTask) -> str:
        """Write index.json beside the shards that train a judge; return its checksum."""
        table = index_table(load_tokenizer(self.tokenizer), storage.checksum(self.tokenizer), task.read())
        path = storage.join(self.sample, task.key, "index.json")
        storage.write_json(path, table)
        return storage.checksum(path)

    def told(self, task: TrainTask, tokens: int) -> dict[str, Any]:
        """Return the key of a judge that was trained on so many tokens of its shards."""
        languages: dict[str, int] = {}
        for shard in task.read():
            for name, count in shard["languages"].items():
                languages[name] = languages.get(name, 0) + count
        seen = {name: round(count * tokens / task.tokens) for name, count in languages.items()}
        told = {**asdict(self.key), "fold_left_out": task.key, "training_seed": self.seed, "tokens_by_language": seen}
        return {**told, "shards": task.read()}

    def model(self) -> TransNormerConfig:
        """Return the judge's configuration."""
        tokenizer = load_tokenizer(self.tokenizer)
        names = ("width", "layers", "heads", "hidden", "tie_embeddings", "initial_std")
        sizes = {name: value for name, value in asdict(self.evaluator).items() if name in names}
        return TransNormerConfig(vocab_size=tokenizer.vocab_size, eos=tokenizer.end_of_document, **sizes)

    def training(self, task: TrainTask) -> TrainingConfig:
        """Return the training of one pass at most: no document is seen twice."""
        settings = self.evaluator
        where: Any = {"device": settings.device, "precision": settings.precision}
        batch = max(1, settings.batch_tokens // settings.context_length)
        step = batch * settings.context_length
        return TrainingConfig(
            tokens=max(1, min(settings.train_tokens, task.tokens) // step) * step,
            context_length=settings.context_length,
            batch=batch,
            learning_rate=settings.learning_rate,
            seed=self.seed,
            threads=settings.threads,
            **where,
            checkpoint_seconds=10.0,
        )


WEIGHTS = ("model.safetensors", "config.json")


def checksums(given: str) -> list[str]:
    """Return what identifies a trained evaluator: the checksums of its files, and of its key."""
    key = orjson.dumps(read_key(given), option=orjson.OPT_SORT_KEYS)
    return [*(storage.checksum(storage.join(given, name)) for name in WEIGHTS), sha256(key).hexdigest()]


def read_key(folder: str) -> dict[str, Any]:
    """Return what weights say that they were trained on; nothing where they do not say.

    KEY among them says so. Of weights that `model.train` trained on shards that were laid out (elsewhere.py) it lies
    beside their folder, and holds where their run.json names the index of those shards.
    """
    if storage.exists(path := storage.join(folder, KEY)):
        return _table(path)
    beside, run, result = folder + BESIDE, *(storage.join(folder, name) for name in ("run.json", "result.json"))
    if not all(map(storage.exists, (beside, run, result))):
        return {}
    told, index = _table(beside), _table(run).get("shards")
    if index is None or told.pop("index", None) != index:
        return {}
    try:
        share = _table(result)["tokens"] / told.pop("tokens")
        seen = {name: round(count * share) for name, count in told["tokens_by_language"].items()}
    except (KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise ValueError(f"{beside} is not what a run writes") from error
    return {**told, "tokens_by_language": seen}


def _table(path: str) -> dict[str, Any]:
    """Return a JSON object; raises ValueError, with the path, for what is none."""
    try:
        found = storage.read_json(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is not what a run writes")  # noqa: TRY004 - of a file, not of an argument
    return found


def copy_weights(given: str, target: str) -> dict[str, Any]:
    """Copy the weights of a trained evaluator; return the record, with the tokens it saw where its key tells them."""
    for name in WEIGHTS:
        storage.copy(storage.join(given, name), storage.join(target, name))
    key = read_key(given)
    if key:
        storage.write_json(storage.join(target, KEY), key)
    return {"tokens": 0, "loss": 0.0, "languages": key.get("tokens_by_language"), "note": f"taken from {given}"}


def training_note(folder: str) -> str:
    """Say how far evaluators are, and how long they take yet, from the last lines of their logs, but in a store."""
    notes: list[str] = []
    if not storage.is_local(folder):
        return ""
    for path in sorted(Path(folder).glob("fold-*/log.jsonl")):
        lines = path.read_bytes().splitlines()
        if lines and lines[-1].endswith(b"}"):
            last = orjson.loads(lines[-1])
            left = round(last["seconds"] / last["step"] * (last["steps"] - last["step"]))
            far = f"step {last['step']} of {last['steps']}, loss {last['loss']:.2f}"
            notes.append(f"{path.parent.name}: {far}" + (f", about {left:,} s left" if left else ""))
    return " · ".join(notes)

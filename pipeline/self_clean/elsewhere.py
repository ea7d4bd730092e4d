"""Judges that are trained elsewhere, as by torchrun on a machine with GPUs: what their training is given.

    JUDGES/tokenizer.model         of all
    JUDGES/round-N/fold-K.toml     how `model.train` is to train the judge that leaves out fold K
    JUDGES/round-N/fold-K.json     what those weights will have been trained on: their key, and the checksum of the
                                   index of their shards, which model.train writes into its run.json
    JUDGES/round-N/fold-K/         where it is to write them

With --evaluator JUDGES they are then taken as if the run had trained them.
"""

import shlex
from collections.abc import Sequence
from dataclasses import asdict

import orjson

from pipeline import storage
from pipeline.self_clean.evaluators import BESIDE, TrainEvaluator, TrainTask
from pipeline.self_clean.judges import EVALUATOR_TOKENIZER

JUDGES = "judges"  # folder of an output
NOT_ASKED = ("vocab_size", "eos")  # of a model's configuration: they come from the shards


def lay_out(trainer: TrainEvaluator, tasks: Sequence[TrainTask], output: str, number: int) -> list[str]:
    """Write what the trainings of a round need into OUT/judges; return their commands."""
    place = storage.join(output, JUDGES, f"round-{number}")
    storage.copy(trainer.tokenizer, storage.join(output, JUDGES, EVALUATOR_TOKENIZER))
    commands = []
    for task in tasks:
        weights = storage.join(place, task.key)
        model = {name: value for name, value in asdict(trainer.model()).items() if name not in NOT_ASKED}
        with storage.create(weights + ".toml") as file:
            file.write((_toml("model", model) + _toml("training", asdict(trainer.training(task)))).encode())
        key = {**trainer.told(task, task.tokens), "index": trainer.index(task), "tokens": task.tokens}
        storage.write_json(weights + BESIDE, key)
        given = ["--shards", storage.join(trainer.sample, task.key), "--output", weights, "--config", weights + ".toml"]
        commands.append(shlex.join(["torchrun", "-m", "model.train", *given]))
    return commands


def _toml(name: str, table: dict[str, object]) -> str:
    """Return a table of numbers, strings and truth values, whose JSON is TOML."""
    return "\n".join([f"[{name}]", *(f"{key} = {orjson.dumps(value).decode()}" for key, value in table.items()), ""])

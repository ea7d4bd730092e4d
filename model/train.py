"""Train a TransNormer on token shards: `python -m model.train --shards out/demo/shards`.

In several processes: `torchrun --nproc-per-node 2 -m model.train --shards …`; model/parallel.py says who does
what. All of them must see the shards and the output.

This file decides what is to be done and imports torch only when there is something to train, so that help and
configuration errors come at once. The loop is model/training.py.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from model.config import TrainingConfig, TransNormerConfig, read_config, require_processes
from model.shards import Index, read_index
from model.whole_files import unfinished, write_atomically


def _print(line: str) -> None:
    print(line, flush=True)


def train(
    shards: str | Path,
    output: str | Path,
    model: TransNormerConfig,
    training: TrainingConfig,
    say: Callable[[str], None] = _print,
) -> dict[str, Any]:
    """Train a model on the shards and return what result.json holds.

    Writes to `output`: run.json (what is trained on what), log.jsonl (a line every `log_steps`, flushed:
    step, steps, tokens, loss in nats per token since the line before or the start, seconds,
    tokens_per_second, learning_rate, and where validated validation_loss and perplexity),
    checkpoint.safetensors until it is done, then model.safetensors and config.json, and last result.json
    (steps, tokens, loss, validation_loss and perplexity or null, parameters, seconds). Called again after it
    was killed, it goes on from the checkpoint to bit-identical weights; called again after it finished, it
    says so and returns. Started by torchrun, every process calls it alike and the first one writes. Raises
    ValueError or FileNotFoundError, one plain line, if the shards do not fit the model, the processes cannot
    share it or `output` holds another run or other files, FloatingPointError if the loss is no number.
    """
    index, output = read_index(shards), Path(output)
    _require_fit(index, model)
    require_processes(int(os.environ.get("WORLD_SIZE", "1")), model, training)
    first = os.environ.get("RANK", "0") == "0"  # torchrun sets both
    if first:
        _claim(output, {"model": asdict(model), "training": asdict(training), **_shards(index)})
    result = output / "result.json"
    if result.is_file() and first:
        say(f"{output} is finished already: nothing to do")
    elif not result.is_file():
        from model.training import run

        if first and not index.split("validation"):
            say("no validation: no shard of the split 'validation' holds a document")
        run(index, output, model, training, say)
    found: dict[str, Any] = orjson.loads(result.read_bytes())
    return found


def _shards(index: Index) -> dict[str, str]:
    return {"shards": index.fingerprint, "tokenizer": index.tokenizer}


def _require_fit(index: Index, model: TransNormerConfig) -> None:
    for name in ("vocab_size", "eos"):
        if getattr(index, name) != getattr(model, name):
            raise ValueError(f"{name} is {getattr(index, name)} in the shards, {getattr(model, name)} in the model")
    if not index.split("train"):
        raise ValueError(f"{index.folder}: no shard of the split 'train' holds a document")


def _claim(output: Path, run: dict[str, Any]) -> None:
    """Write run.json, or compare with the one that is there."""
    path = output / "run.json"
    if not path.is_file():
        entries = set(output.iterdir() if output.is_dir() else []) - set(unfinished(output))
        if foreign := sorted(entry.name for entry in entries):
            raise ValueError(f"{output} holds other files ({foreign[0]}, …): choose a new folder")
        output.mkdir(parents=True, exist_ok=True)
        write_atomically(path, orjson.dumps(run, option=orjson.OPT_INDENT_2))
        return
    there, wanted = _flat(orjson.loads(path.read_bytes())), _flat(run)
    for key in sorted(there.keys() | wanted.keys()):
        if there.get(key) != wanted.get(key):
            raise ValueError(
                f"{output} holds another run ({key} was {there.get(key)!r}, now {wanted.get(key)!r}): "
                "choose another output"
            )


def _flat(run: dict[str, Any]) -> dict[str, Any]:
    tables = {
        f"{table}.{key}": value
        for table in ("model", "training")
        for key, value in run[table].items()
        if key not in {"tensor_parallel", "device"}  # where it runs, which may change between starts
    }
    return {**tables, "shards": run["shards"]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train from the command line: 0 trained, now or before; 1 diverged; 2 a usage error; 130 stopped by Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m model.train", description="Train a TransNormer on token shards.")
    parser.add_argument("--shards", required=True, help="folder with index.json and the shards it lists")
    parser.add_argument(
        "--output", help="folder for the model, its log and its checkpoint; default: the folder model beside the shards"
    )
    parser.add_argument("--config", help="TOML file with [model] and [training]; without it, every default")
    options = parser.parse_args(arguments)
    try:
        index = read_index(options.shards)
        model, training = read_config(options.config, index.vocab_size, index.eos)
        output = Path(options.output or Path(options.shards).absolute().parent / "model")
        if os.environ.get("RANK", "0") == "0":
            for left in unfinished(output):  # by a start that was killed: who trains from the command line is alone
                left.unlink()
        train(options.shards, output, model, training)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    except (ValueError, OSError, FloatingPointError) as error:
        rank = os.environ.get("RANK", "0")
        print(f"error: {error}" if rank == "0" else f"error in process {rank}: {error}", file=sys.stderr)
        return 1 if isinstance(error, FloatingPointError) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

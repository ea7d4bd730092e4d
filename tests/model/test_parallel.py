"""Several processes under torchrun train what one trains, and either can go on from the other's checkpoint."""

import json
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # no stubs are locked
import pytest
import torch

from model.checkpoint import load_model, weights
from model.config import TrainingConfig, TransNormerConfig
from model.tensor_parallel import is_split, join, split
from model.train import main, train
from model.transnormer import TransNormer
from tests.model.shards import EOS, VOCABULARY, documents, write_shards

MODEL: dict[str, Any] = {"width": 16, "layers": 2, "heads": 2, "hidden": 24, "initial_std": 0.2}
TRAINING: dict[str, Any] = {"tokens": 18 * 4 * 32, "batch": 4, "context_length": 32, "log_steps": 1, "threads": 1}
EVERYTHING: dict[str, Any] = {"norm": "layer", "lrpe": "all", "tie_embeddings": True}
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "fsdp": ({}, {}),
    "fsdp-options": (EVERYTHING, {"accumulation": 2, "recompute": True}),
    "tensor": ({}, {"tensor_parallel": 2}),
    "tensor-options": (EVERYTHING, {"tensor_parallel": 2, "accumulation": 2, "recompute": True}),
    "tensor-rms-ungated": ({"norm": "rms", "gate": False}, {"tensor_parallel": 2}),
    "tensor-bf16": ({}, {"tensor_parallel": 2, "precision": "bf16"}),
    "grid/tensor-fsdp": (EVERYTHING, {"tensor_parallel": 2, "accumulation": 2}),  # four processes
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 60 training documents, an epoch of which ends within the runs, and 7 for validation."""
    folder = tmp_path_factory.mktemp("shards")
    return write_shards(folder, [("train", documents(60)), ("validation", documents(7, seed=1))])


def torchrun(processes: int, *options: str) -> list[str]:
    """Return the command that starts several processes."""
    return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), *options]


def write_config(path: Path, model: dict[str, Any], training: dict[str, Any]) -> None:
    """Write a configuration file; JSON's values are TOML's."""
    tables = {"model": MODEL | model, "training": TRAINING | training}
    lines = [
        line
        for name, table in tables.items()
        for line in (f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()))
    ]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def finished(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make every run and return their folder: NAME by two or four processes, NAME-alone by one."""
    folder = tmp_path_factory.mktemp("runs")
    for name, (model, training) in RUNS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        write_config(folder / f"{name}.toml", model, training)
    for processes, runs in ((2, folder), (4, folder / "grid")):
        # On busy cores one start in many has failed before its first step; torchrun then begins again.
        command = torchrun(processes, "--max-restarts", "1", "-m", "tests.model.train_several", str(shards), str(runs))
        done = subprocess.run(command, check=False, timeout=600, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-8000:]
    for name, (model, training) in RUNS.items():
        alone = TrainingConfig(**{**TRAINING, **training, "tensor_parallel": 1})
        config = TransNormerConfig(vocab_size=VOCABULARY, eos=EOS, **{**MODEL, **model})
        train(shards, folder / f"{name}-alone", config, alone, lambda _: None)
    return folder


def log(output: Path) -> list[dict[str, float]]:
    """Return the lines of a run's log."""
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", RUNS)
def test_several_processes_give_the_losses_and_weights_of_one(finished: Path, name: str) -> None:
    """Every step's loss, the validation loss and the weights that one process loads are the same to rounding."""
    together, alone = log(finished / name), log(finished / f"{name}-alone")
    tolerance = 5e-3 if name.endswith("bf16") else 2e-5
    assert [line["tokens"] for line in together] == [line["tokens"] for line in alone]
    for key, lines in (("loss", slice(None)), ("validation_loss", slice(-1, None))):
        found, expected = ([line[key] for line in run[lines]] for run in (together, alone))
        assert found == pytest.approx(expected, rel=tolerance)
    assert alone[-1]["loss"] < 0.8 * alone[0]["loss"]  # weights that never changed would be equal too
    one, other = (weights(load_model(folder)) for folder in (finished / name, finished / f"{name}-alone"))
    for weight in other:
        torch.testing.assert_close(one[weight], other[weight], rtol=0, atol=20 * tolerance)


def test_the_result_counts_the_whole_model(finished: Path) -> None:
    """Parts of weights are counted once, whoever holds them."""
    counts = {name: json.loads((finished / name / "result.json").read_text())["parameters"] for name in RUNS}
    alone = {name: json.loads((finished / f"{name}-alone/result.json").read_text())["parameters"] for name in RUNS}
    assert counts == alone


@pytest.mark.parametrize("parallel", [1, 2], ids=["fsdp", "tensor"])
def test_one_process_goes_on_from_the_checkpoint_of_two(shards: Path, tmp_path: Path, parallel: int) -> None:
    """After torchrun was killed, one process continues, to the losses of a run that one process made alone."""
    config = tmp_path / "model.toml"
    write_config(config, {}, {"checkpoint_steps": 3, "tensor_parallel": parallel})
    options = ["--shards", str(shards), "--config", str(config), "--output"]
    kill_at(8, torchrun(2, "-m", "model.train", *options, str(tmp_path / "run")))
    assert not (tmp_path / "run" / "result.json").exists()
    write_config(config, {}, {"checkpoint_steps": 3})
    assert main([*options, str(tmp_path / "run")]) == 0
    assert main([*options, str(tmp_path / "alone")]) == 0
    found, expected = ([line["loss"] for line in log(tmp_path / name)] for name in ("run", "alone"))
    assert found == pytest.approx(expected, rel=2e-5)


def kill_at(step: int, command: list[str]) -> None:
    """Run a command and kill it and the processes that it started when a step is reported."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(f"step {step}/"):
                break
        parent = psutil.Process(process.pid)
        for one in (parent, *parent.children(recursive=True)):
            one.kill()
    assert process.returncode == -signal.SIGKILL


def test_parts_of_weights_join_to_the_whole() -> None:
    """Splitting every weight and joining the parts is the identity, and each split part is a share of it."""
    config = TransNormerConfig(vocab_size=VOCABULARY, eos=EOS, **{**MODEL, **EVERYTHING})
    shared = 0
    for name, whole in weights(TransNormer(config)).items():
        parts = [split(name, whole, place, 2) for place in range(2)]
        if is_split(name):
            shared += 1
            assert all(part.numel() == whole.numel() / 2 for part in parts)
            assert torch.equal(join(name, parts), whole)
        else:
            assert all(torch.equal(part, whole) for part in parts)
    assert shared == 2 * 7  # qkvu, theta, gain, bias, out; vu, out


def test_a_part_holds_whole_heads() -> None:
    """The first of two processes has the first half of q, of k, of v and of u, not the first half of the rows."""
    whole = torch.arange(4 * 16.0)[:, None].expand(-1, 16)
    first = split("layers.0.attention.qkvu.weight", whole, 0, 2)[:, 0].tolist()
    assert first == [16.0 * projection + row for projection in range(4) for row in range(8)]


def test_the_place_of_a_run_is_not_what_it_is(shards: Path, tmp_path: Path) -> None:
    """A run that was started with tensor parallelism may go on without it, and no other setting may change."""
    config = TransNormerConfig(vocab_size=VOCABULARY, eos=EOS, **MODEL)
    training = TrainingConfig(**TRAINING)
    train(shards, tmp_path, config, training, lambda _: None)
    facts = json.loads((tmp_path / "run.json").read_text())
    facts["training"] = asdict(replace(training, tensor_parallel=2))
    (tmp_path / "run.json").write_text(json.dumps(facts))
    train(shards, tmp_path, config, training, lambda _: None)
    with pytest.raises(ValueError, match=r"training\.accumulation was 1, now 2"):
        train(shards, tmp_path, config, replace(training, accumulation=2), lambda _: None)

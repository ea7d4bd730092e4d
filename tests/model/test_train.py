"""Training learns, goes on after an interruption to the same bits, and explains what it cannot do."""

import json
import math
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from model.checkpoint import load_model, weights
from model.config import TrainingConfig, TransNormerConfig, require_processes
from model.data import PackedTokens
from model.parallel import Grid
from model.step import learner_of, learning_rate, take_step
from model.train import main, train
from model.transnormer import TransNormer
from tests.model.shards import EOS, VOCABULARY, documents, write_shards

MODEL = TransNormerConfig(vocab_size=VOCABULARY, eos=EOS, width=16, layers=2, heads=2, hidden=32)
TRAINING = TrainingConfig(
    tokens=12 * 4 * 32,
    batch=4,
    context_length=32,
    log_steps=1,
    threads=1,
    checkpoint_steps=4,
    learning_rate=1e-2,
)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Shards of 60 training and 5 validation documents."""
    return write_shards(tmp_path / "shards", [("train", documents(60)), ("validation", documents(5, seed=1))])


def log(output: Path) -> list[dict[str, float]]:
    """Return the lines of a run's log."""
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


def interrupt_at(step: int) -> Callable[[str], None]:
    """Return a listener that raises KeyboardInterrupt when a step is reported."""

    def say(line: str) -> None:
        if line.startswith(f"step {step}/"):
            raise KeyboardInterrupt

    return say


def quiet(_: str) -> None:
    """Say nothing."""


def same_weights(one: Path, other: Path) -> bool:
    """Compare two finished runs bit for bit."""
    first, second = weights(load_model(one)), weights(load_model(other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_training_learns(shards: Path, tmp_path: Path) -> None:
    """A tiny model overfits tiny shards: far below the loss of guessing, on the validation documents too."""
    training = replace(TRAINING, tokens=40_000, log_steps=100, batch=8, checkpoint_steps=0, learning_rate=2e-2)
    result = train(shards, tmp_path / "run", MODEL, training, quiet)
    assert log(tmp_path / "run")[0]["loss"] > result["loss"]
    assert result["loss"] < 1.5
    assert result["validation_loss"] < 1.7
    assert result["perplexity"] == pytest.approx(2.718281828 ** result["validation_loss"])


@pytest.mark.parametrize("step", [1, 4, 7, 12])
def test_an_interrupted_run_ends_with_the_same_bits(shards: Path, tmp_path: Path, step: int) -> None:
    """Interrupted before, at or after a checkpoint or at the end, a run gives the same weights and log."""
    train(shards, tmp_path / "whole", MODEL, TRAINING, quiet)
    with pytest.raises(KeyboardInterrupt):
        train(shards, tmp_path / "halted", MODEL, TRAINING, interrupt_at(step))
    train(shards, tmp_path / "halted", MODEL, TRAINING, quiet)
    assert same_weights(tmp_path / "whole", tmp_path / "halted")
    assert losses(tmp_path / "whole") == losses(tmp_path / "halted")


def test_a_result_is_that_of_its_own_training(shards: Path, tmp_path: Path) -> None:
    """Also where another attempt at it has begun to write the log anew, and where it was halted after its last step."""

    def another(line: str) -> None:
        if line.startswith("step 12/"):
            with pytest.raises(KeyboardInterrupt):
                train(shards, tmp_path / "run", MODEL, TRAINING, interrupt_at(10))

    whole = train(shards, tmp_path / "whole", MODEL, TRAINING, quiet)
    beside = train(shards, tmp_path / "run", MODEL, TRAINING, another)
    assert log(tmp_path / "run")[-1]["step"] == 10
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.training.save_model", halt)
        with pytest.raises(KeyboardInterrupt):
            train(shards, tmp_path / "halted", MODEL, TRAINING, quiet)
    halted = train(shards, tmp_path / "halted", MODEL, TRAINING, quiet)
    assert beside | {"seconds": 0} == halted | {"seconds": 0} == whole | {"seconds": 0}


def halt(*_: object) -> None:
    """Stop as a person does."""
    raise KeyboardInterrupt


def losses(output: Path) -> list[tuple[float, float]]:
    """Return the steps and losses of a log."""
    return [(line["step"], line["loss"]) for line in log(output)]


def test_a_line_of_the_log_counts_the_steps_before_the_checkpoint(shards: Path, tmp_path: Path) -> None:
    """Resumed between two lines, the next line is over all steps since the one before, as without a halt."""
    training = replace(TRAINING, log_steps=3)
    train(shards, tmp_path / "whole", MODEL, training, quiet)
    with pytest.raises(KeyboardInterrupt):
        train(shards, tmp_path / "halted", MODEL, training, interrupt_at(6))  # goes on from step 4
    train(shards, tmp_path / "halted", MODEL, training, quiet)
    assert losses(tmp_path / "whole") == losses(tmp_path / "halted")


@pytest.mark.parametrize(
    ("content", "message"), [(b"PK\x03\x04" * 9, "is damaged: "), (b"\x02" + bytes(7) + b"{}", "no progress")]
)
def test_a_checkpoint_that_is_none_is_one_line(shards: Path, tmp_path: Path, content: bytes, message: str) -> None:
    """Junk, or a safetensors file of something else, in the place of a checkpoint is named."""
    with pytest.raises(KeyboardInterrupt):
        train(shards, tmp_path / "run", MODEL, TRAINING, interrupt_at(6))
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=f"checkpoint.safetensors.*{message}"):
        train(shards, tmp_path / "run", MODEL, TRAINING, quiet)


@pytest.mark.parametrize(
    "options",
    [{"accumulation": 2}, {"recompute": True}, {"precision": "bf16"}, {"schedule": "constant"}],
    ids=str,
)
def test_every_option_goes_on_to_the_same_bits(shards: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    """What is chosen for speed or memory resumes as exactly as the default."""
    training = replace(TRAINING, **options)
    train(shards, tmp_path / "whole", MODEL, training, quiet)
    with pytest.raises(KeyboardInterrupt):
        train(shards, tmp_path / "halted", MODEL, training, interrupt_at(6))
    train(shards, tmp_path / "halted", MODEL, training, quiet)
    assert same_weights(tmp_path / "whole", tmp_path / "halted")


@pytest.mark.parametrize("count", [2, 4])
def test_accumulated_parts_give_the_losses_of_the_whole(shards: Path, tmp_path: Path, count: int) -> None:
    """Steps in parts are the unsplit steps to rounding, also where an epoch ends and rows predict less."""
    training = replace(TRAINING, tokens=18 * 4 * 32)
    for name, parts in (("whole", 1), ("parts", count)):
        train(shards, tmp_path / name, MODEL, replace(training, accumulation=parts), quiet)
    whole, parted = log(tmp_path / "whole"), log(tmp_path / "parts")
    sizes = {after["tokens"] - before["tokens"] for before, after in pairwise(whole)}
    assert len(sizes) > 1
    assert [line["loss"] for line in parted] == pytest.approx([line["loss"] for line in whole], rel=1e-5)
    assert parted[-1]["validation_loss"] == pytest.approx(whole[-1]["validation_loss"], rel=1e-5)


def test_recomputed_layers_remember_less_and_learn_the_same(shards: Path, tmp_path: Path) -> None:
    """Activation checkpointing keeps less than half for the backward pass and changes no bit of the weights."""
    for recompute in (False, True):
        train(shards, tmp_path / str(recompute), MODEL, replace(TRAINING, recompute=recompute), quiet)
    assert same_weights(tmp_path / "False", tmp_path / "True")
    assert remembered(replace(TRAINING, recompute=True)) < remembered(TRAINING) / 2


def remembered(config: TrainingConfig) -> int:
    """Return the elements that a forward pass outside of recomputed layers keeps for the backward pass."""
    elements = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal elements
        elements += tensor.numel() * (tensor.dim() > 1)
        return tensor

    learner = learner_of(TransNormer(MODEL), config, Grid())
    tokens = torch.arange(64) % VOCABULARY
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        learner.objective(tokens, tokens, torch.arange(64))
    return elements


def test_the_seed_decides_the_weights(shards: Path, tmp_path: Path) -> None:
    """Two seeds give two models: equality in the tests above is no accident."""
    for seed in (0, 1):
        train(shards, tmp_path / str(seed), MODEL, replace(TRAINING, seed=seed), quiet)
    assert not same_weights(tmp_path / "0", tmp_path / "1")


def test_the_log_has_a_line_per_report(shards: Path, tmp_path: Path) -> None:
    """Every line carries step, steps, tokens, loss and seconds; only the last step was validated."""
    train(shards, tmp_path / "run", MODEL, TRAINING, quiet)
    lines = log(tmp_path / "run")
    assert [(line["step"], line["steps"], line["tokens"]) for line in lines] == [
        (step, 12, step * 128) for step in range(1, 13)
    ]
    assert all(line["loss"] > 0 and line["seconds"] > 0 for line in lines)
    assert ["validation_loss" in line for line in lines] == [False] * 11 + [True]


def test_validation_is_reported_when_it_is_due(shards: Path, tmp_path: Path) -> None:
    """Validation is reported at its own steps, whatever the steps between reports, and changes no weight."""
    train(shards, tmp_path / "run", MODEL, replace(TRAINING, log_steps=6, validation_steps=5), quiet)
    lines = log(tmp_path / "run")
    assert [(line["step"], "validation_loss" in line) for line in lines] == [
        (5, True),
        (6, False),
        (10, True),
        (12, True),
    ]
    train(shards, tmp_path / "plain", MODEL, TRAINING, quiet)
    assert same_weights(tmp_path / "run", tmp_path / "plain")


def test_a_finished_run_is_left_alone(shards: Path, tmp_path: Path) -> None:
    """The second call says so, returns the same result and writes nothing."""
    first = train(shards, tmp_path / "run", MODEL, TRAINING, quiet)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    said: list[str] = []
    assert train(shards, tmp_path / "run", MODEL, TRAINING, said.append) == first
    assert said == [f"{tmp_path / 'run'} is finished already: nothing to do"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()} == times
    assert {path.name for path in times} == {
        "run.json",
        "log.jsonl",
        "config.json",
        "model.safetensors",
        "result.json",
    }


def test_another_run_is_not_overwritten(shards: Path, tmp_path: Path) -> None:
    """A changed setting is refused by name instead of mixing two runs."""
    train(shards, tmp_path / "run", MODEL, TRAINING, quiet)
    with pytest.raises(ValueError, match=r"holds another run \(training.learning_rate was 0.01, now 0.02\)"):
        train(shards, tmp_path / "run", MODEL, replace(TRAINING, learning_rate=0.02), quiet)


def test_shards_without_validation_train(tmp_path: Path) -> None:
    """Without a validation split there is no validation loss and no error."""
    shards = write_shards(tmp_path / "shards", [("train", documents(60))])
    assert train(shards, tmp_path / "run", MODEL, TRAINING, quiet)["validation_loss"] is None


def test_shards_of_another_vocabulary_are_refused(shards: Path, tmp_path: Path) -> None:
    """A model for other tokens is refused before anything is written."""
    with pytest.raises(ValueError, match="vocab_size is 64 in the shards, 65 in the model"):
        train(shards, tmp_path / "run", replace(MODEL, vocab_size=65), TRAINING, quiet)
    assert not (tmp_path / "run").exists()


def test_a_diverged_run_stops(shards: Path, tmp_path: Path) -> None:
    """A loss that is no number ends the run with advice."""
    wild = replace(TRAINING, learning_rate=1e30, clip=1e30)
    with pytest.raises(FloatingPointError, match=r"lower training\.learning_rate"):
        train(shards, tmp_path / "run", MODEL, wild, quiet)


def test_a_gradient_that_is_no_number_changes_no_weight(shards: Path) -> None:
    """A finite loss with a gradient of NaN ends the run before the update."""
    learner = learner_of(TransNormer(MODEL), TRAINING, Grid())
    rows = list(islice(PackedTokens(shards, context_length=32), 4))
    before = {name: weight.detach().clone() for name, weight in learner.weights.items()}
    learner.weights["head.weight"].register_hook(lambda x: x * float("nan"))  # type: ignore[no-untyped-call]
    with pytest.raises(FloatingPointError, match="the gradient's norm is nan at step 1: lower"):
        take_step(learner, rows, 0)
    assert all(torch.equal(before[name], weight) for name, weight in learner.weights.items())


def test_a_validation_loss_that_is_no_number_is_not_saved(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends without a checkpoint and without a model of those weights."""
    monkeypatch.setattr("model.step.token_losses", lambda *_: torch.tensor([math.inf]))
    with pytest.raises(FloatingPointError, match="the validation loss is inf at step 4: lower"):
        train(shards, tmp_path / "run", MODEL, replace(TRAINING, validation_steps=4), quiet)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"run.json", "log.jsonl"}


def test_a_vast_validation_loss_has_an_infinite_perplexity(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above 709 nats a token its exponential is no float64: the run goes on, the log has null."""
    monkeypatch.setattr("model.step.token_losses", lambda *_: torch.tensor([1000.0]))
    result = train(shards, tmp_path / "run", MODEL, TRAINING, quiet)
    assert result["validation_loss"] == 1000
    assert result["perplexity"] is None


def test_bf16_trains(shards: Path, tmp_path: Path) -> None:
    """Under bf16 the loss falls too, to another last bit than in fp32."""
    result = train(shards, tmp_path / "run", MODEL, replace(TRAINING, precision="bf16"), quiet)
    assert log(tmp_path / "run")[0]["loss"] > result["loss"]


def test_the_rate_warms_up_and_falls() -> None:
    """The rate rises linearly to the peak and ends near the final fraction, or stays."""
    config = TrainingConfig(tokens=100 * 4096, batch=8, learning_rate=1.0, warmup_fraction=0.1)
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.55)
    assert 0.1 < rates[99] < 0.102
    assert learning_rate(99, replace(config, schedule="constant")) == 1.0


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[training]\nlr = 1", "unknown key training.lr; known keys here: training.tokens, "),
        ("[optimizer]\nx = 1", "unknown key optimizer; known keys here: model, training"),
        ("[model]\nvocab_size = 9", "unknown key model.vocab_size"),
        ("[training]\nbatch = 0", "training.batch must be at least 1, got 0"),
        ("[training]\nbatch = 1.5", "training.batch must be a whole number, got 1.5"),
        ("[training]\nbatch = true", "training.batch must be a whole number, got True"),
        ("[training]\nclip = 'a'", "training.clip must be a number, got 'a'"),
        ("[training]\nlearning_rate = nan", "training.learning_rate must be above 0 and finite, got nan"),
        ("[training]\nschedule = 'linear'", "training.schedule must be 'cosine' or 'constant', got 'linear'"),
        ("[training]\naccumulation = 3", "training.accumulation must be a divisor of batch = 4, got 3"),
        ("[training]\ntensor_parallel = 0", "training.tensor_parallel must be at least 1, got 0"),
        ("[training]\ndevice = 'tpu'", "training.device must be 'cpu' or 'cuda', got 'tpu'"),
        ("[training]\nschedule = 3", "training.schedule must be 'cosine' or 'constant', got 3"),
        ("[model]\nheads = 5", "model.heads must be a divisor of width = 96, got 5"),
        ("[model]\ntie_embeddings = 1", "model.tie_embeddings must be true or false, got 1"),
        ("[model]\nsize = '2M'", "model.size must be one of 1M, 4M, 15M, 385M, 1B, 7B, 15B, got '2M'"),
        ("[model]\nnorm = 1", "model.norm must be 'srms' or 'rms' or 'layer', got 1"),
        ("model = 3", "model must be a table, [model], got 3"),
        ("[model", "Expected ']'"),
    ],
)
def test_a_wrong_configuration_is_one_line(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], toml: str, message: str
) -> None:
    """The line names the file, the key and what is allowed; the exit code is 2 and nothing is written."""
    config = tmp_path / "model.toml"
    config.write_text(toml)
    assert main(["--shards", str(shards), "--output", str(tmp_path / "run"), "--config", str(config)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"error: {config}: {message}")
    assert not (tmp_path / "run").exists()


def test_missing_files_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], shards: Path) -> None:
    """Missing shards and a missing configuration exit with 2 and name the path."""
    assert main(["--shards", str(tmp_path / "no"), "--output", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'no' / 'index.json'} does not exist")
    assert main(["--shards", str(shards), "--output", str(tmp_path / "run"), "--config", "no.toml"]) == 2
    assert "no.toml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("processes", "change", "message"),
    [
        (1, {"tensor_parallel": 2}, "tensor_parallel must be a divisor of the number of processes = 1, got 2"),
        (6, {"tensor_parallel": 3}, "tensor_parallel must be a divisor of model.heads = 2, got 3"),
        (3, {}, "batch must be a multiple of 3, the processes that share rows times accumulation, got 4"),
        (4, {"accumulation": 2}, "batch must be a multiple of 8, the processes that share rows"),
    ],
)
def test_processes_that_cannot_share_are_refused(processes: int, change: dict[str, Any], message: str) -> None:
    """The line names what does not divide evenly."""
    with pytest.raises(ValueError, match=re.escape(f"training.{message}")):
        require_processes(processes, MODEL, replace(TRAINING, **change))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_named(shards: Path, tmp_path: Path) -> None:
    """A device that is not there ends in a sentence."""
    with pytest.raises(ValueError, match="torch finds no GPU here"):
        train(shards, tmp_path / "run", MODEL, replace(TRAINING, device="cuda"), quiet)


def test_help_and_errors_do_not_import_torch() -> None:
    """Torch takes seconds to import: the command leaves it out until there is something to train."""
    call = "model.train.main(['--shards', 'no', '--output', 'no'])"
    code = f"import sys, model.train; {call}; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


def test_a_killed_command_goes_on(shards: Path, tmp_path: Path) -> None:
    """After SIGKILL in mid-training the same command ends with the weights of an undisturbed run."""
    (tmp_path / "model.toml").write_text(
        "[model]\nwidth = 16\nlayers = 2\nheads = 2\nhidden = 32\n"
        "[training]\ntokens = 5_120\nbatch = 4\ncontext_length = 32\n"
        "log_steps = 1\ncheckpoint_steps = 3\nthreads = 1\n"
    )
    options = ["--shards", str(shards), "--config", str(tmp_path / "model.toml"), "--output"]
    command = [sys.executable, "-m", "model.train", *options, str(tmp_path / "killed")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 20/"):
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "result.json").exists()
    assert main([*options, str(tmp_path / "killed")]) == 0
    assert main([*options, str(tmp_path / "whole")]) == 0
    assert same_weights(tmp_path / "whole", tmp_path / "killed")


def damage(path: Path) -> None:
    """Write over a quarter of a file, from its middle on."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\xff" * (len(content) // 4) + content[-(len(content) // 4) :])


def spoil_tokens(folder: Path) -> None:
    """Put tokens into the shards that no vocabulary of theirs has."""
    write_shards(folder, [("train", [np.array([60_000, EOS])] * 60), ("validation", documents(5))])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_tokens, "train-00000.arrow is damaged: token 60000 of document "),
        (lambda folder: damage(folder / "train-00000.arrow"), "train-00000.arrow is damaged: "),
        (lambda folder: (folder / "train-00000.arrow").write_bytes(b"ARROW1"), "train-00000.arrow is damaged: "),
        (lambda folder: (folder / "index.json").write_text("[]"), "index.json is not the index of token shards"),
    ],
    ids=["tokens", "half", "file", "index"],
)
def test_damaged_shards_are_one_line(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object], message: str
) -> None:
    """The line names the file."""
    spoil(shards)
    config = tmp_path / "small.toml"
    config.write_text("[model]\nwidth = 16\nlayers = 1\nheads = 2\nhidden = 16\n[training]\ntokens = 20_000\n")
    assert main(["--shards", str(shards), "--output", str(tmp_path / "run"), "--config", str(config)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_output_that_is_a_file_is_one_line(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A place that cannot be written to is no traceback."""
    (tmp_path / "file").write_text("")
    assert main(["--shards", str(shards), "--output", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_trained_model_may_be_read_by_others(shards: Path, tmp_path: Path) -> None:
    """Weights have the permissions of every other file, and the tokenizer's checksum stands beside them."""
    index = json.loads((shards / "index.json").read_text()) | {"tokenizer_sha256": "ab"}
    (shards / "index.json").write_text(json.dumps(index))
    said: list[str] = []
    train(shards, tmp_path / "run", MODEL, TRAINING, said.append)
    modes = {path.stat().st_mode for path in (tmp_path / "run").iterdir()}
    assert len(modes) == 1
    assert json.loads((tmp_path / "run/run.json").read_text())["tokenizer"] == "ab"
    assert " parameters, 64 pieces, " in said[0]


def test_ctrl_c_is_one_line(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped, the command says how to go on."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("model.training.take_step", stop)
    assert main(["--shards", str(shards), "--output", str(tmp_path / "run")]) == 130
    assert capsys.readouterr().err == "stopped; the same command goes on from the last checkpoint\n"


def test_a_folder_of_other_files_is_refused(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that holds no run but something else is left as it was; what a killed start left is no obstacle."""
    output = tmp_path / "notes"
    output.mkdir()
    (output / "thesis.tex").write_text("x")
    assert main(["--shards", str(shards), "--output", str(output)]) == 2
    assert "holds other files (thesis.tex, …)" in capsys.readouterr().err
    assert [path.name for path in output.iterdir()] == ["thesis.tex"]
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / f"run.json.{'0f' * 16}.tmp").write_text("{")
    (killed / f"checkpoint.safetensors.{'0f' * 16}.tmp").write_text("{")
    config = tmp_path / "config.toml"
    config.write_text(
        "[model]\nwidth = 16\nlayers = 1\nheads = 2\nhidden = 16\n"
        "[training]\ntokens = 256\nbatch = 4\ncontext_length = 32\nthreads = 1\n"
    )
    assert main(["--shards", str(shards), "--output", str(killed), "--config", str(config)]) == 0
    assert not list(killed.glob("*.tmp"))

"""What is saved is what is loaded, and a foreign or broken folder is explained."""

from dataclasses import asdict
from pathlib import Path

import orjson
import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoint import load_model, load_state, save_model, save_state, weights
from model.config import TransNormerConfig
from model.transnormer import TransNormer
from model.whole_files import replacing, write_atomically

CONFIG = TransNormerConfig(vocab_size=50, eos=2, width=16, layers=2, heads=2, hidden=24)


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_survives_the_disk(tmp_path: Path, tied: bool) -> None:
    """Loaded weights and configuration are the saved ones, bit for bit, and so are the logits."""
    config = TransNormerConfig(vocab_size=50, eos=2, width=16, layers=2, heads=2, hidden=24, tie_embeddings=tied)
    model = TransNormer(config, seed=7)
    save_model(tmp_path, model)
    loaded = load_model(tmp_path)
    assert loaded.config == config
    assert ("head.weight" in weights(loaded)) != tied
    tokens = torch.arange(50)[None]
    assert torch.equal(loaded(tokens)[0], model(tokens)[0])


def test_a_configuration_written_before_a_choice_existed_means_its_default(tmp_path: Path) -> None:
    """A config.json with sizes alone, as the first version wrote it, is the published model of these sizes."""
    save_model(tmp_path, TransNormer(CONFIG))
    names = ("vocab_size", "eos", "width", "layers", "heads", "hidden", "tie_embeddings", "initial_std")
    old = {name: value for name, value in asdict(CONFIG).items() if name in names}
    (tmp_path / "config.json").write_bytes(orjson.dumps(old))
    assert load_model(tmp_path).config == CONFIG


def test_a_state_survives_the_disk(tmp_path: Path) -> None:
    """Tensors and plain values come back from one file."""
    tensors = {"a": torch.randn(3, 2), "b": torch.tensor([2**62])}
    values = {"step": 3, "rows": [[0, 1], [2, 3]], "seconds": 0.1}
    save_state(tmp_path / "state", tensors, values)
    found, plain = load_state(tmp_path / "state", {"a": (3, 2), "b": (1,)})
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert plain == values


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash before the file is whole leaves what was there."""
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def crash(_: int) -> None:
        raise OSError

    monkeypatch.setattr("os.fsync", crash)
    with pytest.raises(OSError, match=r"^$"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_both_end(tmp_path: Path) -> None:
    """A training that is tried a second time ends with a whole file, and so does the first attempt."""
    path = tmp_path / "checkpoint.safetensors"
    with replacing(path) as first:
        save_file({"x": torch.ones(4)}, first)
        with replacing(path) as second:
            save_file({"x": torch.zeros(4)}, second)
            second_content = second.read_bytes()
        assert path.read_bytes() == second_content
    assert torch.equal(load_file(path)["x"], torch.ones(4))
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    """The error says which file is missing."""
    with pytest.raises(FileNotFoundError, match=r"config\.json does not exist: .* holds no model"):
        load_model(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    """Weights that do not fit the configuration are named instead of loaded by chance."""
    save_model(tmp_path, TransNormer(CONFIG))
    config = orjson.loads((tmp_path / "config.json").read_bytes())
    (tmp_path / "config.json").write_bytes(orjson.dumps(config | {"hidden": 32}))
    with pytest.raises(ValueError, match=r"of another model: layers\.0\.mixer\.out\.weight, layers\.0"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"n_embd": 3}', r"is not of this model: unknown key config\.n_embd; known keys here: config\.vocab_size"),
        ('{"vocab_size": 50, "width": "16"}', r"is not of this model: config\.width must be a whole number, got '16'"),
        ('{"vocab_size": 50}', r"is not of this model: config\.vocab_size or config\.eos is missing"),
        ('{"vocab_size": 50, "eos": 50}', r"is not of this model: config\.eos must be an id below vocab_size = 50"),
        ("[]", r"is not of this model: config must be a table"),
        ('{"vocab_size": 5', r"is damaged: unexpected end"),
    ],
)
def test_a_configuration_of_another_kind_is_refused(tmp_path: Path, config: str, message: str) -> None:
    """A config.json of another model, with strange keys or values, or cut off, is named with what is wrong."""
    save_model(tmp_path, TransNormer(CONFIG))
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ValueError, match=r"config\.json " + message):
        load_model(tmp_path)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    """A file that is cut off at any place, or is none, is named as damaged."""
    save_model(tmp_path, TransNormer(CONFIG))
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    for content in (b"", whole[:5], whole[:100], whole[:-1], b"PK" + whole):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"model\.safetensors is damaged: "):
            load_model(tmp_path)
        with pytest.raises(ValueError, match=r"model\.safetensors is damaged: "):
            load_state(path, {})


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    """Tensors that are missing or of another shape are named."""
    save_state(tmp_path / "state", {"a": torch.ones(3)}, {})
    for expected in ({"a": (2,)}, {"a": (3,), "b": (1,)}):
        with pytest.raises(ValueError, match=r"state: the weights are of another model: (a|b)$"):
            load_state(tmp_path / "state", expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("sizes", [{"vocab_size": 10**12}, {"width": 10**9, "heads": 10**9}, {"layers": 10**9}])
def test_a_vast_configuration_takes_no_memory(tmp_path: Path, sizes: dict[str, int]) -> None:
    """Sizes that the weights do not have are refused before anything of that size is made."""
    save_model(tmp_path, TransNormer(CONFIG))
    config = orjson.loads((tmp_path / "config.json").read_bytes())
    (tmp_path / "config.json").write_bytes(orjson.dumps(config | sizes))
    with pytest.raises(ValueError, match="the weights are of another model"):
        load_model(tmp_path)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.float8_e4m3fn])
def test_weights_of_a_type_without_enough_bits_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    """Whole numbers and numbers of eight bits are no weights of this model, whatever they would be as float32."""
    model = TransNormer(CONFIG)
    save_model(tmp_path, model)
    save_file({name: weight.to(dtype) for name, weight in weights(model).items()}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"embedding\.weight holds values that are no finite numbers of 16 bits"):
        load_model(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    """One value that is not finite is enough, and its weight is named."""
    model = TransNormer(CONFIG)
    with torch.no_grad():
        model.get_parameter("layers.1.mixer.out.weight")[3, 5] = value
    save_model(tmp_path, model)
    with pytest.raises(ValueError, match=r"layers\.1\.mixer\.out\.weight holds values that are no finite numbers"):
        load_model(tmp_path)

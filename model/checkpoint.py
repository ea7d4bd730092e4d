"""Weights and training state on disk: safetensors and JSON, never pickle.

A model is a folder with model.safetensors and config.json. A training state is one safetensors file whose
header carries the rest as JSON, so that weights, optimizer and place in the data can never be of different
steps. Every file appears whole or not at all.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from model.config import TransNormerConfig, model_config
from model.transnormer import TransNormer


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file through a neighbour and os.replace: a reader sees the old content or the new one."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def save_model(folder: str | Path, model: TransNormer) -> None:
    """Write model.safetensors and config.json to the folder, which is made if missing."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "config.json", orjson.dumps(asdict(model.config), option=orjson.OPT_INDENT_2))
    write_atomically(folder / "model.safetensors", save(weights(model)))


def load_model(folder: str | Path) -> TransNormer:
    """Read what `save_model` wrote, on the CPU. Raises FileNotFoundError or ValueError, one plain line.

    Refused are a missing or damaged file, a configuration that is not of this model, weights that do not fit it
    and weights that are no numbers.
    """
    folder = Path(folder)
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} does not exist: {folder} holds no model")
    model = TransNormer(_read_config(folder / "config.json"))
    path = folder / "model.safetensors"
    try:
        with safe_open(path, "pt") as file:
            restore(model, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - it is no mapping
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    for name, weight in weights(model).items():
        if not weight.isfinite().all():
            raise ValueError(f"{path}: {name} holds values that are no finite numbers")
    return model


def _read_config(path: Path) -> TransNormerConfig:
    try:
        return model_config(orjson.loads(path.read_bytes()))
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path} is not of this model: {error}") from None


def weights(model: TransNormer) -> dict[str, Tensor]:
    """Return the model's weights by name, a tied one once, as views."""
    return {name: weight.detach() for name, weight in model.named_parameters()}


def restore(model: TransNormer, tensors: Mapping[str, Tensor]) -> None:
    """Copy weights by name into the model. Raises ValueError if names or shapes are not the model's."""
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    expected = {name: tuple(weight.shape) for name, weight in weights(model).items()}
    if found != expected:
        different = sorted(dict(found.items() ^ expected.items()))
        raise ValueError(f"the weights are of another model: {', '.join(different)}")
    for name, weight in weights(model).items():
        weight.copy_(tensors[name])


def save_state(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Write tensors and plain values to one file."""
    write_atomically(path, save(dict(tensors), {"values": orjson.dumps(values).decode()}))


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and values that `save_state` wrote."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        return tensors, orjson.loads(file.metadata()["values"])

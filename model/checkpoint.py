"""Weights and training state on disk: safetensors and JSON, never pickle.

A model is a folder with model.safetensors and config.json. A training state is one safetensors file whose
header carries the rest as JSON, so that weights, optimizer and place in the data can never be of different
steps.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.config import TransNormerConfig, model_config
from model.transnormer import TransNormer
from model.whole_files import replacing, write_atomically

Shapes = dict[str, tuple[int, ...]]  # of tensors, by name


def save_model(folder: str | Path, model: TransNormer) -> None:
    """Write model.safetensors and config.json to the folder, which is made if missing."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "config.json", orjson.dumps(asdict(model.config), option=orjson.OPT_INDENT_2))
    with replacing(folder / "model.safetensors") as neighbour:
        save_file(weights(model), neighbour)


def load_model(folder: str | Path) -> TransNormer:
    """Read what `save_model` wrote, on the CPU. Raises FileNotFoundError or ValueError, one plain line.

    Refused are a missing or damaged file, a configuration that is not of this model, weights that do not fit it,
    which is seen before any memory is taken for them, and weights that are no finite floating-point numbers.
    """
    folder = Path(folder)
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} does not exist: {folder} holds no model")
    config, path = _read_config(folder / "config.json"), folder / "model.safetensors"
    with _opened(path) as file:
        _require_size(file, config)
        tensors = _tensors(file, shapes(config))
        for name, tensor in tensors.items():
            if not tensor.is_floating_point() or tensor.element_size() == 1 or not tensor.isfinite().all():
                raise ValueError(f"{name} holds values that are no finite numbers of 16 bits or more")
    model = TransNormer(config)
    restore(model, tensors)
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


def shapes(config: TransNormerConfig) -> Shapes:
    """Return the shapes of a model's weights by name, without making any."""
    with torch.device("meta"):
        return {name: tuple(weight.shape) for name, weight in weights(TransNormer(config)).items()}


def restore(model: TransNormer, tensors: Mapping[str, Tensor]) -> None:
    """Copy weights by name into the model, which must have them all."""
    for name, weight in weights(model).items():
        weight.copy_(tensors[name])


def save_state(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Write tensors and plain values to one file."""
    with replacing(path) as neighbour:
        save_file(dict(tensors), neighbour, {"values": orjson.dumps(values).decode()})


def load_state(path: Path, expected: Shapes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and values that `save_state` wrote. Raises ValueError if the tensors are not those expected."""
    with _opened(path) as file:
        values = (file.metadata() or {}).get("values")
        if values is None:
            raise ValueError("it holds tensors and no progress: it is not the checkpoint of a run")
        return _tensors(file, expected), orjson.loads(values)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file; what is wrong with it or with what is read in it becomes a ValueError with its name."""
    try:
        with safe_open(path, "pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _require_size(file: Any, config: TransNormerConfig) -> None:
    """Refuse sizes that the file cannot have, since even the names of a vast model's weights would take for ever."""
    names = file.keys()
    most = max((max(file.get_slice(name).get_shape(), default=0) for name in names), default=0)
    if config.layers > len(names) or config.width > most:
        raise ValueError(f"the weights are of another model: not of width {config.width} and {config.layers} layers")


def _tensors(file: Any, expected: Shapes) -> dict[str, Tensor]:
    found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    if found != expected:
        different = sorted(dict(found.items() ^ expected.items()))
        raise ValueError(f"the weights are of another model: {', '.join(different)}")
    return {name: file.get_tensor(name) for name in found}

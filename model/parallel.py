"""One run in several processes: which rows each of them takes and which part of every weight it keeps.

The processes of a run form a grid. Those along `tensor` share each layer (model/tensor_parallel.py) and see
the same rows. Those along `data` share a step's rows and keep a part of every weight and of its moments
(FSDP2, `fully_shard`). One process is a grid of one, for which nothing here imports what only several need.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from model.config import TrainingConfig
from model.tensor_parallel import is_split, join, split, split_layers
from model.transnormer import TransNormer

Named = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Grid:
    """The place of this process among all of a run."""

    rank: int = 0
    data: int = 0  # along the axis of each, from 0
    tensor: int = 0
    data_size: int = 1
    tensor_size: int = 1
    mesh: DeviceMesh | None = None  # only of several processes


@contextmanager
def joined(config: TrainingConfig) -> Iterator[Grid]:
    """Join the processes that torchrun started, if it did, and leave them at the end unless they were joined before."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes == 1:
        yield Grid()
        return
    if config.device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    joined_before = distributed.is_initialized()
    if not joined_before:
        distributed.init_process_group()
    shape = processes // config.tensor_parallel, config.tensor_parallel
    mesh = init_device_mesh(config.device, shape, mesh_dim_names=("data", "tensor"))
    try:
        places = mesh.get_local_rank("data"), mesh.get_local_rank("tensor")
        yield Grid(distributed.get_rank(), *places, *shape, mesh)
    finally:
        if not joined_before:
            distributed.destroy_process_group()


def distribute(objective: nn.Module, net: TransNormer, grid: Grid) -> None:
    """Leave of the model, which the objective holds, this process's part; every process began with the same."""
    if grid.mesh is None:
        return
    if grid.tensor_size > 1:
        split_layers(net, grid.tensor, grid.mesh.get_group("tensor"))
    if grid.data_size > 1:
        from torch.distributed.fsdp import fully_shard

        for layer in net.layers:
            fully_shard(layer, mesh=grid.mesh["data"])
        fully_shard(objective, mesh=grid.mesh["data"])


def local(tensor: Tensor, grid: Grid) -> Tensor:
    """Return this process's part of a weight or of its gradient, sharing its memory."""
    if grid.data_size == 1:
        return tensor.detach()
    from torch.distributed.tensor import DTensor

    assert isinstance(tensor, DTensor)
    return tensor.to_local().detach()


def summed(value: Tensor, grid: Grid, axis: str) -> Tensor:
    """Return the sum of a value over the processes along an axis, `data` or `tensor`; all of them must call."""
    if grid.mesh is None:
        return value
    total = value.clone()
    distributed.all_reduce(total, group=grid.mesh.get_group(axis))
    return total


def agreed(decision: bool, grid: Grid) -> bool:
    """Return the first process's decision: clocks differ, and all must do the same."""
    if grid.mesh is None:
        return decision
    answer = torch.tensor([decision], device=grid.mesh.device_type)
    distributed.broadcast(answer, src=0)
    return bool(answer)


def gradient_norm(gradients: Named, grid: Grid) -> Tensor:
    """Return the norm of the whole model's gradient, a scalar, from each process's parts."""
    squares = {name: torch.linalg.vector_norm(gradient).square() for name, gradient in gradients.items()}
    if grid.tensor_size == 1:
        return summed(torch.stack(list(squares.values())).sum(), grid, "data").sqrt()
    shared = torch.stack([square for name, square in squares.items() if is_split(name)]).sum()
    whole = torch.stack([square for name, square in squares.items() if not is_split(name)]).sum()
    return summed(summed(shared, grid, "tensor") + whole, grid, "data").sqrt()


def scattered(weights: Named, whole: Named, grid: Grid) -> dict[str, Tensor]:
    """Return this process's parts of whole tensors, each laid out like the weight of its name."""
    if grid.mesh is None:
        return dict(whole)
    return {name: _part(name, whole[name], weight, grid) for name, weight in weights.items()}


def _part(name: str, whole: Tensor, weight: Tensor, grid: Grid) -> Tensor:
    mine = split(name, whole, grid.tensor, grid.tensor_size)
    if grid.data_size == 1:
        return mine
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(weight, DTensor)
    placed = mine.to(weight.device)
    return distribute_tensor(placed, weight.device_mesh, weight.placements, src_data_rank=None).to_local()


def gathered(weights: Named, parts: Named, grid: Grid) -> dict[str, Tensor]:
    """Return whole tensors from every process's parts, each laid out like the weight of its name.

    All processes must call, and only the first one gets them, on the CPU.
    """
    if grid.mesh is None:
        return dict(parts)
    found = {}
    for name, weight in weights.items():
        whole = _whole(name, parts[name], weight, grid)
        if grid.rank == 0:
            found[name] = whole.cpu()
    return found


def _whole(name: str, part: Tensor, weight: Tensor, grid: Grid) -> Tensor:
    if grid.data_size > 1:
        from torch.distributed.tensor import DTensor

        assert isinstance(weight, DTensor)
        mesh, placements = weight.device_mesh, weight.placements
        placed = DTensor.from_local(part, mesh, placements, shape=weight.shape, stride=weight.stride())
        part = placed.full_tensor()
    if grid.tensor_size == 1 or not is_split(name):
        return part
    assert grid.mesh is not None
    parts = [torch.empty_like(part) for _ in range(grid.tensor_size)]
    distributed.all_gather(parts, part.contiguous(), group=grid.mesh.get_group("tensor"))
    return join(name, parts)

"""One launch of one kernel, as a value: it is run, compiled ahead of time and counted from the same description."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Launch:
    """A kernel, its number of programs, what it is given at run time and what it is compiled for."""

    kernel: Any  # what triton.jit returns
    programs: int
    arguments: Mapping[str, Any]
    constants: Mapping[str, Any]
    warps: int
    stages: int


def run(launch: Launch) -> None:
    """Run a launch on the device of its tensors; one without programs is done already."""
    if not launch.programs:
        return
    device = next(x.device for x in launch.arguments.values() if isinstance(x, Tensor))
    # Triton launches on the current device, which need not be that of the tensors.
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        launch.kernel[(launch.programs,)](
            **launch.arguments,
            **launch.constants,
            num_warps=launch.warps,
            num_stages=launch.stages,
            enable_fp_fusion=True,
        )

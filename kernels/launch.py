"""One launch of one kernel, as a value: it is run, compiled ahead of time and counted from the same description."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
    if launch.programs:
        launch.kernel[(launch.programs,)](
            **launch.arguments,
            **launch.constants,
            num_warps=launch.warps,
            num_stages=launch.stages,
            enable_fp_fusion=True,
        )

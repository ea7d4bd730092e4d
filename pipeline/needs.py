"""Needs: what the tasks of a work take of a machine beyond what every worker has; a work says so in `needs`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Needs:
    """Memory that grows with the corpus or a setting, and what would make a task faster."""

    memory: int = 0  # bytes of one task
    accelerator: bool = False  # it computes on a GPU where its process has one


NOTHING = Needs()

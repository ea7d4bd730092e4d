"""Needs: what the tasks of a work take of a machine beyond what every worker has; a work says so in `needs`."""

from dataclasses import dataclass

# Of every process: its packages and compiled kernels (220 MB, 300 with the kernels in use), and a task of TASK_BYTES at
# most. The largest with default settings is one that judges: 1.7 GB, half of it n-grams, a third torch.
WORKER_BYTES = 2_000_000_000
TASK_BYTES = 1_500_000_000


@dataclass(frozen=True, slots=True)
class Needs:
    """Memory that grows with the corpus or a setting, and what would make a task faster."""

    memory: int = 0  # bytes of one task
    accelerator: bool = False  # it computes on a GPU where its process has one


NOTHING = Needs()


def beyond(memory: int, *, accelerator: bool = False) -> Needs:
    """Return what a task of so many bytes needs where every process has room for TASK_BYTES."""
    return Needs(max(0, memory - TASK_BYTES), accelerator)

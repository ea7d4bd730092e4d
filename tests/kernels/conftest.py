"""Kernels run in Triton's interpreter where there is no GPU; `TRITON_INTERPRET=0` chooses the device instead."""

import os
from collections.abc import Iterator

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before Triton is imported, which decides by it


@pytest.fixture(autouse=True)
def _needs_what_it_asks_for() -> None:
    """Skip where the device is asked for and there is none."""
    if os.environ.get("TRITON_INTERPRET") == "0" and not torch.cuda.is_available():
        pytest.skip("TRITON_INTERPRET=0 asks for a GPU, and torch finds none")


@pytest.fixture(scope="session", autouse=True)
def _patch_the_language_once_a_launch() -> Iterator[None]:
    """Spare the interpreter from patching `triton.language` again for each call of a device function."""
    from triton.runtime import interpreter

    patch, depth = interpreter._patch_lang, [0]

    def patch_once(function: object) -> object:
        if depth[0]:
            return None
        depth[0] += 1
        scope = patch(function)
        restore = scope.restore

        def leave() -> None:
            depth[0] -= 1
            restore()

        scope.restore = leave
        return scope

    with pytest.MonkeyPatch.context() as change:
        change.setattr(interpreter, "_patch_lang", patch_once)
        yield

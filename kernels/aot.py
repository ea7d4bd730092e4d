"""Compile launches for a GPU that is not there and read from the machine code what they would need."""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
import triton
from torch import Tensor
from triton._C.libtriton import native_specialize_impl
from triton.backends import nvidia
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import CUDABackend
from triton.compiler import ASTSource

from kernels.launch import Launch
from kernels.layout import dense, packed
from kernels.norm_operator import gradient_plan, norm_plan
from kernels.plan import backward_plan, forward_plan


@dataclass(frozen=True, slots=True)
class Resources:
    """What one compiled kernel takes: per thread registers and bytes of stack, per program bytes of shared memory."""

    registers: int
    stack: int
    shared: int
    products: frozenset[str]  # input types of its tensor core instructions: bf16, f16, tf32


def resources(launch: Launch, capability: int) -> Resources:
    """Compile a launch for compute capability 80 or 90 and read its resources from cuobjdump."""
    target = GPUTarget("cuda", capability, 32)
    options = {"num_warps": launch.warps, "num_stages": launch.stages, "enable_fp_fusion": True}
    compiled = triton.compile(_source(launch, CUDABackend(target)), target=target, options=options)
    tool = Path(nvidia.__file__).parent / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [str(tool), "--dump-resource-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603  the wheel's own
    numbers = {name: int(re.search(rf"{name}:(\d+)", usage)[1]) for name in ("REG", "STACK", "LOCAL")}  # type: ignore[index]
    products = re.findall(r"mma\S*\.f32\.(bf16|f16|tf32)\.", compiled.asm["ptx"])
    stack = numbers["STACK"] + numbers["LOCAL"]
    return Resources(numbers["REG"], stack, compiled.metadata.shared, frozenset(products))


def _source(launch: Launch, backend: CUDABackend) -> ASTSource:
    """Describe the launch to the compiler as a call on the device would, with the same specialisation."""
    kernel = launch.kernel
    values = {**launch.arguments, **launch.constants}
    signature, constants, attributes = {}, {}, {}
    for place, parameter in enumerate(kernel.params):
        value, kind, trait = values[parameter.name], "constexpr", None
        if not parameter.is_constexpr:
            kind, trait = native_specialize_impl(CUDABackend, value, False, not parameter.do_not_specialize, True)
        signature[parameter.name] = kind
        if kind == "constexpr":
            constants[parameter.name] = value
        elif isinstance(trait, str):
            attributes[place,] = backend.parse_attr(trait)
    return ASTSource(kernel, signature, constants, attributes)


def attention_launches(
    d: int, e: int, dtype: torch.dtype, *, heads: int = 8, tokens: int = 8192, sequences: int = 0, given: bool = False
) -> list[list[Launch]]:
    """Return the six launches of attention forward and backward with all their entries, on tensors without memory.

    `sequences`, if any, are packed and of one length; `given`: each starts from a state.
    """
    q, k, v, g = (torch.empty(1, heads, tokens, width, dtype=dtype, device="meta") for width in (d, d, e, e))
    decay = torch.empty(heads, device="meta")
    layout = packed(torch.arange(sequences + 1) * (tokens // sequences), tokens) if sequences else dense(1, tokens)
    state = torch.empty(layout.sequences, heads, d, e, device="meta") if given else None
    forward, (_, final, states) = forward_plan(q, k, v, decay, state, layout)
    backward, _ = backward_plan((q, k, v, g), decay, states, final, layout, given=given)
    return forward + backward


def norm_launches(width: int, dtype: torch.dtype, *, gated: bool, rows: int = 8192) -> list[Launch]:
    """Return the launches of SRMSNorm forward and backward, on tensors without memory."""
    x, g = (torch.empty(rows, width, dtype=dtype, device="meta") for _ in range(2))
    gate: Tensor | None = torch.empty_like(x) if gated else None
    return [norm_plan(x, gate)[0], gradient_plan(x, gate, g)[0]]

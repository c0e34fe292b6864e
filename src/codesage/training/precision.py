"""Number formats and compilation: bf16 where the processor computes in it, blocks compiled once for every length.

A run with precision "auto" takes bf16 where the device multiplies it natively. CODESAGE_PRECISION=bf16 or fp32 in the
environment answers in place of the device, so that one machine computes as another does: bf16 that the processor lacks is
emulated, correct and slow. A precision that a run names itself is not changed. `python -m codesage.training.precision`
prints what the processor has and what training on it computes in.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from codesage.encoder.model import Block, Encoder
from codesage.errors import CodesageError

PRECISIONS = ("auto", "bf16", "fp32")
VARIABLE = "CODESAGE_PRECISION"


@dataclass(frozen=True, slots=True)
class Autocast:
    """Makes the context a step runs in; `fast_dtype` is None where everything stays fp32.

    It keeps no cache of the weights it has cast. A cast is cheap beside the products of a micro-batch; a cached one is
    wrong for an encoder that FSDP2 shards, whose whole weights are gathered anew for each micro-batch: the gradients of
    all micro-batches but one would be lost.
    """

    device: torch.device
    fast_dtype: torch.dtype | None

    def __call__(self) -> AbstractContextManager:
        """A fresh autocast context."""
        dtype, enabled = self.fast_dtype or torch.bfloat16, self.fast_dtype is not None
        return torch.autocast(self.device.type, dtype, enabled=enabled, cache_enabled=False)


def native_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 natively: CUDA from Ampere on, CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return device.type == "cpu" and any(check is not None and check() for check in asked)


def has_bf16(device: torch.device) -> bool:
    """Whether training may compute in bf16: what CODESAGE_PRECISION says, or else whether the device has it natively."""
    asked = os.environ.get(VARIABLE, "")
    if asked not in ("", *PRECISIONS):
        raise CodesageError(f"{VARIABLE} is {asked!r}, expected one of {', '.join(PRECISIONS)}: unset it or correct it")
    return native_bf16(device) if asked in ("", "auto") else asked == "bf16"


def fast_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of matrix products in a run of precision `name`: bfloat16 or float32.

    CodesageError when bf16 is asked for where it would be emulated, and slow.
    """
    available = has_bf16(device)
    if name == "bf16" and not available:
        raise CodesageError(f"this {device.type} has no native bf16, it would be slower than fp32: use precision auto")
    return torch.bfloat16 if available and name != "fp32" else torch.float32


def autocast(name: str, device: torch.device) -> Autocast:
    """The context of a precision; raises what `fast_dtype` raises."""
    dtype = fast_dtype(name, device)
    return Autocast(device, dtype if dtype == torch.bfloat16 else None)


def environment() -> dict[str, str | bool]:
    """What the speed and the rounding of training on this processor depend on, for the record beside a measurement."""
    device = torch.device("cpu")
    return {"capability": torch.backends.cpu.get_cpu_capability(), "native_bf16": native_bf16(device),
            "precision": "bf16" if has_bf16(device) else "fp32"}  # fmt: skip


def compile_blocks(encoder: Encoder, *, backend: str = "inductor") -> None:
    """Compile what the blocks compute for each token alone, one graph for every number of tokens and every block.

    Attention stays as it is: on CUDA it is one fused call already, and its layout, new in every batch, would be
    compiled anew in every batch. Evaluations, few and short, are not compiled, nor what is of one token. `graphs` counts
    what was compiled: at most three graphs with gradients, and two without.
    """
    for name in ("before", "after"):
        plain = getattr(Block, name)
        compiled = torch.compile(plain, fullgraph=True, backend=backend)
        for block in encoder.h:
            setattr(block, name, partial(_of_any_length, compiled, plain, block))


@contextmanager
def compiling() -> Iterator[None]:
    """Turn a failure of torch.compile (no C++ compiler, most often) into one line."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        reason = " ".join(str(error).split())[:160]
        raise CodesageError(f"torch.compile failed ({reason}): install a C++ compiler, or train with --no-compile") from None


def graphs() -> int:
    """How many graphs this process has compiled so far."""
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]


def _of_any_length(compiled: Callable, plain: Callable, block: Block, *tensors: Tensor | None) -> Tensor:
    given = [tensor for tensor in tensors if tensor is not None]
    if not block.training or min(map(len, given)) < 2:  # of one token it would be another graph
        return plain(block, *tensors)
    for tensor in given:
        torch._dynamo.mark_dynamic(tensor, 0)
    return compiled(block, *tensors)


def main() -> None:
    """Print what the processor has and what training on it computes in, on one line."""
    found = environment()
    native = "native bf16" if found["native_bf16"] else "no native bf16"
    print(f"{found['capability']}, {native}, training runs in {found['precision']}")


if __name__ == "__main__":
    main()

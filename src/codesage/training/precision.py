"""Number formats and compilation: bf16 where the processor computes in it, blocks compiled once for every length."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from codesage.encoder.model import Block, Encoder
from codesage.errors import CodesageError

PRECISIONS = ("auto", "bf16", "fp32")


@dataclass(frozen=True, slots=True)
class Autocast:
    """Makes the context a step runs in; `fast_dtype` is None where everything stays fp32."""

    device: torch.device
    fast_dtype: torch.dtype | None

    def __call__(self) -> AbstractContextManager:
        """A fresh autocast context."""
        return torch.autocast(self.device.type, self.fast_dtype or torch.bfloat16, enabled=self.fast_dtype is not None)


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 natively: CUDA from Ampere on, CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return device.type == "cpu" and any(check is not None and check() for check in asked)


def autocast(name: str, device: torch.device) -> Autocast:
    """The context of a precision; CodesageError when bf16 is asked for where it would be emulated, and slow."""
    native = has_bf16(device)
    if name == "bf16" and not native:
        raise CodesageError(f"this {device.type} has no native bf16, it would be slower than fp32: use precision auto")
    return Autocast(device, torch.bfloat16 if native and name != "fp32" else None)


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

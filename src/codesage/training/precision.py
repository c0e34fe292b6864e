"""Precision and compilation: bf16 where the processor supports it, and blocks compiled once for all lengths.

A run with precision "auto" uses bf16 if the device multiplies it natively. The environment variable CODESAGE_PRECISION=bf16
or fp32 overrides this check, so that one machine can compute like another. bf16 is emulated, correctly but slowly, on a
processor without it. The variable does not change a precision that the run sets explicitly.
`python -m codesage.training.precision` prints what the processor supports and which precision training uses on it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from types import FunctionType
from typing import Any, cast

import torch
from torch import Tensor, nn

from codesage.encoder.config import Config
from codesage.encoder.model import Block, Encoder, Layout, Requested
from codesage.errors import CodesageError
from codesage.training import processes

PRECISIONS = ("auto", "bf16", "fp32")
VARIABLE = "CODESAGE_PRECISION"


@dataclass(frozen=True, slots=True)
class Autocast:
    """Creates the autocast context of a step. `fast_dtype` is None if everything stays fp32.

    Cast weights are not cached. A cast is cheap compared with the products of a micro-batch. With an encoder sharded by
    FSDP2, a cache would be wrong: the full weights are gathered again for each micro-batch, and the gradients of all
    micro-batches but one would be lost.
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
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return device.type == "cpu" and any(check is not None and check() for check in checks)


def has_bf16(device: torch.device) -> bool:
    """Whether training may compute in bf16: as CODESAGE_PRECISION says, else whether the device supports it natively."""
    requested = os.environ.get(VARIABLE, "")
    if requested not in ("", *PRECISIONS):
        raise CodesageError(f"{VARIABLE} is {requested!r}, expected one of {', '.join(PRECISIONS)}: unset or correct it")
    return native_bf16(device) if requested in ("", "auto") else requested == "bf16"


def fast_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of matrix products in a run with precision `name`: bfloat16 or float32.

    CodesageError when `name` is bf16 and the device would have to emulate it, which is slow.
    """
    available = has_bf16(device)
    if name == "bf16" and not available:
        raise CodesageError(f"this {device.type} has no native bf16, so bf16 is slower than fp32: use precision auto")
    return torch.bfloat16 if available and name != "fp32" else torch.float32


def autocast(name: str, device: torch.device) -> Autocast:
    """The autocast context of a precision. Raises the errors of `fast_dtype`."""
    dtype = fast_dtype(name, device)
    return Autocast(device, dtype if dtype == torch.bfloat16 else None)


def environment() -> dict[str, str | bool]:
    """Facts about this processor that affect training speed and rounding, to record with a measurement."""
    device = torch.device("cpu")
    return {
        "capability": torch.backends.cpu.get_cpu_capability(),
        "native_bf16": native_bf16(device),
        "precision": "bf16" if has_bf16(device) else "fp32",
    }


def compile_blocks(encoder: Encoder, *, backend: str = "inductor", across: bool | None = None) -> None:
    """Compile what is computed for each token separately: one graph for all blocks and all numbers of tokens.

    Attention is not compiled. On CUDA it is already one fused call, and its layout changes with every batch, so it would be
    compiled again each time. Evaluations (few and short) and inputs of one token are not compiled either. `graphs` counts
    the compiled graphs: at most three with gradients and two without.

    `across`: also compile across the borders of the blocks, so that there is one graph between two attentions and not two
    (None: on a GPU, where each start of a graph takes time, and on a CPU nothing is gained; docs/log.md). Then there are at
    most four graphs with gradients and three without. A sharded encoder is always compiled block by block, because FSDP2
    gathers the weights of a block when the block is called.
    """
    if across is None:
        across = encoder.wte.weight.is_cuda
    if across and not processes.is_sharded(encoder):
        encoder.forward = partial(_across_blocks, encoder, backend)  # pyright: ignore[reportAttributeAccessIssue]
        return
    for plain in (Block.before, Block.after):
        for block in encoder.h:
            setattr(block, plain.__name__, partial(_of_any_length, plain, encoder.config, backend, block))


@cache
def _compiled(plain: Callable, config: Config, backend: str) -> Callable:
    """A compiled function, for encoders of one shape.

    torch compiles one code object at most eight times. So each shape has a copy of its own, which later runs use again.
    """
    function = cast(FunctionType, plain)
    code, defaults, closure = function.__code__.replace(), function.__defaults__, function.__closure__
    return torch.compile(
        FunctionType(code, function.__globals__, function.__name__, defaults, closure), fullgraph=True, backend=backend
    )


@contextmanager
def compiling() -> Iterator[None]:
    """Turn a failure of torch.compile (usually a missing C++ compiler) into a one-line error."""
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


def _of_any_length(plain: Callable, config: Config, backend: str, *given: nn.Module | Tensor | None) -> Any:
    """What `plain` gives, compiled while the first of the given modules is trained."""
    tensors = [one for one in given if isinstance(one, Tensor)]
    if not cast(nn.Module, given[0]).training or min(map(len, tensors)) < 2:  # one token would need another graph
        return plain(*given)
    for tensor in tensors:
        torch._dynamo.mark_dynamic(tensor, 0)
    return _compiled(plain, config, backend)(*given)


def _across_blocks(
    encoder: Encoder, backend: str, ids_T: Tensor, layout: Layout, *, depth: int | None = None, rows_M: Tensor | None = None
) -> Tensor:
    """Encoder.forward in parts that are compiled, with attention between them."""
    blocks = list(encoder.h)[:depth]
    if not encoder.training or not blocks or (rows_M is not None and not len(rows_M)) or processes.is_sharded(encoder):
        return Encoder.forward(encoder, ids_T, layout, depth=depth, rows_M=rows_M)
    layout.require_positions(encoder.config.max_position_embeddings)
    requested = None if rows_M is None else Requested.of(rows_M, layout)
    asked = [None] * (len(blocks) - 1) + [rows_M]  # of each block: only the last one leaves tokens out
    words_TD, places_TD = encoder.wte(ids_T), encoder.wpe(layout.positions_T)
    x_MD, *qkv = _of_any_length(_begin, encoder.config, backend, encoder, blocks[0], words_TD, places_TD, asked[0])
    for block, following, rows in zip(blocks, blocks[1:], asked[1:], strict=False):
        y_MHK = block.attn(*qkv, layout)
        x_MD, *qkv = _of_any_length(_between, encoder.config, backend, block, following, x_MD, y_MHK, rows)
    y_MHK = blocks[-1].attn(*qkv, layout, requested)
    return _of_any_length(_end, encoder.config, backend, encoder, blocks[-1], x_MD, y_MHK)


def _begin(encoder: Encoder, first: Block, words_TD: Tensor, places_TD: Tensor, rows_M: Tensor | None) -> tuple[Tensor, ...]:
    """From the embeddings to the first attention; returns what Block.before does."""
    return first.before(encoder.embedding_dropout(words_TD + places_TD), rows_M)


def _between(block: Block, following: Block, x_MD: Tensor, y_MHK: Tensor, rows_M: Tensor | None) -> tuple[Tensor, ...]:
    """From the attention of a block to that of the following one; returns what Block.before does."""
    return following.before(block.after(x_MD, y_MHK), rows_M)


def _end(encoder: Encoder, last: Block, x_MD: Tensor, y_MHK: Tensor) -> Tensor:
    """From the last attention to the last states."""
    return encoder.ln_f(last.after(x_MD, y_MHK))


def main() -> None:
    """Print in one line what the processor supports and which precision training uses."""
    facts = environment()
    native = "native bf16" if facts["native_bf16"] else "no native bf16"
    print(f"{facts['capability']}, {native}, training runs in {facts['precision']}")


if __name__ == "__main__":
    main()

"""Training with several processes: rank, shares and sums. With a single process all functions do nothing.

In: the environment of torchrun (RANK, WORLD_SIZE, ...). Out: gradients equal to those of one process on the same global
batch. Both stages follow one rule: every process computes its own part of the loss, already divided by the global count, so
the parts and their gradients add up to those of the global batch. Nothing is averaged. `sum_gradients` sums the gradients in
flat buckets after the last backward of a step. DDP would overlap the sum with backward, but it hooks every backward, and
both stages run several per step (micro-batches, cached gradients). For encoders of 130M to 350M parameters the sum is cheap
compared with steps of millions of tokens. `large` is sharded with FSDP2.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from codesage import machine
from codesage.artifacts import publish
from codesage.encoder.model import Encoder
from codesage.errors import CodesageError

_LOST = re.compile(r"gloo|NCCL|TCPStore|[Cc]onnection|[Tt]imed? ?out|Broken pipe|Socket")  # messages that mean a lost process
_BUCKET = 32 * 2**20  # bytes of gradients summed in one call


def start(*, timeout_seconds: float = 600.0) -> torch.device:
    """Join the processes started by torchrun, if any; return the device of this process.

    A process stops waiting for the others after `timeout_seconds`. Raises CodesageError when the others cannot be reached.
    """
    here = device()
    if here.type == "cuda":
        torch.cuda.set_device(here)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        try:
            backend = "cpu:gloo,cuda:nccl" if here.type == "cuda" else "gloo"
            dist.init_process_group(backend, timeout=timedelta(seconds=timeout_seconds))
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CodesageError(
                f"process {os.environ.get('RANK')} cannot join the others ({reason}): restart all with torchrun"
            ) from None
    return here


def device() -> torch.device:
    """The device of this process: its own GPU if there are GPUs, else the CPU. CodesageError when there are too few GPUs."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= there:
        raise CodesageError(f"process {number} of this machine has no GPU of its own, torch sees {there}: start {there}")
    return torch.device("cuda", number)


def memory(device: torch.device) -> float:
    """Memory of a GPU in bytes; 0 for other devices."""
    return float(torch.cuda.get_device_properties(device).total_memory) if device.type == "cuda" else 0.0


def share_of_memory(device: torch.device) -> float:
    """Memory in bytes that this process has on its device: processes of one machine share that of the CPU. 0: not known."""
    return memory(device) if device.type != "cpu" else machine.memory() / int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def stop() -> None:
    """Leave the process group."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Number of this process; process 0 writes the results."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn a failed collective call (another process died or hung) into a one-line error; no effect with one process."""
    try:
        yield
    except RuntimeError as error:
        if world() == 1 or not _LOST.search(str(error)):
            raise
        reason = " ".join(str(error).split())[:160]
        raise CodesageError(
            f"process {rank()} of {world()} lost another one during {what} ({reason}): run the same "
            "command again, it resumes from the last checkpoint"
        ) from None


def barrier() -> None:
    """Wait for all processes."""
    if world() > 1:
        dist.barrier()


def total(values: Sequence[float]) -> list[float]:
    """Sums over all processes in float64; every process gets the same values."""
    if world() == 1:
        return list(values)
    summed = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(summed)
    return summed.tolist()


def summed(tensor: Tensor) -> Tensor:
    """The sum over all processes of a tensor, on its device, in place; no process waits for its own device."""
    if world() > 1:
        dist.all_reduce(tensor)
    return tensor


def from_first(values: Sequence[float]) -> list[float]:
    """The values of process 0, on every process."""
    if world() == 1:
        return list(values)
    sent = torch.tensor(values, dtype=torch.float64)
    dist.broadcast(sent, 0)
    return sent.tolist()


def gather_objects(own: object) -> list:
    """The objects of all processes, by rank. Only plain values between our own processes, never stored on disk."""
    if world() == 1:
        return [own]
    gathered: list = [None] * world()
    dist.all_gather_object(gathered, own)
    return gathered


def sum_gradients(encoder: nn.Module) -> None:
    """Sum the gradients of all processes in place. A parameter without a gradient counts as zero.

    For a sharded encoder, FSDP2 already averaged them in the last backward; here the mean is turned into the sum.
    """
    if world() == 1:
        return
    if is_sharded(encoder):
        for parameter in encoder.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(world())
        return
    bucket, size = [], 0
    for parameter in encoder.parameters():
        if not parameter.requires_grad:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        bucket.append(parameter.grad)
        size += parameter.grad.nbytes
        if size >= _BUCKET:
            _sum(bucket)
            bucket, size = [], 0
    if bucket:
        _sum(bucket)


def _sum(gradients: list[Tensor]) -> None:
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


class _Gather(torch.autograd.Function):
    """All-gather along dimension 0. Backward sums the gradients of all processes for this process's rows."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor) -> Tensor:
        ctx.rows = gather_objects(len(x_ND))
        longest = max(ctx.rows)
        padded = torch.zeros(longest, *x_ND.shape[1:], dtype=x_ND.dtype, device=x_ND.device)
        padded[: len(x_ND)] = x_ND
        parts = [torch.empty_like(padded) for _ in ctx.rows]
        dist.all_gather(parts, padded)
        return torch.cat([part[:rows] for part, rows in zip(parts, ctx.rows, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        summed = gradients[0].contiguous().clone()
        dist.all_reduce(summed)  # gloo has no reduce-scatter; vectors are small compared with the encoder's gradients
        return summed.split(ctx.rows)[rank()]


def gather_with_gradient(x_ND: Tensor) -> Tensor:
    """The rows of all processes by rank, on every process, differentiable. Their counts may differ.

    The gradient of a process's own rows is the sum of their gradients in all processes. This is correct when every process
    computes its own part of the loss and the parts add up to the loss of the global batch, as `sum_gradients` requires.
    """
    return x_ND if world() == 1 else _Gather.apply(x_ND)


def same_weights(encoder: nn.Module) -> None:
    """Copy the weights of process 0 to all processes. A sharded encoder already shares its weights."""
    if world() > 1 and not is_sharded(encoder):
        with torch.no_grad():
            for tensor in encoder.state_dict().values():
                dist.broadcast(tensor, 0)


def shard(encoder: Encoder, *, gathered_as: torch.dtype | None = None) -> None:
    """Shard parameters, gradients and optimizer state over all processes with FSDP2, block by block; idempotent.

    Weights are gathered once per step and kept until `accumulate` announces the last backward. `gathered_as`: the dtype that
    the weights of the blocks are gathered in, for a run under autocast to it (None: their own). The embedding and the
    residual stream keep their own dtype, and gradients are summed in it.
    """
    if is_sharded(encoder):  # by the previous phase
        return
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    summed_as = None if gathered_as is None else encoder.wte.weight.dtype
    policy = MixedPrecisionPolicy(param_dtype=gathered_as, reduce_dtype=summed_as, cast_forward_inputs=False)
    for block in encoder.h:
        fully_shard(block, mp_policy=policy, reshard_after_forward=False)
    fully_shard(encoder, reshard_after_forward=False)


def is_sharded(encoder: nn.Module) -> bool:
    """Whether `shard` was called on this encoder."""
    return hasattr(encoder, "set_requires_gradient_sync")


def accumulate(encoder: nn.Module, *, last: bool) -> None:
    """Call this before each backward of a step. A sharded encoder sums gradients over processes only in the last one."""
    if is_sharded(encoder):
        sharded = cast(Any, encoder)
        sharded.set_requires_gradient_sync(last)
        sharded.set_reshard_after_backward(last)
        sharded.set_is_last_backward(last)


def whole(tensor: Tensor) -> Tensor:
    """The full tensor of a sharded one (every process must call this); any other tensor unchanged."""
    full = getattr(tensor, "full_tensor", None)
    return tensor if full is None else full()


def unsharded(encoder: Encoder) -> Encoder:
    """The encoder itself, or a full copy of a sharded one on the CPU (every process must call this)."""
    if not is_sharded(encoder):
        return encoder
    copy = Encoder(encoder.config)
    copy.load_state_dict({name: whole(tensor).cpu() for name, tensor in encoder.state_dict().items()}, assign=True)
    return copy


def like(tensor: Tensor, reference: Tensor) -> Tensor:
    """The shard of this process of a full tensor, laid out like `reference`; the tensor itself if that is not sharded."""
    if not hasattr(reference, "full_tensor"):
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    shards = cast(DTensor, reference)
    return distribute_tensor(tensor.to(reference.device), shards.device_mesh, shards.placements)


@contextmanager
def published(target: Path | str, *, settings: dict, facts: dict) -> Iterator[Path]:
    """`artifacts.publish` of a model in process 0. The others get a temporary folder and wait until process 0 is done."""
    if rank() == 0:
        with publish(target, "model", settings=settings, facts=facts) as folder:
            yield folder
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    barrier()

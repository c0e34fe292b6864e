"""More than one process: who am I, what is my share, and sums over all of us. With one process all of it is nothing.

In: the environment of torchrun (RANK, WORLD_SIZE, ...). Out: gradients that equal those of one process on the same
global batch. The contract with both stages: every process computes its own part of the loss, already divided by the
global count, so that the parts and their gradients add up to those of the global batch; nothing is ever averaged.
Gradients are summed by `sum_gradients` once the last backward of a step has ended, in flat buckets. DDP would overlap
this with backward, but hooks every backward, and both stages run several in a step (micro-batches, cached gradients);
for encoders of 130M to 350M the sum costs little beside steps of millions of tokens. `large` is sharded with FSDP2.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from codesage.artifacts import publish
from codesage.errors import CodesageError

_LOST = re.compile(r"gloo|NCCL|TCPStore|[Cc]onnection|[Tt]imed? ?out|Broken pipe|Socket")  # how a missing peer reads
_BUCKET = 32 * 2**20  # bytes of gradients that are summed in one call


def start(*, timeout_seconds: float = 600.0) -> torch.device:
    """Join the processes that torchrun started (nothing to join without it); returns the device of this one.

    A process that waits longer than `timeout_seconds` for the others gives up. Raises CodesageError when the others
    cannot be reached.
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
            raise CodesageError(f"process {os.environ.get('RANK')} cannot join the others ({reason}): start all again "
                                "with torchrun") from None  # fmt: skip
    return here


def device() -> torch.device:
    """The device of this process: a GPU each where there are GPUs."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else torch.device("cpu")


def memory(device: torch.device) -> float:
    """Bytes of the memory of a GPU; 0 where the device is none."""
    return float(torch.cuda.get_device_properties(device).total_memory) if device.type == "cuda" else 0.0


def stop() -> None:
    """Leave the group of processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Number of this process, 0 for the one that writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn the failure of a collective call (a worker was killed, or hung) into one line; nothing with one process."""
    try:
        yield
    except RuntimeError as error:
        if world() == 1 or not _LOST.search(str(error)):
            raise
        reason = " ".join(str(error).split())[:160]
        raise CodesageError(f"process {rank()} of {world()} lost another one during {what} ({reason}): run the same "
                            "command again, it resumes from the last checkpoint") from None  # fmt: skip


def barrier() -> None:
    """Wait for all."""
    if world() > 1:
        dist.barrier()


def total(values: Sequence[float]) -> list[float]:
    """Sums over all processes, in float64: equal on each of them."""
    if world() == 1:
        return list(values)
    summed = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(summed)
    return summed.tolist()


def from_first(values: Sequence[float]) -> list[float]:
    """The values of process 0, on every process."""
    if world() == 1:
        return list(values)
    sent = torch.tensor(values, dtype=torch.float64)
    dist.broadcast(sent, 0)
    return sent.tolist()


def gather_objects(own: object) -> list:
    """What every process gave, in their order (plain values between our own processes, never to disk)."""
    if world() == 1:
        return [own]
    found: list = [None] * world()
    dist.all_gather_object(found, own)
    return found


def sum_gradients(encoder: nn.Module) -> None:
    """Add up the gradients of all processes in place; a parameter without one here counts as zero.

    FSDP2 has taken the mean of those of a sharded encoder in its backward already: here it becomes the sum.
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
    """All-gather along dimension 0; backward sums what every process sends back for our rows."""

    @staticmethod
    def forward(context, x_ND: Tensor) -> Tensor:
        context.rows = gather_objects(len(x_ND))
        longest = max(context.rows)
        padded = torch.zeros(longest, *x_ND.shape[1:], dtype=x_ND.dtype, device=x_ND.device)
        padded[: len(x_ND)] = x_ND
        found = [torch.empty_like(padded) for _ in context.rows]
        dist.all_gather(found, padded)
        return torch.cat([part[:rows] for part, rows in zip(found, context.rows, strict=True)])

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        summed = gradient.contiguous().clone()
        dist.all_reduce(summed)  # gloo has no reduce-scatter; vectors are small beside the gradients of the encoder
        return summed.split(context.rows)[rank()]


def gather_with_gradient(x_ND: Tensor) -> Tensor:
    """The rows of all processes, in their order (their counts may differ), on each of them, differentiable.

    The gradient of a process's own rows is the sum of what all processes found for them: right when every process
    computes its own part of the loss and the parts add up to the loss of the global batch (as `sum_gradients` wants).
    """
    return x_ND if world() == 1 else _Gather.apply(x_ND)


def same_weights(encoder: nn.Module) -> None:
    """Give every process the weights of process 0; nothing to do for a sharded encoder, whose weights are shared."""
    if world() > 1 and not is_sharded(encoder):
        with torch.no_grad():
            for tensor in encoder.state_dict().values():
                dist.broadcast(tensor, 0)


def shard(encoder: nn.Module) -> None:
    """Shard parameters, gradients and optimizer state over all processes with FSDP2, a block at a time; once is enough."""
    if is_sharded(encoder):  # by the phase before
        return
    from torch.distributed.fsdp import fully_shard

    for module in [*encoder.h, encoder]:
        fully_shard(module)


def is_sharded(encoder: nn.Module) -> bool:
    """Whether `shard` was called on this encoder."""
    return any(hasattr(parameter, "full_tensor") for parameter in encoder.parameters())


def whole(tensor: Tensor) -> Tensor:
    """A sharded tensor put together (every process calls this), any other as it is."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def unsharded(encoder: nn.Module) -> nn.Module:
    """The encoder itself, or of a sharded one a whole copy on the CPU (every process calls this)."""
    if not is_sharded(encoder):
        return encoder
    from codesage.encoder.model import Encoder

    copy = Encoder(encoder.config)
    copy.load_state_dict({name: whole(tensor).cpu() for name, tensor in encoder.state_dict().items()}, assign=True)
    return copy


def like(tensor: Tensor, reference: Tensor) -> Tensor:
    """This process's shard of a whole tensor, laid out as `reference`; the tensor itself where that is not sharded."""
    if not hasattr(reference, "full_tensor"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(reference.device), reference.device_mesh, reference.placements)


@contextmanager
def published(target: Path | str, kind: str, *, settings: dict, facts: dict | None = None) -> Iterator[Path]:
    """`artifacts.publish` of process 0; the others get a folder that is thrown away, and wait until it is done."""
    if rank() == 0:
        with publish(target, kind, settings=settings, facts=facts) as folder:
            yield folder
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    barrier()

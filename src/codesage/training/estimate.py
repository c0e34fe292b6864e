"""Estimate the cost of a run: operations, memory, disk, and the device's measured or published peak.

In: the shape of an encoder and the tokens per step. Out: plain numbers with units in their names. The counts assume 2
operations per weight and token forward and twice that backward. Attention takes 4 L D per token and layer forward.
"""

import shutil
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from codesage.encoder.config import Config
from codesage.errors import CodesageError
from codesage.training import precision, processes
from codesage.training.schedule import Settings

# Dense bf16 peaks in 10^12 operations per second, from the vendor's data sheets.
_GPUS = {
    "H200": 989,
    "H100 PCIe": 756,
    "H100": 989,
    "B200": 2250,
    "GH200": 989,
    "A100": 312,
    "L40S": 362,
    "L40": 181,
    "L4": 121,
    "A10": 125,
    "RTX 4090": 165,
    "RTX 3090": 71,
    "V100": 125,
    "T4": 65,
}


def flops_per_token(config: Config, *, head_share: float = 0.0, length: float = 0.0) -> float:
    """Operations per token, forward and backward. `head_share` of the tokens go through the vocabulary.

    Only these tokens pass the last block, except for its keys and values, as in Encoder.forward. Without a head all tokens
    do. `length` is the mean number of tokens that a token attends to.
    """
    width, attended = config.hidden_size, config.attention_width
    layers = config.num_hidden_layers - 1 + (head_share or 1.0)  # in full blocks
    weights = layers * 2 * width * (attended + config.intermediate_size) + config.num_hidden_layers * 2 * width * attended
    attention = layers * 4 * length * attended
    return 3 * (2 * weights + attention + 2 * head_share * config.vocab_size * width)


def peak_flops(device: torch.device, *, bf16: bool) -> float:
    """Peak of the device in operations per second: published for known GPUs, measured by a short matmul on CPUs.

    0 for other GPUs.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        known = next((tera for key, tera in _GPUS.items() if key in name), 0)
        return known * 1e12 * (1.0 if bf16 else 0.5)
    return _measured(torch.bfloat16 if bf16 else torch.float32)


@cache
def _measured(dtype: torch.dtype) -> float:
    emulated = dtype == torch.bfloat16 and not precision.native_bf16(torch.device("cpu"))
    size = 256 if emulated else 1024  # a large product in emulated bf16 takes seconds
    a, b = torch.ones(size, size, dtype=dtype), torch.ones(size, size, dtype=dtype)
    best, ends = 0.0, time.perf_counter() + 0.3
    while time.perf_counter() < ends:
        started = time.perf_counter()
        torch.mm(a, b)
        best = max(best, 2 * size**3 / (time.perf_counter() - started))
    return best


def usual_share(config: Config, device: torch.device) -> float:
    """The share of the device's peak that training usually reaches: half on a CPU, and on a GPU what an H200 reached.

    On an H200 `small` reached 0.35, and two simultaneous runs of `nano` reached 0.08 together (docs/log.md). A narrow encoder
    is limited by memory, in proportion to its width.
    """
    return 0.35 * min(1.0, config.hidden_size / 1024) if device.type == "cuda" else 0.5


def fixed_bytes(config: Config) -> int:
    """Memory that training needs for any batch: weights, gradients and two moments in fp32."""
    return 4 * 4 * config.parameters()


def graph_bytes(config: Config, tokens: float, *, attended: float, mode: str, device: torch.device) -> float:
    """Memory of what backward needs of `tokens` tokens. `attended` is the mean number of tokens that a token attends to.

    `mode` is that of training.precision. Floats count 4 bytes, of which bf16 needs half to three quarters. But on a CPU
    attention in bf16 keeps its weights (encoder.model).
    """
    width, layers = config.hidden_size, config.num_hidden_layers
    floats = layers * (10 * width + 2 * config.intermediate_size) + 6 * width
    keeps_weights = device.type == "cpu" and precision.fast_dtype(mode, device) == torch.bfloat16
    return tokens * (4 * floats + 2 * keeps_weights * layers * config.num_attention_heads * attended)


def checkpoint_bytes(config: Config) -> int:
    """Size of one checkpoint: weights and two moments in fp32. Muon needs less, since it keeps one moment."""
    return 3 * 4 * config.parameters() + 1_000_000


def run_bytes(config: Config, *, keep: int) -> int:
    """Disk space of a run: the checkpoints that are kept, the one being written, and the model."""
    return (keep + 1) * checkpoint_bytes(config) + 4 * config.parameters()


def require_disk(folder: Path, needed: int) -> None:
    """Raise CodesageError when the file system of `folder` has less than `needed` bytes free. `folder` need not exist."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CodesageError(
            f"{folder} has {free / 1e9:.2f} GB free, the run needs about {needed / 1e9:.2f} GB for its "
            "checkpoints and model: free some space or choose another --out"
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimate that `--dry-run` prints."""

    parameters: int
    memory_bytes: int  # weights, gradients, moments, and the activations of one micro-batch
    disk_bytes: int
    step_tokens: int
    steps: int
    peak: float  # operations per second; 0: not known
    seconds: float  # at the usual share of the peak, capped by the time limit; 0: not known

    def lines(self) -> list[str]:
        """One fact per line."""
        return [
            f"parameters  {self.parameters:,}",
            f"memory      {self.memory_bytes / 1e9:.2f} GB",
            f"disk        {self.disk_bytes / 1e9:.2f} GB",
            f"tokens      {self.step_tokens:,} a step, {self.step_tokens * self.steps:,} in {self.steps:,} steps",
            f"device      {self.peak / 1e9:,.0f} GFLOP/s peak" if self.peak else "device      a GPU whose peak is not known",
            f"time        {_hours(self.seconds)}" if self.seconds else "time        not known",
        ]


@dataclass(frozen=True, slots=True)
class Step:
    """The work of one step."""

    tokens: int
    flops: float  # operations, in all processes
    micro_tokens: int  # tokens whose graph is kept at once, at most
    head_floats: float = 0.0  # floats that the loss over the vocabulary holds at once
    attended: float = 0.0  # mean number of tokens that a token attends to


def estimate(config: Config, step: Step, settings: Settings, device: torch.device) -> Estimate:
    """The cost of a run with these settings of the loop, at the usual share of the peak. Its time limit also caps its steps.

    Where the peak is not known, nothing is said of the time, and the steps are those of the settings.
    """
    peak, steps = peak_flops(device, bf16=precision.fast_dtype(settings.precision, device) == torch.bfloat16), settings.steps
    step_seconds = step.flops / (usual_share(config, device) * processes.world() * peak) if peak else 0.0
    if settings.seconds and step_seconds:
        steps = min(steps, max(1, int(settings.seconds / step_seconds)))
    graph = graph_bytes(config, step.micro_tokens, attended=step.attended, mode=settings.precision, device=device)
    memory = fixed_bytes(config) + graph + 4 * step.head_floats
    disk = run_bytes(config, keep=settings.keep)
    return Estimate(config.parameters(), int(memory), disk, step.tokens, steps, peak, steps * step_seconds)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 5400 else f"{seconds / 60:.1f} minutes"

"""The one step loop of both stages.

In: an encoder, batches, and a function from a batch to its loss. Out: the trained encoder, and a line of JSON a step
in metrics.jsonl. No framework: what happens in a step is written here once, in order. Runs end after `steps` steps or
`seconds` seconds, whichever comes first; the learning rate follows the larger share of the two that is used up.
"""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from codesage.encoder.model import Encoder
from codesage.errors import CodesageError

Batch = TypeVar("Batch")


@dataclass(frozen=True, slots=True)
class Settings:
    """Optimisation of one stage. The paper publishes steps, warm-up and learning rate; the rest is our choice."""

    steps: int
    warmup_steps: int
    learning_rate: float
    seconds: float = 0.0  # also stop after this much time; 0: no limit
    embedding_rate: float = 1.0  # learning rate of the token embedding, as a multiple
    weight_decay: float = 0.1  # on matrices only
    beta1: float = 0.9
    beta2: float = 0.98
    clip_norm: float = 1.0
    final_rate: float = 0.05  # the linear decay ends at this share of the learning rate
    max_skipped: int = 20  # non-finite steps that are left out before the run stops
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.warmup_steps < 0 or self.learning_rate <= 0 or self.seconds < 0:
            raise CodesageError(f"steps {self.steps}, warm-up {self.warmup_steps}, rate {self.learning_rate}, seconds "
                                f"{self.seconds}: expected steps and rate over 0, the others not negative")  # fmt: skip


def rate_at(settings: Settings, used: float) -> float:
    """Learning rate when the share `used` (0..1) of the run is done: linear warm-up, then linear decay."""
    warmup = settings.warmup_steps / settings.steps
    if used < warmup:
        return settings.learning_rate * (used + 1 / settings.steps) / (warmup + 1 / settings.steps)
    left = (1 - used) / max(1e-9, 1 - warmup)
    return settings.learning_rate * (settings.final_rate + (1 - settings.final_rate) * left)


def train(
    encoder: Encoder,
    settings: Settings,
    *,
    batches: Iterator[Batch],
    loss_of: Callable[[Batch], tuple[Tensor, int]],
    folder: Path,
    stage: str,
) -> dict:
    """Train `encoder` in place; `loss_of(batch)` gives a scalar loss and the number of real tokens in the batch.

    A step whose loss or gradient is not finite never reaches the optimizer; it is named in metrics.jsonl (written to
    `folder`), and after `max_skipped` of them in all CodesageError is raised. Returns facts of the run: steps,
    tokens, seconds, last loss (mean of the last 20 steps), skipped steps.
    """
    optimizer = _optimizer(encoder, settings)
    encoder.train()
    started, tokens, skipped, losses = time.perf_counter(), 0, 0, []
    with open(folder / "metrics.jsonl", "a", encoding="utf-8") as metrics:
        step = 0
        for step, batch in enumerate(batches):
            elapsed = time.perf_counter() - started
            used = max(step / settings.steps, elapsed / settings.seconds if settings.seconds else 0.0)
            if used >= 1:
                break
            rate = rate_at(settings, used)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["multiple"]
            loss, batch_tokens = loss_of(batch)
            loss.backward()
            reached = [parameter for parameter in encoder.parameters() if parameter.grad is not None]
            norm = torch.nn.utils.clip_grad_norm_(reached, settings.clip_norm)
            finite = math.isfinite(loss.item()) and math.isfinite(norm.item())
            if finite:
                optimizer.step()
                losses.append(loss.item())
            else:
                skipped += 1
            optimizer.zero_grad(set_to_none=True)
            tokens += batch_tokens
            line = {"stage": stage, "step": step, "loss": loss.item(), "gradient_norm": norm.item(), "rate": rate,
                    "tokens": tokens, "seconds": time.perf_counter() - started, "skipped": not finite}  # fmt: skip
            metrics.write(json.dumps(line) + "\n")
            _show(line, used)
            if skipped > settings.max_skipped:
                raise CodesageError(f"{skipped} steps were not finite, the last at step {step}: lower the learning rate")
        else:
            step += 1
    encoder.eval()
    seconds = time.perf_counter() - started
    if not losses:
        raise CodesageError("the run ended before its first step: the data gave no batch, or the time was up")
    tail = losses[-20:]
    return {"steps": step, "tokens": tokens, "seconds": round(seconds, 1), "skipped": skipped,
            "loss": round(sum(tail) / len(tail), 4)}  # fmt: skip


def _optimizer(encoder: Encoder, settings: Settings) -> torch.optim.AdamW:
    table, matrices, vectors = [encoder.wte.weight], [], []
    for name, parameter in encoder.named_parameters():
        if name != "wte.weight":
            (matrices if parameter.ndim > 1 else vectors).append(parameter)
    groups = [
        {"params": table, "weight_decay": 0.0, "multiple": settings.embedding_rate},
        {"params": matrices, "weight_decay": settings.weight_decay, "multiple": 1.0},
        {"params": vectors, "weight_decay": 0.0, "multiple": 1.0},
    ]
    return torch.optim.AdamW(
        groups, lr=settings.learning_rate, betas=(settings.beta1, settings.beta2), fused=True
    )


def _show(line: dict, used: float) -> None:
    if not sys.stderr.isatty() and line["step"] % 50:
        return
    left = line["seconds"] * (1 - used) / used if used else float("nan")
    print(
        f"{line['stage']}  step {line['step']}  loss {line['loss']:.3f}  {line['tokens'] / line['seconds']:,.0f} tokens/s"
        f"  {used:.0%} done, {left / 60:.1f} min left",
        end="\r" if sys.stderr.isatty() else "\n",
        file=sys.stderr,
        flush=True,
    )

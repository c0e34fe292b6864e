"""When a run ends, at what rate it learns, and when it saves and looks: the settings of the loop, and what follows.

In: settings, and how far a run is. Out: plain numbers. The learning rate is a function of the share of the run that is
used up, of its steps or of its time, so that a run bounded by time decays to the end too.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any

from codesage.errors import CodesageError
from codesage.training import guard as guards
from codesage.training import precision

DECAYS = ("linear", "cosine")
OPTIMIZERS = ("adamw", "muon")  # see training.optimizers


@dataclass(frozen=True, slots=True)
class Settings:
    """Optimisation of one stage. The paper publishes steps, warm-up and learning rate; the rest is our choice."""

    steps: int
    warmup_steps: int
    learning_rate: float
    seconds: float = 0.0  # also stop after this much time; 0: no limit
    embedding_rate: float = 1.0  # learning rate of the token embedding, as a multiple
    muon_rate: float = 1.0  # that of the matrices that Muon moves
    weight_decay: float = 0.1  # on matrices only, and not on the token embedding
    beta1: float = 0.9
    beta2: float = 0.98
    clip_norm: float = 1.0
    decay: str = "linear"  # or "cosine"
    final_rate: float = 0.05  # the decay ends at this share of the learning rate
    optimizer: str = "adamw"  # or "muon"
    precision: str = "auto"  # "bf16", "fp32"; auto: bf16 where the processor has it
    compile: bool = False  # torch.compile of the blocks: other rounding and other dropout masks, not another run
    shard: bool = False  # FSDP2 over all processes
    guard: guards.Settings = field(default_factory=guards.Settings)
    checkpoint_steps: int = 0  # a checkpoint after so many steps; 0: by time only
    checkpoint_seconds: float = 300.0  # and after so much time; 0: by steps only
    keep: int = 2  # newest checkpoints that are kept
    evaluations: int = 10  # retrieval scores over the run; fewer where they would take over a twentieth of its time
    tensorboard: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        require_finite(self)
        if self.steps < 1 or self.warmup_steps < 0 or self.learning_rate <= 0 or self.seconds < 0:
            raise CodesageError(
                f"steps {self.steps}, warm-up {self.warmup_steps}, rate {self.learning_rate}, seconds "
                f"{self.seconds}: expected steps and rate over 0, the others not negative"
            )
        if self.keep < 1 or self.checkpoint_steps < 0 or self.checkpoint_seconds < 0:
            raise CodesageError(
                f"keep {self.keep}, checkpoint_steps {self.checkpoint_steps}, checkpoint_seconds "
                f"{self.checkpoint_seconds}: expected keep over 0, the others not negative"
            )
        if min(self.embedding_rate, self.muon_rate, self.weight_decay, self.final_rate) < 0 or self.clip_norm <= 0:
            raise CodesageError(
                f"embedding_rate {self.embedding_rate}, muon_rate {self.muon_rate}, weight_decay {self.weight_decay}, "
                f"final_rate {self.final_rate}, clip_norm {self.clip_norm}: expected clip_norm over 0, the others not negative"
            )
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise CodesageError(f"beta1 is {self.beta1}, beta2 {self.beta2}: expected both at least 0 and under 1")
        for name, value, allowed in (
            ("decay", self.decay, DECAYS),
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("precision", self.precision, precision.PRECISIONS),
        ):
            if value not in allowed:
                raise CodesageError(f"{name} is {value!r}, expected one of {', '.join(allowed)}")


def require_finite(settings: Any) -> None:
    """CodesageError when a number in a dataclass of settings is infinite or not a number, which comparisons let pass."""
    for field_of in fields(settings):
        value = getattr(settings, field_of.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise CodesageError(f"{field_of.name} is {value}: expected a finite number")


@dataclass(slots=True)
class Progress:
    """How far a run is: what a checkpoint holds beside tensors."""

    step: int = 0  # steps done
    tokens: int = 0
    seconds: float = 0.0  # time used, over all lives of the run
    half: int = 0  # the first step whose batch was made after half of the run was done; 0: not yet
    evaluated: int = 0  # evaluations that were due so far
    evaluating: float = 0.0  # seconds of the time used that they took
    evaluation: dict = field(default_factory=dict)  # the latest


def rate_at(settings: Settings, used: float) -> float:
    """Learning rate when the share `used` (0..1) of the run is done: linear warm-up, then linear or cosine decay."""
    warmup = settings.warmup_steps / settings.steps
    if used < warmup:
        return settings.learning_rate * (used + 1 / settings.steps) / (warmup + 1 / settings.steps)
    left = min(1.0, (1 - used) / max(1e-9, 1 - warmup))
    if settings.decay == "cosine":
        left = 0.5 - 0.5 * math.cos(math.pi * left)
    return settings.learning_rate * (settings.final_rate + (1 - settings.final_rate) * left)


def share_used(settings: Settings, progress: Progress) -> float:
    """Share of the run that is done, of its steps or of its time, whichever is larger; from 1 on the run is over."""
    return max(progress.step / settings.steps, progress.seconds / settings.seconds if settings.seconds else 0.0)


def checkpoint_due(settings: Settings, step: int, elapsed: float) -> bool:
    """Whether to save after `step` steps, `elapsed` seconds after the checkpoint before."""
    by_steps = settings.checkpoint_steps and step % settings.checkpoint_steps == 0
    return bool(by_steps or (settings.checkpoint_seconds and elapsed > settings.checkpoint_seconds))


def evaluation_affordable(settings: Settings, progress: Progress) -> bool:
    """Whether looking costs no more than a twentieth of the time, where a run is bounded by time."""
    return not settings.seconds or progress.evaluating <= 0.05 * progress.seconds

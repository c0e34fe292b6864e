"""Guard the optimizer: skip a step that is not finite or is far from earlier steps.

In: the loss and gradient norm of a step. Out: whether to skip it, and why. `refused` decides on the device, where the values
are, so that no step waits for them. `Guard.reason` comes to the same decision when they are read, and remembers them. The
history is stored as plain lists, so a checkpoint can hold it and a resumed run decides as an uninterrupted run would.
"""

import math
import sys
from dataclasses import dataclass, field
from statistics import fmean, pstdev

from torch import Tensor

from codesage.errors import CodesageError

_MEMORY = 1000  # steps over which skipped ones are counted
_LARGEST = sys.float_info.max  # what any finite number passes as a limit
_FLOOR = 0.01  # lower bound of the standard deviation, as a share of the mean loss, for very even losses


@dataclass(frozen=True, slots=True)
class Settings:
    """What counts as a spike, and how many spikes are allowed."""

    deviations: float = 8.0  # a loss above the window's mean by this many standard deviations is a spike; 0: never
    norm_factor: float = 20.0  # a gradient norm over this multiple of the window's mean is a spike; 0: never
    window: int = 100  # accepted steps that are remembered
    least: int = 50  # accepted steps needed before anything counts as a spike
    most_skipped: int = 20  # skipped steps allowed in the last 1,000; more stop the run


@dataclass(slots=True)
class Guard:
    """Decides on each step and remembers recent steps."""

    settings: Settings
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)  # recently skipped steps
    skipped_in_all: int = 0

    def reason(self, step: int, loss: float, norm: float) -> str:
        """The reason to skip this step, or "" to take it. The step is remembered either way."""
        why = self._judge(loss, norm)
        if why:
            self.skipped.append(step)
            self.skipped_in_all += 1
        else:
            self.losses.append(loss)
            self.norms.append(norm)
            del self.losses[: -self.settings.window], self.norms[: -self.settings.window]
        self.skipped = [other for other in self.skipped if other > step - _MEMORY]
        return why

    def forget(self) -> None:
        """Forget the accepted steps, because the next ones have another loss."""
        self.losses, self.norms = [], []

    def refuse_too_many(self) -> None:
        """Raise CodesageError when more of the last 1,000 steps were skipped than the settings allow."""
        if len(self.skipped) > self.settings.most_skipped:
            raise CodesageError(
                f"{len(self.skipped)} of the last {_MEMORY} steps were not finite or spikes, the last at "
                f"step {self.skipped[-1]} (see metrics.jsonl): lower the learning rate"
            )

    def limits(self) -> tuple[float, float]:
        """The largest loss and the largest gradient norm that the next step may have."""
        if len(self.losses) < self.settings.least:
            return _LARGEST, _LARGEST
        mean = fmean(self.losses)
        loss = mean + self.settings.deviations * max(pstdev(self.losses, mean), _FLOOR * abs(mean))
        norm = self.settings.norm_factor * fmean(self.norms)
        return (
            min(loss, _LARGEST) if self.settings.deviations else _LARGEST,
            min(norm, _LARGEST) if self.settings.norm_factor else _LARGEST,
        )

    def _judge(self, loss: float, norm: float) -> str:
        if not math.isfinite(loss):
            return f"loss is {loss}, not finite"
        if not math.isfinite(norm):
            return f"gradient norm is {norm}, not finite"
        most_loss, most_norm = self.limits()
        if loss > most_loss:
            return f"loss spike: {loss:.4g} over {most_loss:.4g}"
        if norm > most_norm:
            return f"gradient spike: norm {norm:.4g} over {most_norm:.4g}"
        return ""

    def state(self) -> dict:
        """The history as JSON values."""
        return {"losses": self.losses, "norms": self.norms, "skipped": self.skipped, "skipped_in_all": self.skipped_in_all}

    def restore(self, state: dict) -> None:
        """Restore the history from `state`."""
        self.losses, self.norms, self.skipped = list(state["losses"]), list(state["norms"]), list(state["skipped"])
        self.skipped_in_all = state["skipped_in_all"]


def refused(values_2: Tensor, limits: tuple[float, float]) -> Tensor:
    """1 where a step must be skipped, else 0: a float32 scalar on the device of its (loss, norm) in float64.

    `limits`: those of the guard that has seen all steps before. Then `Guard.reason` gives a reason exactly where this is 1.
    """
    loss, norm = values_2.unbind()
    return ((loss <= limits[0]) & (loss >= -_LARGEST) & (norm <= limits[1])).logical_not().float()  # NaN passes no comparison

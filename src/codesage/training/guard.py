"""The guard before the optimizer: a step that is not finite, or far off what the run has seen, is left out.

In: the loss and gradient norm of a step. Out: why it must not be taken, or "". Its memory is plain lists, so that a
checkpoint holds it and a resumed run judges as the uninterrupted one would have.
"""

import math
from dataclasses import dataclass, field
from statistics import fmean, pstdev

from codesage.errors import CodesageError

_MEMORY = 1000  # steps over which skipped ones are counted
_FLOOR = 0.01  # of the mean loss: deviations under this are never a spike, however even the losses were


@dataclass(frozen=True, slots=True)
class Settings:
    """What counts as a spike, and how many are borne."""

    deviations: float = 8.0  # a loss over mean + this many standard deviations of the window is a spike; 0: never
    norm_factor: float = 20.0  # so is a gradient norm over this multiple of the window's mean; 0: never
    window: int = 100  # accepted steps that are remembered
    least: int = 50  # accepted steps before anything counts as a spike
    most_skipped: int = 20  # of the last 1,000 steps; more stop the run


@dataclass(slots=True)
class Guard:
    """Judges steps and remembers what it saw."""

    settings: Settings
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)  # the latest skipped steps
    skipped_in_all: int = 0

    def reason(self, step: int, loss: float, norm: float) -> str:
        """Why this step must be skipped, "" when it may be taken; remembers it either way."""
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

    def refuse_too_many(self) -> None:
        """Raise CodesageError when more of the last 1,000 steps were skipped than the settings bear."""
        if len(self.skipped) > self.settings.most_skipped:
            raise CodesageError(f"{len(self.skipped)} of the last {_MEMORY} steps were not finite or spikes, the last at "
                                f"step {self.skipped[-1]} (see metrics.jsonl): lower the learning rate")  # fmt: skip

    def _judge(self, loss: float, norm: float) -> str:
        if not math.isfinite(loss):
            return f"loss is {loss}, not finite"
        if not math.isfinite(norm):
            return f"gradient norm is {norm}, not finite"
        if len(self.losses) < self.settings.least:
            return ""
        mean = fmean(self.losses)
        limit = mean + self.settings.deviations * max(pstdev(self.losses, mean), _FLOOR * abs(mean))
        if self.settings.deviations and loss > limit:
            return f"loss spike: {loss:.4g} over {limit:.4g}"
        limit = self.settings.norm_factor * fmean(self.norms)
        if self.settings.norm_factor and norm > limit:
            return f"gradient spike: norm {norm:.4g} over {limit:.4g}"
        return ""

    def state(self) -> dict:
        """Its memory, as JSON values."""
        return {"losses": self.losses, "norms": self.norms, "skipped": self.skipped, "skipped_in_all": self.skipped_in_all}

    def restore(self, state: dict) -> None:
        """Take over the memory of `state`."""
        self.losses, self.norms, self.skipped = list(state["losses"]), list(state["norms"]), list(state["skipped"])
        self.skipped_in_all = state["skipped_in_all"]

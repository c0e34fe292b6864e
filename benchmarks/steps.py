"""Steps of a training run, by the clock and by the processor, and the peak of its memory: one measure for every side.

A form of training runs in a process of its own (`run` starts it, `measured` is what it gives back), so that memory is its
own, nothing of the form before lies in the cache of the allocator, and forms can take turns. The first step warms up and is
not counted. Seconds of the clock on a machine that does something else say nothing: those of the processor stand beside.
Every form says the precision it computed in: all forms of a benchmark must have the same.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


class Over(Exception):
    """All steps that are measured are done; what a trainer does at its end is no training."""


class Clock:
    """Wall and processor seconds at the ends of steps, and how many items each step had."""

    def __init__(self) -> None:
        self.ticks: list[tuple[float, float]] = []
        self.items: list[int] = []
        self.precisions: set[str] = set()

    def note_precision(self, *_unused) -> None:
        """Note whether the products that now follow are in bf16; a hook before the forward of a layer, for a peer."""
        import torch

        self.precisions.add("bf16" if torch.is_autocast_enabled("cpu") else "fp32")

    def watch(self, model) -> None:
        """Note the precision in which the layers of a model of a peer run: all those that have no parts."""
        for module in model.modules():
            if not list(module.children()):
                module.register_forward_pre_hook(self.note_precision)

    def tick(self) -> None:
        """Training begins, or a step ends."""
        self.ticks.append((time.perf_counter(), time.process_time()))

    def before_step(self, items: int, *, steps: int) -> None:
        """A step of so many items begins; Over when `steps`, and the one that warms up, have been."""
        self.tick()
        if len(self.ticks) > steps + 1:
            raise Over
        self.items.append(items)

    def steps(self) -> list[tuple[float, float, int]]:
        """Seconds and items of all steps but the first."""
        spans = zip(self.ticks[1:-1], self.ticks[2:], self.items[1:], strict=True)
        return [(end[0] - start[0], end[1] - start[1], items) for start, end, items in spans]

    def callback(self):
        """What makes a Trainer tick; the number of items is for its collator to note."""
        from transformers import TrainerCallback

        clock = self

        class Ticks(TrainerCallback):
            def on_step_begin(self, *_unused, **__unused) -> None:
                if not clock.ticks:
                    clock.tick()

            def on_step_end(self, *_unused, **__unused) -> None:
                clock.tick()

        return Ticks()


def measured(clock: Clock, train: Callable[[], object]) -> dict:
    """Steps, and bytes: peak of the resident pages, and how far that is over what was resident before `train`."""
    before = _resident("VmRSS")
    with suppress(Over):
        train()
    peak = _resident("VmHWM")  # not ru_maxrss, which a process inherits from the one that started it
    used = "/".join(sorted(clock.precisions))
    return {"steps": clock.steps(), "precision": used, "peak_bytes": peak, "growth_bytes": peak - before}


def measured_ours(encoder, batches, gradients_of: Callable, *, items: Callable[[object], int], steps: int, stage: str) -> dict:
    """`measured` of our own loop over `batches`; `items(batch)`: how many a batch has."""
    from codesage.training import loop

    clock = Clock()

    def timed(batch):
        clock.before_step(items(batch), steps=steps)
        clock.note_precision()
        return gradients_of(batch)

    def train() -> None:
        settings = loop.Settings(steps + 2, 1, 1e-5, checkpoint_seconds=0)
        with tempfile.TemporaryDirectory() as out:
            loop.train(encoder, settings, loop.Run(stage, Path(out), batches, timed))

    return measured(clock, train)


def run(script: str, form: str, work: Path, **options: int) -> dict:
    """What `script --form FORM --work WORK` prints as its last line, with the options as flags."""
    flags = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, script, "--form", form, "--work", str(work), *flags]
    quiet = os.environ | {"TQDM_DISABLE": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=quiet)
    return json.loads(done.stdout.splitlines()[-1])


def same_precision(runs: dict[str, list[dict]]) -> str:
    """The precision that all runs of all forms computed in; an error when they differ."""
    precisions = {form: sorted({run["precision"] for run in of_form}) for form, of_form in runs.items()}
    if len({tuple(names) for names in precisions.values()}) > 1:
        raise SystemExit(f"the forms computed in different precisions, their speeds cannot be compared: {precisions}")
    return next(iter(precisions.values()))[0]


def rate(figures: dict, unit: int) -> float:
    """Items a second of what `measured` found: of the clock (unit 0) or of the processor (1)."""
    return sum(step[2] for step in figures["steps"]) / sum(step[unit] for step in figures["steps"])


def ratios(ours: list[dict], theirs: list[dict]) -> dict[str, float]:
    """Medians over rounds, ours over theirs: items a second by clock and by processor, and bytes."""
    rounds = list(zip(ours, theirs, strict=True))
    speed = {
        name: statistics.median(rate(mine, unit) / rate(other, unit) for mine, other in rounds)
        for unit, name in enumerate(("clock", "processor"))
    }
    return speed | {
        name: statistics.median(mine[f"{name}_bytes"] / other[f"{name}_bytes"] for mine, other in rounds)
        for name in ("peak", "growth")
    }


def told(figures: dict, items: str) -> str:
    """One line of what `measured` found."""
    return (
        f"{rate(figures, 0):,.1f} {items}/s, {rate(figures, 1):,.1f} a processor second, {figures['precision']}, peak "
        f"{figures['peak_bytes'] / 1e9:.2f} GB, {figures['growth_bytes'] / 1e9:.2f} GB over before"
    )


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

"""The one step loop of both stages.

In: an encoder, batches by step, and a function that leaves the gradients of a batch. Out: the trained encoder, and a
line of JSON a step in metrics.jsonl. No framework: what happens in a step is written here once, in order. Runs end
after `steps` steps or `seconds` seconds, whichever comes first; the learning rate follows the larger share of the two
that is used up. Everything a step depends on is a function of (settings, step) or is in the checkpoint, so a run
that was killed resumes from its last checkpoint, on a CPU bit for bit; seconds count as used only while a run was alive.
"""

import json
import math
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from codesage.artifacts import write_whole
from codesage.encoder.model import Encoder
from codesage.encoder.transfer import Values
from codesage.errors import CodesageError
from codesage.training import checkpoints as disk
from codesage.training import estimate, optimizers, precision, processes
from codesage.training import guard as guards
from codesage.training.metrics import FILE, Metrics, cut_back
from codesage.training.schedule import Progress, Settings, checkpoint_due, evaluation_affordable, rate_at, share_used

Batch = TypeVar("Batch")
Batch_co = TypeVar("Batch_co", covariant=True)
# Settings that a resumed run may change. The first two prolong it, the next move no weight; the last two compute the same
# in another order, so the run is not the same to the last bit, and compiled blocks draw other dropout masks.
_FREE = ("steps", "seconds", "checkpoint_steps", "checkpoint_seconds", "keep", "evaluations", "tensorboard", "compile", "shard")


class Stopped(CodesageError):
    """A signal ended the run after its checkpoint was saved."""


class Batches(Protocol[Batch_co]):
    """Data order as a pure function: `at` is called from another thread, one step ahead."""

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> Batch_co:
        """The share of process `rank` in the batch of a step. The batch is the same for any number of processes."""
        ...


@dataclass(frozen=True, slots=True)
class Run(Generic[Batch]):
    """What a run learns from, where it writes, and what a resumed run must share with it.

    `gradients_of(batch)` computes the loss, leaves its gradients in `.grad` (it calls backward itself) and returns the
    detached scalar loss and the number of real tokens; it runs under autocast where precision is bf16. With several
    processes each gets its share of the global batch and returns its part of loss and tokens: parts add up.

    `warm_up(batch)` is called before the clock starts where the blocks are compiled, and its gradients are dropped: it
    computes what `gradients_of` does of a few items of the batch, so that all is compiled (None: `gradients_of` itself).
    `evaluate()` is called `settings.evaluations` times, without gradients, under autocast. `at_half(step)` is called when half
    of the run is done, by its steps or by its time, with the first step whose batch is not made yet, and again after a resume.
    `new_objective(step)`: whether the loss is another one from this step on. The guard compares it with none before it.

    `checkpoints` is the home of everything that must outlive a kill, one folder for each stage. The newest checkpoint there
    is resumed where `resume` says so and its settings and its `identity` (encoder, data, tokenizer: JSON values) are those of
    this run. In the end `folder` gets metrics.jsonl. An `ended` run takes no further step, whatever its settings say: another
    run has started from its weights.
    """

    stage: str
    folder: Path
    batches: Batches[Batch]
    gradients_of: Callable[[Batch], tuple[Tensor, int]]
    warm_up: Callable[[Batch], object] | None = None
    evaluate: Callable[[], dict] | None = None
    at_half: Callable[[int], None] | None = None
    new_objective: Callable[[int], bool] = lambda step: False
    checkpoints: Path | None = None
    resume: bool = True
    ended: bool = False
    identity: dict = field(default_factory=dict)
    flops_per_token: float = 0.0  # 0: unknown, no utilisation is reported

    @property
    def home(self) -> Path:
        """Where metrics and checkpoints go while the run is under way."""
        return self.folder if self.checkpoints is None else self.checkpoints / self.stage


def train(encoder: Encoder, settings: Settings, run: Run) -> dict:
    """Train `encoder` in place and return facts of the run: steps, tokens, seconds, loss, skipped steps.

    A step that `guard` refuses never reaches the optimizer, and is named in metrics.jsonl. SIGTERM and SIGINT save and raise
    Stopped with the command that resumes, where there are checkpoints; CodesageError when the checkpoint there is of another
    run.
    """
    state = _State(encoder, settings, run)
    with (
        state.opened_metrics() as metrics,
        _signals(catch=run.checkpoints is not None) as signals,
        _ahead(state.batch_at, state.progress.step, settings.steps) as ahead,
        processes.guarded(run.stage),
    ):
        state.compile()
        state.start_clock()
        while not run.ended and (now := state.now()).used < 1:
            state.pass_half(now.used)
            stopped = state.step(next(ahead), now.used, metrics, signals)
            due = int(now.used * settings.evaluations)
            if now.may_evaluate and due > state.progress.evaluated:
                state.evaluate(due, metrics)
            if run.checkpoints is not None and (stopped or checkpoint_due(settings, state.progress.step, now.unsaved)):
                path = state.save(metrics)
                if stopped:
                    raise Stopped(_how_to_resume(run.stage, signals, state.progress.step, path))
        state.end(metrics)
    encoder.eval()
    _finish(run.home, run.folder)
    return state.facts()


class _Now(NamedTuple):
    """The state of the clock, the same in every process."""

    used: float  # share of the run
    unsaved: float  # seconds since the last checkpoint
    may_evaluate: bool


class _Taken(NamedTuple):
    """A step that is taken, and whose loss and gradient norm may still be on their way from the device."""

    step: int
    rate: float
    tokens: int  # of the run so far
    loss_and_norm: Values


class _State(Generic[Batch]):
    """What changes while a run is under way, and one method for each thing that happens in it."""

    def __init__(self, encoder: Encoder, settings: Settings, run: Run[Batch]) -> None:
        self.encoder, self.settings, self.run = encoder, settings, run
        self.batch_at = partial(run.batches.at, rank=processes.rank(), world=processes.world())
        run.home.mkdir(parents=True, exist_ok=True)
        processes.same_weights(encoder)
        if processes.world() > 1:
            torch.manual_seed(settings.seed * 1_000_003 + processes.rank())  # dropout of its own in each process
        self.device = encoder.wte.weight.device
        self.autocast = precision.autocast(settings.precision, self.device)
        if settings.shard and processes.world() > 1:
            processes.shard(encoder, gathered_as=self.autocast.fast_dtype)
        self.optimizer = optimizers.build(encoder, settings)
        self.progress, self.guard = Progress(), guards.Guard(settings.guard)
        self.taken: _Taken | None = None
        self.identity = json.loads(json.dumps({**run.identity, "stage": run.stage, "loop": asdict(settings)}))
        if run.checkpoints is not None:
            self._resume()
        if run.at_half is not None and self.progress.half:
            run.at_half(self.progress.half)
        encoder.train()

    def opened_metrics(self) -> Metrics:
        """Metrics of this run, with the peak of its devices."""
        flops, peak = self.run.flops_per_token, 0.0
        if flops:
            peak = estimate.peak_flops(self.device, bf16=self.autocast.fast_dtype is not None) * processes.world()
        return Metrics(
            self.run.home / FILE, stage=self.run.stage, tensorboard=self.settings.tensorboard, flops_per_token=flops, peak=peak
        )

    def compile(self) -> None:
        """Compile the blocks before the clock starts: a schedule by time would lose its warm-up to the compiler."""
        if not self.settings.compile or self.run.ended or share_used(self.settings, self.progress) >= 1:
            return
        precision.compile_blocks(self.encoder)
        with torch.random.fork_rng(_on(self.device)), self.autocast(), precision.compiling():
            (self.run.warm_up or self.run.gradients_of)(self.batch_at(self.progress.step))
        self.optimizer.zero_grad(set_to_none=True)

    def start_clock(self) -> None:
        """Count seconds from now on, beside those of earlier lives of the run."""
        self._saved, self._saved_step = time.perf_counter(), self.progress.step
        self._started = time.perf_counter() - self.progress.seconds

    def now(self) -> _Now:
        """What the first process's clock says."""
        affordable = self.run.evaluate is not None and evaluation_affordable(self.settings, self.progress)
        own = [share_used(self.settings, self.progress), time.perf_counter() - self._saved, affordable]
        used, unsaved, may_evaluate = processes.from_first(own)
        return _Now(used, unsaved, bool(may_evaluate))

    def pass_half(self, used: float) -> None:
        """Say so when half of the run is done."""
        if used >= 0.5 and not self.progress.half:
            self.progress.half = self.progress.step + 1  # the batch of this step is made already
            if self.run.at_half is not None:
                self.run.at_half(self.progress.half)

    def step(self, batch: Batch, used: float, metrics: Metrics, signals: list[str]) -> bool:
        """Take one step; returns whether a process was asked to stop.

        On a GPU this only gives the device its work. The values of the step before are read when the device has the gradients
        of this one to compute, so neither waits for the other for long.
        """
        progress, step, rate = self.progress, self.progress.step, rate_at(self.settings, used)
        with self.autocast(), precision.compiling():
            part, own_tokens = self.run.gradients_of(batch)
        self.settle(metrics)
        if self.run.new_objective(step):
            self.guard.forget()
        tokens, stopped = processes.total([own_tokens, bool(signals)])
        loss = processes.summed(part.detach().double())
        values = torch.stack([loss, self._clip().to(loss.device, torch.float64)])
        self._descend(guards.refused(values, self.guard.limits()), rate)
        progress.step, progress.tokens = step + 1, progress.tokens + int(tokens)
        progress.seconds = time.perf_counter() - self._started
        self.taken = _Taken(step, rate, progress.tokens, Values(values))
        if self.taken.loss_and_norm.arrived:
            self.settle(metrics)
        return bool(stopped)

    def settle(self, metrics: Metrics) -> None:
        """Read the values of the last step, if that is not done: the guard remembers them, and they are written and shown."""
        if self.taken is None:
            return
        (step, rate, tokens, values), self.taken = self.taken, None
        loss, norm = values.read()
        self.progress.seconds = seconds = time.perf_counter() - self._started
        skipped = self.guard.reason(step, loss, norm)
        metrics.write(step, loss=loss, gradient_norm=norm, rate=rate, tokens=tokens, seconds=seconds, skipped=skipped)
        metrics.show(step, loss=loss, tokens=tokens, seconds=seconds, used=share_used(self.settings, self.progress))
        self.guard.refuse_too_many()

    def _clip(self) -> Tensor:
        """Sum the gradients of all processes and clip them; returns their norm before, a scalar that is not read yet."""
        processes.sum_gradients(self.encoder)
        reached = [parameter for parameter in self.encoder.parameters() if parameter.grad is not None]
        gradients = [parameter.grad for parameter in reached if parameter.grad is not None]
        length = processes.whole(torch.nn.utils.get_total_norm(gradients))
        torch.nn.utils.clip_grads_with_norm_(reached, self.settings.clip_norm, length)
        return length

    def _descend(self, refused: Tensor, rate: float) -> None:
        """Move the weights at `rate` unless `refused`, a scalar on the device, is 1."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["multiple"]
        self.optimizer.found_inf = refused
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def evaluate(self, number: int, metrics: Metrics) -> None:
        """Evaluate, as number so many. The random state stays as it was: a run that evaluates more takes the same steps."""
        self.settle(metrics)
        progress, started = self.progress, time.perf_counter()
        with torch.random.fork_rng(_on(self.device)), torch.no_grad(), self.autocast():
            self.encoder.eval()
            progress.evaluation = self.run.evaluate() if self.run.evaluate is not None else {}
            self.encoder.train()
        progress.evaluated, progress.evaluating = number, progress.evaluating + time.perf_counter() - started
        metrics.write(progress.step - 1, evaluation=progress.evaluation)

    def save(self, metrics: Metrics) -> Path:
        """Write a checkpoint; returns its folder."""
        self.settle(metrics)
        metrics.sync()
        state = {"progress": asdict(self.progress), "guard": self.guard.state()}
        path = disk.save(
            self.run.home,
            self.encoder,
            self.optimizer,
            step=self.progress.step,
            state=state,
            run=self.identity,
            keep=self.settings.keep,
        )
        self._saved, self._saved_step = time.perf_counter(), self.progress.step
        return path

    def end(self, metrics: Metrics) -> None:
        """The last evaluation and the last checkpoint. CodesageError when there was no time for a step."""
        if not self.progress.step:
            raise CodesageError("the run ended before its first step: the time was up")
        self.settle(metrics)
        if self.run.evaluate is not None and self.progress.evaluated < self.settings.evaluations:
            self.evaluate(self.settings.evaluations, metrics)
        if self.run.checkpoints is not None and self._saved_step != self.progress.step:
            self.save(metrics)

    def facts(self) -> dict:
        """What the run came to."""
        progress, tail = self.progress, self.guard.losses[-20:] or [math.nan]
        return {
            "steps": progress.step,
            "tokens": progress.tokens,
            "seconds": round(progress.seconds, 1),
            "skipped": self.guard.skipped_in_all,
            "loss": round(fmean(tail), 4),
            **progress.evaluation,
        }

    def _resume(self) -> None:
        """Load the newest checkpoint into everything, or clear its home for a fresh start."""
        home, first = self.run.home, processes.rank() == 0
        if first and not self.run.resume:
            disk.prune(home, keep=0)
        processes.barrier()
        newest = disk.newest(home)
        steps = processes.gather_objects(newest.state["progress"]["step"] if newest else 0)
        if len(set(steps)) > 1:
            raise CodesageError(f"the processes see checkpoints of different steps ({steps}) in {home}: share one folder")
        if newest is not None:
            self._load(newest)
        if first:
            disk.prune(home, keep=10**9)  # leftovers of killed writers only
            cut_back(home / FILE, step=self.progress.step)
            write_whole(home / "settings.json", json.dumps(self.identity, indent=1) + "\n")
        processes.barrier()

    def _load(self, checkpoint: disk.Checkpoint) -> None:
        if difference := disk.first_difference(*_comparable(checkpoint.run, self.identity)):
            raise CodesageError(f"{checkpoint.path} belongs to another run ({difference}): use --fresh, or another --out")
        disk.restore(checkpoint, self.encoder, self.optimizer)
        for name, value in checkpoint.state["progress"].items():
            setattr(self.progress, name, value)
        self.guard.restore(checkpoint.state["guard"])
        if processes.rank() == 0:
            print(f"codesage: resuming from {checkpoint.path}", file=sys.stderr)


def _comparable(was: dict, now: dict) -> tuple[dict, dict]:
    """What must not differ between the run of a checkpoint and the one that resumes it. With the steps, the warm-up changes."""
    longer = was["loop"].get("steps") != now["loop"]["steps"]
    free = (*_FREE, "warmup_steps") if longer else _FREE
    encoder = was.get("encoder") or {}
    if "num_attention_heads" in encoder:  # a run of an older version lacks the widths of its heads and vectors
        usual = encoder["hidden_size"] // encoder["num_attention_heads"]
        was = {**was, "encoder": {"head_dim": usual, "projection_dim": 0, **encoder}}
    return _without(free, was), _without(free, now)


def _without(names: tuple[str, ...], run: dict) -> dict:
    return {**run, "loop": {name: value for name, value in run["loop"].items() if name not in names}}


def _on(device: torch.device) -> list[torch.device]:
    """The devices beside the CPU whose random state a run has."""
    return [device] if device.type == "cuda" else []


def _how_to_resume(stage: str, signals: list[str], step: int, path: Path) -> str:
    called = Path(sys.argv[0]).name in ("codesage", "__main__.py")
    command = f"'{shlex.join(['codesage', *(a for a in sys.argv[1:] if a != '--fresh')])}'" if called else "the same call"
    why = signals[0] if signals else "a signal to another process"
    return f"{stage} was stopped by {why} after step {step}, saved as {path}: resume with {command}"


def _finish(home: Path, folder: Path) -> None:
    if processes.rank() == 0 and home != folder:
        with open(folder / FILE, "a", encoding="utf-8") as out, open(home / FILE, encoding="utf-8") as own:
            shutil.copyfileobj(own, out)


@contextmanager
def _signals(*, catch: bool) -> Iterator[list[str]]:
    """Names of SIGTERM and SIGINT as they arrive; a second one of a kind ends the process at once."""
    names: list[str] = []
    before: dict[int, Any] = {}

    def note(number: int, frame: object) -> None:
        names.append(signal.Signals(number).name)
        signal.signal(number, before[number])

    if catch and threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield names
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _ahead(batch_at: Callable[[int], Batch], start: int, end: int) -> Iterator[Iterator[Batch]]:
    """The batches of steps start..end-1, each made in one background thread while the step before it runs."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as thread:

        def take() -> Iterator[Batch]:
            pending = thread.submit(batch_at, start)
            for step in range(start, end):
                batch = pending.result()
                if step + 1 < end:
                    pending = thread.submit(batch_at, step + 1)
                yield batch

        yield take()

"""The one step loop of both stages.

In: an encoder, batches by step, and a function that leaves the gradients of a batch. Out: the trained encoder, and a
line of JSON a step in metrics.jsonl. No framework: what happens in a step is written here once, in order. Runs end
after `steps` steps or `seconds` seconds, whichever comes first; the learning rate follows the larger share of the two
that is used up. Everything a step depends on is a function of (settings, step) or stands in the checkpoint, so a run
that was killed goes on bit for bit where its last checkpoint was; seconds count as used only while a run was alive.
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
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from codesage.encoder.model import Encoder
from codesage.errors import CodesageError
from codesage.training import checkpoints as disk
from codesage.training import curves, estimate, optimizers, precision, processes
from codesage.training import guard as guards
from codesage.training.metrics import FILE, Metrics, cut_back
from codesage.training.schedule import Progress, Settings, checkpoint_due, evaluation_affordable, rate_at, share_used

Batch = TypeVar("Batch")
# Settings that a resumed run may change. The first two prolong it, the next move no weight; the last two compute the same
# in another order, so the run is not the same to the last bit, and compiled blocks draw other dropout masks.
_FREE = ("steps", "seconds", "checkpoint_steps", "checkpoint_seconds", "keep", "evaluations", "tensorboard", "compile",
         "shard")  # fmt: skip


class Batches(Protocol[Batch]):
    """Data order as a pure function: `at` is called from another thread, one step ahead."""

    def at(self, step: int) -> Batch:
        """The global batch of a step, the same for any number of processes."""
        ...


def train(
    encoder: Encoder,
    settings: Settings,
    *,
    batches: Batches[Batch],
    gradients_of: Callable[[Batch], tuple[Tensor, int]],
    warm_up: Callable[[Batch], object] | None = None,
    folder: Path,
    stage: str,
    checkpoints: Path | None = None,
    evaluate: Callable[[], dict] | None = None,
    at_half: Callable[[int], None] | None = None,
    run: dict | None = None,
    resume: bool = True,
    flops_per_token: float = 0.0,
) -> dict:
    """Train `encoder` in place and return facts of the run: steps, tokens, seconds, loss, skipped steps.

    `gradients_of(batch)` computes the loss, leaves its gradients in `.grad` (it calls backward itself) and returns the
    detached scalar loss and the number of real tokens; it runs under autocast where precision is bf16. With several
    processes each gets the global batch, takes its share, and returns its part of loss and tokens: parts add up.
    A step that `guard` refuses never reaches the optimizer, and is named in metrics.jsonl.

    `checkpoints` is the home of everything that must outlive a kill, a folder a stage; the newest one there is
    resumed, provided that it is of the same settings and of the same `run` (encoder, data, tokenizer: JSON values),
    else CodesageError. SIGTERM and SIGINT then save, and raise CodesageError with how to go on. In the end `folder`
    gets metrics.jsonl and curves.png. `evaluate()` is called `settings.evaluations` times, without gradients, under
    autocast. `at_half(step)` is called when half of the run is done, by its steps or by its time, with the first step whose
    batch is not yet made, and again after a resume. With `settings.compile`, `warm_up(batch)` is called before the clock
    starts, and its gradients dropped: it computes what `gradients_of` does of a few items of the batch, so that all is
    compiled (None: `gradients_of` itself).
    """
    home = folder if checkpoints is None else checkpoints / stage
    home.mkdir(parents=True, exist_ok=True)
    device = encoder.wte.weight.device
    processes.same_weights(encoder)
    if processes.world() > 1:
        torch.manual_seed(settings.seed * 1_000_003 + processes.rank())  # dropout of its own in each process
    if settings.shard and processes.world() > 1:
        processes.shard(encoder)
    optimizer = optimizers.build(encoder, settings)
    progress, guard = Progress(), guards.Guard(settings.guard)
    run = json.loads(json.dumps({**(run or {}), "stage": stage, "loop": asdict(settings)}))
    if checkpoints is not None:
        _resume(home, encoder, optimizer, progress, guard, run, resume=resume)
    if at_half is not None and progress.half:
        at_half(progress.half)
    autocast = precision.autocast(settings.precision, device)
    peak = estimate.peak_flops(device, bf16=autocast.fast_dtype is not None) * processes.world() if flops_per_token else 0.0
    encoder.train()

    def save() -> Path:
        metrics.sync()
        state = {"progress": asdict(progress), "guard": guard.state()}
        return disk.save(home, encoder, optimizer, step=progress.step, state=state, run=run, keep=settings.keep)

    speed = {"flops_per_token": flops_per_token, "peak": peak}

    with (
        Metrics(home / FILE, stage=stage, tensorboard=settings.tensorboard, **speed) as metrics,
        _signals(catch=checkpoints is not None) as signals,
        _ahead(batches, progress.step, settings.steps) as ahead,
        processes.guarded(stage),
    ):
        if settings.compile and share_used(settings, progress) < 1:
            # Before the clock starts: a schedule by time would lose its warm-up to the compiler.
            precision.compile_blocks(encoder)
            with torch.random.fork_rng(_on(device)), autocast(), precision.compiling():
                (warm_up or gradients_of)(batches.at(progress.step))
            optimizer.zero_grad(set_to_none=True)
        saved, saved_step, started = time.perf_counter(), progress.step, time.perf_counter() - progress.seconds
        while True:
            elapsed = time.perf_counter() - saved
            cheap = evaluation_affordable(settings, progress)
            used, elapsed, cheap = processes.from_first([share_used(settings, progress), elapsed, cheap])
            if used >= 1:
                break
            step, rate = progress.step, rate_at(settings, used)
            if used >= 0.5 and not progress.half:
                progress.half = step + 1  # the batch of this step is made already
                if at_half is not None:
                    at_half(progress.half)
            with autocast(), precision.compiling():
                part, own_tokens = gradients_of(next(ahead))
            loss, tokens, stopped = processes.total([float(part), own_tokens, bool(signals)])
            norm, skipped = _descend(encoder, optimizer, guard, step, loss, rate=rate, clip_norm=settings.clip_norm)
            progress.step, progress.tokens = step + 1, progress.tokens + int(tokens)
            progress.seconds = time.perf_counter() - started
            metrics.write(step, loss=loss, gradient_norm=norm, rate=rate, tokens=progress.tokens,
                          seconds=progress.seconds, skipped=skipped)  # fmt: skip
            metrics.show(step, loss=loss, tokens=progress.tokens, used=share_used(settings, progress), seconds=progress.seconds)
            guard.refuse_too_many()
            if evaluate is not None and cheap and int(used * settings.evaluations) > progress.evaluated:
                with autocast():
                    _evaluate(encoder, evaluate, progress, metrics, int(used * settings.evaluations))
            if checkpoints is not None and (stopped or checkpoint_due(settings, progress.step, elapsed)):
                path, saved, saved_step = save(), time.perf_counter(), progress.step
                if stopped:
                    raise CodesageError(_how_to_go_on(stage, signals, progress.step, path))
        if not progress.step:
            raise CodesageError("the run ended before its first step: the time was up")
        if evaluate is not None and progress.evaluated < settings.evaluations:
            with autocast():
                _evaluate(encoder, evaluate, progress, metrics, settings.evaluations)
        if checkpoints is not None and saved_step != progress.step:
            save()
    encoder.eval()
    _finish(home, folder)
    tail = guard.losses[-20:] or [math.nan]
    return {"steps": progress.step, "tokens": progress.tokens, "seconds": round(progress.seconds, 1),
            "skipped": guard.skipped_in_all, "loss": round(fmean(tail), 4), **progress.evaluation}  # fmt: skip


def _on(device: torch.device) -> list[torch.device]:
    """The devices beside the CPU whose random state a run has."""
    return [device] if device.type == "cuda" else []


def _descend(
    encoder: Encoder, optimizer: torch.optim.Optimizer, guard: guards.Guard, step: int, loss: float, *, rate: float,
    clip_norm: float,
) -> tuple[float, str]:  # fmt: skip
    """Sum the gradients of all processes, clip them, and move the weights at `rate` unless the guard refuses the step.

    Returns the gradient norm before it was clipped, and why the step was skipped, "" when it was taken.
    """
    processes.sum_gradients(encoder)
    reached = [parameter for parameter in encoder.parameters() if parameter.grad is not None]
    total = processes.whole(torch.nn.utils.get_total_norm([parameter.grad for parameter in reached]))
    torch.nn.utils.clip_grads_with_norm_(reached, clip_norm, total)
    norm = total.item()
    skipped = guard.reason(step, loss, norm)
    if not skipped:
        for group in optimizer.param_groups:
            group["lr"] = rate * group["multiple"]
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm, skipped


def _evaluate(encoder: Encoder, evaluate: Callable[[], dict], progress: Progress, metrics: Metrics, number: int) -> None:
    device, started = encoder.wte.weight.device, time.perf_counter()
    # A run that looks more often must not take other steps: the random state stays as it was.
    with torch.random.fork_rng(_on(device)), torch.no_grad():
        encoder.eval()
        progress.evaluation = evaluate()
        encoder.train()
    progress.evaluated, progress.evaluating = number, progress.evaluating + time.perf_counter() - started
    metrics.write(progress.step - 1, evaluation=progress.evaluation)


def _resume(
    home: Path, encoder: Encoder, optimizer: torch.optim.Optimizer, progress: Progress, guard: guards.Guard, run: dict,
    *, resume: bool,
) -> None:  # fmt: skip
    """Load the newest checkpoint of `home` into everything given, or clear `home` for a fresh start."""
    if processes.rank() == 0 and not resume:
        disk.prune(home, keep=0)
    processes.barrier()
    found = disk.newest(home)
    steps = processes.gather_objects(found.state["progress"]["step"] if found else 0)
    if len(set(steps)) > 1:
        raise CodesageError(f"the processes see checkpoints of different steps ({steps}) in {home}: share one folder")
    if found is not None:
        was, now = ({**r, "loop": {k: v for k, v in r["loop"].items() if k not in _FREE}} for r in (found.run, run))
        if difference := disk.first_difference(was, now):
            raise CodesageError(f"{found.path} belongs to another run ({difference}): use --fresh, or another --out")
        disk.restore(found, encoder, optimizer)
        for name, value in found.state["progress"].items():
            setattr(progress, name, value)
        guard.restore(found.state["guard"])
        if processes.rank() == 0:
            print(f"codesage: going on from {found.path}", file=sys.stderr)
    if processes.rank() == 0:
        disk.prune(home, keep=10**9)  # leftovers of killed writers only
        cut_back(home / FILE, step=progress.step)
        (home / "settings.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    processes.barrier()


def _how_to_go_on(stage: str, signals: list[str], step: int, path: Path) -> str:
    called = Path(sys.argv[0]).name in ("codesage", "__main__.py")
    command = f"'{shlex.join(['codesage', *(a for a in sys.argv[1:] if a != '--fresh')])}'" if called else "the same call"
    why = signals[0] if signals else "a signal to another process"
    return f"{stage} was stopped by {why} after step {step}, saved as {path}: go on with {command}"


def _finish(home: Path, folder: Path) -> None:
    if processes.rank() == 0:
        if home != folder:
            with open(folder / FILE, "a", encoding="utf-8") as out, open(home / FILE, encoding="utf-8") as own:
                shutil.copyfileobj(own, out)
        curves.draw(folder / FILE, folder / "curves.png")


@contextmanager
def _signals(*, catch: bool) -> Iterator[list[str]]:
    """Names of SIGTERM and SIGINT as they arrive; a second one of a kind ends the process at once."""
    names: list[str] = []
    before = {}

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
def _ahead(batches: Batches[Batch], start: int, end: int) -> Iterator[Iterator[Batch]]:
    """The batches of steps start..end-1, each made in one background thread while the step before it runs."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as thread:

        def take() -> Iterator[Batch]:
            pending = thread.submit(batches.at, start)
            for step in range(start, end):
                batch = pending.result()
                if step + 1 < end:
                    pending = thread.submit(batches.at, step + 1)
                yield batch

        yield take()

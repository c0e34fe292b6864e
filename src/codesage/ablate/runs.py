"""Work through the cells of a plan: one after the other, several processes at once, or in pieces of some minutes.

In: a plan. Out: a record for each cell. A cell is claimed by a lock on a file, which the system frees when a process dies, so
two processes never run the same cell, whether they belong to one command or to two. When the time is over, and after SIGTERM
or Ctrl-C, a cell saves a checkpoint. The next run resumes there.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from codesage import tokenizer as tokenizers
from codesage.ablate import cells, measure
from codesage.ablate.cells import Cell, Inputs, Plan
from codesage.ablate.grid import read as read_grid
from codesage.contrast import teacher as teachers
from codesage.corpus.tokens import tokenised
from codesage.errors import CodesageError
from codesage.lifetime import die_with, parent_of_children
from codesage.machine import processors
from codesage.training import loop

_PAUSE = 1.0  # seconds between looks for a free cell
Say = Callable[[str], None]


class Stopped(BaseException):
    """The process was asked to stop: by a signal, or because its time is up."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a process needs to work on a grid: paths, and its share of the machine."""

    grid: Path
    tokens: Path
    tokenizer: Path
    out: Path
    teacher: Path | None = None
    benchmarks: Path | None = None
    seconds: float = 0.0  # of this piece; 0: no limit
    threads: int = 0  # of each process; 0: all cores

    def opened(self, *, verify: bool = True) -> tuple[Plan, Inputs]:
        """The plan and what its cells read. CodesageError when something is missing, damaged, or does not fit."""
        grid, tokenizer = read_grid(self.grid), tokenizers.load(self.tokenizer)
        tokens = tokenised.open_tokens(self.tokens, tokenizer=tokenizer, verify=verify)
        teacher = None if self.teacher is None else teachers.read(self.teacher, tokens)
        settings = measure.settings_of(grid.evaluation)
        inputs = Inputs(tokens, tokenizer, teacher, measure.tasks_of(settings, self.benchmarks))
        return cells.plan(grid, inputs, self.out), inputs


def run(request: Request, plan: Plan, inputs: Inputs, *, parallel: int = 1) -> bool:
    """Work on an opened grid with this many processes. Returns whether all cells have their records.

    CodesageError when a process dies; what was finished before is kept.
    """
    if parallel == 1:
        return _work_here(request, plan, inputs)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_worker, args=(request, parent_of_children())) for _ in range(parallel)]
    with _forwarded(processes):
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    if dead := [process.exitcode for process in processes if process.exitcode]:
        raise CodesageError(
            f"{len(dead)} of {parallel} processes died (exit code {dead[0]}): if memory was full, lower "
            "--parallel, and repeat the command"
        )
    return not _left(plan)


def _worker(request: Request, parent: int) -> None:
    import torch

    die_with(parent, by=signal.SIGTERM)  # so that it saves its run
    try:
        _work_here(request, *request.opened(verify=False))
    except torch.OutOfMemoryError as error:  # `run` says how many ended so, and what helps
        say_on_stderr(f"the GPU's memory is full, so one of the processes ends: {str(error).split('. ')[0]}")
        sys.exit(1)


def _work_here(request: Request, plan: Plan, inputs: Inputs) -> bool:
    import torch

    torch.set_num_threads(request.threads or processors())
    return work(plan, inputs, seconds=request.seconds, say=say_on_stderr)


@contextmanager
def _forwarded(processes: list) -> Iterator[None]:
    """Pass SIGTERM and SIGINT on to the processes, which save and end; and wait for them."""

    def forward(number: int, frame: object) -> None:
        for process in processes:
            if process.is_alive():
                process.terminate()

    before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def work(plan: Plan, inputs: Inputs, *, seconds: float = 0.0, say: Say = lambda line: None) -> bool:
    """Run cells until none is left, or for this many seconds (0: no limit). Returns whether all cells have their records."""
    with suppress(Stopped), _alarm(seconds) as stopped:
        while (left := _left(plan)) and not stopped():
            if not any(_tried(plan, cell, inputs, say) for cell in left):
                time.sleep(_PAUSE)  # other processes run all that can be run now
    return not _left(plan)


def _left(plan: Plan) -> list[Cell]:
    return [cell for cell in plan.cells.values() if not plan.done(cell.name)]


def _tried(plan: Plan, cell: Cell, inputs: Inputs, say: Say) -> bool:
    """Run a cell if it is free; returns whether its state changed. Raises Stopped when the process must end."""
    if not all(plan.done(name) for name in cell.needs):
        return False
    (plan.folder / "locks").mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(plan.folder / "locks" / f"{cell.name}.lock", timeout=0):
            if not plan.done(cell.name):
                _run(plan, cell, inputs, say)
    except Timeout:
        return False
    return True


def _run(plan: Plan, cell: Cell, inputs: Inputs, say: Say) -> None:
    what = f"{cell.row.name}, {cell.stage}, seed {cell.seed}"
    failed = [name for name in cell.needs if "failed" in (plan.record(name) or {})]
    if failed:
        cells.write(plan, _failure(cell, f"the run it starts from failed: {failed[0]}"))
        return say(f"{what}: left out, the run it starts from failed")
    try:
        with _log(plan.folder / "logs" / f"{cell.name}.log"):
            record = cells.run(plan, cell, inputs)
    except loop.Stopped:
        raise Stopped from None
    except CodesageError as error:
        cells.write(plan, _failure(cell, str(error)))
        return say(f"{what}: failed: {error}")
    figures = ", ".join(f"{title} {value:.2f}" for title, value in record["figures"].items())
    say(f"{what}: {figures} ({record['training_seconds']:.0f} + {record['measuring_seconds']:.0f} s)")


def _failure(cell: Cell, why: str) -> dict:
    return {"cell": cell.name, "stage": cell.stage, "row": cell.row.name, "seed": cell.seed, "failed": why}


@contextmanager
def _log(file: Path) -> Iterator[None]:
    """Write what the stages print about their progress into a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a", encoding="utf-8") as out, redirect_stderr(out):
        yield


@contextmanager
def _alarm(seconds: float) -> Iterator[Callable[[], bool]]:
    """A function that says whether the process must stop. Time that is up arrives as SIGTERM, as a user's stop does.

    training.loop takes the signal while it trains, saves, and raises; at any other time Stopped is raised here.
    """
    stop_requested = threading.Event()
    deadline = time.monotonic() + seconds if seconds else float("inf")

    def stopped() -> bool:
        return stop_requested.is_set() or time.monotonic() >= deadline

    def note(number: int, frame: object) -> None:
        stop_requested.set()
        raise Stopped

    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM)) if seconds else None
    try:
        if timer:
            timer.daemon = True
            timer.start()
        yield stopped
    finally:
        try:
            if timer and timer.is_alive():
                timer.cancel()
                timer.join()  # a signal that it has sent arrives here, and not after the handlers are restored
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def say_on_stderr(line: str) -> None:
    """Print a line of progress with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.__stderr__, flush=True)

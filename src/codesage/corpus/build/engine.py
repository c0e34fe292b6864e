"""Who runs the units of a build: this machine's cores, or Ray's.

Both run the same tasks in the same killable workers (worker.py) and give the results in the order of the units, and both
compare rows by the same rule (distinct/), so that what a build writes does not depend on the engine or on the number of
workers.
"""

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from typing import Protocol

from codesage.corpus.build.pool import Pool
from codesage.corpus.build.worker import Limits, Task, Worker
from codesage.corpus.distinct.cluster import Cluster
from codesage.corpus.distinct.verdicts import Judge, OneMachine
from codesage.errors import CodesageError

_TICK = 0.2  # seconds between looks at the time an item takes


class Unit(Protocol):
    """A picklable piece of work; `weight` says how long it takes, in any measure."""

    weight: int


class Engine(Protocol):
    """Runs a task over units, and compares what they leave; used as a context manager, since it owns processes."""

    workers: int
    judge: Judge
    shares_machine: bool  # whether all workers see the cache of this machine

    def map(self, task: Task, units: Sequence[Unit], *, heard: Callable[[object], None] = ...) -> Iterator[object]:
        """Results of `task(unit, guard)` in the order of `units`; `heard` gets each one as soon as it is there."""

    def __enter__(self) -> "Engine": ...
    def __exit__(self, *error: object) -> None: ...


class LocalEngine:
    """Worker processes on this machine, one unit each at a time, the heaviest units first."""

    def __init__(self, workers: int = 0, *, limits: Limits = Limits()) -> None:
        self.workers = workers or os.cpu_count() or 1
        self.judge, self.shares_machine = OneMachine(), True
        self._limits = limits
        self._pool: list[Worker] = []

    def map(self, task: Task, units: Sequence[Unit], *, heard: Callable[[object], None] = lambda result: None):
        """Results in the order of `units`. Raises what a task raises, CodesageError when workers cannot live."""
        waiting = sorted(range(len(units)), key=lambda index: (units[index].weight, -index))
        while len(self._pool) < min(self.workers, len(units)):
            self._pool.append(Worker(self._limits))
        idle, busy, results = list(self._pool), {}, {}
        turn = 0
        while turn < len(units):
            while idle and waiting:
                worker, index = idle.pop(), waiting.pop()
                worker.start(task, units[index])
                busy[worker] = index
            wait([worker.channel for worker in busy], timeout=_TICK)
            for worker in list(busy):
                answer = worker.answer()
                if answer is not None:
                    results[busy.pop(worker)] = answer[0]
                    idle.append(worker)
                    heard(answer[0])
            while turn in results:
                yield results.pop(turn)
                turn += 1

    def __enter__(self) -> "LocalEngine":
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._pool:
            worker.close()
        self._pool = []


class RayEngine:
    """The machines of a Ray cluster, or this one: a pool of actors, each with one killable worker.

    The work folder must be one that every machine sees: a shared file system, or an object store. So must folders of
    one's own; what is fetched is fetched by each machine that reads it. A running cluster is joined; where there is none,
    one with `workers` processors is started here, and stopped at the end.
    """

    shares_machine = False

    def __init__(self, workers: int = 0, *, limits: Limits = Limits()) -> None:
        try:
            import ray
        except ModuleNotFoundError:
            raise CodesageError("ray is not installed: run pip install 'codesage[ray]', or use --engine local") from None
        self._ray, self._started = ray, not ray.is_initialized()
        if self._started:
            _start(ray, workers)
        self.workers = workers or int(ray.cluster_resources().get("CPU", 1))
        self._pool = Pool(self.workers, limits)
        self.judge = Cluster(self._pool)

    def map(self, task: Task, units: Sequence[Unit], *, heard: Callable[[object], None] = lambda result: None):
        """Results in the order of `units`. Raises what a task raises, CodesageError when workers cannot live."""
        order = sorted(range(len(units)), key=lambda index: (-units[index].weight, index))
        sent = self._pool.put(pickle.dumps(task))
        results, turn = {}, 0
        for number, (answer,) in self._pool.done("run", [(sent, pickle.dumps(units[index])) for index in order]):
            kind, value = pickle.loads(self._pool.get(answer))
            if kind == "failed":
                raise value
            results[order[number]] = value
            heard(value)
            while turn in results:
                yield results.pop(turn)
                turn += 1

    def __enter__(self) -> "RayEngine":
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.close()
        if self._started:
            self._ray.shutdown()


def _start(ray, workers: int) -> None:
    """Join the running cluster, or start one here; a busy machine gets a second try. CodesageError when both fail."""
    own = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers or None, "include_dashboard": False}
    for last in (False, True):
        try:
            ray.init(**own, log_to_driver=False, logging_level="ERROR")
            return
        except Exception as error:  # Ray raises bare Exceptions too
            ray.shutdown()
            if isinstance(error, ValueError):
                own = {}  # `ray start` was run here: that cluster has a size of its own
            if last:
                reason = " ".join(str(error).split())
                raise CodesageError(f"Ray does not start: {reason}: try again, or use --engine local") from None

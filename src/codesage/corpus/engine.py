"""The engines that run the units of a build: on the cores of this machine, or on Ray.

Both engines run the same tasks in the same killable workers (worker.py) and return the results in the order of the units.
Both compare rows by the same rule (distinct/). So the output of a build does not depend on the engine or on the number of
workers.
"""

import pickle
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any, Protocol

from codesage.corpus.build.pool import Pool
from codesage.corpus.build.units import Runner, U
from codesage.corpus.build.worker import Limits, Task, Worker
from codesage.corpus.distinct.cluster import Cluster
from codesage.corpus.distinct.verdicts import Judge, OneMachine
from codesage.machine import processors
from codesage.remote import cluster

_TICK = 0.2  # seconds between checks of how long an item has taken


class Engine(Runner, Protocol):
    """Runs a task over units and compares their results. It is a context manager, since it owns processes."""

    workers: int
    shares_machine: bool  # whether all workers can read the cache of this machine

    @property
    def judge(self) -> Judge:
        """What compares the rows of the units."""
        ...

    def __enter__(self) -> "Engine": ...
    def __exit__(self, *error: object) -> None: ...


class LocalEngine:
    """Worker processes on this machine. Each runs one unit at a time, and the heaviest units run first."""

    def __init__(self, workers: int = 0, *, limits: Limits = Limits()) -> None:
        self.workers = workers or processors()
        self.judge: Judge = OneMachine()
        self.shares_machine = True
        self._limits = limits
        self._pool: list[Worker] = []

    def map(
        self, task: Task[U], units: Sequence[U], *, on_result: Callable[[Any], None] = lambda result: None
    ) -> Iterator[Any]:
        """Results in the order of `units`. Raises what a task raises, and CodesageError when workers keep dying."""
        waiting = sorted(range(len(units)), key=lambda index: (units[index].weight, -index))
        while len(self._pool) < min(self.workers, len(units)):
            self._pool.append(Worker(self._limits))
        idle, busy, results = list(self._pool), {}, {}
        next_unit = 0  # the index of the unit whose result is yielded next
        while next_unit < len(units):
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
                    on_result(answer[0])
            while next_unit in results:
                yield results.pop(next_unit)
                next_unit += 1

    def __enter__(self) -> "LocalEngine":
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._pool:
            worker.close()
        self._pool = []


class RayEngine:
    """The machines of a Ray cluster, or this machine alone: a pool of actors, each with one killable worker.

    Every machine must be able to read the work folder, so it lies on a shared file system or in an object store. The same
    holds for the user's own folders. Each machine fetches the packages that it reads. If a cluster is running, the engine
    joins it. Otherwise it starts one here with `workers` processors and stops it at the end.
    """

    shares_machine = False

    def __init__(self, workers: int = 0, *, limits: Limits = Limits()) -> None:
        ray = cluster.load_ray()
        self._ray, self._started = ray, not ray.is_initialized()
        if self._started:
            cluster.start(ray, workers)
        self.workers = workers or int(ray.cluster_resources().get("CPU", 1))
        self._pool = Pool(self.workers, limits)
        self.judge: Judge = Cluster(self._pool)

    def map(
        self, task: Task[U], units: Sequence[U], *, on_result: Callable[[Any], None] = lambda result: None
    ) -> Iterator[Any]:
        """Results in the order of `units`. Raises what a task raises, and CodesageError when workers keep dying."""
        order = sorted(range(len(units)), key=lambda index: (-units[index].weight, index))
        shared_task = self._pool.put(pickle.dumps(task))
        results, next_unit = {}, 0
        for number, (answer,) in self._pool.done("run", [(shared_task, pickle.dumps(units[index])) for index in order]):
            kind, value = pickle.loads(self._pool.get(answer))
            if kind == "failed":
                raise value
            results[order[number]] = value
            on_result(value)
            while next_unit in results:
                yield results.pop(next_unit)
                next_unit += 1

    def __enter__(self) -> "RayEngine":
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.close()
        if self._started:
            self._ray.shutdown()

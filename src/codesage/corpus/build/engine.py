"""Who runs the units of a build: this machine's cores, or Ray's.

Both run the same tasks in the same killable workers (worker.py) and give the results in the order of the units, and both
compare rows by the same rule (distinct/), so that what a build writes does not depend on the engine or on the number of
workers.
"""

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from typing import Protocol

from codesage.corpus.build.failures import of_cluster
from codesage.corpus.build.worker import Limits, Task, Worker
from codesage.corpus.distinct.cluster import Cluster
from codesage.corpus.distinct.verdicts import Judge, OneMachine
from codesage.errors import CodesageError

_TICK = 0.2  # seconds between looks at the time an item takes
_RETRIES = 3  # of a unit whose actor died with its machine


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
    """Ray Data over the machines of a cluster (or over this one): each of its actors holds one killable worker.

    The work folder must be one that every machine sees: a shared file system, or an object store. So must folders of
    one's own; what is fetched is fetched by each machine that reads it. A running cluster is joined; where there is none,
    one with `workers` processors is started here, and stopped at the end.
    """

    def __init__(self, workers: int = 0, *, limits: Limits = Limits()) -> None:
        try:
            import ray.data
        except ModuleNotFoundError:
            raise CodesageError("ray is not installed: run pip install 'codesage[ray]', or use --engine local") from None
        self._ray, self._limits, self._started = ray, limits, not ray.is_initialized()
        if self._started:
            ray.init(num_cpus=workers or None, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        self.workers = workers or int(ray.cluster_resources().get("CPU", 1))
        self.judge, self.shares_machine = Cluster(self.workers), False
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)

    def map(self, task: Task, units: Sequence[Unit], *, heard: Callable[[object], None] = lambda result: None):
        """Results in the order of `units`. Raises what a task raises, CodesageError when workers cannot live."""
        import ray.data

        if not units:
            return
        order = sorted(range(len(units)), key=lambda index: (-units[index].weight, index))
        rows = [{"index": index, "unit": pickle.dumps(units[index])} for index in order]
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _Actor, fn_constructor_args=(pickle.dumps(task), self._limits), num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=min(self.workers, len(rows))), max_task_retries=_RETRIES,
        )  # fmt: skip
        results, turn = {}, 0
        with of_cluster():
            for row in dataset.iter_rows():
                kind, value = pickle.loads(row["answer"])
                if kind == "failed":
                    raise value
                results[row["index"]] = value
                heard(value)
                while turn in results:
                    yield results.pop(turn)
                    turn += 1

    def __enter__(self) -> "RayEngine":
        return self

    def __exit__(self, *error: object) -> None:
        if self._started:
            self._ray.shutdown()


class _Actor:
    """One of Ray's processes, with a worker of its own that may be killed without Ray noticing."""

    def __init__(self, task: bytes, limits: Limits) -> None:
        self._task, self._worker = pickle.loads(task), Worker(limits)

    def __call__(self, row: dict) -> dict:
        try:
            answer = "done", self._worker.run(self._task, pickle.loads(row["unit"]))
        except Exception as error:
            answer = "failed", error
        return {"index": row["index"], "answer": pickle.dumps(answer)}

    def __del__(self) -> None:
        self._worker.close()

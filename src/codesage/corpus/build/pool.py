"""The processes of a build on a Ray cluster: actors that live as long as the build and do all of its work.

Each actor takes one processor of the cluster and runs one call at a time. A call is a unit, which runs in the actor's own
killable worker, or a step of a comparison. The result of a call stays in Ray's object store, on the machine that made it,
until somebody reads it.

Why not Ray Data: its hash shuffle runs each step in separate processes and starts them again for every shuffle. The actors
of every phase were also started again. On two cores this took longer than a small build (docs/log.md).
"""

import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from codesage.corpus.build.worker import Limits, Worker
from codesage.remote import cluster

_RETRIES = 3  # of a call whose actor died together with its machine


class Pool:
    """Up to `size` actors on the cluster that this process has joined. Each takes calls as soon as it has started."""

    def __init__(self, size: int, limits: Limits) -> None:
        import ray

        self._ray: Any = ray
        actor = self._ray.remote(num_cpus=1, max_restarts=-1)(_Actor)
        self._actors = [actor.remote(limits) for _ in range(size)]

    @property
    def size(self) -> int:
        """The number of actors."""
        return len(self._actors)

    def done(self, method: str, calls: Sequence[tuple], *, returns: int = 1) -> Iterator[tuple[int, list]]:
        """Call a method of _Actor once for each of `calls`; yields (number, references to the results) as calls finish."""
        waiting, running = deque(enumerate(calls)), {}
        idle = {actor.started.remote(): actor for actor in self._actors}
        while waiting or running:
            (first,), _ = self._ray.wait([*idle, *running], num_returns=1, fetch_local=False)
            if first in idle:
                actor = idle.pop(first)
            else:
                number, references, actor = running.pop(first)
                yield number, references
            if waiting:
                number, call = waiting.popleft()
                remote = getattr(actor, method).options(num_returns=returns, max_task_retries=_RETRIES).remote
                references = remote(*call)
                references = references if returns > 1 else [references]
                running[references[0]] = number, references, actor

    def get(self, reference: object) -> Any:
        """The value behind a reference. Raises what the call raised."""
        with cluster.errors():
            return self._ray.get(reference)

    def put(self, value: object) -> object:
        """A reference to `value`. Each machine fetches the value once."""
        return self._ray.put(value)

    def close(self) -> None:
        """End the actors."""
        for actor in self._actors:
            self._ray.kill(actor)
        self._actors = []


class _Actor:
    """A process of Ray with its own worker, which can be killed without Ray noticing. The worker ends with its actor."""

    def __init__(self, limits: Limits) -> None:
        self._worker = Worker(limits)

    def started(self) -> None:
        """Return once the process has started."""

    def run(self, task: bytes, unit: bytes) -> bytes:
        """Run a unit; returns ("done", result) or ("failed", error), pickled so that Ray does not wrap the error."""
        try:
            answer = "done", self._worker.run(pickle.loads(task), pickle.loads(unit))
        except Exception as error:
            answer = "failed", error
        return pickle.dumps(answer)

    def apply(self, function: Callable, *arguments: object) -> object:
        """Call `function(*arguments)`."""
        return function(*arguments)

"""The processes of a build on a Ray cluster: actors that live as long as the build and do whatever it has to do.

Each actor takes one processor of the cluster and runs one call at a time: a unit, in a killable worker of its own, or a
step of a comparison. What a call gives stays in Ray's object store, on the machine that made it, until it is asked for.

Why not Ray Data: its hash shuffle runs each of its steps in processes of their own, which are started anew for every
shuffle, and so were the actors of every phase. On two cores that took longer than a small build (docs/log.md).
"""

import pickle
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from codesage.corpus.build.worker import Limits, Worker
from codesage.errors import CodesageError

_RETRIES = 3  # of a call whose actor died with its machine


class Pool:
    """Up to `size` actors of the cluster that this process has joined. They take calls as soon as they have started."""

    def __init__(self, size: int, limits: Limits) -> None:
        import ray

        self._ray = ray
        actor = ray.remote(num_cpus=1, max_restarts=-1)(_Actor)
        self._actors = [actor.remote(limits) for _ in range(size)]

    @property
    def size(self) -> int:
        """How many actors there are."""
        return len(self._actors)

    def done(self, method: str, calls: Sequence[tuple], *, returns: int = 1) -> Iterator[tuple[int, list]]:
        """(number, references to what it returns) of each call of a method of _Actor, in the order they end."""
        left, under_way = deque(enumerate(calls)), {}
        idle = {actor.started.remote(): actor for actor in self._actors}
        while left or under_way:
            (first,), _ = self._ray.wait([*idle, *under_way], num_returns=1, fetch_local=False)
            if first in idle:
                actor = idle.pop(first)
            else:
                number, references, actor = under_way.pop(first)
                yield number, references
            if left:
                number, call = left.popleft()
                remote = getattr(actor, method).options(num_returns=returns, max_task_retries=_RETRIES).remote
                references = remote(*call)
                references = references if returns > 1 else [references]
                under_way[references[0]] = number, references, actor

    def get(self, reference: object) -> object:
        """What a reference stands for. Raises what the call raised."""
        with told():
            return self._ray.get(reference)

    def put(self, value: object) -> object:
        """A reference to `value`, which each machine fetches once."""
        return self._ray.put(value)

    def close(self) -> None:
        """End the actors."""
        for actor in self._actors:
            self._ray.kill(actor)
        self._actors = []


class _Actor:
    """One of Ray's processes, with a worker of its own that may be killed without Ray noticing; it ends with its actor."""

    def __init__(self, limits: Limits) -> None:
        self._worker = Worker(limits)

    def started(self) -> None:
        """Answer, once the process is there."""

    def run(self, task: bytes, unit: bytes) -> bytes:
        """("done", result) or ("failed", error) of a unit, pickled: Ray must not wrap the error."""
        try:
            answer = "done", self._worker.run(pickle.loads(task), pickle.loads(unit))
        except Exception as error:
            answer = "failed", error
        return pickle.dumps(answer)

    def apply(self, function, *arguments: object) -> object:
        """`function(*arguments)`."""
        return function(*arguments)


@contextmanager
def told() -> Iterator[None]:
    """Turn Ray's exceptions into the CodesageError that a call raised, or into one line that says what became of it."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, CodesageError):
            raise cause from None
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
        reason = f"{type(cause).__name__}: {cause}" if cause else f"{type(error).__name__}: {lines[0]}"
        raise CodesageError(f"the Ray cluster failed ({reason}): run the same command again, it resumes") from None

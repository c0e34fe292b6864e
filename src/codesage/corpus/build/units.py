"""What a build gives to an engine: units of work and the tasks that do them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from codesage.corpus.build.worker import Task
from codesage.remote.places import Place


class Unit(Protocol):
    """A picklable piece of work."""

    @property
    def folder(self) -> Place:
        """Where the result is written."""
        ...

    @property
    def weight(self) -> int:
        """How long the work takes, in any unit."""
        ...


U = TypeVar("U", bound=Unit)


class Runner(Protocol):
    """Runs a task over units."""

    def map(self, task: Task[U], units: Sequence[U], *, on_result: Callable[[Any], None] = ...) -> Iterator[Any]:
        """Results of `task(unit, guard)` in the order of `units`. `on_result` is called with each as soon as it is ready."""
        ...

"""Counter-based random numbers, and the training order made from them.

In: a seed, an epoch, the numbers of some items. Out: a random number for each item, or all items in a random order.
There is no stateful generator. The random number of an item is a hash of (seed, epoch, ..., item). It does not depend on the
order of calls or the number of processes, and resuming needs only the step. Item i of a key is output i of SplitMix64 seeded
with the key (Steele, Lea, Flood 2014), which passes BigCrush.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np

Items = TypeVar("Items", bound=Sequence | np.ndarray)


class Plan(Protocol):
    """The planned batches of an epoch, in order. What a batch is depends on the stage."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> Any: ...


P = TypeVar("P", bound=Plan)
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MASK = (1 << 64) - 1


def key(*parts: int) -> int:
    """A 64-bit key from (seed, epoch, purpose, ...). Only equal parts in the same order give the same key."""
    mixed = np.zeros(1, np.uint64)
    for part in parts:
        mixed = draws(int(mixed[0]), np.array([part & _MASK], np.uint64))
    return int(mixed[0])


def draws(key: int | np.ndarray, items: np.ndarray) -> np.ndarray:
    """A uniform 64-bit number for each of `items`, uint64 of the same shape.

    items: int or uint64. `key`: from `key(...)`, or uint64 of the same shape as `items`, one per item.
    """
    mixed = np.asarray(items).astype(np.uint64)  # a copy: mixed in place below
    mixed += np.uint64(1)
    mixed *= _STEP
    mixed += np.uint64(key) if isinstance(key, int) else key
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def uniform(key: int | np.ndarray, items: np.ndarray) -> np.ndarray:
    """`draws` as float64 in [0, 1)."""
    return (draws(key, items) >> np.uint64(11)) * 2.0**-53


def even(key: int, items: np.ndarray) -> np.ndarray:
    """Evenly spread numbers in [0, 1), float64 of the shape of `items`: the additive recurrence of the golden ratio.

    For any n consecutive items, an interval of length w holds w n of the numbers, within a few. `key`, from `key(...)`, sets
    the start of the sequence.
    """
    mixed = np.asarray(items).astype(np.uint64)
    mixed *= _STEP  # 2^64 over the golden ratio
    mixed += np.uint64(key)
    return (mixed >> np.uint64(11)) * 2.0**-53


def permutation(count: int, *, seed: int, epoch: int) -> np.ndarray:
    """The items 0..count-1 in the order of an epoch, int64 (count,). Takes 0.1 s for a million."""
    return np.argsort(draws(key(seed, epoch), np.arange(count)), kind="stable")


def share(items: Items, rank: int, world: int) -> Items:
    """The part of a global batch for process `rank` of `world`: every world-th item.

    The shares of all ranks together are the batch, for any number of processes. If items are sorted by length, the shares
    have about equal length. ValueError when `rank` is not in 0..world-1.
    """
    if not 0 <= rank < world:
        raise ValueError(f"rank {rank} of {world} processes: expected 0 to {world - 1}")
    return cast(Items, items[rank::world])


class Epochs(Generic[P]):
    """Maps steps to batches. Epochs may differ in length; an epoch is planned when one of its steps is first needed."""

    def __init__(self, plan: Callable[[int], P]) -> None:
        """`plan(epoch)` returns the planned batches of an epoch in order. ValueError when the first epoch has none."""
        self._plan = plan
        self._planned = 0, plan(0)
        self._ends = [0, len(self._planned[1])]  # steps before each epoch
        if not self._planned[1]:
            raise ValueError("an epoch without a batch")

    def at(self, step: int) -> tuple[int, Any]:
        """The epoch of `step` and its batch. The first call in an epoch plans it; after a resume, also all earlier ones."""
        while step >= self._ends[-1]:
            self._ends.append(self._ends[-1] + len(self.planned(len(self._ends) - 1)))
        epoch = int(np.searchsorted(self._ends, step, "right")) - 1
        return epoch, self.planned(epoch)[step - self._ends[epoch]]

    def planned(self, epoch: int) -> P:
        """The planned batches of an epoch. The most recent epoch is cached."""
        if self._planned[0] != epoch:
            self._planned = epoch, self._plan(epoch)
        return self._planned[1]

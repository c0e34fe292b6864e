"""The names of the other identifiers of a file, the most frequent ones first.

In: the units of a file. Out: for one of them, names of others: how many units of the same kind have each, how many of any
kind, and whether one of these is seen where the unit is. The names are counted once for all units, not once for each of them.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import accumulate

from codesage.names.units import Unit

_MOST = 24  # names for one unit


@dataclass(frozen=True, slots=True)
class Other:
    """A name of other units."""

    name: str
    same: int  # units of this name and of the kind that was asked for
    every: int  # units of this name
    seen: bool  # whether one of them is seen where the unit is


class Others:
    """The units of a file by their names. Units without a name are hidden, and count for nothing."""

    def __init__(self, units: Iterable[Unit]) -> None:
        self._named: dict[str, list[tuple[int, Unit]]] = {}
        for number, unit in enumerate(units):
            if unit.name:
                self._named.setdefault(unit.name, []).append((number, unit))
        self._most_frequent: dict[str, list[tuple[int, int, int, str]]] = {}  # by kind
        self._extents: dict[str, tuple[list[int], list[int]]] = {}  # by name

    def of(self, unit: Unit) -> list[Other]:
        """The most frequent names in units of this kind, then in all, ties to the earlier. Not the unit itself."""
        ranked = self._ranked(unit.kind)
        own = [(number, one) for number, one in self._named.get(unit.name, ()) if one.scope != unit.scope]
        if unit.name:
            ranked = [one for one in ranked if one[3] != unit.name]
            ranked = sorted([*ranked, _place(unit.name, own, unit.kind)] if own else ranked)
        return [
            Other(name, -same, -every, _meet(own, unit) if name == unit.name else self._seen(name, unit))
            for same, every, _, name in ranked[:_MOST]
        ]

    def _ranked(self, kind: str) -> list[tuple[int, int, int, str]]:
        """The most frequent names of a kind; one more than is asked for, since one may be of the unit itself."""
        if kind not in self._most_frequent:
            places = (_place(name, named, kind) for name, named in self._named.items())
            self._most_frequent[kind] = nsmallest(_MOST + 1, places)
        return self._most_frequent[kind]

    def _seen(self, name: str, unit: Unit) -> bool:
        """Whether the scope of one of the units of a name meets that of `unit`."""
        if name not in self._extents:
            scopes = sorted(one.scope for _, one in self._named[name])
            self._extents[name] = [low for low, _ in scopes], list(accumulate((high for _, high in scopes), max))
        starts, ends = self._extents[name]  # the furthest end of all scopes up to each
        before = bisect_left(starts, unit.scope[1])
        return before > 0 and ends[before - 1] > unit.scope[0]


def _place(name: str, named: Sequence[tuple[int, Unit]], kind: str) -> tuple[int, int, int, str]:
    """What a name is ranked by, the smallest first."""
    return -sum(one.kind == kind for _, one in named), -len(named), named[0][0], name


def _meet(named: Sequence[tuple[int, Unit]], unit: Unit) -> bool:
    return any(one.scope[0] < unit.scope[1] and unit.scope[0] < one.scope[1] for _, one in named)

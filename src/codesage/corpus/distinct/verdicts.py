"""Which documents and pairs of a corpus stay: the first of what is equal or nearly so, decided on keys alone.

In: the keys that units left (build/keys.py), one set of arrays a unit. Out: a verdict a row, 0 for what stays. What is
held out for evaluation comes first, so that training keeps nothing that is nearly the same. This is the rule, and how one
machine follows it; cluster.py follows it on many.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from codesage.corpus.build.keys import Keys, read_sketches
from codesage.corpus.distinct.duplicates import near_duplicates
from codesage.records import PAIR_KINDS
from codesage.remote.places import Place

EQUAL, NEAR, HELD_TEXT, HELD_BODY, ALONE, SHARED, EXCESS, COPIED = 1, 2, 3, 4, 5, 6, 7, 8
DOCUMENT_REASONS = {EQUAL: "equal to another", NEAR: "near duplicate"}
PAIR_REASONS = {
    EQUAL: "equal body",
    NEAR: "near duplicate",
    HELD_TEXT: "text is held out",
    HELD_BODY: "body is held out",
    ALONE: "alone in its group",
    SHARED: "text of many others",
    EXCESS: "more than its source may give",
    COPIED: "documentation of another",
}
_READERS = 8  # units read at a time
_SCATTER = np.uint64(0x9E3779B97F4A7C15)  # multiples of it, modulo 2^64, are spread evenly


class Judge(Protocol):
    """Who compares the rows of all units. Both take the places of the units and what read_keys gives of each."""

    def documents(self, places: Sequence[Place], keys: Sequence[Keys]) -> list[np.ndarray]:
        """Verdicts on documents, uint8 (n,) a unit. Of `keys`: held (n,) bool."""
        ...

    def pairs(self, places: Sequence[Place], keys: Sequence[Keys]) -> list[np.ndarray]:
        """Verdicts on pairs, uint8 (n,) a unit. Of `keys`: held (n,) bool, side (n,) uint8."""
        ...


class OneMachine:
    """Compares all rows in this process, which holds some 560 bytes for each."""

    def documents(self, places: Sequence[Place], keys: Sequence[Keys]) -> list[np.ndarray]:
        """Verdicts on documents, uint8 (n,) a unit. Of `keys`: held (n,) bool."""
        sketches = _gathered(places, [len(key["held"]) for key in keys], ("sha256", "signature"))
        return _parts(_document_verdicts(_joined(keys, ("held",)) | sketches), keys)

    def pairs(self, places: Sequence[Place], keys: Sequence[Keys]) -> list[np.ndarray]:
        """Verdicts on pairs, uint8 (n,) a unit. Of `keys`: held (n,) bool, side (n,) uint8.

        Bodies are compared within one side only (pairs.parsing.side_of): the name of a test may describe a function that its
        docstring describes too. But nothing whose text or body is held out under any kind is kept for training.
        """
        sketches = _gathered(places, [len(key["held"]) for key in keys], ("body", "text", "signature"))
        return _parts(_pair_verdicts(_joined(keys, ("held", "side")) | sketches), keys)


def drop_alone(units: Sequence[Keys], verdicts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """`verdicts` on pairs, where a pair of kind "parallel" that is left alone in its group goes too.

    Keys: group (n,) uint64, 0 for none, kind (n,) uint8.
    """
    keys, verdict = _joined(units, ("group", "kind")), np.concatenate(verdicts)
    rows = np.flatnonzero((verdict == 0) & (keys["group"] != 0))
    _, number, members = np.unique(keys["group"][rows], return_inverse=True, return_counts=True)
    parallel = keys["kind"][rows] == list(PAIR_KINDS).index("parallel")
    verdict[rows[(members[number] < 2) & parallel]] = ALONE
    return _parts(verdict, units, "kind")


def drop_copied(verdicts: Sequence[np.ndarray], copies: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """`verdicts` on pairs, where those of `copies` go too: for each unit, the rows with the documentation of another pair."""
    marked = [verdict.copy() for verdict in verdicts]
    for verdict, rows in zip(marked, copies, strict=True):
        rows = np.array(rows, np.int64)
        verdict[rows[verdict[rows] == 0]] = COPIED
    return marked


def drop_excess(
    units: Sequence[Keys], verdicts: Sequence[np.ndarray], sources: Sequence[int], most: Sequence[Mapping[str, int]]
) -> list[np.ndarray]:
    """`verdicts` on pairs, where pairs of training go that exceed the limit of their source.

    `sources` has the number of each unit's source, and `most[number]` the limits of a source: kind of pair to number of pairs.
    Whole groups stay or go, in the order of their keys, which is as good as random. Keys: group (n,) uint64, 0 for none, kind
    (n,) uint8, held (n,) bool.
    """
    keys, verdict = _joined(units, ("group", "kind", "held")), np.concatenate(verdicts)
    source = np.repeat(np.array(sources, np.int64), [len(unit["held"]) for unit in units])
    for number, limits in enumerate(most):
        for kind, count in limits.items():
            chosen = (verdict == 0) & ~keys["held"] & (source == number) & (keys["kind"] == list(PAIR_KINDS).index(kind))
            rows = np.flatnonzero(chosen)
            alone = (rows.astype(np.uint64) + np.uint64(1)) * _SCATTER
            groups = np.where(keys["group"][rows] != 0, keys["group"][rows], alone)
            _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
            verdict[rows[(np.cumsum(sizes) > count)[group]]] = EXCESS
    return _parts(verdict, units)


def drop_shared(units: Sequence[Keys], verdicts: Sequence[np.ndarray], *, most: int) -> list[np.ndarray]:
    """`verdicts` on pairs, where documented definitions of training go whose text more than `most` of them have; 0: none go.

    Their bodies differ, so the text says too little of any of them. Keys: summary (n,) uint64, 0 for other kinds, held (n,)
    bool.
    """
    keys, verdict = _joined(units, ("summary", "held")), np.concatenate(verdicts)
    rows = np.flatnonzero((verdict == 0) & (keys["summary"] != 0) & ~keys["held"])
    _, number, times = np.unique(keys["summary"][rows], return_inverse=True, return_counts=True)
    if most:
        verdict[rows[times[number] > most]] = SHARED
    return _parts(verdict, units)


def counted(verdicts: Sequence[np.ndarray], reasons: dict[int, str]) -> Counter:
    """How many rows are dropped, by reason."""
    codes = np.bincount(np.concatenate(verdicts), minlength=COPIED + 1) if verdicts else np.zeros(COPIED + 1, int)
    return Counter({name: int(codes[code]) for code, name in reasons.items() if codes[code]})


def _document_verdicts(keys: Keys) -> np.ndarray:
    verdict = np.zeros(len(keys["held"]), np.uint8)
    order = np.argsort(~keys["held"], kind="stable")
    _judge(verdict, order, _whole(keys["sha256"]), keys["signature"])
    return verdict


def _pair_verdicts(keys: Keys) -> np.ndarray:
    held, body, text = keys["held"], _whole(keys["body"]), _whole(keys["text"])
    verdict = np.zeros(len(held), np.uint8)
    verdict[~held & np.isin(body, body[held])] = HELD_BODY
    verdict[~held & np.isin(text, text[held])] = HELD_TEXT
    order = np.argsort(~held, kind="stable")
    for side in np.unique(keys["side"]):
        _judge(verdict, order[(keys["side"] == side)[order]], body, keys["signature"])
    return verdict


def _judge(verdict: np.ndarray, order: np.ndarray, digests: np.ndarray, signatures: np.ndarray) -> None:
    """Drop, among the rows of `order` that still stand, each one that repeats an earlier one."""
    rows = order[verdict[order] == 0]
    again = np.ones(len(rows), bool)
    again[np.unique(digests[rows], return_index=True)[1]] = False
    verdict[rows[again]] = EQUAL
    rows = rows[~again]
    verdict[~near_duplicates(signatures, order=rows)] = NEAR


def _gathered(places: Sequence[Place], counts: Sequence[int], names: Sequence[str]) -> Keys:
    """The sketches of all units, each column as one array, which is filled in place: none is ever there twice."""
    if not places:
        return {}
    starts = np.cumsum([0, *counts])
    whole = {
        name: np.empty((starts[-1], *column.shape[1:]), column.dtype)
        for name, column in read_sketches(places[0], names).items()
    }

    def fill(unit: int) -> None:
        for name, column in read_sketches(places[unit], names).items():
            whole[name][starts[unit] : starts[unit + 1]] = column

    with ThreadPoolExecutor(_READERS) as pool:
        for _ in pool.map(fill, range(len(places))):
            pass
    return whole


def _joined(units: Sequence[Keys], names: Sequence[str]) -> Keys:
    return {name: np.concatenate([unit[name] for unit in units]) for name in names}


def _whole(rows: np.ndarray) -> np.ndarray:
    """Rows of bytes as one value each, which sorts."""
    return np.ascontiguousarray(rows).view(f"V{rows.shape[1] * rows.itemsize}").ravel()


def _parts(verdict: np.ndarray, units: Sequence[Keys], column: str = "held") -> list[np.ndarray]:
    return np.split(verdict, np.cumsum([len(unit[column]) for unit in units])[:-1])

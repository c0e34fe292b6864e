"""One state of an index in memory: what every query reads, loaded once and kept until the index changes.

In: a connection. Out: columns by position of the chunk, and the float32 vectors of all pieces, those of a chunk together.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesage.search.kinds import kind_of


@dataclass(frozen=True, slots=True)
class View:
    """Columns, one entry a chunk in the order of its number; N chunks, P pieces, D the width of the vectors."""

    numbers_N: np.ndarray
    place: dict[int, int]  # of each number
    paths: list[str]
    languages: list[str]
    kinds: list[str]  # "function", "class" or "window"
    names: list[str]
    files: list[str]  # kind of the file, see search.kinds
    sizes: dict[str, int]  # chunks of each path
    bearers: dict[str, list[int]]  # by the last part of a name in small letters, the chunks that bear it
    vectors_PD: np.ndarray
    starts_N: np.ndarray  # first piece of each chunk

    def similarities(self, vector_D: np.ndarray) -> np.ndarray:
        """float32 (N,): the similarity of each chunk, which is that of its best piece."""
        if not len(self.numbers_N):
            return np.empty(0, np.float32)
        return np.maximum.reduceat(self.vectors_PD @ vector_D, self.starts_N)


def load(connection: sqlite3.Connection, width: int) -> View:
    """Read the state that the connection sees."""
    rows = connection.execute("SELECT id, path, language, kind, name FROM chunks ORDER BY id").fetchall()
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), (), ()]
    numbers_N = np.array(columns[0], np.int64)
    pieces = connection.execute("SELECT chunk, row FROM pieces ORDER BY chunk").fetchall()
    vectors = connection.execute("SELECT row, vector FROM vectors ORDER BY row").fetchall()
    stored = np.frombuffer(b"".join(vector for _, vector in vectors), np.float16).reshape(-1, width)
    owners = np.array([chunk for chunk, _ in pieces], np.int64)
    at = np.searchsorted(np.array([row for row, _ in vectors], np.int64), np.array([row for _, row in pieces], np.int64))
    return View(
        numbers_N, {number: place for place, number in enumerate(columns[0])}, list(columns[1]), list(columns[2]),
        list(columns[3]), list(columns[4]), [kind_of(path) for path in columns[1]],
        Counter(columns[1]), _bearers(columns[4]),
        stored[at].astype(np.float32), np.searchsorted(owners, numbers_N),
    )  # fmt: skip


def _bearers(names: Sequence[str]) -> dict[str, list[int]]:
    found = defaultdict(list)
    for place, name in enumerate(names):
        if name:
            found[name.rpartition(".")[2].lower()].append(place)
    return dict(found)

"""Decide whether a query matches anything in a store: what search.floor needs, answered by LanceDB."""

from dataclasses import dataclass

import numpy as np

from codesage.search.store.table import Store, quoted
from codesage.search.store.words import ByWords


@dataclass(frozen=True, slots=True)
class InStore:
    """The state of a store, and what the words of a query find in it. Its methods are those of search.floor.Held."""

    store: Store
    found: ByWords

    @property
    def floors(self) -> dict[str, float]:
        """Measured since the store was opened."""
        return self.store.floors

    @property
    def chunks(self) -> int:
        """How many there are."""
        return self.store.totals.chunks

    @property
    def encoded(self) -> float:
        """Every chunk of a store has its vectors."""
        return 1.0

    def coverage(self, words: list[str]) -> float:
        """See search.floor.Held."""
        return self.found.coverage(words)

    def is_in_a_name(self, part: str) -> bool:
        """Whether small letters are a part of the name of a chunk or of a path."""
        return self.store.count(f"contains(lower(name), {quoted(part)}) OR contains(lower(path), {quoted(part)})") > 0

    def highest(self, vectors_QD: np.ndarray) -> np.ndarray:
        """Of each vector the similarity of the nearest chunk, (Q,)."""
        return np.array([self.store.nearest(vector_D) for vector_D in vectors_QD])

"""Decide whether a query matches anything in a store: what search.floor needs, answered by LanceDB."""

from dataclasses import dataclass

import numpy as np

from codesage.search.floor import rarity
from codesage.search.store.table import Store, quoted

_DEPTH = 200  # chunks by words that are looked at


@dataclass(frozen=True, slots=True)
class InStore:
    """The state of a store. Its methods are those of search.floor.Held."""

    store: Store

    @property
    def floors(self) -> dict[str, float]:
        """Measured since the store was opened."""
        return self.store.floors

    @property
    def chunks(self) -> int:
        """How many there are."""
        return self.store.count("piece = 0")

    @property
    def encoded(self) -> float:
        """Every chunk of a store has its vectors."""
        return 1.0

    def coverage(self, words: list[str]) -> float:
        """The largest share of the weight of `words` that one of the best chunks by words holds."""
        chunks = self.chunks
        weights = {word: rarity(self.store.holding(word), chunks) for word in words}
        rows, _ = self.store.by_words(words, _DEPTH, "", columns=["words"])
        held = (sum(weights[word] for word in weights.keys() & set(row["words"].split())) for row in rows)
        return max(held, default=0.0) / sum(weights.values())

    def is_in_a_name(self, part: str) -> bool:
        """Whether small letters are a part of the name of a chunk or of a path."""
        return self.store.count(f"contains(lower(name), {quoted(part)}) OR contains(lower(path), {quoted(part)})") > 0

    def highest(self, vectors_QD: np.ndarray) -> np.ndarray:
        """Of each vector the similarity of the nearest chunk, (Q,)."""
        return np.array([self.store.nearest(vector_D) for vector_D in vectors_QD])

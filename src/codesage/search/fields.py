"""The words of chunks as arrays, by the field that they occur in.

In: lists of words. Out: Words. Shapes: N chunks, W words of all of them end to end.
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import chain

import numpy as np

FIELDS = 3  # of a chunk that have words: its name, its path, its text


@dataclass(frozen=True, slots=True)
class Words:
    """The words of N chunks: word i is vocabulary[numbers_W[i]]; field f of chunk n has sizes[n * FIELDS + f] of them."""

    vocabulary: list[str]
    numbers_W: np.ndarray
    sizes: np.ndarray

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return len(self.sizes) // FIELDS

    def lengths(self) -> np.ndarray:
        """Words of each chunk, (N,)."""
        return self.sizes.reshape(-1, FIELDS).sum(axis=1)


def words_of(fields: list[list[str]]) -> Words:
    """Words from the lists of all fields of all chunks."""
    numbers: dict[str, int] = defaultdict(lambda: len(numbers))
    sizes = np.fromiter(map(len, fields), np.int64, len(fields))
    numbers_W = np.fromiter(map(numbers.__getitem__, chain.from_iterable(fields)), np.int32, sizes.sum())
    return Words(list(numbers), numbers_W, sizes)

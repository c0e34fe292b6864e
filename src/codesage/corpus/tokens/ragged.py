"""Rows of unequal length, end to end in one array: how token ids lie in files and in batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True, slots=True)
class Ragged:
    """Row i is ids[borders[i]:borders[i+1]], a view."""

    ids: np.ndarray
    borders: np.ndarray  # int64 (rows + 1,)

    def __len__(self) -> int:
        return len(self.borders) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        return self.ids[self.borders[row] : self.borders[row + 1]]

    def rows(self) -> list[np.ndarray]:
        """All rows, as views."""
        return [self.ids[start:end] for start, end in pairwise(self.borders.tolist())]

    @property
    def lengths(self) -> np.ndarray:
        """Number of ids of each row, int64 (rows,)."""
        return np.diff(self.borders)

    def lengths_at(self, rows: np.ndarray) -> np.ndarray:
        """Number of ids of the rows asked for, int64."""
        return self.borders[rows + 1] - self.borders[rows]

    def first(self, rows: np.ndarray, most: np.ndarray | int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The first `most` ids of each of the rows asked for, as a part for `joined`."""
        return self.ids, self.borders[rows], np.minimum(self.lengths_at(rows), most)


def spans(start_B: np.ndarray, length_B: np.ndarray) -> np.ndarray:
    """start, start + 1, ..., start + length - 1 of each row, one behind the other: int64 (sum of lengths,)."""
    before_B = np.cumsum(length_B) - length_B
    return np.arange(int(length_B.sum())) + np.repeat(start_B - before_B, length_B)


def joined(parts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], *, end_id: int) -> Ragged:
    """Rows made of pieces of other arrays, and the end token: int64 ids.

    parts: (ids, start_B, length_B) each; row b is ids[start_B[b]:start_B[b] + length_B[b]] of every part in turn.
    """
    total_B = sum(length_B for _, _, length_B in parts) + 1
    borders = np.concatenate(([0], np.cumsum(total_B)))
    ids_T = np.full(borders[-1], end_id, np.int64)
    at_B = borders[:-1]
    for ids, start_B, length_B in parts:
        ids_T[spans(at_B, length_B)] = ids[spans(start_B, length_B)]
        at_B = at_B + length_B
    return Ragged(ids_T, borders)

"""Put pairs whose texts are alike beside each other, so that a batch holds hard negatives at no cost.

In: a teacher's vectors of the texts (contrast.teacher). Out: an order of the pairs in runs of neighbours. A batch that is cut
from this order joins a few runs: for each text it holds some codes that are hard to tell from its own, and many that are easy.
Texts that say nearly the same are kept out of one run, because their codes may be right answers to each other.

A run is a leaf of a random tree, as in Dasgupta and Freund, "Random projection trees" (2008): each node splits its pairs in
the middle, along the line between the means of the two halves. The tree is drawn anew each epoch. All sums are of integers.
float32 holds them exactly for vectors of up to 1,040 numbers, so the order is then the same on every machine.
"""

import numpy as np

from codesage.encoder.unit import directions
from codesage.training import order

MOST_ALIKE = 0.8  # cosine of two texts of a run; above it, the later text leaves the run
_ROUNDS = 3  # moves of the line of a node. Mean cosine of two texts of a run: 0.23 with none, 0.31 with 1, 0.34 with 2
_AT_ONCE = 1 << 16  # vectors that are rounded together
_LEAVES, _APART, _POLE = 1, 2, 3  # purposes of random keys


def rounded(vectors_PW: np.ndarray) -> np.ndarray:
    """`directions` of vectors of any float type, int8 (P, W), with little memory."""
    rounded_PW = np.empty(vectors_PW.shape, np.int8)
    for start in range(0, len(vectors_PW), _AT_ONCE):
        rounded_PW[start : start + _AT_ONCE] = directions(vectors_PW[start : start + _AT_ONCE].astype(np.float64))
    return rounded_PW


def arranged(vectors_RW: np.ndarray, *, size: int, key: int) -> np.ndarray:
    """The rows in runs of up to `size` neighbours, int64 (R,). The runs come in a random order that `key` decides.

    `vectors_RW`: int8, from `rounded`. Rows that left their run, see MOST_ALIKE, follow at the end, in a random order.
    """
    leaves = _leaves(vectors_RW, size, key)
    runs, apart = [], []
    for leaf in order.permutation(len(leaves), seed=order.key(key, _LEAVES), epoch=0):
        stays = _apart(vectors_RW[leaves[leaf]])
        runs.append(leaves[leaf][stays])
        apart.append(leaves[leaf][~stays])
    rest = np.concatenate([np.empty(0, np.int64), *apart])
    return np.concatenate([*runs, rest[order.permutation(len(rest), seed=order.key(key, _APART), epoch=0)]])


def _leaves(vectors_RW: np.ndarray, size: int, key: int) -> list[np.ndarray]:
    """The rows of each leaf, int64."""
    leaves, waiting, node = [], [np.arange(len(vectors_RW))], 0
    while waiting:
        rows = waiting.pop()
        if len(rows) <= size:
            leaves.append(rows)
            continue
        node += 1
        own_RW = vectors_RW[rows].astype(np.float32)
        first, second = order.draws(order.key(key, _POLE), np.array([2 * node, 2 * node + 1])) % np.uint64(len(rows))
        upper = _upper_half(own_RW @ _scaled(own_RW[int(first)] - own_RW[int(second)]))
        for _ in range(_ROUNDS):
            upper = _upper_half(own_RW @ _scaled(_mean(own_RW[upper]) - _mean(own_RW[~upper])))
        waiting += [rows[upper], rows[~upper]]
    return leaves


def _upper_half(place_R: np.ndarray) -> np.ndarray:
    """Whether a row is in the upper half, bool. Of equal places, later rows are higher."""
    upper_R = np.zeros(len(place_R), bool)
    upper_R[np.argsort(place_R, kind="stable")[len(place_R) // 2 :]] = True
    return upper_R


def _mean(own_RW: np.ndarray) -> np.ndarray:
    return own_RW.sum(0, dtype=np.float64) / len(own_RW)  # exact sums of integers


def _scaled(line_W: np.ndarray) -> np.ndarray:
    return directions(line_W[None])[0].astype(np.float32)


def _apart(own_RW: np.ndarray) -> np.ndarray:
    """Whether a row stays in its run, bool: no earlier row that stays is more alike than MOST_ALIKE."""
    own_RW = own_RW.astype(np.float64)
    length_R = np.sqrt((own_RW * own_RW).sum(1))
    alike_RR = np.tril(own_RW @ own_RW.T > MOST_ALIKE * (length_R[:, None] * length_R), -1)
    stays_R = np.ones(len(own_RW), bool)
    for row in np.flatnonzero(alike_RR.any(1)).tolist():
        stays_R[row] = not (alike_RR[row] & stays_R).any()
    return stays_R

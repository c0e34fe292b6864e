"""Plan which pairs share a batch in an epoch, for texts with codes and for the codes of groups.

In: the rows of an entry of the mixture. Out: a plan, which is a function from the epoch to its batches in order. No two rows
of a batch share a text, body or group, because a positive would then count as a negative. A conflicting row moves to the end
of the epoch's queue. The last, partial batch is left out, since a smaller batch is an easier problem. Each batch has one
language or one pair of languages; what is too small for that is joined into mixed batches.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from codesage.contrast import neighbours
from codesage.contrast.entries import ACROSS, WITHIN
from codesage.corpus.tokens.tokenised import PairTokens
from codesage.training import order

KIND, BATCH = 2, 3  # purposes of random keys; batches.py has others
_ORDER, _COUNT, _MEMBER, _SIDES, _RUNS = 11, 12, 13, 14, 15
_RESERVE = 8  # 1/8 of a batch is drawn in addition, to replace conflicting rows


@dataclass(frozen=True, slots=True)
class Planned:
    """A planned batch. Row b of both sides is a pair."""

    item_B: np.ndarray  # item numbers, unique within an epoch, which random draws are made from
    anchor_B: np.ndarray  # row numbers of the pairs whose texts (for groups: codes) are the first side
    partner_B: np.ndarray  # row numbers of the pairs whose codes are the second side
    mixed: bool = False  # whether it joins several languages that had too few rows each

    def __len__(self) -> int:
        return len(self.item_B)


@dataclass(frozen=True, slots=True)
class Runs:
    """Pairs with similar texts, put side by side (contrast.neighbours)."""

    vectors_PW: np.ndarray  # int8, of the text of each pair
    size: int  # maximum number of pairs of a run


class OfPairs:
    """Batches of texts and their codes: a permutation of the pairs, one language per batch."""

    def __init__(
        self, pairs: PairTokens, weight_P: np.ndarray, *, size: int, one_language: bool, seed: int, runs: Runs | None = None
    ) -> None:
        """`weight_P`: how often each pair occurs in an epoch. 0: never; 2: twice; 0.5: in every second epoch."""
        self._pairs, self._size, self._one_language, self._seed = pairs, size, one_language, seed
        self._runs = runs
        self._rows = np.flatnonzero(weight_P > 0)
        self._weights = weight_P[self._rows]
        self.count = len(self._rows)

    def __call__(self, epoch: int) -> list[Planned]:
        """The batches of an epoch. If there are too few pairs for a whole batch, a single smaller one."""
        chance_R = order.uniform(order.key(self._seed, epoch, KIND), self._rows)
        item_pair = np.repeat(self._rows, (self._weights + chance_R).astype(np.int64))  # rounded at random
        items = order.permutation(len(item_pair), seed=self._seed, epoch=epoch)
        language = self._pairs.language[item_pair[items]] if self._one_language else np.zeros(len(items), np.uint8)
        size, keys = max(2, min(self._size, len(items))), self._keys(item_pair)
        full, left = [], np.zeros(len(item_pair), bool)
        for one in np.unique(language):
            batches, partial, waiting = filled(self._arranged(items[language == one], item_pair, epoch, int(one)), keys, size)
            full += batches
            left[partial] = left[waiting] = True
        joined, partial, _ = filled(items[left[items]], keys, size)
        full += joined
        if not full and len(partial) >= 2:  # a smaller batch is better than none
            full = [partial]
        return [self._planned(batch, item_pair[batch]) for batch in _shuffled(full, self._seed, epoch)]

    def _arranged(self, items: np.ndarray, item_pair: np.ndarray, epoch: int, language: int) -> np.ndarray:
        if self._runs is None:
            return items
        key = order.key(self._seed, epoch, _RUNS, language)
        return items[neighbours.arranged(self._runs.vectors_PW[item_pair[items]], size=self._runs.size, key=key)]

    def _planned(self, item_B: np.ndarray, pair_B: np.ndarray) -> Planned:
        mixed = self._one_language and len(np.unique(self._pairs.language[pair_B])) > 1
        return Planned(item_B, pair_B, pair_B, mixed)

    def _keys(self, item_pair: np.ndarray) -> np.ndarray:
        """Keys that no two items of a batch may share, uint64 (items, 3)."""
        pairs = self._pairs
        text, body, group = (key[item_pair] for key in (pairs.text_key, pairs.body_key, pairs.group_key))
        return np.stack([text, body, np.where(group > 0, group, text)], 1)


class OfGroups:
    """Batches of the codes of groups: an epoch contains each group once for each of its language pairs.

    So a language pair is as frequent as the groups that contain both languages. A pair within one language joins two different
    solutions of a group. The members that represent a group, and the side of each language, are redrawn each epoch.
    """

    def __init__(self, pairs: PairTokens, rows: np.ndarray, *, size: int, which: str, seed: int) -> None:
        """`rows`: row numbers of the pairs; `which`: "across" languages, "within" one language, or "" for both."""
        self._pairs, self._size, self._seed = pairs, size, seed
        self._rows, group_M, language_M = _members(pairs, rows)
        cell_M = np.concatenate(([True], (np.diff(group_M) != 0) | (np.diff(language_M) != 0)))[: len(self._rows)]
        self._start_C = np.flatnonzero(cell_M)
        self._count_C = np.diff(np.append(self._start_C, len(self._rows)))
        group_C, language_C = group_M[self._start_C], language_M[self._start_C]
        self.pairings = list(self._paired(group_C, language_C, which))
        self.languages = [tuple(int(language_C[cell]) for cell in cells_G2[0]) for cells_G2 in self.pairings]
        reached = [group_C[cells_G2[:, 0]] for cells_G2 in self.pairings]
        self.count = len(np.unique(np.concatenate(reached))) if reached else 0

    def _paired(self, group_C: np.ndarray, language_C: np.ndarray, which: str) -> Iterator[np.ndarray]:
        """For each language pair, the two (group, language) cells of every group with both languages, int64 (groups, 2)."""
        languages, groups = np.unique(language_C), int(group_C.max(initial=-1)) + 1
        cell_LG = np.full((len(languages), groups), -1)
        cell_LG[np.searchsorted(languages, language_C), group_C] = np.arange(len(group_C))
        for a in range(len(languages)):
            for b in range(a, len(languages)):
                if which == (ACROSS if a == b else WITHIN):
                    continue
                cells_G2 = np.stack([cell_LG[a], cell_LG[b]], 1)
                cells_G2 = cells_G2[(cells_G2 >= 0).all(1)]
                if a == b:
                    cells_G2 = cells_G2[self._count_C[cells_G2[:, 0]] > 1]
                if len(cells_G2):
                    yield cells_G2

    def __call__(self, epoch: int) -> list[Planned]:
        """The batches of an epoch. A language pair with n groups gets n / size batches, rounded at random."""
        full, joined, first = [], [], 0
        for number, cells_G2 in enumerate(self.pairings):
            order_G = order.permutation(len(cells_G2), seed=order.key(self._seed, _ORDER, number), epoch=epoch)
            if len(order_G) < self._size:
                joined.append(cells_G2)
                continue
            batches = len(order_G) // self._size
            share = len(order_G) / self._size - batches
            batches += int(order.uniform(order.key(self._seed, epoch, _COUNT), np.array([number]))[0] < share)
            # rounding up repeats the first groups of the queue, but never within one batch
            line = np.resize(order_G, batches * self._size + self._size // _RESERVE)
            full += [(batch, False) for batch in self._batches(cells_G2[line], epoch, first)[:batches]]
            first += len(line)
        if joined:
            cells_I2 = np.concatenate(joined)
            cells_I2 = cells_I2[order.permutation(len(cells_I2), seed=order.key(self._seed, _ORDER), epoch=epoch)]
            full += [(batch, True) for batch in self._batches(cells_I2, epoch, first)]
        swap = order.uniform(order.key(self._seed, epoch, _SIDES), np.arange(len(full))) < 0.5
        planned = [
            Planned(item_B, b, a, mixed) if swapped else Planned(item_B, a, b, mixed)
            for ((item_B, a, b), mixed), swapped in zip(full, swap, strict=True)
        ]
        return _shuffled(planned, self._seed, epoch)

    def _batches(self, cells_I2: np.ndarray, epoch: int, first: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(items, members, members) of the whole batches made from these cells, whose items are `first`, `first` + 1, ..."""
        item_I = first + np.arange(len(cells_I2))
        count_I2 = self._count_C[cells_I2]
        one_I, other_I = (order.uniform(order.key(self._seed, epoch, _MEMBER, side), item_I) for side in (0, 1))
        one_I = (one_I * count_I2[:, 0]).astype(np.int64)
        same_I = cells_I2[:, 0] == cells_I2[:, 1]
        other_I = (other_I * (count_I2[:, 1] - same_I)).astype(np.int64)
        other_I = np.where(same_I, (one_I + 1 + other_I) % count_I2[:, 1], other_I)  # never pair a member with itself
        row_I2 = self._rows[self._start_C[cells_I2] + np.stack([one_I, other_I], 1)]
        pairs = self._pairs
        keys = np.stack([pairs.group_key[row_I2[:, 0]], pairs.body_key[row_I2[:, 0]], pairs.body_key[row_I2[:, 1]]], 1)
        full, _, _ = filled(np.arange(len(item_I)), keys, self._size)
        return [(item_I[batch], row_I2[batch, 0], row_I2[batch, 1]) for batch in full]


def _members(pairs: PairTokens, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows, groups from 0, languages), sorted by group and language. Equal solutions in one language count once."""
    _, group_M = np.unique(pairs.group_key[rows], return_inverse=True)
    language_M, body_M = pairs.language[rows], pairs.body_key[rows]
    by = np.lexsort((rows, body_M, language_M, group_M))
    rows, group_M, language_M, body_M = rows[by], group_M[by], language_M[by], body_M[by]
    fresh = np.ones(len(rows), bool)
    fresh[1:] = (np.diff(group_M) != 0) | (np.diff(language_M) != 0) | (body_M[1:] != body_M[:-1])
    return rows[fresh], group_M[fresh], language_M[fresh]


def filled(items: np.ndarray, keys: np.ndarray, size: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Split `items` into whole batches, a partial batch, and items that conflict with it; items that wait lose their place.

    `keys`, uint64 (more rows than items, K): two items that share a key never share a batch. An item may have a key twice.
    """
    alone_I = _alone(keys[items])
    if alone_I.all():
        whole = len(items) // size * size
        return list(items[:whole].reshape(-1, size)), items[whole:], items[:0]
    line = deque(zip(items.tolist(), alone_I.tolist(), strict=True))
    full, batch, taken, refused = [], [], set(), 0
    while line and refused < len(line):  # refused in a row; if all items are, the batch cannot be filled
        item, alone = line.popleft()
        if not alone:
            own = keys[item].tolist()
            if not taken.isdisjoint(own):
                line.append((item, alone))
                refused += 1
                continue
            taken.update(own)
        refused = 0
        batch.append(item)
        if len(batch) == size:
            full.append(np.array(batch))
            batch, taken = [], set()
    return full, np.array(batch, np.int64), np.array([item for item, _ in line], np.int64)


def _alone(keys: np.ndarray) -> np.ndarray:
    """Which rows share no key with another row, bool. Sorts, because np.unique hashes, which is three times slower."""
    rows, width = keys.shape
    flat, row_K = keys.ravel(), np.repeat(np.arange(rows), width)
    by = np.argsort(flat, kind="stable")
    flat, row_K = flat[by], row_K[by]
    shared = (flat[1:] == flat[:-1]) & (row_K[1:] != row_K[:-1])  # equal keys keep the order of their rows
    alone = np.ones(rows, bool)
    alone[row_K[1:][shared]] = False
    alone[row_K[:-1][shared]] = False
    return alone


def _shuffled(batches: Sequence, seed: int, epoch: int) -> list:
    return [batches[index] for index in order.permutation(len(batches), seed=order.key(seed, BATCH), epoch=epoch)]

"""What Stage I hides: random masking and identifier deobfuscation (paper section 3.1), a whole batch at a time.

In: the tokens of B windows, end to end, T in all, the length of each window, and a key for each (training.order).
Out: which tokens are hidden, bool (T,), and what replaces them. A window hides the same tokens whatever stands
beside it: what is drawn depends on its key alone. No loop runs over windows or tokens.
"""

import numpy as np

from codesage.training.order import draws, uniform

STYLES = ("full", "80-10-10")
_POSITION, _DRAW = np.uint64(16), np.uint64(40)  # a sort key: window 24 bits, draw 24, position 16
MOST_TOKENS = 1 << 16  # of a window
MOST_WINDOWS = 1 << 24  # of a batch


def random_mask(
    ids_T: np.ndarray, lengths_B: np.ndarray, *, rate: float | tuple[float, float], keep_id: int, key_B: np.ndarray
) -> np.ndarray:
    """Hide a share `rate` of the tokens of each window, or a share drawn per window between the two rates given.

    Tokens equal to `keep_id` (the end token) are never hidden. The number hidden is rate * tokens rounded up or down
    at random so that its mean is exact, and at least 1 where a token can be hidden. Returns hidden_T, bool.
    """
    start_B = np.cumsum(lengths_B) - lengths_B
    window_T = np.repeat(np.arange(len(lengths_B), dtype=np.uint64), lengths_B)
    position_T = np.arange(len(ids_T), dtype=np.uint64) - np.repeat(start_B.astype(np.uint64), lengths_B)
    free_T = ids_T != keep_id
    free_B = np.add.reduceat(free_T, start_B, dtype=np.int64)
    rate_B = rate[0] + (rate[1] - rate[0]) * uniform(_other(key_B, 1), start_B * 0) if isinstance(rate, tuple) else rate
    count_B = np.minimum(free_B, np.maximum(1, (rate_B * free_B + uniform(_other(key_B, 2), start_B * 0)).astype(np.int64)))
    # Sorted, each window's tokens are where they were, in random order, those that are kept last: the first count_B
    # of a window are those up to its count-th value. Positions make values distinct, so the count is exact.
    value_T = draws(np.repeat(key_B, lengths_B), position_T) >> np.uint64(41)
    value_T |= np.uint64(1 << 23) * ~free_T
    value_T <<= _POSITION
    value_T |= position_T
    value_T |= window_T << _DRAW
    limit_B = np.sort(value_T)[start_B + np.maximum(count_B, 1) - 1]
    return (value_T <= np.repeat(limit_B, lengths_B)) & free_T


def deobfuscate(names_T: np.ndarray, lengths_B: np.ndarray, *, max_share: float = 1.0, key_B: np.ndarray) -> np.ndarray:
    """Hide identifiers: each sub-token of each occurrence, so that k sub-tokens give k masks.

    names_T: 0 where a token is no part of an identifier, else the number of the name within its file: equal numbers
    are occurrences of one name, and are hidden together. When more than `max_share` of a window would be hidden,
    names are drawn at random, whole, until the next one would pass it; at least one is always hidden. Returns
    hidden_T, bool: nothing is hidden in a window without identifiers.
    """
    hidden_T = names_T > 0
    start_B = np.cumsum(lengths_B) - lengths_B
    limit_B = max_share * lengths_B
    over_B = np.add.reduceat(hidden_T, start_B, dtype=np.int64) > limit_B
    if not over_B.any():
        return hidden_T
    tokens = np.flatnonzero(hidden_T & np.repeat(over_B, lengths_B))
    window = np.repeat(np.arange(len(lengths_B)), lengths_B)[tokens]
    groups, group_of, sizes = np.unique(window << 16 | names_T[tokens], return_inverse=True, return_counts=True)
    of_window = groups >> 16
    order = np.lexsort((draws(key_B[of_window], groups & 0xFFFF), of_window))  # names of a window in random order
    ends = np.cumsum(sizes[order])
    first = np.concatenate(([True], np.diff(of_window) > 0))  # windows stay in place: also the first in `order`
    before = np.repeat((ends - sizes[order])[first], np.diff(np.append(np.flatnonzero(first), len(groups))))
    kept = np.empty(len(groups), bool)
    kept[order] = (ends - before <= limit_B[of_window]) | first
    hidden_T[tokens] = kept[group_of]
    return hidden_T


def softened(labels_M: np.ndarray, *, mask_id: int, ordinary: np.ndarray, draw_M: np.ndarray) -> np.ndarray:
    """What replaces hidden tokens under 80-10-10 (BERT's rule, an ablation of the paper), int64 (M,).

    `mask_id` for 80% of them, one of the `ordinary` ids at random for 10%, the token itself for 10%; draw_M: uint64.
    """
    tenth_M = (draw_M >> np.uint64(32)) * np.uint64(10) >> np.uint64(32)  # high bits: which; low bits: what
    chosen_M = (draw_M & np.uint64(0xFFFFFFFF)) * np.uint64(len(ordinary)) >> np.uint64(32)
    return np.select([tenth_M < 8, tenth_M == 8], [mask_id, ordinary[chosen_M.astype(np.int64)]], labels_M)


def draws_at(at_M: np.ndarray, lengths_B: np.ndarray, *, key_B: np.ndarray) -> np.ndarray:
    """A uniform number, uint64 (M,), for each of the tokens at positions at_M of the batch; not those of random_mask."""
    start_B = np.cumsum(lengths_B) - lengths_B
    window_M = np.searchsorted(start_B, at_M, "right") - 1
    return draws(_other(key_B, 3)[window_M], at_M - start_B[window_M])


def _other(key_B: np.ndarray, purpose: int) -> np.ndarray:
    return draws(key_B, np.full(len(key_B), -purpose))  # far from the positions, which count from 0

"""Chooses the tokens that Stage I hides: random masking and identifier deobfuscation (paper section 3.1), by batch.

The inputs are the tokens of B windows end to end, T in all, the length of each window, and a random key for each window
(training.order). The outputs are the hidden tokens, bool (T,), and their replacements. The choice depends only on the key of
the window, so a window hides the same tokens in any batch. There is no loop over windows or tokens.
"""

import numpy as np

from codesage.corpus.tokens.ragged import spans
from codesage.training.order import draws, uniform

STYLES = ("full", "80-10-10")
_POSITION, _DRAW = np.uint64(16), np.uint64(40)  # a sort key: window 24 bits, draw 24, position 16
MOST_TOKENS = 1 << 16  # of a window
MOST_WINDOWS = 1 << 24  # of a batch


def random_mask(
    ids_T: np.ndarray, lengths_B: np.ndarray, *, rate: float | tuple[float, float], keep_id: int, key_B: np.ndarray
) -> np.ndarray:
    """Hide a share `rate` of the tokens of each window; with two rates, a random share between them for each window.

    Tokens equal to `keep_id` (the end token) are never hidden. The number of hidden tokens is rate * tokens, randomly rounded
    up or down so that its mean is exact; it is at least 1 if a token can be hidden. Returns hidden_T, bool.
    """
    start_B = np.cumsum(lengths_B) - lengths_B
    window_T = np.repeat(np.arange(len(lengths_B), dtype=np.uint64), lengths_B)
    position_T = np.arange(len(ids_T), dtype=np.uint64) - np.repeat(start_B.astype(np.uint64), lengths_B)
    free_T = ids_T != keep_id
    free_B = np.add.reduceat(free_T, start_B, dtype=np.int64)
    rate_B = _drawn(rate, key_B, 1)
    count_B = np.clip((rate_B * free_B + _chance(key_B, 2)).astype(np.int64), 1, np.maximum(1, free_B))
    # Sorting by these values puts the tokens of each window in random order, with those that must not be hidden last. The
    # first count_B tokens of a window are hidden. Positions make the values distinct, so the count is exact.
    value_T = draws(np.repeat(key_B, lengths_B), position_T) >> np.uint64(41)
    value_T |= np.uint64(1 << 23) * ~free_T
    value_T <<= _POSITION
    value_T |= position_T
    value_T |= window_T << _DRAW
    limit_B = np.sort(value_T)[start_B + count_B - 1]
    return (value_T <= np.repeat(limit_B, lengths_B)) & free_T


def deobfuscate(
    names_T: np.ndarray, lengths_B: np.ndarray, *, max_share: float | tuple[float, float] = 1.0, key_B: np.ndarray
) -> np.ndarray:
    """Hide identifiers: every sub-token of every occurrence, so that k sub-tokens give k masks.

    names_T is the number of the name within its file, or 0 if the token is not part of an identifier. Tokens with equal
    numbers are occurrences of one name and are hidden together. If more than `max_share` of a window would be hidden, whole
    names are chosen in random order until the next one would exceed it; at least one name is always hidden. If `max_share`
    is two numbers, each window gets a random share between them. Returns hidden_T, bool. In a window without identifiers,
    nothing is hidden.
    """
    hidden_T = names_T > 0
    start_B = np.cumsum(lengths_B) - lengths_B
    share_B = _drawn(max_share, key_B, 4)
    limit_B = share_B * lengths_B
    over_B = np.add.reduceat(hidden_T, start_B, dtype=np.int64) > limit_B
    if not over_B.any():
        return hidden_T
    tokens = np.flatnonzero(hidden_T & np.repeat(over_B, lengths_B))
    window = np.repeat(np.arange(len(lengths_B)), lengths_B)[tokens]
    groups, group_of, sizes = np.unique(window << 16 | names_T[tokens], return_inverse=True, return_counts=True)
    of_window = groups >> 16
    order = np.lexsort((draws(key_B[of_window], groups & 0xFFFF), of_window))  # names of a window in random order
    ends = np.cumsum(sizes[order])
    first = np.concatenate(([True], np.diff(of_window) > 0))  # windows are in the same places in `order`
    before = np.repeat((ends - sizes[order])[first], np.diff(np.append(np.flatnonzero(first), len(groups))))
    kept = np.empty(len(groups), bool)
    kept[order] = (ends - before <= limit_B[of_window]) | first
    hidden_T[tokens] = kept[group_of]
    return hidden_T


def revealed(names_T: np.ndarray, lengths_B: np.ndarray, *, share: float, key_B: np.ndarray) -> np.ndarray:
    """Sub-tokens of names that stay visible although their name is hidden, bool (T,): what a name begins with.

    A `share` of the names of a window shows its first sub-tokens at every occurrence, up to all but one: any number of
    them is equally likely. Whoever fills a name from left to right meets names in this form. `names_T` as in deobfuscate.
    """
    shown_T = np.zeros(len(names_T), bool)
    window_T = np.repeat(np.arange(len(lengths_B)), lengths_B)
    number_T = window_T << 16 | names_T.astype(np.int64)
    first = np.flatnonzero((names_T > 0) & np.append(True, number_T[1:] != number_T[:-1]))  # of each occurrence
    if not len(first):
        return shown_T
    border = np.flatnonzero(np.append(number_T[1:] != number_T[:-1], True))
    length = border[np.searchsorted(border, first)] + 1 - first
    window, name = window_T[first], names_T[first].astype(np.int64)
    takes = uniform(_other(key_B, 5)[window], name) < share
    count = np.where(takes, (uniform(_other(key_B, 6)[window], name) * length).astype(np.int64), 0)
    shown_T[spans(first, count)] = True
    return shown_T


def softened(labels_M: np.ndarray, *, mask_id: int, ordinary: np.ndarray, draw_M: np.ndarray) -> np.ndarray:
    """The replacements of hidden tokens under 80-10-10 (BERT's rule, an ablation in the paper), int64 (M,).

    80% become `mask_id`, 10% a random id of `ordinary`, and 10% stay unchanged. draw_M holds random numbers, uint64.
    """
    tenth_M = (draw_M >> np.uint64(32)) * np.uint64(10) >> np.uint64(32)  # high bits: which rule; low bits: which id
    chosen_M = (draw_M & np.uint64(0xFFFFFFFF)) * np.uint64(len(ordinary)) >> np.uint64(32)
    return np.select([tenth_M < 8, tenth_M == 8], [mask_id, ordinary[chosen_M.astype(np.int64)]], labels_M)


def draws_at(at_M: np.ndarray, lengths_B: np.ndarray, *, key_B: np.ndarray) -> np.ndarray:
    """Random numbers, uint64 (M,), for the tokens at positions at_M of the batch; independent of random_mask."""
    start_B = np.cumsum(lengths_B) - lengths_B
    window_M = np.searchsorted(start_B, at_M, "right") - 1
    return draws(_other(key_B, 3)[window_M], at_M - start_B[window_M])


def _drawn(rate: float | tuple[float, float], key_B: np.ndarray, purpose: int) -> float | np.ndarray:
    """`rate` itself, or one for each window between the two given."""
    if not isinstance(rate, tuple | list):
        return rate
    return rate[0] + (rate[1] - rate[0]) * _chance(key_B, purpose)


def _chance(key_B: np.ndarray, purpose: int) -> np.ndarray:
    """A random number in [0, 1) for each window."""
    return uniform(_other(key_B, purpose), np.zeros(len(key_B), np.int64))


def _other(key_B: np.ndarray, purpose: int) -> np.ndarray:
    return draws(key_B, np.full(len(key_B), -purpose))  # negative, so never a position

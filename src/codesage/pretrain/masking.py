"""What Stage I hides: random full masking and identifier deobfuscation (paper section 3.1).

In: the token ids of one example. Out: the ids with every hidden token replaced by `<mask>`, and which those are; the
labels are the original ids there. Both are pure functions of their arguments and the random generator given.
"""

import numpy as np


def random_mask(
    ids_L: np.ndarray, *, rate: float, mask_id: int, keep_id: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Hide a share `rate` of the tokens, each of them replaced by `mask_id` (no 80-10-10).

    ids_L: int (L,). Tokens equal to `keep_id` (the end token) are never hidden. The number hidden is rate * L rounded
    up or down at random so that its mean is exact, and at least 1 where a token can be hidden.
    Returns (inputs_L of the dtype of ids_L, hidden_L bool).
    """
    candidates = np.flatnonzero(ids_L != keep_id)
    count = min(len(candidates), max(1, int(rate * len(candidates) + rng.random())))
    hidden_L = np.zeros(len(ids_L), dtype=bool)
    hidden_L[rng.choice(candidates, size=count, replace=False)] = True
    return np.where(hidden_L, ids_L.dtype.type(mask_id), ids_L), hidden_L


def deobfuscate(
    ids_L: np.ndarray, names_L: np.ndarray, *, mask_id: int, max_share: float = 1.0, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Hide identifiers: each sub-token of each occurrence becomes one `mask_id`, so k sub-tokens give k masks.

    ids_L: int (L,), identifiers tokenised on their own. names_L: int (L,), 0 where a token is no part of an
    identifier, else the number of the name within its file: equal numbers are occurrences of one name, and are hidden
    together. When more than `max_share` of the tokens would be hidden, names are drawn at random, whole, until the
    next one would pass it; at least one is always hidden. Returns (inputs_L, hidden_L); nothing is hidden in an
    example without identifiers.
    """
    hidden_L = names_L > 0
    if hidden_L.sum() > max_share * len(ids_L):
        names, sizes = np.unique(names_L[hidden_L], return_counts=True)
        order = rng.permutation(len(names))
        fits = np.cumsum(sizes[order]) <= max_share * len(ids_L)
        fits[0] = True
        hidden_L = np.isin(names_L, names[order[fits]])
    return np.where(hidden_L, ids_L.dtype.type(mask_id), ids_L), hidden_L

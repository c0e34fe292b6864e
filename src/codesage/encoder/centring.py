"""Vectors without the part that says which language the code is in.

Vectors of one language share a direction ("this is PHP"), which outweighs what the code does as soon as code of
different languages is compared. The mean of each language's vectors is that direction: it is taken off, less of it
where few vectors tell it.
"""

from collections.abc import Sequence

import numpy as np

_TRUST = 16.0  # vectors of a language: with so many, half of their mean is taken off


def without_language(vectors_ND: np.ndarray, languages: Sequence[str]) -> np.ndarray:
    """`vectors_ND` minus the mean vector of their language, at unit length: float32 (N, D).

    `languages`: one name a row. Of a language with n rows n / (n + 16) of the mean is taken off, so that a small set
    keeps its vectors, and a single one all of its own. ValueError when rows and names differ in number.
    """
    if len(vectors_ND) != len(languages):
        raise ValueError(f"{len(vectors_ND)} vectors, but {len(languages)} languages: expected one a row")
    centred = np.array(vectors_ND, np.float32)
    names = np.asarray(languages)
    for name in set(languages):
        rows = np.flatnonzero(names == name)
        if len(rows) > 1:
            centred[rows] -= centred[rows].mean(axis=0) * (len(rows) / (len(rows) + _TRUST))
    return centred / np.linalg.norm(centred, axis=1, keepdims=True).clip(np.finfo(np.float32).tiny)

"""Remove the language of the code from its vectors.

Vectors of one language share a direction ("this is PHP"). When code in different languages is compared, this direction
outweighs what the code does. It is estimated by the mean of each language's vectors and subtracted. With few vectors the
estimate is poor, so less of it is subtracted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from codesage.encoder.unit import unit_length

TRUST = 16.0  # with this many vectors in a language, half of their mean is subtracted


def without_language(vectors_ND: np.ndarray, languages: Sequence[str]) -> np.ndarray:
    """`vectors_ND` minus the mean vector of each row's language, scaled to unit length: float32 (N, D).

    `languages`: one name per row. For a language with n rows, n / (n + 16) of the mean is subtracted, so a small set changes
    little; a single vector does not change. ValueError when the numbers of rows and names differ.
    """
    if len(vectors_ND) != len(languages):
        raise ValueError(f"{len(vectors_ND)} vectors, but {len(languages)} languages: expected one per row")
    return minus_means(vectors_ND, languages, language_means(vectors_ND, languages))


def language_means(vectors_ND: np.ndarray, languages: Sequence[str]) -> dict[str, np.ndarray]:
    """What `without_language` subtracts from the vectors of each language that has two or more: float32 (D,)."""
    vectors_ND, names, means = np.asarray(vectors_ND, np.float32), np.asarray(languages), {}
    for name in sorted(set(languages)):
        rows = np.flatnonzero(names == name)
        if len(rows) > 1:
            means[name] = vectors_ND[rows].mean(axis=0) * (len(rows) / (len(rows) + TRUST))
    return means


def means_of_sums(all_sums: Sequence[Mapping[str, tuple[np.ndarray, int]]]) -> dict[str, np.ndarray]:
    """The means of `language_means` for several sets together, each given as the sum and the number of its vectors by language.

    Empty if there is only one language. A language without vectors has the mean of all.
    """
    sums: dict[str, np.ndarray] = {}
    counts: Counter[str] = Counter()
    for name, (sum_D, count) in (item for one in all_sums for item in one.items()):
        sums[name] = sums[name] + sum_D if name in sums else sum_D
        counts[name] += count
    total = counts.total()
    if len(sums) < 2 or not total:
        return {}
    means = {name: sum_D / np.float32(counts[name] + TRUST) for name, sum_D in sums.items() if counts[name] > 1}
    mean_D = np.sum(list(sums.values()), axis=0) / np.float32(total + TRUST)
    return means | {name: mean_D for name in sums if not counts[name]}


def minus_means(vectors_ND: np.ndarray, languages: Sequence[str], means: dict[str, np.ndarray]) -> np.ndarray:
    """`vectors_ND` minus the mean of each row's language, where there is one, scaled to unit length: float32 (N, D)."""
    centred, names = np.array(vectors_ND, np.float32), np.asarray(languages)
    for name, mean_D in means.items():
        centred[names == name] -= mean_D
    return unit_length(centred)

"""The uncertainty of a figure: bootstrap intervals and paired differences.

In: one value per query and task. Out: the mean, its 95% interval, and the p-value of a difference.
Queries are resampled within each task, and the mean is taken over tasks, as for the figure itself. Systems measured on the
same queries get the same samples, so their differences are paired. Shapes: S samples.
"""

from collections.abc import Sequence

import numpy as np

from codesage.evaluate.tasks import SEED

SAMPLES = 1000
_BLOCK = 1 << 22  # draws in memory at a time


def bootstrap(values: Sequence[np.ndarray], *, samples: int = SAMPLES, seed: int = SEED) -> np.ndarray:
    """The mean over tasks of resampled means, float64 (S,). `values`: one array per task, with one value per query."""
    total_S = np.zeros(samples)
    for number, own in enumerate(values):
        rng = np.random.default_rng((seed, number))
        rows = max(1, _BLOCK // max(1, len(own)))
        for start in range(0, samples, rows):
            resampled = rng.integers(0, len(own), (min(rows, samples - start), len(own)))
            total_S[start : start + rows] += own[resampled].mean(axis=1)
    return total_S / len(values)


def interval(mean_S: np.ndarray) -> tuple[float, float]:
    """The 2.5% and the 97.5% quantile."""
    low, high = np.quantile(mean_S, [0.025, 0.975])
    return float(low), float(high)


def chance(difference_S: np.ndarray) -> float:
    """Two-sided p-value of a difference, at least 1 / S: below 0.05 the difference is significant."""
    opposite = min((difference_S <= 0).mean(), (difference_S >= 0).mean())
    return float(min(1.0, max(2 * opposite, 1 / len(difference_S))))

"""The uncertainty of a figure: bootstrap intervals and paired differences.

In: for each task, what each query, pair or row contributes. Out: the figure, its 95% interval, and the p-value of a difference.
Queries are resampled within each task, and the mean is taken over tasks, as for the figure itself. Systems measured on the
same queries get the same samples, so their differences are paired.

A task with queries has the value of each, and its figure is the mean. A task of clones has two booleans for each pair: whether
it is one, and whether it is called one; its figure is F1. A task of classification has numbers of labels for each row: the true
one, and the predicted one in each run (-1: none); its figure is macro F1, averaged over the runs. Classifiers are not trained
again on the samples. Shapes: S samples, N queries, pairs or rows, C labels.
"""

from collections.abc import Sequence

import numpy as np

from codesage.evaluate.tasks import SEED

SAMPLES = 1000
_BLOCK = 1 << 22  # draws in memory at a time


def bootstrap(values: Sequence[np.ndarray], *, samples: int = SAMPLES, seed: int = SEED) -> np.ndarray:
    """The mean over tasks of the figures of samples, float64 (S,). `values`: one array per task, with a row per query."""
    total_S = np.zeros(samples)
    for number, own in enumerate(values):
        rng = np.random.default_rng((seed, number))
        rows = max(1, _BLOCK // max(1, len(own)))
        for start in range(0, samples, rows):
            resampled = rng.integers(0, len(own), (min(rows, samples - start), len(own)))
            total_S[start : start + rows] += _figures(own, resampled)
    return total_S / len(values)


def figure(values: Sequence[np.ndarray]) -> float:
    """The figure itself, in 0..1: the mean over tasks."""
    return float(np.mean([_figures(own, np.arange(len(own))[None])[0] for own in values]))


def _figures(values: np.ndarray, rows_SN: np.ndarray) -> np.ndarray:
    """The figure of each sample, float64 (S,), of the rows in it."""
    if values.ndim == 1:
        return values[rows_SN].mean(axis=1)
    if values.dtype == bool:
        same_N, called_N = values.T
        hits_S, items_S = (same_N & called_N)[rows_SN].sum(1), values.sum(1)[rows_SN].sum(1)
        return 2 * hits_S / np.maximum(items_S, 1)
    scores_RS = np.array([_macro_f1(values[:, 0], predicted_N, rows_SN) for predicted_N in values.T[1:]])
    there_RS = np.isfinite(scores_RS)  # a sample may hold no row of a small fold
    return np.where(there_RS, scores_RS, 0).sum(0) / np.maximum(there_RS.sum(0), 1)


def _macro_f1(labels_N: np.ndarray, predicted_N: np.ndarray, rows_SN: np.ndarray) -> np.ndarray:
    """Macro F1 of each sample, over the labels that occur in it; nan for a sample without a row that has a prediction."""
    names = int(max(labels_N.max(), predicted_N.max())) + 1
    cell_N = np.where(predicted_N < 0, names * names, labels_N * names + predicted_N)
    cells = names * names + 1
    counted = np.bincount((cell_N[rows_SN] + cells * np.arange(len(rows_SN))[:, None]).ravel(), minlength=cells * len(rows_SN))
    pairs_SCC = counted.reshape(len(rows_SN), cells)[:, :-1].reshape(-1, names, names)
    items_SC = pairs_SCC.sum(1) + pairs_SCC.sum(2)
    scores_SC = 2 * np.diagonal(pairs_SCC, axis1=1, axis2=2) / np.maximum(items_SC, 1)
    labels_S = (items_SC > 0).sum(1)
    return np.where(labels_S > 0, scores_SC.sum(1) / np.maximum(labels_S, 1), np.nan)


def interval(mean_S: np.ndarray) -> tuple[float, float]:
    """The 2.5% and the 97.5% quantile."""
    low, high = np.quantile(mean_S, [0.025, 0.975])
    return float(low), float(high)


def chance(difference_S: np.ndarray) -> float:
    """Two-sided p-value of a difference, at least 1 / S: below 0.05 the difference is significant."""
    opposite = min((difference_S <= 0).mean(), (difference_S >= 0).mean())
    return float(min(1.0, max(2 * opposite, 1 / len(difference_S))))

"""Retrieval metrics (paper section 4, protocol of the public evaluation code), in numpy only."""

from collections.abc import Sequence

import numpy as np

from codesage.errors import CodesageError


def ranks(scores_QC: np.ndarray, relevant_Q: Sequence[int]) -> np.ndarray:
    """Rank of the one relevant candidate of each query, from 1: int (Q,).

    scores_QC: float (Q, C), higher is better. Ties count against the query: every candidate with the same score ranks
    before the relevant one, so a constant score gains nothing. CodesageError when a score is not finite.
    """
    if not np.isfinite(scores_QC).all():
        raise CodesageError("a score is not finite because the model returns NaN or infinite vectors: train or export it again")
    own_Q = scores_QC[np.arange(len(scores_QC)), np.asarray(relevant_Q, dtype=np.int64)]
    return (scores_QC >= own_Q[:, None]).sum(axis=1)


def reciprocal_ranks(ranks_Q: np.ndarray, *, cutoff: int = 1000) -> np.ndarray:
    """1/rank of each query, 0 for ranks over `cutoff`: float64 (Q,)."""
    return np.where(ranks_Q <= cutoff, 1.0 / np.maximum(ranks_Q, 1), 0.0)


def mean_reciprocal_rank(ranks_Q: np.ndarray, *, cutoff: int = 1000) -> float:
    """Mean of the reciprocal ranks, in 0..1; 0 without queries."""
    return float(reciprocal_ranks(ranks_Q, cutoff=cutoff).mean()) if len(ranks_Q) else 0.0


def mean_average_precision(scores_NN: np.ndarray, labels_N: Sequence) -> float:
    """Mean over items of the average precision over ALL other items with the same label, full ranking (Code2Code).

    scores_NN: float (N, N). Row i ranks all items for query i. The query itself and queries without relevant items are
    skipped. Ties count against the relevant items. In 0..1; 0 when no query is left.
    """
    labels = np.asarray(labels_N)
    precisions = []
    for i, row in enumerate(scores_NN):
        others = np.arange(len(row)) != i
        relevant = (labels == labels[i])[others]
        if relevant.any():
            order = np.lexsort((relevant, -row[others]))  # among ties, irrelevant ones first
            hits = relevant[order]
            precision = hits.cumsum() / np.arange(1, len(hits) + 1)
            precisions.append(precision[hits].mean())
    return float(np.mean(precisions)) if precisions else 0.0

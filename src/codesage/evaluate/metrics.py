"""Retrieval metrics (paper section 4, protocol of the public evaluation code), in numpy only."""

from collections.abc import Sequence

import numpy as np

from codesage.errors import CodesageError


def ranks(scores_QC: np.ndarray, relevant_Q: Sequence[int]) -> np.ndarray:
    """Rank of the one relevant candidate of each query, from 1: int (Q,).

    scores_QC: float (Q, C), higher is better. Ties count against the query: every candidate with the same score ranks
    before the relevant one, so a constant score gains nothing. CodesageError when a score is not finite.
    """
    _check_finite(scores_QC)
    own_Q = scores_QC[np.arange(len(scores_QC)), np.asarray(relevant_Q, dtype=np.int64)]
    return (scores_QC >= own_Q[:, None]).sum(axis=1)


def reciprocal_ranks(ranks_Q: np.ndarray, *, cutoff: int = 1000) -> np.ndarray:
    """1/rank of each query, 0 for ranks over `cutoff`: float64 (Q,)."""
    return np.where(ranks_Q <= cutoff, 1.0 / np.maximum(ranks_Q, 1), 0.0)


def mean_reciprocal_rank(ranks_Q: np.ndarray, *, cutoff: int = 1000) -> float:
    """Mean of the reciprocal ranks, in 0..1; 0 without queries."""
    return float(reciprocal_ranks(ranks_Q, cutoff=cutoff).mean()) if len(ranks_Q) else 0.0


def average_precisions(
    scores_QC: np.ndarray, relevant_QC: np.ndarray, skipped_QC: np.ndarray, *, at_r: bool = False
) -> np.ndarray:
    """Average precision of each query over ALL its answers, in 0..1; NaN for a query without an answer: float64 (Q,).

    scores_QC: float, higher is better. relevant_QC, skipped_QC: bool; skipped candidates are in no ranking. Among equal
    scores, answers come last, so a constant score gains nothing. `at_r`: only the first R ranks count, R being the number
    of answers (MAP@R). CodesageError when a score is not finite.
    """
    _check_finite(scores_QC)
    precisions = np.full(len(scores_QC), np.nan)
    for query, (scores, relevant, skipped) in enumerate(zip(scores_QC, relevant_QC, skipped_QC, strict=True)):
        scores, relevant = scores[~skipped], relevant[~skipped]
        if relevant.any():
            hits = relevant[np.lexsort((relevant, -scores))]
            precision = (hits.cumsum() / np.arange(1, len(hits) + 1))[hits]
            answers = len(precision)
            within = int(hits[:answers].sum()) if at_r else answers
            precisions[query] = precision[:within].sum() / answers
    return precisions


def _check_finite(scores_QC: np.ndarray) -> None:
    if not np.isfinite(scores_QC).all():
        raise CodesageError("a score is not finite because the model returns NaN or infinite vectors: train or export it again")

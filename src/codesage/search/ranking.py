"""Rankings fused: reciprocal rank fusion of the dense and the lexical view.

In: several rankings of the same candidates, best first. Out: one score per candidate. Reciprocal rank fusion
(Cormack, Clarke and Buettcher, SIGIR 2009) needs no calibration between cosine and BM25 scores.
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

# What the vectors' ranking counts beside full text: at this weight the bundled model's fusion finds held-out functions at 54.8
# where full text alone has 42.3, and CoSQA's at 41.6 instead of 32.5 (MRR x 100, docs/log.md).
DENSE_WEIGHT = 2.0


def reciprocal_rank_fusion(
    rankings: Iterable[Sequence[Key]], *, k: float = 60.0, weights: Sequence[float] | None = None
) -> list[tuple[Key, float]]:
    """Fuse `rankings` (best first): score = sum over rankings of weight / (k + rank), rank counted from 1.

    Returns (key, score) sorted by falling score; equal scores keep the order of first appearance. A key that a
    ranking does not hold gets nothing from it.
    """
    rankings = list(rankings)
    weights = [1.0] * len(rankings) if weights is None else weights
    scores: dict[Key, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, key in enumerate(ranking, start=1):
            scores[key] = scores.get(key, 0.0) + weight / (k + rank)
    return sorted(scores.items(), key=lambda item: -item[1])

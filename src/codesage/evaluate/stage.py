"""Evaluate systems on a task: an encoder, BM25 over identifier words, and the fusion of both.

In: a task and models. Out: for retrieval, the rank of each query's answer in each system, and metrics; for classification,
the figures of a linear head on frozen vectors. The fusion is the same as in codesage.search, over full rankings.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from codesage.classify import folds
from codesage.encoder.centring import without_language
from codesage.evaluate.metrics import mean_reciprocal_rank, ranks, reciprocal_ranks
from codesage.evaluate.tasks import ClassificationTask, RetrievalTask
from codesage.words import split_words

K1, B = 1.2, 0.75  # BM25's usual constants
FUSION_K = 60.0


class EncodesTexts(Protocol):
    """The part of `codesage.load()`'s result that evaluation needs."""

    def encode(self, texts: list[str], *, kind: str) -> np.ndarray: ...


class CachedEncoder:
    """An encoder that encodes each text only once, since queries and candidates recur in many tasks."""

    def __init__(self, encoder: EncodesTexts) -> None:
        self._encoder, self._known = encoder, {}

    def encode(self, texts: list[str], *, kind: str) -> np.ndarray:
        """Like the encoder's own `encode`."""
        new = [text for text in dict.fromkeys(texts) if (kind, text) not in self._known]
        if new:
            vectors = self._encoder.encode(new, kind=kind)
            self._known |= {(kind, text): vector for text, vector in zip(new, vectors, strict=True)}
        return np.stack([self._known[kind, text] for text in texts])


def encoder_scores(encoder: EncodesTexts, task: RetrievalTask) -> np.ndarray:
    """Cosine of every query with every candidate: float32 (Q, C).

    When code is searched with code in another language, the language is removed from the vectors (encoder.centring).
    """
    queries_QD = encoder.encode(task.queries, kind=task.query_kind)
    candidates_CD = encoder.encode(task.candidates, kind="code")
    if task.languages:
        queries_QD, candidates_CD = (
            without_language(vectors, [language] * len(vectors))
            for vectors, language in zip((queries_QD, candidates_CD), task.languages, strict=True)
        )
    return queries_QD @ candidates_CD.T


def bm25_scores(task: RetrievalTask) -> np.ndarray:
    """BM25 score of every query with every candidate, over the words of split identifiers (`bm25s`): float32 (Q, C)."""
    import bm25s

    index = bm25s.BM25(k1=K1, b=B)
    index.index([split_words(text) or [""] for text in task.candidates], show_progress=False)
    return np.stack([index.get_scores(split_words(query) or [""]) for query in task.queries])


def fused_scores(*scores_QC: np.ndarray, weights: Sequence[float] = ()) -> np.ndarray:
    """Reciprocal rank fusion of full rankings, as in codesage.search.ranking: float64 (Q, C).

    Equal scores share the worst of their ranks, so the order of candidates does not matter. `weights`: one per ranking;
    (): all 1.
    """
    weights = weights or [1.0] * len(scores_QC)
    fused_QC = np.zeros(scores_QC[0].shape)
    for weight, scores in zip(weights, scores_QC, strict=True):
        fused_QC += weight / (FUSION_K + _ranks_of_all(scores))
    return fused_QC


def _ranks_of_all(scores_QC: np.ndarray) -> np.ndarray:
    ordered = np.sort(scores_QC, axis=1)
    return np.stack([len(row) - np.searchsorted(o, row, side="left") for row, o in zip(scores_QC, ordered, strict=True)])


def measure(ranks_Q: np.ndarray) -> dict[str, float]:
    """MRR over the top 1,000, recall at 1 and recall at 10, each times 100, with two decimals."""
    return {
        "mrr": round(100 * mean_reciprocal_rank(ranks_Q), 2),
        "recall@1": round(100 * float((ranks_Q <= 1).mean()), 2) if len(ranks_Q) else 0.0,
        "recall@10": round(100 * float((ranks_Q <= 10).mean()), 2) if len(ranks_Q) else 0.0,
    }


def ranked(models: Mapping[str, EncodesTexts], task: RetrievalTask, *, dense_weight: float = 1.0) -> dict[str, np.ndarray]:
    """The rank of each query's answer, int (Q,), by system: BM25, each model, and each model fused with BM25.

    In the fusion, full text has weight 1 and the vectors have weight `dense_weight`.
    """
    words = bm25_scores(task)
    of_system = {"BM25": ranks(words, task.relevant)}
    for name, model in models.items():
        scores = encoder_scores(model, task)
        of_system[name] = ranks(scores, task.relevant)
        fused = fused_scores(scores, words, weights=(dense_weight, 1.0))
        of_system[f"{name} + BM25"] = ranks(fused, task.relevant)
    return of_system


def compare(
    models: Mapping[str, EncodesTexts], tasks: Sequence[RetrievalTask], *, dense_weight: float = 1.0
) -> tuple[dict[str, dict[str, float]], dict[str, list[np.ndarray]]]:
    """By system: the metrics, averaged over `tasks`, and the reciprocal ranks of each task's queries, float64 (Q,)."""
    of_tasks = [ranked(models, task, dense_weight=dense_weight) for task in tasks]
    figures, reciprocal = {}, {}
    for system in of_tasks[0]:
        measured = [measure(of_system[system]) for of_system in of_tasks]
        figures[system] = {metric: round(float(np.mean([one[metric] for one in measured])), 2) for metric in measured[0]}
        reciprocal[system] = [reciprocal_ranks(of_system[system]) for of_system in of_tasks]
    return figures, reciprocal


def classified(models: Mapping[str, EncodesTexts], task: ClassificationTask, *, seed: int = 0) -> dict[str, dict[str, float]]:
    """By system: macro F1 and accuracy of a linear head on frozen vectors, over five folds, times 100.

    The baseline is a bag of words: the log frequencies of the 1,000 most common words of split identifiers.
    """
    features = {"bag of words": word_features(task.texts)}
    features |= {name: model.encode(task.texts, kind="code") for name, model in models.items()}
    return {name: folds.validated(vectors, task.labels, seed=seed).figures() for name, vectors in features.items()}


def word_features(texts: Sequence[str], *, words: int = 1000) -> np.ndarray:
    """log(1 + frequency) of the words that occur in the most texts, float64 (N, at most `words`)."""
    counts = [Counter(split_words(text)) for text in texts]
    held = Counter(word for count in counts for word in count)
    common = sorted(held, key=lambda word: (-held[word], word))[:words]
    columns = {word: column for column, word in enumerate(common)}
    features = np.zeros((len(texts), len(columns)))
    for row, count in enumerate(counts):
        for word, times in count.items():
            if word in columns:
                features[row, columns[word]] = np.log1p(times)
    return features

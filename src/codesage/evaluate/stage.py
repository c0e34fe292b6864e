"""Evaluate systems on a task: an encoder, BM25 over identifier words, and the fusion of both.

In: a task and models. Out: for retrieval, the rank of each query's answer, or its average precision, in each system; for
clones, F1; for classification, the figures of a linear head on frozen features. For retrieval, scores are fused; for
classification, features are fused side by side (features.py). Shapes: Q queries, C candidates, q queries of a block, P pairs,
N texts, D width.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np

from codesage.classify import folds
from codesage.encoder.centring import without_language
from codesage.encoder.queries import query_form
from codesage.encoder.runtime import Embedder
from codesage.encoder.unit import unit_length
from codesage.errors import CodesageError
from codesage.evaluate.features import K1, B, EncodesTexts, checked, features_of
from codesage.evaluate.metrics import average_precisions, mean_reciprocal_rank, ranks, reciprocal_ranks
from codesage.evaluate.tasks import SEED, ClassificationTask, CloneTask, GroupTask, RetrievalTask
from codesage.records import Encoder
from codesage.search.defaults import DENSE_WEIGHT
from codesage.search.statics import statics_of, table_name
from codesage.search.terms import indexed_words
from codesage.words import split_words

_EQUAL = 1e-9  # standard deviation of scores that differ by rounding only
_BLOCK = 512  # queries that are scored at a time


class CachedEncoder:
    """An encoder that encodes each text only once, since queries and candidates recur in many tasks.

    `texts`: how many were encoded. `seconds`: how long that took. `width`: of the vectors, once there are some.
    """

    def __init__(
        self, encoder: EncodesTexts, name: str = "the model", *, progress: Callable[[int], None] = lambda texts: None
    ) -> None:
        """`name`: for messages. `progress` is called with the number of texts before they are encoded."""
        self._encoder, self.name, self._known, self._progress = encoder, name, {}, progress
        self.texts, self.seconds, self.width = 0, 0.0, 0

    def encode(self, texts: Sequence[str], *, kind: str) -> np.ndarray:
        """Like the encoder's own `encode`."""
        new = [text for text in dict.fromkeys(texts) if (kind, text) not in self._known]
        if new:
            self._progress(len(new))
            started = time.perf_counter()
            vectors = checked(self._encoder.encode(new, kind=kind), self.name)
            self.texts, self.seconds = self.texts + len(new), self.seconds + time.perf_counter() - started
            self.width = vectors.shape[1]
            self._known |= {(kind, text): vector for text, vector in zip(new, vectors, strict=True)}
        return np.stack([self._known[kind, text] for text in texts])

    @property
    def for_search(self) -> Encoder:
        """The encoder itself: an index keeps its vectors."""
        return cast("Encoder", self._encoder)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Like the encoder's own `token_ids`, for code."""
        return cast("Embedder", self._encoder).token_ids(texts)

    def facts(self) -> dict[str, float]:
        """Width, number of texts encoded, and milliseconds for each."""
        width = self.width or getattr(self._encoder, "width", 0)
        return {"width": width, "texts": self.texts, "milliseconds": round(1000 * self.seconds / max(1, self.texts), 3)}


class Truncated:
    """Vectors of another encoder, truncated to `width` and scaled to unit length. CodesageError when they are narrower."""

    def __init__(self, encoder: CachedEncoder, width: int) -> None:
        own = int(encoder.facts()["width"])
        if own < width:
            raise CodesageError(f"{encoder.name} has vectors of width {own}: --width must be at most that, not {width}")
        self._encoder, self.width = encoder, width

    def encode(self, texts: Sequence[str], *, kind: str) -> np.ndarray:
        """Like the encoder's own `encode`."""
        return unit_length(self._encoder.encode(texts, kind=kind)[:, : self.width])

    @property
    def for_search(self) -> Encoder:
        """The encoder of an index with truncated vectors."""
        from codesage.evaluate.searching import Cut

        return Cut(self._encoder.for_search, self.width)

    def facts(self) -> dict[str, float]:
        """As of the encoder whose vectors these are, with the width."""
        return {**self._encoder.facts(), "width": self.width}


class StaticEncoder:
    """A bag of static token vectors (search.statics): a baseline without context. It needs an encoder with a tokenizer.

    `rewrites`: whether texts are put into another form.
    """

    def __init__(self, encoder: Embedder) -> None:
        statics = statics_of(encoder)
        if statics is None:
            raise CodesageError("static vectors need an encoder with a tokenizer: give a model folder")
        self._statics, self.width, self.fingerprint = statics, statics.width, f"static-{table_name()}"
        self.rewrites = True

    def encode(self, texts: Sequence[str], *, kind: str = "code") -> np.ndarray:
        """Like the encoder's own `encode`: float32 (N, 96)."""
        rewritten = map(query_form, texts) if kind == "text" and self.rewrites else texts
        return self._statics.encode(list(map(indexed_words, rewritten)))


def vectors(encoder: EncodesTexts, task: RetrievalTask | GroupTask, *, centred: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of queries and candidates, float32 (Q, D) and (C, D).

    If code is searched with code in another language, the language is removed from the vectors (encoder.centring), unless
    `centred` is off, as in the published evaluation.
    """
    sides = [encoder.encode(task.queries, kind=_kind(task)), encoder.encode(task.candidates, kind="code")]
    if centred and len(set(task.languages)) == 2:
        sides = [without_language(side, [language] * len(side)) for side, language in zip(sides, task.languages, strict=True)]
    return sides[0], sides[1]


def _kind(task: RetrievalTask | GroupTask) -> str:
    return task.query_kind if isinstance(task, RetrievalTask) else "code"


class BM25:
    """BM25 scores over the words of split identifiers (`bm25s`)."""

    def __init__(self, candidates: Sequence[str]) -> None:
        import bm25s

        self._candidates = len(candidates)
        self._index = bm25s.BM25(k1=K1, b=B)
        self._index.index([split_words(text) or [""] for text in candidates], show_progress=False)

    def scores(self, queries: Sequence[str]) -> np.ndarray:
        """Of every query with every candidate: float32 (Q, C); 0 for a query without words, such as "???"."""
        words = map(split_words, queries)
        none_C = np.zeros(self._candidates, np.float32)
        return np.stack([self._index.get_scores(of_query) if of_query else none_C for of_query in words])


class WordScores:
    """BM25 of candidates that several tasks share: each set of candidates is indexed once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Sequence[str], BM25]] = {}

    def of(self, candidates: Sequence[str]) -> BM25:
        """The index of these candidates."""
        key = hash(tuple(candidates))
        if key not in self._known or list(self._known[key][0]) != list(candidates):
            self._known[key] = candidates, BM25(candidates)
        return self._known[key][1]


def score_blocks(
    models: Mapping[str, EncodesTexts],
    task: RetrievalTask | GroupTask,
    *,
    dense_weight: float = DENSE_WEIGHT,
    centred: bool = True,
    words: "WordScores | None" = None,
) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """The scores of a block of queries with all candidates, float (q, C), by system, block after block.

    The systems are BM25, each model (cosine), and each model fused with BM25: log(1 + BM25) and the cosine, each standardised
    over the candidates, are added, full text with weight 1 and the cosine with `dense_weight`. A sum of scores keeps how much
    better a candidate is, which ranks lose (Bruch et al. 2023). `words`: indexes that are there already.
    """
    index = (words or WordScores()).of(task.candidates)
    sides = {name: vectors(model, task, centred=centred) for name, model in models.items()}
    for start in range(0, len(task.queries), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(task.queries)))
        scores = {"BM25": index.scores(task.queries[block])}
        by_words = standardised(np.log1p(scores["BM25"]))
        for name, (queries_QD, candidates_CD) in sides.items():
            scores[name] = queries_QD[block] @ candidates_CD.T
            scores[f"{name} + BM25"] = dense_weight * standardised(scores[name]) + by_words
        yield block, scores


def standardised(scores_QC: np.ndarray) -> np.ndarray:
    """Each row with mean 0 and standard deviation 1, or 0 where all its scores are equal: float64 (Q, C).

    So the scores of different systems can be added.
    """
    centred_QC = scores_QC - scores_QC.mean(1, keepdims=True, dtype=np.float64)
    deviation_Q1 = centred_QC.std(1, keepdims=True)
    return np.divide(centred_QC, deviation_Q1, out=np.zeros_like(centred_QC), where=deviation_Q1 > _EQUAL)


def measure(ranks_Q: np.ndarray) -> dict[str, float]:
    """MRR over the top 1,000, recall at 1 and recall at 10, each times 100, with two decimals."""
    return {
        "mrr": round(100 * mean_reciprocal_rank(ranks_Q), 2),
        "recall@1": round(100 * float((ranks_Q <= 1).mean()), 2) if len(ranks_Q) else 0.0,
        "recall@10": round(100 * float((ranks_Q <= 10).mean()), 2) if len(ranks_Q) else 0.0,
    }


def ranked(models: Mapping[str, EncodesTexts], task: RetrievalTask, **choices: Any) -> dict[str, np.ndarray]:
    """The rank of each query's answer, int (Q,), by system; `choices` as in `score_blocks`."""
    parts: dict[str, list[np.ndarray]] = {}
    for block, scores in score_blocks(models, task, **choices):
        for system, scores_QC in scores.items():
            parts.setdefault(system, []).append(ranks(scores_QC, task.relevant[block]))
    return {system: np.concatenate(arrays) for system, arrays in parts.items()}


def precise(models: Mapping[str, EncodesTexts], task: GroupTask, **choices: Any) -> dict[str, np.ndarray]:
    """The average precision of each query that has an answer, float64, by system; `choices` as in `score_blocks`."""
    parts: dict[str, list[np.ndarray]] = {}
    labels_C, identities_C = np.asarray(task.candidate_labels), np.asarray(task.candidate_identities)
    labels_Q, identities_Q = np.asarray(task.query_labels), np.asarray(task.query_identities)
    for block, scores in score_blocks(models, task, **choices):
        relevant_QC, own_QC = labels_Q[block, None] == labels_C, identities_Q[block, None] == identities_C
        for system, scores_QC in scores.items():
            precisions = average_precisions(scores_QC, relevant_QC, own_QC, at_r=task.at_r)
            parts.setdefault(system, []).append(precisions[np.isfinite(precisions)])
    return {system: np.concatenate(arrays) for system, arrays in parts.items()}


def compare(
    models: Mapping[str, EncodesTexts],
    tasks: Sequence[RetrievalTask | GroupTask],
    *,
    dense_weight: float = DENSE_WEIGHT,
    centred: bool = True,
) -> tuple[dict[str, dict[str, float]], dict[str, list[np.ndarray]]]:
    """By system: the metrics, averaged over `tasks`, and the value of each task's queries, float64 (Q,).

    The value is the reciprocal rank, or the average precision of a GroupTask. CodesageError when no query has an answer.
    """
    figures: dict[str, list[dict[str, float]]] = {}
    values: dict[str, list[np.ndarray]] = {}
    words = WordScores()
    for task in tasks:
        grouped = isinstance(task, GroupTask)
        choices = {"dense_weight": dense_weight, "centred": centred, "words": words}
        of_system = precise(models, task, **choices) if isinstance(task, GroupTask) else ranked(models, task, **choices)
        for system, of_queries in of_system.items():
            if not len(of_queries):
                raise CodesageError(f"{task.name}: no query has an answer")
            figures.setdefault(system, []).append({"map": 100 * float(of_queries.mean())} if grouped else measure(of_queries))
            values.setdefault(system, []).append(of_queries if grouped else reciprocal_ranks(of_queries))
    return {
        system: {metric: round(float(np.mean([one[metric] for one in parts])), 2) for metric in parts[0]}
        for system, parts in figures.items()
    }, values


def called_clones(models: Mapping[str, EncodesTexts], task: CloneTask) -> dict[str, tuple[dict[str, float], np.ndarray]]:
    """By system: F1, precision and recall times 100, and whether each test pair is a clone and is called one, bool (P, 2).

    Pairs above a threshold of cosine are called clones. The threshold has the best F1 on the validation pairs. The systems are
    those of `features_of`; the cosine of the fusion is the mean of both.
    """
    told = {}
    for name, vectors_ND in features_of(models, task.texts).items():
        vectors_ND = unit_length(vectors_ND)
        valid, test = (_cosines(vectors_ND, pairs) for pairs in (task.valid, task.test))
        same_valid = np.array([same for *_, same in task.valid], bool)
        if not same_valid.any():
            raise CodesageError(f"{task.name}: no validation pair is a clone: expected both kinds")
        threshold = best_threshold(valid, same_valid)
        same_P = np.array([same for *_, same in task.test], bool)
        figures = {**_f1(test >= threshold, same_P), "threshold": round(threshold, 4)}
        told[name] = figures, np.stack([same_P, test >= threshold], axis=1)
    return told


def best_threshold(scores_P: np.ndarray, same_P: np.ndarray) -> float:
    """The threshold with the best F1 of `scores >= threshold`; the highest of equals. One of the pairs is a clone.

    It is halfway between two neighbouring scores, so that the rounding of a test score does not decide.
    """
    order = np.argsort(-scores_P, kind="stable")
    hits, called = same_P[order].cumsum(), np.arange(1, len(order) + 1)
    last = np.append(np.diff(scores_P[order]) != 0, True)  # equal scores are all called, or none
    f1 = np.where(last, 2 * hits / (called + same_P.sum()), -1.0)
    best = f1.argmax()
    return float(scores_P[order][best : best + 2].mean())


def _cosines(vectors_ND: np.ndarray, pairs: Sequence[tuple[int, int, bool]]) -> np.ndarray:
    rows = np.array([(one, other) for one, other, _ in pairs], np.int64)
    blocks = (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))
    return np.concatenate([np.einsum("pd,pd->p", vectors_ND[block[:, 0]], vectors_ND[block[:, 1]]) for block in blocks])


def _f1(called_P: np.ndarray, same_P: np.ndarray) -> dict[str, float]:
    hits = int((called_P & same_P).sum())
    precision, recall = hits / max(1, int(called_P.sum())), hits / max(1, int(same_P.sum()))
    f1 = 2 * precision * recall / max(precision + recall, 1e-12)
    return {"F1": round(100 * f1, 2), "precision": round(100 * precision, 2), "recall": round(100 * recall, 2)}


def classified(models: Mapping[str, EncodesTexts], task: ClassificationTask) -> dict[str, folds.Validated]:
    """By system: predictions of a linear head on frozen features, the exact minimum of its loss.

    They are of five folds, or of the test part of a task with parts. The systems are those of `features_of`; the head
    standardises each column, so that words and vectors count alike.
    """
    numbers = task.codes
    return {
        name: folds.tested(features, task.labels, task.parts, numbers)
        if task.parts
        else folds.cross_validated(features, task.labels, numbers, seed=SEED)
        for name, features in features_of(models, task.texts).items()
    }

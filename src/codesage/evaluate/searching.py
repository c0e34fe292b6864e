"""Search itself, measured on whole repositories: what `codesage search` answers, by NDCG@10 over chunks.

In: encoders, and repositories with questions. Out: figures by system, and the NDCG of each question. Each repository is
indexed for each encoder; the index is kept, and vectors come from the cache that all indexes share. The rank of a target is
that of the first chunk whose path ends with it and overlaps its lines, as the authors of the benchmark count; all targets count
alike, and the ideal is over the smaller of ten and the number of targets. Shapes: Q questions.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from codesage.encoder.unit import unit_length
from codesage.errors import CodesageError
from codesage.evaluate.tasks import Question, RepositoryTask, Target
from codesage.records import Chunk, Encoder
from codesage.search import query as engine
from codesage.search.defaults import DENSE_WEIGHT
from codesage.search.index import Index
from codesage.search.maintenance import size_of
from codesage.search.pieces import CountsTokens
from codesage.search.vectors import Vectors

METRIC = "NDCG@10"
TOP = 10
VECTORS_ALONE = 1e6  # weight of the vectors, beside which full text does not count


class Cut:
    """An encoder whose vectors are truncated to `width`, for an index. Whole ones come from the cache if they are there."""

    def __init__(self, encoder: Encoder, width: int) -> None:
        """CodesageError when the vectors are narrower."""
        if encoder.width < width:
            raise CodesageError(f"the vectors have width {encoder.width}: --width must be at most that, not {width}")
        self._encoder, self.width, self.fingerprint = encoder, width, f"{encoder.fingerprint}-{width}"
        if isinstance(encoder, CountsTokens):
            self.max_tokens, self.token_counts = encoder.max_tokens, encoder.token_counts

    def encode(self, texts: Sequence[str], *, kind: str = "code") -> np.ndarray:
        """float32 (n, width), rows of unit length."""
        if kind == "text":
            return unit_length(self._encoder.encode(texts, kind=kind)[:, : self.width])
        cache = Vectors(self._encoder)
        try:
            return unit_length(cache.encode(texts)[:, : self.width])
        finally:
            cache.close()


def compare(
    encoders: Mapping[str, Encoder],
    task: RepositoryTask,
    indexes: Path,
    *,
    dense_weight: float = DENSE_WEIGHT,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[dict[str, dict[str, float]], dict[str, list[np.ndarray]]]:
    """By system: the mean of NDCG@10 times 100 over repositories, and its value for the questions about each, float64 (Q,).

    Systems with vectors also have `index_mb`, the size of all their indexes on disk in 10^6 bytes. The systems are full text
    alone (BM25), each encoder alone, and both fused, all with the rules of search. `indexes`: where indexes are kept.
    `say` is called with a line before each repository and encoder.
    """
    values: dict[str, list[np.ndarray]] = {}
    sizes: Counter[str] = Counter()
    for number, repository in enumerate(task.searched, start=1):
        for name, encoder in encoders.items():
            say(f"{name}: {repository.name}, {number} of {len(task.searched)} repositories")
            weights = {"BM25": 0.0} if name == next(iter(encoders)) else {}
            weights |= {name: VECTORS_ALONE, f"{name} + BM25": dense_weight}
            with indexed(task.folders[repository.name], indexes, encoder) as index:
                for system, weight in weights.items():
                    values.setdefault(system, []).append(gains(index, encoder, repository.questions, dense_weight=weight))
            sizes.update(dict.fromkeys((name, f"{name} + BM25"), size_of(index.folder)))  # closed, so without a journal
    figures = {
        system: {METRIC: round(100 * float(np.mean([part.mean() for part in parts])), 2)}
        | ({"index_mb": round(sizes[system] / 1e6, 3)} if system in sizes else {})
        for system, parts in values.items()
    }
    return figures, values


@contextmanager
def indexed(root: Path, indexes: Path, encoder: Encoder) -> Iterator[Index]:
    """The index of `root` for this encoder, up to date, closed after the block."""
    folder = indexes / f"{root.name}-{encoder.fingerprint.replace(':', '-')}"
    index = Index.open(root, folder=folder, encoder=encoder)
    try:
        index.update(encoder)
        yield index
    finally:
        index.connection.close()


def gains(index: Index, encoder: Encoder, questions: Sequence[Question], **choices: Any) -> np.ndarray:
    """NDCG@10 of each question, float64 (Q,); `choices` as in `search.query.search`."""
    gains_by_question = []
    for question in questions:
        hits = engine.search(index, encoder, question.text, top=TOP, **choices)
        gains_by_question.append(ndcg([hit.chunk for hit in hits], question.targets))
    return np.array(gains_by_question)


def ndcg(chunks: Sequence[Chunk], targets: Sequence[Target]) -> float:
    """NDCG@10 of one question whose answers are `chunks`, best first; 1 at most, also where one chunk answers two targets."""
    ranks = [next((rank for rank, chunk in enumerate(chunks[:TOP], 1) if answers(chunk, target)), None) for target in targets]
    gained = sum(1 / math.log2(rank + 1) for rank in ranks if rank)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(TOP, len(targets)) + 1))
    return min(1.0, gained / ideal)


def answers(chunk: Chunk, target: Target) -> bool:
    """Whether a chunk, its path below the searched root, lies in a target, its path below the repository."""
    path, wanted = f"/{chunk.path}", f"/{target.path}"
    if not (wanted.endswith(path) or path.endswith(wanted)):
        return False
    return target.lines is None or (chunk.start_line <= target.lines[1] and target.lines[0] <= chunk.end_line)

"""Consistency filtering (CodeSage V2, after Promptagator): keep a pair if a first model finds its code by its text.

In: a model and the pairs of Tokens. Out: which pairs to keep. Pairs are assigned to pools at random. Each text is compared
with all codes of its pool, and the pair is kept if its own code is among the `top` most similar. Memory holds the vectors of
one pool and one block of its scores at a time. Members of groups are not judged by a text and are always kept.

With `share`, texts are not compared with the codes of others. A pair scores the cosine of its text and its code, times the
logarithm of the text's length, and the best share of each kind and language is kept. So a short text that fits much code goes
first. Readers found as many good functions among 85% of the pairs as among the 66% that the rank keeps (docs/log.md).
Shapes: P pairs of a pool, D width.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from codesage.artifacts import Artifact, check_target, open_artifact, publish
from codesage.contrast import columns
from codesage.contrast.entries import GROUPS
from codesage.corpus.tokens.ragged import Ragged, joined
from codesage.corpus.tokens.tokenised import Tokens
from codesage.errors import CodesageError

FILE = "keep.npy"
SIDES = ("body", "code")
_BLOCK = 1024  # texts whose scores are in memory at a time
_Verdict = tuple[int, np.ndarray, np.ndarray]  # new pairs of a pool; rows, and which of them are kept


class EmbedsIds(Protocol):
    """The interface of `codesage.load()`'s result that filtering needs."""

    width: int
    max_tokens: int
    fingerprint: str

    def encode_ids(self, documents: list[list[int]]) -> np.ndarray:
        """Unit vectors (n, width)."""
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """How pairs are judged. V2 reports that about 40% of its pairs were removed; it gives neither `top` nor `pool`."""

    top: int = 2
    pool: int = 10_000  # pairs that are compared with each other; with `share`, whose vectors are in memory
    side: str = "body"  # the code side: "body", the bare body as in Stage II, or "code", the whole definition
    one_language: bool = False  # one language per pool: stricter, since code of another language is easy to tell apart
    text_tokens: int = 128  # texts are cut at this many tokens, end token included
    code_tokens: int = 256  # the same for code
    seed: int = 0  # of the assignment to pools
    share: float | None = None  # of the pairs of a kind and language that is kept, by score; `top` then has no part

    def __post_init__(self) -> None:
        if not 1 <= self.top < self.pool:
            raise CodesageError(f"top {self.top} of a pool of {self.pool}: expected at least 1 and less than the pool")
        if self.share is not None and not 0 < self.share < 1:
            raise CodesageError(f"share is {self.share}, expected a number between 0 and 1")
        if self.side not in SIDES:
            raise CodesageError(f"side is {self.side!r}, expected one of {', '.join(SIDES)}")
        if min(self.text_tokens, self.code_tokens) < 2:
            raise CodesageError(f"text_tokens {self.text_tokens}, code_tokens {self.code_tokens}: expected at least 2 each")


def consistent(
    embedder: EmbedsIds,
    tokens: Tokens,
    settings: Settings | None = None,
    *,
    progress: Callable[[int, int], None] = lambda done, kept: None,
) -> np.ndarray:
    """Which pairs of `tokens` the model finds consistent: bool, one per pair.

    A pair is kept if fewer than `top` codes of its pool are more similar to its text, by cosine, than its own code. Equal
    codes do not count against each other. With `share`, a pair is kept if its score is among the best of its kind and
    language. With side "body", a pair without a body is judged by its whole definition.
    `progress` is called with the number of pairs judged and kept. The tokens must come from the model's tokenizer, because
    the model reads their ids.
    """
    settings, pairs = settings or Settings(), tokens.pairs
    judged = of_texts(tokens)
    if not len(judged):
        raise CodesageError(f"{tokens.path} holds no pairs to filter: build a larger corpus")
    keep = np.ones(len(pairs), bool)
    keep[judged] = False
    done = len(pairs) - len(judged)
    for new, rows, kept in (_by_rank if settings.share is None else _by_score)(embedder, tokens, judged, settings):
        keep[rows] = kept
        done += new
        progress(done, int(keep.sum()))
    return keep


def _by_rank(embedder: EmbedsIds, tokens: Tokens, judged: np.ndarray, settings: Settings) -> Iterator[_Verdict]:
    """Yields, for each pool, its number of pairs, their rows, and which of them have their own code among the first."""
    for rows in _pools(tokens.pairs.language, judged, settings):
        yield len(rows), rows, _better(*_vectors_of(embedder, tokens, rows, settings)) < settings.top


def _by_score(embedder: EmbedsIds, tokens: Tokens, judged: np.ndarray, settings: Settings) -> Iterator[_Verdict]:
    """Yields, for each pool, its number of pairs, all rows of its kind and language so far, and which of them are the best."""
    pairs, share = tokens.pairs, settings.share or 1
    groups = pairs.kind[judged].astype(int) * len(tokens.languages) + pairs.language[judged]
    for group in np.unique(groups):
        rows, scores = np.zeros(0, judged.dtype), np.zeros(0)
        members = judged[groups == group]
        for pool in pools_of(members, np.zeros(len(members)), size=settings.pool, seed=settings.seed):
            texts_PD, codes_PD = _vectors_of(embedder, tokens, pool, settings)
            length_P = np.minimum(pairs.text.lengths_at(pool) + 1, settings.text_tokens)  # 1: the end token
            scores = np.append(scores, np.einsum("pd,pd->p", texts_PD, codes_PD) * np.log(length_P))
            rows = np.append(rows, pool)
            best = np.zeros(len(rows), bool)
            best[np.argsort(-scores, kind="stable")[: math.ceil(share * len(rows))]] = True
            yield len(pool), rows, best


def _vectors_of(embedder: EmbedsIds, tokens: Tokens, rows: np.ndarray, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    return vectors_of(
        embedder, tokens, rows, side=settings.side, text_tokens=settings.text_tokens, code_tokens=settings.code_tokens
    )


def of_texts(tokens: Tokens) -> np.ndarray:
    """Row numbers of the pairs that have a text and belong to no group."""
    return np.flatnonzero((tokens.pairs.kind != tokens.kinds.index(GROUPS)) & (tokens.pairs.text.lengths > 0))


def write(
    embedder: EmbedsIds,
    tokens: Tokens,
    out: Path | str,
    settings: Settings | None = None,
    *,
    progress: Callable[[int, int], None] = lambda done, kept: None,
) -> Artifact:
    """Run `consistent` and publish the mask and the counts per language at `out` (an artifact of kind "filter")."""
    settings, out = settings or Settings(), check_target(out, "filter")
    keep = consistent(embedder, tokens, settings, progress=progress)
    kept = {
        name: [int(keep[tokens.pairs.language == number].sum()), int((tokens.pairs.language == number).sum())]
        for number, name in enumerate(tokens.languages)
    }
    facts = {
        "pairs": len(keep),
        "kept": int(keep.sum()),
        "of_language": {name: of for name, of in kept.items() if of[1]},
        "tokens": tokens.fingerprint,
        "model": embedder.fingerprint,
    }
    with publish(out, "filter", settings=asdict(settings), facts=facts) as folder:
        np.save(folder / FILE, keep, allow_pickle=False)
    return open_artifact(out, "filter")


def read(path: Path | str, tokens: Tokens) -> np.ndarray:
    """The mask of a filter artifact, one bool per pair. Raises the errors of `columns.read`."""
    return columns.read(path, tokens, kind="filter", command="codesage filter", file=FILE, dtype=bool, ndim=1)[1]


def _pools(language_P: np.ndarray, rows: np.ndarray, settings: Settings) -> list[np.ndarray]:
    language_R = language_P[rows] if settings.one_language else np.zeros(len(rows), np.uint8)
    return pools_of(rows, language_R, size=settings.pool, seed=settings.seed)


def pools_of(rows: np.ndarray, language_R: np.ndarray, *, size: int, seed: int) -> list[np.ndarray]:
    """`rows` in pools of about equal size (at most `size`), one language per pool, assigned at random by the seed."""
    order = np.random.default_rng(seed).permutation(len(rows))
    groups = [rows[order[language_R[order] == one]] for one in np.unique(language_R)]
    return [part for group in groups for part in np.array_split(group, -(-len(group) // size))]


def vectors_of(
    embedder: EmbedsIds, tokens: Tokens, rows: np.ndarray, *, side: str, text_tokens: int, code_tokens: int
) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of the texts and the codes of `rows`, each float32 (P, D); inputs are cut at the given lengths.

    `side`: "body" takes the body, or the whole definition if there is no body; "code" always takes the whole definition.
    """
    pairs, whole_P = tokens.pairs, np.ones(len(rows), bool)
    bare_P = (pairs.body.lengths_at(rows) > 0) & (side == "body")
    texts_PD = _vectors(embedder, tokens, [(pairs.text, whole_P)], rows, min(text_tokens, embedder.max_tokens))
    sides = [(pairs.body, bare_P), (pairs.code, ~bare_P)]
    return texts_PD, _vectors(embedder, tokens, sides, rows, min(code_tokens, embedder.max_tokens))


def _vectors(
    embedder: EmbedsIds, tokens: Tokens, sides: list[tuple[Ragged, np.ndarray]], rows: np.ndarray, limit: int
) -> np.ndarray:
    cut = joined([side.first(rows, (limit - 1) * chosen) for side, chosen in sides], end_id=tokens.end_id)
    vectors_PD = embedder.encode_ids([row.tolist() for row in cut.rows()])
    if not np.isfinite(vectors_PD).all():
        raise CodesageError("the model returns vectors that are not finite: train or export it again")
    return vectors_PD


def _better(texts_PD: np.ndarray, codes_PD: np.ndarray) -> np.ndarray:
    """For each text, the number of codes that are more similar to it than its own code."""
    own_P = np.einsum("pd,pd->p", texts_PD, codes_PD)
    return np.concatenate(
        [
            (texts_PD[start : start + _BLOCK] @ codes_PD.T > own_P[start : start + _BLOCK, None] + 1e-6).sum(1)
            for start in range(0, len(texts_PD), _BLOCK)  # 1e-6: equal codes differ by rounding
        ]
    )

"""Similarities of all chunks before the encoder has read all: exact for encoded chunks, estimated for the others.

In: an index, and the query as a vector of the encoder and as a static vector. Out: a similarity for every chunk. The most
promising chunks are encoded at once, as many as the time allows. Their vectors go into the shared cache, where the next update
finds them. The others get the average similarity of encoded chunks with the same static similarity. Shapes: N chunks, D the
width of the vectors.
"""

import time
from collections.abc import Callable
from contextlib import closing

import numpy as np

from codesage.encoder.centring import minus_means
from codesage.records import Chunk, Encoder
from codesage.search.index import Index
from codesage.search.pieces import pieces
from codesage.search.vectors import Vectors
from codesage.search.view import View

_MOST = 48  # chunks that one question has encoded
_MOST_CHARACTERS = 16_000  # of all these chunks, about 5,000 tokens; the first may be longer
_AT_ONCE = 8  # at least, between two looks at the clock
_SHARE = 0.5  # of the time left that the next ones may take, by the pace so far: several processors share many better
_FEWEST = 8  # known pairs of similarities that an estimate is made from
_SLOPE = 0.5  # with fewer


def similarities(
    index: Index,
    view: View,
    encoder: Encoder,
    vector_D: np.ndarray,
    static_D: np.ndarray | None,
    order: Callable[[np.ndarray], list[int]],
    seconds: float,
    means: dict[str, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """float32 (N,) similarities, and bool (N,): which of them are the encoder's.

    `order` gives places, the most promising first, for similarities. About `seconds` go into encoding. `means` is
    subtracted from the vectors of each language (such as View.means); None compares them as they are.
    """
    vectors_PD = view.vectors_PD if means is None else view.centred_PD if means is view.means else view.without(means)
    scores_N, known_N = view.best_pieces(vectors_PD @ vector_D).copy(), view.encoded_N.copy()
    static_N = static_similarities(view, static_D)
    wanted = [place for place in order(_estimated(scores_N, static_N, known_N)) if not known_N[place]][:_MOST]
    started = time.monotonic()
    chunks = _affordable(index.chunks_of(view.numbers_N[wanted].tolist(), view.texts))
    done, size = 0, _AT_ONCE
    with closing(Vectors(encoder)) as cache:
        while done < len(chunks):
            next_ones = chunks[done : done + size]
            some = wanted[done : done + len(next_ones)]
            scores_N[some] = _encoded(encoder, cache, next_ones, [view.languages[place] for place in some], means, vector_D)
            known_N[some] = True
            done, spent = done + len(some), time.monotonic() - started
            if spent >= seconds:
                break
            size = max(_AT_ONCE, int(done * (seconds - spent) / max(spent, 1e-6) * _SHARE))
    return _estimated(scores_N, static_N, known_N), known_N


def _affordable(chunks: list[Chunk]) -> list[Chunk]:
    """The first chunks with `_MOST_CHARACTERS` in all, at least one."""
    ends = np.cumsum([len(chunk.text) for chunk in chunks])
    return chunks[: max(1, np.searchsorted(ends, _MOST_CHARACTERS, side="right"))]


def _encoded(
    encoder: Encoder,
    cache: Vectors,
    chunks: list[Chunk],
    languages: list[str],
    means: dict[str, np.ndarray] | None,
    vector_D: np.ndarray,
) -> np.ndarray:
    """The similarity of each chunk, the best of its pieces."""
    texts = pieces(chunks, encoder)
    vectors = cache.encode([text for one in texts for text in one])
    if means:
        vectors = minus_means(vectors, [language for language, one in zip(languages, texts, strict=True) for _ in one], means)
    return np.maximum.reduceat(vectors @ vector_D, np.cumsum([0, *map(len, texts[:-1])]))


def static_similarities(view: View, static_D: np.ndarray | None) -> np.ndarray:
    """float32 (N,) cosines with a static vector; zeros where either side has none."""
    if static_D is None or view.statics_ND is None or view.statics_ND.shape[1] != len(static_D):
        return np.zeros(len(view.paths), np.float32)
    return view.statics_ND @ static_D


def _estimated(scores_N: np.ndarray, static_N: np.ndarray, known_N: np.ndarray) -> np.ndarray:
    """`scores_N` where they are known; elsewhere a linear fit of the known scores over the static similarities.

    The known ones are the most promising, so among a few of them the fit may fall. Then it has the usual slope and their mean.
    """
    both_N = known_N & (static_N != 0)
    slope, level = _SLOPE, 0.0
    if np.count_nonzero(both_N) >= _FEWEST and static_N[both_N].std() > 0:
        fitted = float(np.polyfit(static_N[both_N], scores_N[both_N], 1)[0])
        slope = fitted if fitted > 0 else _SLOPE
        level = float(scores_N[both_N].mean() - slope * static_N[both_N].mean())
    return np.where(known_N, scores_N, slope * static_N + level).astype(np.float32)

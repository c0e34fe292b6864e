"""Static vectors of texts, from their words alone; they are more than twenty times as fast as the encoder.

In: words, and an encoder. Out: unit vectors in a space of their own. Each token has one vector, which the encoder gives to the
token alone. A word is the sum of its tokens, common ones counted less and the direction that all share left out (SIF, Arora et
al. 2017; the frequency of a token is estimated from its rank in the vocabulary by Zipf's law, since byte pairs are merged by
frequency). A text is the sum of its words. The table of tokens, its principal components, comes with a model
(scripts/static_table.py), or is made once in a second or two and kept in the cache.
Shapes: V vocabulary, D dimensions, N texts, W words of all of them end to end, P pairs of a text and a word in it.
"""

import os
import threading
import zipfile
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from codesage.encoder.queries import query_form
from codesage.encoder.unit import unit_length
from codesage.records import Encoder
from codesage.search.fields import Words, words_of
from codesage.search.terms import indexed_words
from codesage.search.vectors import cache_folder, directions

if TYPE_CHECKING:
    from codesage.encoder.runtime import Embedder

_SMOOTH = 1e-4  # a of SIF: a token of this frequency counts half
_DIMENSIONS = 96  # chosen with an earlier default, for which they were as good as all 256 (docs/log.md)
_AT_ONCE = 2_048  # pairs whose vectors are in memory at a time, about, so that the cache of a processor holds them
_MOST_KNOWN = 100_000  # words


class StaticVectors:
    """Token vectors of one encoder."""

    def __init__(self, encoder: "Embedder", table_VD: np.ndarray) -> None:
        self._encoder, self._table_VD = encoder, table_VD
        self._known: dict[str, int] = {}  # rows of words in the following
        self._vectors = np.zeros((1_024, table_VD.shape[1]), np.float32)
        self._lock = threading.Lock()

    @property
    def width(self) -> int:
        """Of the vectors."""
        return self._table_VD.shape[1]

    def encode(self, texts: Sequence[list[str]]) -> np.ndarray:
        """float32 (N, D), rows of unit length, of the words of each text (search.terms); zeros for a text without words."""
        return self.encode_words(words_of([field for text in texts for field in (text, [], [])]))

    def encode_words(self, words: Words) -> np.ndarray:
        """float32 (N, D), rows of unit length, of the words of each chunk; zeros for a chunk without words."""
        count = len(words.vocabulary)
        vectors = np.zeros((words.chunks, self._table_VD.shape[1]), np.float32)
        if not count:
            return vectors
        owners_W = np.repeat(np.arange(words.chunks), words.lengths())
        pairs_P, counts_P = np.unique(owners_W * count + words.numbers_W, return_counts=True)
        texts_P, words_P = np.divmod(pairs_P, count)
        vectors_WD, counts_P = self._of_words(words.vocabulary), counts_P.astype(np.float32)
        starts = np.flatnonzero(np.diff(texts_P, prepend=-1))  # the first pair of each text with words
        owners = texts_P[starts]
        cuts = [*np.flatnonzero(np.diff(starts // _AT_ONCE, prepend=-1)).tolist(), len(owners)]
        for first, last in pairwise(cuts):
            pairs = slice(starts[first], starts[last] if last < len(owners) else None)
            rows = vectors_WD[words_P[pairs]]
            rows *= counts_P[pairs, None]
            vectors[owners[first:last]] = np.add.reduceat(rows, starts[first:last] - starts[first])
        return unit_length(vectors)

    def encode_query(self, query: str) -> np.ndarray:
        """float32 (D,) of a typed query, without what does not say what it is about (encoder.queries)."""
        return self.encode([indexed_words(query_form(query))])[0]

    def _of_words(self, words: list[str]) -> np.ndarray:
        with self._lock:
            if len(self._known) > _MOST_KNOWN:
                self._known.clear()
            if new := [word for word in words if word not in self._known]:
                self._learn(new)
            return self._vectors[[self._known[word] for word in words]]

    def _learn(self, words: list[str]) -> None:
        """Keep the vectors of new words. A word has a token, as there is one for each byte."""
        ids = self._encoder.word_ids(words)
        sizes = np.fromiter(map(len, ids), np.int64, len(ids))
        tokens = np.fromiter(chain.from_iterable(ids), np.int64)
        first, last = len(self._known), len(self._known) + len(words)
        if last > len(self._vectors):
            self._vectors = np.concatenate([self._vectors[:first], np.zeros((last, self._vectors.shape[1]), np.float32)])
        self._vectors[first:last] = np.add.reduceat(self._table_VD[tokens], np.cumsum(sizes) - sizes)
        self._known.update(zip(words, range(first, last), strict=True))


def statics_of(encoder: Encoder) -> StaticVectors | None:
    """The static vectors of an encoder; None if it has no accessible tokenizer."""
    return _made(cast("Embedder", encoder)) if hasattr(encoder, "word_ids") else None


@lru_cache(maxsize=2)
def _made(encoder: "Embedder") -> StaticVectors:
    return StaticVectors(encoder, _table(encoder))


def table_name(encoder: "Embedder") -> str:
    """The name of the file that holds the table of a model, in its folder or in the cache."""
    return f"static-{encoder.fingerprint.replace(':', '-')}.npz"


def _table(encoder: "Embedder") -> np.ndarray:
    """float32 (V, D): the vector of each token, from a file if there is one."""
    shape = (encoder.vocab_size, min(_DIMENSIONS, encoder.width - 1))
    for folder in (getattr(encoder, "folder", None), cache_folder()):
        if folder is not None and (table := _stored(folder / table_name(encoder), shape)) is not None:
            return table
    return write_table(encoder, cache_folder())


def write_table(encoder: "Embedder", folder: Path) -> np.ndarray:
    """Make the table of a model and keep it in `folder`, if it can be written; returns it as `_table`."""
    table = distilled(encoder.encode_ids([[token] for token in range(encoder.vocab_size)]))
    rows, scales = directions(table), np.abs(table).max(axis=1, keepdims=True).astype(np.float16)
    file = folder / table_name(encoder)
    fresh = file.with_suffix(f".new-{os.getpid()}.npz")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        np.savez(fresh, rows=rows, scales=scales)
        fresh.replace(file)
    except OSError:
        fresh.unlink(missing_ok=True)
    return _restored(rows, scales)


def _restored(rows: np.ndarray, scales: np.ndarray) -> np.ndarray:
    return rows.astype(np.float32) * (scales.astype(np.float32) / 127)


def distilled(vectors_VE: np.ndarray) -> np.ndarray:
    """The table (V, D) from the encoder's vectors of all tokens: weighted, then the second to the 97th principal component."""
    ranks_V = np.arange(1, len(vectors_VE) + 1)
    frequencies_V = 1 / ranks_V / (1 / ranks_V).sum()
    weighted_VE = vectors_VE * (_SMOOTH / (_SMOOTH + frequencies_V)).astype(np.float32)[:, None]
    _, axes = np.linalg.eigh((weighted_VE.T @ weighted_VE).astype(np.float64))
    axes = axes[:, ::-1][:, 1 : _DIMENSIONS + 1]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])  # else their signs would be by chance
    return weighted_VE @ axes.astype(np.float32)


def _stored(file: Path, shape: tuple[int, int]) -> np.ndarray | None:
    try:
        with open(file, "rb") as opened, np.load(opened, allow_pickle=False) as stored:
            rows, scales = stored["rows"], stored["scales"]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None
    return _restored(rows, scales) if rows.shape == shape and rows.dtype == np.int8 else None

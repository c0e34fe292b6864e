"""Static vectors of texts, from their words alone; they are more than twenty times as fast as the encoder.

In: words. Out: unit vectors in a space of their own. Each token has one vector. A word is the sum of its tokens, and a text the
sum of its words. The table of tokens was learned from pairs of texts and code (search.learned) and ships with the bundled
default, whose tokenizer cuts the words, whatever model an index has: it estimates what an encoder would say until that has
read the code. An index keeps the name of the table that its static vectors are from.
Shapes: V vocabulary, D dimensions, N texts, W words of all of them end to end, P pairs of a text and a word in it.
"""

import filecmp
import hashlib
import io
import threading
import zipfile
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from codesage import tokenizer as tokenizers
from codesage.encoder.folders import BUNDLED
from codesage.encoder.queries import query_form
from codesage.encoder.unit import directions, unit_length
from codesage.errors import CodesageError
from codesage.records import Encoder
from codesage.search.fields import Words, words_of
from codesage.search.terms import indexed_words

DIMENSIONS = 96
TABLE = BUNDLED / "static.npz"
_AT_ONCE = 2_048  # pairs whose vectors are in memory at a time, about, so that the cache of a processor holds them
_MOST_KNOWN = 100_000  # words


class StaticVectors:
    """Vectors of words, from those of their tokens. `word_ids` gives the tokens of each of several words."""

    def __init__(self, word_ids: Callable[[Sequence[str]], list[list[int]]], table_VD: np.ndarray) -> None:
        self._word_ids, self._table_VD = word_ids, table_VD
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
        ids = self._word_ids(words)
        sizes = np.fromiter(map(len, ids), np.int64, len(ids))
        tokens = np.fromiter(chain.from_iterable(ids), np.int64)
        first, last = len(self._known), len(self._known) + len(words)
        if last > len(self._vectors):
            self._vectors = np.concatenate([self._vectors[:first], np.zeros((last, self._vectors.shape[1]), np.float32)])
        self._vectors[first:last] = np.add.reduceat(self._table_VD[tokens], np.cumsum(sizes) - sizes)
        self._known.update(zip(words, range(first, last), strict=True))


def statics_of(encoder: Encoder) -> StaticVectors | None:
    """The static vectors beside an encoder; None for one without a tokenizer, which need not compare words at all."""
    return _made(encoder) if hasattr(encoder, "word_ids") else None


@lru_cache(maxsize=2)
def _made(encoder: Encoder) -> StaticVectors:
    folder = getattr(encoder, "folder", None)
    if folder is not None and _is_same(folder / tokenizers.FILE, BUNDLED / tokenizers.FILE):
        return StaticVectors(cast("_GivesTokens", encoder).word_ids, _table())
    return StaticVectors(tokenizers.load(BUNDLED).encode_words, _table())


class _GivesTokens(Protocol):
    def word_ids(self, words: Sequence[str]) -> list[list[int]]: ...


def _is_same(file: Path, other: Path) -> bool:
    try:
        return filecmp.cmp(file, other, shallow=False)
    except OSError:
        return False


@cache
def table_name() -> str:
    """Static vectors of different tables cannot be compared: this tells them apart."""
    return hashlib.sha256(_content()).hexdigest()[:16]


@cache
def _table() -> np.ndarray:
    return read_table(_content())


def _content() -> bytes:
    try:
        return TABLE.read_bytes()
    except OSError as error:
        raise CodesageError(f"{TABLE} cannot be read ({error.strerror}): install codesage again") from None


def read_table(content: bytes) -> np.ndarray:
    """float32 (V, D): the vector of each token, from the bytes that `write_table` wrote. CodesageError when they are not."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            rows, scales = stored["rows"], stored["scales"]
        if rows.dtype != np.int8 or rows.ndim != 2 or rows.shape[1] != DIMENSIONS or scales.shape != (len(rows), 1):
            raise ValueError(f"rows are {rows.dtype} {rows.shape}")
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise CodesageError(f"{TABLE} is damaged ({error}): install codesage again") from None
    return rows.astype(np.float32) * (scales.astype(np.float32) / 127)


def write_table(table_VD: np.ndarray, tokenizer: tokenizers.Tokenizer, file: Path) -> None:
    """Write a table in int8, with the fingerprint of the tokenizer that its rows are of.

    ValueError when there is not one vector for each token, or one is not finite.
    """
    if table_VD.shape != (tokenizer.vocab_size, DIMENSIONS):
        raise ValueError(f"the table is {table_VD.shape}, expected {(tokenizer.vocab_size, DIMENSIONS)}")
    if not np.isfinite(table_VD).all():
        raise ValueError("the table holds numbers that are not finite")
    scales = np.abs(table_VD).max(axis=1, keepdims=True).astype(np.float16)
    np.savez(file, rows=directions(table_VD), scales=scales, tokenizer=np.array(tokenizer.fingerprint))

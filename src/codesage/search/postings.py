"""Full text: which chunks hold which words, and how well a query matches each chunk.

In: the words of new chunks, later the words of a query. Out: the BM25 score of every chunk, with the formula of SQLite's FTS5,
which takes ten times as long for a question in plain words (docs/log.md). Each commit of an index adds a segment: for each word
one row with the chunks that hold it. Chunks that are gone stay in their segments and are left out of answers; `merge` joins the
segments and drops them.
Shapes: N chunks of the index, C of them that are asked about, W words of a segment, each with each of its chunks once.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from operator import itemgetter

import numpy as np

from codesage.search.reading import FIELDS, Words

TABLES = """
CREATE TABLE words (word TEXT, first INTEGER, distances BLOB NOT NULL, counts BLOB NOT NULL, PRIMARY KEY (word, first))
    WITHOUT ROWID;
CREATE TABLE segments (first INTEGER PRIMARY KEY, chunks INTEGER NOT NULL);
"""
_SPAN = 1 << 16  # numbers of chunks in a segment: a chunk is stored as its distance from the first
_MOST_COUNTED = 255  # times that a word counts in one chunk; more hardly changes BM25
_WEIGHTS = (4.0, 1.0, 1.0)  # of a word in the name, the path and the text of a chunk
_K1, _B = 1.2, 0.75
_LEAST_IDF = 1e-6  # of words in more than half of the chunks
_MOST_SEGMENTS = 200


def add(connection: sqlite3.Connection, first: int, words: Words) -> None:
    """Store the words of the new chunks `first`, `first` + 1, ..."""
    for start in range(0, words.chunks, _SPAN):
        size = min(_SPAN, words.chunks - start)
        connection.execute("INSERT INTO segments VALUES (?, ?)", (first + start, size))
        connection.executemany("INSERT INTO words VALUES (?, ?, ?, ?)", _rows(first + start, words, start, size))


def _rows(first: int, words: Words, start: int, size: int) -> Iterator[tuple[str, int, bytes, bytes]]:
    """The rows of the chunks from `start` on, each word with its chunks."""
    owners_W = np.repeat(np.arange(len(words.sizes)) // FIELDS, words.sizes) - start
    weights_W = np.repeat(np.tile(_WEIGHTS, words.chunks), words.sizes)
    within_W = (owners_W >= 0) & (owners_W < size)
    keys_W = words.numbers_W[within_W].astype(np.int64) * size + owners_W[within_W]
    keys, inverse = np.unique(keys_W, return_inverse=True)
    counts = np.minimum(np.bincount(inverse, weights_W[within_W], len(keys)), _MOST_COUNTED).astype(np.uint8).tobytes()
    numbers, distances = np.divmod(keys, size)
    distances = distances.astype("<u2").tobytes()
    borders = np.searchsorted(numbers, np.arange(len(words.vocabulary) + 1)).tolist()
    for word, (begin, end) in zip(words.vocabulary, pairwise(borders), strict=True):
        if end > begin:
            yield word, first, distances[2 * begin : 2 * end], counts[begin:end]


def _unpacked(rows: Sequence[tuple[int, bytes, bytes]]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of chunks, ascending, and how often each holds the word, from the rows of one word."""
    firsts, distances, counts = zip(*rows, strict=True)
    numbers = np.frombuffer(b"".join(distances), "<u2").astype(np.int64)
    return numbers + np.repeat(firsts, [len(one) for one in counts]), np.frombuffer(b"".join(counts), np.uint8)


class Postings:
    """What queries need of the state of an index: which chunks there are and how long they are."""

    def __init__(self, numbers_N: np.ndarray, lengths_N: np.ndarray) -> None:
        self._numbers_N, self._lengths_N = numbers_N, lengths_N
        mean = lengths_N.mean() if len(lengths_N) else 1.0
        self._norms_N = _K1 * (1 - _B + _B * lengths_N / (mean or 1.0))
        self._known: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # holders of words that were asked for

    def holders(self, connection: sqlite3.Connection, word: str) -> tuple[np.ndarray, np.ndarray]:
        """Places of the chunks that hold `word`, ascending, and the weighted number of times that each does."""
        if word not in self._known:
            rows = connection.execute("SELECT first, distances, counts FROM words WHERE word = ? ORDER BY first", (word,))
            stored = rows.fetchall()
            self._known[word] = self._alive(*_unpacked(stored)) if stored else (np.empty(0, np.int32), np.empty(0, np.uint8))
        return self._known[word]

    def _alive(self, numbers: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        positions = np.searchsorted(self._numbers_N, numbers).astype(np.int32)
        exist = positions < len(self._numbers_N)
        exist[exist] = self._numbers_N[positions[exist]] == numbers[exist]
        return positions[exist], counts[exist]

    def scores(self, connection: sqlite3.Connection, words: Iterable[str]) -> np.ndarray:
        """float64 (N,): BM25 of every chunk for distinct `words`, 0 for chunks that hold none of them."""
        total = len(self._numbers_N)
        scores_N = np.zeros(total)
        for word in words:
            positions, counts = self.holders(connection, word)
            idf = np.log((total - len(positions) + 0.5) / (len(positions) + 0.5))
            counts = counts.astype(np.float64)
            gains = (counts * (_K1 + 1)) / (counts + self._norms_N[positions])
            scores_N[positions] += max(idf, _LEAST_IDF) * gains
        return scores_N

    def hold_all(self, connection: sqlite3.Connection, words: Iterable[str], places_C: np.ndarray) -> np.ndarray:
        """Which of the chunks at `places_C` hold each of `words`, bool (C,)."""
        hold_C = np.ones(len(places_C), bool)
        for word in words:
            holders, _ = self.holders(connection, word)
            if not len(holders):
                return np.zeros(len(places_C), bool)
            hold_C &= holders[np.minimum(np.searchsorted(holders, places_C), len(holders) - 1)] == places_C
        return hold_C


def merge(connection: sqlite3.Connection) -> None:
    """Join segments where there are many, or many of their chunks are gone. Call within a transaction of a writer."""
    segments, stored = connection.execute("SELECT count(*), coalesce(sum(chunks), 0) FROM segments").fetchone()
    numbers = np.array([number for (number,) in connection.execute("SELECT id FROM chunks ORDER BY id")], np.int64)
    if segments <= _MOST_SEGMENTS + 2 * (len(numbers) // _SPAN) and stored <= 2 * len(numbers) + 1000:
        return
    alive = np.zeros(numbers.max(initial=0) + 1, bool)
    alive[numbers] = True
    rows = connection.execute("SELECT word, first, distances, counts FROM words ORDER BY word, first")
    merged = [row for word, group in groupby(rows, itemgetter(0)) for row in _merged(word, [row[1:] for row in group], alive)]
    connection.execute("DELETE FROM words")
    connection.execute("DELETE FROM segments")
    connection.executemany("INSERT INTO words VALUES (?, ?, ?, ?)", merged)
    firsts, sizes = np.unique(numbers // _SPAN * _SPAN, return_counts=True)
    connection.executemany("INSERT INTO segments VALUES (?, ?)", zip(firsts.tolist(), sizes.tolist(), strict=True))


def _merged(word: str, rows: list[tuple[int, bytes, bytes]], alive: np.ndarray) -> Iterable[tuple[str, int, bytes, bytes]]:
    numbers, counts = _unpacked(rows)
    exist = numbers < len(alive)
    exist[exist] = alive[numbers[exist]]
    numbers, counts = numbers[exist], counts[exist]
    for first in np.unique(numbers // _SPAN * _SPAN):
        own = numbers // _SPAN * _SPAN == first
        yield word, int(first), (numbers[own] - first).astype("<u2").tobytes(), counts[own].tobytes()

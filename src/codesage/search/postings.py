"""Full text: which chunks hold which words, and how well a query matches each chunk.

In: the words of new chunks, later the words of a query. Out: the BM25 score of every chunk, with the formula of SQLite's FTS5,
which takes ten times as long for a question in plain words (docs/log.md). Each commit of an index adds a segment: its words in
order, some hundred in a block that is compressed, each with the chunks that hold it. Chunks that are gone stay in their
segments and are left out of answers; `merge` joins segments and drops them.
Shapes: N chunks of the index, C of them that are asked about, V words of a segment, P pairs of a word and a chunk that holds
it, in the order of the words and then of the chunks; W words of new chunks end to end.
"""

import sqlite3
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from codesage.search.fields import FIELDS, Words

TABLES = """
CREATE TABLE words (segment INTEGER NOT NULL, word TEXT NOT NULL, packed BLOB NOT NULL);
CREATE INDEX words_of_segment ON words (segment, word);
CREATE TABLE segments (first INTEGER PRIMARY KEY, chunks INTEGER NOT NULL);
"""
_SPAN = 1 << 16  # numbers of chunks in a segment: a chunk is stored as its distance from the one before
_BLOCK = 6_000  # bytes of a block before it is compressed
_LEVEL = 6  # of compression
_QUICK = 1  # the same of new segments, which are joined later; they take a twelfth more space
MOST_COUNTED = 255  # times that a word counts in one chunk; more hardly changes BM25
WEIGHTS = (4.0, 1.0, 1.0)  # of a word in the name, the path and the text of a chunk
_K1, _B = 1.2, 0.75
_LEAST_IDF = 1e-6  # of words in more than half of the chunks
_MOST_SEGMENTS = 32
FEW_SEGMENTS = 4  # of an index whose chunks are all encoded, so that questions are answered from few blocks


@dataclass(frozen=True, slots=True)
class Segment:
    """The words of the chunks `first`, `first` + 1, ...: blocks, each with its first word."""

    first: int
    chunks: int
    blocks: list[tuple[str, bytes]]


def segments_of(words: Words) -> list[Segment]:
    """The segments of new chunks, which are numbered from 0 on."""
    order = sorted(range(len(words.vocabulary)), key=words.vocabulary.__getitem__)
    vocabulary = [words.vocabulary[number] for number in order]
    rank_V = np.empty(len(order), np.min_scalar_type(len(order)))  # numbers of 16 bits are sorted three times as fast
    rank_V[order] = np.arange(len(order))
    owners_W = np.repeat(np.arange(len(words.sizes)) // FIELDS, words.sizes)
    weights_W = np.repeat(np.tile(WEIGHTS, words.chunks), words.sizes)
    segments = []
    for start in range(0, words.chunks, _SPAN):
        size = min(_SPAN, words.chunks - start)
        within_W = (owners_W >= start) & (owners_W < start + size)
        ranks_W = rank_V[words.numbers_W[within_W]]
        by_word = np.argsort(ranks_W, kind="stable")  # and of each word by chunk, since they are in that order
        ranks_W, distances_W = ranks_W[by_word], owners_W[within_W][by_word] - start
        new_W = (np.diff(ranks_W, prepend=-1) != 0) | (np.diff(distances_W, prepend=-1) != 0)
        starts_P = np.flatnonzero(new_W)
        counts_P = np.add.reduceat(weights_W[within_W][by_word], starts_P) if len(starts_P) else np.zeros(0)
        counts_P = np.minimum(counts_P, MOST_COUNTED).astype(np.uint8)
        words_P, distances_P = ranks_W[starts_P].astype(np.int64), distances_W[starts_P]
        segments.append(Segment(start, size, list(_blocks(vocabulary, words_P, distances_P, counts_P, _QUICK))))
    return segments


def add(connection: sqlite3.Connection, first: int, segments: Iterable[Segment]) -> None:
    """Store segments, whose chunks are numbered from `first` on."""
    for segment in segments:
        number = first + segment.first
        connection.execute("INSERT INTO segments VALUES (?, ?)", (number, segment.chunks))
        connection.executemany("INSERT INTO words VALUES (?, ?, ?)", ((number, *block) for block in segment.blocks))


def _blocks(
    vocabulary: list[str], words_P: np.ndarray, distances_P: np.ndarray, counts_P: np.ndarray, level: int = _LEVEL
) -> Iterator[tuple[str, bytes]]:
    """Blocks with their first words; `distances_P` count from the first chunk of the segment."""
    sizes_V = np.bincount(words_P, minlength=len(vocabulary))
    present = np.flatnonzero(sizes_V)
    sizes, borders = sizes_V[present], np.concatenate([[0], np.cumsum(sizes_V[present])])
    steps_P = np.diff(distances_P, prepend=0)
    steps_P[borders[:-1]] = distances_P[borders[:-1]]  # of the first chunk of each word
    costs = np.cumsum(3 * sizes + np.fromiter((len(vocabulary[word]) + 5 for word in present.tolist()), np.int64, len(present)))
    cuts = [0, *(np.flatnonzero(np.diff(costs // _BLOCK)) + 1).tolist(), len(present)] if len(present) else []
    for begin, end in pairwise(cuts):
        pairs = slice(borders[begin], borders[end])
        names = [vocabulary[word] for word in present[begin:end].tolist()]
        yield names[0], _packed(names, sizes[begin:end], steps_P[pairs].astype("<u2"), counts_P[pairs], level)


def _packed(names: list[str], sizes: np.ndarray, steps: np.ndarray, counts: np.ndarray, level: int) -> bytes:
    """A block: its numbers of words and of bytes of their names, these, then how many chunks hold each, and which."""
    text, low_and_high = "\n".join(names).encode(), steps.view(np.uint8).reshape(-1, 2).T
    head = np.array([len(names), len(text)], "<u4").tobytes()
    parts = (head, text, sizes.astype("<u4").tobytes(), low_and_high.tobytes(), counts.tobytes())
    return zlib.compress(b"".join(parts), level)


class _Block:
    """A block to read. sqlite3.DatabaseError when it is damaged."""

    def __init__(self, packed: bytes) -> None:
        try:
            raw = zlib.decompress(packed)
            count, length = np.frombuffer(raw, "<u4", 2).tolist()
            self.names = raw[8 : 8 + length].decode().split("\n")
            sizes = np.frombuffer(raw, "<u4", count, 8 + length).astype(np.int64)
            rest = np.frombuffer(raw, np.uint8, offset=8 + length + 4 * count).reshape(3, -1)
            self.borders = np.concatenate([[0], np.cumsum(sizes)])
            if len(self.names) != count or self.borders[-1] != rest.shape[1]:
                raise ValueError("its parts do not fit together")
        except (zlib.error, ValueError, TypeError) as error:
            raise sqlite3.DatabaseError(f"a block of words is damaged: {error}") from None
        self._steps_P, self._counts_P = rest[0] + rest[1].astype(np.int64) * 256, rest[2]

    def holders(self, word: int) -> tuple[np.ndarray, np.ndarray]:
        """Of a word by its place in `names`: distances of the chunks that hold it, and how often each does."""
        own = slice(self.borders[word], self.borders[word + 1])
        return np.cumsum(self._steps_P[own]), self._counts_P[own]

    def all_holders(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of all words in turn: their places in `names`, distances and counts."""
        words_P = np.repeat(np.arange(len(self.names)), np.diff(self.borders))
        sums_P = np.cumsum(self._steps_P)
        before = np.concatenate([[0], sums_P])[self.borders[:-1]]
        return words_P, sums_P - before[words_P], self._counts_P


def _blocks_with(connection: sqlite3.Connection, word: str) -> Iterator[tuple[int, _Block]]:
    """The block of each segment that would hold `word`, with the number of the segment's first chunk."""
    question = "SELECT packed FROM words WHERE segment = ? AND word <= ? ORDER BY word DESC LIMIT 1"
    for (first,) in connection.execute("SELECT first FROM segments ORDER BY first").fetchall():
        row = connection.execute(question, (first, word)).fetchone()
        if row is not None:
            yield first, _Block(row[0])


def words_in(connection: sqlite3.Connection) -> int:
    """How many words there are. sqlite3.DatabaseError when one of the blocks is damaged."""
    return len({name for (packed,) in connection.execute("SELECT packed FROM words") for name in _Block(packed).names})


class Postings:
    """What queries need of the state of an index: which chunks there are and how long they are."""

    def __init__(self, numbers_N: np.ndarray, lengths_N: np.ndarray) -> None:
        self._numbers_N, self._lengths_N = numbers_N, lengths_N
        self._norms_N = norms(lengths_N, _mean(lengths_N))
        self._known: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # holders of words that were asked for

    def holders(self, connection: sqlite3.Connection, word: str) -> tuple[np.ndarray, np.ndarray]:
        """Places of the chunks that hold `word`, ascending, and the weighted number of times that each does."""
        if word not in self._known:
            numbers, counts = [np.empty(0, np.int64)], [np.empty(0, np.uint8)]
            for first, block in _blocks_with(connection, word):
                place = bisect_left(block.names, word)
                if place < len(block.names) and block.names[place] == word:
                    distances, own = block.holders(place)
                    numbers.append(first + distances)
                    counts.append(own)
            self._known[word] = self._alive(np.concatenate(numbers), np.concatenate(counts))
        return self._known[word]

    def _alive(self, numbers: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        positions = np.searchsorted(self._numbers_N, numbers).astype(np.int32)
        exist = positions < len(self._numbers_N)
        exist[exist] = self._numbers_N[positions[exist]] == numbers[exist]
        return positions[exist], counts[exist]

    def scores(self, connection: sqlite3.Connection, words: Iterable[str]) -> np.ndarray:
        """float64 (N,): BM25 of every chunk for distinct `words`, 0 for chunks that hold none of them."""
        scores_N = np.zeros(len(self._numbers_N))
        for word in words:
            positions, counts = self.holders(connection, word)
            scores_N[positions] += gains(counts.astype(np.float64), self._norms_N[positions], len(counts), len(scores_N))
        return scores_N

    def shares_of_files(
        self, connection: sqlite3.Connection, words: Iterable[str], file_N: np.ndarray, files: int
    ) -> np.ndarray:
        """float64 (`files`,): BM25 of every file for distinct `words`, all its chunks taken together, beside that of the best.

        `file_N`: the number of each chunk's file, from 0.
        """
        lengths_F = np.bincount(file_N, self._lengths_N, files)
        scores_F, norms_F = np.zeros(files), norms(lengths_F, _mean(lengths_F))
        for word in words:
            positions, counts = self.holders(connection, word)
            counts_F = np.bincount(file_N[positions], counts, files)
            holding = np.flatnonzero(counts_F)
            scores_F[holding] += gains(counts_F[holding], norms_F[holding], len(holding), files)
        return scores_F / max(scores_F.max(initial=0.0), 1e-9)

    def hold_all(self, connection: sqlite3.Connection, words: Iterable[str], places_C: np.ndarray) -> np.ndarray:
        """Which of the chunks at `places_C` hold each of `words`, bool (C,)."""
        hold_C = np.ones(len(places_C), bool)
        for word in words:
            holders, _ = self.holders(connection, word)
            if not len(holders):
                return np.zeros(len(places_C), bool)
            hold_C &= holders[np.minimum(np.searchsorted(holders, places_C), len(holders) - 1)] == places_C
        return hold_C


def _mean(lengths: np.ndarray) -> float:
    return float(lengths.mean()) if len(lengths) else 1.0


def norms(lengths: np.ndarray, mean: float) -> np.ndarray:
    """What BM25 adds to the counts of a word in documents of these lengths; `mean` is that of all documents."""
    return _K1 * (1 - _B + _B * lengths / (mean or 1.0))


def gains(counts: np.ndarray, norms: np.ndarray, holding: int, total: int) -> np.ndarray:
    """What a word adds to the BM25 of documents with these counts of it, where `holding` of `total` hold it."""
    idf = np.log((total - holding + 0.5) / (holding + 0.5))
    return max(idf, _LEAST_IDF) * (counts * (_K1 + 1)) / (counts + norms)


def merge(connection: sqlite3.Connection, *, most: int | None = None) -> None:
    """Join the newest segments where there are more than `most` (_MOST_SEGMENTS), or all, where many of their chunks are gone.

    Call within a transaction of a writer.
    """
    most = _MOST_SEGMENTS if most is None else most
    segments = connection.execute("SELECT first, chunks FROM segments ORDER BY first").fetchall()
    numbers = np.array([number for (number,) in connection.execute("SELECT id FROM spans ORDER BY id")], np.int64)
    if sum(size for _, size in segments) > 2 * len(numbers) + 1000:
        _join(connection, [first for first, _ in segments], numbers)
    elif len(segments) > most:
        _join(connection, _newest([size for _, size in segments], [first for first, _ in segments], most), numbers)


def join_all(connection: sqlite3.Connection) -> None:
    """Join all segments, so that no word is left of chunks that are gone. Call within a transaction of a writer."""
    numbers = np.array([number for (number,) in connection.execute("SELECT id FROM spans ORDER BY id")], np.int64)
    firsts = [first for (first,) in connection.execute("SELECT first FROM segments ORDER BY first")]
    if firsts:
        _join(connection, firsts, numbers)


def _newest(sizes: list[int], firsts: list[int], most: int) -> list[int]:
    """The newest segments, so many that each that is left is larger than those together, and that half of `most` are left."""
    start, joined = len(sizes), 0
    while start > 0 and (start > most // 2 or sizes[start - 1] <= joined):
        start -= 1
        joined += sizes[start]
    return firsts[start:]


def _join(connection: sqlite3.Connection, firsts: list[int], alive: np.ndarray) -> None:
    """Put segments in the place of those that begin at `firsts`, for the chunks of theirs that are among `alive`."""
    sizes = dict(connection.execute("SELECT first, chunks FROM segments"))
    last = firsts[-1] + sizes[firsts[-1]]
    kept, joined = alive[(alive >= firsts[0]) & (alive < last)], []
    while len(kept):
        first = int(kept[0])
        own, kept = kept[kept < first + _SPAN], kept[kept >= first + _SPAN]
        ends = [*firsts[1:], last]
        sources = [one for one, end in zip(firsts, ends, strict=True) if one < first + _SPAN and end > first]
        joined.append(_of_several(connection, sources, own))
    for one in firsts:
        connection.execute("DELETE FROM words WHERE segment = ?", (one,))
        connection.execute("DELETE FROM segments WHERE first = ?", (one,))
    add(connection, 0, joined)


def _of_several(connection: sqlite3.Connection, sources: list[int], own: np.ndarray) -> Segment:
    """One segment of the chunks `own`, within a span, from the segments that begin at `sources`."""
    first, ranks = int(own[0]), {}
    words, numbers, counts = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.uint8)]
    for source in sources:
        for (packed,) in connection.execute("SELECT packed FROM words WHERE segment = ? ORDER BY word", (source,)):
            block = _Block(packed)
            words_P, distances_P, counts_P = block.all_holders()
            there_P = np.isin(source + distances_P, own)
            numbered = np.array([ranks.setdefault(name, len(ranks)) for name in block.names], np.int64)
            words.append(numbered[words_P[there_P]])
            numbers.append(source + distances_P[there_P] - first)
            counts.append(counts_P[there_P])
    vocabulary = sorted(ranks)
    order = np.empty(len(vocabulary), np.int64)
    order[[ranks[name] for name in vocabulary]] = np.arange(len(vocabulary))
    words_P, distances_P, counts_P = order[np.concatenate(words)], np.concatenate(numbers), np.concatenate(counts)
    sequence = np.argsort(words_P * _SPAN + distances_P)
    blocks = _blocks(vocabulary, words_P[sequence], distances_P[sequence], counts_P[sequence])
    return Segment(first, len(own), list(blocks))

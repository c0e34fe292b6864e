"""BM25 of the chunks and files of a store, with the formula and the counts of a local index (search.postings).

In: the words of a query. Out: the chunks that hold one of them, best first, the share of the weight of the words that one chunk
holds, and how well each file matches. LanceDB finds the chunks, and the scores are computed here from their words. Where more
than MOST chunks hold one of the words, only the best by LanceDB's own BM25 are looked at. It differs because it counts words of
a name as so many more words of the chunk.
Shapes: W words, N chunks found, P pairs of a word and a chunk that holds it, in the order of the words and then of the chunks.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from codesage.search.floor import rarity
from codesage.search.postings import MOST_COUNTED, gains, norms
from codesage.search.store.rows import place_of
from codesage.search.store.table import Store

MOST = 12_800  # chunks whose words are looked at
_BLOCK = 1_024  # chunks whose words are split at a time
compute: Any = pyarrow.compute  # its functions are made at run time, where a type checker does not see them


class ByWords:
    """What the words of a query find in a store."""

    def __init__(self, store: Store, words: Sequence[str]) -> None:
        self._store, self._words = store, list(words)
        self._all = _Found(store.holders(words, MOST, ""), self._words) if words else None

    def best(self, condition: str) -> tuple[list[str], bool]:
        """The ids of the chunks that hold a word and meet a condition, best first; and whether these are all."""
        if self._all is None:
            return [], True
        found = _Found(self._store.holders(self._words, MOST, condition), self._words) if condition else self._all
        return found.best(self._holding, self._store.totals), not found.cut

    def coverage(self, words: Sequence[str]) -> float:
        """The largest share of the weight of some of the words that one chunk holds, see search.floor."""
        weights = np.array([rarity(holding, self._store.totals.chunks) for holding in self._holding])
        asked_W = np.isin(self._words, words)
        if self._all is None or not asked_W.any():
            return 0.0
        held_N = np.bincount(self._all.rows_P, (weights * asked_W)[self._all.words_P], self._all.chunks)
        return float(held_N.max(initial=0.0) / weights[asked_W].sum())

    def shares_of_files(self) -> dict[tuple[str, str], float]:
        """BM25 of files, all chunks of each taken together, beside that of the best one; by root and path."""
        return {} if self._all is None else self._all.shares_of_files(self._holding, self._store.totals)

    @cached_property
    def _holding(self) -> list[int]:
        """How many chunks hold each word, counted up to EXACT_UP_TO."""
        if self._all is None:
            return []
        if not self._all.cut:
            return self._all.holding
        return [max(self._store.holding(word), least) for word, least in zip(self._words, self._all.holding, strict=True)]


class _Found:
    """Chunks with the words that they hold."""

    def __init__(self, table: pa.Table, words: list[str]) -> None:
        self._table, self.chunks, self.cut, self._number = table, len(table), len(table) >= MOST, len(words)
        numbers = [_numbers(table["words"].slice(start, _BLOCK), words) for start in range(0, self.chunks, _BLOCK)]
        owners = np.repeat(np.arange(self.chunks), np.concatenate([sizes for sizes, _ in numbers] or [np.empty(0, np.int64)]))
        words_of = np.concatenate([own for _, own in numbers] or [np.empty(0, np.int64)])
        asked = words_of >= 0
        keys, counts = np.unique(words_of[asked] * self.chunks + owners[asked], return_counts=True)
        self.words_P, self.rows_P = np.divmod(keys, max(self.chunks, 1))
        self.counts_P = np.minimum(counts, MOST_COUNTED).astype(np.float64)

    @property
    def holding(self) -> list[int]:
        """How many of these chunks hold each word."""
        return np.bincount(self.words_P, minlength=self._number).tolist()

    def best(self, holding: Sequence[int], totals: tuple[int, int, int]) -> list[str]:
        """The ids of the chunks, best first, and of equal ones in the order of an index."""
        chunks, _, length = totals
        norms_N = norms(self._column("length"), length / max(chunks, 1))
        scores_N = np.zeros(self.chunks)
        for word, (rows, counts) in enumerate(self._by_word()):
            scores_N[rows] += gains(counts, norms_N[rows], holding[word], chunks)
        files, file_N = self._files
        ordered = sorted(range(len(files)), key=lambda number: place_of(*files[number]))
        rank_F = np.empty(len(files), np.int64)
        rank_F[ordered] = np.arange(len(files))
        order = np.lexsort([self._column("at"), rank_F[file_N], -scores_N])
        return self._table["id"].take(pa.array(order)).to_pylist()

    def shares_of_files(self, holding: Sequence[int], totals: tuple[int, int, int]) -> dict[tuple[str, str], float]:
        """See ByWords. The chunks with a word that are not among these are assumed to be in as many files each as these."""
        _, files, length = totals
        found, file_N = self._files
        lengths_F, scores_F = np.zeros(len(found)), np.zeros(len(found))
        lengths_F[file_N] = self._column("file_length")
        norms_F = norms(lengths_F, length / max(files, 1))
        for word, (rows, counts) in enumerate(self._by_word()):
            counts_F = np.bincount(file_N[rows], counts, len(found))
            held = np.flatnonzero(counts_F)
            of_all = min(files, round(len(held) * holding[word] / max(len(rows), 1)))
            scores_F[held] += gains(counts_F[held], norms_F[held], of_all, files)
        return dict(zip(found, (scores_F / max(scores_F.max(initial=0.0), 1e-9)).tolist(), strict=True))

    @cached_property
    def _files(self) -> tuple[list[tuple[str, str]], np.ndarray]:
        """The root and path of each file, and the number of each chunk's file, (N,)."""
        roots, paths = (self._table[name].combine_chunks().dictionary_encode() for name in ("root", "path"))
        keys = roots.indices.to_numpy().astype(np.int64) * max(len(paths.dictionary), 1) + paths.indices.to_numpy()
        distinct, file_N = np.unique(keys, return_inverse=True)
        of_root, of_path = np.divmod(distinct, max(len(paths.dictionary), 1))
        return [
            (roots.dictionary[one].as_py(), paths.dictionary[other].as_py())
            for one, other in zip(of_root.tolist(), of_path.tolist(), strict=True)
        ], file_N

    def _by_word(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Of each word the chunks that hold it, and how often each does."""
        borders = np.concatenate([[0], np.cumsum(self.holding)])
        for start, end in pairwise(borders.tolist()):
            yield self.rows_P[start:end], self.counts_P[start:end]

    def _column(self, name: str) -> np.ndarray:
        return self._table[name].to_numpy().astype(np.float64)


def _numbers(texts: pa.ChunkedArray, words: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """How many words each text has, and of all of them in turn the number among `words`, -1 for others."""
    split = compute.split_pattern(texts.combine_chunks(), " ")
    numbers = compute.fill_null(compute.index_in(split.flatten(), value_set=pa.array(words)), -1)
    return compute.list_value_length(split).to_numpy(), numbers.to_numpy().astype(np.int64)

"""Search a store: LanceDB finds candidates by words and by vectors, and the rules of the local index rank them.

The candidates are the best chunks by words (store.words), those with the nearest vectors, and those with the name in the query.
They become a small index in memory, which search.query ranks like a local one. As in a local index, a query that no chunk
matches has no answers (store.floor), and one without words finds the chunks that hold it. A store of one root answers as a
local index of it does, except where it is large: with more than EXACT_UP_TO rows the nearest vectors are those that an
approximate index finds; where more than `words.MOST` chunks hold a word of the query, only the best are compared by words; a
query without words looks through EXACT_UP_TO chunks; and of a name, _MOST_OF_NAME chunks become candidates. Shapes: C
candidates, D the width of the vectors.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from codesage.encoder.queries import read_query
from codesage.errors import CodesageError
from codesage.records import Chunk, Encoder, Hit
from codesage.search import floor, ranking
from codesage.search.defaults import DENSE_WEIGHT
from codesage.search.filters import Filter
from codesage.search.folders import command
from codesage.search.index import Index
from codesage.search.kinds import kind_of
from codesage.search.postings import Postings
from codesage.search.query import considered, hit_of_signs, ranked, signs_of
from codesage.search.ranking import Rules
from codesage.search.searcher import Answer
from codesage.search.store.conditions import below, changed, conditions_of, passing, shown, unused_of
from codesage.search.store.floor import InStore
from codesage.search.store.rows import called, place_of_row
from codesage.search.store.table import EXACT_UP_TO, SHOWN, Store, all_of, quoted, vectors_in
from codesage.search.store.words import MOST, ByWords
from codesage.search.terms import query_words
from codesage.search.texts import Blocks
from codesage.search.view import View

_DEPTH = 200  # of each ranking; search.query takes as many
_MOST_OF_NAME = 1_000  # chunks of one name
compute: Any = pyarrow.compute  # its functions are made at run time, where a type checker does not see them
CUT = f"partial: -g and -e were tried on the {MOST:,} chunks nearest to the query, not on all"


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and what restricts it: a filter, and a condition of SQL for what LanceDB can check by itself."""

    text: str
    where: Filter
    condition: str

    def passing(self, rows: Iterable[dict]) -> list[dict]:
        """The rows that pass what is not in the condition."""
        return passing(self.where, rows)


def search(
    store: Store,
    encoder: Encoder,
    text: str,
    where: Filter,
    paths: Sequence[str] = (),
    *,
    top: int = 10,
    dense_weight: float = DENSE_WEIGHT,
    weak: bool = False,
) -> Answer:
    """The `top` best chunks of a store, below `paths` where some are given; `weak`: also where no chunk matches the query.

    `globs` of the filter count from each root. CodesageError for an empty question, or a path that the store does not hold.
    """
    if not text.strip():
        raise CodesageError("the query is empty: say what to look for")
    text = considered(text)
    folder = below(store, paths)
    question = Question(text, where, all_of(folder, *conditions_of(where)))
    if not weak and (signs := signs_of(text)):
        return answer_of(store, *_of_signs(store, question, signs, top), where, folder)
    vector_D = encoder.encode([text], kind="text")[0] if dense_weight else None
    found = ByWords(store, query_words(text))
    if not (weak or where.patterns or floor.passes(InStore(store, found), encoder, text, vector_D)):
        return answer_of(store, [], [], where, folder)
    candidates, cut = _candidates(store, question, found, vector_D)
    hits = _ranked(store, question, candidates, found, dense_weight, top) if candidates.rows else []
    return answer_of(store, _with_tier(store, candidates, vector_D, hits), cut, where, folder)


def answer_of(store: Store, hits: Sequence[tuple[dict, Hit]], cut: list[str], where: Filter, folder: str) -> Answer:
    """An answer of hits with their rows; `cut` says what was left out, `folder` is the condition of `below`."""
    return Answer(
        [replace(hit, chunk=replace(hit.chunk, path=shown(row))) for row, hit in hits],
        partial_of(store) + cut,
        frozenset(shown(row) for row, _ in hits if changed(row)),
        sum(one.files for one in store.roots()),
        unused_of(store, where, folder) if not hits else [],
    )


def partial_of(store: Store) -> list[str]:
    """What a store lacks of its roots, each with the command that completes it."""
    return [
        f"partial: {one.pending:,} files of {one.root} are not indexed yet; "
        f"'{command('index', '--store', store.address, one.root)}' completes it"
        for one in store.roots()
        if one.pending
    ]


def _of_signs(store: Store, question: Question, signs: list[str], top: int) -> tuple[list[tuple[dict, Hit]], list[str]]:
    """Rows and hits of a query without words, as in a local index, and a line where not all chunks were looked through."""
    best: list[tuple[tuple, dict]] = []
    for row in _holding(store, question, signs):
        named = any(one in row["name"] for one in signs)
        best.append(((not named, -row["count"], *place_of_row(row)), row | {"named": named}))
        if len(best) >= 2 * top + _DEPTH:
            best = sorted(best, key=lambda one: one[0])[:top]
    rows = [row for _, row in sorted(best, key=lambda one: one[0])[:top]]
    hits = [(row, hit_of_signs(chunk_of(row), row["count"], named=row["named"])) for row in rows]
    among = store.count(all_of("piece = 0", question.condition))
    if among <= EXACT_UP_TO:
        return hits, []
    return hits, [f"partial: a query without words was looked for in {EXACT_UP_TO:,} of {among:,} chunks"]


def _holding(store: Store, question: Question, signs: list[str]) -> Iterator[dict]:
    """The chunks that hold some signs, each with how often it does as its `count`."""
    for batch in store.texts(question.condition, EXACT_UP_TO):
        counts = np.min([compute.count_substring(batch["text"], one).to_numpy() for one in signs], axis=0)
        held = np.flatnonzero(counts)
        rows = batch.take(pa.array(held)).to_pylist()
        yield from question.passing(row | {"count": count} for row, count in zip(rows, counts[held].tolist(), strict=True))


class _Candidates:
    """Rows, each chunk once, and their places in the rankings by words and vectors."""

    def __init__(self) -> None:
        self.rows: list[dict] = []
        self.rankings: list[list[int]] = []
        self.similarities: dict[str, float] = {}  # with the query, by the id of the chunk
        self._place: dict[str, int] = {}

    def places(self, rows: Sequence[dict]) -> list[int]:
        """The places of rows among the candidates, of which they become some."""
        for row in rows:
            if row["id"] not in self._place:
                self._place[row["id"]] = len(self.rows)
                self.rows.append(row)
        return [self._place[row["id"]] for row in rows]


def _candidates(store: Store, question: Question, found: ByWords, vector_D: np.ndarray | None) -> tuple[_Candidates, list[str]]:
    """What can be among the answers, and a line where a filter was not applied to all of it."""
    candidates, name = _Candidates(), called(ranking.requested_name(question.text))
    numbers, are_all = found.best(question.condition)

    def by_words(depth: int) -> tuple[list[dict], bool]:
        rows = store.chunks(numbers[:depth])
        return [rows[number] for number in numbers[:depth] if number in rows], are_all and len(numbers) <= depth

    rows, cut = best_passing(by_words, question)
    candidates.rankings = [candidates.places(rows)]
    if vector_D is not None:
        rows, also_cut = best_passing(lambda depth: _nearest(store, question, candidates, vector_D, depth), question)
        candidates.rankings.append(candidates.places(rows))
        cut |= also_cut
    if name:
        condition = all_of(f"called = {quoted(name)} AND piece = 0", question.condition)
        named = question.passing(store.rows(condition, SHOWN, most=_MOST_OF_NAME))
        candidates.places(sorted(named, key=place_of_row))
    return candidates, [CUT] if cut else []


def _nearest(
    store: Store, question: Question, candidates: _Candidates, vector_D: np.ndarray, depth: int
) -> tuple[list[dict], bool]:
    """The chunks nearest to a vector, of equal ones the first in the order of an index."""
    rows, similarities, are_all = store.by_vector(vector_D, depth, question.condition)
    candidates.similarities |= {row["id"]: one for row, one in zip(rows, similarities.tolist(), strict=True)}
    return sorted(rows, key=lambda row: (-candidates.similarities[row["id"]], *place_of_row(row))), are_all


def best_passing(
    fetch: Callable[[int], tuple[list[dict], bool]], question: Question, wanted: int = _DEPTH
) -> tuple[list[dict], bool]:
    """The `wanted` best rows that pass, and whether there may be more of them than were looked at."""
    depth = wanted
    while True:
        rows, are_all = fetch(depth)
        kept = question.passing(rows)
        if len(kept) >= wanted or are_all or depth >= MOST:
            return kept[:wanted], len(kept) < wanted and not are_all
        depth = min(4 * depth, MOST)


def _ranked(
    store: Store, question: Question, candidates: _Candidates, found: ByWords, dense_weight: float, top: int
) -> list[tuple[int, Hit]]:
    languages = read_query(question.text).languages
    present = Counter({one: 1 for one in languages if next(store.rows(f"language = {quoted(one)}", ["id"], most=1), None)})
    kinds = {(one.root, path): kind for one in store.roots() for path, kind in one.kinds.items()}
    view = _View.of(candidates.rows, present, found.shares_of_files(), kinds)
    with _Memory(candidates.rows) as index:
        return ranked(index, view, question.text, candidates.rankings, None, dense_weight, Rules(), top)


def _with_tier(
    store: Store, candidates: _Candidates, vector_D: np.ndarray | None, hits: Sequence[tuple[int, Hit]]
) -> list[tuple[dict, Hit]]:
    """Hits with their rows, and what they rest on: their similarity with the query, or words alone."""
    rows = [candidates.rows[at] for at, _ in hits]
    if vector_D is None:
        return [(row, replace(hit, tier="words")) for row, (_, hit) in zip(rows, hits, strict=True)]
    known = candidates.similarities
    if missing := [row["id"] for row in rows if row["id"] not in known]:
        pieces = store.pieces("true", missing)
        for number, similarity in zip(pieces["id"].to_pylist(), (vectors_in(pieces) @ vector_D).tolist(), strict=True):
            known[number] = max(similarity, known.get(number, -1.0))
    return [(row, replace(hit, similarity=known.get(row["id"], 0.0))) for row, (_, hit) in zip(rows, hits, strict=True)]


class _Memory(Index):
    """The candidates as an index in memory: what ranking reads of an index is the text of some chunks."""

    def __init__(self, rows: Sequence[dict]) -> None:
        self._chunks, self.connection = [chunk_of(row) for row in rows], sqlite3.connect(":memory:")

    def __enter__(self) -> "_Memory":
        return self

    def __exit__(self, *error: object) -> None:
        self.connection.close()

    def chunks_of(self, numbers: Sequence[int], kept: Blocks | None = None) -> list[Chunk]:
        """The candidates of these numbers."""
        return [self._chunks[number] for number in numbers]

    def texts_of(self, numbers: Iterable[int], kept: Blocks | None = None) -> dict[int, str]:
        """Their texts."""
        return {number: self._chunks[number].text for number in numbers}


def chunk_of(row: dict) -> Chunk:
    """The chunk of a row that holds its text."""
    columns = ("path", "language", "kind", "name", "start_line", "end_line", "text")
    return Chunk(*(row[column] for column in columns))


class _Any(Postings):
    """Postings that leave nothing out, as the text itself is looked at, and that know how well files match."""

    def __init__(self, chunks: int, shares: Sequence[float]) -> None:
        super().__init__(np.arange(chunks), np.ones(chunks))
        self._shares = np.array(shares)

    def shares_of_files(self, connection: sqlite3.Connection, words: object, file_N: np.ndarray, files: int) -> np.ndarray:
        """float64 (`files`,): see Postings."""
        return self._shares

    def hold_all(self, connection: sqlite3.Connection, words: object, places_C: np.ndarray) -> np.ndarray:
        """Bool (C,): all."""
        return np.ones(len(places_C), bool)


@dataclass(frozen=True)
class _View(View):
    """The candidates as the state of an index. Files of different roots differ, and know how many chunks they have in all."""

    whole: tuple[str, ...] = ()  # root and path of each candidate
    counts: tuple[int, ...] = ()  # chunks of its file
    there: Counter | None = None  # languages that the query names and the store holds
    special: dict[tuple[str, str], str] | None = None  # kinds of files, by root and path, that depend on other files

    @classmethod
    def of(
        cls, rows: Sequence[dict], there: Counter, shares: dict[tuple[str, str], float], special: dict[tuple[str, str], str]
    ) -> "_View":
        """The view of some rows; `shares`: how well files match, see Postings.shares_of_files."""
        numbers_C, none = np.arange(len(rows)), np.zeros((len(rows), 0), np.float32)
        paths, languages, kinds, names = ([row[column] for row in rows] for column in ("path", "language", "kind", "name"))
        whole = tuple(f"{row['root']}\0{row['path']}" for row in rows)
        own = [
            shares.get((row["root"], row["path"]), 0.0)
            for row in {file: row for file, row in zip(whole, rows, strict=True)}.values()
        ]
        postings = _Any(len(rows), own)
        return cls(
            numbers_C,
            paths,
            languages,
            kinds,
            names,
            postings,
            none,
            numbers_C,
            np.ones(len(rows), bool),
            None,
            whole=whole,
            counts=tuple(row["chunks"] for row in rows),
            there=there,
            special=special,
        )

    @cached_property
    def _numbered(self) -> dict[str, int]:
        return {file: number for number, file in enumerate(dict.fromkeys(self.whole))}

    @cached_property
    def path_N(self) -> np.ndarray:
        """int64 (C,): candidates of one file share a number."""
        return np.array([self._numbered[file] for file in self.whole], np.int64)

    @cached_property
    def distinct_paths(self) -> list[str]:
        """The path within its root of each number."""
        return [file.partition("\0")[2] for file in self._numbered]

    @cached_property
    def files(self) -> list[str]:
        """The kind of each file, as it is among all files of its root."""
        files = (tuple(file.split("\0")) for file in self._numbered)
        return [(self.special or {}).get((root, path)) or kind_of(path) for root, path in files]

    @cached_property
    def sizes(self) -> np.ndarray:
        """Chunks of each file, not only those that are candidates."""
        sizes = dict(zip(self.whole, self.counts, strict=True))
        return np.array([sizes[file] for file in self._numbered], np.int64)

    @cached_property
    def language_counts(self) -> Counter:
        """The languages that the query names and the store holds."""
        return self.there or Counter()

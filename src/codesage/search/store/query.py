"""Search a store: LanceDB finds candidates by words and by vectors, and the rules of the local index rank them.

The candidates are the best chunks by BM25 over our words, those with the nearest vectors, and those with the name in the
query. They become a small index in memory, which search.query ranks like a local one. As in a local index, a query that no
chunk matches has no answers (store.floor). Two things differ from a local index: BM25 counts words of the name as so many more
words of the chunk, and with more than EXACT_UP_TO rows the nearest vectors are those that an approximate index finds. Shapes:
C candidates, D the width of the vectors.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from codesage.encoder.queries import read_query
from codesage.errors import CodesageError
from codesage.records import Chunk, Encoder, Hit
from codesage.search import floor, ranking
from codesage.search.defaults import DENSE_WEIGHT
from codesage.search.filters import Filter
from codesage.search.folders import command
from codesage.search.index import Index
from codesage.search.postings import Postings
from codesage.search.query import ranked
from codesage.search.ranking import Rules
from codesage.search.searcher import Answer
from codesage.search.store.conditions import below, changed, conditions_of, passes, shown, unused_of
from codesage.search.store.floor import InStore
from codesage.search.store.rows import called
from codesage.search.store.table import SHOWN, Store, quoted
from codesage.search.terms import query_words
from codesage.search.texts import Blocks
from codesage.search.view import View

_DEPTH = 200  # of each ranking; search.query takes as many
_MOST = 12_800  # candidates that are looked at, where a filter that LanceDB does not know lets few pass
_MOST_OF_NAME = 1_000  # chunks of one name


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and what restricts it: a filter, and a condition of SQL for what LanceDB can check by itself."""

    text: str
    where: Filter
    condition: str

    def passes(self, row: dict) -> bool:
        """Whether a row passes what is not in the condition."""
        return passes(self.where, row)


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
    folder = below(store, paths)
    question = Question(text, where, " AND ".join(filter(None, [folder, *conditions_of(where)])))
    vector_D = encoder.encode([text], kind="text")[0] if dense_weight else None
    if weak or where.patterns or floor.passes(InStore(store), encoder, text, vector_D):
        candidates, cut = _candidates(store, question, vector_D)
    else:
        candidates, cut = _Candidates(), []
    hits = _ranked(store, question, candidates, dense_weight, top) if candidates.rows else []
    return answer_of(store, [(candidates.rows[at], hit) for at, hit in hits], cut, where, folder)


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


class _Candidates:
    """Rows, each chunk once, and their places in the rankings by words and vectors."""

    def __init__(self) -> None:
        self.rows: list[dict] = []
        self.rankings: list[list[int]] = []
        self._place: dict[str, int] = {}

    def places(self, rows: Sequence[dict]) -> list[int]:
        """The places of rows among the candidates, of which they become some."""
        for row in rows:
            if row["id"] not in self._place:
                self._place[row["id"]] = len(self.rows)
                self.rows.append(row)
        return [self._place[row["id"]] for row in rows]


def _candidates(store: Store, question: Question, vector_D: np.ndarray | None) -> tuple[_Candidates, list[str]]:
    """What can be among the answers, and a line where a filter was not applied to all of it."""
    candidates = _Candidates()
    words, name = query_words(question.text), called(ranking.requested_name(question.text))
    rows, cut = _passing(lambda depth: store.by_words(words, depth, question.condition), question)
    candidates.rankings = [candidates.places(rows)]
    if vector_D is not None:
        rows, also_cut = _passing(lambda depth: store.by_vector(vector_D, depth, question.condition), question)
        candidates.rankings.append(candidates.places(rows))
        cut |= also_cut
    if name:
        condition = " AND ".join(filter(None, [f"called = {quoted(name)} AND piece = 0", question.condition]))
        candidates.places([row for row in store.rows(condition, SHOWN, most=_MOST_OF_NAME) if question.passes(row)])
    return candidates, [
        f"partial: -g and -e were tried on the {_MOST:,} chunks nearest to the query, not on all"
    ] if cut else []


def _passing(fetch: Callable[[int], tuple[list[dict], bool]], question: Question) -> tuple[list[dict], bool]:
    """The best rows that pass, and whether there may be more of them than were looked at."""
    depth = _DEPTH
    while True:
        rows, are_all = fetch(depth)
        passing = [row for row in rows if question.passes(row)]
        if len(passing) >= _DEPTH or are_all or depth >= _MOST:
            return passing[:_DEPTH], len(passing) < _DEPTH and not are_all
        depth *= 4


def _ranked(store: Store, question: Question, candidates: _Candidates, dense_weight: float, top: int) -> list[tuple[int, Hit]]:
    languages = read_query(question.text).languages
    present = Counter({one: 1 for one in languages if next(store.rows(f"language = {quoted(one)}", ["id"], most=1), None)})
    view = _View.of(candidates.rows, present)
    with _Memory(candidates.rows) as index:
        rules = Rules(whole=0.0)  # only the best chunks of a file are at hand
        return ranked(index, view, question.text, candidates.rankings, None, dense_weight, rules, top)


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
    """Postings that leave nothing out: the text itself is looked at."""

    def hold_all(self, connection: sqlite3.Connection, words: object, places_C: np.ndarray) -> np.ndarray:
        """Bool (C,): all."""
        return np.ones(len(places_C), bool)


@dataclass(frozen=True)
class _View(View):
    """The candidates as the state of an index. Files of different roots differ, and know how many chunks they have in all."""

    whole: tuple[str, ...] = ()  # root and path of each candidate
    counts: tuple[int, ...] = ()  # chunks of its file
    there: Counter | None = None  # languages that the query names and the store holds

    @classmethod
    def of(cls, rows: Sequence[dict], there: Counter) -> "_View":
        """The view of some rows."""
        numbers_C, none = np.arange(len(rows)), np.zeros((len(rows), 0), np.float32)
        paths, languages, kinds, names = ([row[column] for row in rows] for column in ("path", "language", "kind", "name"))
        whole = tuple(f"{row['root']}\0{row['path']}" for row in rows)
        postings = _Any(numbers_C, np.ones(len(rows)))
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
    def sizes(self) -> np.ndarray:
        """Chunks of each file, not only those that are candidates."""
        sizes = dict(zip(self.whole, self.counts, strict=True))
        return np.array([sizes[file] for file in self._numbered], np.int64)

    @cached_property
    def language_counts(self) -> Counter:
        """The languages that the query names and the store holds."""
        return self.there or Counter()

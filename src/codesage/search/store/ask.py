"""A question to a store: candidates by words and by vectors, put in order by the rules of the local index.

LanceDB finds the candidates: the best chunks by BM25 over our words, those with the nearest vectors, and those that bear the
name that is asked for. They become a small index in memory, which search.query ranks as it ranks a local one. Two things differ
from a local index: BM25 counts words of the name as so many more words of the chunk, and with more than EXACT_UP_TO rows the
nearest vectors are those that an approximate index finds.
Shapes: C candidates, D the width of the vectors.
"""

import hashlib
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from codesage.encoder.queries import read_query
from codesage.errors import CodesageError
from codesage.languages import LANGUAGES
from codesage.records import Encoder, Hit
from codesage.search import ranking
from codesage.search.ask import Answer
from codesage.search.filters import TYPES, Filter
from codesage.search.index import Index
from codesage.search.postings import Postings
from codesage.search.query import ranked
from codesage.search.ranking import DENSE_WEIGHT, Rules
from codesage.search.remote import is_url, public
from codesage.search.store.rows import called
from codesage.search.store.table import SHOWN, Store, listed, quoted
from codesage.search.terms import query_words
from codesage.search.view import View

_DEPTH = 200  # of each ranking; search.query takes as many
_MOST = 12_800  # candidates that are looked at, where a filter that LanceDB does not know lets few pass
_BEARERS = 1_000  # chunks of one name
_TABLE = (
    "CREATE TABLE chunks (id INTEGER PRIMARY KEY, path TEXT, language TEXT, kind TEXT, name TEXT, start_line INTEGER, "
    "end_line INTEGER, text TEXT)"
)


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and what restricts it: a filter, and a condition of SQL for what LanceDB can check by itself."""

    text: str
    where: Filter
    condition: str

    def passes(self, row: dict) -> bool:
        """Whether a row passes what is not in the condition."""
        where = self.where
        return (where.globs is None or where.globs.allow(row["path"])) and (not where.patterns or where.matches(row["text"]))


def ask(
    store: Store,
    encoder: Encoder,
    text: str,
    where: Filter,
    paths: Sequence[str] = (),
    *,
    top: int = 10,
    dense_weight: float = DENSE_WEIGHT,
) -> Answer:
    """The `top` best chunks of a store, below `paths` where some are given.

    `globs` of the filter count from each root. CodesageError for an empty question, or a path that the store does not hold.
    """
    if not text.strip():
        raise CodesageError("the query is empty: say what to look for")
    below = _below(store, paths)
    question = Question(text, where, " AND ".join(filter(None, [below, *_conditions(where)])))
    found, cut = _candidates(store, encoder, question, dense_weight)
    hits = _ranked(store, question, found, dense_weight, top) if found.rows else []
    roots = store.roots()
    partial = [
        f"partial: {one.pending:,} files of {one.root} are not indexed yet; 'codesage index --store {store.address} "
        f"{one.root}' completes it"
        for one in roots
        if one.pending
    ] + cut
    stale = frozenset(_shown(row) for row in (found.rows[at] for at, _ in hits) if _changed(row))
    unused = _unused(store, where, below) if not hits else []
    return Answer(
        [replace(hit, chunk=replace(hit.chunk, path=_shown(found.rows[at]))) for at, hit in hits],
        partial,
        stale,
        sum(one.files for one in roots),
        unused,
    )


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


def _candidates(store: Store, encoder: Encoder, question: Question, dense_weight: float) -> tuple[_Candidates, list[str]]:
    """What can be among the answers, and a line where a filter was not applied to all of it."""
    found = _Candidates()
    words, name = query_words(question.text), called(ranking.asked_name(question.text))
    rows, cut = _passing(lambda depth: store.by_words(words, depth, question.condition), question)
    found.rankings = [found.places(rows)]
    if dense_weight:
        vector_D = encoder.encode([question.text], kind="text")[0]
        rows, also_cut = _passing(lambda depth: store.by_vector(vector_D, depth, question.condition), question)
        found.rankings.append(found.places(rows))
        cut |= also_cut
    if name:
        condition = " AND ".join(filter(None, [f"called = {quoted(name)} AND piece = 0", question.condition]))
        found.places([row for row in store.rows(condition, SHOWN, most=_BEARERS) if question.passes(row)])
    return found, [f"partial: -g and -e were tried on the {_MOST:,} chunks nearest to the query, not on all"] if cut else []


def _passing(fetch: Callable[[int], tuple[list[dict], bool]], question: Question) -> tuple[list[dict], bool]:
    """The best rows that pass, and whether there may be more of them than were looked at."""
    depth = _DEPTH
    while True:
        rows, are_all = fetch(depth)
        passing = [row for row in rows if question.passes(row)]
        if len(passing) >= _DEPTH or are_all or depth >= _MOST:
            return passing[:_DEPTH], len(passing) < _DEPTH and not are_all
        depth *= 4


def _ranked(store: Store, question: Question, found: _Candidates, dense_weight: float, top: int) -> list[tuple[int, Hit]]:
    languages = read_query(question.text).languages
    spoken = Counter({one: 1 for one in languages if next(store.rows(f"language = {quoted(one)}", ["id"], most=1), None)})
    view = _View.of(found.rows, spoken)
    with _Memory(found.rows) as index:
        return ranked(index, view, question.text, found.rankings, None, dense_weight, Rules(), top)


class _Memory(Index):
    """The candidates as an index in memory: what ranking reads of an index is the text of some chunks."""

    def __init__(self, rows: Sequence[dict]) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.connection.execute(_TABLE)
        columns = ("path", "language", "kind", "name", "start_line", "end_line", "text")
        values = [(at, *(row[column] for column in columns)) for at, row in enumerate(rows)]
        self.connection.executemany("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def __enter__(self) -> "_Memory":
        return self

    def __exit__(self, *error: object) -> None:
        self.connection.close()


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
    def spoken(self) -> Counter:
        """The languages that the query names and the store holds."""
        return self.there or Counter()


# ---- restrictions ----


def _conditions(where: Filter) -> list[str]:
    """What LanceDB can check of a filter."""
    types = " OR ".join(map(_of_type, where.types))
    return [f"({types})" if types else "", f"content = {quoted(where.content)}" if where.content != "all" else ""]


def _of_type(name: str) -> str:
    if name in LANGUAGES:
        return f"language = {quoted(name)}"
    return f"(ending IN ({listed(TYPES[name].split())}) AND (ending <> 'h' OR language <> 'c'))"


def _below(store: Store, paths: Sequence[str]) -> str:
    """The condition that a row lies below one of `paths`. CodesageError when no row does."""
    conditions = []
    for path in paths:
        condition = f"root = {quoted(public(path))}" if is_url(path) else _in_folder(Path(path).resolve())
        if not store.count(condition):
            raise CodesageError(f"{store.address} holds nothing of {path}: run 'codesage index --store {store.address} {path}'")
        conditions.append(condition)
    return f"({' OR '.join(conditions)})" if conditions else ""


def _in_folder(folder: Path) -> str:
    whole = folder.as_posix()
    conditions = [f"root = {quoted(whole)}", f"starts_with(root, {quoted(whole.rstrip('/') + '/')})"]
    for above in folder.parents:
        part = folder.relative_to(above).as_posix()
        conditions.append(
            f"(root = {quoted(above.as_posix())} AND (path = {quoted(part)} OR starts_with(path, {quoted(part + '/')})))"
        )
    return f"({' OR '.join(conditions)})"


def _unused(store: Store, where: Filter, below: str) -> list[str]:
    """The options of a filter, as they are typed, that no row passes; patterns for paths are not tried."""
    options = {f"-t {name}": _of_type(name) for name in where.types}
    if where.content != "all":
        options[f"--content {where.content}"] = f"content = {quoted(where.content)}"
    return [option for option, condition in options.items() if not store.count(" AND ".join(filter(None, [below, condition])))]


# ---- files of hits, where they can be seen from here ----


def _whole(row: dict) -> str:
    return row["root"] if os.path.isfile(row["root"]) else os.path.join(row["root"], row["path"])


def _shown(row: dict) -> str:
    """The path of a row's file as it opens from here, if this machine has it."""
    whole, here = _whole(row), os.path.join(os.getcwd(), "")
    return whole.removeprefix(here)


def _changed(row: dict) -> bool:
    """Whether the file of a row is here, and is gone from its root or differs from what was indexed."""
    if not os.path.exists(row["root"]):
        return False
    try:
        return hashlib.sha256(Path(_whole(row)).read_bytes()).hexdigest() != row["file"]
    except OSError:
        return True

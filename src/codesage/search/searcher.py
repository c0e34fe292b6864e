"""Search one or several places, for the command line and for Python.

In: places and a query. Out: an Answer with hits, whose paths are relative to the working folder, and notes on them. Every
index is updated first, unless the caller wants no update.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from codesage.encoder.centring import means_of_sums
from codesage.errors import CodesageError
from codesage.records import Encoder, Hit
from codesage.search.clones import Group, functions_of, grouped
from codesage.search.database import DATABASE
from codesage.search.defaults import CLONE_LINES, CLONE_SIMILARITY, DENSE_WEIGHT, MOST_DENSE_WEIGHT
from codesage.search.filters import ALL, Filter
from codesage.search.folders import default_folder, index_command
from codesage.search.index import Index
from codesage.search.places import Place
from codesage.search.query import search as search_in
from codesage.search.ranking import Rules
from codesage.search.refresh import lacking
from codesage.search.similar import nearest_to, subject_at
from codesage.walk import name_of

Refresh = Callable[[Index], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """The hits of a query, best first."""

    hits: list[Hit]  # paths as Place.shown gives them
    partial: list[str]  # what indexes lack, each with the command that completes it
    stale: frozenset[str]  # paths of hits whose file has changed since it was indexed
    files: int  # indexed, in all places
    unused_filters: list[str]  # options of the filter that no file of any place passes
    faults: list[CodesageError] = field(default_factory=list)  # of paths that could not be searched, if others could
    hidden: Sequence[str] = ()  # how many files of an index are secret by today's rules, with the command that erases them


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of functions that do the same, the closest first."""

    groups: list[Group]
    partial: list[str]  # as in Answer
    left_out: int = 0  # functions that are not compared because they are indexed in parts
    files: int = 0  # as in Answer
    unused_filters: Sequence[str] = ()  # as in Answer
    faults: list[CodesageError] = field(default_factory=list)  # as in Answer
    hidden: Sequence[str] = ()  # as in Answer


@dataclass(frozen=True, slots=True)
class Searcher:
    """Searches places with one encoder and fixed settings."""

    places: Sequence[Place]
    encoder: Encoder
    refresh: Refresh | None = None  # None: answer from what is indexed
    index_dir: Path | None = None
    faults: Sequence[CodesageError] = ()  # paths that are missing beside the places; they are among the faults of an answer
    kept: dict[Place, Index] | None = None  # indexes stay open here between questions; None: each is closed after a question

    def search(
        self, query: str, where: Filter = ALL, *, top: int = 10, dense_weight: float = DENSE_WEIGHT, weak: bool = False
    ) -> Answer:
        """The `top` best chunks of all places; `weak`: also of those where no chunk matches the query (search.floor).

        CodesageError when a place has no index and none may be made.
        """
        if not query.strip():
            raise CodesageError("the query is empty: say what to look for")
        if not 0 <= dense_weight <= MOST_DENSE_WEIGHT:
            raise CodesageError(
                f"the weight of the vectors is {dense_weight}: expected a number from 0 to {MOST_DENSE_WEIGHT:,}"
            )

        def query_index(index: Index, narrowed: Filter) -> list[Hit]:
            return search_in(
                index, self.encoder, query, top=top, where=narrowed, dense_weight=dense_weight, rules=Rules(floor=not weak)
            )

        return self._answer(query_index, where, top)

    def similar(self, file: Path, line: int, where: Filter = ALL, *, top: int = 10) -> Answer:
        """The chunks of all places most similar to the one at a line of `file`, which one of the places must hold."""
        real = file.resolve()
        holder = self._holder(real)
        if holder is None:
            raise CodesageError(f"{file} is in none of the folders that are searched: give one that holds it")
        root = holder.root.resolve()
        with self.opened(holder) as index:
            subject = subject_at(index, name_of(real, root), line, self.encoder, typed=str(file))
        means = self._means(holder)
        known = replace(self, refresh=None)  # all places were just updated
        return known._answer(
            lambda index, narrowed: nearest_to(index, subject, means=means, top=top, where=narrowed, encoder=self.encoder),
            where,
            top,
        )

    def _holder(self, real: Path) -> Place | None:
        """The innermost place whose index holds a file."""
        holders = [place for place in self.places if real.is_relative_to(place.root.resolve())]
        return max(holders, key=lambda place: len(place.root.resolve().parts), default=None)

    def _means(self, updated: Place) -> dict[str, np.ndarray] | None:
        """The mean vector of each language in all places, of which one is `updated`. None for one index: its own are taken."""
        together = self._by_index()
        if len(together) == 1:
            return None
        sums, faults = [], []  # the faults are found again by `_answer`
        for places in together:
            searcher = replace(self, refresh=None) if updated in places else self
            with collected(faults), searcher.opened(places[0]) as index:
                sums.append(index.view().language_sums)
        return means_of_sums(sums)

    def clones(self, where: Filter = ALL, *, threshold: float = CLONE_SIMILARITY, min_lines: int = CLONE_LINES) -> Groups:
        """Groups of functions that do the same, in one place or in several; the settings are those of search.clones."""
        chunks, vectors, left_out = [], [], []

        def add(index: Index, place: Place, narrowed: Filter) -> bool:
            functions = functions_of(index, where=narrowed, min_lines=min_lines)
            chunks.extend(replace(chunk, path=place.shown(chunk.path)) for chunk in functions.chunks)
            vectors.append(functions.vectors_ND)
            left_out.append(functions.left_out)
            return bool(functions.chunks)

        asked = self._asked(add, where, "functions in them are left out")
        groups = grouped(chunks, np.concatenate(vectors), threshold)
        return Groups(groups, asked.partial, sum(left_out), asked.files, asked.unused_filters, asked.faults, asked.hidden)

    def _answer(self, query_index: Callable[[Index, Filter], list[Hit]], where: Filter, top: int) -> Answer:
        lists, stale = [], set()

        def add(index: Index, place: Place, narrowed: Filter) -> bool:
            hits = query_index(index, narrowed)
            stale.update(place.shown(path) for path in changed(index, {hit.chunk.path for hit in hits}))
            lists.append([replace(hit, chunk=replace(hit.chunk, path=place.shown(hit.chunk.path))) for hit in hits])
            return bool(hits)

        asked = self._asked(add, where, "ranked by words, static vectors, and the encoder for the best")
        hits = merged(lists)[:top]
        return Answer(hits, asked.partial, frozenset(stale), asked.files, asked.unused_filters, asked.faults, asked.hidden)

    def _asked(self, add: Callable[[Index, Place, Filter], bool], where: Filter, then: str) -> "_Asked":
        """What is known of all indexes after a question to each place.

        `add` asks the index of a place with the filter narrowed to it, and says whether anything was found. `then`: what an
        incomplete index means for the answer. CodesageError when no index could be asked.
        """
        together, asked, faults, unused_filters = self._by_index(), _Asked(), [], None
        for places in together:
            parts = [(place, replace(where, below=place.below, named=place.read_by_globs())) for place in places]
            with collected(faults), self.opened(places[0]) as index:
                for place, narrowed in parts:
                    unused = set() if add(index, place, narrowed) else set(narrowed.unused(index.view()))
                    unused_filters = unused if unused_filters is None else unused_filters & unused
                asked.files += index.status().files
                asked.hidden += self._hidden(index, places[0])
                if lack := lacking(index):
                    asked.partial.append(f"{lack}: {then}; '{self._index_command(places[0])}' completes it")
        if len(faults) == len(together):
            raise faults[0]
        asked.unused_filters, asked.faults = sorted(unused_filters or ()), [*self.faults, *faults]
        return asked

    def _by_index(self) -> list[list[Place]]:
        """The places of each index, so that many files of one folder update it once."""
        by_root: dict[Path, list[Place]] = {}
        for place in self.places:
            by_root.setdefault(place.root, []).append(place)
        return list(by_root.values())

    def _index_command(self, place: Place) -> str:
        """The command that indexes a place in full."""
        return index_command(place.root, self.encoder, self.index_dir)

    def _hidden(self, index: Index, place: Place) -> list[str]:
        """A line on the files that no answer shows, if there are any."""
        if not (hidden := index.view().hidden):
            return []
        files = f"{hidden:,} {'files' if hidden > 1 else 'file'}"
        return [f"hidden, because today's rules take them for secret: {files}; '{self._index_command(place)}' erases them"]

    @contextmanager
    def opened(self, place: Place) -> Iterator[Index]:
        """The index of a place, up to date, for the block."""
        folder = self.index_dir or default_folder(place.root, self.encoder.fingerprint)
        if self.refresh is None and not (folder / DATABASE).exists():
            raise CodesageError(f"{place.root} has no index of this model in {folder}: run '{self._index_command(place)}'")
        index = self.kept.get(place) if self.kept is not None else None
        if index is not None and not index.is_current:
            index.close()
            index = None
        upgrade = self.refresh is not None
        index = index or Index.open(place.root, folder=self.index_dir, encoder=self.encoder, upgrade=upgrade)
        if self.kept is not None:
            self.kept[place] = index
        try:
            if self.refresh is not None:
                self.refresh(index)
            yield index
        finally:
            if self.kept is None:
                index.close()


@dataclass(slots=True)
class _Asked:
    """What answers and groups say of the indexes, see Answer."""

    partial: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    files: int = 0
    unused_filters: list[str] = field(default_factory=list)
    faults: list[CodesageError] = field(default_factory=list)


@contextmanager
def collected(faults: list[CodesageError]) -> Iterator[None]:
    """Add an error of the block to `faults`, so that one damaged index does not stop the work on others."""
    try:
        yield
    except CodesageError as error:
        faults.append(error)


_TOLERANCE = 0.05  # of cosines: what a place falls behind by this much counts 1/e; chosen, not compared


def merged(lists: Sequence[list[Hit]]) -> list[Hit]:
    """Join the hits of several places. Scores of a place count less if its nearest hit is further from the query.

    Hits that hold the query, or what it quotes, come first.
    """
    if len(lists) == 1:
        return lists[0]
    nearest = [max((hit.similarity for hit in hits), default=-1.0) for hits in lists]
    shares = np.exp((np.array(nearest) - max(nearest)) / _TOLERANCE).tolist()
    scaled = [replace(hit, score=hit.score * share) for hits, share in zip(lists, shares, strict=True) for hit in hits]
    return sorted(scaled, key=lambda hit: (not hit.parts.get("literal"), -hit.score))


def changed(index: Index, paths: set[str]) -> set[str]:
    """Those of `paths` whose files are gone, or of another size or time than when they were indexed."""
    root = index.root
    stale = set()
    for path in paths:
        row = index.connection.execute("SELECT stamp FROM files WHERE path = ?", (path,)).fetchone()
        try:
            status = os.stat(openable(str(root if root.is_file() else root / path)))
        except OSError:
            stale.add(path)
            continue
        if row and not row[0].startswith(f"{status.st_size}:{status.st_mtime_ns}:"):
            stale.add(path)
    return stale


_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


def openable(path: str) -> str:
    r"""The name on disk of a path whose bytes are not UTF-8 (it is indexed as `caf\xe9`), else the path itself."""
    if "\\x" not in path or os.path.lexists(path):
        return path
    raw = _ESCAPED.sub(lambda byte: bytes.fromhex(byte[1].decode()), os.fsencode(path))
    return os.fsdecode(raw) if os.path.lexists(raw) else path

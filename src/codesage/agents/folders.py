"""The folders that an agent may search, and answers from them.

In: allowed roots, questions. Out: hits, and how complete the index was. Indexes are updated in the background. A query waits a
few seconds for the update; after that it is answered from what is indexed so far, and the answer says so. A path outside the
roots is refused, and so is a link that leads out of them. A repository inside a root has an index of its own. A question
without a path is answered from all roots.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from codesage.encoder.centring import means_of_sums
from codesage.errors import CodesageError
from codesage.records import Encoder, Hit
from codesage.search.database import Busy
from codesage.search.files import IN_PART, NESTED
from codesage.search.filters import filter_of, is_below
from codesage.search.folders import default_folder
from codesage.search.index import Index, Status
from codesage.search.maps import points_of
from codesage.search.places import Place, clones_below, innermost_repository
from codesage.search.query import search as search_in
from codesage.search.searcher import merged
from codesage.search.similar import nearest_to, subject_at

_SHORT = 2.0  # seconds that a question waits for the encoder at most
_READERS = 2  # indexes whose files are read at a time; one is encoded


@dataclass(frozen=True, slots=True)
class Answer:
    """Hits in one root, with paths below it, and the state of its indexes. Without a root, paths are absolute."""

    root: str
    hits: list[Hit]
    files: int  # indexed
    partial: str = ""  # why the index may lack files; "": it lacks none
    unused: tuple[str, ...] = ()  # filters that no indexed file passes, if there are no hits


@dataclass(frozen=True, slots=True)
class _Part:
    """A place that is searched in a root."""

    root: Path
    place: Place  # what it shows is below the root
    absolute: bool  # show absolute paths, as several roots are searched

    def shown(self, path: str) -> str:
        """A path of the index as the answer gives it."""
        below = self.place.shown(path)
        return os.path.join(self.root, below) if self.absolute else below


_Question = Callable[[Index, Place], list[Hit]]


@dataclass(slots=True)
class _Upkeep:
    """The indexing of one root or repository, in a thread of its own."""

    running: threading.Thread | None = None
    ended: float = 0.0  # time.monotonic() of the last end
    done: int = 0  # files read
    total: int = 0
    read: threading.Event = field(default_factory=threading.Event)  # all files are read: questions need not wait
    failed: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Searched(Protocol):
    """What servers search: folders or a store. `roots` are shown to users."""

    @property
    def roots(self) -> Sequence[object]:
        """The folders, or the address of a store."""
        ...

    def search(self, query: str, *, path: str = "", language: str = "", glob: str = "", top: int = 10) -> Answer:
        """See Folders."""
        ...

    def similar(self, path: str, line: int, *, top: int = 10) -> Answer:
        """See Folders."""
        ...

    def status(self) -> list[tuple[Status, str]]:
        """See Folders."""
        ...

    def map(self, most: int) -> dict:
        """See Folders."""
        ...


class Folders:
    """Allowed roots. Methods may be called from several threads."""

    def __init__(
        self,
        roots: Sequence[Path],
        load: Callable[[], Encoder],
        *,
        index_dir: Path | None = None,
        patience: float = 15.0,
        fresh: float = 2.0,
    ) -> None:
        """`load()` gives the encoder when it is first needed. CodesageError when a root is missing or two share `index_dir`.

        A query waits up to `patience` seconds for the index. It looks for changed files if the last look is at least `fresh`
        seconds ago.
        """
        missing = [root for root in roots if not root.is_dir()]
        if missing or not roots:
            raise CodesageError(f"{missing[0] if missing else 'no root'}: no such folder: give folders that exist")
        if index_dir is not None and len(roots) > 1:
            raise CodesageError("--index-dir holds the index of one root: leave it out, or give one root")
        self.roots = tuple(dict.fromkeys(root.resolve() for root in roots))
        self._load, self._index_dir, self._patience, self._fresh = load, index_dir, patience, fresh
        self._encoder: Encoder | None = None
        self._loading = threading.Lock()
        self._upkeep: dict[Path, _Upkeep] = {}
        self._readers, self._encoders = threading.Semaphore(_READERS), threading.Semaphore(1)

    def search(self, query: str, *, path: str = "", language: str = "", glob: str = "", top: int = 10) -> Answer:
        """The best chunks for `query` below `path` ("": in all roots). CodesageError for a path outside the roots.

        The repositories in a folder of clones are searched too. `glob` counts from each root.
        """
        if not query.strip():
            raise CodesageError("the query is empty: say what to look for")
        where = filter_of([language] if language else [], [glob] if glob else [])
        parts = self._below(path) if path else self._everywhere()

        unused: list[set[str]] = []  # filters, of each place

        def ask(index: Index, place: Place) -> list[Hit]:
            narrowed = replace(where, below=place.below, named=place.shown)
            hits = search_in(index, self.encoder(), query, top=top, where=narrowed)
            unused.append(set() if hits else set(narrowed.unused(index.view())))
            return hits

        answer = self._answer(parts, ask, top)
        return replace(answer, unused=without_dashes(set.intersection(*unused)))

    def similar(self, path: str, line: int, *, top: int = 10) -> Answer:
        """The chunks of all roots most similar to the one at `line` of the file `path`."""
        _, real = self._located(path)
        if not real.is_file():
            raise CodesageError(f"{path} is not a file: give a file and a line")
        parts = self._everywhere()
        root = _innermost(real, [part.root for part in parts])
        holder = self._places(root, real)[0]
        if all(part.place.root != holder.root for part in parts):  # a repository inside of another one
            parts.append(_Part(root, Place(holder.root, "", _shown(holder.root, root)), parts[0].absolute))
            self._refreshed([holder.root])
        with closing(self.opened(holder.root)) as index:
            subject = subject_at(index, holder.below, line, self.encoder())
        means = self._means(parts)

        def ask(index: Index, place: Place) -> list[Hit]:
            return nearest_to(index, subject, means=means, top=top, encoder=self.encoder())

        return self._answer(parts, ask, top)

    def status(self) -> list[tuple[Status, str]]:
        """Of each root, and of each repository in a folder of clones: what its index holds, and why it may lack files.

        The reason is "" if it lacks none.
        """
        indexed = list(dict.fromkeys(place.root for root in self.roots for place in self._places(root, root)))
        self._refreshed(indexed)
        statuses = []
        for root in indexed:
            with closing(self.opened(root)) as index:
                statuses.append((index.status(), self._lack([root])))
        return statuses

    def map(self, most: int) -> dict:
        """The roots, and points for up to `most` functions of all of them, see search.maps."""
        parts = self._everywhere()
        with ExitStack() as opened:
            indexes = [(opened.enter_context(closing(self.opened(part.place.root))), part.shown) for part in parts]
            points = points_of(indexes, means=self._means(parts), most=most)
        return {"roots": list(map(str, self.roots)), "points": points}

    def _below(self, path: str) -> list[_Part]:
        """The places of a file or folder, brought up to date."""
        root, real = self._located(path)
        parts = [_Part(root, place, absolute=False) for place in self._places(root, real)]
        self._refreshed([part.place.root for part in parts])
        return parts

    def _everywhere(self) -> list[_Part]:
        """The places of all roots, each index once, brought up to date.

        A root inside another one is left out if the index of the outer one has its files.
        """
        outer_first = sorted(self.roots, key=lambda root: len(root.parts))
        parts = [_Part(root, place, len(self.roots) > 1) for root in outer_first for place in self._places(root, root)]
        by_index = {part.place.root: part for part in parts}
        self._refreshed(list(by_index))
        return [part for part in by_index.values() if not self._is_held(part.root)]

    def _is_held(self, root: Path) -> bool:
        """Whether the index of another root has the files of a root."""
        for outer in self.roots:
            if root != outer and root.is_relative_to(outer) and innermost_repository(root, outer) == outer:
                with closing(self.opened(outer)) as index:
                    if _has_files(index, _shown(root, outer)):
                        return True
        return False

    def _located(self, path: str) -> tuple[Path, Path]:
        """The innermost root that holds `path`, and its real path. CodesageError when none does."""
        missing = False
        try:
            given = Path(path).expanduser()
            for start in [given] if given.is_absolute() else [root / given for root in self.roots]:
                real = start.resolve()
                if any(real.is_relative_to(root) for root in self.roots):
                    if real.exists():
                        return _innermost(real, self.roots), real
                    missing = True
        except (OSError, RuntimeError, ValueError):  # a name that is too long, of no user, or with a null byte
            pass
        allowed = ", ".join(map(str, self.roots))
        named = path if path.isprintable() else ascii(path)
        if missing:
            raise CodesageError(f"{named}: no such file or folder: give a path that exists below {allowed}")
        raise CodesageError(f"{named} is not in a folder that may be searched: expected a path below {allowed}")

    def _places(self, root: Path, real: Path) -> list[Place]:
        """The parts of indexes that hold a file or folder, that of the folder itself first. What they show is below `root`.

        A repository inside the root has an index of its own. So have the clones in a folder of clones. With `index_dir` there
        is one index.
        """
        if self._index_dir is not None:
            return [Place(root, _shown(real, root), _shown(real, root))]
        repository = innermost_repository(real, root)
        clones = [Place(clone, "", _shown(clone, root)) for clone in clones_below(real)]
        return [Place(repository, _shown(real, repository), _shown(real, root)), *clones]

    def _means(self, parts: Sequence[_Part]) -> dict[str, np.ndarray] | None:
        """The mean vector of each language in all places, None for one place: its own are taken."""
        if len(parts) == 1:
            return None
        sums = []
        for part in parts:
            with closing(self.opened(part.place.root)) as index:
                sums.append(index.view().language_sums)
        return means_of_sums(sums)

    def encoder(self) -> Encoder:
        """The encoder, loaded once."""
        with self._loading:
            if self._encoder is None:
                self._encoder = self._load()
            return self._encoder

    def _answer(self, parts: Sequence[_Part], ask: _Question, top: int) -> Answer:
        """The best hits of all places."""
        lack, lists, files, left_out = self._lack([part.place.root for part in parts]), [], 0, []
        for part in parts:
            with closing(self.opened(part.place.root)) as index:
                hits = ask(index, part.place)
                lists.append([replace(hit, chunk=replace(hit.chunk, path=part.shown(hit.chunk.path))) for hit in hits])
                files += index.status().files
                left_out.append("" if lack else _left_out(index, part, parts))
        root = "" if parts[0].absolute else str(parts[0].root)
        return Answer(root, merged(lists)[:top], files, "; ".join(filter(None, [lack, *left_out])))

    def opened(self, root: Path) -> Index:
        """The index of a root, for one thread; close its connection."""
        encoder = self.encoder()
        return Index.open(root, folder=self._index_dir or default_folder(root, encoder.fingerprint), encoder=encoder)

    def _refreshed(self, roots: Sequence[Path]) -> None:
        """Wait for the indexes, up to `patience` seconds."""
        until = time.monotonic() + self._patience
        whole_until = until - max(0.0, self._patience - _SHORT)
        updates = [(upkeep, self._started(root, upkeep)) for root, upkeep in zip(roots, self._upkeeps(roots), strict=True)]
        for _, running in updates:
            if running is not None:
                running.join(max(0.0, whole_until - time.monotonic()))
        for upkeep, running in updates:
            if running is not None and running.is_alive():
                upkeep.read.wait(max(0.0, until - time.monotonic()))

    def _upkeeps(self, roots: Sequence[Path]) -> list[_Upkeep]:
        return [self._upkeep.setdefault(root, _Upkeep()) for root in roots]

    def _started(self, root: Path, upkeep: _Upkeep) -> threading.Thread | None:
        """The update of an index, which is started if the last look at the files is old. None if there is nothing to do."""
        with upkeep.lock:
            if upkeep.running is None and time.monotonic() - upkeep.ended > self._fresh:
                upkeep.failed, upkeep.done, upkeep.total = "", 0, 0
                upkeep.read.clear()
                upkeep.running = threading.Thread(target=self._update, args=(root, upkeep), daemon=True)
                upkeep.running.start()
            return upkeep.running

    def _lack(self, roots: Sequence[Path]) -> str:
        """Why the indexes may lack files, "" if they lack none."""
        upkeeps = self._upkeeps(roots)
        if failures := [upkeep.failed for upkeep in upkeeps if upkeep.failed]:
            return "; ".join(dict.fromkeys(failures))
        running = [upkeep for upkeep in upkeeps if upkeep.running is not None]
        reading = [upkeep for upkeep in running if not upkeep.read.is_set()]
        if reading:
            done, total = sum(upkeep.done for upkeep in reading), sum(upkeep.total for upkeep in reading)
            counted = f": {done:,} of {total:,} files" if all(upkeep.total for upkeep in reading) else ""
            return f"indexing is under way{counted}, ask again later for all"
        return "not all code is encoded yet: ranked by words, static vectors, and the encoder for the best" if running else ""

    def _update(self, root: Path, upkeep: _Upkeep) -> None:
        def on_progress(done: int, total: int) -> None:
            upkeep.done, upkeep.total = done, total

        def on_encoding(done: int, total: int) -> None:
            upkeep.read.set()

        try:
            with closing(self.opened(root)) as index:
                with self._readers:
                    index.update(self.encoder(), progress=on_progress, encoding=on_encoding, seconds=0.0)
                if index.unencoded:
                    with self._encoders:
                        index.update(self.encoder(), encoding=on_encoding)
        except Busy:
            upkeep.failed = "another process is indexing this folder, ask again later for all files"
        except Exception as error:
            upkeep.failed = f"the index could not be brought up to date: {error}"
            if not isinstance(error, CodesageError):
                raise
        finally:
            with upkeep.lock:
                upkeep.running, upkeep.ended = None, time.monotonic()
            upkeep.read.set()


def _shown(path: Path, above: Path) -> str:
    """A path relative to a folder that holds it, "" for the folder itself."""
    return "" if path == above else path.relative_to(above).as_posix()


def without_dashes(options: Iterable[str]) -> tuple[str, ...]:
    """Filters as agents and the page give them, from options of the command line: `glob *.py` for `-g *.py`."""
    names = {"-g": "glob", "-t": "language"}
    parted = (option.partition(" ") for option in sorted(options))
    return tuple(f"{names.get(option, option)} {value}" for option, _, value in parted)


def _innermost(real: Path, roots: Iterable[Path]) -> Path:
    """The innermost of the roots that hold a path."""
    return max((root for root in roots if real.is_relative_to(root)), key=lambda root: len(root.parts))


def _left_out(index: Index, part: _Part, searched: Sequence[_Part]) -> str:
    """What of a place its index leaves out without a trace in the answer; "" for nothing.

    These are repositories in it that are not among the places `searched`, and a path that is not indexed.
    """
    own, below = {other.place.root for other in searched}, part.place.below
    skipped = index.connection.execute("SELECT path, reason FROM files WHERE reason != '' ORDER BY path").fetchall()
    reasons = {path: reason for path, reason in skipped if is_below(path, below)}
    nested = [path for path, reason in reasons.items() if reason in NESTED and index.root / path not in own]
    if nested:
        named = ", ".join(map(part.shown, nested[:3])) + (", ..." if len(nested) > 3 else "")
        return f"nested repositories are not part of it ({len(nested):,}), give one as path to search it: {named}"
    if not below or _has_files(index, below):
        return ""
    reason = f" ({reasons[below]})" if below in reasons else ": git ignores it, or it holds no files"
    return f"{part.shown(below)} is not indexed{reason}"


def _has_files(index: Index, below: str) -> bool:
    """Whether an index holds text of a file, or files of a folder."""
    condition = f"(path = ? AND (reason = '' OR reason LIKE '%{IN_PART}')) OR (path > ? AND path < ?)"
    values = (below, f"{below}/", f"{below}0")
    return index.connection.execute(f"SELECT 1 FROM files WHERE {condition} LIMIT 1", values).fetchone() is not None

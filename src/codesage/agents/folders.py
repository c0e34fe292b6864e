"""The folders that an agent may search, and answers from them.

In: allowed roots, questions. Out: hits, and how complete the index was. Indexes are updated in the background. A query waits a
few seconds for the update; after that it is answered from what is indexed so far, and the answer says so. A path outside the
roots is refused, and so is a link that leads out of them.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from codesage.errors import CodesageError
from codesage.records import Encoder, Hit
from codesage.search.database import Busy
from codesage.search.filters import filter_of
from codesage.search.folders import default_folder
from codesage.search.index import Index, Status
from codesage.search.maps import map_of
from codesage.search.query import search as search_in
from codesage.search.similar import similar

_SHORT = 2.0  # seconds that a question waits for the encoder at most


@dataclass(frozen=True, slots=True)
class Answer:
    """Hits in one root, with paths below it, and the state of its index. Without a root, paths are absolute."""

    root: str
    hits: list[Hit]
    files: int  # indexed
    partial: str = ""  # why the index may lack files; "": it lacks none


@dataclass(slots=True)
class _Upkeep:
    """The indexing of one root, in a thread of its own."""

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
            raise CodesageError(f"{missing[0] if missing else 'no root'}: no such folder: give folders that exist with --root")
        if index_dir is not None and len(roots) > 1:
            raise CodesageError("--index-dir holds the index of one root: leave it out, or give one --root")
        self.roots = tuple(dict.fromkeys(root.resolve() for root in roots))
        self._load, self._index_dir, self._patience, self._fresh = load, index_dir, patience, fresh
        self._encoder: Encoder | None = None
        self._loading = threading.Lock()
        self._upkeep = {root: _Upkeep() for root in self.roots}

    def search(self, query: str, *, path: str = "", language: str = "", glob: str = "", top: int = 10) -> Answer:
        """The best chunks for `query` below `path` ("": the first root). CodesageError for a path outside the roots."""
        if not query.strip():
            raise CodesageError("the query is empty: say what to look for")
        root, below = self.locate(path)
        where = filter_of([language] if language else [], [glob] if glob else [], below=below)
        return self._answer(root, lambda index: search_in(index, self.encoder(), query, top=top, where=where))

    def similar(self, path: str, line: int, *, top: int = 10) -> Answer:
        """The chunks most similar to the one at `line` of the file `path`."""
        root, below = self.locate(path)
        if not below or not (root / below).is_file():
            raise CodesageError(f"{path} is not a file: give a file and a line")
        return self._answer(root, lambda index: similar(index, below, line, top=top, encoder=self.encoder()))

    def status(self) -> list[tuple[Status, str]]:
        """Of each root: what its index holds, and why it may lack files ("": it lacks none)."""
        statuses = []
        for root in self.roots:
            partial = self._refreshed(root)
            index = self.opened(root)
            statuses.append((index.status(), partial))
            index.connection.close()
        return statuses

    def map(self, most: int) -> dict:
        """Points for up to `most` functions of the first root, see search.maps."""
        index = self.opened(self.roots[0])
        try:
            return map_of(index, most=most)
        finally:
            index.connection.close()

    def locate(self, path: str) -> tuple[Path, str]:
        """The root that holds `path`, and the path below it, "" for the root itself. CodesageError when none does."""
        if not path:
            return self.roots[0], ""
        given = Path(path).expanduser()
        for start in [given] if given.is_absolute() else [root / given for root in self.roots]:
            real = start.resolve()
            for root in self.roots:
                if real.exists() and real.is_relative_to(root):
                    below = real.relative_to(root).as_posix()
                    return root, "" if below == "." else below
        allowed = ", ".join(map(str, self.roots))
        raise CodesageError(f"{path} is not in a folder that may be searched: expected a path below {allowed}")

    def encoder(self) -> Encoder:
        """The encoder, loaded once."""
        with self._loading:
            if self._encoder is None:
                self._encoder = self._load()
            return self._encoder

    def _answer(self, root: Path, ask: Callable[[Index], list[Hit]]) -> Answer:
        partial = self._refreshed(root)
        index = self.opened(root)
        try:
            return Answer(str(root), ask(index), index.status().files, partial)
        finally:
            index.connection.close()

    def opened(self, root: Path) -> Index:
        """The index of a root, for one thread; close its connection."""
        encoder = self.encoder()
        return Index.open(root, folder=self._index_dir or default_folder(root, encoder.fingerprint), encoder=encoder)

    def _refreshed(self, root: Path) -> str:
        """Wait for the index, up to `patience` seconds; returns why it may lack files."""
        upkeep = self._upkeep[root]
        with upkeep.lock:
            if upkeep.running is None and time.monotonic() - upkeep.ended > self._fresh:
                upkeep.failed = ""
                upkeep.read.clear()
                upkeep.running = threading.Thread(target=self._update, args=(root, upkeep), daemon=True)
                upkeep.running.start()
            running = upkeep.running
        if running is not None:
            running.join(min(self._patience, _SHORT))
            if running.is_alive():
                upkeep.read.wait(max(0.0, self._patience - _SHORT))
        if upkeep.failed:
            return upkeep.failed
        if running is not None and running.is_alive():
            if upkeep.read.is_set():
                return "not all code is encoded yet: ranked by words, static vectors, and the encoder for the best"
            counted = f": {upkeep.done:,} of {upkeep.total:,} files" if upkeep.total else ""
            return f"indexing is under way{counted}, ask again later for all"
        return ""

    def _update(self, root: Path, upkeep: _Upkeep) -> None:
        def on_progress(done: int, total: int) -> None:
            upkeep.done, upkeep.total = done, total

        try:
            index = self.opened(root)
            try:
                index.update(self.encoder(), progress=on_progress, encoding=lambda done, total: upkeep.read.set())
            finally:
                index.connection.close()
        except Busy:
            upkeep.failed = "another process is indexing this folder, ask again later for all files"
        except CodesageError as error:
            upkeep.failed = f"the index could not be brought up to date: {error}"
        finally:
            with upkeep.lock:
                upkeep.running, upkeep.ended = None, time.monotonic()
            upkeep.read.set()

"""Answers from a store for agents and the server, with the methods of Folders.

In: the address of a store, and queries. Out: answers with absolute paths. Everything in the store can be searched, even if its
files are not on this machine.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from codesage.agents.folders import Answer, without_dashes
from codesage.errors import CodesageError
from codesage.records import Encoder
from codesage.search.filters import filter_of
from codesage.search.index import Status
from codesage.search.searcher import Answer as FoundAnswer
from codesage.search.store.commands import require_extra
from codesage.search.store.query import search
from codesage.search.store.similar import similar
from codesage.search.store.table import Store


class StoreFolders:
    """The roots of a store. Methods may be called from several threads."""

    def __init__(self, address: str, load: Callable[[], Encoder], *, fresh: float = 2.0) -> None:
        """`load()` gives the encoder when it is first needed. CodesageError when there is no such store.

        A query looks for a newer state of the store if the last look is at least `fresh` seconds ago.
        """
        require_extra()
        self._address, self._load, self._fresh = address, load, fresh
        self._encoder: Encoder | None = None
        self._lock = threading.Lock()
        self._store, self._opened = Store.open(address, None), time.monotonic()

    @property
    def roots(self) -> Sequence[str]:
        """The address."""
        return (self._address,)

    def search(self, query: str, *, path: str = "", language: str = "", glob: str = "", top: int = 10) -> Answer:
        """The best chunks for `query` below `path` ("": everywhere). CodesageError when the store has nothing of it."""
        where = filter_of([language] if language else [], [glob] if glob else [])
        store, encoder = self._current()
        return _of(search(store, encoder, query, where, [path] if path else [], top=top))

    def similar(self, path: str, line: int, *, top: int = 10) -> Answer:
        """The chunks most similar to the one at `line` of the file `path`."""
        return _of(similar(self._current()[0], path, line, filter_of(), top=top))

    def status(self) -> list[tuple[Status, str]]:
        """Of each root: what the store holds, and why it may lack files ("": it lacks none)."""
        store, _ = self._current()
        return [
            (
                Status(one.root, self._address, store.model, one.files, store.chunks_of(one.root), one.skipped, 0, one.in_part),
                f"{one.pending:,} files are not indexed yet" if one.pending else "",
            )
            for one in store.roots()
        ]

    def map(self, most: int) -> dict:
        """There is none."""
        raise CodesageError("the map is of a local index: leave out --store to see it")

    def _current(self) -> tuple[Store, Encoder]:
        """The store as it is now, and the encoder, loaded once. CodesageError when the store is of another model."""
        with self._lock:
            if self._encoder is None:
                self._encoder = self._load()
                self._opened = 0.0
            if time.monotonic() - self._opened > self._fresh:
                self._store, self._opened = self._store.renewed(self._encoder), time.monotonic()
            return self._store, self._encoder


def _of(answer: FoundAnswer) -> Answer:
    hits = [replace(hit, chunk=replace(hit.chunk, path=_whole(hit.chunk.path))) for hit in answer.hits]
    return Answer("", hits, answer.files, "; ".join(answer.partial), without_dashes(answer.unused_filters))


def _whole(path: str) -> str:
    return path if "://" in path or os.path.isabs(path) else str(Path.cwd() / path)

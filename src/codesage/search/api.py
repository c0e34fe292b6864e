"""Search from Python: `codesage.search`, `codesage.similar` and `codesage.Index`.

In: questions and paths. Out: lists of Hits, best first. Their paths are relative to the working folder. Missing indexes are
built in the user's cache. Nothing is printed.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from codesage.encoder import runtime
from codesage.encoder.runtime import Embedder
from codesage.errors import CodesageError
from codesage.records import Hit
from codesage.search.database import Busy, Unwritable
from codesage.search.defaults import DENSE_WEIGHT
from codesage.search.filters import filter_of
from codesage.search.index import Index as Store
from codesage.search.index import Status
from codesage.search.places import place_in, places_of
from codesage.search.refresh import SECONDS
from codesage.search.searcher import Answer, Searcher, collected

Paths = Path | str | Sequence[Path | str]
Model = Embedder | Path | str | None


class Index:
    """The indexes of one or several paths, kept open for many questions. For one thread; use `with`, or `close` it.

    `path`: a folder or file, or several. `model`: a loaded one, its folder, or None for the bundled one. `index_dir`: where the
    index of a single path lives, None for the user's cache. CodesageError when a path is missing or an index is damaged.
    """

    def __init__(self, path: Paths = ".", *, model: Model = None, index_dir: Path | str | None = None) -> None:
        encoder = model if model is not None and not isinstance(model, (str, Path)) else _loaded(model)
        folder = None if index_dir is None else Path(index_dir)
        paths = [path] if isinstance(path, (str, Path)) else list(path)
        self._searcher = Searcher(places_of(paths, encoder, index_dir=folder), encoder, index_dir=folder, kept={})

    def update(self) -> None:
        """Read what is new or changed, and encode all of it.

        If another process is updating the index, use what it has written so far; if that is nothing, wait.
        """
        searcher = replace(self._searcher, refresh=lambda index: self._refresh(index, None))
        faults: list[CodesageError] = []
        for place in searcher.places:
            with collected(faults), searcher.opened(place):
                pass
        if faults:
            raise faults[0]

    def search(
        self,
        query: str,
        *,
        top: int = 10,
        update: bool = True,
        dense_weight: float = DENSE_WEIGHT,
        weak: bool = False,
        **only: Any,
    ) -> list[Hit]:
        """The `top` best chunks for `query`, in plain words or code.

        `update`: look for changes first. `weak`: answer also when no code matches the query. `only` restricts, before the best
        are chosen: types=["py"], globs=["src/**"], content="code", patterns=[regular expressions]; a string alone is one of
        these. Of a query, the first 10,000 characters count. CodesageError for an empty query or an invalid filter.
        """
        searcher = self._searcher_for(update)
        return _hits(searcher.search(query, filter_of(**only), top=top, dense_weight=dense_weight, weak=weak))

    def similar(self, place: str, *, top: int = 10, update: bool = True, **only: Any) -> list[Hit]:
        """The `top` chunks most similar to the code at "FILE:LINE", in any language. `update` and `only` as in `search`."""
        file, line = place_in(place)
        return _hits(self._searcher_for(update).similar(file, line, filter_of(**only), top=top))

    def status(self) -> list[Status]:
        """What the index of each path holds."""
        statuses = []
        for place in self._searcher.places:
            with self._searcher.opened(place) as index:
                statuses.append(index.status())
        return statuses

    def close(self) -> None:
        """Close the indexes."""
        kept = self._searcher.kept or {}
        for index in kept.values():
            index.close()
        kept.clear()

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def _searcher_for(self, update: bool) -> Searcher:
        return replace(self._searcher, refresh=self._refresh if update else None)

    def _refresh(self, index: Store, seconds: float | None = SECONDS) -> None:
        while True:
            try:
                index.update(self._searcher.encoder, seconds=seconds)
                return
            except Unwritable:
                if seconds is None or not index.status().files:
                    raise
                return
            except Busy:
                if index.status().files:
                    return
            index.wait()


def search(
    query: str, path: Paths = ".", *, model: Model = None, index_dir: Path | str | None = None, **options: Any
) -> list[Hit]:
    """The best chunks for `query` under `path`, a folder, file or several. `options` are those of `Index.search`."""
    with Index(path, model=model, index_dir=index_dir) as index:
        return index.search(query, **options)


def similar(
    place: str, path: Paths = ".", *, model: Model = None, index_dir: Path | str | None = None, **options: Any
) -> list[Hit]:
    """The chunks under `path` most similar to the code at "FILE:LINE". `options` are those of `Index.similar`."""
    with Index(path, model=model, index_dir=index_dir) as index:
        return index.similar(place, **options)


def _hits(answer: Answer) -> list[Hit]:
    """The hits of an answer from all places. CodesageError when one of them could not be searched."""
    if answer.faults:
        raise answer.faults[0]
    return answer.hits


@lru_cache(maxsize=2)
def _loaded(model: Path | str | None) -> Embedder:
    return runtime.load(model)

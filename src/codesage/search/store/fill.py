"""Fill a store: files of several roots in, commits out.

A run looks at every file of its roots, adds the rows of files that are new or changed, and deletes those of files that are
gone. Rows are committed some thousand at a time. After a killed run, the next one continues from the last commit: files whose
hash is in the table are read, but neither cut nor encoded. One process at a time writes a store; readers are not blocked.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pyarrow as pa

from codesage.records import Encoder
from codesage.search.files import files_of, require_readable
from codesage.search.kinds import kind_of, kinds_of, order_of
from codesage.search.places import places_of
from codesage.search.remote import cloned, is_url, public
from codesage.search.store.address import one_writer
from codesage.search.store.engines import Engine
from codesage.search.store.rows import Done, Unit
from codesage.search.store.table import Root, Store
from codesage.walk import name_of

_FILES, _BYTES = 16, 250_000  # of a unit, at most: some seconds of one processor
_ROWS, _SECONDS = 8_192, 30.0  # until the next commit

Progress = Callable[[int, int], None]  # files done, of how many


def roots_of(paths: Sequence[str], encoder: Encoder) -> dict[str, Path]:
    """The folders and files that are meant, by the names that a store gives them: real path, or address of a repository."""
    places = [place.root.resolve() for place in places_of(paths, encoder, separate=True)]
    clones = {cloned(path).resolve(): public(path) for path in paths if is_url(path)}
    return {clones.get(root, root.as_posix()): root for root in places}


def fill(
    address: str,
    roots: dict[str, Path],
    encoder: Encoder,
    engine: Engine,
    *,
    rebuild: bool = False,
    progress: Progress = lambda done, total: None,
) -> list[Root]:
    """Bring `roots` up to date in the store of an address; returns what the store now says of them.

    CodesageError when the store cannot be written, belongs to another model or version, or another process is writing it.
    """
    with one_writer(address) as check, engine:
        store = Store.open(address, encoder, create=True, rebuild=rebuild)
        run = _Run(store, check, progress)
        units = [unit for name, root in roots.items() for unit in run.begin(name, root)]
        if units:
            for done in engine.map(units, store):
                run.take(done)
        run.end()
        return [root for root in store.roots() if root.root in roots]


@dataclass
class _Run:
    """What a run has seen and has not committed yet."""

    store: Store
    check: Callable[[], None]  # raises when another process has taken the right to write
    progress: Progress
    name: str = field(default_factory=lambda: uuid4().hex[:8])
    known: dict[str, dict[str, str]] = field(default_factory=dict)  # by root, what the table held before
    total: dict[str, int] = field(default_factory=dict)  # files of each root
    left: dict[str, int] = field(default_factory=dict)  # of these, in the table and not looked at yet
    counts: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))  # by root, files by reason
    kinds: dict[str, dict[str, str]] = field(default_factory=dict)  # by root, of files whose kind depends on others
    there: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # by root, files with text
    waiting: list[Done] = field(default_factory=list)
    committed: float = field(default_factory=time.monotonic)

    def begin(self, name: str, root: Path) -> list[Unit]:
        """The units of a root, the most important files first. CodesageError when the root cannot be read."""
        require_readable(root)
        self.known[name] = known = self.store.known(name)
        files = [(str(path), name_of(path, root)) for path in files_of(root)]
        files.sort(key=lambda one: (order_of(kind_of(one[1])), one[1]))
        self.total[name], self.left[name] = len(files), sum(bool(known.get(short)) for _, short in files)
        self.kinds[name] = _kinds([short for _, short in files])
        self.store.note(self._state(name))
        some = [(path, short, known.get(short, "")) for path, short in files]
        return [Unit(name, self.name, tuple(part)) for part in _parts(some)]

    def take(self, done: Done) -> None:
        """Keep what was done, and commit when it is much or old."""
        self.waiting.append(done)
        late = time.monotonic() - self.committed > _SECONDS
        if late or sum(len(one.rows) for one in self.waiting) >= _ROWS:
            self.commit()

    def commit(self) -> None:
        """Add the new rows of what was done, then delete older ones of the same files."""
        self.check()
        rows = [one.rows for one in self.waiting if len(one.rows)]
        if rows:
            self.store.add(pa.concat_tables(rows))
        for one in self.waiting:
            self.left[one.root] -= sum(bool(self.known[one.root].get(name)) for name in one.reasons)
            self.counts[one.root].update(one.reasons.values())
            self.there[one.root].update(one.there)
        for root in {one.root for one in self.waiting}:
            fresh = [name for one in self.waiting if one.root == root for name in one.fresh]
            self.store.forget(root, [name for name in fresh if name in self.known[root]], but=self.name)
        self.store.note(*(self._state(root) for root in self.total))
        self.waiting, self.committed = [], time.monotonic()
        self.progress(sum(counts.total() for counts in self.counts.values()), sum(self.total.values()))

    def end(self) -> None:
        """Commit the rest, and forget files that are gone."""
        self.commit()
        for root, known in self.known.items():
            self.store.forget(root, sorted(known.keys() - self.there[root]))
            self.kinds[root] = _kinds(sorted(self.there[root]))
        self.store.note(*map(self._state, self.total))
        self.check()
        self.store.finish()

    def _state(self, root: str) -> Root:
        reached = self.counts[root].total()
        reasons = {reason: count for reason, count in self.counts[root].items() if reason}
        pending = self.total[root] - reached - self.left[root]
        return Root(root, len(self.there[root]) + self.left[root], pending, reasons, self.kinds[root])


def _kinds(names: list[str]) -> dict[str, str]:
    """The kinds of those files of a root whose kind depends on the others."""
    return {name: kind for name, kind in zip(names, kinds_of(names), strict=True) if kind != kind_of(name)}


def _parts(files: list[tuple[str, str, str]]) -> Iterator[list[tuple[str, str, str]]]:
    """Files in parts of limited number and size."""
    part, size = [], 0
    for file in files:
        part.append(file)
        size += _bytes_of(file[0])
        if len(part) == _FILES or size >= _BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _bytes_of(path: str) -> int:
    try:
        return Path(path).lstat().st_size
    except OSError:
        return 0

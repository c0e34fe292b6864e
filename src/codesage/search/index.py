"""The index of one root: files, chunks, full text and vectors, kept up to date at the cost of what changed.

A folder outside the tree holds index.sqlite (WAL: readers never block), with the vectors in it as float16 rows of unit
length: a killed run leaves the state of its last batch. Files are compared by size, times and inode and not read again when all
are equal. An update first reads what changed, which makes it searchable by words and static vectors (search.statics), and then
encodes it; text whose vector is known is not encoded again (search.vectors). Code is read and encoded before tests, and both
before documentation and data.
"""

import glob
import hashlib
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from codesage.errors import CodesageError
from codesage.records import Chunk, Encoder
from codesage.search import postings
from codesage.search.kinds import kind_of, order_of
from codesage.search.pieces import pieces
from codesage.search.reading import Batch, File, batches, storable
from codesage.search.statics import directions, statics_of
from codesage.search.vectors import Vectors, key_of
from codesage.search.view import View, Views
from codesage.walk import name_of, walk

SCHEMA = "3"
_FILES_A_BATCH = 16
_CHUNKS_A_BATCH = 64  # encoded between two commits
_HURRIED = 16  # the same where time is short
_PATIENCE = 0.5  # seconds: a process that finds nothing new is done sooner
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE files (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE chunks (id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL, language TEXT, kind TEXT, name TEXT,
    start_line INTEGER, end_line INTEGER, words INTEGER, text TEXT);
CREATE TABLE statics (chunk INTEGER PRIMARY KEY, vector BLOB NOT NULL);
CREATE INDEX chunks_of_file ON chunks (path);
CREATE TABLE vectors (row INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, vector BLOB NOT NULL);
CREATE TABLE pieces (chunk INTEGER NOT NULL, row INTEGER NOT NULL);
CREATE INDEX pieces_of_chunk ON pieces (chunk);
CREATE INDEX pieces_of_row ON pieces (row);
"""
_COLUMNS = "path, language, kind, name, start_line, end_line, text"
_VIEWS = Views()


class Busy(CodesageError):
    """Another process is writing the index: what it has committed can be read."""


@dataclass(frozen=True, slots=True)
class Status:
    """What an index holds; `skipped` counts files by reason, `unencoded` the chunks without vectors of the encoder."""

    root: str
    folder: str
    model: str
    files: int
    chunks: int
    skipped: dict[str, int]
    unencoded: int = 0


def default_folder(root: Path, model: str) -> Path:
    """Where the index of `root` lives unless told otherwise: the user's cache, by name and hash of the real path.

    Each `model` (the fingerprint of an encoder) has an index of its own: a newer model starts one, and to go back
    costs nothing.
    """
    from platformdirs import user_cache_dir

    real = root.resolve()
    name = f"{real.name or 'root'}-{hashlib.sha256(str(real).encode()).hexdigest()[:12]}-{model.replace(':', '-')}"
    return Path(user_cache_dir("codesage", appauthor=False)) / "indexes" / name


def of_other_models(folder: Path, model: str) -> list[Path]:
    """The default folders of the same root's indexes of other models than that of `folder`."""
    root = folder.name.removesuffix(f"-{model.replace(':', '-')}")
    return sorted(found for found in folder.parent.glob(f"{glob.escape(root)}*") if found != folder)


class Index:
    """An open index. Use `Index.open`; `update` brings it up to date, `connection` and `vectors` are what query reads."""

    def __init__(self, root: Path, folder: Path, connection: sqlite3.Connection) -> None:
        self.root, self.folder, self.connection = root, folder, connection
        self._opened = os.stat(folder / "index.sqlite")
        meta = _meta(connection)
        self.width, self.model, self._origin = int(meta["width"]), meta["model"], meta["origin"]

    @classmethod
    def open(
        cls, root: Path | str, *, folder: Path | None, encoder: Encoder, rebuild: bool = False, upgrade: bool = True
    ) -> "Index":
        """Open or create the index of `root` in `folder` for the vectors of `encoder`.

        With `rebuild` an existing index is replaced by an empty one. So is an index that an older CodeSage wrote, unless
        `upgrade` is False. Raises CodesageError when `root` is missing, or the index is corrupt, of another version or of
        another model: each names the command that repairs it.
        """
        root = Path(root)
        if not root.exists():
            raise CodesageError(f"{root}: no such file or folder: give a path that exists")
        repair = f"run 'codesage index {root}{f' --index-dir {folder}' if folder else ''} --rebuild'"
        folder = folder or default_folder(root, encoder.fingerprint)
        file = folder / "index.sqlite"
        removed = rebuild and _remove(folder, root)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not file.exists():
                if not removed:
                    _require_own(folder)
                _create(file, root, encoder)
            _private(folder)
            connection = _connect(file)
            meta = _meta(connection)
            if upgrade and _is_older(meta, root):
                connection.close()
                _upgrade(folder, root, encoder)
                connection = _connect(file)
                meta = _meta(connection)
        except (sqlite3.DatabaseError, OSError) as error:
            raise CodesageError(f"{file} is not a readable index ({error}): {repair}") from None
        if meta.get("schema") != SCHEMA:
            raise CodesageError(f"{file} has version {meta.get('schema')}, expected {SCHEMA}: {repair}")
        if meta["root"] != str(root.resolve()):
            raise CodesageError(f"{folder} is the index of {meta['root']}, not of {root.resolve()}: give another --index-dir")
        if meta["model"] != encoder.fingerprint:
            raise CodesageError(f"{folder} was written by model {meta['model']}, this is model {encoder.fingerprint}: {repair}")
        return cls(root, folder, connection)

    @property
    def rows(self) -> int:
        """Number of vectors."""
        return self.connection.execute("SELECT count(*) FROM vectors").fetchone()[0]

    def view(self) -> View:
        """The state of the index in memory, loaded again when it has changed. A process loads it once for each folder."""
        if not self.connection.in_transaction:
            with self.unmoved():
                return self.view()
        state = (self._origin, self.connection.execute("PRAGMA user_version").fetchone()[0])
        return _VIEWS.get(self.folder, state, self.connection, self.width)

    @contextmanager
    def unmoved(self) -> Iterator[None]:
        """What is read in the block is of one state, whatever another process commits meanwhile."""
        self._require_current()
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            self.connection.rollback()

    def status(self) -> Status:
        """Counts of what the index holds."""
        skipped = dict(self.connection.execute("SELECT reason, count(*) FROM files WHERE reason != '' GROUP BY reason"))
        files = self.connection.execute("SELECT count(*) FROM files WHERE reason = ''").fetchone()[0]
        pieces = self.connection.execute("SELECT count(*) FROM chunks").fetchone()[0]
        return Status(str(self.root), str(self.folder), self.model, files, pieces, skipped, self.unencoded)

    def update(
        self, encoder: Encoder, *, progress: Callable[[int, int], None] = lambda done, total: None,
        encoding: Callable[[int, int], None] = lambda done, total: None, seconds: float | None = None,
    ) -> Counter:  # fmt: skip
        """Read what is new or changed under the root, forget what is gone; counts of files "read" and "gone".

        Then encode what is not encoded, at least a little, until about `seconds` after the start (None: to the end). `progress`
        is called with (files done, files to read), `encoding` with (chunks done, chunks to encode). Raises Busy when another
        process is indexing this root, and CodesageError when the disk is full; what was committed before stays.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        with _lock(self.folder, self.root):
            self._require_current()
            gone, changed = self._changes()
            try:
                self._take_in(gone, changed, encoder, progress)
                self._encode(encoder, encoding, deadline)
            except (sqlite3.OperationalError, OSError) as error:
                self.connection.rollback()
                raise CodesageError(f"cannot write {self.folder} ({error}): free some space and run again") from None
        return Counter(read=len(changed), gone=len(gone))

    def _changes(self) -> tuple[set[str], list[File]]:
        """Names of files that are gone; path, name and stamp of those to read, the most important first."""
        known = dict(self.connection.execute("SELECT path, stamp FROM files WHERE reason != 'unreadable'"))
        listed = {path for (path,) in self.connection.execute("SELECT path FROM files")}
        present, changed = set(), []
        for path in walk(self.root):
            name = name_of(path, self.root)
            stamp = _stamp(path)
            present.add(name)
            if stamp is None or known.get(name) != stamp:
                changed.append((path, name, stamp or ""))
        changed.sort(key=lambda one: (order_of(kind_of(one[1])), one[1]))
        return listed - present, changed

    def _take_in(self, gone: set[str], changed: list[File], encoder: Encoder, progress: Callable[[int, int], None]) -> None:
        with self.connection:
            self._note(pending=len(changed))
        self._forget(gone)
        done = 0
        for batch in batches(changed, _FILES_A_BATCH):
            progress(done, len(changed))
            done += len(batch.files)
            self._store(batch, encoder, pending=len(changed) - done)
        if gone or changed:
            with self._writing():
                postings.merge(self.connection)
        progress(len(changed), len(changed))

    def _encode(self, encoder: Encoder, progress: Callable[[int, int], None], deadline: float | None) -> None:
        """Encode chunks that are not encoded, until the time is over."""
        left = self._unencoded()
        size = _CHUNKS_A_BATCH if deadline is None else _HURRIED
        cache = Vectors(encoder)
        try:
            for start in range(0, len(left), size):
                progress(start, len(left))
                if start and deadline is not None and time.monotonic() >= deadline:
                    return
                self._encode_some(left[start : start + size], encoder, cache)
            progress(len(left), len(left))
            self._sweep()
            cache.prune()
        finally:
            cache.close()

    def _unencoded(self) -> list[int]:
        """Numbers of the chunks that are not encoded, the most important first."""
        left = self.connection.execute(
            "SELECT id, path FROM chunks WHERE NOT EXISTS (SELECT 1 FROM pieces WHERE chunk = chunks.id) ORDER BY id"
        ).fetchall()
        return [number for number, _ in sorted(left, key=lambda one: order_of(kind_of(one[1])))]

    def chunks_of(self, numbers: Sequence[int]) -> list[Chunk]:
        """The chunks of these numbers, in this order."""
        rows = self.connection.execute(f"SELECT id, {_COLUMNS} FROM chunks WHERE id IN ({','.join(map(str, numbers))})")
        found = {number: Chunk(*row) for number, *row in rows}
        return [found[number] for number in numbers]

    def _encode_some(self, numbers: list[int], encoder: Encoder, cache: Vectors) -> None:
        texts = pieces(self.chunks_of(numbers), encoder)
        vectors = self._missing([text for one in texts for text in one], cache)
        owned = [(number, key_of(text)) for number, one in zip(numbers, texts, strict=True) for text in one]
        with self._writing():
            self.connection.executemany("INSERT OR IGNORE INTO vectors VALUES (NULL, ?, ?)", vectors.items())
            self.connection.executemany("INSERT INTO pieces SELECT ?, row FROM vectors WHERE hash = ?", owned)

    def _require_current(self) -> None:
        """CodesageError when the index was rebuilt since it was opened: its rows are those of another vector file."""
        try:
            same = os.path.samestat(os.stat(self.folder / "index.sqlite"), self._opened)
        except FileNotFoundError:
            same = False
        if not same:
            raise CodesageError(f"the index of {self.root} was rebuilt meanwhile: run the command again")

    def wait(self) -> None:
        """Return when no other process is indexing this root."""
        with FileLock(self.folder / "lock"):
            pass

    @property
    def pending(self) -> int:
        """Files that the last update, which was cut off or is still running, has not read yet."""
        return int(dict(self.connection.execute("SELECT key, value FROM meta")).get("pending", 0))

    @property
    def unencoded(self) -> int:
        """Chunks that are searched by words and static vectors only, because the encoder has not read them yet."""
        encoded = "SELECT 1 FROM pieces WHERE chunk = chunks.id"
        return self.connection.execute(f"SELECT count(*) FROM chunks WHERE NOT EXISTS ({encoded})").fetchone()[0]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One commit, which changes the state that views are of."""
        with self.connection:
            self.connection.execute("BEGIN IMMEDIATE")
            yield
            state = self.connection.execute("PRAGMA user_version").fetchone()[0]
            self.connection.execute(f"PRAGMA user_version = {(state + 1) % 2**31}")

    def _note(self, *, pending: int) -> None:
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('pending', ?)", (str(pending),))

    def _sweep(self) -> None:
        """Vectors of text that is gone go away, and static vectors, which nothing needs when all is encoded."""
        owned = "SELECT 1 FROM pieces WHERE row = vectors.row"
        gone = self.connection.execute(f"SELECT row FROM vectors WHERE NOT EXISTS ({owned})").fetchall()
        if gone or self.connection.execute("SELECT 1 FROM statics LIMIT 1").fetchone():
            with self._writing():
                self.connection.executemany("DELETE FROM vectors WHERE row = ?", gone)
                self.connection.execute("DELETE FROM statics")

    def _forget(self, names: Collection[str]) -> None:
        if names:
            with self._writing():
                for name in names:
                    self._drop(name)

    def _drop(self, name: str) -> None:
        for table in ("pieces", "statics"):
            self.connection.execute(f"DELETE FROM {table} WHERE chunk IN (SELECT id FROM chunks WHERE path = ?)", (name,))
        self.connection.execute("DELETE FROM chunks WHERE path = ?", (name,))
        self.connection.execute("DELETE FROM files WHERE path = ?", (name,))

    def _store(self, batch: Batch, encoder: Encoder, *, pending: int) -> None:
        with self._writing():
            for name, stamp, reason in batch.files:
                self._drop(name)
                self.connection.execute("INSERT INTO files VALUES (?, ?, ?)", (name, stamp, reason))
            self._add(batch, encoder)
            self._note(pending=pending)

    def _add(self, batch: Batch, encoder: Encoder) -> None:
        last = self.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunks'").fetchone()
        first = 1 + (last[0] if last else 0)
        lengths = batch.words.lengths().tolist()
        rows = [(number, one.path, one.language, one.kind, one.name, one.start_line, one.end_line, length, storable(one.text))
                for number, (one, length) in enumerate(zip(batch.chunks, lengths, strict=True), start=first)]  # fmt: skip
        self.connection.executemany("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        postings.add(self.connection, first, batch.words)
        statics = statics_of(encoder)
        if statics is not None and batch.chunks:
            vectors = directions(statics.encode_words(batch.words))
            rows = ((number, row.tobytes()) for number, row in enumerate(vectors, start=first))
            self.connection.executemany("INSERT INTO statics VALUES (?, ?)", rows)

    def _missing(self, texts: list[str], cache: Vectors) -> dict[bytes, bytes]:
        """The vectors, by key, of the texts that this index lacks."""
        new = {key_of(text): text for text in texts}
        for key in list(new):
            if self.connection.execute("SELECT 1 FROM vectors WHERE hash = ?", (key,)).fetchone():
                del new[key]
        if not new:
            return {}
        return dict(zip(new, (row.tobytes() for row in cache.encode(list(new.values()))), strict=True))


def _stamp(path: Path) -> str | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def _private(folder: Path) -> None:
    """The text of an index is for its owner alone, as the text that it was read from may be."""
    for path in (folder, *folder.glob("index.sqlite*")):
        try:
            path.chmod(0o700 if path == folder else 0o600)
        except OSError:  # another user's index, or a file system without modes
            continue


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=10)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last commits, never the index
    connection.execute("PRAGMA cache_size = -32768")  # KiB
    return connection


def _create(file: Path, root: Path, encoder: Encoder) -> None:
    fresh = file.with_suffix(f".new-{os.getpid()}-{threading.get_ident()}")
    connection = sqlite3.connect(fresh)
    with connection:
        connection.executescript(_TABLES + postings.TABLES)
        meta = {"schema": SCHEMA, "model": encoder.fingerprint, "width": str(encoder.width), "root": str(root.resolve()),
                "origin": os.urandom(16).hex()}  # fmt: skip
        connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    connection.close()
    try:
        os.link(fresh, file)  # a rename would take the place of the index that another process has just begun
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        fresh.rename(file)
    fresh.unlink(missing_ok=True)


def _meta(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT key, value FROM meta"))


def _is_older(meta: dict[str, str], root: Path) -> bool:
    """Whether an older CodeSage wrote this index of `root`."""
    schema = meta.get("schema", "")
    return schema.isdecimal() and int(schema) < int(SCHEMA) and meta.get("root", str(root.resolve())) == str(root.resolve())


def _upgrade(folder: Path, root: Path, encoder: Encoder) -> None:
    """Replace an older version's index by an empty one, unless another process has just done so."""
    with _lock(folder, root):
        connection = _connect(folder / "index.sqlite")
        older = _is_older(_meta(connection), root)
        connection.close()
        if older:
            _unlink(folder)
            _create(folder / "index.sqlite", root, encoder)


def _remove(folder: Path, root: Path) -> bool:
    """Delete an index, and nothing else that lies in its folder; False where there is none."""
    if not (folder / "index.sqlite").exists():
        return False
    with _lock(folder, root):
        _unlink(folder)
    return True


def _unlink(folder: Path) -> None:
    """Delete the files of an index. The database goes last: another process may begin a new one, whose journal must stay."""
    for name in ("index.sqlite-wal", "index.sqlite-shm", "index.sqlite", "vectors.f16"):
        (folder / name).unlink(missing_ok=True)


def _require_own(folder: Path) -> None:
    """CodesageError when a folder without an index holds other things: those of a user."""
    foreign = [path.name for path in folder.iterdir() if path.name not in ("lock", "vectors.f16") and ".new-" not in path.name]
    if foreign:
        raise CodesageError(f"{folder} is not an index, it holds {foreign[0]}: give a new folder with --index-dir")


@contextmanager
def _lock(folder: Path, root: Path) -> Iterator[None]:
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=_PATIENCE, poll_interval=0.02)
    except Timeout:
        raise Busy(f"another process is indexing {root}: wait for it") from None
    try:
        yield
    finally:
        lock.release()

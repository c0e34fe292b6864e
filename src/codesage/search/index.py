"""The index of one root: files, chunks, full text and vectors, kept up to date at the cost of what changed.

A folder outside the tree holds index.sqlite (WAL: readers never block), with the vectors in it as float16 rows of unit
length: a killed run leaves the state of its last batch of files. Files are compared by size, times and inode and not read
again when all are equal; text whose vector is known is not encoded again (search.vectors). Code is read before tests, and
both before documentation and data.
"""

import glob
import hashlib
import os
import re
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from codesage.errors import CodesageError
from codesage.records import Chunk, Document
from codesage.search.chunks import chunks
from codesage.search.kinds import kind_of, order_of
from codesage.search.pieces import pieces
from codesage.search.terms import indexed_words
from codesage.search.vectors import Vectors, key_of
from codesage.search.view import View
from codesage.search.view import load as load_view
from codesage.syntax import language_in
from codesage.walk import Skipped, Text, name_of, read_text, walk

SCHEMA = "2"
_FILES_A_BATCH = 32
_PRIVATE_KEY = re.compile(r"^\s*-----BEGIN [A-Z ]*PRIVATE KEY-----\s*$", re.MULTILINE)
_PATIENCE = 0.5  # seconds: a process that finds nothing new is done sooner
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE files (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE chunks (id INTEGER PRIMARY KEY, path TEXT NOT NULL, language TEXT, kind TEXT, name TEXT,
    start_line INTEGER, end_line INTEGER, text TEXT);
CREATE INDEX chunks_of_file ON chunks (path);
CREATE TABLE vectors (row INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, vector BLOB NOT NULL);
CREATE TABLE pieces (chunk INTEGER NOT NULL, row INTEGER NOT NULL);
CREATE INDEX pieces_of_chunk ON pieces (chunk);
CREATE INDEX pieces_of_row ON pieces (row);
CREATE VIRTUAL TABLE words USING fts5 (name, path, text, tokenize = "unicode61 remove_diacritics 0");
"""


class Busy(CodesageError):
    """Another process is writing the index: what it has committed can be read."""


@dataclass(frozen=True, slots=True)
class Status:
    """What an index holds; `skipped` counts files by reason."""

    root: str
    folder: str
    model: str
    files: int
    chunks: int
    skipped: dict[str, int]


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
        self._view: tuple[tuple[int, int], View] | None = None
        meta = dict(connection.execute("SELECT key, value FROM meta"))
        self.width, self.model = int(meta["width"]), meta["model"]

    @classmethod
    def open(cls, root: Path | str, *, folder: Path | None, encoder, rebuild: bool = False) -> "Index":
        """Open or create the index of `root` in `folder` for the vectors of `encoder`.

        Raises CodesageError when `root` is missing, or the index is corrupt, of another version or of another model:
        each names the command that repairs it. With `rebuild` an index that was there is replaced by an empty one.
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
            meta = dict(connection.execute("SELECT key, value FROM meta"))
        except (sqlite3.DatabaseError, OSError) as error:
            raise CodesageError(f"{file} is not a readable index ({error}): {repair}") from None
        if meta.get("schema") != SCHEMA:
            raise CodesageError(f"{file} has version {meta.get('schema')}, expected {SCHEMA}: {repair}")
        if meta["root"] != str(root.resolve()):
            raise CodesageError(f"{folder} is the index of {meta['root']}, not of {root.resolve()}: give another --index-dir")
        if meta["model"] != encoder.fingerprint:
            raise CodesageError(f"{folder} was written by model {meta['model']}, this is model {encoder.fingerprint}: {repair}")
        index = cls(root, folder, connection)
        return index

    @property
    def rows(self) -> int:
        """Number of vectors."""
        return self.connection.execute("SELECT count(*) FROM vectors").fetchone()[0]

    def view(self) -> View:
        """The state of the index in memory, loaded again when another process or `update` has changed it."""
        state = (self.connection.execute("PRAGMA data_version").fetchone()[0], self.connection.total_changes)
        if self._view is None or self._view[0] != state:
            self._view = (state, load_view(self.connection, self.width))
        return self._view[1]

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
        return Status(str(self.root), str(self.folder), self.model, files, pieces, skipped)

    def update(self, encoder, *, progress: Callable[[int, int], None] = lambda done, total: None) -> Counter:
        """Read what is new or changed under the root, forget what is gone; counts of files "read" and "gone".

        `progress` is called with (files done, files to read). Raises Busy when another process is indexing this root, and
        CodesageError when the disk is full; what was committed before stays.
        """
        counts: Counter = Counter()
        with _lock(self.folder, self.root):
            self._require_current()
            known = dict(self.connection.execute("SELECT path, stamp FROM files WHERE reason != 'unreadable'"))
            listed = {path for (path,) in self.connection.execute("SELECT path FROM files")}
            present, changed = set(), []
            for path in walk(self.root):
                name = name_of(path, self.root)
                stamp = _stamp(path)
                present.add(name)
                if stamp is None or known.get(name) != stamp:
                    changed.append((path, name, stamp or ""))
            gone = listed - present
            changed.sort(key=lambda one: (order_of(kind_of(one[1])), one[1]))
            try:
                self._note(pending=len(changed))
                self._forget(gone)
                cache = Vectors(encoder)
                for start in range(0, len(changed), _FILES_A_BATCH):
                    progress(start, len(changed))
                    self._read(changed[start : start + _FILES_A_BATCH], encoder, cache)
                    self._note(pending=max(0, len(changed) - start - _FILES_A_BATCH))
                self._sweep(bool(gone or changed))
                self._note(pending=0)
                cache.prune()
                cache.close()
            except (sqlite3.OperationalError, OSError) as error:
                self.connection.rollback()
                raise CodesageError(f"cannot write {self.folder} ({error}): free some space and run again") from None
            progress(len(changed), len(changed))
            counts.update(read=len(changed), gone=len(gone))
        return counts

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

    def _note(self, *, pending: int) -> None:
        with self.connection:
            self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('pending', ?)", (str(pending),))

    def _sweep(self, changed: bool) -> None:
        """Vectors of text that is gone go away."""
        if changed:
            with self.connection:
                self.connection.execute("DELETE FROM vectors WHERE NOT EXISTS (SELECT 1 FROM pieces WHERE row = vectors.row)")

    def _forget(self, names) -> None:
        with self.connection:
            for name in names:
                self._drop(name)

    def _drop(self, name: str) -> None:
        self.connection.execute("DELETE FROM words WHERE rowid IN (SELECT id FROM chunks WHERE path = ?)", (name,))
        self.connection.execute("DELETE FROM pieces WHERE chunk IN (SELECT id FROM chunks WHERE path = ?)", (name,))
        self.connection.execute("DELETE FROM chunks WHERE path = ?", (name,))
        self.connection.execute("DELETE FROM files WHERE path = ?", (name,))

    def _read(self, batch: list[tuple[Path, str, str]], encoder, cache: Vectors) -> None:
        found: list[Chunk] = []
        stamps = []
        for path, name, stamp in batch:
            read = read_text(path, name=name)
            if isinstance(read, Text) and _PRIVATE_KEY.search(read.text):
                read = Skipped(name, "secret")
            stamps.append((name, stamp, read.reason if isinstance(read, Skipped) else ""))
            if isinstance(read, Text):
                found += chunks(Document(name, language_in(name, read.text), read.text, read.sha256))
        texts = pieces(found, encoder)
        vectors = self._missing([text for one in texts for text in one], cache)
        with self.connection:
            for name, stamp, reason in stamps:
                self._drop(name)
                self.connection.execute("INSERT INTO files VALUES (?, ?, ?)", (name, stamp, reason))
            self.connection.executemany("INSERT OR IGNORE INTO vectors VALUES (NULL, ?, ?)", vectors.items())
            for chunk, one in zip(found, texts, strict=True):
                self._add(chunk, one)

    def _add(self, chunk: Chunk, texts: list[str]) -> None:
        number = self.connection.execute(
            "INSERT INTO chunks VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)",
            (chunk.path, chunk.language, chunk.kind, chunk.name, chunk.start_line, chunk.end_line, _storable(chunk.text)),
        ).lastrowid
        words = [" ".join(indexed_words(_storable(part))) for part in (chunk.name, chunk.path, chunk.text)]
        self.connection.execute("INSERT INTO words (rowid, name, path, text) VALUES (?, ?, ?, ?)", (number, *words))
        self.connection.executemany("INSERT INTO pieces SELECT ?, row FROM vectors WHERE hash = ?",
                                    [(number, key_of(text)) for text in texts])  # fmt: skip

    def _missing(self, texts: list[str], cache: Vectors) -> dict[bytes, bytes]:
        """The vectors, by key, of the texts that this index lacks."""
        new = {key_of(text): text for text in texts}
        for key in list(new):
            if self.connection.execute("SELECT 1 FROM vectors WHERE hash = ?", (key,)).fetchone():
                del new[key]
        if not new:
            return {}
        return dict(zip(new, (row.tobytes() for row in cache.encode(list(new.values()))), strict=True))


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


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
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _create(file: Path, root: Path, encoder) -> None:
    fresh = file.with_suffix(f".new-{os.getpid()}-{threading.get_ident()}")
    connection = sqlite3.connect(fresh)
    with connection:
        connection.executescript(_TABLES)
        meta = {"schema": SCHEMA, "model": encoder.fingerprint, "width": str(encoder.width), "root": str(root.resolve())}
        connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    connection.close()
    try:
        os.link(fresh, file)  # a rename would take the place of the index that another process has just begun
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        fresh.rename(file)
    fresh.unlink(missing_ok=True)


def _remove(folder: Path, root: Path) -> bool:
    """Delete an index, and nothing else that lies in its folder; False where there is none.

    The database goes after its journal: another process may begin a new one at once, whose journal must stay.
    """
    if not (folder / "index.sqlite").exists():
        return False
    with _lock(folder, root):
        for name in ("index.sqlite-wal", "index.sqlite-shm", "index.sqlite", "vectors.f16"):
            (folder / name).unlink(missing_ok=True)
    return True


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

"""The index of one root: files, chunks, full text and vectors, kept up to date at the cost of what changed.

A folder outside the tree holds index.sqlite (WAL: readers never block) and vectors.f16, float16 rows of unit length
that SQLite refers to by row number. The SQLite transaction is the commit point: rows are appended and synced before
it, and rows past the last committed one are overwritten, so a killed run leaves the state of its last batch of files.
Files are compared by size and modification time and not read again when both are equal; chunks whose text is known
are not embedded again.
"""

import fcntl
import glob
import hashlib
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codesage.errors import CodesageError
from codesage.records import Chunk, Document
from codesage.search.chunks import chunks
from codesage.syntax import language_in
from codesage.walk import Skipped, Text, name_of, read_text, walk
from codesage.words import split_words

SCHEMA = "1"
_FILES_A_BATCH = 32
_PATIENCE = 0.5  # seconds: a process that finds nothing new is done sooner
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE files (path TEXT PRIMARY KEY, size INTEGER, mtime INTEGER, reason TEXT NOT NULL);
CREATE TABLE chunks (id INTEGER PRIMARY KEY, path TEXT NOT NULL, language TEXT, kind TEXT, name TEXT,
    start_line INTEGER, end_line INTEGER, text TEXT, row INTEGER NOT NULL);
CREATE INDEX chunks_of_file ON chunks (path);
CREATE TABLE vectors (hash BLOB PRIMARY KEY, row INTEGER NOT NULL);
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
            connection = _connect(file)
            meta = dict(connection.execute("SELECT key, value FROM meta"))
        except (sqlite3.DatabaseError, OSError) as error:
            raise CodesageError(f"{file} is not a readable index ({error}): {repair}") from None
        if meta.get("schema") != SCHEMA:
            raise CodesageError(f"{file} has version {meta.get('schema')}, expected {SCHEMA}: {repair}")
        if meta["model"] != encoder.fingerprint:
            raise CodesageError(f"{folder} was written by model {meta['model']}, this is model {encoder.fingerprint}: {repair}")
        index = cls(root, folder, connection)
        stored = index.vector_file.stat().st_size if index.vector_file.exists() else 0
        if stored < index.rows * index.width * 2:
            raise CodesageError(
                f"{index.vector_file} has {stored:,} bytes, expected {index.rows * index.width * 2:,}: {repair}"
            )
        return index

    @property
    def vector_file(self) -> Path:
        """float16 rows, row-major, `width` numbers each."""
        return self.folder / "vectors.f16"

    @property
    def rows(self) -> int:
        """Committed rows of the vector file."""
        return self.connection.execute("SELECT coalesce(max(row) + 1, 0) FROM vectors").fetchone()[0]

    def vectors(self) -> np.ndarray:
        """The committed vectors, memory-mapped: float16 (rows, width)."""
        rows = self.rows
        if not rows:
            return np.empty((0, self.width), np.float16)
        self._require_current()
        return np.memmap(self.vector_file, np.float16, "r", shape=(rows, self.width))

    @contextmanager
    def unmoved(self) -> Iterator[None]:
        """What is read in the block is of one state, whatever another process commits meanwhile."""
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

        `progress` hears (files done, files to read). Raises Busy when another process is indexing this root, CodesageError
        when the disk is full; what was committed before stays.
        """
        counts: Counter = Counter()
        with _lock(self.folder, self.root):
            self._require_current()
            known = {p: (s, m) for p, s, m in self.connection.execute("SELECT path, size, mtime FROM files")}
            present, changed = set(), []
            for path in walk(self.root):
                name = name_of(path, self.root)
                stamp = _stamp(path)
                present.add(name)
                if stamp is None or known.get(name) != stamp:
                    changed.append((path, name, stamp or (-1, -1)))
            gone = known.keys() - present
            try:
                self._forget(gone)
                for start in range(0, len(changed), _FILES_A_BATCH):
                    progress(start, len(changed))
                    self._read(changed[start : start + _FILES_A_BATCH], encoder)
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
        with open(self.folder / "lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)

    def _forget(self, names) -> None:
        with self.connection:
            for name in names:
                self._drop(name)

    def _drop(self, name: str) -> None:
        self.connection.execute("DELETE FROM words WHERE rowid IN (SELECT id FROM chunks WHERE path = ?)", (name,))
        self.connection.execute("DELETE FROM chunks WHERE path = ?", (name,))
        self.connection.execute("DELETE FROM files WHERE path = ?", (name,))

    def _read(self, batch: list[tuple[Path, str, tuple[int, int]]], encoder) -> None:
        pieces: list[Chunk] = []
        stamps = []
        for path, name, stamp in batch:
            read = read_text(path, name=name)
            stamps.append((name, *stamp, read.reason if isinstance(read, Skipped) else ""))
            if isinstance(read, Text):
                pieces += chunks(Document(name, language_in(name, read.text), read.text, read.sha256))
        rows = self._embed(pieces, encoder)
        with self.connection:
            for name, size, mtime, reason in stamps:
                self._drop(name)
                self.connection.execute("INSERT INTO files VALUES (?, ?, ?, ?)", (name, size, mtime, reason))
            self.connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows.items())
            for piece in pieces:
                cursor = self.connection.execute(
                    "INSERT INTO chunks VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (piece.path, piece.language, piece.kind, piece.name, piece.start_line, piece.end_line,
                     _storable(piece.text), rows[_hash(piece)]),
                )  # fmt: skip
                words = [" ".join(split_words(_storable(part))) for part in (piece.name, piece.path, piece.text)]
                self.connection.execute("INSERT INTO words (rowid, name, path, text) VALUES (?, ?, ?, ?)",
                                        (cursor.lastrowid, *words))  # fmt: skip

    def _embed(self, pieces: list[Chunk], encoder) -> dict[bytes, int]:
        """Row of each chunk's text, new ones appended to the vector file and synced."""
        rows: dict[bytes, int] = {}
        new: dict[bytes, str] = {}
        for piece in pieces:
            key = _hash(piece)
            found = self.connection.execute("SELECT row FROM vectors WHERE hash = ?", (key,)).fetchone()
            if found:
                rows[key] = found[0]
            else:
                new[key] = piece.text
        if new:
            first = self.rows
            vectors = encoder.encode(list(new.values()), kind="code").astype(np.float16)
            with open(self.vector_file, "r+b" if self.vector_file.exists() else "w+b") as file:
                file.seek(first * self.width * 2)
                file.write(vectors.tobytes())
                file.flush()
                os.fsync(file.fileno())
            rows.update(zip(new, range(first, first + len(new)), strict=True))
        return rows


def _hash(piece: Chunk) -> bytes:
    return hashlib.sha256(piece.text.encode("utf-8", "replace")).digest()


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=10)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _create(file: Path, root: Path, encoder) -> None:
    fresh = file.with_suffix(f".new-{os.getpid()}")
    connection = sqlite3.connect(fresh)
    with connection:
        connection.executescript(_TABLES)
        meta = {"schema": SCHEMA, "model": encoder.fingerprint, "width": str(encoder.width), "root": str(root)}
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
    with open(folder / "lock", "w") as file:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise Busy(f"another process is indexing {root}: wait for it") from None
                time.sleep(0.02)
        yield

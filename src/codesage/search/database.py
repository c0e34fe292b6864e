"""Create, open and remove the files of an index, and explain failures.

index.sqlite is in WAL mode, so readers never wait for a writer. If nothing can be written (a read-only file system, a full
disk, a folder of another user), a complete index is opened read-only.
"""

import errno
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from codesage.errors import CodesageError
from codesage.records import Encoder
from codesage.search import checksums, postings, texts
from codesage.search.folders import real_path
from codesage.search.secrets import rules_name
from codesage.search.statics import table_name

if TYPE_CHECKING:
    from filelock import FileLock

SCHEMA = "5"
DATABASE, LOCK = "index.sqlite", "lock"
FILES = ("index.sqlite-wal", "index.sqlite-shm", checksums.NAME, DATABASE, "vectors.f16")  # the last is of version 1
_PATIENCE = 0.5  # seconds: a process that finds nothing new is done sooner
_REASON = 200  # letters of SQLite's own words in a message
_PAUSE = 0.02  # seconds between two tries
_PATIENCE_TO_MAKE = 10.0  # seconds: to make an empty index takes a moment
_PAGE = 2048  # bytes: with SQLite's 4,096 an index is an eighth larger, as blocks of texts leave more of each page empty
_PROBE = 1 << 16  # bytes that a disk with some space left can take
_TABLES = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, language TEXT NOT NULL, stamp TEXT NOT NULL,
    reason TEXT NOT NULL);
CREATE TABLE spans (id INTEGER PRIMARY KEY AUTOINCREMENT, file INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
    start_line INTEGER NOT NULL, end_line INTEGER NOT NULL, words INTEGER NOT NULL);
CREATE INDEX spans_of_file ON spans (file);
CREATE VIEW chunks AS SELECT spans.id AS id, path, language, kind, name, start_line, end_line FROM spans
    JOIN files ON files.id = spans.file;
CREATE TABLE statics (chunk INTEGER PRIMARY KEY, vector BLOB NOT NULL);
CREATE TABLE vectors (row INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, vector BLOB NOT NULL);
CREATE TABLE pieces (chunk INTEGER, part INTEGER, row INTEGER NOT NULL, PRIMARY KEY (chunk, part)) WITHOUT ROWID;
{texts.TABLE} {postings.TABLES}
"""
_CANNOT_WRITE = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Busy(CodesageError):
    """Another process is writing the index. Committed data can be read."""


class Unwritable(CodesageError):
    """The index cannot be written. It may still be readable."""


def connect(file: Path) -> sqlite3.Connection:
    """Open a database, read-only if it cannot be written. Raises errors of SQLite; see `failure`."""
    end = time.monotonic() + _PATIENCE
    while True:
        before = _identity(file)
        try:
            return _opened(file)
        except sqlite3.OperationalError:
            if (before and _identity(file) == before) or time.monotonic() >= end:
                raise
            time.sleep(_PAUSE)  # another process replaces the index at this moment


def _opened(file: Path) -> sqlite3.Connection:
    address, before = file.absolute().as_uri(), _identity(file)
    connection = sqlite3.connect(f"{address}?mode=rw", uri=True, timeout=10)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last commits, never the index
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # Index._seal copies the journal
    except sqlite3.OperationalError as error:
        connection.close()
        if _code(error) not in _CANNOT_WRITE or journal_size(file) or _identity(file) != before:
            raise
        connection = sqlite3.connect(f"{address}?mode=ro&immutable=1", uri=True)
    connection.execute("PRAGMA cache_size = -32768")  # KiB
    return connection


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def journal_size(file: Path) -> int:
    """Bytes of the journal, which holds the changes that are not in the file yet."""
    try:
        return os.stat(f"{file}-wal").st_size
    except FileNotFoundError:
        return 0


def meta_of(connection: sqlite3.Connection) -> dict[str, str]:
    """The metadata of an index."""
    return dict(connection.execute("SELECT key, value FROM meta"))


def has_todays_rules(connection: sqlite3.Connection) -> bool:
    """Whether the files of an index were judged by today's rules for secrets."""
    return meta_of(connection).get("secrets") == rules_name()


def make(folder: Path, root: Path, encoder: Encoder, *, own: bool) -> None:
    """Create an empty index of `root` if there is none. CodesageError for a folder with other files that is not our `own`."""
    folder.mkdir(parents=True, exist_ok=True)
    if not own and not (folder / DATABASE).exists():
        _require_own(folder)
    end = time.monotonic() + _PATIENCE_TO_MAKE
    while not (folder / DATABASE).exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with lock(folder, root, seconds=_PAUSE):
                if not (folder / DATABASE).exists():
                    _unlink(folder)  # the journal of a database that was lost would be read into the new one
                    create(folder / DATABASE, root, encoder)
        except (Busy, FileNotFoundError):  # another process keeps the lock while it fills the index, or has removed the folder
            if time.monotonic() >= end and not (folder / DATABASE).exists():
                raise
    _private(folder)


def create(file: Path, root: Path, encoder: Encoder) -> None:
    """Write an empty index to `file`, unless there is one."""
    fresh = file.with_suffix(f".new-{os.getpid()}-{threading.get_ident()}")
    try:
        with closing(sqlite3.connect(fresh)) as connection:
            _restrict(fresh, 0o600)
            connection.execute(f"PRAGMA page_size = {_PAGE}")
            connection.execute("PRAGMA synchronous = OFF")  # the file is synchronised once, below, when it is complete
            connection.execute("PRAGMA journal_mode = MEMORY")
            with connection:
                connection.executescript(f"BEGIN; {_TABLES}")  # else each table would be a commit
                meta = {
                    "schema": SCHEMA,
                    "model": encoder.fingerprint,
                    "width": str(encoder.width),
                    "statics": table_name(),
                    "secrets": rules_name(),
                    "root": real_path(root),
                    "origin": os.urandom(16).hex(),
                }
                connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
            connection.execute("PRAGMA journal_mode = WAL")
        with open(fresh, "rb+") as complete:
            os.fsync(complete.fileno())
        _move(fresh, file)
    finally:
        fresh.unlink(missing_ok=True)


def _move(fresh: Path, file: Path) -> None:
    try:
        os.link(fresh, file)  # a rename would take the place of the index that another process has just begun
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        fresh.rename(file)


def is_older(meta: dict[str, str], root: Path) -> bool:
    """Whether an older CodeSage wrote this index of `root`."""
    schema = meta.get("schema", "")
    return schema.isdecimal() and int(schema) < int(SCHEMA) and meta.get("root", real_path(root)) == real_path(root)


def upgrade(folder: Path, root: Path, encoder: Encoder) -> None:
    """Replace an index of an older version with an empty one, unless another process does so."""
    end = time.monotonic() + _PATIENCE_TO_MAKE
    while _holds_older(folder, root):
        try:
            with lock(folder, root):
                if _holds_older(folder, root):
                    _unlink(folder)
                    create(folder / DATABASE, root, encoder)
        except Busy:  # the process that has replaced it may already be indexing
            if time.monotonic() >= end:
                raise


def _holds_older(folder: Path, root: Path) -> bool:
    with closing(connect(folder / DATABASE)) as connection:
        return is_older(meta_of(connection), root)


def remove(folder: Path, root: Path, *, lock_too: bool = False) -> bool:
    """Delete an index and no other files in its folder, with `lock_too` also the file of its lock. False if there is none."""
    if not (folder / DATABASE).exists():
        return False
    with lock(folder, root, delete=lock_too):
        _unlink(folder)
    return True


def _unlink(folder: Path) -> None:
    """Delete the files of an index. The journal goes before the database: another process may begin a new one."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def _require_own(folder: Path) -> None:
    """CodesageError if a folder without an index holds other files, which may be the user's."""
    foreign = [path.name for path in folder.iterdir() if path.name not in (LOCK, *FILES) and ".new-" not in path.name]
    if foreign:
        raise CodesageError(f"{folder} is not an index, it holds {foreign[0]}: give a new folder with --index-dir")


def _private(folder: Path) -> None:
    """Make the index readable only for its owner, because the indexed files may be private."""
    _restrict(folder, 0o700)
    for path in folder.glob("index.sqlite*"):
        _restrict(path, 0o600)


def _restrict(path: Path, mode: int) -> None:
    with suppress(OSError):  # another user's index, or a file system without modes
        path.chmod(mode)


@contextmanager
def lock(folder: Path, root: Path, *, seconds: float = _PATIENCE, delete: bool = False) -> Iterator[None]:
    """Only one process at a time runs the block. Busy when another one does so for longer than `seconds` (-1: wait for it).

    `delete`: the file of the lock goes at the end. POSIX lets its holder delete it, and whoever waits for it takes the next one
    (`_held`). Windows lets nobody delete it while a process has it open, so it goes after the lock, if no other process waits.
    """
    file = folder / LOCK
    held = _held(file, root, seconds)
    try:
        yield
    finally:
        if delete and os.name != "nt":
            file.unlink(missing_ok=True)
        held.release()
        if delete and os.name == "nt":
            with suppress(OSError):
                file.unlink()


def _held(file: Path, root: Path, seconds: float) -> "FileLock":
    """The lock of a file that is still there: who held it before may have deleted it between our opening and locking it."""
    from filelock import FileLock, Timeout  # not needed to read files (search.reader)

    while True:
        before, held = _identity(file), FileLock(file)
        try:
            held.acquire(timeout=seconds, poll_interval=_PAUSE)
        except Timeout:
            raise Busy(f"another process is indexing {root}: wait for it") from None
        if os.name == "nt" or before in (None, _identity(file)):
            return held
        held.release()


def failure(error: Exception, folder: Path, repair: str) -> CodesageError:
    """One line that explains an error of SQLite or of the system for the index in `folder`, with its remedy.

    `repair` names the command that builds the index anew. Only a damaged index needs it.
    """
    if isinstance(error, sqlite3.Error) and _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Busy(f"another process is writing {folder}: wait for it")
    if not isinstance(error, OSError) and not (isinstance(error, sqlite3.Error) and _code(error) in _CANNOT_WRITE):
        reason = " ".join(str(error).split())[:_REASON]  # SQLite may quote a statement of several lines
        return CodesageError(f"{folder / DATABASE} is damaged ({reason}): {repair}")
    number = error.errno if isinstance(error, OSError) else _obstacle(folder, error)
    if number in _FULL:
        return Unwritable(f"no space is left on the disk of {folder}: free some space and run again")
    if number == errno.EROFS:
        return Unwritable(f"{folder} is on a read-only file system: name a folder that can be written with --index-dir")
    if number in (errno.EACCES, errno.EPERM) and _is_readable(folder):
        return Unwritable(f"no permission to write {folder}: change its permissions, or name another folder with --index-dir")
    if number in (errno.EACCES, errno.EPERM):
        return CodesageError(f"no permission to read {folder}: change its permissions, or name another folder with --index-dir")
    return Unwritable(f"{folder} cannot be used ({error}): name another folder with --index-dir")


def _code(error: sqlite3.Error) -> int:
    """The primary code of SQLite, 0 for none."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _obstacle(folder: Path, error: sqlite3.Error) -> int:
    """The system's error number that keeps SQLite from reading or writing; 0 for none."""
    if _code(error) == sqlite3.SQLITE_FULL:
        return errno.ENOSPC
    if not _is_readable(folder):
        return errno.EACCES
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE))
            probe.flush()
    except OSError as cause:
        return cause.errno or 0
    return 0 if os.access(folder / DATABASE, os.W_OK) else errno.EACCES


def _is_readable(folder: Path) -> bool:
    """Whether this user may read the existing files of the index in `folder`."""
    if os.path.exists(folder) and not os.access(folder, os.R_OK | os.X_OK):
        return False
    return not os.path.exists(folder / DATABASE) or os.access(folder / DATABASE, os.R_OK)

"""The index of one root: files, chunks, full text and vectors. An update costs time only for what changed.

A folder outside the tree holds index.sqlite (WAL: readers never block). It also contains the vectors, as directions in int8.
After a killed run, the index has the state of its last batch. Files are compared by size, times and inode, and are not read
again if all are equal. An update first reads what changed, which makes it searchable by words and static vectors
(search.statics), and then encodes it; text whose vector is known is not encoded again (search.vectors). Code is read and
encoded before tests, and both before documentation and data.
"""

import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from codesage.encoder.unit import directions
from codesage.errors import CodesageError
from codesage.records import Chunk, Encoder
from codesage.search import database, postings, reader, texts
from codesage.search.checksums import Checksums
from codesage.search.database import DATABASE, SCHEMA, Unwritable
from codesage.search.fields import Words, words_in
from codesage.search.files import IN_PART, File, in_order, is_secret, require_readable, stamped
from codesage.search.folders import default_folder, index_command, real_path
from codesage.search.kinds import kind_of, order_of
from codesage.search.pieces import pieces
from codesage.search.reading import Batch, batches
from codesage.search.secrets import rules_name
from codesage.search.statics import statics_of, table_name
from codesage.search.vectors import Vectors, key_of
from codesage.search.view import View, Views

_FILES_A_BATCH = reader.FILES_A_BATCH
_CHUNKS_A_BATCH = 64  # encoded between two commits
_STATICS_AT_ONCE = 2_000  # chunks whose static vectors are replaced together
_HURRIED = 16  # the same where time is short
_QUICK = 300  # chunks that a first update encodes while somebody waits; more would take too long
_TRUSTED = 60.0  # seconds after which a process that opens or writes a file looks again whether it is sound
_Progress = Callable[[int, int], None]  # (done, of all)
_WAIT_FOR_READERS = 100  # milliseconds
_LONG_JOURNAL = 16 << 20  # bytes
_COLUMNS = "path, language, kind, name, start_line, end_line"
_MOST_UNUSED = 16  # the file is written anew when more than one of so many pages holds nothing
_VIEWS = Views()


@dataclass(frozen=True, slots=True)
class Status:
    """What an index holds; `skipped` counts files by reason, `unencoded` the chunks without vectors of the encoder.

    `in_part` counts by reason the files that are not read in full; they are among the `files`.
    """

    root: str
    folder: str
    model: str
    files: int
    chunks: int
    skipped: dict[str, int]
    unencoded: int = 0
    in_part: dict[str, int] = field(default_factory=dict)


class Index:
    """An open index. Use `Index.open`; `update` brings it up to date, `connection` and `vectors` are what query reads."""

    def __init__(self, root: Path, folder: Path, connection: sqlite3.Connection, repair: str) -> None:
        self.root, self.folder, self.connection, self._repair = root, folder, connection, repair
        self._opened = os.stat(folder / DATABASE)
        self._checksums = Checksums(folder / DATABASE, self)
        meta = database.meta_of(connection)
        self.width, self.model, self._origin = int(meta["width"]), meta["model"], meta["origin"]

    @classmethod
    def open(
        cls, root: Path | str, *, folder: Path | None, encoder: Encoder, rebuild: bool = False, upgrade: bool = True
    ) -> "Index":
        """Open or create the index of `root` in `folder` for the vectors of `encoder`.

        With `rebuild` an existing index is replaced by an empty one. So is an index that an older CodeSage wrote, unless
        `upgrade` is False. If nothing can be written, an existing index is opened read-only. CodesageError when `root` is
        missing, or the index cannot be read or created, is damaged, or has another version or model. The message says what to
        do.
        """
        root = Path(root)
        require_readable(root)
        own = folder is not None
        repair = f"run '{index_command(root, encoder, folder, '--rebuild')}'"
        folder = folder or default_folder(root, encoder.fingerprint)
        try:
            removed = rebuild and database.remove(folder, root)
            database.make(folder, root, encoder, own=removed)
            connection = database.connect(folder / DATABASE)
            if upgrade and database.is_older(database.meta_of(connection), root):
                connection.close()
                database.upgrade(folder, root, encoder)
                connection = database.connect(folder / DATABASE)
            meta = database.meta_of(connection)
            if meta["schema"] != SCHEMA:
                raise CodesageError(f"{folder / DATABASE} has version {meta['schema']}, expected {SCHEMA}: {repair}")
            index = cls(root, folder, connection, repair)
            with index.snapshot():
                index._require_sound()
            index._recover()
        except (sqlite3.Error, OSError, LookupError, ValueError) as error:
            raise database.failure(error, folder, repair) from None
        if (of := meta.get("root")) != real_path(root):
            remedy = "give another --index-dir" if own else repair
            raise CodesageError(f"{folder} is the index of {of}, not of {root.resolve()}: {remedy}")
        if index.model != encoder.fingerprint:
            raise CodesageError(f"{folder} was written by model {index.model}, this is model {encoder.fingerprint}: {repair}")
        return index

    def close(self) -> None:
        """Close the connection. Views stay in memory."""
        self.connection.close()

    def view(self) -> View:
        """The state of the index in memory, loaded again when it has changed. A process loads it once for each folder."""
        if not self.connection.in_transaction:
            with self.snapshot():
                return self.view()
        return _VIEWS.get(self.folder, self._state(), self.connection, self.width)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Reads in this block see one snapshot, even if another process commits meanwhile."""
        self._require_current()
        self.connection.execute("BEGIN")
        try:
            yield
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.Error as error:
            raise database.failure(error, self.folder, self._repair) from None
        finally:
            self.connection.rollback()

    def _state(self) -> str:
        return f"{self._origin}:{self.connection.execute('PRAGMA user_version').fetchone()[0]}"

    def _require_sound(self) -> None:
        """CodesageError when the file is damaged. Without checksums, SQLite checks its consistency."""
        fault = self._checksums.fault(seconds=_TRUSTED)
        if fault is None:
            result = self.connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            fault = "" if result == "ok" else " ".join(result.split())
            self._checksums.note()
        if fault:
            raise CodesageError(f"{self.folder / DATABASE} is damaged ({fault}): {self._repair}")

    def _recover(self) -> None:
        """Recover the journal of a killed run, unless another process is writing or nothing can be written."""
        if not self._is_sealed():
            with suppress(CodesageError, sqlite3.Error, OSError), database.lock(self.folder, self.root, seconds=0):
                self._seal()

    def _is_sealed(self) -> bool:
        return not database.journal_size(self.folder / DATABASE) and self._checksums.are_current()

    def _seal(self) -> None:
        """Copy the journal into the file and store the checksums, unless a reader still uses an older state."""
        if self._is_sealed():
            return
        self._checksums.remove()  # beside such a reader, the file changes in part, and may keep its version
        self.connection.execute(f"PRAGMA busy_timeout = {_WAIT_FOR_READERS}")
        busy = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        self.connection.execute("PRAGMA busy_timeout = 10000")
        if not busy:
            self._checksums.write()

    def status(self) -> Status:
        """Counts of what the index holds."""
        reasons = dict(self.connection.execute("SELECT reason, count(*) FROM files GROUP BY reason"))
        in_part = {reason.removesuffix(IN_PART): count for reason, count in reasons.items() if reason.endswith(IN_PART)}
        files = reasons.get("", 0) + sum(in_part.values())
        skipped = {reason: count for reason, count in reasons.items() if reason and not reason.endswith(IN_PART)}
        pieces = self.connection.execute("SELECT count(*) FROM spans").fetchone()[0]
        return Status(str(self.root), str(self.folder), self.model, files, pieces, skipped, self.unencoded, in_part)

    def update(
        self,
        encoder: Encoder,
        *,
        progress: _Progress = lambda done, total: None,
        encoding: _Progress = lambda done, total: None,
        seconds: float | None = None,
    ) -> Counter:
        """Read new and changed files under the root and remove deleted ones; returns the counts "read" and "gone".

        Where an earlier version wrote the index by other rules for secrets, files that are secret by today's rules are erased
        from it, and "secret" counts them.
        Then encode chunks until about `seconds` after the start (None: all). A first update with a limit encodes nothing if
        there are many chunks: it could encode few of them, and somebody waits. If no file was new, or one batch is all that is
        left, at least one is encoded, so that repeated updates complete the index. `progress` is called with (files done,
        files to read), `encoding` with (chunks done, chunks to encode). Raises Busy when another process is indexing this root,
        and Unwritable when something is new and cannot be written, or anything that is left to encode where time has no limit;
        what was committed stays.
        """
        try:
            with database.lock(self.folder, self.root):
                self._require_current()
                return self._update(encoder, progress, encoding, seconds)
        except sqlite3.ProgrammingError:
            raise
        except (sqlite3.Error, OSError) as error:
            self.connection.rollback()
            self._require_current()
            failure = database.failure(error, self.folder, self._repair)
            if isinstance(failure, Unwritable) and not any(self._changes()) and (seconds is not None or not self.unencoded):
                return Counter(read=0, gone=0)
            raise failure from None

    def _update(self, encoder: Encoder, progress: _Progress, encoding: _Progress, seconds: float | None) -> Counter:
        started = time.monotonic()
        gone, changed = self._changes()
        with self.snapshot():
            self._require_sound()
        self._renew_statics(encoder)
        first = self.connection.execute("SELECT 1 FROM files LIMIT 1").fetchone() is None
        erased = self._new_secrets(changed)
        with self._by_todays_rules():
            self._read_changes(gone, changed, encoder, progress)
        left = self.unencoded
        unfinished = gone or changed or left or self.connection.execute("SELECT 1 FROM statics LIMIT 1").fetchone()
        if unfinished and (seconds is None or not first or left <= _QUICK):
            deadline = None if seconds is None else started + seconds
            self._encode(encoder, encoding, deadline, at_least=0 if changed and left > _HURRIED else 1)
        self._seal()
        counts = Counter(read=len(changed) - len(erased), gone=len(gone))
        return counts + Counter(secret=len(erased)) if erased else counts

    def _changes(self) -> tuple[set[str], list[File]]:
        """Names of files that are gone; path, name and stamp of those to read, the most important first."""
        known = dict(self.connection.execute("SELECT path, stamp FROM files"))
        reasons = dict(self.connection.execute("SELECT path, reason FROM files WHERE reason <> ''"))
        present, changed, judged_anew = set(), [], not self._has_todays_rules
        for path, name, stamp in reader.listed(self.root) or stamped(self.root):
            present.add(name)
            if (
                known.get(name) != stamp
                or (reasons.get(name) == "unreadable" and os.access(path, os.R_OK))
                or (judged_anew and is_secret(path, name) != (reasons.get(name) == "secret"))
            ):
                changed.append((path, name, stamp))
        return known.keys() - present, in_order(changed)

    @property
    def _has_todays_rules(self) -> bool:
        """Whether the files were judged by today's rules for secrets."""
        return database.has_todays_rules(self.connection)

    def _new_secrets(self, changed: list[File]) -> list[str]:
        """The indexed files that the rules of an earlier version did not take for secret."""
        if self._has_todays_rules:
            return []
        held = "SELECT 1 FROM files WHERE path = ? AND reason <> 'secret'"
        return [
            name
            for path, name, _ in changed
            if self.connection.execute(held, (name,)).fetchone() is not None and is_secret(path, name)
        ]

    @contextmanager
    def _by_todays_rules(self) -> Iterator[None]:
        """If the rules for secrets have changed, what the block deletes is overwritten in the file, words included.

        The rules are noted last, so a run that was killed in between does not leave words behind.
        """
        if self._has_todays_rules:
            yield
            return
        self.connection.execute("PRAGMA secure_delete = ON")
        try:
            yield
            with self._writing():
                postings.join_all(self.connection)
                self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('secrets', ?)", (rules_name(),))
        finally:
            self.connection.execute("PRAGMA secure_delete = OFF")

    def _read_changes(self, gone: set[str], changed: list[File], encoder: Encoder, progress: _Progress) -> None:
        if gone or changed or self.pending:
            with self._writing():
                self._set_pending(pending=len(changed))
        self._delete_files(gone)
        done = 0
        for batch in batches(changed, _FILES_A_BATCH):
            progress(done, len(changed))
            done += len(batch.files)
            self._store(batch, encoder, pending=len(changed) - done)
        if gone or changed:
            with self._writing():
                postings.merge(self.connection)
        progress(len(changed), len(changed))

    def _encode(self, encoder: Encoder, progress: _Progress, deadline: float | None, *, at_least: int) -> None:
        """Encode chunks until the time is over and at least `at_least` batches are done."""
        left = self._unencoded()
        size = _CHUNKS_A_BATCH if deadline is None else _HURRIED
        with closing(Vectors(encoder)) as cache:
            for batch, start in enumerate(range(0, len(left), size)):
                progress(start, len(left))
                if batch >= at_least and deadline is not None and time.monotonic() >= deadline:
                    return
                self._encode_some(left[start : start + size], encoder, cache)
            progress(len(left), len(left))
            self._delete_unused()
            cache.prune()

    def _unencoded(self) -> list[int]:
        """Numbers of the chunks that are not encoded, the most important first."""
        left = self.connection.execute(
            "SELECT id, file FROM spans WHERE NOT EXISTS (SELECT 1 FROM pieces WHERE chunk = spans.id) ORDER BY id"
        ).fetchall()
        if not left:
            return []
        orders = {file: order_of(kind_of(path)) for file, path in self.connection.execute("SELECT id, path FROM files")}
        return [number for number, _ in sorted(left, key=lambda one: orders[one[1]])]

    def chunks_of(self, numbers: Sequence[int], kept: texts.Blocks | None = None) -> list[Chunk]:
        """The chunks of these numbers, in this order; `kept` as in `texts_of`."""
        rows = self.connection.execute(f"SELECT id, {_COLUMNS} FROM chunks WHERE id IN ({','.join(map(str, numbers))})")
        values, text = {number: row for number, *row in rows}, self.texts_of(numbers, kept)
        for number, row in values.items():
            row.append(text[number])
        return [Chunk(*values[number]) for number in numbers]

    def texts_of(self, numbers: Iterable[int], kept: texts.Blocks | None = None) -> dict[int, str]:
        """The texts of chunks by their numbers; blocks of texts in `kept` are not read again (search.texts)."""
        return texts.read(self.connection, numbers, kept)

    def _encode_some(self, numbers: list[int], encoder: Encoder, cache: Vectors) -> None:
        cut = pieces(self.chunks_of(numbers), encoder)
        vectors = self._new_vectors([text for one in cut for text in one], cache)
        owned = [
            (number, part, key_of(text)) for number, one in zip(numbers, cut, strict=True) for part, text in enumerate(one)
        ]
        with self._writing():
            self.connection.executemany("INSERT OR IGNORE INTO vectors VALUES (NULL, ?, ?)", vectors.items())
            self.connection.executemany("INSERT INTO pieces SELECT ?, ?, row FROM vectors WHERE hash = ?", owned)

    @property
    def is_current(self) -> bool:
        """Whether the file is the one that was opened. It is not after another process has rebuilt or removed the index."""
        try:
            return os.path.samestat(os.stat(self.folder / DATABASE), self._opened)
        except FileNotFoundError:
            return False

    def _require_current(self) -> None:
        """CodesageError when the index was rebuilt since it was opened: its rows are those of another vector file."""
        if not self.is_current:
            raise CodesageError(f"the index of {self.root} was rebuilt meanwhile: run the command again")

    def wait(self) -> None:
        """Return when no other process is indexing this root."""
        with database.lock(self.folder, self.root, seconds=-1):
            pass

    @property
    def pending(self) -> int:
        """Files that the last update, which was cut off or is still running, has not read yet."""
        return int(database.meta_of(self.connection).get("pending", 0))

    @property
    def unencoded(self) -> int:
        """Chunks that are searched by words and static vectors only, because the encoder has not read them yet."""
        counts = "SELECT (SELECT count(*) FROM spans) - (SELECT count(*) FROM pieces WHERE part = 0)"
        return self.connection.execute(counts).fetchone()[0]  # in a quarter of the time of a search for those without pieces

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One commit, which changes the state that views are of."""
        with self.connection:
            self.connection.execute("BEGIN IMMEDIATE")
            yield
            state = self.connection.execute("PRAGMA user_version").fetchone()[0]
            self.connection.execute(f"PRAGMA user_version = {(state + 1) % 2**31}")
        if database.journal_size(self.folder / DATABASE) > max(_LONG_JOURNAL, self._checksums.size // 4):
            self._seal()

    def _set_pending(self, *, pending: int) -> None:
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('pending', ?)", (str(pending),))

    def _delete_unused(self) -> None:
        """Delete vectors of texts that no longer exist, and static vectors when every chunk is encoded."""
        gone = self.connection.execute("SELECT row FROM vectors WHERE row NOT IN (SELECT row FROM pieces)").fetchall()
        if gone or self.connection.execute("SELECT 1 FROM statics LIMIT 1").fetchone():
            with self._writing():
                self.connection.executemany("DELETE FROM vectors WHERE row = ?", gone)
                self.connection.execute("DELETE FROM statics")
                postings.merge(self.connection, most=postings.FEW_SEGMENTS)
            self._compact()

    def _compact(self) -> None:
        """Rewrite the file if much of it is empty and the disk has room for it."""
        unused, size = (self.connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count"))
        if _MOST_UNUSED * unused > size:
            self._checksums.remove()  # they are of this version, which stays the same
            with suppress(sqlite3.OperationalError):
                self.connection.execute("VACUUM")

    def _delete_files(self, names: Collection[str]) -> None:
        if names:
            with self._writing():
                for name in names:
                    self._delete_file(name)

    def _delete_file(self, name: str) -> None:
        file = self.connection.execute("SELECT id FROM files WHERE path = ?", (name,)).fetchone()
        if file is None:
            return
        for column in ("pieces WHERE chunk", "statics WHERE chunk", "texts WHERE first", "spans WHERE id"):
            self.connection.execute(f"DELETE FROM {column} IN (SELECT id FROM spans WHERE file = ?)", file)
        self.connection.execute("DELETE FROM files WHERE id = ?", file)

    def _store(self, batch: Batch, encoder: Encoder, *, pending: int) -> None:
        with self._writing():
            owners: list[int] = []
            for one in batch.files:
                self._delete_file(one.name)
                values = (one.name, one.language, one.stamp, one.reason)
                added = self.connection.execute("INSERT INTO files VALUES (NULL, ?, ?, ?, ?)", values)
                owners += [added.lastrowid or 0] * one.chunks
            self._add(batch, owners, encoder)
            self._set_pending(pending=pending)

    def _add(self, batch: Batch, owners: list[int], encoder: Encoder) -> None:
        """Store the chunks of a batch. `owners`: the file number of each chunk."""
        last = self.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'spans'").fetchone()
        first = 1 + (last[0] if last else 0)
        lengths = batch.words.lengths().tolist()
        rows = zip(range(first, first + len(owners)), owners, batch.spans, lengths, strict=True)
        self.connection.executemany(
            "INSERT INTO spans VALUES (?, ?, ?, ?, ?, ?, ?)",
            ((number, file, *span, words) for number, file, span, words in rows),
        )
        self.connection.executemany("INSERT INTO texts VALUES (?, ?)", ((first + place, block) for place, block in batch.texts))
        postings.add(self.connection, first, batch.segments)
        self._keep_statics(range(first, first + len(owners)), batch.words, encoder)

    def _keep_statics(self, numbers: Sequence[int], words: Words, encoder: Encoder) -> None:
        statics = statics_of(encoder)
        if statics is not None and numbers:
            vectors = directions(statics.encode_words(words))
            rows = ((number, row.tobytes()) for number, row in zip(numbers, vectors, strict=True))
            self.connection.executemany("INSERT OR REPLACE INTO statics VALUES (?, ?)", rows)

    def _renew_statics(self, encoder: Encoder) -> None:
        """Replace static vectors that are from another table, such as that of an earlier version."""
        if database.meta_of(self.connection).get("statics") == table_name():
            return
        numbers = [number for (number,) in self.connection.execute("SELECT chunk FROM statics ORDER BY chunk")]
        with self._writing():
            for start in range(0, len(numbers), _STATICS_AT_ONCE):
                some = numbers[start : start + _STATICS_AT_ONCE]
                chunks = self.chunks_of(some)
                words = words_in(field for chunk in chunks for field in (chunk.name, chunk.path, chunk.text))
                self._keep_statics(some, words, encoder)
            self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('statics', ?)", (table_name(),))

    def _new_vectors(self, texts: list[str], cache: Vectors) -> dict[bytes, bytes]:
        """The vectors, by key, of the texts that this index lacks."""
        new = {key_of(text): text for text in texts}
        for key in list(new):
            if self.connection.execute("SELECT 1 FROM vectors WHERE hash = ?", (key,)).fetchone():
                del new[key]
        if not new:
            return {}
        return dict(zip(new, (row.tobytes() for row in cache.encode_directions(list(new.values()))), strict=True))

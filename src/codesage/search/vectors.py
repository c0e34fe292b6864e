"""One cache of vectors for all repositories, so that equal text is encoded once.

In: texts and an encoder. Out: vectors in the order of the texts. One SQLite file for each model stores vectors by a hash of
the text. Worktrees, clones and branches share it. Vectors that were not used for ninety days are removed. If the cache cannot
be read or written, searches take longer but do not fail. Each vector has a checksum: a damaged vector is computed again, and a
damaged file is created anew.

A vector is kept as its direction in int8, here and in an index: its cosine with the float32 one is above 0.9999 (docs/log.md).
Shapes: n texts, D the width of the vectors.
"""

import hashlib
import sqlite3
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from codesage.encoder.unit import directions
from codesage.machine import cache_folder
from codesage.records import Encoder

_DAYS_KEPT = 90
_AT_ONCE = 64  # texts between two commits: what a kill costs
_MANY = 500  # values of one question to SQLite


def key_of(text: str) -> bytes:
    """The key of a text in the cache and in an index: the first 128 bits of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()[:16]


def restored(directions_ND: np.ndarray) -> np.ndarray:
    """float32 (n, D), rows of unit length, of int8 directions; zeros stay zeros."""
    vectors_ND = directions_ND.astype(np.float32)
    vectors_ND *= 1 / np.sqrt(np.einsum("nd,nd->n", vectors_ND, vectors_ND)).clip(1e-12)[:, None]  # in place: there are many
    return vectors_ND


def vectors_folder() -> Path:
    """The folder of the caches of all models."""
    return cache_folder("vectors")


class Vectors:
    """The vectors of one model: `encode` asks the model for those that the cache lacks."""

    def __init__(self, encoder: Encoder, folder: Path | None = None) -> None:
        self._encoder = encoder
        self._file = (folder or vectors_folder()) / f"{encoder.fingerprint.replace(':', '-')}-directions.sqlite"
        self._cache: sqlite3.Connection | None = None
        try:
            self._cache = _opened(self._file)
        except (sqlite3.Error, OSError) as error:
            self._discard(error)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (n, D), rows of unit length."""
        return restored(self.encode_directions(texts))

    def encode_directions(self, texts: Sequence[str]) -> np.ndarray:
        """int8 (n, D), see `directions`."""
        keys = [key_of(text) for text in texts]
        vectors_by_key = self._known(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in vectors_by_key}
        order = sorted(missing, key=lambda key: len(missing[key]))
        for start in range(0, len(order), _AT_ONCE):
            some = order[start : start + _AT_ONCE]
            vectors = directions(self._encoder.encode([missing[key] for key in some], kind="code"))
            new = dict(zip(some, (vector.tobytes() for vector in vectors), strict=True))
            self._keep(new)
            vectors_by_key |= new
        rows = b"".join(vectors_by_key[key] for key in keys)
        return np.frombuffer(rows, np.int8).reshape(len(texts), self._encoder.width)

    def prune(self) -> None:
        """Remove vectors that were not used recently."""
        self._change("DELETE FROM vectors WHERE used < ?", [(_today() - _DAYS_KEPT,)])

    def close(self) -> None:
        """Close the file."""
        if self._cache is not None:
            self._cache.close()
            self._cache = None

    def _known(self, keys: list[bytes]) -> dict[bytes, bytes]:
        known: dict[bytes, bytes] = {}
        if self._cache is None:
            return known
        for start in range(0, len(keys), _MANY):
            some = keys[start : start + _MANY]
            question = f"SELECT hash, vector, used FROM vectors WHERE hash IN ({','.join('?' * len(some))})"
            try:
                rows = self._cache.execute(question, some).fetchall()
            except sqlite3.Error as error:
                self._discard(error)
                return known
            known |= {key: stored[:-4] for key, stored, _ in rows if self._is_sound(key, stored)}
            old = [(_today(), key) for key, _, used in rows if used != _today()]
            if old:
                self._change("UPDATE vectors SET used = ? WHERE hash = ?", old)
        return known

    def _discard(self, error: Exception) -> None:
        """Begin anew where the file is damaged."""
        self.close()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            with suppress(sqlite3.Error, OSError):
                for suffix in ("-wal", "-shm", ""):
                    self._file.with_name(self._file.name + suffix).unlink(missing_ok=True)
                self._cache = _opened(self._file)

    def _is_sound(self, key: bytes, stored: object) -> bool:
        """Whether what is stored is a vector of this model, followed by its checksum."""
        if not isinstance(stored, bytes) or len(stored) != self._encoder.width + 4:
            return False
        return _checksum(key, stored[:-4]) == stored[-4:]

    def _keep(self, new: dict[bytes, bytes]) -> None:
        rows = [(key, row + _checksum(key, row), _today()) for key, row in new.items()]
        self._change("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)

    def _change(self, statement: str, rows: list[tuple]) -> None:
        if self._cache is None:
            return
        with suppress(sqlite3.Error), self._cache:
            self._cache.executemany(statement, rows)


def _opened(file: Path) -> sqlite3.Connection:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.touch(mode=0o600)
    connection = sqlite3.connect(file, timeout=10)
    try:
        connection.execute("PRAGMA synchronous = OFF")  # what a power cut damages is created anew
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS vectors (hash BLOB PRIMARY KEY, vector BLOB, used INTEGER)")
        connection.execute("CREATE INDEX IF NOT EXISTS by_use ON vectors (used)")
        connection.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _checksum(key: bytes, vector: bytes) -> bytes:
    return zlib.crc32(vector, zlib.crc32(key)).to_bytes(4, "little")


def _today() -> int:
    return int(time.time() // 86_400)
